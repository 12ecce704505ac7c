//! A model of whole machines: threads on N cores, ports and pools, turns and lanes.
//!
//! Pure: no socket, no thread, no clock. Time is nanoseconds in a `u64`, chance comes from a seed,
//! and who runs next in a port or pool is decided by the library's own scheduler.

mod cores;
mod costs;
mod eevdf;
mod events;
mod far;
pub(crate) mod input;
pub(crate) mod layouts;
mod ports;
pub(crate) mod run;
mod workers;
mod world;

#[cfg(test)]
mod tests;
