//! Who runs next: pure scheduling, without a thread, a clock or a socket.
//!
//! [`lanes`] orders what wants a turn; [`queue`] adds port work and says when to wake a sibling.

mod lane;
mod lanes;
mod queue;
#[cfg(all(any(test, feature = "model"), not(loom)))]
pub(crate) mod queue_model;

pub use lane::Lane;
pub(crate) use lanes::LaneSpec;
pub(crate) use queue::{Backlog, Picked, RunQueue};
