//! `bench-idle`: the user memory of an idle session.
//!
//! The slope between two numbers of sessions leaves out what the process needs by itself.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use clap::Args;

use super::usage::{Memory, descriptors};
use super::{Candidate, Programs};
use crate::process::{Core, Running, bound_to, catch_signals, wait_for};

/// How long all connections may take to be there.
const CONNECT_LIMIT: Duration = Duration::from_secs(60);

/// How long the load generator holds them: longer than connecting and settling together. It is
/// ended as soon as the memory was read.
const HOLD: Duration = Duration::from_secs(180);

/// Memory counts as settled when it did not change for this many looks.
const STILL_LOOKS: usize = 50;

/// Measure the user memory of an idle session
#[derive(Args)]
pub(crate) struct IdleArgs {
    /// Numbers of idle sessions, at least two
    #[arg(long, value_delimiter = ',', default_values_t = [2000, 10_000])]
    sessions: Vec<u32>,

    #[command(flatten)]
    programs: Programs,
}

/// Runs the measurement for both sides and prints to `out`.
///
/// # Errors
/// When a program cannot be built or started, a session is missing, or the run is interrupted.
pub(crate) fn run(root: &Path, args: &IdleArgs, out: &mut dyn Write) -> Result<(), String> {
    if args.sessions.len() < 2 {
        return Err("--sessions needs two numbers or more: the result is a slope".into());
    }
    catch_signals()?;
    let setup = args.programs.prepare(root)?;
    let mut print =
        |text: String| writeln!(out, "{text}").map_err(|e| format!("cannot print: {e}"));
    print(format!(
        "{:<12} {:>9} {:>12} {:>12}",
        "server", "sessions", "VmRSS KiB", "RssAnon KiB"
    ))?;
    for side in [&setup.subject, &setup.base] {
        let mut points = Vec::new();
        for &sessions in &args.sessions {
            let memory = measure(side, &setup.load, sessions)?;
            let (resident, anonymous) = (memory.resident / 1024.0, memory.anonymous / 1024.0);
            print(format!(
                "{:<12} {sessions:>9} {resident:>12} {anonymous:>12}",
                side.name
            ))?;
            points.push((f64::from(sessions), memory));
        }
        let slopes = [
            slope(&points, |m| m.resident),
            slope(&points, |m| m.anonymous),
        ];
        let [resident, anonymous] = slopes.map(|bytes| format!("{bytes:.1}"));
        let name = side.name;
        print(format!(
            "{name}: {resident} bytes a session of VmRSS, {anonymous} of RssAnon"
        ))?;
    }
    Ok(())
}

/// Memory of a fresh server that holds `sessions` idle sessions.
fn measure(candidate: &Candidate, load: &str, sessions: u32) -> Result<Memory, String> {
    let command = bound_to(Core::Server, &candidate.command)?;
    let mut server = Running::start(candidate.name, command)?;
    let address = server.listening_on()?;
    let own = descriptors(server.pid)?;
    let wanted = own + usize::try_from(sessions).map_err(|e| e.to_string())?;
    let limit = CONNECT_LIMIT.as_secs().to_string();
    let args = [
        (load, "load"),
        ("--connect", &address),
        ("--mode", "idle"),
        ("--connections", &sessions.to_string()),
        ("--seconds", &HOLD.as_secs().to_string()),
        ("--connect-timeout-seconds", &limit),
    ];
    let command: Vec<String> = args
        .iter()
        .flat_map(|(a, b)| [(*a).into(), (*b).into()])
        .collect();
    // Both end with this function, by pid, on every way out.
    let mut clients = Running::start("wharf load", bound_to(Core::Load, &command)?)?;
    wait_for("all sessions open", CONNECT_LIMIT, || {
        if clients.has_ended()? {
            return Err("wharf load ended before all sessions were open".into());
        }
        Ok((descriptors(server.pid)? >= wanted).then_some(()))
    })?;
    let (mut last, mut still) = (Memory::of(server.pid)?, 0);
    wait_for("settled memory", CONNECT_LIMIT, || {
        let now = Memory::of(server.pid)?;
        still = if now == last { still + 1 } else { 0 };
        last = now;
        Ok((still >= STILL_LOOKS).then_some(()))
    })?;
    if clients.has_ended()? {
        return Err("wharf load ended before the memory was read".into());
    }
    drop(clients);
    server.end()?;
    Ok(last)
}

/// Bytes a session, by least squares over all points.
fn slope(points: &[(f64, Memory)], bytes: impl Fn(&Memory) -> f64) -> f64 {
    let count = points.len() as f64;
    let mean_x = points.iter().map(|(x, _)| x).sum::<f64>() / count;
    let mean_y = points.iter().map(|(_, m)| bytes(m)).sum::<f64>() / count;
    let both: f64 = points
        .iter()
        .map(|(x, m)| (x - mean_x) * (bytes(m) - mean_y))
        .sum();
    both / points
        .iter()
        .map(|(x, _)| (x - mean_x).powi(2))
        .sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slope_leaves_the_process_itself_out() {
        let at = |sessions: f64| {
            (
                sessions,
                Memory {
                    resident: 5e6 + 96.0 * sessions,
                    anonymous: 3e6 + 48.0 * sessions,
                },
            )
        };
        let points = [at(2000.0), at(6000.0), at(10_000.0)];
        assert_eq!(slope(&points, |m| m.resident), 96.0);
        assert_eq!(slope(&points[..2], |m| m.anonymous), 48.0);
    }
}
