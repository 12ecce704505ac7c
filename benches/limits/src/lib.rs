//! What bare servers, and those of `benches/peers`, have in common: the wire format, the command
//! line, the listening sockets.
//!
//! Wire format: `u16` little-endian total length (the 4 header bytes included), `u16`
//! little-endian id, payload.

pub mod frames;
pub mod options;
#[cfg(target_os = "linux")]
pub mod sockets;
