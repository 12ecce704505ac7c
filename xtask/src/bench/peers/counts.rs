//! Counts of a pass of their own: system calls by the kernel's trace points, while the load runs,
//! and instructions in user space by callgrind.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::super::usage::descriptors;
use super::cells::Cell;
use super::sample::{self, Report};
use super::servers::Server;
use crate::process::Running;

/// Seconds of load, and how long of them is counted.
const LOAD_SECONDS: &str = "1.0";
const COUNTED_SECONDS: &str = "0.5";

/// Longest that a pass may take beyond its load.
const LIMIT: Duration = Duration::from_secs(60);

/// Every system call, then those of a data path by name.
const ALL_CALLS: &str = "raw_syscalls:sys_enter";
const CALLS: &[&str] = &[
    "recvfrom",
    "recvmsg",
    "read",
    "readv",
    "sendto",
    "sendmsg",
    "write",
    "writev",
    "accept4",
    "close",
    "epoll_ctl",
    "epoll_wait",
    "epoll_pwait",
    "io_uring_enter",
    "futex",
];

/// System calls of one frame: the sum as `calls`, and each kind by its name.
pub(super) fn system_calls(
    server: &Server,
    cell: &Cell,
    program: &str,
) -> Result<BTreeMap<String, f64>, String> {
    let (mut running, address) = sample::start(server, cell)?;
    let own = descriptors(running.pid)?;
    let times = ["--warmup-seconds", "0.2", "--seconds", LOAD_SECONDS];
    let mut clients = sample::load(program, cell, &address, &times)?;
    sample::wait_open(&running, &mut clients, cell, own)?;
    sample::pause(Duration::from_millis(300))?;
    let mut command = Command::new("perf");
    let names = CALLS
        .iter()
        .map(|call| format!("syscalls:sys_enter_{call}"));
    let events: Vec<String> = std::iter::once(ALL_CALLS.to_owned()).chain(names).collect();
    command.args(["stat", "-x,", "-o", "/dev/stdout", "-e", &events.join(",")]);
    command.args([
        "-p",
        &running.pid.to_string(),
        "--",
        "sleep",
        COUNTED_SECONDS,
    ]);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let counted = Running::start("perf stat", command)?.output(LIMIT)?;
    let report = clients.output(LIMIT)?;
    running.end()?;
    let seconds: f64 = COUNTED_SECONDS.parse().map_err(|e| format!("{e}"))?;
    let frames = Report::read(&report, cell)?.per_second * seconds;
    let counts = parse(&counted);
    if !counts.contains_key("calls") {
        return Err(format!("perf stat counted no system calls:\n{counted}"));
    }
    Ok(counts
        .into_iter()
        .filter(|(_, count)| *count > 0.0)
        .map(|(name, count)| (name, count / frames))
        .collect())
}

/// Seconds of the two loads under callgrind: what the longer one has more is the frames' own.
const SHORT_SECONDS: &str = "1";
const LONG_SECONDS: &str = "4";

/// User-space instructions of one frame, in all of the program and its libraries. Under callgrind a
/// server is so slow that the load always has the next frames there, for all servers alike.
pub(super) fn instructions(
    server: &Server,
    cell: &Cell,
    program: &str,
) -> Result<BTreeMap<String, f64>, String> {
    let short = callgrind(server, cell, program, SHORT_SECONDS)?;
    let long = callgrind(server, cell, program, LONG_SECONDS)?;
    let count = (long.0 - short.0) / (long.1 - short.1);
    Ok(BTreeMap::from([("instructions".to_owned(), count)]))
}

/// Instructions and frames of one load.
fn callgrind(
    server: &Server,
    cell: &Cell,
    program: &str,
    seconds: &str,
) -> Result<(f64, f64), String> {
    let file = std::env::temp_dir().join(format!("wharf-peers-{}.callgrind", std::process::id()));
    let mut command: Vec<String> = ["valgrind", "--quiet", "--tool=callgrind"]
        .map(Into::into)
        .into();
    command.push(format!("--callgrind-out-file={}", file.display()));
    command.extend(server.command(cell));
    let (mut running, address) = sample::start_command(server.name, cell, &command)?;
    let mut clients = sample::load(program, cell, &address, &["--seconds", seconds])?;
    let report = clients.output(LIMIT)?;
    running.end()?;
    drop(running);
    let text = std::fs::read_to_string(&file).map_err(|e| format!("{}: {e}", file.display()));
    // Not there if valgrind never wrote it, which is the error above.
    let _ = std::fs::remove_file(&file);
    let count = totals(&text?).ok_or("callgrind wrote no totals")?;
    Ok((count, Report::read(&report, cell)?.frames))
}

/// The sum that callgrind writes at the end.
fn totals(text: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix("totals:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Name -> count of `perf stat -x,`: value, unit, event, and more.
fn parse(text: &str) -> BTreeMap<String, f64> {
    let rows = text.lines().filter_map(|line| {
        let mut fields = line.split(',');
        let value = fields.next()?.parse().ok()?;
        let event = fields.nth(1)?;
        let name = match event.strip_prefix("syscalls:sys_enter_") {
            Some(call) => call,
            None if event == ALL_CALLS => "calls",
            None => return None,
        };
        Some((name.to_owned(), value))
    });
    rows.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_of_instructions_is_found() {
        assert_eq!(
            totals("events: Ir\nfn=a\n1 5\n\ntotals: 1234\n"),
            Some(1234.0)
        );
        assert_eq!(totals("events: Ir\n"), None);
    }

    #[test]
    fn counts_are_read_and_what_was_not_counted_is_not_there() {
        let text = "# started on\n\n2100,,raw_syscalls:sys_enter,1,100.00,,\n\
                    1000,,syscalls:sys_enter_recvfrom,1,100.00,,\n\
                    <not counted>,,syscalls:sys_enter_readv,0,100.00,,\n";
        let counts: Vec<_> = parse(text).into_iter().collect();
        let expected = [("calls".into(), 2100.0), ("recvfrom".into(), 1000.0)];
        assert_eq!(counts, expected);
    }
}
