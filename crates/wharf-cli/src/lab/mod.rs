//! `wharf lab`: one workload under every layout, and which layout is best for it.

mod child;
mod driver;
pub(crate) mod layout;
pub(crate) mod nearest;
mod one;
pub(crate) mod result;
pub(crate) mod rounds;
pub(crate) mod server;
pub(crate) mod workload;
