//! The limit of open files that POSIX has (`RLIMIT_NOFILE`).

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The soft limit; `None` if there is none.
pub(super) fn now() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

/// Raises the soft limit to `wanted`, or to the hard limit if that is lower.
pub(super) fn raise(wanted: u64) -> Option<u64> {
    let limits = getrlimit(Resource::Nofile);
    let now = limits.current?;
    let possible = limits.maximum.map_or(wanted, |hard| wanted.min(hard));
    if possible <= now {
        return Some(now);
    }
    let raised = Rlimit {
        current: Some(possible),
        maximum: limits.maximum,
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => Some(possible),
        // It may not: then it is what it was.
        Err(_) => Some(now),
    }
}
