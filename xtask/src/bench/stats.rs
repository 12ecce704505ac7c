//! Medians and their uncertainty.

/// Resamples of a bootstrap: enough that the interval's second digit stands still.
const RESAMPLES: usize = 10_000;

/// Fixed, so that the same rounds give the same interval.
const SEED: u64 = 0x77_68_61_72_66;

/// The median; the mean of the two middle values of an even number. NaN for no values.
pub(super) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match (sorted.len() / 2, sorted.len() % 2) {
        (0, 0) => f64::NAN,
        (half, 0) => f64::midpoint(sorted[half - 1], sorted[half]),
        (half, _) => sorted[half],
    }
}

/// A value and the interval that holds the true one with 95 % confidence.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Estimate {
    pub(super) middle: f64,
    pub(super) low: f64,
    pub(super) high: f64,
}

/// What `statistic` says of rounds `0..rounds`, with a percentile-bootstrap interval: the spread
/// of what it says of as many rounds drawn with replacement (Efron and Tibshirani, "An
/// Introduction to the Bootstrap", 1993, chapter 13). `None` if it is no finite number.
pub(super) fn bootstrap(rounds: usize, statistic: impl Fn(&[usize]) -> f64) -> Option<Estimate> {
    bootstrap_with(RESAMPLES, rounds, statistic)
}

fn bootstrap_with(
    resamples: usize,
    rounds: usize,
    statistic: impl Fn(&[usize]) -> f64,
) -> Option<Estimate> {
    let all: Vec<usize> = (0..rounds).collect();
    let middle = Some(statistic(&all)).filter(|value| value.is_finite())?;
    let mut random = fastrand::Rng::with_seed(SEED);
    let mut drawn = vec![0; rounds];
    let mut values: Vec<f64> = (0..resamples)
        .map(|_| {
            drawn.fill_with(|| random.usize(..rounds));
            statistic(&drawn)
        })
        .collect();
    values.sort_by(f64::total_cmp);
    let (low, high) = (
        values[resamples * 25 / 1000],
        values[resamples * 975 / 1000],
    );
    Some(Estimate { middle, low, high })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(&[]).is_nan());
    }

    fn of_median(resamples: usize, values: &[f64]) -> Estimate {
        let statistic =
            |drawn: &[usize]| median(&drawn.iter().map(|&n| values[n]).collect::<Vec<_>>());
        bootstrap_with(resamples, values.len(), statistic).expect("finite")
    }

    #[test]
    fn an_interval_holds_the_median_and_grows_with_the_spread() {
        let around = |spread: f64| -> Vec<f64> {
            (0..21)
                .map(|n| 1.0 + spread * (f64::from(n) - 10.0) / 10.0)
                .collect()
        };
        let (narrow, wide) = (
            of_median(2000, &around(0.01)),
            of_median(2000, &around(0.5)),
        );
        assert_eq!(narrow.middle, 1.0);
        assert!(narrow.low < 1.0 && 1.0 < narrow.high, "{narrow:?}");
        assert!(
            narrow.high - narrow.low < (wide.high - wide.low) / 10.0,
            "{narrow:?} {wide:?}"
        );
        assert_eq!(
            of_median(2000, &around(0.5)),
            wide,
            "the same rounds, the same interval"
        );
    }

    #[test]
    fn the_interval_covers_the_truth_about_as_often_as_it_says() {
        // 400 sets of 15 values around 1: the interval should miss 1 in about 5 % of them.
        let mut random = fastrand::Rng::with_seed(7);
        let misses = (0..400)
            .filter(|_| {
                let values: Vec<f64> = (0..15).map(|_| 0.5 + random.f64()).collect();
                let got = of_median(400, &values);
                got.low > 1.0 || got.high < 1.0
            })
            .count();
        assert!((4..=44).contains(&misses), "{misses} of 400");
    }

    #[test]
    fn nothing_finite_is_no_estimate() {
        assert_eq!(bootstrap(3, |_| f64::NAN), None);
    }
}
