//! What a port, its workers and its networks have done: counted without shared cache lines.

mod counters;
mod prometheus;
mod snapshot;

pub use counters::Durations;
pub(crate) use counters::{Counter, Histogram, NetCounters};
pub(crate) use snapshot::snapshot;
pub use snapshot::{HostSnapshot, LaneSnapshot, NetworkSnapshot, PortSnapshot, WorkerSnapshot};
