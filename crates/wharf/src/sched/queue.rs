//! The run queue of a port: port work, lanes, and the wake chain (R1, R2, R10) as plain state.
//!
//! The owner keeps it behind one lock and acts on what the methods return. Under the lock "publish
//! parked, look again" and "push, look for parked" can't cross, which is all that R1 asks for.
//!
//! A worker is in a turn, *searching* (awake, looking for a turn), or *parked* (in the kernel's
//! wait, or about to enter it). A posted wake that nobody has harvested yet counts as a searcher:
//! whoever harvests it must look. So there is no lost wake-up as long as this holds whenever the
//! lock is free: *eligible work and a parked worker imply a searcher or a posted wake.*

use std::collections::VecDeque;

use super::lanes::{LaneSpec, Lanes};
use crate::time::Time;

/// Turns between two looks at the kernel when there is more than one lane (R10).
const TURNS_PER_HARVEST: usize = 8;
/// Pieces of port work between two turns, or two looks at the kernel: a flood of connections or a
/// long broadcast must not keep sessions from their turns.
const WORK_PER_TURN: usize = 8;
/// The most reports one harvest takes.
const HARVEST_MAX: usize = 64;

/// What a worker does next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Picked<T> {
    /// Port work: a flush, an accept; no user code and no lane slot (R6).
    Work(T),
    /// A turn, in this lane, queued at that moment.
    Turn(usize, T, Time),
    /// Look at the kernel first, without waiting: what is queued has had its round.
    Poll(usize),
    /// Nothing to do: the worker is parked now; wait for at most so many reports.
    Park(usize),
}

/// The queue.
#[derive(Debug)]
pub(crate) struct RunQueue<T> {
    work: VecDeque<T>,
    lanes: Lanes<T>,
    parked: usize,
    searching: usize,
    wake_posted: bool,
    /// Turns left until the next harvest.
    round: usize,
    /// Pieces of port work since the last turn or harvest.
    work_streak: usize,
    /// A harvest was taken in: what is queued at the next pick is the round.
    harvested: bool,
}

impl<T> RunQueue<T> {
    /// For a port with these lanes, highest first. Workers join with [`Self::join`].
    pub(crate) fn new(lanes: Vec<LaneSpec>) -> Self {
        Self {
            work: VecDeque::new(),
            lanes: Lanes::new(lanes),
            parked: 0,
            searching: 0,
            wake_posted: false,
            round: 0,
            work_streak: 0,
            harvested: false,
        }
    }

    /// One more worker, searching.
    pub(crate) fn join(&mut self) {
        self.searching += 1;
    }

    /// A searching worker leaves for good.
    pub(crate) fn leave(&mut self) {
        self.searching -= 1;
    }

    /// Queues a turn. True: the caller posts a wake.
    #[must_use]
    pub(crate) fn push(&mut self, lane: usize, item: T, now: Time) -> bool {
        self.lanes.push(lane, item, now);
        self.wants_wake()
    }

    /// Queues port work. True: the caller posts a wake.
    #[must_use]
    pub(crate) fn push_work(&mut self, item: T) -> bool {
        self.work.push_back(item);
        self.wants_wake()
    }

    /// Something to do, somebody parked, and nobody on the way to see it: post one wake.
    fn wants_wake(&mut self) -> bool {
        let wake =
            self.has_eligible() && self.parked > 0 && self.searching == 0 && !self.wake_posted;
        self.wake_posted |= wake;
        wake
    }

    fn has_eligible(&self) -> bool {
        !self.work.is_empty() || self.lanes.has_eligible()
    }

    /// What the searching worker does next, and whether it posts a wake first (R1): when it takes
    /// something and leaves something, a parked sibling must come and search.
    pub(crate) fn pick(&mut self) -> (Picked<T>, bool) {
        let work_first = self.work_streak < WORK_PER_TURN;
        if let Some(item) = self.work.pop_front_if(|_| work_first) {
            self.work_streak += 1;
            // Port work is short and never blocks, but a sibling may help with a long list.
            self.searching -= 1;
            let wake = self.wants_wake();
            self.searching += 1;
            return (Picked::Work(item), wake);
        }
        self.work_streak = 0;
        let turn = self.lanes.has_eligible();
        if !turn && self.work.is_empty() {
            return (self.park(), false);
        }
        if std::mem::take(&mut self.harvested) {
            self.round = self.round_len();
        }
        if self.round == 0 || !turn {
            self.harvested = true;
            return (Picked::Poll(HARVEST_MAX), false);
        }
        match self.lanes.pick() {
            Some((lane, item, queued_at)) => {
                self.round -= 1;
                self.searching -= 1;
                let wake = self.wants_wake();
                (Picked::Turn(lane, item, queued_at), wake)
            }
            None => (self.park(), false),
        }
    }

