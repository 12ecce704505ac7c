//! How much of this machine other processes take while the lab measures.

use std::fs;
use std::time::Instant;

/// Ticks a second of the counters below: what Linux shows to programs, whatever its own tick is.
const TICKS_PER_S: f64 = 100.0;

/// A moment, and what everybody and the lab had used by then.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Others {
    at: Instant,
    all: f64,
    own: f64,
}

impl Others {
    /// Now; nothing where the system does not say.
    pub(crate) fn start() -> Option<Self> {
        Some(Self {
            at: Instant::now(),
            all: all(&fs::read_to_string("/proc/stat").ok()?)?,
            own: own(&fs::read_to_string("/proc/self/stat").ok()?)?,
        })
    }

    /// Cores that other processes have kept busy since then; a server process of the lab counts as
    /// the lab's once it has ended.
    pub(crate) fn cores(self) -> Option<f64> {
        let now = Self::start()?;
        let seconds = (now.at - self.at).as_secs_f64().max(1.0 / TICKS_PER_S);
        Some((((now.all - self.all) - (now.own - self.own)) / seconds).max(0.0))
    }
}

/// Seconds of all cores in use: the first line of proc(5) stat without idle and iowait.
fn all(stat: &str) -> Option<f64> {
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    let fields: Vec<f64> = line
        .split_whitespace()
        .filter_map(|n| n.parse().ok())
        .collect();
    let busy = fields
        .iter()
        .take(8)
        .enumerate()
        .filter(|(at, _)| !matches!(at, 3 | 4));
    Some(busy.map(|(_, ticks)| ticks).sum::<f64>() / TICKS_PER_S)
}

/// Seconds of this process and of its children that have ended: fields 14 to 17 of proc(5).
fn own(stat: &str) -> Option<f64> {
    // The second field is a name in parentheses, which may hold anything.
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<_> = rest.split_whitespace().collect();
    let times = fields.get(11..15)?.iter();
    Some(times.filter_map(|n| n.parse::<f64>().ok()).sum::<f64>() / TICKS_PER_S)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counters_of_linux_are_read() {
        let stat = "cpu  100 20 30 1000 400 5 6 7 0 0\ncpu0 1 2 3\n";
        assert_eq!(all(stat), Some(1.68));
        let own_stat = "7 (a) b) c) S 1 2 3 4 5 6 7 8 9 10 110 20 30 40 20 0 3 0";
        assert_eq!(own(own_stat), Some(2.0));
        assert_eq!(all("intr 5"), None);
        assert_eq!(own("7 (a) S 1"), None);
    }
}
