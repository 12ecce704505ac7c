//! What the word guards, guarded by nothing else: loom fails a model in which two threads are
//! inside at once, or in which one does not see what the last one left.

use std::sync::{Mutex, PoisonError};

use loom::cell::UnsafeCell;

/// A value for the holder of a right.
pub(super) struct Held<T> {
    /// loom watches the accesses to it; nothing is in it.
    watched: UnsafeCell<()>,
    value: Mutex<T>,
}

impl<T> Held<T> {
    pub(super) fn new(value: T) -> Self {
        Self {
            watched: UnsafeCell::new(()),
            value: Mutex::new(value),
        }
    }

    /// The holder works with it.
    pub(super) fn with<R>(&self, work: impl FnOnce(&mut T) -> R) -> R {
        self.watched.with_mut(|_| {
            // Never contended, and no part of the model: it is there to do without unsafe.
            let mut value = self.value.lock().unwrap_or_else(PoisonError::into_inner);
            work(&mut value)
        })
    }
}
