//! The processes of the soak: `cargo xtask soak` starts, orders, stops and kills them, and compares
//! what they say. One process is one role:
//!
//! - `server`: wharf under a topology with lanes, a pool, strands and links; keeps an account of
//!   every frame whose `send` returned `Ok`.
//! - `innocents`: well-behaved sessions; keep an account of every frame sent and answered.
//! - `hostile`: clients that do one kind of harm.
//! - `peer`: what the server's links connect to.
//!
//! They take orders on standard input, a line each, and end when it ends, so that none outlives
//! who started it. What they tell is a line of JSON each.

mod hostile;
mod innocents;
mod orders;
mod peer;
mod server;
mod wire;

use crate::args::SoakRole;
use crate::exit::{Exit, Failure};

/// Plays one role until standard input ends.
///
/// # Errors
/// What could not be started.
pub(crate) fn run(role: &SoakRole) -> Result<Exit, Failure> {
    match role {
        SoakRole::Server(args) => server::run(args),
        SoakRole::Innocents(args) => innocents::run(args),
        SoakRole::Hostile(args) => hostile::run(args),
        SoakRole::Peer(args) => peer::run(args),
    }?;
    Ok(Exit::Done)
}
