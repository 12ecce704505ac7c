//! Whether the model may be believed here: real runs beside simulated ones, row by row.
//!
//! The model answers for machines whose peers are on another machine. Nearest to that, here, is a
//! server with one core to itself and peers with another; and a server whose threads spread over
//! all cores, of which its peers take a part. The real runs ([`exam`]) are such, [`judge`] says
//! when a row of them agrees.

pub(crate) mod exam;
mod judge;
mod table;

use std::sync::Mutex;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use exam::{Exam, Numbers, RealRun};
pub(crate) use judge::{Figure, Kind, Verdict};

use super::calibrate::{Calibration, scenario};
use super::layout::{Layout, place};
use super::model::input::{FarEnd, Scenario};
use super::model::run::{Outcome, simulate};
use super::report::figures::median;
use super::result::Phase;
use super::rounds::Ground;
use super::workload::{Load, Workload};
use crate::exit::Failure;

/// Cores that other processes may use on a machine that is called quiet.
const QUIET: f64 = 0.1;
/// Cores from which on a run is theirs and not the machine's: it does not count, whatever it gave.
const DISTURBED: f64 = 0.25;
/// Runs of the model for each real one, the first with its arrivals: chance is to be the machine's.
const PLAYS: u32 = 3;
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
    /// About an hour, in as many goes as it takes.
    fn default() -> Self {
        Self {
            layouts: vec![
                Layout::PortPerNetwork,
                Layout::Shared,
                Layout::Dispatch,
                Layout::Lanes,
            ],
            rounds: 25,
            time: Duration::from_millis(1000),
        }
    }
}

impl Effort {
    /// Whether runs of one are runs of the other: all but how many.
    fn same(&self, other: &Self) -> bool {
        (&self.layouts, self.time) == (&other.layouts, other.time)
    }
}

/// One class under one layout, on one ground.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    /// Which cores the server and its peers have.
    pub(crate) ground: Ground,
    /// The workload's variant, if it has any.
    pub(crate) variant: String,
    /// The layout's name.
    pub(crate) layout: String,
    /// What was on.
    pub(crate) phase: Phase,
    /// The class.
    pub(crate) class: String,
    /// Frames a second, and microseconds: see [`Kind::ALL`].
    pub(crate) figures: [Figure; 3],
    /// All of each round: measured, and simulated.
    pub(crate) rounds: Vec<(Numbers, Numbers)>,
    /// Cores that the server kept busy, and thread switches a second: measured, and simulated.
    pub(crate) cpu: Vec<(f64, f64)>,
    /// See there.
    pub(crate) switches_per_s: Vec<(f64, f64)>,
}

/// The agreement of one workload.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct OfWorkload {
    /// Its name.
    pub(crate) workload: String,
    /// Cores that other processes, or other machines of the host, kept busy during the middle real
    /// run, where the system says.
    pub(crate) others: Option<f64>,
    /// Runs that do not count, because it was more than [`DISTURBED`].
    pub(crate) disturbed: usize,
    /// Every class with traffic, every layout, every variant, every ground.
    pub(crate) rows: Vec<Row>,
}

/// The agreement of one machine and build.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Agreement {
    /// In the order of the samples.
    pub(crate) workloads: Vec<OfWorkload>,
}

impl Agreement {
    /// Whether the model may answer: all workloads but one agree.
    pub(crate) fn holds(&self) -> bool {
        let disagree = self.workloads.iter().filter(|of| !of.agrees()).count();
        disagree <= MAY_DISAGREE
    }
}

/// Plays every run of an exam in the model, on as many threads as the machine has cores.
///
/// # Errors
/// A run that the model can't play.
pub(crate) fn agreement(
    exam: &Exam,
    calibration: &Calibration,
    mut step: impl FnMut(&str) -> Result<(), Failure>,
) -> Result<Agreement, Failure> {
    let mut workloads = Vec::new();
    for name in Workload::sample_names() {
        let of_it = exam.runs.iter().filter(|run| run.workload == name);
        let disturbed = |run: &&RealRun| run.others.is_some_and(|cores| cores > DISTURBED);
        let (disturbed, runs): (Vec<_>, Vec<_>) = of_it.partition(disturbed);
        step(&format!("{name}: {} runs in the model", runs.len()))?;
        let mut scenarios = Vec::new();
        for run in &runs {
            for play in 0..PLAYS {
                let mut scenario = played(exam, calibration, run)?;
                scenario.seed += u64::from(play * exam.effort.rounds);
                scenarios.push(scenario);
            }
        }
        let outcomes = all(&scenarios);
        let mut rows: Vec<Row> = Vec::new();
        let plays = PLAYS as usize;
        let played = scenarios.chunks(plays).zip(outcomes.chunks(plays));
        for (run, (scenarios, outcomes)) in runs.iter().zip(played) {
            for (at, class) in scenarios[0].classes.iter().enumerate() {
                if class.load != Load::Silent {
                    let outcomes = outcomes.iter().flatten();
                    row(&mut rows, run, &class.name).add(run, outcomes, at);
                }
            }
        }
        let others: Option<Vec<_>> = runs.iter().map(|run| run.others).collect();
        workloads.push(OfWorkload {
            workload: name.to_owned(),
            others: others.as_deref().and_then(median),
            disturbed: disturbed.len(),
            rows,
        });
    }
    Ok(Agreement { workloads })
}

