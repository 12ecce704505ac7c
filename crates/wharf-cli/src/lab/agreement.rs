//! Whether the model may be believed here: real runs beside simulated ones, cell by cell.
//!
//! The model answers for machines whose peers are on another machine. Nearest to that, here, is a
//! server with one core to itself and peers with another: the real runs are such. What rounds give
//! is compared by their median, beside how far the real rounds are off each other.

mod figure;
mod table;

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub(crate) use figure::Figure;

use super::calibrate::{Calibration, scenario};
use super::layout::{Layout, place};
use super::model::input::FarEnd;
use super::model::run::{Outcome as Simulated, simulate};
use super::others::Others;
use super::result::{Latencies, Phase, Run};
use super::rounds::{Ground, Outcome, Plan, Step};
use super::workload::{Load, Workload};
use crate::exit::Failure;

/// Furthest that p50 and p99 may be off.
const LATENCY_OFF: f64 = 0.25;
/// Furthest that the throughput may be off.
const THROUGHPUT_OFF: f64 = 0.10;
/// Cores that other processes may use on a machine that is called quiet.
const QUIET: f64 = 0.1;
/// Workloads that may disagree.
const MAY_DISAGREE: usize = 1;

/// How much is run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Effort {
    /// Layouts of each workload.
    pub(crate) layouts: Vec<Layout>,
    /// Rounds of each.
    pub(crate) rounds: u32,
    /// Measured time of a run.
    pub(crate) time: Duration,
}

impl Default for Effort {
    /// About six minutes.
    fn default() -> Self {
        Self {
            layouts: vec![
                Layout::PortPerNetwork,
                Layout::Shared,
                Layout::Dispatch,
                Layout::Lanes,
            ],
            rounds: 5,
            time: Duration::from_millis(1000),
        }
    }
}

/// One class under one layout.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Cell {
    /// The workload, and its variant if it has any.
    pub(crate) workload: String,
    /// The layout's name.
    pub(crate) layout: String,
    /// What was on.
    pub(crate) phase: Phase,
    /// The class.
    pub(crate) class: String,
    /// Frames a second.
    pub(crate) per_s: Figure,
    /// Microseconds.
    pub(crate) p50_us: Figure,
    /// Microseconds.
    pub(crate) p99_us: Figure,
    /// From due to sent, in microseconds: how far behind the driver was.
    pub(crate) late_p99_us: Figure,
}

impl Cell {
    fn new(workload: &str, run: &Run, class: &str) -> Self {
        Self {
            workload: workload.to_owned(),
            layout: run.layout.clone(),
            phase: run.phase,
            class: class.to_owned(),
            per_s: Figure::default(),
            p50_us: Figure::default(),
            p99_us: Figure::default(),
            late_p99_us: Figure::default(),
        }
    }

    /// Whether all three are near enough.
    pub(crate) fn agrees(&self) -> bool {
        self.per_s.off().abs() <= THROUGHPUT_OFF
            && self.p50_us.off().abs() <= LATENCY_OFF
            && self.p99_us.off().abs() <= LATENCY_OFF
    }

    /// Whether every second real round is as near to the others; with one round, yes.
    fn agrees_with_itself(&self) -> bool {
        let near = |figure: &Figure, most: f64| figure.off_itself().is_none_or(|o| o.abs() <= most);
        near(&self.per_s, THROUGHPUT_OFF)
            && near(&self.p50_us, LATENCY_OFF)
            && near(&self.p99_us, LATENCY_OFF)
    }
}

/// The agreement of one workload.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct OfWorkload {
    /// Its name.
    pub(crate) workload: String,
    /// Whether every cell agrees.
    pub(crate) agrees: bool,
    /// Cores that other processes kept busy during the real runs, where the system says.
    pub(crate) others: Option<f64>,
    /// Every class with traffic, every layout, every variant.
    pub(crate) cells: Vec<Cell>,
}

/// The agreement of this machine and build.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Agreement {
    /// How much was run.
    pub(crate) effort: Effort,
    /// In the order of the samples.
    pub(crate) workloads: Vec<OfWorkload>,
}

impl Agreement {
    /// Whether the model may answer: all workloads but one agree.
    pub(crate) fn holds(&self) -> bool {
        let disagree = self.workloads.iter().filter(|of| !of.agrees).count();
        disagree <= MAY_DISAGREE
    }
}

