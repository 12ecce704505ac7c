//! Lanes: what wants a turn, by class. Highest lane first, first come first served inside one.

use std::collections::VecDeque;

use crate::time::Time;

/// What a lane is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LaneSpec {
    /// The most workers that may run its turns at once.
    pub(crate) workers_max: usize,
}

#[derive(Debug)]
struct Lane<T> {
    spec: LaneSpec,
    queue: VecDeque<(T, Time)>,
    running: usize,
}

/// The lanes of one port or pool.
///
/// Each item stands in at most one queue, once: the session's word sees to that, so the queues are
/// bounded by the number of sessions and never drop (G5).
#[derive(Debug)]
pub(crate) struct Lanes<T> {
    lanes: Vec<Lane<T>>,
    queued: usize,
}

impl<T> Lanes<T> {
    /// Lanes from the highest to the lowest.
    pub(crate) fn new(specs: Vec<LaneSpec>) -> Self {
        let lane = |spec| Lane {
            spec,
            queue: VecDeque::new(),
            running: 0,
        };
        Self {
            lanes: specs.into_iter().map(lane).collect(),
            queued: 0,
        }
    }

    /// Puts an item at the back of its lane; a lane that does not exist means the lowest.
    pub(crate) fn push(&mut self, lane: usize, item: T, now: Time) {
        let lane = lane.min(self.lanes.len() - 1);
        self.lanes[lane].queue.push_back((item, now));
        self.queued += 1;
    }

    /// The first item of the highest lane below its cap. The lane's slot is taken until
    /// [`Self::release`].
    pub(crate) fn pick(&mut self) -> Option<(usize, T, Time)> {
        let index = self.lanes.iter().position(Lane::eligible)?;
        let lane = &mut self.lanes[index];
        let (item, queued_at) = lane.queue.pop_front()?;
        lane.running += 1;
        self.queued -= 1;
        Some((index, item, queued_at))
    }

    /// Gives back the slot that [`Self::pick`] took.
    pub(crate) fn release(&mut self, lane: usize) {
        let lane = &mut self.lanes[lane];
        debug_assert!(lane.running > 0, "a slot is released once");
        lane.running -= 1;
    }

    /// Takes all that is queued, whatever the caps.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = T> {
        self.queued = 0;
        let queues = self.lanes.iter_mut().map(|lane| &mut lane.queue);
        queues.flat_map(|queue| queue.drain(..).map(|(item, _)| item))
    }

    /// Whether [`Self::pick`] would find something.
    pub(crate) fn has_eligible(&self) -> bool {
        self.queued > 0 && self.lanes.iter().any(Lane::eligible)
    }

    /// Items queued, eligible or not.
    pub(crate) fn queued(&self) -> usize {
        self.queued
    }

    /// How many lanes there are.
    pub(crate) fn count(&self) -> usize {
        self.lanes.len()
    }
}

impl<T> Lane<T> {
    fn eligible(&self) -> bool {
        !self.queue.is_empty() && self.running < self.spec.workers_max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_lane_below_its_cap_wins() {
        let spec = |workers_max| LaneSpec { workers_max };
        let mut lanes = Lanes::new(vec![spec(8), spec(1)]);
        lanes.push(1, "low 1", Time::ZERO);
        lanes.push(1, "low 2", Time::ZERO);
        lanes.push(0, "high", Time::ZERO);
        assert_eq!(lanes.pick().map(|picked| picked.1), Some("high"));
        assert_eq!(lanes.pick().map(|picked| picked.1), Some("low 1"));
        assert_eq!(lanes.pick(), None, "the low lane is at its cap");
        assert_eq!(lanes.queued(), 1);
        lanes.release(1);
        assert!(lanes.has_eligible());
        assert_eq!(lanes.pick().map(|picked| picked.1), Some("low 2"));
    }
}
