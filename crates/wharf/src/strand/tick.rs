//! The clock of a fixed-rate tick: plain arithmetic, the moments come from outside.
//!
//! Tick n is due at start + n * period, whatever happened before: a late tick does not push the
//! later ones back, so a 20 Hz zone is at tick 72,000 after an hour, not somewhere before it. Due
//! times that passed while nobody could run them are not run one after the other, which would keep
//! a late strand late: the newest of them runs once, and is told how many it stands for.

use std::time::Duration;

use crate::time::{Time, nanos};

/// What a tick is told about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tick {
    /// Its number: it was due at start + number * period. The first is 1.
    pub number: u64,
    /// How late it runs, by its own due time.
    pub lateness: Duration,
    /// Ticks just before it that were missed: it stands for them too.
    pub missed: u64,
    /// The period.
    pub period: Duration,
}

impl Tick {
    /// The time that this tick stands for: one period, and one for each tick missed. What a
    /// simulation steps by.
    #[must_use]
    pub fn step(&self) -> Duration {
        let periods = u32::try_from(self.missed.saturating_add(1)).unwrap_or(u32::MAX);
        self.period.saturating_mul(periods)
    }
}

/// When which tick is due.
#[derive(Debug)]
pub(crate) struct Rate {
    start: u64,
    period: u64,
    /// The tick that runs next.
    next: u64,
}

impl Rate {
    /// From `start` on, each `period`, which is not zero.
    pub(crate) fn new(start: Time, period: Duration) -> Self {
        Self {
            start: start.as_nanos(),
            period: nanos(period).max(1),
            next: 1,
        }
    }

    fn due_of(&self, number: u64) -> u64 {
        self.start
            .saturating_add(number.saturating_mul(self.period))
    }

    /// When the next tick is due.
    pub(crate) fn due(&self) -> Time {
        Time::from_nanos(self.due_of(self.next))
    }

    /// The tick that runs now, and how long ago its turn or that of one it stands for had come;
    /// `None` if it is too early for any.
    pub(crate) fn begin(&mut self, now: Time) -> Option<(Tick, Duration)> {
        let lag = now.as_nanos().checked_sub(self.due_of(self.next))?;
        let missed = lag / self.period;
        let number = self.next + missed;
        self.next = number + 1;
        let tick = Tick {
            number,
            lateness: Duration::from_nanos(lag % self.period),
            missed,
            period: Duration::from_nanos(self.period),
        };
        Some((tick, Duration::from_nanos(lag)))
    }

    /// Whether the tick that began last had not ended when the next one was due.
    pub(crate) fn overran(&self, ended: Time) -> bool {
        ended > self.due()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: u64 = 1_000_000;

    fn at(ms: u64) -> Time {
        Time::from_nanos(ms * MS)
    }

    #[test]
    fn a_late_tick_stands_for_those_it_missed() {
        let mut rate = Rate::new(at(1000), Duration::from_millis(50));
        assert_eq!(rate.due(), at(1050));
        assert_eq!(rate.begin(at(1049)), None);
        let (tick, lag) = rate.begin(at(1050)).unwrap();
        assert_eq!((tick.number, tick.missed), (1, 0));
        assert_eq!((tick.lateness, lag), (Duration::ZERO, Duration::ZERO));
        assert!(!rate.overran(at(1100)));
        assert!(rate.overran(at(1101)));
        // Ticks 2, 3 and 4 were due at 1100, 1150 and 1200.
        let (tick, lag) = rate.begin(at(1220)).unwrap();
        assert_eq!((tick.number, tick.missed), (4, 2));
        assert_eq!(tick.lateness, Duration::from_millis(20));
        assert_eq!(lag, Duration::from_millis(120));
        assert_eq!(tick.step(), Duration::from_millis(150));
        assert_eq!(rate.due(), at(1250), "late once, not from now on");
    }

    #[test]
    fn periods_beyond_the_clock_never_come() {
        let mut rate = Rate::new(at(1), Duration::MAX);
        assert_eq!(rate.due(), Time::NEVER);
        assert_eq!(rate.begin(at(u64::MAX / MS)), None);
    }

    proptest! {
        /// Each due time up to now is counted once, as a tick or as missed; no tick runs early or
        /// by a due time that is not the newest one.
        #[test]
        fn every_due_time_is_run_or_missed_once(
            start in 0..u64::MAX / 4,
            period in 1..10_000_000_000_u64,
            pauses in prop::collection::vec(0..50_000_000_000_u64, 1..100),
        ) {
            let mut rate = Rate::new(Time::from_nanos(start), Duration::from_nanos(period));
            let (mut now, mut ticks, mut missed, mut last) = (start, 0, 0, 0);
            for pause in pauses {
                now += pause;
                let passed = (now - start) / period;
                let began = rate.begin(Time::from_nanos(now));
                prop_assert_eq!(began.is_some(), passed > last);
                if let Some((tick, lag)) = began {
                    ticks += 1;
                    missed += tick.missed;
                    prop_assert_eq!(tick.number, passed, "the newest");
                    prop_assert_eq!(tick.missed, passed - last - 1);
                    prop_assert_eq!(
                        nanos(tick.lateness), now - start - tick.number * period);
                    prop_assert!(nanos(tick.lateness) < period);
                    prop_assert_eq!(nanos(lag), now - start - (last + 1) * period);
                    last = tick.number;
                }
                prop_assert_eq!(ticks + missed, passed);
                prop_assert!(rate.due() > Time::from_nanos(now));
                prop_assert!(rate.due() <= Time::from_nanos(now + period));
            }
        }
    }
}
