//! Short runs, each made for one cost: the cost is moved until the model gives what the run gave.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::model_run;
use crate::exit::Failure;
use crate::lab::driver::nanos;
use crate::lab::layout::Layout;
use crate::lab::model::input::Costs;
use crate::lab::model::run::Outcome;
use crate::lab::result::Run;

/// In the order in which they are moved: each leans on those before it.
pub(super) const KNOBS: [Knob; 10] = [
    Knob::Turn,
    Knob::FarEnd,
    Knob::Frame,
    Knob::FarFrame,
    Knob::SpinMore,
    Knob::WakeCost,
    Knob::Wakes,
    Knob::Jitter,
    Knob::WakeSoon,
    Knob::HandOff,
];
/// Furthest that a wake may be said to take longer or shorter than measured.
const START_MORE: i64 = 8_000;
/// Steps of one fit.
const STEPS: usize = 6;

/// A cost to be moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Knob {
    /// What the library adds to a turn: CPU of the server a frame, one frame a turn.
    Turn,
    /// What the driver adds to a look at a socket: its CPU a frame, one frame a look.
    FarEnd,
    /// What a further frame of a turn costs.
    Frame,
    /// The same at the driver.
    FarFrame,
    /// How much longer a handler computes than it was told.
    SpinMore,
    /// What a turn on a pool costs more: CPU of the server a frame at a middling load.
    HandOff,
    /// How long a wake takes: the middle latency of frames that come one by one.
    Wakes,
    /// What a thread that slept finds cold: CPU of the server a frame of such.
    WakeCost,
    /// How much some turns take longer than others: p90 beside p50 of frames that come one by one.
    Jitter,
    /// What one finds cold that slept for a moment: the same at a middling load.
    WakeSoon,
}

/// One cost that was moved.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Fit {
    /// What the run looked at.
    pub(crate) what: String,
    /// Nanoseconds that the real run gave.
    pub(crate) real: f64,
    /// Nanoseconds that the model gives now.
    pub(crate) model: f64,
}

impl Knob {
    /// The run that it looks at, which it may have in common with others.
    pub(super) fn run(self) -> &'static str {
        match self {
            Self::Turn | Self::FarEnd => "turn",
            Self::Frame | Self::FarFrame => "frame",
            Self::SpinMore => "spin",
            Self::Wakes | Self::WakeCost | Self::Jitter => "one_by_one",
            Self::WakeSoon => "middling",
            Self::HandOff => "hand_off",
        }
    }

    pub(super) fn what(self) -> &'static str {
        match self {
            Self::Turn => "server CPU a frame, one a turn",
            Self::FarEnd => "driver CPU a frame, one a look",
            Self::Frame => "server CPU a frame, many a turn",
            Self::FarFrame => "driver CPU a frame, many a look",
            Self::SpinMore => "server CPU a frame of 20 us",
            Self::HandOff => "server CPU a frame of 10 us under dispatch",
            Self::Wakes => "p50 of frames that come one by one",
            Self::WakeCost => "server CPU a frame of such",
            Self::WakeSoon => "server CPU a frame of 10 us at a middling load",
            Self::Jitter => "p90 above p50 of frames that come one by one",
        }
    }

    pub(super) fn layout(self) -> Layout {
        match self {
            Self::HandOff => Layout::Dispatch,
            _ => Layout::Shared,
        }
    }

    /// The workload of its run.
    pub(super) fn workload(self) -> String {
        let one_a_turn = "saturate = true, depth = 1";
        let (load, us) = match self {
            Self::Turn | Self::FarEnd => (one_a_turn, 0),
            Self::Frame | Self::FarFrame => ("saturate = true, depth = 16", 0),
            Self::SpinMore => (one_a_turn, 20),
            Self::Wakes | Self::WakeCost | Self::Jitter => ("rate_per_s = 1500", 10),
            Self::WakeSoon | Self::HandOff => ("rate_per_s = 11000", 10),
        };
        let handler = match us {
            0 => "{ kind = \"none\" }".to_owned(),
            us => format!("{{ kind = \"spin\", us = {us} }}"),
        };
        format!(
            "name = \"calibration_{0}\"\ndescription = \"{0}\"\n\n[[classes]]\nname = \"game\"\n\
             role = \"server\"\nclass = \"high\"\nsessions = 64\nframe_bytes = 64\n\
             load = {{ {load} }}\nhandler = {handler}\n",
            self.run()
        )
    }

    /// What the real run gave, in nanoseconds.
    pub(super) fn of_real(self, run: &Run) -> f64 {
        let frames = run
            .classes
            .iter()
            .map(|class| class.frames_per_s)
            .sum::<f64>();
        let frames = (frames * run.seconds).max(1.0);
        match self {
            Self::FarEnd | Self::FarFrame => run.client_cpu_s * 1e9 / frames,
            Self::Jitter => spread(run.classes.first().map(|class| &class.latency)),
            Self::Wakes => p50(run.classes.first().map(|class| &class.latency)),
            _ => run.server.cpu_s * 1e9 / frames,
        }
    }

    /// The same of the model.
    fn of_model(self, outcome: &Outcome) -> f64 {
        let frames = outcome
            .classes
            .iter()
            .map(|class| class.frames_per_s)
            .sum::<f64>();
        let frames = frames.max(1.0);
        match self {
            Self::FarEnd | Self::FarFrame => outcome.far_cpu * 1e9 / frames,
            Self::Jitter => spread(outcome.classes.first().map(|class| &class.latency)),
            Self::Wakes => p50(outcome.classes.first().map(|class| &class.latency)),
            _ => outcome.cpu * 1e9 / frames,
        }
    }

    /// Moves its cost: `by` nanoseconds more a frame, or for a wake `by` nanoseconds of latency.
    fn turn(self, costs: &mut Costs, by: f64) {
        let add = |cost: &mut u64, by: f64| {
            let moved = Duration::try_from_secs_f64((float(*cost) + by).max(0.0) / 1e9);
            *cost = moved.map_or(*cost, nanos);
        };
        let add_signed = |cost: &mut i64, by: f64| {
            let moved = Duration::try_from_secs_f64(by.abs() / 1e9).map_or(0, nanos);
            let moved = i64::try_from(moved).unwrap_or(0);
            *cost += if by < 0.0 { -moved } else { moved };
        };
        match self {
            Self::Turn => add(&mut costs.turn, by),
            Self::FarEnd => add(&mut costs.far_recv, by),
            Self::Frame => add(&mut costs.frame, by),
            Self::FarFrame => add(&mut costs.far_frame, by),
            Self::SpinMore => add_signed(&mut costs.spin_more, by),
            Self::HandOff => add_signed(&mut costs.hand_off, by),
            Self::Wakes => {
                // A frame and its answer: two wakes.
                add_signed(&mut costs.os.start_more, by / 2.0);
                costs.os.start_more = costs.os.start_more.clamp(-START_MORE, START_MORE);
            }
            Self::WakeCost => add(&mut costs.os.cold, by),
            Self::Jitter => {
                // The 90th part of an exponential share is 1.6 means above its middle.
                let share = by / (1.6 * float(costs.os.cold).max(1.0));
                costs.os.cold_first = (costs.os.cold_first + share).clamp(0.0, 1.0);
            }
            Self::WakeSoon => {
                // The sooner all is cold, the more it costs.
                let by = (-4.0 * by / float(costs.os.cold).max(1.0)).exp();
                let half = float(costs.os.cold_half.max(1000)) * by.clamp(0.2, 5.0);
                let half = Duration::try_from_secs_f64(half.min(1e7) / 1e9);
                costs.os.cold_half = half.map_or(costs.os.cold_half, nanos);
            }
        }
    }
}

