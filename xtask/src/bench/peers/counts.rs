//! Counts of a pass of their own: system calls by the kernel's trace points, while the load runs,
//! and instructions in user space by callgrind.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::cells::Cell;
use super::sample::{self, Report};
use super::servers::Server;

/// Seconds of load whose calls are counted; connecting is among them.
const COUNTED_SECONDS: &str = "2";

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
    let file = out_file("perf");
    let names = CALLS
        .iter()
        .map(|call| format!("syscalls:sys_enter_{call}"));
    let events: Vec<String> = std::iter::once(ALL_CALLS.to_owned()).chain(names).collect();
    // perf counts the server for as long as the load, which it runs, takes.
    let (pid, events, out) = (
        running.pid.to_string(),
        events.join(","),
        file.display().to_string(),
    );
    let perf = [
        "perf", "stat", "-x,", "-o", &out, "-e", &events, "-p", &pid, "--",
    ];
    let seconds = ["--seconds", COUNTED_SECONDS];
    let mut clients = sample::load(program, cell, &address, &seconds, &perf.map(Into::into))?;
    let report = clients.output(LIMIT)?;
    running.end()?;
    let counted = take_file(&file)?;
    let frames = Report::read(&report, cell)?.frames;
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
const SHORT_SECONDS: &str = "2";
const LONG_SECONDS: &str = "5";

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
    let file = out_file("callgrind");
    let mut command: Vec<String> = ["valgrind", "--quiet", "--tool=callgrind"]
        .map(Into::into)
        .into();
    command.push(format!("--callgrind-out-file={}", file.display()));
    command.extend(server.command(cell));
    let (mut running, address) = sample::start_command(server.name, cell, &command)?;
    let mut clients = sample::load(program, cell, &address, &["--seconds", seconds], &[])?;
    let report = clients.output(LIMIT)?;
    running.end()?;
    drop(running);
    let count = totals(&take_file(&file)?).ok_or("callgrind wrote no totals")?;
    Ok((count, Report::read(&report, cell)?.frames))
}

fn out_file(tool: &str) -> PathBuf {
    std::env::temp_dir().join(format!("wharf-peers-{}.{tool}", std::process::id()))
}

/// Reads the file and removes it.
fn take_file(file: &Path) -> Result<String, String> {
    let text = std::fs::read_to_string(file).map_err(|e| format!("{}: {e}", file.display()));
    // Not there if the tool never wrote it, which is the error above.
    let _ = std::fs::remove_file(file);
    text
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