    fn park(&mut self) -> Picked<T> {
        self.searching -= 1;
        // Few reports while a sibling could take its own; a batch when all others are busy (R10).
        let siblings_parked = self.parked > 0;
        self.parked += 1;
        Picked::Park(if siblings_parked { 1 } else { HARVEST_MAX })
    }

    /// One round: what is queued now, so that a session which queues itself again after its budget
    /// can't keep the others' readiness in the kernel; less when lanes compete.
    fn round_len(&self) -> usize {
        let queued = self.lanes.queued().max(1);
        if self.lanes.count() > 1 {
            queued.min(TURNS_PER_HARVEST)
        } else {
            queued
        }
    }

    /// A parked worker's wait returned; it searches now.
    pub(crate) fn unpark(&mut self) {
        self.parked -= 1;
        self.searching += 1;
        self.harvested = true;
    }

    /// A harvest brought the wake token: the next push may post one again (R2).
    pub(crate) fn woken(&mut self) {
        self.wake_posted = false;
    }

    /// A turn ended: its slot is free and its worker searches again.
    pub(crate) fn turn_ended(&mut self, lane: usize) {
        self.lanes.release(lane);
        self.searching += 1;
    }

    /// Sessions queued for a turn.
    pub(crate) fn queued(&self) -> usize {
        self.lanes.queued()
    }

    /// Takes all that is queued, when the port has stopped.
    pub(crate) fn drain(&mut self) -> Vec<T> {
        self.work.drain(..).chain(self.lanes.drain()).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    /// What a worker is doing.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Doing {
        Searching,
        /// Told to look at the kernel; it still searches.
        Polling,
        Parked,
        Turn(usize),
    }

    #[derive(Clone, Debug)]
    enum Op {
        Push(usize),
        Work,
        /// A worker goes on: picks, harvests, or ends its turn, which perhaps wants another.
        Step(usize, bool),
    }

    const LANES: [usize; 3] = [usize::MAX, 2, 1];
    const WORKERS: usize = 3;

    fn ops() -> impl Strategy<Value = Vec<Op>> {
        let op = prop_oneof![
            2 => (0..LANES.len()).prop_map(Op::Push),
            1 => Just(Op::Work),
            5 => (0..WORKERS, any::<bool>()).prop_map(|(w, again)| Op::Step(w, again)),
        ];
        prop::collection::vec(op, 1..200)
    }

    /// Three workers, and the run queue as plain lists of numbers.
    struct Plain {
        queue: RunQueue<u32>,
        workers: [Doing; WORKERS],
        /// A wake is in the kernel, and nobody has harvested it.
        posted: bool,
        lanes: [VecDeque<u32>; LANES.len()],
        work: VecDeque<u32>,
        next: u32,
        done: HashSet<u32>,
        streak: usize,
    }

    impl Plain {
        fn new() -> Self {
            let specs = LANES.map(|workers_max| LaneSpec { workers_max });
            let mut queue = RunQueue::new(specs.to_vec());
            (0..WORKERS).for_each(|_| queue.join());
            Self {
                queue,
                workers: [Doing::Searching; WORKERS],
                posted: false,
                lanes: Default::default(),
                work: VecDeque::new(),
                next: 0,
                done: HashSet::new(),
                streak: 0,
            }
        }

        fn count(&self, what: impl Fn(Doing) -> bool) -> usize {
            self.workers.iter().filter(|doing| what(**doing)).count()
        }

        fn eligible(&self, lane: usize) -> bool {
            let running = self.count(|doing| doing == Doing::Turn(lane));
            !self.lanes[lane].is_empty() && running < LANES[lane]
        }

        fn best_lane(&self) -> Option<usize> {
            (0..LANES.len()).find(|&lane| self.eligible(lane))
        }

        fn wake(&mut self, wake: bool) {
            assert!(!(wake && self.posted), "wakes do not pile up (R2)");
            self.posted |= wake;
        }

