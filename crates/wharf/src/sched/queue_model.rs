//! The run queue against plain lists: any lanes, any order of pushes, turns, moves and resizes.

use std::collections::VecDeque;
use std::time::Duration;

use super::lanes::LaneSpec;
use super::queue::{Backlog, Picked, RunQueue, WORK_PER_TURN};
use crate::time::Time;

/// What a worker is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doing {
    Searching,
    /// Told to look at the kernel; it still searches.
    Polling,
    Parked,
    /// Asleep for a moment, instead of parked.
    Napping,
    Turn(usize),
    Gone,
}

#[derive(Clone, Debug)]
enum Op {
    Push(usize),
    Work,
    /// A worker goes on: picks, harvests, wakes from its nap, or ends its turn. With `true` its
    /// turn wants another, and who was to park naps, if it may.
    Step(usize, bool),
    /// So many microseconds pass.
    Pass(u64),
    /// The so-manieth queued item moves to that lane.
    Move(usize, usize),
    /// So many workers are wanted.
    Resize(usize),
}

const WORKERS: usize = 4;

/// A few workers, and the run queue as plain lists of numbers.
struct Plain {
    specs: Vec<LaneSpec>,
    kernel: bool,
    queue: RunQueue<u32>,
    workers: [Doing; WORKERS],
    wanted: usize,
    /// A wake is in the kernel, and nobody has harvested it.
    posted: bool,
    lanes: Vec<VecDeque<u32>>,
    /// Since when each lane has waited for a turn.
    since: Vec<Time>,
    work: VecDeque<u32>,
    next: u32,
    /// Of each item whether it was picked.
    done: Vec<bool>,
    streak: usize,
    now: Time,
}

impl Plain {
    fn new(specs: Vec<LaneSpec>, kernel: bool) -> Self {
        let mut queue = if kernel {
            RunQueue::new(specs.clone())
        } else {
            RunQueue::without_kernel(specs.clone())
        };
        (0..WORKERS).for_each(|_| queue.join());
        Self {
            queue,
            kernel,
            workers: [Doing::Searching; WORKERS],
            wanted: WORKERS,
            posted: false,
            lanes: vec![VecDeque::new(); specs.len()],
            since: vec![Time::ZERO; specs.len()],
            specs,
            work: VecDeque::new(),
            next: 0,
            done: vec![false],
            streak: 0,
            now: Time::ZERO,
        }
    }

    fn count(&self, what: impl Fn(Doing) -> bool) -> usize {
        self.workers.iter().filter(|doing| what(**doing)).count()
    }

    fn running(&self, lane: usize) -> usize {
        self.count(|doing| doing == Doing::Turn(lane))
    }

    fn eligible(&self, lane: usize) -> bool {
        let spec = &self.specs[lane];
        if self.lanes[lane].is_empty() || self.running(lane) >= spec.workers_max {
            return false;
        }
        // With this turn begun, do the others still find what they were promised?
        let free = self.count(|doing| !matches!(doing, Doing::Turn(_) | Doing::Gone));
        let others = (0..self.specs.len()).filter(|&other| other != lane);
        let promised: usize = others
            .map(|other| {
                self.specs[other]
                    .workers_min
                    .saturating_sub(self.running(other))
            })
            .sum();
        free > promised
    }

    /// Workers that nobody else may use, whether in turns or free.
    fn bound(&self) -> usize {
        let in_turns = self.count(|doing| matches!(doing, Doing::Turn(_)));
        let lanes = self.specs.iter().enumerate();
        let owed = lanes.map(|(lane, spec)| spec.workers_min.saturating_sub(self.running(lane)));
        in_turns + owed.sum::<usize>()
    }

    /// One may go: too many are there, and those who stay keep the promises.
    fn surplus(&self) -> bool {
        let here = self.count(|doing| doing != Doing::Gone);
        here > self.wanted && here > self.bound()
    }

    fn best_lane(&self) -> Option<usize> {
        let mut eligible = (0..self.specs.len()).filter(|&lane| self.eligible(lane));
        let starved = eligible.clone().filter(|&lane| {
            let after = self.specs[lane].starve_after;
            after.is_some_and(|after| self.now.since(self.since[lane]) >= after)
        });
        let longest = starved.min_by_key(|&lane| self.since[lane]);
        longest.or_else(|| eligible.next())
    }

    /// It was picked, and never before.
    fn done(&mut self, item: u32) {
        let done = &mut self.done[item as usize];
        assert!(!std::mem::replace(done, true), "{item} twice");
    }

