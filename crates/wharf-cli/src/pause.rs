//! Waiting on purpose: for the next look at a running demo, and in `serve --sleep-us`, which shows
//! what a handler that blocks does to the others.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Blocks the calling thread for so long.
pub(crate) fn pause(time: Duration) {
    let nothing = Mutex::new(());
    let guard = nothing.lock().unwrap_or_else(PoisonError::into_inner);
    // Nobody signals it: the wait ends with the time, and not before.
    drop(Condvar::new().wait_timeout_while(guard, time, |()| true));
}
