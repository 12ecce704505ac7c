//! System calls a frame, counted by `strace -c`.
//!
//! strace makes each call many times slower, so waits find more sessions ready than without it:
//! read the calls of the data path (recv, send), and take the share of waits as a lower bound.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::load::Load;
use super::{Candidate, usage};
use crate::process::{Core, Running, bound_to, wait_for};

/// Rows below this many calls a frame are start and end of the process, not the data path.
const SHOWN_MIN: f64 = 0.0005;

/// Runs the load against the traced candidate and returns a table.
pub(super) fn count(candidate: &Candidate, load: &Load) -> Result<String, String> {
    let summary = SummaryFile::new(candidate.name);
    // The inner setpriv ties the server to strace, as the outer one ties strace to us.
    let mut command: Vec<String> = ["strace", "-c", "-f", "-o"].map(Into::into).into();
    command.push(summary.0.display().to_string());
    command.extend(["setpriv", "--pdeathsig", "KILL", "--"].map(Into::into));
    command.extend(candidate.command.iter().cloned());

    let mut server = Running::start("strace", bound_to(Core::Server, &command)?)?;
    let address = server.listening_on()?;
    let strace = server.pid;
    server.pid = wait_for("strace's child", Duration::from_secs(5), || {
        Ok(usage::only_child(strace))
    })?;
    let run = load.run(&address)?;
    server.end()?;
    drop(server);
    let text = std::fs::read_to_string(&summary.0).map_err(|e| format!("strace's summary: {e}"))?;
    let calls = parse(&text);
    if calls.is_empty() {
        return Err(format!("strace printed no summary:\n{text}"));
    }
    Ok(table(candidate.name, &calls, run.frames))
}

/// A file that is gone when the value is.
struct SummaryFile(PathBuf);

impl SummaryFile {
    fn new(name: &str) -> Self {
        let file = format!(
            "wharf-strace-{}-{}.txt",
            std::process::id(),
            name.replace(' ', "-")
        );
        Self(std::env::temp_dir().join(file))
    }
}

impl Drop for SummaryFile {
    fn drop(&mut self) {
        // Not there if strace never started.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Name -> calls of an `strace -c` summary.
fn parse(summary: &str) -> BTreeMap<&str, f64> {
    let rows = summary.lines().filter_map(|line| {
        // % time, seconds, usecs/call, calls, errors (may be blank), name
        let fields: Vec<&str> = line.split_whitespace().collect();
        let is_row = (5..=6).contains(&fields.len()) && fields[0].parse::<f64>().is_ok();
        let name = fields.last().filter(|name| is_row && **name != "total")?;
        Some((*name, fields[3].parse().ok()?))
    });
    rows.collect()
}

fn table(name: &str, calls: &BTreeMap<&str, f64>, frames: f64) -> String {
    let total: f64 = calls.values().sum();
    let mut rows: Vec<_> = calls
        .iter()
        .filter(|(_, n)| **n / frames >= SHOWN_MIN)
        .collect();
    rows.sort_by(|a, b| b.1.total_cmp(a.1));
    let mut text = format!("{name}: {:.3} system calls a frame", total / frames);
    for (call, n) in rows {
        text += &format!("\n  {call:<20} {:>8.3}", n / frames);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUMMARY: &str = "\
% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 60.00    0.006000           3      2000       100 recvfrom
 40.00    0.004000           2      1900           sendto
  0.00    0.000000           0         1           execve
------ ----------- ----------- --------- --------- ----------------
100.00    0.010000           2      3901       100 total
";

    #[test]
    fn a_summary_is_read_with_and_without_errors() {
        let calls = parse(SUMMARY);
        let expected = [("execve", 1.0), ("recvfrom", 2000.0), ("sendto", 1900.0)];
        assert_eq!(calls.into_iter().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn the_table_is_a_frame_and_leaves_the_start_out() {
        let text = table("bare", &parse(SUMMARY), 4000.0);
        assert!(
            text.starts_with("bare: 0.975 system calls a frame\n  recvfrom"),
            "{text}"
        );
        assert!(text.contains("0.475") && !text.contains("execve"), "{text}");
    }
}