    fn wake(&mut self, wake: bool) {
        assert!(!(wake && self.posted), "wakes do not pile up (R2)");
        self.posted |= wake;
    }

    fn enqueue(&mut self, lane: usize, item: u32) {
        if self.lanes[lane].is_empty() {
            self.since[lane] = self.now;
        }
        self.lanes[lane].push_back(item);
    }

    fn push(&mut self, lane: Option<usize>) -> bool {
        self.next += 1;
        self.done.push(false);
        let wake = match lane {
            Some(lane) => {
                self.enqueue(lane, self.next);
                self.queue.push(lane, self.next, self.now)
            }
            None => {
                self.work.push_back(self.next);
                self.queue.push_work(self.next)
            }
        };
        self.wake(wake);
        wake
    }

    fn relane(&mut self, nth: usize, to: usize) {
        let all = (0..self.lanes.len()).flat_map(|l| self.lanes[l].iter().map(move |&i| (l, i)));
        let Some((from, item)) = all.clone().nth(nth % all.count().max(1)) else {
            assert!(
                !self.queue.relane(0, to, self.now, |_| true),
                "nothing is queued"
            );
            return;
        };
        self.lanes[from].retain(|&queued| queued != item);
        self.enqueue(to, item);
        let wake = self
            .queue
            .relane(from, to, self.now, |&queued| queued == item);
        self.wake(wake);
    }

    fn step(&mut self, worker: usize, again: bool) {
        match self.workers[worker] {
            Doing::Gone => {}
            Doing::Searching => self.pick(worker, again),
            Doing::Napping => {
                self.workers[worker] = Doing::Searching;
                self.queue.nap_over();
            }
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
                self.queue.turn_ended(lane, self.now);
                self.since[lane] = self.now;
                if again {
                    assert!(!self.push(Some(lane)), "nobody is woken for it");
                }
                self.pick(worker, false);
            }
        }
    }

    /// Whether a worker that has nothing to do may nap: another is there who does not, and what
    /// runs is of the highest lane.
    fn may_nap(&self, worker: usize) -> bool {
        let others = (0..WORKERS).filter(|&other| other != worker);
        let awake = |doing| !matches!(doing, Doing::Napping | Doing::Gone);
        let somebody = others.clone().any(|other| awake(self.workers[other]));
        let low = |doing| matches!(doing, Doing::Turn(lane) if lane > 0);
        self.kernel && somebody && self.count(low) == 0
    }

    fn harvest(&mut self) {
        self.streak = 0;
        if std::mem::take(&mut self.posted) {
            self.queue.woken();
        }
    }

    fn pick(&mut self, worker: usize, naps: bool) {
        assert_eq!(self.queue.surplus(), self.surplus());
        if self.queue.surplus() {
            self.workers[worker] = Doing::Gone;
            let wake = self.queue.leave();
            return self.wake(wake);
        }
        let best = self.best_lane();
        let (picked, wake) = self.queue.pick(self.now);
        self.workers[worker] = match picked {
            Picked::Work(item) => {
                assert_eq!(self.work.pop_front(), Some(item), "in order");
                self.done(item);
                self.streak += 1;
                let most = if self.kernel {
                    WORK_PER_TURN
                } else {
                    usize::MAX
                };
                assert!(self.streak <= most, "a streak lets others in");
                Doing::Searching
            }
            Picked::Turn(lane, item, _) => {
                assert_eq!(Some(lane), best, "the lane whose turn it is");
                assert_eq!(self.lanes[lane].pop_front(), Some(item), "in order");
                self.since[lane] = self.now;
                self.done(item);
                self.streak = 0;
                Doing::Turn(lane)
            }
            Picked::Poll(max) => {
                assert!(self.kernel, "a pool has nothing to look at");
                assert!(max > 0 && (best.is_some() || !self.work.is_empty()));
                // Work is held back for this one look, whoever picks next.
                self.streak = 0;
                Doing::Polling
            }
            Picked::Park(max) => {
                assert!(best.is_none() && self.work.is_empty(), "it had work");
                assert!(max > 0);
                // A look at the kernel as well, if a longer one.
                self.streak = 0;
                let may = self.may_nap(worker);
                assert_eq!(self.queue.may_nap(), may, "one stays who does not nap");
                if naps && self.queue.nap() {
                    assert!(may);
                    Doing::Napping
                } else {
                    Doing::Parked
                }
            }
        };
        self.wake(wake);
    }

    /// The invariant of the run queue's documentation, and the caps.
    fn check(&self) {
        let searching = self.count(|d| matches!(d, Doing::Searching | Doing::Polling));
        let parked = self.count(|d| d == Doing::Parked);
        let here = self.count(|d| d != Doing::Gone);
        assert_eq!(self.queue.workers(), here);
        assert!(here >= self.bound(), "what was promised is kept");
        let work = self.best_lane().is_some() || !self.work.is_empty() || self.surplus();
        assert!(
            !(work && parked > 0) || searching > 0 || self.posted,
            "nobody comes for it: {:?}",
            self.workers
        );
        for (lane, spec) in self.specs.iter().enumerate() {
            let look = self.queue.look(lane);
            let (queued, running) = (self.lanes[lane].len(), self.running(lane));
            assert_eq!((look.queued, look.running), (queued, running));
            assert!(
                look.running_peak <= spec.workers_max,
                "lane {lane} was above its cap"
            );
        }
        let queued: usize = self.lanes.iter().map(VecDeque::len).sum();
        assert_eq!(self.queue.queued(), queued);
        let backlog = match queued {
            _ if parked > 0 || queued <= here => Backlog::None,
            _ if self.lanes[1..].iter().all(VecDeque::is_empty) => Backlog::Highest,
            _ => Backlog::Mixed,
        };
        assert_eq!(self.queue.backlog(), backlog);
    }

    /// Worker 0 alone goes on, woken by wakes alone; the others are stuck where they are.
    fn finish(&mut self) {
        for _ in 0..10_000 {
            if self.workers[0] == Doing::Gone || self.workers[0] == Doing::Parked && !self.posted {
                break;
            }
            self.step(0, false);
            self.check();
        }
        // Others that search, nap, or were woken, are not stuck: they come for it.
        let comes = |d| matches!(d, Doing::Searching | Doing::Polling | Doing::Napping);
        let awake = self.count(comes) > 0;
        let there = self.count(|d| d == Doing::Parked) > 0;
        let left = self.best_lane().is_some() || !self.work.is_empty();
        assert!(
            awake || self.posted || !there || !left,
            "lost: {:?}",
            self.lanes
        );
    }
}

