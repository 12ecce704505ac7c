//! `wharf lab`: one workload under every layout, and which layout is best for it.

pub(crate) mod agreement;
mod calibrate;
mod child;
pub(crate) mod driver;
pub(crate) mod layout;
mod model;
pub(crate) mod nearest;
mod one;
mod others;
pub(crate) mod report;
pub(crate) mod result;
pub(crate) mod rounds;
pub(crate) mod server;
pub(crate) mod simulate;
pub(crate) mod workload;
