//! Linux: what proc(5) says.

use std::fs;

pub(super) fn open_handles() -> Option<usize> {
    // Less the one that reads.
    Some(
        fs::read_dir("/proc/self/fd")
            .ok()?
            .count()
            .saturating_sub(1),
    )
}

pub(super) fn resident_bytes() -> Option<u64> {
    pages(1)
}

pub(super) fn claimed_bytes() -> Option<u64> {
    pages(0)
}

/// A field of `statm`, which counts in pages.
fn pages(field: usize) -> Option<u64> {
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split(' ').nth(field)?.trim().parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

pub(super) fn thread_names() -> Option<Vec<String>> {
    let tasks = fs::read_dir("/proc/self/task").ok()?;
    // One that has ended since is none any more.
    let names = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok());
    Some(names.map(|name| name.trim_end().to_owned()).collect())
}

pub(super) fn own_thread() -> Option<String> {
    let stat = fs::read_to_string("/proc/thread-self/stat").ok()?;
    // The name in parentheses may hold anything; the nice value is the 19th field.
    let nice = stat.rsplit_once(") ")?.1.split(' ').nth(16)?;
    let status = fs::read_to_string("/proc/thread-self/status").ok()?;
    let mut lines = status.lines();
    let cores = lines.find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
    Some(format!("nice {nice}, cores {}", cores.trim()))
}
