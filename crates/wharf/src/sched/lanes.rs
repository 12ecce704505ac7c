//! Lanes: what wants a turn, by class. Highest lane first, first come first served inside one.
//!
//! A lane may be capped (`workers_max`), have workers kept for it (`workers_min`), and be let in
//! once when it has waited too long (`starve_after`). Pure: the caller brings the time and says how
//! many workers there are.

use std::collections::VecDeque;
use std::time::Duration;

use crate::time::Time;

/// What a lane is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LaneSpec {
    /// The most workers that may run its turns at once.
    pub(crate) workers_max: usize,
    /// Workers that other lanes leave free for it.
    pub(crate) workers_min: usize,
    /// With something queued and no turn for so long, the next turn is its own.
    pub(crate) starve_after: Option<Duration>,
}

impl LaneSpec {
    /// A lane with this cap, without a reserve, that may starve.
    #[cfg(test)]
    pub(crate) fn capped(workers_max: usize) -> Self {
        Self {
            workers_max,
            workers_min: 0,
            starve_after: None,
        }
    }
}

/// How a lane stands, and what it has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LaneLook {
    pub(crate) queued: usize,
    pub(crate) running: usize,
    /// The most workers that ran its turns at once.
    pub(crate) running_peak: usize,
    pub(crate) turns: u64,
}

#[derive(Debug)]
struct Lane<T> {
    spec: LaneSpec,
    queue: VecDeque<(T, Time)>,
    running: usize,
    /// The most that ran at once so far.
    running_peak: usize,
    turns: u64,
    /// How many of them [`Lanes::turns_since_asked`] has told.
    told: u64,
    /// Its last turn began or ended, or its queue was empty until then.
    waits_since: Time,
}

/// The lanes of one port or pool.
///
/// Each item stands in at most one queue, once: the session's word sees to that, so the queues are
/// bounded by the number of sessions and never drop (G5).
#[derive(Debug)]
pub(crate) struct Lanes<T> {
    lanes: Vec<Lane<T>>,
    queued: usize,
    running: usize,
    /// Whether any lane has a reserve: most ports have none, and need not count.
    reserves: bool,
    /// Whether any lane ages.
    ages: bool,
}

impl<T> Lanes<T> {
    /// Lanes from the highest to the lowest.
    pub(crate) fn new(specs: Vec<LaneSpec>) -> Self {
        let reserves = specs.iter().any(|spec| spec.workers_min > 0);
        let ages = specs.iter().any(|spec| spec.starve_after.is_some());
        let lane = |spec| Lane {
            spec,
            queue: VecDeque::new(),
            running: 0,
            running_peak: 0,
            turns: 0,
            told: 0,
            waits_since: Time::ZERO,
        };
        Self {
            lanes: specs.into_iter().map(lane).collect(),
            queued: 0,
            running: 0,
            reserves,
            ages,
        }
    }

    /// Puts an item at the back of its lane; a lane that does not exist means the lowest.
    pub(crate) fn push(&mut self, lane: usize, item: T, now: Time) {
        let lane = lane.min(self.lanes.len() - 1);
        self.lanes[lane].push(item, now, now);
        self.queued += 1;
    }

    /// Moves the queued item for which `is` holds to the back of lane `to`; false if none does.
    /// Looks through the queue of lane `from`: re-classing a session is rare.
    pub(crate) fn relane(
        &mut self,
        from: usize,
        to: usize,
        now: Time,
        mut is: impl FnMut(&T) -> bool,
    ) -> bool {
        let last = self.lanes.len() - 1;
        let (from, to) = (from.min(last), to.min(last));
        let queue = &mut self.lanes[from].queue;
        let Some(at) = queue.iter().position(|(item, _)| is(item)) else {
            return false;
        };
        if let Some((item, queued_at)) = queue.remove(at) {
            self.lanes[to].push(item, queued_at, now);
        }
        true
    }

    /// [`Self::next`], then [`Self::take`].
    #[cfg(test)]
    pub(crate) fn pick(&mut self, now: Time, workers: usize) -> Option<(usize, T, Time)> {
        let index = self.next(now, workers)?;
        self.take(index, now)
    }

    /// The first item of this lane, which [`Self::next`] named. Its slot is taken until
    /// [`Self::release`].
    pub(crate) fn take(&mut self, index: usize, now: Time) -> Option<(usize, T, Time)> {
        let lane = &mut self.lanes[index];
        let (item, queued_at) = lane.queue.pop_front()?;
        lane.running += 1;
        lane.running_peak = lane.running_peak.max(lane.running);
        lane.turns += 1;
        lane.waits_since = now;
        self.running += 1;
        self.queued -= 1;
        Some((index, item, queued_at))
    }

