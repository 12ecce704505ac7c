//! One core's fair queue, after Linux's EEVDF (kernel/sched/fair.c, 6.12 to 6.18).
//!
//! Each thread has a virtual runtime that grows as it runs, slower for a heavier thread, and a
//! virtual deadline one slice ahead. Of the threads that have had no more than their share
//! (`v` at or below the weighted mean) the one with the earliest deadline runs. What a thread is
//! owed when it sleeps, its lag, it gets back when it wakes, which is why a thread that sleeps much
//! takes a core from one that computes, at once.
//!
//! Left out: bandwidth groups, latency-nice, the buddies, and NUMA. Stoica and Abdel-Wahab,
//! "Earliest Eligible Virtual Deadline First", 1995, is where the rule comes from.

use super::cores::ThreadId;

/// The weight of nice 0, in which virtual time runs like time.
pub(super) const WEIGHT_0: u64 = 1024;

/// The kernel's weights of nice -20 to 19: each step is a factor of 1.25.
const WEIGHTS: [u64; 40] = [
    88761, 71755, 56483, 46273, 36291, 29154, 23254, 18705, 14949, 11916, 9548, 7620, 6100, 4904,
    3906, 3121, 2501, 1991, 1586, 1277, 1024, 820, 655, 526, 423, 335, 272, 215, 172, 137, 110, 87,
    70, 56, 45, 36, 29, 23, 18, 15,
];

/// The weight of a nice value; beyond -20 and 19 it is theirs.
pub(super) fn weight_of(nice: i32) -> u64 {
    let index = usize::try_from(nice.saturating_add(20)).unwrap_or(0);
    WEIGHTS[index.min(WEIGHTS.len() - 1)]
}

/// What a thread that is not queued keeps of its account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Lag {
    /// Virtual time it is owed; below zero: has had too much.
    pub(super) owed: i64,
    /// Its virtual runtime when it left.
    pub(super) v: i64,
    /// How often the core had been idle by then.
    pub(super) idles: u64,
}

#[derive(Clone, Copy, Debug)]
struct Entity {
    thread: ThreadId,
    weight: u64,
    v: i64,
    deadline: i64,
}

/// The queue: who runs and who waits.
#[derive(Debug)]
pub(super) struct Fair {
    slice: u64,
    tick: u64,
    current: Option<Entity>,
    waiting: Vec<Entity>,
    /// The mean when the queue was last not empty.
    zero: i64,
    /// The current thread is left alone until its virtual runtime is here.
    protected: i64,
    idles: u64,
}

impl Fair {
    /// An empty queue with a base slice and a tick, in nanoseconds.
    pub(super) fn new(slice: u64, tick: u64) -> Self {
        Self {
            slice,
            tick,
            current: None,
            waiting: Vec::new(),
            zero: 0,
            protected: 0,
            idles: 0,
        }
    }

    /// Who runs.
    pub(super) fn current(&self) -> Option<ThreadId> {
        self.current.map(|entity| entity.thread)
    }

    /// Threads that wait for the core.
    pub(super) fn waiting(&self) -> impl Iterator<Item = ThreadId> {
        self.waiting.iter().map(|entity| entity.thread)
    }

    /// Threads here, the running one included.
    pub(super) fn len(&self) -> usize {
        self.waiting.len() + usize::from(self.current.is_some())
    }

    fn all(&self) -> impl Iterator<Item = &Entity> {
        self.current.iter().chain(&self.waiting)
    }

    /// The weighted mean of the virtual runtimes, rounded down.
    fn mean(&self) -> i64 {
        let Some(first) = self.all().next() else {
            return self.zero;
        };
        let (mut sum, mut weights) = (0i128, 0i128);
        for entity in self.all() {
            sum += i128::from(entity.v - first.v) * i128::from(entity.weight);
            weights += i128::from(entity.weight);
        }
        first.v + i64::try_from(sum.div_euclid(weights)).unwrap_or(0)
    }

    /// Whether it has had no more than its share.
    fn eligible(&self, which: &Entity) -> bool {
        let behind = |e: &Entity| i128::from(e.v - which.v) * i128::from(e.weight);
        self.all().map(behind).sum::<i128>() >= 0
    }

