//! Linux: what proc(5) says.

use std::fs;

/// The most descriptors that a table is grown for ahead of time: 8 MiB of it.
const EXPECTED_MAX: u64 = 1 << 20;

/// The table of a process's descriptors grows by doubling, and in a process with threads whoever
/// opens one waits for the kernel's grace period then (`expand_fdtable` in Linux's `fs/file.c`):
/// 10 ms and more, in the midst of an accept. The highest number that was ever used decides.
///
/// The table takes eight bytes and a bit for each, in the kernel: who names no limit of sessions
/// is not meant to have a gigabyte of it.
pub(super) fn expect_open_files(files: usize) {
    let most = super::open_files_max().unwrap_or(u64::MAX);
    let number = u64::try_from(files)
        .unwrap_or(u64::MAX)
        .min(most.saturating_sub(1))
        .min(EXPECTED_MAX);
    // Refused, it grows when it has to.
    let any = fs::File::open("/proc/self/stat");
    if let (Ok(any), Ok(number)) = (any, i32::try_from(number)) {
        let _ = rustix::io::fcntl_dupfd_cloexec(&any, number);
    }
}

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

#[cfg(test)]
mod tests {
    use crate::Host;
    use crate::handler::Nothing;

    fn room() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let mut lines = status.lines();
        let room = lines.find_map(|line| line.strip_prefix("FDSize:"));
        room.unwrap().trim().parse().unwrap()
    }

    #[test]
    fn no_accept_waits_for_a_larger_table_of_descriptors() {
        let most = super::super::open_files_max().unwrap_or(u64::MAX);
        let wanted = 5000.min(most - 1);
        let mut host = Host::new();
        let server = host.server("game", Nothing);
        let server = server.sessions_max(usize::try_from(wanted).unwrap());
        server.listen("127.0.0.1:0").unwrap();
        host.start().unwrap();
        assert!(room() >= wanted, "{} of {wanted}", room());
        host.stop().unwrap();
    }
}