/// Does the same to the queue and to the lists; they agree after each step.
fn agree(specs: Vec<LaneSpec>, ops: impl IntoIterator<Item = Op>, kernel: bool) {
    let mut plain = Plain::new(specs, kernel);
    for op in ops {
        match op {
            Op::Push(lane) => drop(plain.push(Some(lane))),
            Op::Work => drop(plain.push(None)),
            Op::Step(worker, again) => plain.step(worker, again),
            Op::Pass(micros) => plain.now = plain.now + Duration::from_micros(micros),
            Op::Move(nth, to) => plain.relane(nth, to),
            Op::Resize(wanted) => {
                // Growing is done by whoever adds workers.
                plain.wanted = wanted.min(plain.wanted);
                let wake = plain.queue.resize(plain.wanted);
                plain.wake(wake);
            }
        }
        plain.check();
    }
    plain.finish();
    for left in plain.queue.drain() {
        plain.done(left);
    }
    assert!(plain.done[1..].iter().all(|done| *done), "each item once");
}

/// Reads lanes and operations from bytes, for the fuzzer; as many as there are.
pub(crate) fn agrees_on(bytes: &[u8]) {
    let mut bytes = bytes.iter().map(|byte| usize::from(*byte));
    let mut next = || bytes.next();
    let first = next().unwrap_or(0);
    let lanes = 1 + first % 3;
    let mut specs: Vec<_> = (0..lanes)
        .map(|_| {
            let byte = next().unwrap_or(0);
            let cap = [usize::MAX, 1, 2, 3][byte % 4];
            let starve = [None, Some(1), Some(40), Some(300)][byte / 4 % 4];
            LaneSpec {
                workers_max: cap,
                workers_min: 0,
                starve_after: starve.map(Duration::from_micros),
            }
        })
        .collect();
    if let Some(lane) = specs.get_mut(first / 4 % 4) {
        lane.workers_min = 1;
    }
    let op = |byte: usize| match byte {
        0..=63 => Op::Push(byte % lanes),
        64..=79 => Op::Work,
        80..=199 => Op::Step(byte % WORKERS, (byte / WORKERS).is_multiple_of(2)),
        200..=219 => Op::Pass([0, 1, 10, 60, 400][byte % 5]),
        220..=243 => Op::Move(byte / lanes % 8, byte % lanes),
        _ => Op::Resize(1 + byte % WORKERS),
    };
    agree(
        specs,
        std::iter::from_fn(next).map(op),
        (first / 16).is_multiple_of(2),
    );
}

#[cfg(test)]
mod tests;
