//! What the fuzz targets do with some bytes: each panics if wharf does something with them that it
//! must not.
//!
//! The targets in `fuzz_targets/` are built by cargo-fuzz; `crates/wharf/tests/corpora.rs`
//! includes this file and gives every file of the corpora to the same functions, on stable, in
//! each `cargo test`.

mod framing;
mod input;
mod proxy;
mod rcon;
mod resp;
mod topology;

pub use framing::framing;
pub use proxy::proxy;
pub use rcon::rcon;
pub use resp::resp;
pub use topology::topology;
pub use wharf::model::{scheduler_agrees as scheduler, send_queue_agrees as send_queue};