    /// The lane of the next turn among `workers` workers: one that has starved, or else the highest
    /// that may run.
    #[inline]
    pub(crate) fn next(&self, now: Time, workers: usize) -> Option<usize> {
        if self.queued == 0 {
            return None;
        }
        if !self.ages && self.may_run(0, workers) {
            return Some(0);
        }
        self.next_of_all(now, workers)
    }

    fn next_of_all(&self, now: Time, workers: usize) -> Option<usize> {
        if self.ages {
            let starved = |lane: &Lane<T>| {
                let waited = now.since(lane.waits_since);
                lane.spec.starve_after.is_some_and(|after| waited >= after)
            };
            let longest = (0..self.lanes.len())
                .filter(|&index| self.may_run(index, workers) && starved(&self.lanes[index]))
                .min_by_key(|&index| self.lanes[index].waits_since);
            if longest.is_some() {
                return longest;
            }
        }
        (0..self.lanes.len()).find(|&index| self.may_run(index, workers))
    }

    /// Whether a turn of this lane may begin now: something is queued, the lane is below its cap,
    /// and those left are enough for what the others have been promised.
    fn may_run(&self, index: usize, workers: usize) -> bool {
        let lane = &self.lanes[index];
        if lane.queue.is_empty() || lane.running >= lane.spec.workers_max {
            return false;
        }
        if !self.reserves {
            return true;
        }
        let promised: usize = (0..self.lanes.len())
            .filter(|&other| other != index)
            .map(|other| self.lanes[other].owed())
            .sum();
        workers.saturating_sub(self.running) > promised
    }

    /// Gives back the slot that [`Self::take`] took.
    pub(crate) fn release(&mut self, lane: usize, now: Time) {
        let lane = &mut self.lanes[lane];
        debug_assert!(lane.running > 0, "a slot is released once");
        lane.running -= 1;
        // By the turn's end: by its begin, a lane whose turns last long would have starved again
        // at each of their ends, and higher lanes would never run.
        lane.waits_since = lane.waits_since.max(now);
        self.running -= 1;
    }

    /// Whether so many workers, of whom nobody is to be called off a turn, keep what lanes were
    /// promised.
    pub(crate) fn kept_by(&self, workers: usize) -> bool {
        let owed = || self.lanes.iter().map(Lane::owed).sum();
        !self.reserves || workers.saturating_sub(self.running) >= owed()
    }

    /// Takes all that is queued, whatever the caps.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = T> {
        self.queued = 0;
        let queues = self.lanes.iter_mut().map(|lane| &mut lane.queue);
        queues.flat_map(|queue| queue.drain(..).map(|(item, _)| item))
    }

    /// Whether [`Self::next`] would find something.
    pub(crate) fn has_eligible(&self, workers: usize) -> bool {
        self.queued > 0 && (0..self.lanes.len()).any(|index| self.may_run(index, workers))
    }

    /// Turns of this lane since this was last asked.
    pub(crate) fn turns_since_asked(&mut self, lane: usize) -> u64 {
        let lane = &mut self.lanes[lane];
        lane.turns - std::mem::replace(&mut lane.told, lane.turns)
    }

    /// Whether so many turns of this lane are queued, and the next may begin.
    pub(crate) fn has_many(&self, lane: usize, many: usize, workers: usize) -> bool {
        self.lanes[lane].queue.len() >= many && self.may_run(lane, workers)
    }

    /// Turns of all lanes so far.
    pub(crate) fn turns(&self) -> u64 {
        self.lanes.iter().map(|lane| lane.turns).sum()
    }

    /// Whether no turn of a lower lane runs.
    pub(crate) fn runs_only_highest(&self) -> bool {
        self.running == self.lanes[0].running
    }

    /// Whether nothing is queued and nothing runs.
    pub(crate) fn is_idle(&self) -> bool {
        self.queued + self.running == 0
    }

    /// Items queued, eligible or not.
    pub(crate) fn queued(&self) -> usize {
        self.queued
    }

    /// How a lane stands.
    pub(crate) fn look(&self, lane: usize) -> LaneLook {
        let lane = &self.lanes[lane];
        LaneLook {
            queued: lane.queue.len(),
            running: lane.running,
            running_peak: lane.running_peak,
            turns: lane.turns,
        }
    }
}

impl<T> Lane<T> {
    fn push(&mut self, item: T, queued_at: Time, now: Time) {
        if self.queue.is_empty() {
            self.waits_since = now;
        }
        self.queue.push_back((item, queued_at));
    }

