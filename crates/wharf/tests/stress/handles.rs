//! How many handles (descriptors) this process has open.

use std::time::{Duration, Instant};

/// How long a handle that is being closed may take.
const PATIENCE: Duration = Duration::from_secs(10);

#[cfg(windows)]
pub(crate) fn count() -> usize {
    let process = winsafe::HPROCESS::GetCurrentProcess();
    match usize::try_from(process.GetProcessHandleCount().unwrap()).unwrap() {
        // Wine 8 never counts.
        0 => used_below_ceiling(),
        count => count,
    }
}

/// Wine gives out the lowest free handle: who takes all that are free below a ceiling has counted
/// the others. (On Windows the order is another, but there the count is told.)
#[cfg(windows)]
fn used_below_ceiling() -> usize {
    use std::os::windows::io::AsRawHandle;
    const CEILING: usize = 2000;
    // Handles are the multiples of 4.
    let number = |file: &std::fs::File| file.as_raw_handle().addr() / 4;
    let file = std::fs::File::open(std::env::current_exe().unwrap()).unwrap();
    let mut taken = Vec::new();
    loop {
        let next = file.try_clone().unwrap();
        if number(&next) > CEILING {
            break CEILING - taken.len();
        }
        taken.push(next);
    }
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
