//! What a run found: one JSON object, or a closing table. Times in microseconds.

use std::fmt::{self, Display, Formatter};
use std::time::{SystemTime, UNIX_EPOCH};

use hdrhistogram::Histogram;
use serde::Serialize;

use super::config::Config;
use super::run::Outcome;
use crate::args::Mode;
use crate::exit::Exit;

/// The arguments of the run with their defaults filled in; the names are those of the options.
#[derive(Debug, Serialize)]
pub(crate) struct Settings {
    connect: String,
    mode: Mode,
    connections: u32,
    depth: u32,
    size: u16,
    seconds: f64,
    frames: Option<u64>,
    rate: Option<u64>,
    warmup_seconds: f64,
    threads: u32,
    senders: u32,
    source_addrs: Vec<std::net::IpAddr>,
    connect_timeout_seconds: f64,
}

/// A distribution of times in microseconds, with an error of at most 0.1 %.
#[derive(Debug, Serialize)]
pub(crate) struct Times {
    samples: u64,
    min: f64,
    mean: f64,
    p50: f64,
    p90: f64,
    p99: f64,
    p99_9: f64,
    max: f64,
}

/// How an open loop kept its schedule.
#[derive(Debug, Serialize)]
pub(crate) struct OpenLoop {
    /// Frames the schedule asked for.
    frames_due: u64,
    /// Frames of those that were never sent.
    frames_unsent: u64,
    /// From due until sent.
    send_late_us: Option<Times>,
}

/// The result of a run. `wharf load --help` documents every field for users; a test keeps both in
/// step.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    version: &'static str,
    config: Settings,
    started_unix_ms: u64,
    ended_unix_ms: u64,
    seconds: f64,
    frames_sent: u64,
    frames_expected: u64,
    frames_answered: u64,
    lost: u64,
    doubled: u64,
    reordered: u64,
    corrupt: u64,
    misrouted: u64,
    connects: u64,
    connect_failed: u64,
    closed_by_peer: u64,
    bytes_sent: u64,
    bytes_received: u64,
    frames_per_second: f64,
    bytes_per_second: f64,
    latency_us: Option<Times>,
    last_receiver_us: Option<Times>,
    connect_us: Option<Times>,
    open_loop: Option<OpenLoop>,
    client_cpu_seconds: Option<f64>,
    fault: bool,
    first_fault: Option<String>,
}

impl Report {
    /// Puts the result of a run together.
    pub(crate) fn new(config: &Config, outcome: Outcome) -> Self {
        let tally = outcome.tally;
        let seconds = outcome.measured.as_secs_f64();
        let per_second = |count: u64| {
            if seconds > 0.0 {
                count as f64 / seconds
            } else {
                0.0
            }
        };
        Self {
            version: env!("CARGO_PKG_VERSION"),
            config: Settings::new(config),
            started_unix_ms: unix_ms(outcome.started),
            ended_unix_ms: unix_ms(outcome.ended),
            seconds,
            frames_sent: tally.frames_sent,
            frames_expected: tally.frames_expected,
            frames_answered: tally.frames_answered,
            lost: tally.lost,
            doubled: tally.doubled,
            reordered: tally.reordered,
            corrupt: tally.corrupt,
            misrouted: tally.misrouted,
            connects: tally.connects,
            connect_failed: tally.connect_failed,
            closed_by_peer: tally.closed_by_peer,
            bytes_sent: tally.bytes_sent,
            bytes_received: tally.bytes_received,
            frames_per_second: per_second(tally.frames_measured),
            bytes_per_second: per_second(tally.bytes_measured),
            latency_us: Times::of(&tally.latency),
            last_receiver_us: Times::of(&tally.last_receiver),
            connect_us: Times::of(&tally.connect),
            open_loop: outcome.frames_due.map(|frames_due| OpenLoop {
                frames_due,
                frames_unsent: frames_due.saturating_sub(tally.frames_sent),
                send_late_us: Times::of(&tally.send_late),
            }),
            client_cpu_seconds: outcome.cpu.map(|cpu| cpu.as_secs_f64()),
            fault: tally.faults() > 0,
            first_fault: tally.first_fault.map(|(_, what)| what),
        }
    }

    /// The exit code of this result.
    pub(crate) fn exit(&self) -> Exit {
        if self.fault { Exit::Fault } else { Exit::Done }
    }
}

