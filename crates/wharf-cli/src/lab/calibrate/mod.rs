//! What this machine and this build cost, measured on the spot: what the model is given.
//!
//! System calls, wakes and switches are measured by themselves (`machine.rs`). What the library and
//! the driver add to them comes from short real runs of workloads made for it: the model plays the
//! same run, and the one cost that the run is about is moved until both agree. None of these
//! workloads is one that the model answers for.
//!
//! The server has one core in these runs and its peers have another, as in those that the model is
//! compared with: what a frame costs is then the server's, and not what its peers take from it.

mod fit;
mod machine;
mod wakes;

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::layout::place;
use super::model::input::{Costs, FarEnd, OsCosts, Scenario};
use super::model::layouts::placement;
use super::one::{self, Order};
use super::result::{Phase, Run};
use super::rounds::Ground;
use super::workload::Workload;
use crate::exit::Failure;

pub(crate) use fit::Fit;

/// Measured time of a calibration run.
const TIME: Duration = Duration::from_millis(900);
/// Runs for each cost; the middle one counts.
const LOOKS: usize = 5;
/// How often all costs are fitted.
const PASSES: usize = 3;
/// Before it.
const WARM_UP: Duration = Duration::from_millis(200);

/// The costs, and how they were found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Calibration {
    /// What the model is given.
    pub(crate) costs: Costs,
    /// Each run that moved one of them.
    pub(crate) fits: Vec<Fit>,
}

/// What was measured of this machine and this build: the fits start from it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Measured {
    /// Cores of the machine.
    pub(crate) cores: usize,
    calls: machine::Calls,
    os: OsCosts,
    /// What the real runs gave, by knob: every look.
    looks: Vec<[f64; LOOKS]>,
}

/// Measures this machine and this build; `out` takes the files of the runs. About a minute.
///
/// # Errors
/// What the machine refused, or a run that could not be made.
pub(crate) fn measure(
    cores: usize,
    out: &Path,
    mut step: impl FnMut(&str) -> Result<(), Failure>,
) -> Result<Measured, Failure> {
    step("system calls, wakes and switches")?;
    let calls = machine::calls()?;
    let mut os = machine::os(cores)?;
    // The call itself is counted where it is made.
    for wake in os.wake_idle.iter_mut().chain([&mut os.wake_busy]) {
        wake.cost = wake.cost.saturating_sub(calls.post);
    }
    Ok(Measured {
        cores,
        calls,
        os,
        looks: looks(cores, out, &mut step)?,
    })
}

impl Measured {
    /// Of no machine.
    #[cfg(test)]
    pub(crate) fn example() -> Self {
        Self {
            cores: 2,
            calls: machine::Calls {
                send: 2_000,
                recv: 700,
                recv_none: 200,
                wait: 300,
                report: 50,
                post: 400,
            },
            os: OsCosts::FREE,
            looks: vec![[1_000.0; LOOKS]; fit::KNOBS.len()],
        }
    }

    /// Moves the costs until the model gives what the real runs gave.
    ///
    /// # Errors
    /// A run that the model can't play.
    pub(crate) fn calibration(&self) -> Result<Calibration, Failure> {
        let calls = self.calls;
        let mut calibration = Calibration {
            costs: Costs {
                os: self.os,
                wait: calls.wait,
                report: calls.report,
                post: calls.post,
                turn: calls.recv,
                frame: 100,
                flush: calls.send,
                spin_more: 0,
                hand_off: 0,
                far_wait: calls.wait,
                far_recv: calls.recv,
                far_recv_none: calls.recv_none,
                far_frame: 100,
                far_send: calls.send,
                far_post: calls.post,
                far_pace: calls.wait,
            },
            fits: Vec::new(),
        };
        // The middle of several looks, which took turns: a moment in which the machine is
        // elsewhere does not hit all looks at one thing.
        let middle = |looks: &[f64; LOOKS]| {
            let mut looks = *looks;
            looks.sort_by(f64::total_cmp);
            looks[LOOKS / 2]
        };
        let wanted: Vec<_> = self.looks.iter().map(middle).collect();
        // Each leans on those before it, and a little on those behind it.
        for _ in 0..PASSES {
            calibration.fits = fit::all(self.cores, &mut calibration.costs, &wanted)?;
        }
        Ok(calibration)
    }
}