    /// Workers promised to it and not used by it.
    fn owed(&self) -> usize {
        self.spec.workers_min.saturating_sub(self.running)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Time {
        Time::ZERO + Duration::from_millis(ms)
    }

    fn picked(lanes: &mut Lanes<&'static str>, ms: u64, workers: usize) -> Option<&'static str> {
        lanes.pick(at(ms), workers).map(|picked| picked.1)
    }

    #[test]
    fn the_highest_lane_below_its_cap_wins() {
        let mut lanes = Lanes::new(vec![LaneSpec::capped(8), LaneSpec::capped(1)]);
        lanes.push(1, "low 1", at(0));
        lanes.push(1, "low 2", at(0));
        lanes.push(0, "high", at(0));
        assert_eq!(picked(&mut lanes, 0, 8), Some("high"));
        assert_eq!(picked(&mut lanes, 0, 8), Some("low 1"));
        assert_eq!(picked(&mut lanes, 0, 8), None, "the low lane is at its cap");
        assert_eq!(lanes.queued(), 1);
        lanes.release(1, at(0));
        assert!(lanes.has_eligible(8));
        assert_eq!(picked(&mut lanes, 0, 8), Some("low 2"));
    }

    #[test]
    fn workers_are_kept_for_a_lane_that_was_promised_them() {
        let kept = LaneSpec {
            workers_min: 1,
            ..LaneSpec::capped(1)
        };
        let mut lanes = Lanes::new(vec![LaneSpec::capped(8), kept]);
        ["a", "b", "c"]
            .into_iter()
            .for_each(|item| lanes.push(0, item, at(0)));
        assert_eq!(picked(&mut lanes, 0, 3), Some("a"));
        assert_eq!(picked(&mut lanes, 0, 3), Some("b"));
        assert_eq!(picked(&mut lanes, 0, 3), None, "the third worker is kept");
        lanes.push(1, "low", at(0));
        assert_eq!(picked(&mut lanes, 0, 3), Some("low"));
        lanes.release(0, at(0));
        assert_eq!(
            picked(&mut lanes, 0, 3),
            Some("c"),
            "the promise is met: the rest is free"
        );
    }

    #[test]
    fn a_starved_lane_gets_one_turn() {
        let ageing = LaneSpec {
            starve_after: Some(Duration::from_millis(10)),
            ..LaneSpec::capped(1)
        };
        let mut lanes = Lanes::new(vec![LaneSpec::capped(8), ageing]);
        lanes.push(1, "low 1", at(0));
        lanes.push(1, "low 2", at(0));
        for item in ["a", "b", "c"] {
            lanes.push(0, item, at(0));
        }
        assert_eq!(picked(&mut lanes, 9, 1), Some("a"));
        lanes.release(0, at(10));
        assert_eq!(picked(&mut lanes, 10, 1), Some("low 1"));
        lanes.release(1, at(10));
        assert_eq!(picked(&mut lanes, 11, 1), Some("b"), "one turn, not all");
        lanes.release(0, at(20));
        assert_eq!(picked(&mut lanes, 20, 1), Some("low 2"));
    }

    #[test]
    fn a_lane_whose_turns_last_long_starves_nobody_by_ageing() {
        let ageing = LaneSpec {
            starve_after: Some(Duration::from_millis(10)),
            ..LaneSpec::capped(8)
        };
        let mut lanes = Lanes::new(vec![LaneSpec::capped(8), ageing]);
        lanes.push(1, "low 1", at(0));
        lanes.push(1, "low 2", at(0));
        lanes.push(0, "high", at(0));
        assert_eq!(picked(&mut lanes, 10, 1), Some("low 1"));
        lanes.release(1, at(30));
        assert_eq!(picked(&mut lanes, 30, 1), Some("high"));
        lanes.release(0, at(40));
        assert_eq!(picked(&mut lanes, 40, 1), Some("low 2"));
    }

    #[test]
    fn a_queued_item_moves_and_keeps_its_age() {
        let mut lanes = Lanes::new(vec![LaneSpec::capped(8), LaneSpec::capped(1)]);
        lanes.push(1, "one", at(0));
        lanes.push(1, "two", at(1));
        assert!(lanes.relane(1, 0, at(5), |item| *item == "two"));
        assert!(!lanes.relane(1, 0, at(5), |item| *item == "two"));
        assert_eq!(lanes.pick(at(5), 1), Some((0, "two", at(1))));
        assert_eq!(lanes.queued(), 1);
    }
}
