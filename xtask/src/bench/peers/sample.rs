//! One server under one load: what it used, and what its clients saw.
//!
//! CPU and switches are taken over a window inside the time that the load measures, after all
//! connections are open and warm: accepting ten thousand connections would be a fifth of a short
//! run. The frames of the window are its length times the rate that the load reports.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::super::usage::{Memory, Usage, descriptors};
use super::cells::{Cell, Kind};
use super::servers::Server;
use crate::process::{Core, Running, bound_to, tied, wait_for};

/// The load sends so long before it measures.
const WARMUP: Duration = Duration::from_millis(300);

/// The window ends so much before the load stops.
const EARLY: Duration = Duration::from_millis(100);

/// How long all connections may take to be there.
const CONNECT_LIMIT: Duration = Duration::from_secs(60);

/// What the load may take on top of its time: waiting for stragglers.
const LOAD_SLACK: Duration = Duration::from_secs(60);

/// How long idle sessions are held at most; they are ended once the memory was read.
const HOLD_SECONDS: &str = "180";

/// Memory counts as settled when it did not change for this many looks.
const STILL_LOOKS: usize = 30;

/// What one run shows.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sample {
    pub(super) figures: Vec<(&'static str, f64)>,
}

impl Sample {
    pub(super) fn to_json(&self) -> Value {
        let pairs = self.figures.iter();
        Value::Object(
            pairs
                .map(|(name, value)| ((*name).into(), json!(value)))
                .collect(),
        )
    }
}

/// A server that runs, in its place.
pub(super) fn start(server: &Server, cell: &Cell) -> Result<(Running, String), String> {
    start_command(server.name, cell, &server.command(cell))
}

/// The same for a command that runs a server, such as a tracer's.
pub(super) fn start_command(
    name: &str,
    cell: &Cell,
    command: &[String],
) -> Result<(Running, String), String> {
    let mut running = Running::start(name, placed(Core::Server, cell, command)?)?;
    let address = running.listening_on()?;
    Ok((running, address))
}

/// One worker has a core of its own, and so has the load; several workers and the load share all.
fn placed(core: Core, cell: &Cell, command: &[String]) -> Result<std::process::Command, String> {
    if cell.workers > 1 {
        Ok(tied(command))
    } else {
        bound_to(core, command)
    }
}

/// Starts the load with these further arguments, after the words of a program that runs it, if any.
pub(super) fn load(
    program: &str,
    cell: &Cell,
    address: &str,
    more: &[&str],
    runner: &[String],
) -> Result<Running, String> {
    let mut command = runner.to_vec();
    command.extend([program, "load", "--json", "--connect", address].map(Into::into));
    command.extend(cell.load_args());
    command.extend(more.iter().map(ToString::to_string));
    Running::start("wharf load", placed(Core::Load, cell, &command)?)
}

/// Waits until the server has all connections of the cell.
pub(super) fn wait_open(
    server: &Running,
    clients: &mut Running,
    cell: &Cell,
    own: usize,
) -> Result<(), String> {
    let wanted = own + usize::try_from(cell.connections).map_err(|e| e.to_string())?;
    wait_for("all connections open", CONNECT_LIMIT, || {
        if clients.has_ended()? {
            let said = clients.output(Duration::ZERO).unwrap_or_else(|e| e);
            return Err(format!("wharf load ended early: {said}"));
        }
        // Churn is seldom at its full number after the start.
        let enough = if cell.kind == Kind::Churn {
            own + 1
        } else {
            wanted
        };
        Ok((descriptors(server.pid)? >= enough).then_some(()))
    })
}

pub(super) fn pause(time: Duration) -> Result<(), String> {
    let until = Instant::now() + time;
    wait_for("a pause", time + CONNECT_LIMIT, || {
        Ok((Instant::now() >= until).then_some(()))
    })
}

/// Runs the cell once against a fresh server.
pub(super) fn take(
    server: &Server,
    cell: &Cell,
    program: &str,
    seconds: f64,
) -> Result<Sample, String> {
    if cell.kind == Kind::Idle {
        return memory(server, cell, program);
    }
    let (mut running, address) = start(server, cell)?;
    let own = descriptors(running.pid)?;
    let warmup = WARMUP.as_secs_f64().to_string();
    let times = [
        "--warmup-seconds",
        &warmup,
        "--seconds",
        &seconds.to_string(),
    ];
    let mut clients = load(program, cell, &address, &times, &[])?;
    wait_open(&running, &mut clients, cell, own)?;
    pause(WARMUP)?;
    let (from, before) = (Instant::now(), Usage::of(running.pid)?);
    pause(Duration::from_secs_f64(seconds).saturating_sub(EARLY))?;
    let (window, used) = (from.elapsed(), Usage::of(running.pid)?.since(&before));
    let memory = Memory::of(running.pid)?;
    let report = clients.output(Duration::from_secs_f64(seconds) + LOAD_SLACK)?;
    running.end()?;
    let report = Report::read(&report, cell)?;
    let done = report.per_second * window.as_secs_f64();
    let switches = used.voluntary_switches + used.involuntary_switches;
    Ok(Sample {
        figures: vec![
            ("per_second", report.per_second),
            ("cpu_us", used.cpu_us / done),
            ("user_us", used.user_us / done),
            ("switches", switches / done),
            ("p50_us", report.p50_us),
            ("p99_us", report.p99_us),
            ("p99_9_us", report.p99_9_us),
            ("client_cores", report.client_cores),
            ("server_cores", used.cpu_us / window.as_secs_f64() / 1e6),
            ("rss_bytes", memory.resident),
        ],
    })
}