/// What the real runs gave, by knob.
fn looks(
    cores: usize,
    out: &Path,
    step: &mut impl FnMut(&str) -> Result<(), Failure>,
) -> Result<Vec<[f64; LOOKS]>, Failure> {
    let mut all = vec![[0.0; LOOKS]; fit::KNOBS.len()];
    for look in 0..LOOKS {
        let mut last: Option<(&str, Run)> = None;
        for (knob, all) in fit::KNOBS.iter().zip(&mut all) {
            let run = match last.take() {
                Some(last) if last.0 == knob.run() => last.1,
                _ => {
                    step(&format!("run {}, {} of {LOOKS}", knob.run(), look + 1))?;
                    real_run(*knob, cores, out)?
                }
            };
            all[look] = knob.of_real(&run);
            last = Some((knob.run(), run));
        }
    }
    Ok(all)
}

/// The scenario of one run of a workload: the same layout, load, times and seed.
///
/// # Errors
/// A topology that does not place every class.
pub(crate) fn scenario(
    workload: &Workload,
    topology: &str,
    cores: usize,
    ceilings: &[(String, f64)],
    costs: Costs,
    time: (Duration, Duration),
    seed: u32,
) -> Result<Scenario, Failure> {
    let names: Vec<_> = workload
        .classes
        .iter()
        .map(|class| class.name.as_str())
        .collect();
    let placement = placement(topology, cores, &names).map_err(Failure::usage)?;
    let ceiling = |name: &&str| {
        let found = ceilings.iter().find(|(class, _)| class == name);
        found.map_or(0.0, |(_, per_s)| *per_s)
    };
    Ok(Scenario {
        cores,
        far_end: FarEnd::Here,
        ceilings_per_s: names.iter().map(ceiling).collect(),
        classes: workload.classes.clone(),
        placement,
        costs,
        warm_up: super::driver::nanos(time.0),
        measure: super::driver::nanos(time.1),
        seed: u64::from(seed),
    })
}

fn real_run(knob: fit::Knob, cores: usize, out: &Path) -> Result<Run, Failure> {
    let name = knob.run();
    let file = out.join(format!("calibration_{name}.workload.toml"));
    std::fs::write(&file, knob.workload()).map_err(|error| {
        Failure::machine(format!("could not write {}: {error}", file.display()))
    })?;
    let workload = workload(knob)?;
    let order = Order {
        layout: &format!("calibration_{name}"),
        phase: Phase::Full,
        round: 0,
        workload_arg: &file.to_string_lossy(),
        variant: "",
        workload: &workload,
        ceilings: &[],
        time: TIME,
        warmup: WARM_UP,
        out,
        ground: Ground::Apart,
    };
    one::run(&order, |peers| {
        Ground::Apart.put(place(knob.layout(), cores, &workload, peers))
    })
}

fn workload(knob: fit::Knob) -> Result<Workload, Failure> {
    let text = knob.workload();
    Workload::parse(&text, knob.run()).map_err(Failure::usage)
}

/// The model's side of a calibration run.
fn model_run(
    knob: fit::Knob,
    cores: usize,
    costs: Costs,
) -> Result<super::model::run::Outcome, Failure> {
    let workload = workload(knob)?;
    let topology = Ground::Apart.put(place(knob.layout(), cores, &workload, &[]));
    let time = (WARM_UP, TIME);
    let mut scenario = scenario(&workload, &topology.text, cores, &[], costs, time, 0)?;
    scenario.far_end = FarEnd::Core(Ground::PEERS);
    Ok(super::model::run::simulate(&scenario))
}