    /// A thread comes to wait, with what it is owed here.
    pub(super) fn enter(&mut self, thread: ThreadId, weight: u64, lag: Lag) {
        let mean = self.mean();
        let mut owed = lag.owed;
        if owed < 0 {
            // Linux leaves it in the queue until the others have caught up; it ends even.
            owed = if lag.idles == self.idles {
                (mean - lag.v).clamp(lag.owed, 0)
            } else {
                0
            };
        }
        let others: u64 = self.all().map(|e| e.weight).sum();
        let v = if others == 0 {
            mean
        } else {
            // Its coming moves the mean: what it is owed afterwards is to be what it was before.
            let inflated = i128::from(owed) * i128::from(others + weight) / i128::from(others);
            mean - i64::try_from(inflated).unwrap_or(0)
        };
        self.waiting.push(Entity {
            thread,
            weight,
            v,
            deadline: v + scaled(self.slice, weight),
        });
    }

    /// The current thread has run for so long.
    pub(super) fn ran(&mut self, nanos: u64) {
        let slice = self.slice;
        if let Some(current) = &mut self.current {
            current.v += scaled(nanos, current.weight);
            if current.v >= current.deadline {
                current.deadline = current.v + scaled(slice, current.weight);
            }
        }
    }

    /// Whether the current thread's protected slice is over.
    pub(super) fn slice_over(&self) -> bool {
        self.current.is_none_or(|c| c.v >= self.protected)
    }

