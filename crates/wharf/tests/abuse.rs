//! What peers, users and the system may do to a server, on every backend.
#![allow(
    clippy::unwrap_used,
    reason = "tests; clippy does not see that in a helper"
)]

mod support;

#[path = "abuse/clients.rs"]
mod clients;
#[path = "abuse/closing.rs"]
mod closing;
#[path = "abuse/connects.rs"]
mod connects;
#[path = "abuse/deadlines.rs"]
mod deadlines;
#[path = "abuse/descriptors.rs"]
mod descriptors;
#[path = "abuse/frames.rs"]
mod frames;
#[path = "abuse/halves.rs"]
mod halves;