impl Settings {
    fn new(config: &Config) -> Self {
        Self {
            connect: config.connect.clone(),
            mode: config.mode,
            connections: config.connections,
            depth: config.depth,
            size: config.size,
            seconds: config.seconds.as_secs_f64(),
            frames: config.frames,
            rate: config.rate,
            warmup_seconds: config.warmup.as_secs_f64(),
            threads: config.threads,
            senders: config.senders,
            source_addrs: config.source_addrs.clone(),
            connect_timeout_seconds: config.connect_timeout.as_secs_f64(),
        }
    }
}

impl Times {
    /// Of a histogram in nanoseconds; `None` if it is empty.
    fn of(nanos: &Histogram<u64>) -> Option<Self> {
        let us = |nanos: u64| nanos as f64 / 1000.0;
        let at = |quantile: f64| us(nanos.value_at_quantile(quantile));
        (!nanos.is_empty()).then(|| Self {
            samples: nanos.len(),
            min: us(nanos.min()),
            mean: nanos.mean() / 1000.0,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p99_9: at(0.999),
            max: us(nanos.max()),
        })
    }
}

fn unix_ms(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(0)
}

impl Display for Times {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self {
            p50,
            p90,
            p99,
            p99_9,
            max,
            ..
        } = self;
        write!(
            f,
            "p50 {p50:.1}  p90 {p90:.1}  p99 {p99:.1}  p99.9 {p99_9:.1}  max {max:.1} µs"
        )
    }
}

/// The closing table.
impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Settings {
            mode,
            connect,
            connections,
            depth,
            size,
            rate,
            ..
        } = &self.config;
        let name = format!("{mode:?}").to_lowercase();
        write!(
            f,
            "{name} {connect}, {connections} connections, {size}-byte frames, "
        )?;
        match rate {
            Some(rate) => write!(f, "open loop at {rate} frames/s")?,
            None => write!(f, "closed loop, depth {depth}")?,
        }
        writeln!(f, ", {:.1} s", self.seconds)?;
        writeln!(
            f,
            "frames        {} sent, {} answered of {} expected; {:.0} per second, {:.1} MB/s sent",
            self.frames_sent,
            self.frames_answered,
            self.frames_expected,
            self.frames_per_second,
            self.bytes_per_second / 1e6
        )?;
        writeln!(
            f,
            "faults        {} lost, {} doubled, {} reordered, {} corrupt, {} misrouted",
            self.lost, self.doubled, self.reordered, self.corrupt, self.misrouted
        )?;
        writeln!(
            f,
            "connections   {} made, {} failed, {} closed by the server",
            self.connects, self.connect_failed, self.closed_by_peer
        )?;
        let rows = [
            ("latency", &self.latency_us),
            ("last receiver", &self.last_receiver_us),
            ("connect", &self.connect_us),
        ];
        for (name, times) in rows
            .into_iter()
            .filter_map(|(name, times)| Some((name, times.as_ref()?)))
        {
            writeln!(f, "{name:<13} {times}")?;
        }
        self.write_open_loop(f)?;
        match self.client_cpu_seconds {
            Some(cpu) if self.seconds > 0.0 => {
                write!(
                    f,
                    "client CPU    {cpu:.2} s, {:.0} % of a core",
                    cpu / self.seconds * 100.0
                )?;
            }
            _ => write!(f, "client CPU    unknown")?,
        }
        self.first_fault
            .iter()
            .try_for_each(|fault| write!(f, "\nfirst fault   {fault}"))
    }
}

impl Report {
    fn write_open_loop(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Some(open) = &self.open_loop else {
            return Ok(());
        };
        let OpenLoop {
            frames_due,
            frames_unsent,
            ..
        } = open;
        match &open.send_late_us {
            Some(late) => writeln!(f, "send lateness {late}")?,
            None => writeln!(f, "send lateness nothing was sent in the measured time")?,
        }
        if *frames_unsent > 0 {
            let percent = *frames_unsent as f64 / *frames_due as f64 * 100.0;
            writeln!(
                f,
                "fell behind   {frames_unsent} of {frames_due} due frames were never sent \
                 ({percent:.1} %); they are not in the latency"
            )?;
        }
        Ok(())
    }
}
