//! What a process has used so far, from `/proc`.

use std::path::Path;

/// Totals since the process started, over all its threads.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Usage {
    /// CPU time in microseconds, user and system.
    pub(super) cpu_us: f64,
    /// User part in microseconds, counted by the kernel in whole ticks (10 ms).
    pub(super) user_us: f64,
    /// Times that a thread gave up its core to wait.
    pub(super) voluntary_switches: f64,
    /// Times that a thread was put off its core.
    pub(super) involuntary_switches: f64,
}

impl Usage {
    pub(super) fn of(pid: i32) -> Result<Self, String> {
        let process = format!("/proc/{pid}");
        let (user_ticks, system_ticks) = ticks(&read(&format!("{process}/stat"))?)
            .ok_or_else(|| format!("{process}/stat: not in the form that proc(5) describes"))?;
        let tick_us = 1e6 / rustix::param::clock_ticks_per_second() as f64;
        let mut usage = Self {
            user_us: user_ticks * tick_us,
            ..Self::default()
        };
        let mut run_ns = Some(0.0);
        let tasks = format!("{process}/task");
        for task in std::fs::read_dir(&tasks)
            .map_err(|e| format!("{tasks}: {e}"))?
            .flatten()
        {
            let task = task.path();
            // A thread may end while we look: what it used is then missing here only.
            let Ok(status) = std::fs::read_to_string(task.join("status")) else {
                continue;
            };
            usage.voluntary_switches += number_after(&status, "voluntary_ctxt_switches:");
            usage.involuntary_switches += number_after(&status, "nonvoluntary_ctxt_switches:");
            run_ns = run_ns.and_then(|sum| Some(sum + nanoseconds_run(&task)?));
        }
        // schedstat counts nanoseconds; without it (a kernel option) the ticks of stat must do.
        let from_ticks = (user_ticks + system_ticks) * tick_us;
        usage.cpu_us = run_ns.map_or(from_ticks, |ns| ns / 1000.0);
        Ok(usage)
    }

    /// What was used since `before`.
    pub(super) fn since(&self, before: &Self) -> Self {
        Self {
            cpu_us: self.cpu_us - before.cpu_us,
            user_us: self.user_us - before.user_us,
            voluntary_switches: self.voluntary_switches - before.voluntary_switches,
            involuntary_switches: self.involuntary_switches - before.involuntary_switches,
        }
    }
}

/// Memory of a process in bytes: all that is resident, and the anonymous part of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Memory {
    pub(super) resident: f64,
    pub(super) anonymous: f64,
}

impl Memory {
    pub(super) fn of(pid: i32) -> Result<Self, String> {
        let status = read(&format!("/proc/{pid}/status"))?;
        let bytes = |name| number_after(&status, name) * 1024.0;
        Ok(Self {
            resident: bytes("VmRSS:"),
            anonymous: bytes("RssAnon:"),
        })
    }
}

/// Open file descriptors of a process.
pub(super) fn descriptors(pid: i32) -> Result<usize, String> {
    let folder = format!("/proc/{pid}/fd");
    Ok(std::fs::read_dir(&folder)
        .map_err(|e| format!("{folder}: {e}"))?
        .count())
}

/// The one child that a process has, as the kernel lists it.
pub(super) fn only_child(pid: i32) -> Option<i32> {
    let list = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    list.split_whitespace().next()?.parse().ok()
}

fn read(path: &str) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|e| format!("{path}: {e}"))
}

/// User and system ticks of a `/proc/PID/stat` line: fields 14 and 15 of proc(5). The name in
/// brackets may hold anything, so fields are counted from its end.
fn ticks(stat: &str) -> Option<(f64, f64)> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let user = fields.nth(11)?.parse().ok()?;
    Some((user, fields.next()?.parse().ok()?))
}

fn nanoseconds_run(task: &Path) -> Option<f64> {
    let schedstat = std::fs::read_to_string(task.join("schedstat")).ok()?;
    schedstat.split_whitespace().next()?.parse().ok()
}

/// The number after `name` at the start of a line of a status file; 0 if there is none.
fn number_after(status: &str, name: &str) -> f64 {
    let rest = status.lines().find_map(|line| line.strip_prefix(name));
    rest.and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_counted_after_the_name() {
        let stat = "7 (a) b) S 1 2 3 4 5 6 7 8 9 10 111 222 13 14 20 0 1";
        assert_eq!(ticks(stat), Some((111.0, 222.0)));
        assert_eq!(ticks("7 (a) S 1"), None);
    }

    #[test]
    fn numbers_are_found_by_the_whole_name() {
        let status =
            "VmRSS:\t    12 kB\nnonvoluntary_ctxt_switches:\t5\nvoluntary_ctxt_switches:\t3\n";
        assert_eq!(number_after(status, "voluntary_ctxt_switches:"), 3.0);
        assert_eq!(number_after(status, "nonvoluntary_ctxt_switches:"), 5.0);
        assert_eq!(number_after(status, "VmRSS:"), 12.0);
        assert_eq!(number_after(status, "RssAnon:"), 0.0);
    }

    #[test]
    fn this_process_uses_cpu_memory_and_descriptors() {
        let pid = i32::try_from(std::process::id()).expect("fits");
        let before = Usage::of(pid).expect("readable");
        let mut sum = 0_u64;
        let start = std::time::Instant::now();
        while start.elapsed() < std::time::Duration::from_millis(60) {
            sum = std::hint::black_box(sum + 1);
        }
        let used = Usage::of(pid).expect("readable").since(&before);
        assert!(used.cpu_us > 0.0 && used.user_us >= 0.0, "{used:?}");
        let memory = Memory::of(pid).expect("readable");
        assert!(
            memory.resident >= memory.anonymous && memory.anonymous > 0.0,
            "{memory:?}"
        );
        assert!(descriptors(pid).expect("readable") >= 3);
    }
}
