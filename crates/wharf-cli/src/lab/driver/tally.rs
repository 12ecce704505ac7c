//! What the driver counts of a class.

use crate::lab::result::{Faults, Latencies, latencies};

/// Counts of one class; times in ns.
#[derive(Clone, Debug)]
pub(crate) struct Tally {
    /// Frames decided to be sent, warm-up included.
    pub(crate) sent: u64,
    /// Answers that came and were right, warm-up and drain included.
    pub(crate) verified: u64,
    /// Those that came in the measured time.
    pub(crate) measured: u64,
    /// Frames that were due in the measured time.
    pub(crate) due: u64,
    /// Frames due and never sent: too many of their session were on their way.
    pub(crate) unsent: u64,
    /// From due to answer, of frames due in the measured time.
    pub(crate) latency: Latencies,
    /// From due to the attempt to send.
    pub(crate) late: Latencies,
    /// What was wrong.
    pub(crate) faults: Faults,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            sent: 0,
            verified: 0,
            measured: 0,
            due: 0,
            unsent: 0,
            latency: latencies(),
            late: latencies(),
            faults: Faults::default(),
        }
    }
}
