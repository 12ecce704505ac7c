//! `wharf lab`: one workload under every layout, and which layout is best for it.

pub(crate) mod nearest;
pub(crate) mod result;
pub(crate) mod workload;
