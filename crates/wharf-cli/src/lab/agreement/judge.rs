//! When a number of the model agrees with one of the machine that is itself known only so well.
//!
//! The bounds are fixed: a latency within a quarter, a throughput within a tenth. The machine's
//! own number is the median over rounds, and its 95 % interval says how well that is known.
//!
//! - **Known**: the interval lies within half the bound of the median. The model agrees if it is
//!   within the bound of the median. A model that is right errs by chance only if both medians are
//!   off by four of their standard errors together, so nearly never; one that is off by twice the
//!   bound has nowhere to hide.
//! - **Open**: the interval is wider. The machine does not say what the number is, so the model can
//!   not be told right. It is told wrong if it is out of the bound of every value in the interval.
//!
//! Open figures are counted apart and never as agreement; a workload agrees only if enough of each
//! kind of figure are known: a judge that knew nothing would pass everything.

use serde::Serialize;

use crate::lab::report::figures::median;

/// Furthest that p50 and p99 may be off.
const LATENCY_OFF: f64 = 0.25;
/// Furthest that the throughput may be off.
const THROUGHPUT_OFF: f64 = 0.10;
/// Fewest rounds that an interval is made of.
const ROUNDS_MIN: usize = 3;
/// Of the resamples, the share that is left out at each end of an interval.
const TAIL: f64 = 0.025;
/// Share of the bound that the interval may reach from the median.
const KNOWN_WITHIN: f64 = 0.5;
/// Share of the figures of each kind that must be known.
const KNOWN_SHARE: f64 = 0.5;

/// Which number of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// Frames a second.
    PerS,
    /// The middle latency.
    P50,
    /// The latency that one of a hundred frames exceeds.
    P99,
}

impl Kind {
    /// In the order of the table.
    pub(crate) const ALL: [Self; 3] = [Self::PerS, Self::P50, Self::P99];

    /// Furthest that the model may be off.
    pub(crate) fn bound(self) -> f64 {
        match self {
            Self::PerS => THROUGHPUT_OFF,
            Self::P50 | Self::P99 => LATENCY_OFF,
        }
    }

    /// Of a latency: which part of the frames is faster.
    pub(super) fn quantile(self) -> Option<f64> {
        match self {
            Self::PerS => None,
            Self::P50 => Some(0.5),
            Self::P99 => Some(0.99),
        }
    }
}

/// What is to be said of a figure, or of all of a row or workload: the worst of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verdict {
    /// Known, and within the bound.
    Agrees,
    /// Not known well enough, and not contradicted.
    Open,
    /// Out of the bound.
    Differs,
}

/// One number of a row, by round. Rounds are judged by their median: a quantile of all rounds'
/// samples together would be set by the one round in which the machine was elsewhere.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Figure {
    pub(crate) kind: Kind,
    /// Measured.
    real: Vec<f64>,
    /// Simulated.
    model: Vec<f64>,
}

impl Figure {
    /// Of no round yet.
    pub(crate) fn new(kind: Kind) -> Self {
        Self {
            kind,
            real: Vec::new(),
            model: Vec::new(),
        }
    }

    /// Adds a round of the machine.
    pub(super) fn measured(&mut self, real: f64) {
        self.real.push(real);
    }

    /// Adds one of the model, which may have more of them: it costs nobody a quiet machine.
    pub(super) fn simulated(&mut self, model: f64) {
        self.model.push(model);
    }

    /// The middle of the real rounds.
    pub(crate) fn real(&self) -> f64 {
        median(&self.real).unwrap_or(0.0)
    }

    /// The middle of the simulated ones.
    pub(crate) fn model(&self) -> f64 {
        median(&self.model).unwrap_or(0.0)
    }

    /// Between what the real one lies, at 95 %; anything with fewer than three rounds.
    pub(crate) fn interval(&self) -> (f64, f64) {
        let mut sorted = self.real.clone();
        sorted.sort_by(f64::total_cmp);
        let ends = (1..=sorted.len()).find(|below| {
            sorted.len() >= ROUNDS_MIN && resampled_below(*below, sorted.len()) > TAIL
        });
        match ends {
            Some(below) => (sorted[below - 1], sorted[sorted.len() - below]),
            None => (0.0, f64::INFINITY),
        }
    }

    /// How far the model is off, as a share of what is real.
    pub(crate) fn off(&self) -> f64 {
        off(self.real(), self.model())
    }

    /// Whether the machine says well enough what the number is.
    pub(crate) fn is_known(&self) -> bool {
        let (low, high) = self.interval();
        let within = self.kind.bound() * KNOWN_WITHIN;
        off(self.real(), low).abs() <= within && off(self.real(), high).abs() <= within
    }

    /// What is to be said of it.
    pub(crate) fn verdict(&self) -> Verdict {
        let bound = self.kind.bound();
        if self.is_known() {
            return match self.off().abs() <= bound {
                true => Verdict::Agrees,
                false => Verdict::Differs,
            };
        }
        let ((low, high), model) = (self.interval(), self.model());
        match model >= low * (1.0 - bound) && model <= high * (1.0 + bound) {
            true => Verdict::Open,
            false => Verdict::Differs,
        }
    }
}

/// Whether so many of each kind of figure are known that agreement of the others means something.
pub(super) fn enough_known<'a>(figures: impl Iterator<Item = &'a Figure> + Clone) -> bool {
    Kind::ALL.iter().all(|kind| {
        let of_kind = figures.clone().filter(|figure| figure.kind == *kind);
        let known = of_kind.clone().filter(|figure| figure.is_known()).count();
        share(known, of_kind.count()) >= KNOWN_SHARE
    })
}

/// How often a resample's median is one of the `below` least of `rounds` values: the percentile
/// bootstrap of a median (Efron and Tibshirani, An Introduction to the Bootstrap, chapter 13)
/// without the resampling. It is so if at least half of the draws are.
fn resampled_below(below: usize, rounds: usize) -> f64 {
    let share = share(below, rounds);
    let (mut ways, mut sum) = (1.0, 0.0);
    for hits in 0..=rounds {
        let misses = rounds - hits;
        if hits >= rounds.div_ceil(2) {
            sum += ways * power(share, hits) * power(1.0 - share, misses);
        }
        // How many ways there are to draw one more.
        ways *= self::share(misses, hits + 1);
    }
    sum
}

fn power(share: f64, times: usize) -> f64 {
    share.powi(i32::try_from(times).unwrap_or(i32::MAX))
}

/// A part of a whole; of nothing, none.
pub(super) fn share(part: usize, whole: usize) -> f64 {
    let float = |count: usize| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
    float(part) / float(whole.max(1))
}

fn off(real: f64, other: f64) -> f64 {
    if real == 0.0 {
        return if other == 0.0 { 0.0 } else { f64::INFINITY };
    }
    other / real - 1.0
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
