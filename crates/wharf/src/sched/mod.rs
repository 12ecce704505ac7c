//! Who runs next: pure scheduling, without a thread, a clock or a socket.
//!
//! [`lanes`] orders what wants a turn; [`queue`] adds port work and says when to wake a sibling.

mod lanes;
mod queue;

pub(crate) use lanes::LaneSpec;
pub(crate) use queue::{Picked, RunQueue};
