//! The scheduler as a value, for a simulator of whole machines (`wharf lab --simulate`), and what
//! the fuzzer does to parts that have no other way in.
//!
//! Internal: it follows the scheduler wherever that goes, and no version promises anything of it.
//! It adds nothing to `sched`, so that what is simulated is what runs.

use std::time::Duration;

pub use crate::port::run_ahead;
use crate::sched::{Backlog as Behind, LaneSpec, Picked, RunQueue};
use crate::time::Time;

/// What a lane is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneRule {
    /// The most workers that may run its turns at once.
    pub workers_max: usize,
    /// Workers kept for it.
    pub workers_min: usize,
    /// After so long without a turn it gets one at the next boundary.
    pub starve_after: Option<Duration>,
}

impl Default for LaneRule {
    fn default() -> Self {
        Self {
            workers_max: usize::MAX,
            workers_min: 0,
            starve_after: None,
        }
    }
}

/// What a worker does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Port work.
    Work(usize),
    /// A turn of this item, in this lane.
    Turn {
        /// The lane whose slot it holds.
        lane: usize,
        /// What was pushed.
        item: usize,
    },
    /// Look at the kernel without waiting, for at most so many reports.
    Poll(usize),
    /// Parked: wait in the kernel for at most so many reports.
    Park(usize),
}

/// What waits behind the turns that run, from least to most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Backlog {
    /// Some worker may find nothing.
    None,
    /// A turn for each worker, but in lower lanes too.
    Mixed,
    /// A turn for each worker, all in the highest lane.
    Highest,
}

/// The run queue of one port or pool; moments are nanoseconds.
#[derive(Debug)]
pub struct Scheduler(RunQueue<usize>);

impl Scheduler {
    /// With these lanes, highest first.
    #[must_use]
    pub fn new(lanes: &[LaneRule]) -> Self {
        Self(RunQueue::new(specs(lanes)))
    }

    /// The same for a pool, which has no kernel queue to look at.
    #[must_use]
    pub fn without_kernel(lanes: &[LaneRule]) -> Self {
        Self(RunQueue::without_kernel(specs(lanes)))
    }

    /// One more worker, searching.
    pub fn join(&mut self) {
        self.0.join();
    }

    /// Queues a turn. True: a wake must be posted.
    #[must_use]
    pub fn push(&mut self, lane: usize, item: usize, now: u64) -> bool {
        self.0.push(lane, item, Time::from_nanos(now))
    }

    /// What the searching worker does next, and whether it posts a wake first.
    pub fn pick(&mut self, now: u64) -> (Next, bool) {
        let (picked, wake) = self.0.pick(Time::from_nanos(now));
        let next = match picked {
            Picked::Work(item) => Next::Work(item),
            Picked::Turn(lane, item, _) => Next::Turn { lane, item },
            Picked::Poll(max) => Next::Poll(max),
            Picked::Park(max) => Next::Park(max),
        };
        (next, wake)
    }

    /// A parked worker's wait returned; it searches now.
    pub fn unpark(&mut self) {
        self.0.unpark();
    }

    /// A harvest brought the wake token.
    pub fn woken(&mut self) {
        self.0.woken();
    }

    /// A turn ended: its slot is free and its worker searches again.
    pub fn turn_ended(&mut self, lane: usize, now: u64) {
        self.0.turn_ended(lane, Time::from_nanos(now));
    }

    /// What waits behind the turns that run.
    #[must_use]
    pub fn backlog(&self) -> Backlog {
        match self.0.backlog() {
            Behind::None => Backlog::None,
            Behind::Mixed => Backlog::Mixed,
            Behind::Highest => Backlog::Highest,
        }
    }

    /// Items queued for a turn.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.0.queued()
    }
}

/// Reads lanes, pushes, turns, moves and resizes from bytes, and does them to the run queue and to
/// plain lists.
///
/// # Panics
///
/// If the two disagree.
#[cfg(not(loom))]
pub fn scheduler_agrees(bytes: &[u8]) {
    crate::sched::queue_model::agrees_on(bytes);
}

/// Reads pushes, takes and writes from bytes, and does them to a send queue and to plain lists; or
/// frames that are held back, if the first byte is odd.
///
/// # Panics
///
/// If the two disagree.
#[cfg(not(loom))]
pub fn send_queue_agrees(bytes: &[u8]) {
    match bytes {
        [first, rest @ ..] if first % 2 == 1 => crate::session::held_frames::agrees_on(rest),
        [_, rest @ ..] => crate::session::queue_lists::agrees_on(rest),
        [] => {}
    }
}

fn specs(lanes: &[LaneRule]) -> Vec<LaneSpec> {
    let spec = |rule: &LaneRule| LaneSpec {
        workers_max: rule.workers_max,
        workers_min: rule.workers_min,
        starve_after: rule.starve_after,
    };
    lanes.iter().map(spec).collect()
}