fn p50(latency: Option<&crate::lab::result::Latencies>) -> f64 {
    latency.map_or(0.0, |latency| float(latency.value_at_quantile(0.5)))
}

fn spread(latency: Option<&crate::lab::result::Latencies>) -> f64 {
    let at = |at: f64| latency.map_or(0.0, |latency| float(latency.value_at_quantile(at)));
    at(0.9) - at(0.5)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "nanoseconds of a run are far below 2^53"
)]
fn float(count: u64) -> f64 {
    count as f64
}

/// Moves all of them, in their order.
///
/// # Errors
/// A run that the model can't play.
pub(super) fn all(cores: usize, costs: &mut Costs, wanted: &[f64]) -> Result<Vec<Fit>, Failure> {
    let mut fits = Vec::new();
    // What a pool costs more is more than the same load costs without one, whether or not the
    // model has that right.
    let mut without = 0.0;
    for (knob, wanted) in KNOBS.iter().zip(wanted) {
        let more = if *knob == Knob::HandOff { without } else { 0.0 };
        let found = fit(*knob, cores, costs, wanted + more)?;
        if *knob == Knob::WakeSoon {
            without = found.model - found.real;
        }
        fits.push(Fit {
            real: *wanted,
            ..found
        });
    }
    Ok(fits)
}

/// Moves a knob until the model gives what the real run gave (`wanted`), as near as it comes.
///
/// # Errors
/// A run that the model can't play.
fn fit(knob: Knob, cores: usize, costs: &mut Costs, wanted: f64) -> Result<Fit, Failure> {
    let mut best = (f64::INFINITY, *costs, 0.0);
    for _ in 0..STEPS {
        let model = knob.of_model(&model_run(knob, cores, *costs)?);
        let off = wanted - model;
        if off.abs() < best.0 {
            best = (off.abs(), *costs, model);
        }
        if off.abs() < wanted / 200.0 {
            break;
        }
        knob.turn(costs, off);
    }
    *costs = best.1;
    Ok(Fit {
        what: knob.what().to_owned(),
        real: wanted,
        model: best.2,
    })
}
