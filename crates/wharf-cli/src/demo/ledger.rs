//! What was sent and not answered yet, and what is wrong with the answers.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use hdrhistogram::Histogram;
use serde::Serialize;

/// Faults, each counted apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Faults {
    /// Never answered.
    pub(super) lost: u64,
    /// Answered again.
    pub(super) doubled: u64,
    /// Answered before an earlier one.
    pub(super) reordered: u64,
    /// Answered with a wrong byte.
    pub(super) corrupt: u64,
}

impl Faults {
    pub(super) fn any(&self) -> bool {
        *self != Self::default()
    }

    fn add(&mut self, other: Self) {
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.reordered += other.reordered;
        self.corrupt += other.corrupt;
    }
}

/// Requests of one kind on one session: answers must come in order, once each.
#[derive(Debug)]
pub(super) struct Ledger {
    open: VecDeque<(u32, Instant)>,
    /// Passed over by a later answer.
    skipped: Vec<u32>,
    next: u32,
    tally: Tally,
}

/// What a ledger has seen.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) sent: u64,
    pub(super) answered: u64,
    pub(super) faults: Faults,
    /// Microseconds, to two digits: a bot's histogram takes a few KiB.
    pub(super) latency_us: Histogram<u32>,
}

impl Default for Tally {
    fn default() -> Self {
        let mut latency_us = Histogram::new(2).unwrap_or_else(|_| unreachable!("2 is in 0..=5"));
        latency_us.auto(true);
        Self {
            sent: 0,
            answered: 0,
            faults: Faults::default(),
            latency_us,
        }
    }
}

impl Tally {
    /// Adds what another ledger has seen.
    pub(super) fn add(&mut self, other: &Self) {
        self.sent += other.sent;
        self.answered += other.answered;
        self.faults.add(other.faults);
        // Fails only for values beyond an auto-resizing histogram, which there are none.
        let _ = self.latency_us.add(&other.latency_us);
    }
}

/// The sum over sessions that have ended.
#[derive(Clone, Debug, Default)]
pub(super) struct Total(Arc<Mutex<Tally>>);

impl Total {
    pub(super) fn add(&self, tally: Tally) {
        self.get().add(&tally);
    }

    pub(super) fn get(&self) -> MutexGuard<'_, Tally> {
        // Additions can't leave it half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ledger {
    pub(super) fn new() -> Self {
        Self {
            open: VecDeque::new(),
            skipped: Vec::new(),
            next: 0,
            tally: Tally::default(),
        }
    }

    /// The number of the next request, which is sent now.
    pub(super) fn send(&mut self) -> u32 {
        let number = self.next;
        self.next += 1;
        self.open.push_back((number, Instant::now()));
        self.tally.sent += 1;
        number
    }

    /// An intact answer came. One that was skipped is lost unless it comes late.
    pub(super) fn answer(&mut self, number: u32) {
        if let Some(at) = self.open.iter().position(|open| open.0 == number) {
            self.skipped
                .extend(self.open.drain(..at).map(|open| open.0));
            self.tally.answered += 1;
            if let Some((_, since)) = self.open.pop_front() {
                let micros = u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX);
                // Fails only for values beyond an auto-resizing histogram, which there are none.
                let _ = self.tally.latency_us.record(micros.max(1));
            }
        } else if let Some(at) = self.skipped.iter().position(|&skipped| skipped == number) {
            self.skipped.swap_remove(at);
            self.tally.answered += 1;
            self.tally.faults.reordered += 1;
        } else {
            self.tally.faults.doubled += 1;
        }
    }

    /// An answer with a wrong byte came; which one it was is not to be trusted.
    pub(super) fn corrupt(&mut self) {
        self.tally.faults.corrupt += 1;
    }

    /// How many requests are not answered.
    pub(super) fn open(&self) -> usize {
        self.open.len()
    }

    /// The end: what is open now is lost, but for what came corrupt.
    pub(super) fn close(mut self) -> Tally {
        let lost = (self.open.len() + self.skipped.len()) as u64;
        self.tally.faults.lost += lost.saturating_sub(self.tally.faults.corrupt);
        self.tally
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(answers: &[u32]) -> (u64, Faults) {
        let mut ledger = Ledger::new();
        (0..4).for_each(|_| {
            ledger.send();
        });
        answers.iter().for_each(|&number| ledger.answer(number));
        let tally = ledger.close();
        (tally.answered, tally.faults)
    }

    #[test]
    fn each_fault_is_told_from_the_others() {
        let none = Faults::default();
        assert_eq!(after(&[0, 1, 2, 3]), (4, none));
        assert_eq!(after(&[0, 1, 3]), (3, Faults { lost: 1, ..none }));
        assert_eq!(after(&[0, 1, 2]), (3, Faults { lost: 1, ..none }));
        assert_eq!(after(&[0, 1, 1, 2, 3]), (4, Faults { doubled: 1, ..none }));
        assert_eq!(
            after(&[0, 2, 1, 3]),
            (
                4,
                Faults {
                    reordered: 1,
                    ..none
                }
            )
        );
    }
}