    /// Nanoseconds until the current thread's protected slice is over.
    pub(super) fn slice_left(&self) -> Option<u64> {
        let current = self.current?;
        let left = u128::try_from(self.protected - current.v).unwrap_or(0);
        let nanos = (left * u128::from(current.weight)).div_ceil(u128::from(WEIGHT_0));
        Some(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// The current thread goes back to those that wait: another kind has taken the core.
    pub(super) fn put_back(&mut self) {
        self.waiting.extend(self.current.take());
    }

    /// Who should run: the current thread while it is protected and not over its share.
    pub(super) fn best(&self) -> Option<ThreadId> {
        if let Some(current) = &self.current
            && (self.waiting.is_empty() || (!self.slice_over() && self.eligible(current)))
        {
            return Some(current.thread);
        }
        let eligible = self.waiting.iter().chain(&self.current);
        // Rounding never leaves nobody: the least virtual runtime is at or below the mean. Of two
        // equal deadlines the waiting thread's wins, as in the kernel.
        let eligible = eligible.filter(|entity| self.eligible(entity));
        eligible.min_by_key(|e| e.deadline).map(|e| e.thread)
    }

    /// Puts the current thread back and a waiting one on the core.
    pub(super) fn run(&mut self, thread: ThreadId) {
        let Some(at) = self.waiting.iter().position(|e| e.thread == thread) else {
            return;
        };
        let next = self.waiting.remove(at);
        self.waiting.extend(self.current.replace(next));
        let slice_end = next.v + scaled(self.slice, next.weight);
        self.protected = slice_end.min(next.deadline);
    }

    /// The current thread leaves, to sleep or for good.
    pub(super) fn leave(&mut self) -> Lag {
        let Some(current) = self.current else {
            return Lag::default();
        };
        let lag = self.lag_of(&current);
        self.zero = self.mean();
        self.current = None;
        if self.waiting.is_empty() {
            self.idles += 1;
        }
        lag
    }

    /// A waiting thread leaves for another core.
    pub(super) fn take(&mut self, thread: ThreadId) -> Lag {
        let Some(at) = self.waiting.iter().position(|e| e.thread == thread) else {
            return Lag::default();
        };
        let lag = self.lag_of(&self.waiting[at]);
        self.zero = self.mean();
        self.waiting.remove(at);
        lag
    }

    fn lag_of(&self, entity: &Entity) -> Lag {
        let limit = scaled(self.tick.max(2 * self.slice), entity.weight);
        Lag {
            owed: (self.mean() - entity.v).clamp(-limit, limit),
            v: entity.v,
            idles: self.idles,
        }
    }
}

/// Time as virtual time of a thread of this weight.
fn scaled(nanos: u64, weight: u64) -> i64 {
    let scaled = u128::from(nanos) * u128::from(WEIGHT_0) / u128::from(weight);
    i64::try_from(scaled).unwrap_or(i64::MAX / 4)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SLICE: u64 = 1_400_000;
    const TICK: u64 = 4_000_000;

    fn fair(weights: &[u64]) -> Fair {
        let mut fair = Fair::new(SLICE, TICK);
        for (thread, weight) in weights.iter().enumerate() {
            fair.enter(thread, *weight, Lag::default());
        }
        fair
    }

    /// Runs what is best, a tick at a time; the time that each thread got.
    fn run(fair: &mut Fair, threads: usize, ticks: usize) -> Vec<u64> {
        let mut got = vec![0; threads];
        for _ in 0..ticks {
            let best = fair.best().unwrap();
            fair.run(best);
            fair.ran(TICK);
            got[best] += TICK;
        }
        got
    }

    #[test]
    fn a_thread_that_was_owed_time_preempts_when_it_wakes() {
        let mut fair = fair(&[WEIGHT_0, WEIGHT_0]);
        fair.run(0);
        fair.ran(10_000_000);
        fair.run(1);
        fair.ran(50_000);
        let lag = fair.leave();
        assert!(lag.owed > 0, "it ran less than its share: {lag:?}");
        fair.run(0);
        fair.ran(200_000);
        fair.enter(1, WEIGHT_0, lag);
        assert_eq!(fair.best(), Some(1));
    }

    #[test]
    fn a_thread_that_had_its_share_waits() {
        let mut fair = fair(&[WEIGHT_0, WEIGHT_0]);
        fair.run(0);
        fair.ran(1_000_000);
        let lag = fair.leave();
        assert!(lag.owed < 0);
        fair.run(1);
        fair.ran(100_000);
        fair.enter(0, WEIGHT_0, lag);
        assert_eq!(fair.best(), Some(1), "the other has not caught up");
    }

    #[test]
    fn weights_are_those_of_the_kernel() {
        assert_eq!([-20, 0, 19].map(weight_of), [88761, 1024, 15]);
        assert_eq!([i32::MIN, i32::MAX].map(weight_of), [88761, 15]);
    }

    proptest! {
        #[test]
        fn shares_follow_weights(nices in prop::collection::vec(-8i32..8, 1..6)) {
            let weights: Vec<_> = nices.iter().map(|n| weight_of(*n)).collect();
            let ticks = 2_000;
            let got = run(&mut fair(&weights), weights.len(), ticks);
            let all: u64 = weights.iter().sum();
            for (thread, weight) in weights.iter().enumerate() {
                let due = u128::from(TICK) * ticks as u128 * u128::from(*weight) / u128::from(all);
                let off = u128::from(got[thread]).abs_diff(due);
                // Never more than some ticks from its share, however long it runs.
                prop_assert!(off <= 10 * u128::from(TICK), "thread {thread} of {nices:?}: {got:?}");
            }
        }

        #[test]
        fn somebody_is_always_best(
            ops in prop::collection::vec((0usize..4, 0u64..9_000_000, any::<bool>()), 1..300),
        ) {
            let mut fair = fair(&[]);
            let mut lags = [Some(Lag::default()); 4];
            for (thread, nanos, sleep) in ops {
                if let Some(lag) = lags[thread].take() {
                    fair.enter(thread, weight_of(i32::try_from(thread).unwrap() * 3), lag);
                } else if sleep && let Some(current) = fair.current() {
                    lags[current] = Some(fair.leave());
                }
                prop_assert_eq!(fair.best().is_some(), fair.len() > 0);
                if let Some(best) = fair.best() {
                    fair.run(best);
                    fair.ran(nanos);
                }
                prop_assert_eq!(fair.len(), lags.iter().filter(|lag| lag.is_none()).count());
            }
        }
    }
}
