//! A completion-port network core for game servers.

pub mod frame;
mod port;
mod time;

#[cfg(feature = "sim")]
pub use port::sim;
