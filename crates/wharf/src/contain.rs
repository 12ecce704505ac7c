//! The fence around user code: a panic ends what ran, and nothing else (G9).

use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs user code; `None` if it panicked.
pub(crate) fn contained<R>(run: impl FnOnce() -> R) -> Option<R> {
    let payload = match catch_unwind(AssertUnwindSafe(run)) {
        Ok(result) => return Some(result),
        Err(payload) => payload,
    };
    // What was thrown may throw when it is dropped; what that throws is kept from doing the same.
    if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        let _leaked = ManuallyDrop::new(again);
    }
    None
}
