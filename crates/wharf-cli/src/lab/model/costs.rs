//! What a machine and its operating system cost.

use fastrand::Rng;
use serde::{Deserialize, Serialize};

/// Where the samples of a wake are cut: shares of them that are shorter.
pub(crate) const CUTS: [f64; 8] = [0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.97, 1.0];
/// Idle times, in nanoseconds, after which a wake is measured.
pub(crate) const IDLE: [u64; 7] = [10_000, 30_000, 60_000, 120_000, 250_000, 600_000, 2_500_000];
/// Lengths of interruptions that are counted apart, in nanoseconds.
pub(crate) const LENGTHS: [u64; 11] = [
    5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000, 2_000_000, 5_000_000,
    10_000_000,
];

/// What the operating system and the machine cost, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct OsCosts {
    /// CPU time that a thread uses up when it comes on a core after another.
    pub(crate) switch: u64,
    /// The waker's CPU time if the other runs on its own core.
    pub(crate) wake_local: u64,
    /// Wakes across cores, by how long the other core had been idle: see [`IDLE`].
    pub(crate) wake_idle: [Wake; 7],
    /// A wake of a thread that may preempt another on another core.
    pub(crate) wake_busy: Wake,
    /// CPU time that a thread needs more after its core was idle for long: it finds all caches
    /// cold.
    pub(crate) cold: u64,
    /// Idle time after which it is half of that.
    pub(crate) cold_half: u64,
    /// The share of it that it needs before it does anything, on average: each time another, as a
    /// memory that others use too has it. The rest it needs before it waits again.
    pub(crate) cold_first: f64,
    /// How much longer a wake across cores takes than the measured ones; below zero: less.
    pub(crate) start_more: i64,
    /// How much later than asked a timed wait ends.
    pub(crate) timer_late: u64,
    /// The same of a thread that runs ahead of the ordinary ones.
    pub(crate) timer_late_ahead: u64,
    /// Whether the driver's threads may run ahead.
    pub(crate) ahead: bool,
    /// The scheduler's base slice.
    pub(crate) slice: u64,
    /// Whether the end of a slice is seen at once; else at the next tick.
    pub(crate) slice_exact: bool,
    /// The scheduler's tick.
    pub(crate) tick: u64,
    /// How often a core is taken from whoever computes on it.
    pub(crate) interrupts: Interrupts,
    /// Other threads of the machine, on each core: how often one runs, and for how long.
    pub(crate) others: Interrupts,
}

/// A wake across cores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Wake {
    /// The waker's CPU time.
    pub(crate) cost: u64,
    /// From the wake until the other runs: the samples cut at [`CUTS`].
    pub(crate) start: [u64; 8],
}

impl Wake {
    /// One such wake.
    pub(crate) fn draw(&self, rng: &mut Rng) -> u64 {
        let share = rng.f64();
        let above = CUTS.iter().position(|cut| *cut > share).unwrap_or(7).max(1);
        let (low, high) = (
            self.start[above - 1],
            self.start[above].max(self.start[above - 1]),
        );
        low + rng.u64(0..=high - low)
    }
}

/// Interruptions of a core that computes: the kernel's own work, and the time that a hypervisor
/// gives to others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Interrupts {
    /// How many a second are longer than each of [`LENGTHS`].
    pub(crate) longer_per_s: [f64; 11],
}

impl Interrupts {
    /// Nanoseconds until the next, and its length; nothing where there are none.
    pub(crate) fn draw(&self, rng: &mut Rng) -> Option<(u64, u64)> {
        let all = self.longer_per_s[0];
        if all <= 0.0 {
            return None;
        }
        let gap = super::nanos(-(1.0 - rng.f64()).ln() / all);
        let which = rng.f64() * all;
        let longer = self.longer_per_s.iter().rposition(|per_s| *per_s > which);
        let longer = longer.unwrap_or(0);
        let low = LENGTHS[longer];
        let high = LENGTHS.get(longer + 1).copied().unwrap_or(2 * low);
        Some((gap, rng.u64(low..high)))
    }
}

impl OsCosts {
    /// A machine that costs nothing: for the results of queueing theory.
    #[cfg(test)]
    pub(crate) const FREE: Self = Self {
        switch: 0,
        wake_local: 0,
        wake_idle: [Wake {
            cost: 0,
            start: [0; 8],
        }; 7],
        wake_busy: Wake {
            cost: 0,
            start: [0; 8],
        },
        cold: 0,
        cold_half: 100_000,
        cold_first: 0.5,
        start_more: 0,
        timer_late: 0,
        timer_late_ahead: 0,
        ahead: false,
        slice: 1_400_000,
        slice_exact: false,
        tick: Self::TICK,
        interrupts: Interrupts {
            longer_per_s: [0.0; 11],
        },
        others: Interrupts {
            longer_per_s: [0.0; 11],
        },
    };

