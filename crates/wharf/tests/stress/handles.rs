//! How many handles (descriptors) this process has open.

use std::time::{Duration, Instant};

/// How long a handle that is being closed may take.
const PATIENCE: Duration = Duration::from_secs(10);

#[cfg(windows)]
pub(crate) fn count() -> usize {
    let process = winsafe::HPROCESS::GetCurrentProcess();
    usize::try_from(process.GetProcessHandleCount().unwrap()).unwrap()
}

#[cfg(unix)]
pub(crate) fn count() -> usize {
    std::fs::read_dir("/dev/fd").unwrap().count()
}

/// Waits until no more are open than were before.
pub(crate) fn await_count(before: usize) {
    let begun = Instant::now();
    while count() > before {
        let now = count();
        assert!(
            begun.elapsed() < PATIENCE,
            "{before} handles before, {now} after"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}
