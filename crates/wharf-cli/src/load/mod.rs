//! `wharf load`: the load generator.
//!
//! It shares no network code with the wharf library: a generator that shares code with the server
//! under test shares its bugs. One event loop a thread (mio), one buffer to receive into and one to
//! build gathered writes in, no allocation per frame. Every frame that comes back is checked byte
//! by byte ([`wire`]) and accounted for ([`track`], [`board`]).
//!
//! Path of a frame: due ([`pace`]) or allowed by a reply → admitted and written ([`send`]) → the
//! server → read and checked ([`receive`]) → counted ([`tally`]) → reported ([`report`], which
//! documents every field of `--json`).

mod board;
mod config;
mod conn;
mod pace;
mod progress;
mod receive;
mod report;
mod run;
mod runner;
mod send;
mod shared;
mod tally;
mod track;
mod wire;

pub(crate) use config::Config;
pub(crate) use progress::Progress;
pub(crate) use report::Report;
pub(crate) use run::run;
// The lab plays its far ends with them: the same frames, checked the same way.
pub(crate) use track::{Arrival, Window, wire_seq};
pub(crate) use wire::{Frames, Label};
