//! What this process has open, for tests that let no other run meanwhile.

/// Descriptors, and threads of the library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Open {
    pub(crate) descriptors: usize,
    pub(crate) threads: usize,
}

/// Counts what is open now.
#[cfg(target_os = "linux")]
pub(crate) fn open_now() -> Open {
    let count = |path: &str| std::fs::read_dir(path).unwrap().count();
    // libtest may start the thread of a next test at any time; it waits for its turn. Workers and
    // the supervisor are told by their names.
    let names = std::fs::read_dir("/proc/self/task").unwrap();
    let names =
        names.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    let ours = |name: &String| {
        let (port, index) = name.trim_end().rsplit_once('-').unwrap_or(("", ""));
        name.starts_with("wharf-") || (!port.is_empty() && index.parse::<usize>().is_ok())
    };
    Open {
        descriptors: count("/proc/self/fd"),
        threads: names.filter(ours).count(),
    }
}

/// Nothing tells it here.
#[cfg(not(target_os = "linux"))]
pub(crate) fn open_now() -> Open {
    Open {
        descriptors: 0,
        threads: 0,
    }
}
