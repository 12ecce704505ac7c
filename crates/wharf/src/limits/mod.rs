//! What a peer may take at most: token buckets, and what each address has. Pure but for a lock:
//! the time is an argument.

pub(crate) mod addresses;
pub(crate) mod bucket;
pub(crate) mod input;
pub(crate) mod memory;

pub use addresses::PerAddress;
pub use bucket::Rate;
pub use input::{InputRate, WhenOver};
pub use memory::{MemoryLimit, WhenMemoryFull};
