//! From runs to figures: medians over rounds, and paired ratios with their intervals.

use serde::Serialize;

/// Resamples of a bootstrap: its percentiles are then known to about a tenth of their width.
const RESAMPLES: usize = 4000;
/// Fewest rounds that an interval is made of.
const ROUNDS_MIN: usize = 3;

/// A figure over rounds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Figure {
    /// The median round.
    pub(crate) median: f64,
    /// 95 % bootstrap interval of the median; `None` with fewer than three rounds.
    pub(crate) interval: Option<(f64, f64)>,
}

impl Figure {
    /// Of one value a round; `None` without a value.
    pub(crate) fn of(values: &[f64]) -> Option<Self> {
        let median = median(values)?;
        let interval = (values.len() >= ROUNDS_MIN).then(|| bootstrap(values));
        Some(Self { median, interval })
    }

    /// Of the ratios of pairs, one a round: what both have in common, such as a slow minute of the
    /// machine, cancels out.
    pub(crate) fn of_ratios(pairs: &[(f64, f64)]) -> Option<Self> {
        let ratio = |&(above, below): &(f64, f64)| (below > 0.0).then(|| above / below);
        let ratios: Vec<f64> = pairs.iter().filter_map(ratio).collect();
        Self::of(&ratios)
    }

    /// Whether the interval says that the figure is not `value`; `None` without an interval.
    pub(crate) fn differs_from(&self, value: f64) -> Option<bool> {
        self.interval.map(|(low, high)| value < low || value > high)
    }
}

/// The middle value, or the mean of the two in the middle.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        len if len % 2 == 1 => Some(sorted[middle]),
        _ => Some(f64::midpoint(sorted[middle - 1], sorted[middle])),
    }
}

/// Percentile bootstrap of the median (Efron and Tibshirani, An Introduction to the Bootstrap,
/// chapter 13), from a fixed seed: the same runs always give the same interval.
fn bootstrap(values: &[f64]) -> (f64, f64) {
    let mut rng = fastrand::Rng::with_seed(7);
    let mut medians: Vec<f64> = (0..RESAMPLES)
        .filter_map(|_| {
            let resample: Vec<f64> = values
                .iter()
                .map(|_| values[rng.usize(0..values.len())])
                .collect();
            median(&resample)
        })
        .collect();
    medians.sort_by(f64::total_cmp);
    let tail = RESAMPLES / 40;
    (medians[tail], medians[RESAMPLES - 1 - tail])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_intervals() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(Figure::of(&[1.0, 2.0]).unwrap().interval, None);
        let figure = Figure::of(&[1.0, 1.1, 0.9, 1.05, 0.95, 1.0, 9.0]).unwrap();
        let (low, high) = figure.interval.unwrap();
        assert!(
            (0.9..1.0).contains(&low) && (1.0..2.0).contains(&high),
            "{figure:?}"
        );
        assert_eq!(figure.differs_from(1.0), Some(false));
        assert_eq!(figure.differs_from(0.5), Some(true));
    }

    #[test]
    fn what_pairs_have_in_common_cancels_out() {
        let pairs = [(2.0, 1.0), (20.0, 10.0), (6.0, 3.0), (5.0, 0.0)];
        let figure = Figure::of_ratios(&pairs).unwrap();
        assert_eq!(figure.median, 2.0);
        assert_eq!(figure.interval, Some((2.0, 2.0)));
        assert_eq!(Figure::of_ratios(&[(1.0, 0.0)]), None);
    }
}
