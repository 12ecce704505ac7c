//! `wharf strands`: zones of a game world without a socket: strands that tick at a fixed rate, and
//! post jobs to each other all the time. How late do ticks come, and does memory grow?

use std::fs;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use cpu_time::ProcessTime;
use serde::Serialize;
use wharf::stats::Durations;
use wharf::{Host, Strand, StrandOptions, Timer, WeakStrand};

use crate::args::StrandsArgs;
use crate::exit::{Exit, Failure};
use crate::out;
use crate::pause::pause;

/// What lives on a strand.
#[derive(Default)]
struct Zone {
    ran: u64,
    sum: u64,
    refused: u64,
}

/// A line of progress, and a point of the memory's slope.
#[derive(Clone, Copy, Debug, Serialize)]
struct Moment {
    seconds: f64,
    /// Resident memory; null where the system does not tell.
    rss_kib: Option<u64>,
    ticks: u64,
    overruns: u64,
    missed: u64,
}

#[derive(Serialize)]
struct Report {
    strands: usize,
    hz: f64,
    jobs_per_tick: u32,
    workers: usize,
    seconds: f64,
    ticks: u64,
    ticks_expected: u64,
    overruns: u64,
    missed: u64,
    lag_us_p50: u64,
    lag_us_p99: u64,
    lag_us_p99_9: u64,
    lag_us_max: u64,
    jobs_posted: u64,
    jobs_ran: u64,
    jobs_refused: u64,
    jobs_per_second: f64,
    cpu_us_per_job: f64,
    rss_kib_first: Option<u64>,
    rss_kib_last: Option<u64>,
    /// Of the second half, by least squares; null where the system does not tell.
    rss_kib_per_minute: Option<f64>,
    moments: Vec<Moment>,
}

/// Runs the zones; exit 1 if an accepted job did not run.
///
/// # Errors
/// What could not be started, or written.
pub(super) fn run(args: &StrandsArgs) -> Result<Exit, Failure> {
    let lib = |error: wharf::Error| Failure::of_library(&error);
    let mut host = Host::new();
    let mut pool = host.pool("zones");
    if let Some(workers) = args.workers {
        pool = pool.workers(workers);
    }
    let pool = pool.build().map_err(lib)?;
    let zones = (0..args.strands).map(|_| {
        let options = StrandOptions {
            mailbox_max: args.jobs as usize * 64 + 64,
            ..StrandOptions::default()
        };
        pool.strand_with(Zone::default(), options)
    });
    let zones: Vec<Strand<Zone>> = zones.collect::<Result<_, _>>().map_err(lib)?;
    host.start().map_err(lib)?;
    let timers = begin(&zones, args).map_err(lib)?;
    let (began, cpu) = (Instant::now(), ProcessTime::now());
    let moments = watch(args, began, &timers)?;
    for timer in &timers {
        timer.cancel();
    }
    let (ran_for, cpu) = (began.elapsed(), cpu.elapsed());
    settle(&zones);
    let report = Report::new(
        args,
        pool.workers(),
        (ran_for, cpu),
        &zones,
        &timers,
        moments,
    );
    host.stop().map_err(lib)?;
    if args.json {
        let json = serde_json::to_string(&report)
            .map_err(|error| Failure::machine(format!("could not write the report: {error}")))?;
        out::line(json)?;
    } else {
        report.print()?;
    }
    let lost = report.jobs_posted != report.jobs_ran;
    Ok(if lost { Exit::Fault } else { Exit::Done })
}

/// Every zone ticks, and at each tick posts to the next one.
fn begin(zones: &[Strand<Zone>], args: &StrandsArgs) -> wharf::Result<Vec<Timer>> {
    let period = Duration::from_secs_f64(1.0 / args.hz);
    let ring: Arc<OnceLock<Vec<WeakStrand<Zone>>>> = Arc::default();
    let timers = zones.iter().enumerate().map(|(index, zone)| {
        let (ring, jobs) = (Arc::clone(&ring), args.jobs);
        zone.every(period, move |zone, tick| {
            let next = ring
                .get()
                .and_then(|ring| ring[(index + 1) % ring.len()].upgrade());
            let Some(next) = next else { return };
            for job in 0..u64::from(jobs) {
                let number = tick.number;
                let posted = next.post(move |zone| {
                    zone.ran += 1;
                    zone.sum = zone.sum.wrapping_add(number ^ job);
                });
                zone.refused += u64::from(posted.is_err());
            }
        })
    });
    let timers = timers.collect();
    // Set once, so this is the first time.
    let _ = ring.set(zones.iter().map(Strand::downgrade).collect());
    timers
}

/// Looks at them as long as they run.
fn watch(args: &StrandsArgs, began: Instant, timers: &[Timer]) -> Result<Vec<Moment>, Failure> {
    let step = (args.seconds / 60).max(Duration::from_millis(100));
    let mut moments = Vec::new();
    while began.elapsed() < args.seconds {
        pause(step.min(args.seconds.saturating_sub(began.elapsed())));
        let moment = Moment {
            seconds: began.elapsed().as_secs_f64(),
            rss_kib: resident(),
            ticks: timers.iter().map(|timer| timer.stats().ticks).sum(),
            overruns: timers.iter().map(|timer| timer.stats().overruns).sum(),
            missed: timers.iter().map(|timer| timer.stats().missed).sum(),
        };
        if !args.json && step >= Duration::from_secs(1) {
            out::line(moment)?;
        }
        moments.push(moment);
    }
    Ok(moments)
}

