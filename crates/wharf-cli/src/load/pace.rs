//! When frames are due, and who wakes a thread for it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use mio::Waker;

/// Nanoseconds in a second.
pub(crate) const SECOND: u64 = 1_000_000_000;
/// Shortest time between two wake-ups of a loop; frames due within it go out together.
const TICK_MIN: u64 = 50_000;
/// A loop is woken this long before a frame is due and polls the rest of the time: a timer and a
/// wake-up across threads together take about 100 µs on a small virtual machine.
const EARLY_MAX: u64 = 100_000;
/// At most one part in this of a core goes into that polling.
const EARLY_SHARE: u64 = 5;
/// Longest sleep of a pacer, so that it sees the end soon.
const TICK_MAX: u64 = 50_000_000;

/// The open-loop schedule: frame `g` of the run is due `g / rate` seconds after the start, and the
/// senders take turns. A pure function, so nothing is queued however far the run falls behind.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Schedule {
    rate: u64,
    senders: u64,
}

impl Schedule {
    /// `rate` frames a second over `senders` connections, both at least 1.
    pub(crate) fn new(rate: u64, senders: u32) -> Self {
        Self {
            rate: rate.max(1),
            senders: u64::from(senders).max(1),
        }
    }

    /// When the `nth` frame of connection `sender` is due, in ns after the start.
    pub(crate) fn due(&self, sender: u32, nth: u64) -> u64 {
        let frame = nth * self.senders + u64::from(sender);
        frame / self.rate * SECOND + frame % self.rate * SECOND / self.rate
    }

    /// How many frames of connection `sender` are due before `at` ns after the start.
    pub(crate) fn due_before(&self, sender: u32, at: u64) -> u64 {
        // Frames of the whole run with due < at, then this sender's share of them. The estimate is
        // off by at most one either way because of the rounding in `due`.
        let frames = at / SECOND * self.rate + at % SECOND * self.rate / SECOND + 1;
        let mut nth = (frames + self.senders).saturating_sub(u64::from(sender)) / self.senders;
        while nth > 0 && self.due(sender, nth - 1) >= at {
            nth -= 1;
        }
        nth
    }

    /// The turns of the senders that are on one thread: numbers `first`, `first + step`, ..
    pub(crate) fn turns(self, first: u32, step: u32) -> Turns {
        let here = u64::from((self.senders_u32().saturating_sub(first)).div_ceil(step.max(1)));
        Turns {
            schedule: self,
            first,
            step,
            here,
            turn: 0,
        }
    }

    fn senders_u32(&self) -> u32 {
        u32::try_from(self.senders).unwrap_or(u32::MAX)
    }
}

/// The frames of one thread in the order they are due.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Turns {
    schedule: Schedule,
    first: u32,
    step: u32,
    /// Senders on this thread.
    here: u64,
    turn: u64,
}

impl Turns {
    /// When the next frame is due, in ns after the start; `None` if this thread sends nothing.
    pub(crate) fn due(&self) -> Option<u64> {
        let nth = self.turn.checked_div(self.here)?;
        Some(
            self.schedule
                .due(self.first + self.index() * self.step, nth),
        )
    }

    /// Index of its sender among the senders of this thread.
    pub(crate) fn index(&self) -> u32 {
        self.turn
            .checked_rem(self.here)
            .and_then(|index| u32::try_from(index).ok())
            .unwrap_or(0)
    }

    /// When the loop should be awake for the next frame, in ns after the start.
    pub(crate) fn awake_at(&self) -> Option<u64> {
        Some(self.due()?.saturating_sub(self.early()))
    }

    /// How long that is before a frame is due.
    fn early(&self) -> u64 {
        let gap = (self.schedule.senders * SECOND)
            .checked_div(self.schedule.rate * self.here)
            .unwrap_or(0);
        (gap / EARLY_SHARE).min(EARLY_MAX)
    }

    /// Goes on to the frame after it.
    pub(crate) fn advance(&mut self) {
        self.turn += 1;
    }
}

/// Wakes a sleeping loop each time a frame is due, until `done`. A poller's own timeout counts in
/// whole milliseconds, which would add up to one to every latency at low rates.
///
/// `now` gives ns after the start of the sending.
pub(crate) fn keep_pace(
    mut turns: Turns,
    now: impl Fn() -> u64,
    asleep: &AtomicBool,
    waker: &Waker,
    done: &AtomicBool,
) {
    let mut looked = 0;
    while !done.load(Ordering::Acquire) {
        let mut time = now();
        let Some(awake_at) = turns.awake_at() else {
            return;
        };
        let next = awake_at.max(looked + TICK_MIN);
        while time < next {
            thread::park_timeout(Duration::from_nanos((next - time).min(TICK_MAX)));
            if done.load(Ordering::Acquire) {
                return;
            }
            time = now();
        }
        looked = time;
        if asleep.swap(false, Ordering::AcqRel) && waker.wake().is_err() {
            // The loop still has its own timeout: frames go out late, and that is reported.
            return;
        }
        while turns.awake_at().is_some_and(|awake_at| awake_at <= time) {
            turns.advance();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn senders_take_turns_at_the_rate() {
        let schedule = Schedule::new(1000, 4);
        let due: Vec<u64> = (0..4).map(|sender| schedule.due(sender, 0)).collect();
        assert_eq!(due, [0, 1_000_000, 2_000_000, 3_000_000]);
        assert_eq!(schedule.due(1, 2), 9_000_000);
    }

    #[test]
    fn due_before_counts_what_due_says() {
        for (rate, senders) in [(1, 1), (7, 3), (1000, 4), (999_983, 64), (100_000_000, 5)] {
            let schedule = Schedule::new(rate, senders);
            for sender in 0..senders {
                let mut counted = 0;
                for at in (0..2_000_000_000u64).step_by(123_456_789) {
                    let due = schedule.due_before(sender, at);
                    assert!(due >= counted, "never goes back");
                    assert!(
                        due == 0 || schedule.due(sender, due - 1) < at,
                        "{rate} {at}"
                    );
                    assert!(
                        schedule.due(sender, due) >= at,
                        "{rate}/{senders} {sender} {at}"
                    );
                    counted = due;
                }
            }
        }
    }

    #[test]
    fn a_rate_gives_that_many_frames_a_second() {
        for rate in [1u64, 3, 1000, 12_345, 1_000_000] {
            let schedule = Schedule::new(rate, 8);
            let frames: u64 = (0..8)
                .map(|sender| schedule.due_before(sender, SECOND))
                .sum();
            assert_eq!(frames, rate);
        }
    }

    #[test]
    fn the_turns_of_all_threads_are_the_schedule() {
        let schedule = Schedule::new(1000, 7);
        let mut due = Vec::new();
        for thread in 0..3 {
            let mut turns = schedule.turns(thread, 3);
            let mut last = 0;
            for _ in 0..100 {
                let at = turns.due().unwrap();
                assert!(at >= last, "in order");
                assert_eq!(
                    at % 7_000_000,
                    u64::from(turns.index() * 3 + thread) * 1_000_000
                );
                last = at;
                due.push(at);
                turns.advance();
            }
            assert_eq!(turns.early(), 100_000);
        }
        assert_eq!(
            Schedule::new(10_000, 8).turns(0, 2).early(),
            40_000,
            "a fifth of the gap"
        );
        due.sort_unstable();
        due.truncate(200);
        let all: Vec<u64> = (0..200).map(|frame| frame * 1_000_000).collect();
        assert_eq!(due, all);
        assert_eq!(
            Schedule::new(5, 2).turns(2, 3).due(),
            None,
            "no sender on this thread"
        );
    }
}