/// What is resident with all sessions open and silent, beside what is with none.
fn memory(server: &Server, cell: &Cell, program: &str) -> Result<Sample, String> {
    let (mut running, address) = start(server, cell)?;
    let own = descriptors(running.pid)?;
    let empty = settled(&running)?;
    let mut clients = load(program, cell, &address, &["--seconds", HOLD_SECONDS], &[])?;
    wait_open(&running, &mut clients, cell, own)?;
    let full = settled(&running)?;
    if clients.has_ended()? {
        return Err("wharf load ended before the memory was read".into());
    }
    drop(clients);
    running.end()?;
    let sessions = f64::from(cell.connections);
    Ok(Sample {
        figures: vec![
            (
                "bytes_a_session",
                (full.resident - empty.resident) / sessions,
            ),
            ("rss_bytes", full.resident),
        ],
    })
}

fn settled(server: &Running) -> Result<Memory, String> {
    let (mut last, mut still) = (Memory::of(server.pid)?, 0);
    wait_for("settled memory", CONNECT_LIMIT, || {
        let now = Memory::of(server.pid)?;
        still = if now == last { still + 1 } else { 0 };
        last = now;
        Ok((still >= STILL_LOOKS).then_some(()))
    })?;
    Ok(last)
}

/// What the load saw; a lost or wrong frame is an error.
pub(super) struct Report {
    pub(super) per_second: f64,
    pub(super) frames: f64,
    p50_us: f64,
    p99_us: f64,
    p99_9_us: f64,
    client_cores: f64,
}

impl Report {
    pub(super) fn read(text: &str, cell: &Cell) -> Result<Self, String> {
        let report: Value =
            serde_json::from_str(text).map_err(|e| format!("wharf load's JSON: {e}\n{text}"))?;
        if report["fault"] != false {
            let fault = &report["first_fault"];
            return Err(format!("wharf load found a fault: {fault}"));
        }
        let number = |value: &Value, name: &str| {
            let missing = || format!("wharf load's JSON has no number `{name}`: {text}");
            value[name].as_f64().ok_or_else(missing)
        };
        // What the last receiver waits is what a fan-out costs.
        let latency = match cell.kind {
            Kind::Broadcast { .. } => &report["last_receiver_us"],
            _ => &report["latency_us"],
        };
        let per_second = number(&report, "frames_per_second")?;
        if per_second <= 0.0 {
            return Err(format!("no frame was answered: {text}"));
        }
        Ok(Self {
            per_second,
            frames: number(&report, "frames_answered")?,
            p50_us: number(latency, "p50")?,
            p99_us: number(latency, "p99")?,
            p99_9_us: number(latency, "p99_9")?,
            client_cores: number(&report, "client_cpu_seconds")? / number(&report, "seconds")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{"fault": false, "frames_answered": 10, "frames_per_second": 5.0,
        "client_cpu_seconds": 1.5, "seconds": 2.0,
        "latency_us": {"p50": 1, "p99": 2, "p99_9": 3},
        "last_receiver_us": {"p50": 10, "p99": 20, "p99_9": 30}}"#;

    #[test]
    fn a_report_is_read_and_a_fault_is_an_error() {
        let echo = Cell::parse("echo-1x1-64").expect("known");
        let report = Report::read(GOOD, &echo).expect("good");
        assert_eq!((report.per_second, report.p99_9_us), (5.0, 3.0));
        assert_eq!(report.client_cores, 0.75);
        let room = Cell::parse("broadcast-1x9-64").expect("known");
        assert_eq!(Report::read(GOOD, &room).expect("good").p99_us, 20.0);
        for (from, to, names) in [
            ("false", "true", "fault"),
            ("p99_9", "p98", "`p99_9`"),
            ("5.0", "0.0", "no frame"),
        ] {
            let error = Report::read(&GOOD.replace(from, to), &echo).err();
            assert!(error.is_some_and(|e| e.contains(names)), "{names}");
        }
    }
}