/// Until all that was accepted has run, for a bounded time.
fn settle(zones: &[Strand<Zone>]) {
    let until = Instant::now() + Duration::from_secs(5);
    while zones.iter().any(|zone| zone.stats().waiting > 0) && Instant::now() < until {
        pause(Duration::from_millis(5));
    }
}

/// Resident memory of this process, where `/proc` tells it.
fn resident() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse().ok()
}

impl Report {
    fn new(
        args: &StrandsArgs,
        workers: usize,
        (ran_for, cpu): (Duration, Duration),
        zones: &[Strand<Zone>],
        timers: &[Timer],
        moments: Vec<Moment>,
    ) -> Self {
        let mut lag = Durations::default();
        let ticks: Vec<_> = timers.iter().map(Timer::stats).collect();
        ticks.iter().for_each(|stats| lag.merge(&stats.lag));
        let micros = |q| u64::try_from(lag.quantile(q).as_micros()).unwrap_or(u64::MAX);
        let lag_max = ticks
            .iter()
            .map(|stats| stats.lag_max)
            .max()
            .unwrap_or_default();
        let stats: Vec<_> = zones.iter().map(Strand::stats).collect();
        // A strand counts its timer among what was posted.
        let posted: u64 = stats.iter().map(|stats| stats.posted - 1).sum();
        let ran: u64 = stats.iter().map(|stats| stats.ran).sum();
        let seconds = ran_for.as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let (ran_f, per_zone) = (ran as f64, seconds * args.hz);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a count of ticks"
        )]
        let expected = per_zone as u64 * zones.len() as u64;
        Self {
            strands: zones.len(),
            hz: args.hz,
            jobs_per_tick: args.jobs,
            workers,
            seconds,
            ticks: ticks.iter().map(|stats| stats.ticks).sum(),
            ticks_expected: expected,
            overruns: ticks.iter().map(|stats| stats.overruns).sum(),
            missed: ticks.iter().map(|stats| stats.missed).sum(),
            lag_us_p50: micros(0.5),
            lag_us_p99: micros(0.99),
            lag_us_p99_9: micros(0.999),
            lag_us_max: u64::try_from(lag_max.as_micros()).unwrap_or(u64::MAX),
            jobs_posted: posted,
            jobs_ran: ran,
            jobs_refused: stats.iter().map(|stats| stats.full).sum(),
            jobs_per_second: ran_f / seconds,
            cpu_us_per_job: cpu.as_secs_f64() * 1e6 / ran_f.max(1.0),
            rss_kib_first: moments.first().and_then(|moment| moment.rss_kib),
            rss_kib_last: moments.last().and_then(|moment| moment.rss_kib),
            rss_kib_per_minute: slope(&moments[moments.len() / 2..]),
            moments,
        }
    }

    fn print(&self) -> Result<(), Failure> {
        out::line(format_args!(
            "{} strands at {} Hz, {} jobs a tick, {} workers, {:.1} s",
            self.strands, self.hz, self.jobs_per_tick, self.workers, self.seconds
        ))?;
        out::line(format_args!(
            "ticks     {} of {} expected, {} overruns, {} missed",
            self.ticks, self.ticks_expected, self.overruns, self.missed
        ))?;
        out::line(format_args!(
            "lag us    p50 {}  p99 {}  p99.9 {}  max {}",
            self.lag_us_p50, self.lag_us_p99, self.lag_us_p99_9, self.lag_us_max
        ))?;
        out::line(format_args!(
            "jobs      {} posted, {} ran, {} refused, {:.0} a second, {:.3} us of CPU each, ticks \
             included",
            self.jobs_posted,
            self.jobs_ran,
            self.jobs_refused,
            self.jobs_per_second,
            self.cpu_us_per_job
        ))?;
        match (
            self.rss_kib_first,
            self.rss_kib_last,
            self.rss_kib_per_minute,
        ) {
            (Some(first), Some(last), Some(slope)) => out::line(format_args!(
                "memory    {first} KiB at first, {last} KiB at last, {slope:+.1} KiB a minute in \
                 the second half"
            )),
            _ => out::line("memory    this system does not tell"),
        }
    }
}

impl std::fmt::Display for Moment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:6.0} s  {} ticks, ", self.seconds, self.ticks)?;
        write!(f, "{} overruns, {} missed", self.overruns, self.missed)?;
        match self.rss_kib {
            Some(rss) => write!(f, ", {rss} KiB"),
            None => Ok(()),
        }
    }
}

/// KiB a minute, by least squares.
fn slope(moments: &[Moment]) -> Option<f64> {
    let points: Option<Vec<_>> = moments
        .iter()
        .map(|moment| {
            #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
            moment
                .rss_kib
                .map(|rss| (moment.seconds / 60.0, rss as f64))
        })
        .collect();
    let points = points?;
    #[expect(clippy::cast_precision_loss, reason = "a few points")]
    let n = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / n;
    let (x, y) = (mean(|p| p.0), mean(|p| p.1));
    let over: f64 = points.iter().map(|p| (p.0 - x) * (p.1 - y)).sum();
    let under: f64 = points.iter().map(|p| (p.0 - x).powi(2)).sum();
    (under > 0.0).then(|| over / under)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slope_of_a_line_is_its_own() {
        let at = |seconds: f64, rss_kib| Moment {
            seconds,
            rss_kib,
            ticks: 0,
            overruns: 0,
            missed: 0,
        };
        let grows = [
            at(0.0, Some(100)),
            at(60.0, Some(106)),
            at(120.0, Some(112)),
        ];
        assert!((slope(&grows).unwrap() - 6.0).abs() < 1e-9);
        assert_eq!(slope(&[at(0.0, Some(1)), at(60.0, None)]), None);
        assert_eq!(slope(&[]), None);
    }
}