    /// Linux's tick at CONFIG_HZ=250, which most distributions' kernels have.
    pub(crate) const TICK: u64 = 4_000_000;

    /// Linux's base slice: 0.7 ms times 1 + log2 of the cores, of which it counts 8 at most.
    pub(crate) fn slice_of(cores: usize) -> u64 {
        700_000 * u64::from(1 + cores.clamp(1, 8).ilog2())
    }

    /// A wake on a core that has been idle for so long: as measured at the next idle time up.
    pub(crate) fn wake_after(&self, idle: u64) -> &Wake {
        let at = IDLE
            .iter()
            .position(|measured| idle <= measured + measured / 2);
        &self.wake_idle[at.unwrap_or(IDLE.len() - 1)]
    }

    /// What a thread finds cold on a core that has been idle for so long: first, and before it
    /// waits again.
    pub(crate) fn cold_after(&self, idle: u64, rng: &mut Rng) -> (u64, u64) {
        let share = u128::from(self.cold) * u128::from(idle);
        let all = u64::try_from(share / u128::from((idle + self.cold_half).max(1))).unwrap_or(0);
        let all = std::time::Duration::from_nanos(all);
        let first = all.mul_f64(self.cold_first.clamp(0.0, 1.0));
        let nanos = crate::lab::driver::nanos;
        let rest = nanos(all.saturating_sub(first));
        (super::exponential(rng, nanos(first)), rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interruptions_come_as_often_and_last_as_long_as_was_counted() {
        let mut longer_per_s = [0.0; 11];
        longer_per_s[..3].copy_from_slice(&[400.0, 300.0, 100.0]);
        let interrupts = Interrupts { longer_per_s };
        let mut rng = Rng::with_seed(1);
        let draws: Vec<_> = (0..20_000)
            .map(|_| interrupts.draw(&mut rng).unwrap())
            .collect();
        let gaps: u64 = draws.iter().map(|draw| draw.0).sum();
        // 20,000 of them take 50 s.
        assert!((48..52).contains(&(gaps / 1_000_000_000)), "{gaps} ns");
        let longer = |than: u64| draws.iter().filter(|draw| draw.1 >= than).count();
        assert!(longer(10_000).abs_diff(15_000) < 300, "{}", longer(10_000));
        assert!(longer(20_000).abs_diff(5_000) < 300, "{}", longer(20_000));
        assert_eq!(longer(50_000), 0);
        assert_eq!(Interrupts::default().draw(&mut rng), None);
    }

    #[test]
    fn a_wake_starts_as_its_samples_did() {
        let wake = Wake {
            cost: 0,
            start: [10, 20, 30, 40, 60, 80, 90, 200],
        };
        let mut rng = Rng::with_seed(1);
        let mut starts: Vec<_> = (0..10_000).map(|_| wake.draw(&mut rng)).collect();
        starts.sort_unstable();
        assert!(starts[0] >= 10 && starts[9_999] <= 200);
        assert!(starts[5_000].abs_diff(40) <= 2, "{}", starts[5_000]);
        assert!(starts[9_000].abs_diff(80) <= 2, "{}", starts[9_000]);
    }

    #[test]
    fn a_wake_is_that_of_the_nearest_idle_time_measured() {
        let mut costs = OsCosts::FREE;
        for (wake, idle) in costs.wake_idle.iter_mut().zip(IDLE) {
            wake.cost = idle;
        }
        let after = |idle| costs.wake_after(idle).cost;
        assert_eq!(after(0), IDLE[0]);
        assert_eq!(after(35_000), IDLE[1]);
        assert_eq!(after(1_000_000_000), IDLE[6]);
    }

    #[test]
    fn a_long_idle_core_is_cold_and_part_of_it_is_paid_first() {
        let costs = OsCosts {
            cold: 10_000,
            cold_half: 50_000,
            cold_first: 0.25,
            ..OsCosts::FREE
        };
        let mut rng = Rng::with_seed(1);
        assert_eq!(costs.cold_after(0, &mut rng), (0, 0));
        let rest = costs.cold_after(50_000, &mut rng).1;
        assert_eq!(rest, 3_750, "half of it, three quarters of that last");
        let first: u64 = (0..5_000)
            .map(|_| costs.cold_after(50_000, &mut rng).0)
            .sum();
        assert!((first / 5_000).abs_diff(1_250) < 80, "{}", first / 5_000);
    }
}
