//! What a simulated run is given.

use serde::{Deserialize, Serialize};
use wharf::model::LaneRule;

pub(crate) use super::costs::OsCosts;
use crate::lab::workload::Class;

/// Nanoseconds of CPU time that pieces of the work take, besides the handlers'.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Costs {
    /// The operating system's.
    pub(crate) os: OsCosts,
    /// One look at a kernel queue.
    pub(crate) wait: u64,
    /// Each report taken from it.
    pub(crate) report: u64,
    /// Posting a wake: the system call, without what the waking itself takes.
    pub(crate) post: u64,
    /// A turn: pick, recv, the end.
    pub(crate) turn: u64,
    /// Each frame of it: decode, the call of the handler, the answer into the buffer.
    pub(crate) frame: u64,
    /// The write at its end.
    pub(crate) flush: u64,
    /// How much more than it was told a frame takes whose handler computes; below zero where the
    /// rest of its turn is cheaper than in a turn that does nothing else.
    pub(crate) spin_more: i64,
    /// What a turn on a pool costs more, because another thread saw the session ready; below zero
    /// where the threads meet cheaper than a wake and a switch.
    pub(crate) hand_off: i64,
    /// The far end: one look at its sockets.
    pub(crate) far_wait: u64,
    /// The far end: reading one socket.
    pub(crate) far_recv: u64,
    /// The far end: a read that finds nothing.
    pub(crate) far_recv_none: u64,
    /// The far end: one answer checked.
    pub(crate) far_frame: u64,
    /// The far end: one write.
    pub(crate) far_send: u64,
    /// The far end's pacer: one wake of its loop, without what the waking itself takes.
    pub(crate) far_post: u64,
    /// The far end's pacer: one look that wakes nobody.
    pub(crate) far_pace: u64,
}

impl Costs {
    /// The same on a machine with so many cores, whose scheduler slices time otherwise.
    pub(crate) fn on(mut self, cores: usize) -> Self {
        self.os.slice = OsCosts::slice_of(cores);
        self
    }

    /// Work that costs nothing but the handlers' time: for the results of queueing theory.
    #[cfg(test)]
    pub(super) const FREE: Self = Self {
        os: OsCosts::FREE,
        wait: 0,
        report: 0,
        post: 0,
        turn: 0,
        frame: 0,
        flush: 0,
        spin_more: 0,
        hand_off: 0,
        far_wait: 0,
        far_recv: 0,
        far_recv_none: 0,
        far_frame: 0,
        far_send: 0,
        far_post: 0,
        far_pace: 0,
    };
}

/// A port or a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct QueueSpec {
    /// As in the topology.
    pub(crate) name: String,
    /// Whether it is a pool, which has no sockets to look at.
    pub(crate) pool: bool,
    /// Its threads.
    pub(crate) workers: usize,
    /// Highest first; never empty.
    pub(crate) lanes: Vec<LaneRule>,
    /// Of its threads.
    pub(crate) nice: i32,
    /// That its threads may use; empty for all.
    pub(crate) cores: Vec<usize>,
}

/// Where the sessions of a class are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The port that reports their readiness.
    pub(crate) port: usize,
    /// The port or pool that gives their turns.
    pub(crate) turns: usize,
    /// In which lane of it.
    pub(crate) lane: usize,
}

/// A layout: ports and pools, and the place of each class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Placement {
    /// Ports, then pools.
    pub(crate) queues: Vec<QueueSpec>,
    /// In the order of the classes.
    pub(crate) places: Vec<Place>,
}

/// The threads that hold the other end of every session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FarEnd {
    /// On the same cores, as in real runs on one machine.
    Here,
    /// On one of the cores, as in real runs whose server has the others.
    Core(usize),
    /// On cores of their own beside the N: another machine.
    Apart,
}

/// One run.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    /// Cores of the machine.
    pub(crate) cores: usize,
    /// Where the far end runs.
    pub(crate) far_end: FarEnd,
    /// The load. A share of a ceiling is a share of `ceiling_per_s`.
    pub(crate) classes: Vec<Class>,
    /// By class: frames a second of the one-core ceiling; 0 where nothing asks for it.
    pub(crate) ceilings_per_s: Vec<f64>,
    /// The layout.
    pub(crate) placement: Placement,
    /// What things cost.
    pub(crate) costs: Costs,
    /// Nanoseconds before the measuring starts.
    pub(crate) warm_up: u64,
    /// Nanoseconds of measuring.
    pub(crate) measure: u64,
    /// Fixes everything that is left to chance.
    pub(crate) seed: u64,
}
