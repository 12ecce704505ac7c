//! What this machine and this build cost, measured on the spot: what the model is given.
//!
//! System calls, wakes and switches are measured by themselves (`machine.rs`). What the library and
//! the driver add to them comes from short real runs of workloads made for it: the model plays the
//! same run, and the one cost that the run is about is moved until both agree. None of these
//! workloads is one that the model answers for.

mod fit;
mod machine;

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::layout::place;
use super::model::input::{Costs, FarEnd, Scenario};
use super::model::layouts::placement;
use super::one::{self, Order};
use super::result::{Phase, Run};
use super::workload::Workload;
use crate::exit::Failure;

pub(crate) use fit::Fit;

/// Measured time of a calibration run.
const TIME: Duration = Duration::from_millis(1200);
/// Before it.
const WARM_UP: Duration = Duration::from_millis(300);

/// The costs, and how they were found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Calibration {
    /// What the model is given.
    pub(crate) costs: Costs,
    /// Each run that moved one of them.
    pub(crate) fits: Vec<Fit>,
}

/// Measures this machine and this build; `out` takes the files of the runs. About ten seconds.
///
/// # Errors
/// What the machine refused, or a run that could not be made.
pub(crate) fn calibrate(
    cores: usize,
    out: &Path,
    mut step: impl FnMut(&str) -> Result<(), Failure>,
) -> Result<Calibration, Failure> {
    step("system calls, wakes and switches")?;
    let calls = machine::calls()?;
    let mut calibration = Calibration {
        costs: Costs {
            os: machine::os(cores)?,
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
    for knob in fit::KNOBS {
        step(knob.what())?;
        let real = real_run(knob, cores, out)?;
        let fit = fit::fit(knob, cores, &mut calibration.costs, &real)?;
        calibration.fits.push(fit);
    }
    Ok(calibration)
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
    let name = knob.name();
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
    };
    one::run(&order, |peers| {
        place(knob.layout(), cores, &workload, peers)
    })
}

fn workload(knob: fit::Knob) -> Result<Workload, Failure> {
    let text = knob.workload();
    Workload::parse(&text, knob.name()).map_err(Failure::usage)
}

/// The model's side of a calibration run.
fn model_run(
    knob: fit::Knob,
    cores: usize,
    costs: Costs,
) -> Result<super::model::run::Outcome, Failure> {
    let workload = workload(knob)?;
    let topology = place(knob.layout(), cores, &workload, &[]);
    let time = (WARM_UP, TIME);
    let scenario = scenario(&workload, &topology.text, cores, &[], costs, time, 0)?;
    Ok(super::model::run::simulate(&scenario))
}
