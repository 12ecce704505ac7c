//! The clock of the ports that live in real time: one for all of a process, because a frame sent on
//! one port stamps the session of another.

use crate::time::Time;

/// The moment: nanoseconds of the monotonic clock, as the system counts them. Plain numbers,
/// because it is read at least once a turn.
#[cfg(target_os = "linux")]
pub(super) fn now() -> Time {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    // Neither part of this clock is ever negative.
    let seconds = now.tv_sec.cast_unsigned();
    Time::from_nanos(seconds * 1_000_000_000 + now.tv_nsec.cast_unsigned())
}

/// The moment: a second and the time since the first look.
#[cfg(not(target_os = "linux"))]
pub(super) fn now() -> Time {
    use std::time::{Duration, Instant};
    static STARTED: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    let started = STARTED.get_or_init(Instant::now);
    // One second ahead, so that "a while ago" never meets the clock's start.
    Time::ZERO + (started.elapsed() + Duration::from_secs(1))
}
