//! What this process has open, for tests that let no other run meanwhile.

/// Descriptors (handles, on Windows), and threads of the library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Open {
    pub(crate) descriptors: usize,
    pub(crate) threads: usize,
}

/// Counts what is open now; zero of what the system does not tell.
pub(crate) fn open_now() -> Open {
    // libtest may start the thread of a next test at any time; it waits for its turn. Workers and
    // the supervisor are told by their names.
    let ours = |name: &String| {
        let (port, index) = name.rsplit_once('-').unwrap_or(("", ""));
        name.starts_with("wharf-") || (!port.is_empty() && index.parse::<usize>().is_ok())
    };
    let names = wharf::system::thread_names().unwrap_or_default();
    Open {
        descriptors: wharf::system::open_handles().unwrap_or(0),
        threads: names.iter().filter(|name| ours(name)).count(),
    }
}
