//! How much a session may say: frames and bytes a second, and what happens beyond.

use std::time::Duration;

use super::bucket::{Bucket, Rate};
use crate::time::Time;

/// How much each session may send us. Default: no limit.
///
/// A peer that floods takes no more than its share of the turns anyway (`frames_per_turn_max`,
/// `turn_time_max`), and waits for its own replies. A rate says besides how much your handler is
/// ready to do for one peer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InputRate {
    /// Frames. Default: `None`, no limit.
    pub frames: Option<Rate>,
    /// Bytes of frames, as they are on the wire. A frame larger than what is left is handled, and
    /// paid for before the next one. Default: `None`, no limit.
    pub bytes: Option<Rate>,
    /// What happens beyond. Default: [`WhenOver::Pause`].
    pub when_over: WhenOver,
}

/// What happens to a session that sends more than its [`InputRate`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WhenOver {
    /// It is not read until its rate allows more: what it sends waits in the system's buffers, and
    /// then with the peer. Nothing is lost.
    #[default]
    Pause,
    /// The frame that exceeds it is the last: the session is aborted with
    /// [`CloseReason::RateExceeded`](crate::CloseReason::RateExceeded).
    Close,
}

/// Who waits for tokens waits for what a hundredth of a second brings, so that a flood of sessions
/// with a high rate is no flood of timers.
const WAITS_PER_S: u32 = 100;

/// What a turn may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Allowance {
    pub(crate) frames: usize,
    pub(crate) bytes: usize,
}

/// What a session has left of its rates.
#[derive(Clone, Debug)]
pub(crate) struct Meter {
    frames: Option<(Rate, Bucket)>,
    bytes: Option<(Rate, Bucket)>,
    when_over: WhenOver,
}

impl Meter {
    /// That of a session that opens now; `None` if nothing limits it.
    pub(crate) fn new(limits: &InputRate, now: Time) -> Option<Self> {
        let full = |rate: Rate| (rate, Bucket::full(rate, now));
        let meter = Self {
            frames: limits.frames.map(full),
            bytes: limits.bytes.map(full),
            when_over: limits.when_over,
        };
        (meter.frames.is_some() || meter.bytes.is_some()).then_some(meter)
    }

    fn buckets(&mut self) -> impl Iterator<Item = &mut (Rate, Bucket)> {
        self.frames.iter_mut().chain(&mut self.bytes)
    }

    /// What may be taken now: nothing of either means that reading has to wait. With
    /// [`WhenOver::Close`] it is one more than there is, by which it is exceeded.
    pub(crate) fn allowance(&mut self, now: Time) -> Allowance {
        for (rate, bucket) in self.buckets() {
            bucket.refill(*rate, now);
        }
        let more = usize::from(self.when_over == WhenOver::Close);
        let of = |bucket: &Option<(Rate, Bucket)>| {
            let (_, bucket) = bucket.as_ref()?;
            Some(bucket.tokens().saturating_add(more))
        };
        Allowance {
            frames: of(&self.frames).unwrap_or(usize::MAX),
            bytes: of(&self.bytes).unwrap_or(usize::MAX),
        }
    }

    /// So much was taken.
    pub(crate) fn spend(&mut self, frames: usize, bytes: usize) {
        if let Some((_, bucket)) = &mut self.frames {
            bucket.take(frames);
        }
        if let Some((_, bucket)) = &mut self.bytes {
            bucket.take(bytes);
        }
    }

    /// Whether the session is to be closed for what it took.
    pub(crate) fn is_over(&mut self) -> bool {
        let close = self.when_over == WhenOver::Close;
        close && self.buckets().any(|(_, bucket)| bucket.is_in_debt())
    }

    /// How long reading has to wait: not at all while something is left of both.
    pub(crate) fn wait(&mut self) -> Duration {
        let waits = self.buckets().map(|(rate, bucket)| {
            if bucket.tokens() > 0 {
                return Duration::ZERO;
            }
            let worth = (rate.per_s / WAITS_PER_S).clamp(1, rate.burst);
            bucket.wait(*rate, u64::from(worth))
        });
        waits.max().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn limits(when_over: WhenOver) -> InputRate {
        InputRate {
            frames: Some(Rate {
                per_s: 10,
                burst: 3,
            }),
            bytes: Some(Rate::per_second(1000)),
            when_over,
        }
    }

    #[test]
    fn without_a_rate_there_is_no_meter() {
        assert!(Meter::new(&InputRate::default(), Time::ZERO).is_none());
    }

    #[test]
    fn what_is_scarcer_decides() {
        let mut meter = Meter::new(&limits(WhenOver::Pause), Time::ZERO).unwrap();
        let (frames, bytes) = (3, 1000);
        assert_eq!(meter.allowance(Time::ZERO), Allowance { frames, bytes });
        meter.spend(3, 30);
        assert_eq!(meter.wait(), SECOND / 10);
        // One frame of 1,500 bytes, more than there is: it is paid for before the next.
        let later = Time::ZERO + SECOND;
        assert_eq!(meter.allowance(later).bytes, 1000);
        meter.spend(1, 1500);
        assert_eq!(meter.allowance(later).bytes, 0);
        assert_eq!(meter.wait(), SECOND * 510 / 1000);
        assert!(!meter.is_over(), "it only waits");
    }

    #[test]
    fn the_frame_that_exceeds_it_is_the_last() {
        let mut meter = Meter::new(&limits(WhenOver::Close), Time::ZERO).unwrap();
        assert_eq!(meter.allowance(Time::ZERO).frames, 4);
        meter.spend(3, 30);
        assert!(!meter.is_over());
        assert_eq!(meter.allowance(Time::ZERO).frames, 1);
        meter.spend(1, 10);
        assert!(meter.is_over());
    }

    #[test]
    fn who_floods_is_woken_a_hundred_times_a_second_and_no_more() {
        let fast = InputRate {
            frames: Some(Rate::per_second(1_000_000)),
            ..InputRate::default()
        };
        let mut meter = Meter::new(&fast, Time::ZERO).unwrap();
        let (mut now, mut wakes) = (Time::ZERO, 0);
        while now < Time::ZERO + SECOND {
            let allowed = meter.allowance(now);
            meter.spend(allowed.frames, 0);
            now = now + meter.wait();
            wakes += 1;
        }
        assert_eq!(wakes, 100);
    }

    proptest! {
        /// Whoever takes all it may, whenever it may, gets the burst and the rate, to the frame.
        #[test]
        fn a_flood_gets_its_rate(per_s in 1u32..100_000, burst in 1u32..100_000) {
            let limits = InputRate {
                frames: Some(Rate { per_s, burst }),
                ..InputRate::default()
            };
            let mut meter = Meter::new(&limits, Time::ZERO).unwrap();
            let (mut now, mut frames) = (Time::ZERO, 0);
            for _ in 0..200 {
                let allowed = meter.allowance(now).frames;
                prop_assert!(allowed > 0, "woken for nothing");
                meter.spend(allowed, 0);
                frames += allowed as u64;
                now = now + meter.wait();
            }
            let allowed = meter.allowance(now).frames as u64;
            let came = u64::from(per_s) * now.as_nanos() / 1_000_000_000;
            prop_assert_eq!(frames + allowed, u64::from(burst) + came);
        }
    }
}
