//! The atomics of the modelled protocols: std's, or loom's when the models run.

#[cfg(loom)]
pub(crate) use loom::sync::atomic;
#[cfg(not(loom))]
pub(crate) use std::sync::atomic;
