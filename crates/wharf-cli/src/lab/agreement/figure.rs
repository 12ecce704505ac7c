//! One number of one class: every round's, measured and simulated.

use serde::{Deserialize, Serialize};

/// A number by round. Rounds are judged by their median: a quantile of all rounds' samples together
/// would be set by the one round in which the machine was elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Figure {
    /// Measured.
    pub(crate) real: Vec<f64>,
    /// Simulated.
    pub(crate) model: Vec<f64>,
}

impl Figure {
    /// Adds a round.
    pub(super) fn add(&mut self, real: f64, model: f64) {
        self.real.push(real);
        self.model.push(model);
    }

    /// The middle of the real rounds.
    pub(crate) fn real(&self) -> f64 {
        median(self.real.iter().copied())
    }

    /// The middle of the simulated ones.
    pub(crate) fn model(&self) -> f64 {
        median(self.model.iter().copied())
    }

    /// The least and the most of the real rounds.
    pub(crate) fn range(&self) -> (f64, f64) {
        let real = || self.real.iter().copied();
        (
            real().fold(f64::INFINITY, f64::min),
            real().fold(0.0, f64::max),
        )
    }

    /// How far the model is off, as a share of what is real.
    pub(crate) fn off(&self) -> f64 {
        off(self.real(), self.model())
    }

    /// How far the machine is off itself: every second round against the others. Nothing for a
    /// single round.
    pub(crate) fn off_itself(&self) -> Option<f64> {
        let every = |from: usize| self.real.iter().skip(from).step_by(2).copied();
        (self.real.len() > 1).then(|| off(median(every(0)), median(every(1))))
    }
}

fn off(real: f64, other: f64) -> f64 {
    if real == 0.0 {
        return if other == 0.0 { 0.0 } else { f64::INFINITY };
    }
    other / real - 1.0
}

fn median(of: impl Iterator<Item = f64>) -> f64 {
    let mut all: Vec<_> = of.collect();
    all.sort_by(f64::total_cmp);
    let (below, above) = (all.len().saturating_sub(1) / 2, all.len() / 2);
    let at = |at: usize| all.get(at).copied().unwrap_or(0.0);
    f64::midpoint(at(below), at(above))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_round_that_the_machine_spoilt_does_not_set_the_figure() {
        let figure = Figure {
            real: vec![280.0, 270.0, 1300.0, 290.0, 275.0],
            model: vec![300.0, 310.0, 305.0, 290.0, 330.0],
        };
        assert!((figure.real() - 280.0).abs() < 1e-9);
        assert!((figure.model() - 305.0).abs() < 1e-9);
        assert!((figure.off() - 25.0 / 280.0).abs() < 1e-9);
        assert_eq!(figure.range(), (270.0, 1300.0));
        // 280, 1300 and 275 against 270 and 290: both have 280 in the middle.
        assert!(figure.off_itself().unwrap().abs() < 1e-9);
        let pair = Figure {
            real: vec![100.0, 150.0],
            model: vec![0.0, 0.0],
        };
        assert!((pair.real() - 125.0).abs() < 1e-9);
        assert!((pair.off_itself().unwrap() - 0.5).abs() < 1e-9);
    }

    #[test]
    fn a_single_round_says_nothing_of_itself() {
        let figure = Figure {
            real: vec![5.0],
            model: vec![5.0],
        };
        assert_eq!(figure.off_itself(), None);
        assert!(figure.off().abs() < 1e-9);
        let nothing = Figure {
            real: vec![0.0],
            model: vec![5.0],
        };
        assert!(nothing.off().is_infinite(), "a latency out of nothing");
    }
}
