//! Threads: their names, their priority and their cores.

use std::io;

#[cfg(any(windows, test))]
pub(super) mod groups;
#[cfg(windows)]
pub(super) mod windows;

/// What a thread is given by the operating system.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ThreadSettings {
    /// Unix nice value, -20 (first) to 19 (last).
    pub(crate) nice: Option<i32>,
    /// The cores it may run on; empty for all.
    pub(crate) cores: Vec<usize>,
}

/// The priority of a thread, as its system counts: a nice value, or a priority of Windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Priority(i32);

impl Priority {
    /// What the system has for this nice value.
    pub(crate) fn of_nice(nice: i32) -> Self {
        #[cfg(windows)]
        return Self(groups::priority_of(nice));
        #[cfg(not(windows))]
        Self(nice)
    }

    /// That of the calling thread.
    ///
    /// # Errors
    /// What the system said; a system where threads have none.
    pub(crate) fn own() -> io::Result<Self> {
        #[cfg(target_os = "linux")]
        return Ok(Self(rustix::process::getpriority_process(None)?));
        #[cfg(windows)]
        return windows::priority().map(Self);
        #[cfg(not(any(target_os = "linux", windows)))]
        Err(no_priorities())
    }

    /// Gives it to the calling thread.
    ///
    /// # Errors
    /// What the system said; a system where threads have none.
    pub(crate) fn take(self) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        return Ok(rustix::process::setpriority_process(None, self.0)?);
        #[cfg(windows)]
        return windows::set_priority(self.0);
        #[cfg(not(any(target_os = "linux", windows)))]
        Err(no_priorities())
    }
}

#[cfg(not(any(target_os = "linux", windows)))]
fn no_priorities() -> io::Error {
    io::Error::new(
        io::ErrorKind::Unsupported,
        "threads have no priority of their own on this system",
    )
}

/// How many cores this process may use.
pub(crate) fn cores() -> usize {
    #[cfg(windows)]
    if let Some(cores) = windows::cores() {
        return cores;
    }
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Applies the settings to the calling thread; returns what the system refused, in words.
#[cfg(target_os = "linux")]
pub(crate) fn apply(settings: &ThreadSettings) -> Vec<String> {
    let mut refused = Vec::new();
    if let Some(nice) = settings.nice
        && let Err(error) = Priority::of_nice(nice).take()
    {
        refused.push(format!(
            "nice {nice}: {error} (negative values need CAP_SYS_NICE)"
        ));
    }
    if !settings.cores.is_empty() {
        let mut set = rustix::thread::CpuSet::new();
        for &core in &settings.cores {
            if core < rustix::thread::CpuSet::MAX_CPU {
                set.set(core);
            }
        }
        if let Err(error) = rustix::thread::sched_setaffinity(None, &set) {
            refused.push(format!(
                "cores {:?}: {error} (does this machine have them?)",
                settings.cores
            ));
        }
    }
    refused
}

/// Applies the settings to the calling thread; returns what the system refused, in words: all of
/// it. The nice value belongs to the process here, and no call binds a thread to cores.
#[cfg(target_os = "macos")]
pub(crate) fn apply(settings: &ThreadSettings) -> Vec<String> {
    let mut refused = Vec::new();
    if let Some(nice) = settings.nice {
        refused.push(format!(
            "nice {nice}: macOS has none of a thread (that of the process is set by nice(1))"
        ));
    }
    if !settings.cores.is_empty() {
        refused.push(format!(
            "cores {:?}: macOS binds no thread to cores",
            settings.cores
        ));
    }
    refused
}

/// Applies the settings to the calling thread; returns what the system refused, in words.
#[cfg(windows)]
pub(crate) fn apply(settings: &ThreadSettings) -> Vec<String> {
    windows::apply(settings)
}

/// Applies the settings to the calling thread; returns what the system refused, in words.
#[cfg(not(any(target_os = "linux", target_os = "macos", windows)))]
pub(crate) fn apply(settings: &ThreadSettings) -> Vec<String> {
    if *settings == ThreadSettings::default() {
        return Vec::new();
    }
    vec!["thread priority and cores can't be set on this system yet".to_owned()]
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_refuses_is_told() {
        let wrong = ThreadSettings {
            nice: None,
            cores: vec![1023],
        };
        let refused = std::thread::Builder::new()
            .name("settings".into())
            .spawn(move || apply(&wrong))
            .unwrap()
            .join()
            .unwrap();
        assert_eq!(refused.len(), 1, "{refused:?}");
        assert!(refused[0].contains("cores [1023]"), "{refused:?}");
        let fine = ThreadSettings {
            nice: Some(5),
            cores: vec![0],
        };
        let apply = std::thread::Builder::new()
            .name("settings".into())
            .spawn(move || apply(&fine));
        assert_eq!(apply.unwrap().join().unwrap(), Vec::<String>::new());
    }
}

#[cfg(all(test, target_os = "macos"))]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_refuses_is_told() {
        let all = ThreadSettings {
            nice: Some(5),
            cores: vec![0],
        };
        let refused = apply(&all);
        assert_eq!(refused.len(), 2, "{refused:?}");
        assert_eq!(apply(&ThreadSettings::default()), Vec::<String>::new());
    }
}
