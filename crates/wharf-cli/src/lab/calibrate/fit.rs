//! Short runs, each made for one cost: the cost is moved until the model gives what the run gave.

use serde::{Deserialize, Serialize};

use super::model_run;
use crate::exit::Failure;
use crate::lab::layout::Layout;
use crate::lab::model::input::Costs;
use crate::lab::model::run::Outcome;
use crate::lab::result::Run;

/// In the order in which they are moved: each leans on those before it.
pub(super) const KNOBS: [Knob; 8] = [
    Knob::Turn,
    Knob::FarEnd,
    Knob::Frame,
    Knob::FarFrame,
    Knob::SpinMore,
    Knob::HandOff,
    Knob::WakeCost,
    Knob::Wakes,
];
/// Most that coming on a core may be said to cost.
const SWITCH_MAX: u64 = 10_000;
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
    /// What a turn on a pool costs more.
    HandOff,
    /// How long a wake takes: the middle latency of frames that come one by one.
    Wakes,
    /// What a thread that slept finds cold: CPU of the server a frame of such.
    WakeCost,
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
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Turn => "turn",
            Self::FarEnd => "far_end",
            Self::Frame => "frame",
            Self::FarFrame => "far_frame",
            Self::SpinMore => "spin",
            Self::HandOff => "hand_off",
            Self::Wakes => "wakes",
            Self::WakeCost => "wake_cost",
        }
    }

    pub(super) fn what(self) -> &'static str {
        match self {
            Self::Turn => "server CPU a frame, one a turn",
            Self::FarEnd => "driver CPU a frame, one a look",
            Self::Frame => "server CPU a frame, many a turn",
            Self::FarFrame => "driver CPU a frame, many a look",
            Self::SpinMore => "server CPU a frame of 20 us",
            Self::HandOff => "server CPU a frame under dispatch",
            Self::Wakes => "p50 of frames that come one by one",
            Self::WakeCost => "server CPU a frame of such",
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
        let (load, handler) = match self {
            Self::Turn | Self::FarEnd | Self::HandOff => ("saturate = true, depth = 1", "none"),
            Self::Frame | Self::FarFrame => ("saturate = true, depth = 16", "none"),
            Self::SpinMore => ("saturate = true, depth = 1", "spin"),
            Self::Wakes | Self::WakeCost => ("rate_per_s = 1500", "none"),
        };
        let us = if handler == "spin" { ", us = 20" } else { "" };
        format!(
            "name = \"calibration_{}\"\ndescription = \"{}\"\n\n[[classes]]\nname = \"game\"\n\
             role = \"server\"\nclass = \"high\"\nsessions = 64\nframe_bytes = 64\n\
             load = {{ {load} }}\nhandler = {{ kind = \"{handler}\"{us} }}\n",
            self.name(),
            self.what()
        )
    }

    /// What the real run gave, in nanoseconds.
    fn of_real(self, run: &Run) -> f64 {
        let frames = run
            .classes
            .iter()
            .map(|class| class.frames_per_s)
            .sum::<f64>();
        let frames = (frames * run.seconds).max(1.0);
        match self {
            Self::FarEnd | Self::FarFrame => run.client_cpu_s * 1e9 / frames,
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
            Self::Wakes => p50(outcome.classes.first().map(|class| &class.latency)),
            _ => outcome.cpu * 1e9 / frames,
        }
    }

    /// Moves its cost: `by` nanoseconds more a frame, or for a wake `by` nanoseconds of latency.
    fn turn(self, costs: &mut Costs, by: f64) {
        let add = |cost: &mut u64, by: f64| {
            let moved = std::time::Duration::try_from_secs_f64((float(*cost) + by).max(0.0) / 1e9);
            *cost = moved.map_or(*cost, crate::lab::driver::nanos);
        };
        match self {
            Self::Turn => add(&mut costs.turn, by),
            Self::FarEnd => add(&mut costs.far_recv, by),
            Self::Frame => add(&mut costs.frame, by),
            Self::FarFrame => add(&mut costs.far_frame, by),
            Self::SpinMore => add(&mut costs.spin_more, by),
            Self::HandOff => add(&mut costs.hand_off, by),
            Self::Wakes => {
                // A frame and its answer: two wakes.
                add(&mut costs.os.start_halted, by / 2.0);
                add(&mut costs.os.start_polling, by / 4.0);
            }
            Self::WakeCost => {
                add(&mut costs.os.switch, by);
                // More than this is a neighbour that takes the caches, not the machine.
                costs.os.switch = costs.os.switch.min(SWITCH_MAX);
            }
        }
    }
}

fn p50(latency: Option<&crate::lab::result::Latencies>) -> f64 {
    latency.map_or(0.0, |latency| float(latency.value_at_quantile(0.5)))
}

#[expect(
    clippy::cast_precision_loss,
    reason = "nanoseconds of a run are far below 2^53"
)]
fn float(count: u64) -> f64 {
    count as f64
}

/// Moves a knob until the model gives what the real run gave, as near as it comes.
///
/// # Errors
/// A run that the model can't play.
pub(super) fn fit(knob: Knob, cores: usize, costs: &mut Costs, real: &Run) -> Result<Fit, Failure> {
    let wanted = knob.of_real(real);
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
