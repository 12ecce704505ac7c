//! Memory, descriptors and threads of the server over time, and whether they grow.

use std::time::Duration;

use serde::Serialize;

/// What the server holds at one moment.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Sample {
    /// Seconds since the start of the phases.
    pub(super) at_s: f64,
    pub(super) rss_kib: f64,
    pub(super) fds: f64,
    pub(super) threads: f64,
    /// Whether nothing had been done to it for a while: only these are comparable.
    pub(super) quiet: bool,
}

impl Sample {
    /// # Errors
    /// It is not there any more.
    pub(super) fn of(pid: i32, at: Duration, quiet: bool) -> Result<Self, String> {
        let status = format!("/proc/{pid}/status");
        let status = std::fs::read_to_string(&status).map_err(|e| format!("{status}: {e}"))?;
        let number = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|rest| rest.split_whitespace().next()?.parse().ok())
                .unwrap_or(f64::NAN)
        };
        let fds = format!("/proc/{pid}/fd");
        let fds = std::fs::read_dir(&fds).map_err(|e| format!("{fds}: {e}"))?;
        Ok(Self {
            // Tenths tell enough.
            at_s: (at.as_secs_f64() * 10.0).round() / 10.0,
            rss_kib: number("VmRSS:"),
            fds: fds.count() as f64,
            threads: number("Threads:"),
            quiet,
        })
    }
}

/// A line through the quiet samples, by least squares.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Trend {
    pub(super) first: f64,
    pub(super) last: f64,
    /// What a minute adds, and the standard error of that.
    pub(super) per_minute: f64,
    pub(super) error: f64,
    /// What the whole time would add at that rate.
    pub(super) in_all: f64,
    /// Growth in all that counts as flat, however certain it is.
    pub(super) allowed: f64,
    pub(super) flat: bool,
}

/// The trend of one mean a quiet phase: samples a second apart tell of each other, phases hardly.
/// `points` are seconds and values. It grows if the rate is above zero by more than twice its
/// standard error, and comes to more than `allowed` in all.
pub(super) fn trend(points: &[(f64, f64)], allowed: f64) -> Option<Trend> {
    let (first, last) = (points.first()?, points.last()?);
    let n = points.len() as f64;
    if points.len() < 3 {
        return None;
    }
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / n;
    let (x, y) = (mean(|p| p.0), mean(|p| p.1));
    let over: f64 = points.iter().map(|p| (p.0 - x) * (p.1 - y)).sum();
    let under: f64 = points.iter().map(|p| (p.0 - x).powi(2)).sum();
    if under <= 0.0 {
        return None;
    }
    let slope = over / under;
    let left: f64 = points
        .iter()
        .map(|p| (p.1 - y - slope * (p.0 - x)).powi(2))
        .sum();
    let error = (left / (n - 2.0) / under).sqrt();
    let in_all = slope * (last.0 - first.0);
    let grows = slope > 2.0 * error && in_all > allowed;
    Some(Trend {
        first: first.1,
        last: last.1,
        per_minute: slope * 60.0,
        error: error * 60.0,
        in_all,
        allowed,
        flat: !grows,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_told_from_noise() {
        let noise = [3.0, -2.0, 1.0, -3.0, 2.0, -1.0];
        let of = |slope: f64| {
            let points: Vec<_> = (0..60_u32)
                .map(|n| {
                    let x = f64::from(n) * 10.0;
                    (x, 1000.0 + slope * x + noise[n as usize % 6])
                })
                .collect();
            trend(&points, 20.0).expect("sixty points")
        };
        assert!(of(0.0).flat && of(0.0).error > 0.0);
        assert!(of(-1.0).flat, "what shrinks is no leak");
        let leak = of(0.1);
        assert!(
            !leak.flat && (leak.per_minute - 6.0).abs() < 0.3,
            "{leak:?}"
        );
        assert!(of(0.01).flat, "in all less than is allowed");
        assert_eq!(trend(&[(0.0, 1.0), (1.0, 1.0)], 0.0), None);
    }

    #[test]
    fn this_process_has_memory_descriptors_and_threads() {
        let pid = i32::try_from(std::process::id()).expect("fits");
        let sample = Sample::of(pid, Duration::ZERO, true).expect("it runs");
        assert!(sample.rss_kib > 100.0 && sample.fds >= 3.0 && sample.threads >= 1.0);
    }
}
