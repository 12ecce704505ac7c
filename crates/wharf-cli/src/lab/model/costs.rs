//! What a machine and its operating system cost.

use serde::{Deserialize, Serialize};

/// What the operating system and the machine cost, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct OsCosts {
    /// CPU time that a thread uses up when it comes on a core after another: the kernel's part, and
    /// the caches' that it finds cold.
    pub(crate) switch: u64,
    /// The waker's CPU time if the other runs on its own core.
    pub(crate) wake_local: u64,
    /// The waker's CPU time if the other core is idle and polls.
    pub(crate) wake_near: u64,
    /// The waker's CPU time if a halted or busy core must be.
    pub(crate) wake_far: u64,
    /// From the wake until the thread runs, on an idle core that still polls.
    pub(crate) start_polling: u64,
    /// The same on a core that has halted.
    pub(crate) start_halted: u64,
    /// The same on a busy core, if the thread may preempt.
    pub(crate) start_busy: u64,
    /// How long an idle core polls before it halts.
    pub(crate) poll: u64,
    /// How much later than asked a timed wait ends.
    pub(crate) timer_late: u64,
    /// The scheduler's base slice.
    pub(crate) slice: u64,
    /// The scheduler's tick.
    pub(crate) tick: u64,
}

impl OsCosts {
    /// A machine that costs nothing: for the results of queueing theory.
    #[cfg(test)]
    pub(super) const FREE: Self = Self {
        switch: 0,
        wake_local: 0,
        wake_near: 0,
        wake_far: 0,
        start_polling: 0,
        start_halted: 0,
        start_busy: 0,
        poll: 0,
        timer_late: 0,
        slice: 1_400_000,
        tick: Self::TICK,
    };

    /// Linux's tick at CONFIG_HZ=250, which most distributions' kernels have.
    pub(crate) const TICK: u64 = 4_000_000;

    /// Linux's base slice: 0.7 ms times 1 + log2 of the cores, of which it counts 8 at most.
    pub(crate) fn slice_of(cores: usize) -> u64 {
        700_000 * u64::from(1 + cores.clamp(1, 8).ilog2())
    }
}
