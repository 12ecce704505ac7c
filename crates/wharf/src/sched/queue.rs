//! The run queue of a port: port work, lanes, and the wake chain (R1, R2, R10) as plain state.
//!
//! The owner keeps it behind one lock and acts on what the methods return. Under the lock "publish
//! parked, look again" and "push, look for parked" can't cross, which is all that R1 asks for.
//!
//! A worker is in a turn, *searching* (awake, looking for a turn), *parked* (in the kernel's wait,
//! or about to enter it), or *napping* (asleep for a moment: it searches again by itself, and is
//! counted on by nobody). A posted wake that nobody has harvested yet counts as a searcher: whoever
//! harvests it must look. So there is no lost wake-up as long as this holds whenever the lock is
//! free: *eligible work and a parked worker imply a searcher or a posted wake.*

use std::collections::VecDeque;
use std::time::Duration;

use super::lanes::{LaneLook, LaneSpec, Lanes};
use crate::time::Time;

/// Turns of lower lanes between two looks at the kernel (R10).
const TURNS_PER_HARVEST: usize = 8;
/// The kernel is asked again before a turn of a lower lane if the last look is older: what came
/// during a long low turn goes first. Nothing can go before the highest lane.
const HARVEST_AFTER: Duration = Duration::from_micros(50);
/// Pieces of port work between two turns, or two looks at the kernel: a flood of connections or a
/// long broadcast must not keep sessions from their turns.
pub(super) const WORK_PER_TURN: usize = 8;
/// From so many queued turns a worker on, connections are let in at the pace of the turns: more of
/// them would make who speaks wait behind all who come. In a storm of connects 64 is as good on
/// idle cores and was worse on busy ones (`cargo xtask bench-abuse --only storm`,
/// `docs/reliability.md`).
const TURNS_BEFORE_NEWCOMERS: usize = 8;
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

/// What waits behind the turns that run, from least to most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Backlog {
    /// Some worker may find nothing.
    None,
    /// A turn for each worker, but in lower lanes too: a higher session may yet go before them.
    Mixed,
    /// A turn for each worker, all in the highest lane: nothing goes before them.
    Highest,
}

