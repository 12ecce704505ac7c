use fastrand::Rng;

use super::*;

/// Rounds of one run each, as many as an exam has.
const ROUNDS: usize = 25;
/// Of the model: three for each of the machine's.
const PLAYS: usize = 3;

fn figure(kind: Kind, real: &[f64], model: f64) -> Figure {
    let mut figure = Figure::new(kind);
    real.iter().for_each(|real| figure.measured(*real));
    figure.simulated(model);
    figure
}

/// One number with this spread of the rounds' logarithms: a skewed noise, as latencies have it.
fn noisy(rng: &mut Rng, middle: f64, spread: f64) -> f64 {
    let normal = (0..12).map(|_| rng.f64()).sum::<f64>() - 6.0;
    middle * (normal * spread).exp()
}

/// Figures of a workload, as noisy from round to round as they were where this was written, a
/// quarter of the rows each: most throughputs hardly move, and a quarter of the p99s by two thirds.
/// The model's are so many times the true ones, in this share of the rows.
fn workload(rng: &mut Rng, times: f64, wrong: f64) -> Vec<Figure> {
    let spreads = [
        (Kind::PerS, [0.0, 0.012, 0.012, 0.02]),
        (Kind::P50, [0.02, 0.05, 0.07, 0.14]),
        (Kind::P99, [0.05, 0.12, 0.27, 0.67]),
    ];
    let mut figures = Vec::new();
    for row in 0..32 {
        let wrong = rng.f64() < wrong;
        for (kind, spreads) in spreads {
            let mut figure = Figure::new(kind);
            let off = if wrong && kind == Kind::P99 {
                times
            } else {
                1.0
            };
            for _ in 0..ROUNDS {
                figure.measured(noisy(rng, 500.0, spreads[row % 4]));
            }
            for _ in 0..ROUNDS * PLAYS {
                figure.simulated(noisy(rng, 500.0 * off, spreads[row % 4]));
            }
            figures.push(figure);
        }
    }
    figures
}

fn agrees(figures: &[Figure]) -> bool {
    let differs = |figure: &Figure| figure.verdict() == Verdict::Differs;
    !figures.iter().any(differs) && enough_known(figures.iter())
}

#[test]
fn the_share_of_resamples_is_what_resampling_gives() {
    let mut rng = Rng::with_seed(3);
    for (below, rounds) in [(1, 3), (2, 5), (3, 9), (9, 25), (13, 25)] {
        let median = |_: &usize| {
            let mut drawn: Vec<_> = (0..rounds).map(|_| rng.usize(0..rounds)).collect();
            drawn.sort_unstable();
            drawn[rounds / 2] < below
        };
        let found = share((0..4_000).filter(median).count(), 4_000);
        let known = resampled_below(below, rounds);
        assert!(
            (found - known).abs() < 0.03,
            "{below} of {rounds}: {found}, {known}"
        );
    }
    let steady = figure(
        Kind::P99,
        &[5.0, 1.0, 4.0, 2.0, 3.0, 9.0, 7.0, 8.0, 6.0],
        1.0,
    );
    let (low, high) = steady.interval();
    assert!(
        low > 1.0 && low < 5.0 && high > 5.0 && high < 9.0,
        "{low} {high}"
    );
}

#[test]
fn a_known_figure_agrees_within_its_bound() {
    let real = [100.0, 101.0, 99.0, 100.5, 99.5];
    let verdict = |kind, model| figure(kind, &real, model).verdict();
    assert_eq!(verdict(Kind::P99, 124.0), Verdict::Agrees);
    assert_eq!(verdict(Kind::P50, 76.0), Verdict::Agrees);
    assert_eq!(verdict(Kind::P99, 126.0), Verdict::Differs);
    assert_eq!(verdict(Kind::P50, 74.0), Verdict::Differs);
    assert_eq!(verdict(Kind::PerS, 109.0), Verdict::Agrees);
    assert_eq!(verdict(Kind::PerS, 111.0), Verdict::Differs, "held tighter");
    let nothing = figure(Kind::P50, &[0.0; 5], 5.0);
    assert_eq!(
        nothing.verdict(),
        Verdict::Differs,
        "a latency out of nothing"
    );
}

#[test]
fn a_figure_that_the_machine_does_not_give_is_open_at_best() {
    let real = [100.0, 210.0, 150.0, 90.0, 180.0, 120.0, 160.0];
    let at = |model| figure(Kind::P99, &real, model);
    let (low, high) = at(0.0).interval();
    assert!(low < 130.0 && high > 160.0, "{low} {high}");
    assert!(!at(150.0).is_known());
    assert_eq!(at(150.0).verdict(), Verdict::Open, "nobody can tell");
    assert_eq!(at(high * 1.24).verdict(), Verdict::Open);
    assert_eq!(
        at(high * 1.26).verdict(),
        Verdict::Differs,
        "out of all that is possible"
    );
    assert_eq!(at(low * 0.74).verdict(), Verdict::Differs);
    let two = figure(Kind::P99, &[100.0, 101.0], 100.0);
    assert_eq!(two.verdict(), Verdict::Open, "two rounds say nothing");
}

#[test]
fn one_round_that_the_machine_spoilt_does_not_set_the_figure() {
    let spoilt = [
        280.0, 270.0, 1300.0, 290.0, 275.0, 281.0, 284.0, 279.0, 277.0,
    ];
    let figure = figure(Kind::P99, &spoilt, 300.0);
    assert!((figure.real() - 280.0).abs() < 1e-9);
    assert_eq!(figure.verdict(), Verdict::Agrees);
}

fn passed(times: f64, wrong: f64) -> usize {
    let mut rng = Rng::with_seed(1);
    let passes = |_: &usize| agrees(&workload(&mut rng, times, wrong));
    (0..100).filter(passes).count()
}

#[test]
fn a_model_that_is_right_passes_nearly_always() {
    let passed = passed(1.0, 0.0);
    // Of workloads; four of five of them are enough.
    assert!(passed >= 90, "{passed} of 100");
}

#[test]
fn a_model_that_is_off_by_two_fifths_never_passes() {
    assert_eq!(passed(0.6, 1.0), 0);
    assert_eq!(passed(1.4, 1.0), 0);
}

#[test]
fn a_model_that_is_off_in_a_quarter_of_the_rows_hardly_ever_passes() {
    let (low, high) = (passed(0.6, 0.25), passed(1.4, 0.25));
    assert!(low <= 5 && high <= 5, "{low} and {high} of 100");
}

#[test]
fn a_machine_that_says_nothing_lets_no_model_pass() {
    let wild = [100.0, 900.0, 300.0, 40.0, 500.0, 60.0, 700.0];
    let right = figure(Kind::P99, &wild, 300.0);
    assert_eq!(right.verdict(), Verdict::Open);
    let still = [100.0, 100.1, 99.9, 100.0, 100.2];
    let known = [Kind::PerS, Kind::P50].map(|kind| figure(kind, &still, 100.0));
    let mut figures = known.to_vec();
    figures.push(right);
    assert!(!agrees(&figures), "no p99 is known");
    figures.push(figure(Kind::P99, &still, 100.0));
    assert!(agrees(&figures), "half of them are");
}
