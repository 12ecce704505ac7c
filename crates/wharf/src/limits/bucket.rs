//! A token bucket in whole numbers: what comes is never rounded away, however often it is looked
//! at.

use std::time::Duration;

use crate::time::{Time, nanos};

/// So many a second, and so many at once: a token bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rate {
    /// How many may come a second, on average. At least 1.
    pub per_s: u32,
    /// How many may come at once after a pause. At least 1.
    pub burst: u32,
}

impl Rate {
    /// So many a second, and as many at once.
    #[must_use]
    pub const fn per_second(per_s: u32) -> Self {
        Self {
            per_s,
            burst: per_s,
        }
    }
}

/// One token, in what a bucket counts: a token a second is one of these a nanosecond.
const TOKEN: i64 = 1_000_000_000;

/// What is left of a rate. It may be in debt: who takes more than there is waits longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bucket {
    level: i64,
    at: Time,
}

impl Bucket {
    /// As nobody has taken from it.
    pub(crate) fn full(rate: Rate, now: Time) -> Self {
        Self {
            level: i64::from(rate.burst) * TOKEN,
            at: now,
        }
    }

    /// Adds what has come by `now`.
    pub(crate) fn refill(&mut self, rate: Rate, now: Time) {
        let passed = i64::try_from(nanos(now.since(self.at))).unwrap_or(i64::MAX);
        let came = passed.saturating_mul(i64::from(rate.per_s));
        let most = i64::from(rate.burst) * TOKEN;
        self.level = self.level.saturating_add(came).min(most);
        self.at = self.at.max(now);
    }

    /// Whole tokens that are there.
    pub(crate) fn tokens(&self) -> usize {
        usize::try_from(self.level / TOKEN).unwrap_or(0)
    }

    /// What is there, finer than tokens: to compare with that of other buckets.
    pub(crate) fn level(&self) -> i64 {
        self.level
    }

    /// Takes so many, there or not.
    pub(crate) fn take(&mut self, tokens: usize) {
        let tokens = i64::try_from(tokens).unwrap_or(i64::MAX);
        self.level = self.level.saturating_sub(tokens.saturating_mul(TOKEN));
    }

    /// Whether more was taken than there was.
    pub(crate) fn is_in_debt(&self) -> bool {
        self.level < 0
    }

    /// How long until so many whole tokens are there; zero if they are.
    pub(crate) fn wait(&self, rate: Rate, tokens: u64) -> Duration {
        let wanted = i64::try_from(tokens).unwrap_or(i64::MAX);
        let missing = wanted.saturating_mul(TOKEN).saturating_sub(self.level);
        let missing = missing.max(0);
        let per_s = i64::from(rate.per_s.max(1));
        // Rounded up: woken a nanosecond early, nothing would be there.
        let wait = missing / per_s + i64::from(missing % per_s != 0);
        Duration::from_nanos(wait.unsigned_abs())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_burst_and_then_the_rate() {
        let rate = Rate {
            per_s: 10,
            burst: 3,
        };
        let start = Time::ZERO + SECOND;
        let mut bucket = Bucket::full(rate, start);
        assert_eq!(bucket.tokens(), 3);
        bucket.take(3);
        assert_eq!((bucket.tokens(), bucket.wait(rate, 1)), (0, SECOND / 10));
        bucket.refill(rate, start + SECOND / 20);
        assert_eq!((bucket.tokens(), bucket.wait(rate, 1)), (0, SECOND / 20));
        bucket.refill(rate, start + SECOND / 10);
        assert_eq!((bucket.tokens(), bucket.wait(rate, 1)), (1, Duration::ZERO));
        bucket.refill(rate, start + SECOND * 60);
        assert_eq!(bucket.tokens(), 3, "never more than the burst");
        // A clock that goes back gives nothing.
        bucket.take(3);
        bucket.refill(rate, start);
        assert_eq!(bucket.tokens(), 0);
    }

    #[test]
    fn a_debt_is_paid_before_the_next_token() {
        let rate = Rate::per_second(1);
        let mut bucket = Bucket::full(rate, Time::ZERO);
        bucket.take(4);
        assert!(bucket.is_in_debt());
        assert_eq!(bucket.wait(rate, 1), SECOND * 4);
    }

    proptest! {
        /// Whatever the steps, no more is had than the burst and what the time brought; and who
        /// waits as long as it says has a token, and not a nanosecond earlier.
        #[test]
        fn never_more_than_burst_and_rate(
            per_s in 1u32..=u32::MAX,
            burst in 1u32..=u32::MAX,
            steps in prop::collection::vec((0u64..3_000_000_000, 0usize..5000), 1..60),
        ) {
            let rate = Rate { per_s, burst };
            let mut bucket = Bucket::full(rate, Time::ZERO);
            let (mut now, mut had) = (Time::ZERO, 0u128);
            for (passed, wanted) in steps {
                now = now + Duration::from_nanos(passed);
                bucket.refill(rate, now);
                let taken = wanted.min(bucket.tokens());
                bucket.take(taken);
                had += taken as u128;
                let came = u128::from(now.as_nanos()) * u128::from(per_s) / 1_000_000_000;
                prop_assert!(had <= u128::from(burst) + came);
                prop_assert!(!bucket.is_in_debt());
                let wait = bucket.wait(rate, 1);
                let mut later = bucket;
                later.refill(rate, now + wait);
                prop_assert!(later.tokens() > 0);
                if !wait.is_zero() {
                    let mut early = bucket;
                    early.refill(rate, now + (wait - Duration::from_nanos(1)));
                    prop_assert_eq!(early.tokens(), 0);
                }
            }
        }

        /// Looking often brings as much as looking once.
        #[test]
        fn looks_round_nothing_away(
            per_s in 1u32..2_000_000_000,
            looks in prop::collection::vec(1u64..1000, 1..100),
        ) {
            let rate = Rate { per_s, burst: u32::MAX };
            let mut often = Bucket::full(rate, Time::ZERO);
            often.take(u32::MAX as usize);
            let mut once = often;
            let mut now = Time::ZERO;
            for passed in looks {
                now = now + Duration::from_nanos(passed);
                often.refill(rate, now);
            }
            once.refill(rate, now);
            prop_assert_eq!(often, once);
        }
    }
}
