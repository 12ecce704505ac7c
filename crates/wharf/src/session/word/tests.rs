//! The word against a plain model.

#[cfg(loom)]
use super::{IDLE, STATE, Word};

#[cfg(loom)]
impl Word {
    /// Whether it is neither queued nor in a turn.
    pub(crate) fn is_idle(&self) -> bool {
        self.bits() & STATE == IDLE
    }
}