/// The queue.
#[derive(Debug)]
pub(crate) struct RunQueue<T> {
    work: VecDeque<T>,
    lanes: Lanes<T>,
    /// All workers: parked, napping, searching and in turns.
    workers: usize,
    /// As many are wanted; those above leave.
    wanted: usize,
    parked: usize,
    napping: usize,
    searching: usize,
    wake_posted: bool,
    /// Whether there is a kernel queue to look at: a pool has none.
    kernel: bool,
    looked_at: Time,
    /// Turns of the highest lane left until the next harvest: a round.
    round: usize,
    /// Turns of lower lanes left.
    low_round: usize,
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
            workers: 0,
            wanted: usize::MAX,
            parked: 0,
            napping: 0,
            searching: 0,
            wake_posted: false,
            kernel: true,
            looked_at: Time::ZERO,
            round: 0,
            low_round: 0,
            work_streak: 0,
            harvested: false,
        }
    }

    /// The same without a kernel queue: for a pool.
    pub(crate) fn without_kernel(lanes: Vec<LaneSpec>) -> Self {
        Self {
            kernel: false,
            ..Self::new(lanes)
        }
    }

    /// One more worker, searching.
    pub(crate) fn join(&mut self) {
        self.searching += 1;
        self.workers += 1;
    }

    /// A searching worker leaves for good. True: the caller posts a wake, for what this one would
    /// have run, or for the next that is to leave.
    #[must_use]
    pub(crate) fn leave(&mut self) -> bool {
        self.searching -= 1;
        self.workers -= 1;
        self.wants_wake()
    }

    /// So many workers are wanted from now on. True: the caller posts a wake, and whoever sees it
    /// leaves if there are too many.
    #[must_use]
    pub(crate) fn resize(&mut self, wanted: usize) -> bool {
        self.wanted = wanted;
        self.wants_wake()
    }

    /// Whether the searching worker that asks is to leave: there are too many, and those who stay
    /// keep what lanes were promised. Else one of those in turns leaves at its end.
    pub(crate) fn surplus(&self) -> bool {
        self.workers > self.wanted && self.lanes.kept_by(self.workers - 1)
    }

    /// The workers there are: parked, napping, searching and in turns.
    pub(crate) fn workers(&self) -> usize {
        self.workers
    }

    /// Queues a turn. True: the caller posts a wake.
    #[must_use]
    pub(crate) fn push(&mut self, lane: usize, item: T, now: Time) -> bool {
        self.lanes.push(lane, item, now);
        self.wants_wake()
    }

    /// Moves a queued item from a lane to another, if `is` finds it. True: the caller posts a wake.
    #[must_use]
    pub(crate) fn relane(
        &mut self,
        from: usize,
        to: usize,
        now: Time,
        is: impl FnMut(&T) -> bool,
    ) -> bool {
        self.lanes.relane(from, to, now, is) && self.wants_wake()
    }

    /// Queues port work. True: the caller posts a wake.
    #[must_use]
    pub(crate) fn push_work(&mut self, item: T) -> bool {
        self.work.push_back(item);
        self.wants_wake()
    }

    /// Something to do, somebody parked, and nobody on the way to see it: post one wake.
    #[inline]
    fn wants_wake(&mut self) -> bool {
        if self.parked == 0 || self.searching > 0 || self.wake_posted {
            return false;
        }
        self.wake_posted = self.has_eligible() || self.surplus();
        self.wake_posted
    }

    fn has_eligible(&self) -> bool {
        !self.work.is_empty() || self.lanes.has_eligible(self.workers)
    }

    /// What the searching worker does next, and whether it posts a wake first (R1): when it takes
    /// something and leaves something, a parked sibling must come and search.
    #[inline]
    pub(crate) fn pick(&mut self, now: Time) -> (Picked<T>, bool) {
        let work_first = self.work_streak < WORK_PER_TURN || !self.kernel;
        if let Some(item) = self.work.pop_front_if(|_| work_first) {
            self.work_streak += 1;
            // Port work is short and never blocks, but a sibling may help with a long list.
            self.searching -= 1;
            let wake = self.wants_wake();
            self.searching += 1;
            return (Picked::Work(item), wake);
        }
        self.work_streak = 0;
        let lane = self.lanes.next(now, self.workers);
        if lane.is_none() && self.work.is_empty() {
            return (self.park(), false);
        }
        if self.kernel && self.look_first(now, lane) {
            self.harvested = true;
            self.looked_at = now;
            return (Picked::Poll(HARVEST_MAX), false);
        }
        match lane.and_then(|lane| self.lanes.take(lane, now)) {
            Some((lane, item, queued_at)) => {
                let round = if lane == 0 {
                    &mut self.round
                } else {
                    &mut self.low_round
                };
                *round = round.saturating_sub(1);
                self.searching -= 1;
                let wake = self.wants_wake();
                (Picked::Turn(lane, item, queued_at), wake)
            }
            None => (self.park(), false),
        }
    }

    /// More port work for the worker that has just been given some, to be done together with it: as
    /// much as may run in one go.
    pub(crate) fn more_work(&mut self) -> Option<T> {
        let more = !self.work_streak.is_multiple_of(WORK_PER_TURN);
        let item = self.work.pop_front_if(|_| more)?;
        self.work_streak += 1;
        Some(item)
    }

    /// Whether the kernel is asked before the next turn, which is one of `lane`; or of none, while
    /// port work waits.
    fn look_first(&mut self, now: Time, lane: Option<usize>) -> bool {
        if std::mem::take(&mut self.harvested) {
            // A round is what is queued now, so that a session which queues itself again after its
            // budget can't keep the others' readiness in the kernel.
            self.round = self.lanes.look(0).queued.max(1);
            self.low_round = TURNS_PER_HARVEST;
            self.looked_at = now;
        }
        match lane {
            Some(0) => self.round == 0,
            Some(_) => self.low_round == 0 || now.since(self.looked_at) >= HARVEST_AFTER,
            None => true,
        }
    }

    fn park(&mut self) -> Picked<T> {
        self.searching -= 1;
        // Few reports while a sibling could take its own; a batch when all others are busy (R10).
        let siblings_parked = self.parked > 0;
        self.parked += 1;
        Picked::Park(if siblings_parked { 1 } else { HARVEST_MAX })
    }

    /// The worker that was just told to park is to nap instead, up to [`Self::nap_over`]. False,
    /// and it parks: somebody has to stay who does not nap, or [`Self::may_nap_on`] says no.
    #[must_use]
    pub(crate) fn nap(&mut self) -> bool {
        let naps = self.may_nap();
        if naps {
            self.parked -= 1;
            self.napping += 1;
        }
        naps
    }

    /// Whether one more may nap.
    pub(crate) fn may_nap(&self) -> bool {
        self.kernel && self.napping + 1 < self.workers && self.may_nap_on()
    }

    /// Whether all turns that run are of the highest lane. Those of others may take their time, and
    /// nobody is to sleep who could take what goes before them.
    pub(crate) fn may_nap_on(&self) -> bool {
        self.lanes.runs_only_highest()
    }

    /// A worker has napped; it searches now.
    pub(crate) fn nap_over(&mut self) {
        self.napping -= 1;
        self.searching += 1;
    }

    /// Turns that have begun so far.
    pub(crate) fn turns(&self) -> u64 {
        self.lanes.turns()
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
    pub(crate) fn turn_ended(&mut self, lane: usize, now: Time) {
        self.lanes.release(lane, now);
        self.searching += 1;
    }

    /// How many newcomers of this lane are to be let in now, at most `max`: while many of its turns
    /// are queued, one for each turn since this was last asked. If that is fewer, a turn comes
    /// before more port work.
    pub(crate) fn newcomers(&mut self, lane: usize, max: usize) -> usize {
        let since = self.lanes.turns_since_asked(lane);
        let many = TURNS_BEFORE_NEWCOMERS * self.workers;
        if !self.lanes.has_many(lane, many, self.workers) {
            return max;
        }
        let since = usize::try_from(since).unwrap_or(max);
        if since < max {
            // Asked again before it, the answer would be none.
            self.work_streak = WORK_PER_TURN;
        }
        since.min(max)
    }

    /// Sessions queued for a turn.
    pub(crate) fn queued(&self) -> usize {
        self.lanes.queued()
    }

    /// Whether a worker is in no turn, and awake or woken by whoever pushes.
    pub(crate) fn has_free_worker(&self) -> bool {
        self.parked + self.searching > 0
    }

    /// Whether no turn runs or waits, and no port work does.
    pub(crate) fn is_idle(&self) -> bool {
        self.work.is_empty() && self.lanes.is_idle()
    }

    /// What the workers will find after the turns that they run.
    pub(crate) fn backlog(&self) -> Backlog {
        let queued = self.lanes.queued();
        if self.parked > 0 || queued <= self.workers {
            Backlog::None
        } else if queued > self.lanes.look(0).queued {
            Backlog::Mixed
        } else {
            Backlog::Highest
        }
    }

    /// How a lane stands.
    pub(crate) fn look(&self, lane: usize) -> LaneLook {
        self.lanes.look(lane)
    }

    /// Takes all that is queued, when the port has stopped.
    pub(crate) fn drain(&mut self) -> Vec<T> {
        self.work.drain(..).chain(self.lanes.drain()).collect()
    }
}
