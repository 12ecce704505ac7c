//! Counters and histograms that a worker writes alone and anyone may read.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A number that grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// Adds, where this thread is the only writer: a load and a store, no bus lock.
    pub(crate) fn add_own(&self, n: u64) {
        self.0.store(
            self.0.load(Ordering::Relaxed).wrapping_add(n),
            Ordering::Relaxed,
        );
    }

    /// Adds, where several threads may write.
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// Adds, as the only writer or not.
    pub(crate) fn add_as(&self, own: bool, n: u64) {
        if own { self.add_own(n) } else { self.add(n) }
    }

    /// The number.
    pub(crate) fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What one worker (or, in the last slot of a port, all other threads) did for one network.
/// Aligned so that two workers never write to one cache line (128: pairs are prefetched).
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct NetCounters {
    pub(crate) turns: Counter,
    pub(crate) frames_in: Counter,
    pub(crate) bytes_in: Counter,
    pub(crate) recvs: Counter,
    pub(crate) frames_out: Counter,
    pub(crate) bytes_out: Counter,
    pub(crate) sends: Counter,
}

/// Sub-buckets of a power of two: a value is known to within an eighth.
const SUB_BITS: u32 = 3;
const SUB: usize = 1 << SUB_BITS;
/// Powers of two above the linear part: up to 2^40 ns, 18 minutes.
const POWERS: usize = 38;
const BUCKETS: usize = SUB * POWERS;

/// A histogram of durations with one writer: log-linear buckets as in `HdrHistogram`
/// (Tene, 2012), because that crate's own type needs `&mut`.
#[derive(Debug)]
pub(crate) struct Histogram(Box<[AtomicU64]>);

impl Histogram {
    pub(crate) fn new() -> Self {
        Self((0..BUCKETS).map(|_| AtomicU64::new(0)).collect())
    }

    /// Counts one duration of `nanos`; this thread is the only writer.
    pub(crate) fn record_own(&self, nanos: u64) {
        let bucket = &self.0[bucket(nanos)];
        bucket.store(bucket.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    /// Adds this histogram's counts to a snapshot.
    pub(crate) fn add_to(&self, into: &mut Durations) {
        for (sum, bucket) in into.counts.iter_mut().zip(&self.0) {
            *sum += bucket.load(Ordering::Relaxed);
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "masked to SUB_BITS bits, or a bit number"
)]
fn bucket(nanos: u64) -> usize {
    if nanos < SUB as u64 {
        return nanos as usize;
    }
    let power = 63 - nanos.leading_zeros();
    let sub = (nanos >> (power - SUB_BITS)) as usize & (SUB - 1);
    let index = (power - SUB_BITS + 1) as usize * SUB + sub;
    index.min(BUCKETS - 1)
}

/// The middle of a bucket, in nanoseconds.
fn middle(bucket: usize) -> u64 {
    if bucket < SUB {
        return bucket as u64;
    }
    let shift = bucket / SUB - 1;
    let low = ((SUB + bucket % SUB) as u64) << shift;
    low + (1 << shift) / 2
}

/// A snapshot of how long something took: counts of durations, each known to within an eighth.
#[derive(Clone, PartialEq, Eq)]
pub struct Durations {
    counts: Vec<u64>,
}

impl Default for Durations {
    fn default() -> Self {
        Self {
            counts: vec![0; BUCKETS],
        }
    }
}

impl std::fmt::Debug for Durations {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Durations")
            .field("count", &self.count())
            .field("p50", &self.quantile(0.5))
            .field("p99", &self.quantile(0.99))
            .field("max", &self.quantile(1.0))
            .finish()
    }
}

impl Durations {
    /// How many were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The duration that a share `q` (0.0 to 1.0) of all does not exceed; zero if there are none.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a rank among counts; off by one beyond 2^52 counts"
    )]
    pub fn quantile(&self, q: f64) -> Duration {
        let rank = (q.clamp(0.0, 1.0) * self.count() as f64).ceil() as u64;
        let mut seen = 0;
        for (index, &count) in self.counts.iter().enumerate() {
            seen += count;
            if count > 0 && seen >= rank.max(1) {
                return Duration::from_nanos(middle(index));
            }
        }
        Duration::ZERO
    }

    /// How many did not exceed this duration, to within an eighth of it.
    #[must_use]
    pub fn up_to(&self, most: Duration) -> u64 {
        let most = u64::try_from(most.as_nanos()).unwrap_or(u64::MAX);
        let counts = self.counts.iter().enumerate();
        let fits = counts.filter(|(index, _)| middle(*index) <= most);
        fits.map(|(_, count)| count).sum()
    }

    /// All of them together, to within an eighth.
    #[must_use]
    pub fn sum(&self) -> Duration {
        let counts = self.counts.iter().enumerate();
        let nanos = counts.map(|(index, count)| middle(index).saturating_mul(*count));
        Duration::from_nanos(nanos.fold(0, u64::saturating_add))
    }

    /// What was counted since `earlier`, an older snapshot of the same thing.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let pairs = self.counts.iter().zip(&earlier.counts);
        Self {
            counts: pairs.map(|(now, then)| now.saturating_sub(*then)).collect(),
        }
    }

    /// Adds another snapshot's counts.
    pub fn merge(&mut self, other: &Self) {
        for (sum, count) in self.counts.iter_mut().zip(&other.counts) {
            *sum += count;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_monotonic_and_within_an_eighth() {
        let mut last = 0;
        for nanos in (0..5000).chain((13..40).map(|power| (1u64 << power) + 12345)) {
            let index = bucket(nanos);
            assert!(index >= last, "{nanos}");
            last = index;
            let error = middle(index).abs_diff(nanos);
            assert!(error <= nanos / 8, "{nanos} is told as {}", middle(index));
        }
    }

    #[test]
    fn quantiles_of_a_known_set() {
        let histogram = Histogram::new();
        (1..=100).for_each(|ms| histogram.record_own(ms * 1_000_000));
        let mut all = Durations::default();
        histogram.add_to(&mut all);
        assert_eq!(all.count(), 100);
        let near = |q: f64, ms: f64| {
            let told = all.quantile(q).as_secs_f64() * 1000.0;
            assert!(
                (told - ms).abs() <= ms / 8.0,
                "{q}: {told} ms, expected {ms}"
            );
        };
        near(0.5, 50.0);
        near(0.99, 99.0);
        near(1.0, 100.0);
        assert_eq!(all.since(&all).count(), 0);
        assert_eq!(all.up_to(Duration::from_secs(1)), 100);
        assert_eq!(all.up_to(Duration::from_micros(1)), 0);
        assert!(all.up_to(Duration::from_millis(50)).abs_diff(50) <= 6);
        assert!(all.sum().abs_diff(Duration::from_millis(5050)) < Duration::from_millis(200));
        assert_eq!(Durations::default().quantile(0.5), Duration::ZERO);
    }
}
