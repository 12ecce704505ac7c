//! Ports and pools: a kernel queue with its sleepers, and the library's own run queue.

use std::collections::VecDeque;

use wharf::model::Scheduler;

use super::cores::ThreadId;
use super::input::QueueSpec;

/// What a kernel queue reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Report {
    /// A posted wake.
    Wake,
    /// A session has something to read.
    Ready(usize),
}

/// A port, or a pool, whose queue reports posted wakes alone.
#[derive(Debug)]
pub(super) struct Queue {
    /// Who runs next: not a copy of the rules, the rules.
    pub(super) sched: Scheduler,
    reports: VecDeque<Report>,
    wake_pending: bool,
    /// Threads asleep in the wait; the last to come is the first to be woken, as epoll does.
    sleepers: Vec<ThreadId>,
    /// Threads that nap before the wait, because those they handed to have enough to do.
    napping: Vec<ThreadId>,
    /// Turns of its own have been due.
    pub(super) own_turns: bool,
    /// Turns that run now, by lane, and the most that ever did.
    pub(super) running: Vec<(usize, usize)>,
}

impl Queue {
    /// With all workers searching.
    pub(super) fn new(spec: &QueueSpec) -> Self {
        let mut sched = if spec.pool {
            Scheduler::without_kernel(&spec.lanes)
        } else {
            Scheduler::new(&spec.lanes)
        };
        (0..spec.workers).for_each(|_| sched.join());
        Self {
            sched,
            reports: VecDeque::new(),
            wake_pending: false,
            sleepers: Vec::new(),
            napping: Vec::new(),
            own_turns: false,
            running: vec![(0, 0); spec.lanes.len()],
        }
    }

    /// The kernel has something to say: it wakes one sleeper, if there is one.
    pub(super) fn report(&mut self, report: Report) -> Option<ThreadId> {
        if report == Report::Wake && std::mem::replace(&mut self.wake_pending, true) {
            // Posts pile up into one.
            return None;
        }
        self.reports.push_back(report);
        self.sleepers.pop()
    }

    /// Whether a wait would return at once.
    pub(super) fn has_reports(&self) -> bool {
        !self.reports.is_empty()
    }

    /// A thread goes to sleep in the wait.
    pub(super) fn sleep(&mut self, thread: ThreadId) {
        debug_assert!(!self.sleepers.contains(&thread), "asleep twice");
        self.sleepers.push(thread);
    }

    /// A thread naps before the wait.
    pub(super) fn nap(&mut self, thread: ThreadId) {
        self.napping.push(thread);
    }

    /// It naps no more.
    pub(super) fn napped(&mut self, thread: ThreadId) {
        self.napping.retain(|napping| *napping != thread);
    }

    /// Somebody has nothing left to do: ends the naps.
    pub(super) fn end_naps(&mut self) -> impl Iterator<Item = ThreadId> {
        self.napping.drain(..)
    }

    /// Takes at most `max` reports that hold still: of the others, `is_stale`, nothing is said any
    /// more. What is left wakes the next sleeper. As epoll does both.
    pub(super) fn take(
        &mut self,
        max: usize,
        mut is_stale: impl FnMut(Report) -> bool,
    ) -> (Vec<Report>, Option<ThreadId>) {
        let mut taken = Vec::new();
        while taken.len() < max
            && let Some(report) = self.reports.pop_front()
        {
            if !is_stale(report) {
                taken.push(report);
            }
        }
        self.wake_pending &= !taken.contains(&Report::Wake);
        let next = if self.reports.is_empty() {
            None
        } else {
            self.sleepers.pop()
        };
        (taken, next)
    }

    /// A turn in this lane begins.
    pub(super) fn turn_began(&mut self, lane: usize) {
        let (now, most) = &mut self.running[lane];
        *now += 1;
        *most = (*most).max(*now);
    }

    /// A turn in this lane has ended.
    pub(super) fn turn_ended(&mut self, lane: usize, now: u64) {
        self.running[lane].0 -= 1;
        self.sched.turn_ended(lane, now);
    }
}

#[cfg(test)]
mod tests {
    use wharf::model::LaneRule;

    use super::*;

    #[test]
    fn a_nap_ends_by_itself_or_with_all_others() {
        let spec = QueueSpec {
            name: "front".into(),
            pool: false,
            workers: 3,
            lanes: vec![LaneRule::default()],
            nice: 0,
            cores: Vec::new(),
        };
        let mut queue = Queue::new(&spec);
        (1..=3).for_each(|thread| queue.nap(thread));
        queue.napped(2);
        assert_eq!(queue.end_naps().collect::<Vec<_>>(), [1, 3]);
        assert_eq!(queue.end_naps().count(), 0, "nobody naps any more");
    }
}