/// Runs every sample workload for real and in the model.
///
/// # Errors
/// A run that could not be made.
pub(crate) fn agreement(
    calibration: &Calibration,
    effort: &Effort,
    cores: usize,
    out: &Path,
    mut step: impl FnMut(&str, Step<'_>) -> Result<(), Failure>,
) -> Result<Agreement, Failure> {
    let mut workloads = Vec::new();
    for name in Workload::sample_names() {
        let workload = Workload::find(name).map_err(Failure::usage)?;
        let plan = Plan {
            workload_arg: name.to_owned(),
            workload,
            layouts: effort.layouts.clone(),
            rounds: effort.rounds,
            time: effort.time,
            warmup: effort.time / 4,
            ceiling: false,
            cores,
            out: out.to_owned(),
            ground: Ground::Apart,
        };
        let others = Others::start();
        let outcome = plan.run(|at| step(name, at))?;
        let cells = cells(&plan, &outcome, calibration)?;
        workloads.push(OfWorkload {
            workload: name.to_owned(),
            others: others.and_then(Others::cores),
            agrees: cells.iter().all(Cell::agrees),
            cells,
        });
    }
    Ok(Agreement {
        effort: effort.clone(),
        workloads,
    })
}

fn cells(plan: &Plan, outcome: &Outcome, calibration: &Calibration) -> Result<Vec<Cell>, Failure> {
    let mut cells: Vec<Cell> = Vec::new();
    for run in &outcome.runs {
        let (workload, model) = simulated(plan, outcome, calibration, run)?;
        let name = match run.variant.as_str() {
            "" => workload.name.clone(),
            variant => format!("{}/{variant}", plan.workload.name),
        };
        let both = run.classes.iter().zip(&model.classes);
        for (class, (real, model)) in workload.classes.iter().zip(both) {
            if class.load == Load::Silent {
                continue;
            }
            let same = |cell: &Cell| {
                cell.phase == run.phase
                    && (&cell.workload, &cell.layout, &cell.class)
                        == (&name, &run.layout, &class.name)
            };
            if !cells.iter().any(same) {
                cells.push(Cell::new(&name, run, &class.name));
            }
            let Some(cell) = cells.iter_mut().find(|cell| same(cell)) else {
                continue;
            };
            cell.per_s.add(real.frames_per_s, model.frames_per_s);
            let us = |latency: &Latencies, at: f64| {
                let nanos = if class.replies {
                    latency.value_at_quantile(at)
                } else {
                    0
                };
                Duration::from_nanos(nanos).as_secs_f64() * 1e6
            };
            let both = |at: f64| (us(&real.latency, at), us(&model.latency, at));
            for (figure, at) in [(&mut cell.p50_us, 0.5), (&mut cell.p99_us, 0.99)] {
                let (real, model) = both(at);
                figure.add(real, model);
            }
            cell.late_p99_us
                .add(us(&real.late, 0.99), us(&model.late, 0.99));
        }
    }
    Ok(cells)
}

/// The model's run of the same workload, layout and seed as a real one.
fn simulated(
    plan: &Plan,
    outcome: &Outcome,
    calibration: &Calibration,
    run: &Run,
) -> Result<(Workload, Simulated), Failure> {
    let mut workload = plan.workload.clone();
    if !run.variant.is_empty() {
        workload = workload.variant(&run.variant).map_err(Failure::usage)?;
    }
    if run.phase == Phase::LowOff {
        workload = workload.low_off();
    }
    let of_variant = |ceiling: &&(String, String, f64)| ceiling.0 == run.variant;
    let ceilings = outcome.ceilings.iter().filter(of_variant);
    let ceilings: Vec<_> = ceilings
        .map(|(_, class, per_s)| (class.clone(), *per_s))
        .collect();
    let layout = Layout::named(&run.layout).map_err(Failure::usage)?;
    let topology = plan.ground.put(place(layout, plan.cores, &workload, &[]));
    let mut scenario = scenario(
        &workload,
        &topology.text,
        plan.cores,
        &ceilings,
        calibration.costs,
        (plan.warmup, plan.time),
        run.round,
    )?;
    if let Some(core) = plan.ground.peers_on() {
        scenario.far_end = FarEnd::Core(core);
    }
    Ok((workload, simulate(&scenario)))
}
