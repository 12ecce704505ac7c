//! Whether the model may be believed here: real runs beside simulated ones, cell by cell.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::calibrate::{Calibration, scenario};
use super::layout::{Layout, place};
use super::model::run::simulate;
use super::others::Others;
use super::result::{Latencies, Phase, Run, latencies};
use super::rounds::{Outcome, Plan, Step};
use super::workload::{Rank, Workload};
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
    /// About a minute.
    fn default() -> Self {
        Self {
            layouts: vec![
                Layout::PortPerNetwork,
                Layout::Shared,
                Layout::Dispatch,
                Layout::Lanes,
            ],
            rounds: 1,
            time: Duration::from_millis(1000),
        }
    }
}

/// A number of the real runs and of the model.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Pair {
    /// Measured.
    pub(crate) real: f64,
    /// Simulated.
    pub(crate) model: f64,
}

impl Pair {
    /// How far the model is off, as a share of what is real.
    pub(crate) fn off(self) -> f64 {
        if self.real == 0.0 {
            return if self.model == 0.0 {
                0.0
            } else {
                f64::INFINITY
            };
        }
        self.model / self.real - 1.0
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
    pub(crate) per_s: Pair,
    /// Microseconds.
    pub(crate) p50_us: Pair,
    /// Microseconds.
    pub(crate) p99_us: Pair,
    /// From due to sent, in microseconds: how far behind the driver was.
    pub(crate) late_p99_us: Pair,
}

impl Cell {
    /// Whether all three are near enough.
    pub(crate) fn agrees(&self) -> bool {
        self.per_s.off().abs() <= THROUGHPUT_OFF
            && self.p50_us.off().abs() <= LATENCY_OFF
            && self.p99_us.off().abs() <= LATENCY_OFF
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

impl OfWorkload {
    fn verdict(&self) -> String {
        let agree = self.cells.iter().filter(|cell| cell.agrees()).count();
        let verb = if self.agrees {
            "agrees"
        } else {
            "does not agree"
        };
        let others = self.others.map_or(String::new(), |others| {
            format!("; other processes used {others:.2} cores")
        });
        format!(
            "  {}: {verb}, {agree} of {} rows within {:.0} % of latency and {:.0} % of throughput\
             {others}",
            self.workload,
            self.cells.len(),
            LATENCY_OFF * 100.0,
            THROUGHPUT_OFF * 100.0
        )
    }
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

/// All runs of one layout, variant and phase, both kinds.
struct Group {
    layout: Layout,
    variant: String,
    phase: Phase,
    classes: Vec<Sum>,
}

/// One class over its rounds.
struct Sum {
    name: String,
    traffic: bool,
    replies: bool,
    real: Got,
    model: Got,
}

/// Frames a second of all rounds, and their latencies.
struct Got {
    per_s: f64,
    latency: Latencies,
    late: Latencies,
}

impl Got {
    fn nothing() -> Self {
        Self {
            per_s: 0.0,
            latency: latencies(),
            late: latencies(),
        }
    }

    fn add(&mut self, per_s: f64, latency: &Latencies, late: &Latencies) -> Result<(), Failure> {
        self.per_s += per_s;
        let added = self.latency.add(latency).and_then(|()| self.late.add(late));
        added.map_err(|error| Failure::fault(format!("latencies do not add up: {error}")))
    }
}

fn cells(plan: &Plan, outcome: &Outcome, calibration: &Calibration) -> Result<Vec<Cell>, Failure> {
    let mut groups: Vec<Group> = Vec::new();
    for run in &outcome.runs {
        let layout = Layout::named(&run.layout).map_err(Failure::usage)?;
        let same =
            |g: &&mut Group| (g.layout, &g.variant, g.phase) == (layout, &run.variant, run.phase);
        if let Some(group) = groups.iter_mut().find(same) {
            add(group, plan, outcome, calibration, run)?;
        } else {
            let mut group = Group {
                layout,
                variant: run.variant.clone(),
                phase: run.phase,
                classes: Vec::new(),
            };
            add(&mut group, plan, outcome, calibration, run)?;
            groups.push(group);
        }
    }
    let rounds = f64::from(plan.rounds);
    let cell = |group: &Group, sum: &Sum| Cell {
        workload: match group.variant.as_str() {
            "" => plan.workload.name.clone(),
            variant => format!("{}/{variant}", plan.workload.name),
        },
        layout: group.layout.name().to_owned(),
        phase: group.phase,
        class: sum.name.clone(),
        per_s: Pair {
            real: sum.real.per_s / rounds,
            model: sum.model.per_s / rounds,
        },
        p50_us: quantile(sum, |got| &got.latency, 0.5),
        p99_us: quantile(sum, |got| &got.latency, 0.99),
        late_p99_us: quantile(sum, |got| &got.late, 0.99),
    };
    let with_traffic = groups.iter().flat_map(|group| {
        let classes = group.classes.iter().filter(|sum| sum.traffic);
        classes.map(move |sum| cell(group, sum))
    });
    Ok(with_traffic.collect())
}

fn quantile(sum: &Sum, of: fn(&Got) -> &Latencies, at: f64) -> Pair {
    let us = |latency: &Latencies| {
        if !sum.replies || latency.is_empty() {
            return 0.0;
        }
        Duration::from_nanos(latency.value_at_quantile(at)).as_secs_f64() * 1e6
    };
    Pair {
        real: us(of(&sum.real)),
        model: us(of(&sum.model)),
    }
}

/// Adds a real run, and the model's of the same seed.
fn add(
    group: &mut Group,
    plan: &Plan,
    outcome: &Outcome,
    calibration: &Calibration,
    run: &Run,
) -> Result<(), Failure> {
    let mut workload = plan.workload.clone();
    if !run.variant.is_empty() {
        workload = workload.variant(&run.variant).map_err(Failure::usage)?;
    }
    if run.phase == Phase::LowOff {
        workload = workload.low_off();
    }
    let ceilings = outcome
        .ceilings
        .iter()
        .filter(|ceiling| ceiling.0 == run.variant);
    let ceilings: Vec<_> = ceilings
        .map(|(_, class, per_s)| (class.clone(), *per_s))
        .collect();
    let topology = place(group.layout, plan.cores, &workload, &[]);
    let time = (plan.warmup, plan.time);
    let costs = calibration.costs;
    let scenario = scenario(
        &workload,
        &topology.text,
        plan.cores,
        &ceilings,
        costs,
        time,
        run.round,
    )?;
    let model = simulate(&scenario);
    if group.classes.is_empty() {
        let sum = |class: &super::workload::Class| Sum {
            name: class.name.clone(),
            traffic: class.load != super::workload::Load::Silent
                && !(run.phase == Phase::LowOff && class.class == Rank::Low),
            replies: class.replies,
            real: Got::nothing(),
            model: Got::nothing(),
        };
        group.classes = workload.classes.iter().map(sum).collect();
    }
    let both = run.classes.iter().zip(&model.classes);
    for (sum, (real, model)) in group.classes.iter_mut().zip(both) {
        sum.real.add(real.frames_per_s, &real.latency, &real.late)?;
        sum.model
            .add(model.frames_per_s, &model.latency, &model.late)?;
    }
    Ok(())
}

impl Agreement {
    /// The table, a line a cell, and the verdict.
    pub(crate) fn table(&self) -> Vec<String> {
        let mut lines = vec![format!(
            "  {:16} {:18} {:8} {:7} {:>22} {:>24} {:>24}",
            "workload", "layout", "phase", "class", "frames/s", "p50 us", "p99 us"
        )];
        let pair = |pair: Pair, width: usize| {
            let text = format!(
                "{:.0} {:.0} {:+.0}%",
                pair.real,
                pair.model,
                pair.off() * 100.0
            );
            format!("{text:>width$}")
        };
        for of in &self.workloads {
            for cell in &of.cells {
                lines.push(format!(
                    "  {:16} {:18} {:8} {:7} {} {} {} {}",
                    cell.workload,
                    cell.layout,
                    if cell.phase == Phase::LowOff {
                        "low off"
                    } else {
                        "full"
                    },
                    cell.class,
                    pair(cell.per_s, 22),
                    pair(cell.p50_us, 24),
                    pair(cell.p99_us, 24),
                    if cell.agrees() { "" } else { "*" }
                ));
            }
            lines.push(of.verdict());
        }
        lines
    }

    /// That this machine was not quiet, if it was not.
    pub(crate) fn disturbed(&self) -> String {
        let others = self.workloads.iter().filter_map(|of| of.others);
        let most = others.fold(0.0, f64::max);
        if most < QUIET {
            return String::new();
        }
        format!(" Other processes kept up to {most:.1} cores busy during the real runs.")
    }

    /// How far the model was off, in one sentence.
    pub(crate) fn bound(&self) -> String {
        let cells = || self.workloads.iter().flat_map(|of| &of.cells);
        let worst = |of: fn(&Cell) -> Pair| {
            let mut off: Vec<_> = cells().map(|cell| of(cell).off().abs()).collect();
            off.sort_by(f64::total_cmp);
            let at = |share: usize| off.get(off.len() * share / 10).copied().unwrap_or(0.0) * 100.0;
            format!(
                "{:.0} % in half of the rows, {:.0} % in nine of ten",
                at(5),
                at(9)
            )
        };
        format!(
            "error bound, from {} rows on this machine: p50 within {}; p99 within {}; throughput \
             within {}",
            cells().count(),
            worst(|cell| cell.p50_us),
            worst(|cell| cell.p99_us),
            worst(|cell| cell.per_s)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(real: f64, model: f64) -> Pair {
        Pair { real, model }
    }

    fn cell(per_s: Pair, p50_us: Pair, p99_us: Pair) -> Cell {
        Cell {
            workload: "fair".into(),
            layout: "lanes".into(),
            phase: Phase::Full,
            class: "game".into(),
            per_s,
            p50_us,
            p99_us,
            late_p99_us: pair(0.0, 0.0),
        }
    }

    #[test]
    fn a_row_agrees_only_if_all_three_are_near() {
        let near = pair(100.0, 109.0);
        let far = pair(100.0, 126.0);
        assert!(cell(near, pair(100.0, 124.0), pair(100.0, 76.0)).agrees());
        assert!(
            !cell(pair(100.0, 111.0), near, near).agrees(),
            "throughput is held tighter"
        );
        assert!(!cell(near, far, near).agrees());
        assert!(!cell(near, near, pair(100.0, 74.0)).agrees());
        assert!(
            !cell(near, pair(0.0, 5.0), near).agrees(),
            "a latency out of nothing"
        );
    }

    #[test]
    fn it_holds_with_one_workload_off_and_not_with_two() {
        let of = |agrees| OfWorkload {
            workload: "fair".into(),
            agrees,
            others: Some(0.7),
            cells: vec![cell(pair(1.0, 1.0), pair(1.0, 1.1), pair(1.0, 1.2))],
        };
        let agreement = |agree: [bool; 5]| Agreement {
            effort: Effort::default(),
            workloads: agree.map(of).into(),
        };
        assert!(agreement([true, true, false, true, true]).holds());
        let off = agreement([true, false, false, true, true]);
        assert!(!off.holds());
        assert!(off.disturbed().contains("0.7 cores"), "{}", off.disturbed());
        let table = off.table();
        assert_eq!(
            table.len(),
            1 + 2 * 5,
            "a row and a verdict each, under one head"
        );
        assert!(table[4].contains("does not agree"), "{table:?}");
        assert!(off.bound().contains("5 rows"), "{}", off.bound());
    }
}
