//! `bench-blocked`: the others' latency while all workers but one are stuck in handlers (G3).

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use clap::Args;

use super::{build_wharf, to_command};
use crate::process::{Running, catch_signals};

/// Measure the others' latency while all workers but one sleep in handlers
#[derive(Args)]
pub(crate) struct BlockedArgs {
    /// Workers of the server's port; one less are kept asleep
    #[arg(long, default_value_t = 4)]
    workers: usize,

    /// How long a blocking handler sleeps, over and over
    #[arg(long, default_value_t = 50)]
    sleep_ms: u64,

    /// The other sessions
    #[arg(long, default_value_t = 100)]
    connections: u32,

    /// Frames a second of the other sessions, all together
    #[arg(long, default_value_t = 1000)]
    rate: u32,

    /// Runs, each once with blockers and once without
    #[arg(long, default_value_t = 5)]
    rounds: u32,

    /// Seconds a run
    #[arg(long, default_value_t = 5)]
    seconds: u32,
}

/// A frame of 6 bytes: below what `wharf load` sends, so `serve --sleep-us` sleeps on it.
const BLOCKING_FRAME: [u8; 6] = [6, 0, 0, 0, 0, 0];

/// Runs the measurement and prints to `out`.
///
/// # Errors
/// When a program cannot be built or started, or a run fails.
pub(crate) fn run(root: &Path, args: &BlockedArgs, out: &mut dyn Write) -> Result<(), String> {
    if args.workers < 2 {
        return Err("--workers must be at least 2: one is left for the others".into());
    }
    catch_signals()?;
    let wharf = build_wharf(root)?;
    let mut print =
        |text: String| writeln!(out, "{text}").map_err(|e| format!("cannot print: {e}"));
    print(format!(
        "{} workers, {} of them asleep for {} ms over and over; {} other sessions, {} frames/s",
        args.workers,
        args.workers - 1,
        args.sleep_ms,
        args.connections,
        args.rate
    ))?;
    print(format!(
        "{:<10} {:>10} {:>10} {:>10} {:>9}",
        "us", "p50", "p99", "max", "blocked"
    ))?;
    let mut p99s = Vec::new();
    for _ in 0..args.rounds {
        for blocked in [false, true] {
            let point = measure(&wharf, args, blocked)?;
            let name = if blocked { "blocked" } else { "quiet" };
            let Point {
                p50,
                p99,
                max,
                sleeps,
            } = point;
            print(format!(
                "{name:<10} {p50:>10.0} {p99:>10.0} {max:>10.0} {sleeps:>9}"
            ))?;
            if blocked {
                p99s.push(p99);
            }
        }
    }
    p99s.sort_by(f64::total_cmp);
    print(format!(
        "median p99 of the others while blocked: {:.0} us",
        p99s[p99s.len() / 2]
    ))
}

struct Point {
    p50: f64,
    p99: f64,
    max: f64,
    /// Sleeps that the blockers have sat through: that they blocked is counted, not assumed.
    sleeps: u64,
}

fn measure(wharf: &Path, args: &BlockedArgs, blocked: bool) -> Result<Point, String> {
    let sleep_us = (args.sleep_ms * 1000).to_string();
    let workers = args.workers.to_string();
    let serve = [
        "serve",
        "echo",
        "--listen",
        "127.0.0.1:0",
        "--workers",
        &workers,
        "--sleep-us",
        &sleep_us,
    ];
    let mut server = Running::start("wharf serve", command(&to_command(wharf, &serve)))?;
    let address = server.listening_on()?;
    let done = Arc::new(AtomicBool::new(false));
    let sleeps = Arc::new(AtomicU64::new(0));
    let count = if blocked { args.workers - 1 } else { 0 };
    let blockers: Vec<_> = (0..count)
        .map(|n| block(n, &address, &done, &sleeps))
        .collect::<Result<_, _>>()?;
    let (connections, rate) = (args.connections.to_string(), args.rate.to_string());
    let seconds = args.seconds.to_string();
    let load = [
        "load",
        "--connect",
        &address,
        "--connections",
        &connections,
        "--rate",
        &rate,
        "--seconds",
        &seconds,
        "--json",
    ];
    let mut load = Running::start("wharf load", command(&to_command(wharf, &load)))?;
    let limit = Duration::from_secs(u64::from(args.seconds) + 30);
    let report = load.output(limit);
    done.store(true, Ordering::Relaxed);
    for blocker in blockers {
        blocker
            .join()
            .map_err(|_| "a blocker panicked".to_owned())??;
    }
    server.end()?;
    let report: serde_json::Value =
        serde_json::from_str(&report?).map_err(|e| format!("wharf load printed no JSON: {e}"))?;
    if report["fault"] != false {
        return Err(format!(
            "wharf load found a fault: {}",
            report["first_fault"]
        ));
    }
    let latency = |name: &str| {
        report["latency_us"][name]
            .as_f64()
            .ok_or_else(|| format!("no {name} in the report"))
    };
    Ok(Point {
        p50: latency("p50")?,
        p99: latency("p99")?,
        max: latency("max")?,
        sleeps: sleeps.load(Ordering::Relaxed),
    })
}

fn command(words: &[String]) -> Command {
    let mut command = Command::new(&words[0]);
    command
        .args(&words[1..])
        .stdout(std::process::Stdio::piped());
    command
}

/// One session that keeps a worker asleep: each reply is followed by the next blocking frame.
fn block(
    number: usize,
    address: &str,
    done: &Arc<AtomicBool>,
    sleeps: &Arc<AtomicU64>,
) -> Result<std::thread::JoinHandle<Result<(), String>>, String> {
    let mut stream = TcpStream::connect(address).map_err(|e| format!("a blocker: {e}"))?;
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .map_err(|e| e.to_string())?;
    let (done, sleeps) = (Arc::clone(done), Arc::clone(sleeps));
    std::thread::Builder::new()
        .name(format!("blocker-{number}"))
        .spawn(move || {
            while !done.load(Ordering::Relaxed) {
                let mut reply = BLOCKING_FRAME;
                stream
                    .write_all(&BLOCKING_FRAME)
                    .map_err(|e| format!("a blocker: {e}"))?;
                stream
                    .read_exact(&mut reply)
                    .map_err(|e| format!("a blocker: {e}"))?;
                sleeps.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        })
        .map_err(|e| e.to_string())
}
