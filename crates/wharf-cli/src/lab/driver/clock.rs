//! One clock for all threads of a run.

use std::time::{Duration, Instant};

/// Nanoseconds since the run was prepared.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(Instant);

impl Clock {
    /// A clock at zero.
    pub(crate) fn new() -> Self {
        Self(Instant::now())
    }

    /// Nanoseconds since then.
    pub(crate) fn now(self) -> u64 {
        nanos(self.0.elapsed())
    }
}

/// Whole nanoseconds; five centuries at most.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