        fn push(&mut self, lane: Option<usize>) -> bool {
            self.next += 1;
            let wake = match lane {
                Some(lane) => {
                    self.lanes[lane].push_back(self.next);
                    self.queue.push(lane, self.next, Time::ZERO)
                }
                None => {
                    self.work.push_back(self.next);
                    self.queue.push_work(self.next)
                }
            };
            self.wake(wake);
            wake
        }

        fn step(&mut self, worker: usize, again: bool) {
            match self.workers[worker] {
                Doing::Searching => self.pick(worker),
                Doing::Polling => {
                    self.workers[worker] = Doing::Searching;
                    self.harvest();
                }
                Doing::Parked => {
                    // A wake of its own, or a report of the kernel's.
                    self.workers[worker] = Doing::Searching;
                    self.queue.unpark();
                    self.harvest();
                }
                Doing::Turn(lane) => {
                    self.workers[worker] = Doing::Searching;
                    self.queue.turn_ended(lane);
                    if again {
                        assert!(!self.push(Some(lane)), "nobody is woken for it");
                    }
                    self.pick(worker);
                }
            }
        }

        fn harvest(&mut self) {
            self.streak = 0;
            if std::mem::take(&mut self.posted) {
                self.queue.woken();
            }
        }

        fn pick(&mut self, worker: usize) {
            let best = self.best_lane();
            let (picked, wake) = self.queue.pick();
            self.workers[worker] = match picked {
                Picked::Work(item) => {
                    assert_eq!(self.work.pop_front(), Some(item), "in order");
                    self.done.insert(item);
                    self.streak += 1;
                    assert!(self.streak <= WORK_PER_TURN, "a streak lets others in");
                    Doing::Searching
                }
                Picked::Turn(lane, item, _) => {
                    assert_eq!(Some(lane), best, "the highest lane below its cap");
                    assert_eq!(self.lanes[lane].pop_front(), Some(item), "in order");
                    self.done.insert(item);
                    self.streak = 0;
                    Doing::Turn(lane)
                }
                Picked::Poll(max) => {
                    assert!(max > 0 && (best.is_some() || !self.work.is_empty()));
                    // Work is held back for this one look, whoever picks next.
                    self.streak = 0;
                    Doing::Polling
                }
                Picked::Park(max) => {
                    assert!(best.is_none() && self.work.is_empty(), "it had work");
                    assert!(max > 0);
                    Doing::Parked
                }
            };
            self.wake(wake);
        }

        /// The invariant of the module's documentation.
        fn check(&self) {
            let searching = self.count(|d| matches!(d, Doing::Searching | Doing::Polling));
            let parked = self.count(|d| d == Doing::Parked);
            let work = self.best_lane().is_some() || !self.work.is_empty();
            assert!(
                !(work && parked > 0) || searching > 0 || self.posted,
                "nobody comes for it: {:?}",
                self.workers
            );
            let queued: usize = self.lanes.iter().map(VecDeque::len).sum();
            assert_eq!(self.queue.queued(), queued);
        }

        /// Worker 0 alone goes on, woken by wakes alone; the others are stuck where they are.
        fn finish(&mut self) {
            for _ in 0..10_000 {
                if self.workers[0] == Doing::Parked && !self.posted {
                    break;
                }
                self.step(0, false);
                self.check();
            }
            let stuck = |lane: &usize| {
                let others = self.workers[1..].iter();
                others.filter(|doing| **doing == Doing::Turn(*lane)).count()
            };
            // Others that search, or were woken, are not stuck: they come for it.
            let awake = self.count(|d| matches!(d, Doing::Searching | Doing::Polling)) > 0;
            let open = (0..LANES.len()).filter(|lane| stuck(lane) < LANES[*lane]);
            let left: usize = open.map(|lane| self.lanes[lane].len()).sum();
            assert!(awake || left + self.work.len() == 0, "lost: {left} turns");
        }
    }

    proptest! {
        #[test]
        fn eligible_work_and_a_parked_worker_imply_a_searcher_or_a_wake(ops in ops()) {
            let mut plain = Plain::new();
            for op in ops {
                match op {
                    Op::Push(lane) => drop(plain.push(Some(lane))),
                    Op::Work => drop(plain.push(None)),
                    Op::Step(worker, again) => plain.step(worker, again),
                }
                plain.check();
            }
            plain.finish();
            let left: HashSet<u32> = plain.queue.drain().into_iter().collect();
            let all: HashSet<u32> = (1..=plain.next).collect();
            prop_assert!(left.is_disjoint(&plain.done));
            prop_assert_eq!(&left | &plain.done, all, "each item once");
        }
    }
}