/// Plays scenarios, some at a time.
fn all(scenarios: &[Scenario]) -> Vec<Option<Outcome>> {
    let next = Mutex::new(0..scenarios.len());
    let done = Mutex::new(vec![None; scenarios.len()]);
    let play = || {
        // A thread that panicked has told so; what it left is missing.
        while let Some(at) = next.lock().ok().and_then(|mut next| next.next()) {
            let outcome = simulate(&scenarios[at]);
            if let Ok(mut done) = done.lock() {
                done[at] = Some(outcome);
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(play);
        }
    });
    done.into_inner().unwrap_or_default()
}

/// The row of a class in a run, made if there is none.
fn row<'a>(rows: &'a mut Vec<Row>, run: &RealRun, class: &str) -> &'a mut Row {
    let is = |row: &Row| {
        (row.ground, row.phase) == (run.ground, run.phase)
            && (&row.variant, &row.layout) == (&run.variant, &run.layout)
            && row.class == class
    };
    let at = rows.iter().position(is).unwrap_or_else(|| {
        rows.push(Row {
            ground: run.ground,
            variant: run.variant.clone(),
            layout: run.layout.clone(),
            phase: run.phase,
            class: class.to_owned(),
            figures: Kind::ALL.map(Figure::new),
            rounds: Vec::new(),
            cpu: Vec::new(),
            switches_per_s: Vec::new(),
        });
        rows.len() - 1
    });
    &mut rows[at]
}

impl Row {
    /// Adds a round: what class `at` got in a real run and in the model's.
    fn add<'a>(&mut self, run: &RealRun, outcomes: impl Iterator<Item = &'a Outcome>, at: usize) {
        let real = run.classes[at];
        for figure in &mut self.figures {
            figure.measured(real.of(figure.kind));
        }
        let switches = run.switches_per_s.0 + run.switches_per_s.1;
        for outcome in outcomes {
            let class = &outcome.classes[at];
            let model = Numbers::new(class.frames_per_s, &class.latency, &class.late);
            for figure in &mut self.figures {
                figure.simulated(model.of(figure.kind));
            }
            self.rounds.push((real, model));
            self.cpu.push((run.cpu.0, outcome.cpu));
            self.switches_per_s.push((switches, outcome.switches_per_s));
        }
    }
}

impl Numbers {
    fn of(&self, kind: Kind) -> f64 {
        kind.quantile().map_or(self.per_s, |at| self.at(at))
    }
}

/// The same workload, layout, ground and seed for the model.
fn played(exam: &Exam, calibration: &Calibration, run: &RealRun) -> Result<Scenario, Failure> {
    let mut workload = Workload::find(&run.workload).map_err(Failure::usage)?;
    if !run.variant.is_empty() {
        workload = workload.variant(&run.variant).map_err(Failure::usage)?;
    }
    if run.phase == Phase::LowOff {
        workload = workload.low_off();
    }
    let of_workload = exam.ceilings.iter().filter(|of| of.0 == run.workload);
    let of_variant = of_workload
        .flat_map(|of| &of.1)
        .filter(|of| of.0 == run.variant);
    let ceilings: Vec<_> = of_variant
        .map(|(_, class, per_s)| (class.clone(), *per_s))
        .collect();
    let layout = Layout::named(&run.layout).map_err(Failure::usage)?;
    let topology = run
        .ground
        .put(place(layout, exam.measured.cores, &workload, &[]));
    let (cores, time) = (exam.measured.cores, exam.effort.time);
    let mut scenario = scenario(
        &workload,
        &topology.text,
        cores,
        &ceilings,
        calibration.costs,
        (time / 4, time),
        run.round,
    )?;
    if let Some(core) = run.ground.peers_on() {
        scenario.far_end = FarEnd::Core(core);
    }
    Ok(scenario)
}
