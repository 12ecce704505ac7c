//! Completion ports: the only code that knows an operating system.

mod contract;
mod drive;
#[cfg(feature = "sim")]
pub(crate) mod sim;
mod socket;

pub use contract::{ListenOptions, SocketOptions, Token};
