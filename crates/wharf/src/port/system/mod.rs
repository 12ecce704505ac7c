//! What the operating system says about this process: for programs that report on themselves, and
//! for tests that look for what was left open. What a system does not tell is `None`.

use std::io;

#[cfg(target_os = "linux")]
#[path = "linux.rs"]
mod here;
#[cfg(all(unix, not(target_os = "linux")))]
#[path = "other_unix.rs"]
mod here;
#[cfg(windows)]
#[path = "windows.rs"]
mod here;
#[cfg(unix)]
mod limit;

/// How many files and sockets this process may have open at once; `None` where there is no such
/// limit, as on Windows, whose sockets end with the memory.
#[must_use]
pub fn open_files_max() -> Option<u64> {
    #[cfg(unix)]
    return limit::now();
    #[cfg(windows)]
    None
}

/// Raises the limit of [`open_files_max`] to `wanted` or as near as this process may, never below
/// what it is. Returns what it is then.
pub fn raise_open_files_max(wanted: u64) -> Option<u64> {
    #[cfg(unix)]
    return limit::raise(wanted);
    #[cfg(windows)]
    {
        let _ = wanted;
        None
    }
}

/// Has the system set up what it needs for so many open files now, while no session waits for it.
pub(crate) fn expect_open_files(files: usize) {
    #[cfg(target_os = "linux")]
    here::expect_open_files(files);
    #[cfg(not(target_os = "linux"))]
    let _ = files;
}

/// Whether the error says that this process, or the system, can't open another file or socket.
#[must_use]
pub fn is_out_of_files(error: &io::Error) -> bool {
    error
        .raw_os_error()
        .is_some_and(|code| OUT_OF_FILES.contains(&code))
}

/// What to do where files or sockets have run out, in words that end a sentence.
#[must_use]
pub fn more_open_files() -> &'static str {
    if cfg!(unix) {
        "raise the limit of open files (ulimit -n, or LimitNOFILE= of the service)"
    } else {
        "the system has no memory or ports left for more sockets: close what else holds some"
    }
}

/// `ENFILE` and `EMFILE`, which have no kind of their own in std.
#[cfg(unix)]
const OUT_OF_FILES: &[i32] = &[23, 24];
/// `WSAEMFILE`, and `WSAENOBUFS` for want of memory that sockets are made of.
#[cfg(windows)]
const OUT_OF_FILES: &[i32] = &[10024, 10055];

/// How many cores this process may use.
#[must_use]
pub fn cores() -> usize {
    super::threads::cores()
}

/// What an operator should know of this system, a line each: what it does otherwise than others.
#[must_use]
pub fn notes() -> &'static [&'static str] {
    #[cfg(windows)]
    return &[
        "open files: no limit to raise; a session costs a socket handle and kernel memory",
        "nice: as SetThreadPriority, -20 to -11 highest, below 0 above normal, 0 normal, to 10 \
         below normal, to 19 lowest; a higher priority always runs first",
        "cores: counted through the processor groups of 64; a thread is bound within one group",
        "stop: Ctrl-C, Ctrl-Break, the console's close (which leaves 5 s to drain) and shutdown; \
         a user's log-off does not stop it",
        "links: each takes a dynamic port; `netsh int ipv4 show dynamicport tcp` says how many \
         there are",
    ];
    #[cfg(target_os = "macos")]
    return &["nice and cores: macOS has neither for a thread; refused_settings tells"];
    #[cfg(not(any(windows, target_os = "macos")))]
    &[]
}

/// How many files, sockets and other things of the kernel this process has open: descriptors, on
/// Windows handles of all kinds (threads and events too).
#[must_use]
pub fn open_handles() -> Option<usize> {
    here::open_handles()
}

/// Memory of this process that is in RAM, in bytes.
#[must_use]
pub fn resident_bytes() -> Option<u64> {
    here::resident_bytes()
}

/// Memory that this process has asked for, in bytes, used or not: its address space, on Windows
/// what was committed.
#[must_use]
pub fn claimed_bytes() -> Option<u64> {
    here::claimed_bytes()
}

/// The names of this process's threads; empty for one that has none (yet). Linux tells their first
/// 15 bytes.
#[must_use]
pub fn thread_names() -> Option<Vec<String>> {
    here::thread_names()
}

/// The priority and the cores of the calling thread, in the system's own terms.
#[must_use]
pub fn own_thread() -> Option<String> {
    here::own_thread()
}

#[cfg(all(test, any(target_os = "linux", windows)))]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_one_more_handle() {
        // Other tests open and close things meanwhile: some look must see just this one.
        let seen = (0..1000).any(|_| {
            let before = open_handles().unwrap();
            let file = std::fs::File::open(std::env::current_exe().unwrap()).unwrap();
            let with = open_handles().unwrap();
            drop(file);
            before > 0 && with == before + 1 && open_handles().unwrap() == before
        });
        assert!(seen);
    }

    #[test]
    fn memory_in_use_is_resident_and_claimed() {
        let resident = resident_bytes().unwrap();
        assert!(resident > 100_000, "{resident}");
        let claimed = claimed_bytes().unwrap();
        let block = vec![1_u8; 256 << 20];
        assert!(claimed_bytes().unwrap() > claimed + (200 << 20));
        drop(std::hint::black_box(block));
    }

    #[test]
    fn threads_have_the_names_that_they_were_given() {
        let (tell, told) = std::sync::mpsc::sync_channel::<()>(0);
        let thread = std::thread::Builder::new().name("wharf-own-name".to_owned());
        let thread = thread.spawn(move || told.recv()).unwrap();
        let named = || {
            let names = thread_names().unwrap();
            names.iter().any(|name| name == "wharf-own-name")
        };
        // A thread names itself once it runs.
        let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while !named() {
            assert!(std::time::Instant::now() < until, "{:?}", thread_names());
            std::thread::yield_now();
        }
        drop(tell);
        thread.join().unwrap().unwrap_err();
    }

    #[test]
    fn a_limit_is_never_lowered() {
        let before = open_files_max();
        assert_eq!(raise_open_files_max(1), before);
        assert_eq!(open_files_max(), before);
    }
}
