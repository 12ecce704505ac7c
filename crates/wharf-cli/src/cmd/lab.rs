//! `wharf lab`, and the process that it measures.

use std::io::IsTerminal as _;

use indicatif::{ProgressBar, ProgressStyle};

use crate::args::{LabArgs, LabServerArgs};
use crate::exit::{Exit, Failure};
use crate::lab::layout::Layout;
use crate::lab::result::Phase;
use crate::lab::rounds::{Plan, Step};
use crate::lab::server;
use crate::lab::workload::Workload;
use crate::out;

/// Compares, shows progress, writes the reports.
///
/// # Errors
/// What the arguments say wrong, before anything starts; then what could not be run or written.
pub(super) fn run(args: &LabArgs) -> Result<Exit, Failure> {
    let plan = plan(args)?;
    let outcome = plan.run(|step| out::line(format!("{step:?}")))?;
    for run in &outcome.runs {
        for class in &run.classes {
            out::line(format!(
                "{} {} {:?} {}: offered {:?} got {:.0} p50 {} p99 {} late p50 {} p99 {} unsent {} verified {} {:?}",
                run.layout,
                run.variant,
                run.phase,
                class.name,
                class.offered_per_s,
                class.frames_per_s,
                class.latency.value_at_quantile(0.5) / 1000,
                class.latency.value_at_quantile(0.99) / 1000,
                class.late.value_at_quantile(0.5) / 1000,
                class.late.value_at_quantile(0.99) / 1000,
                class.unsent,
                class.verified,
                class.faults
            ))?;
        }
        out::line(format!("   {:?} client {}", run.server, run.client_cpu_s))?;
    }
    Ok(Exit::Done)
}

fn plan(args: &LabArgs) -> Result<Plan, Failure> {
    let workload = Workload::find(&args.workload).map_err(Failure::usage)?;
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    workload.check_for(cores).map_err(Failure::usage)?;
    let mut layouts = Vec::new();
    for name in &args.layouts {
        let layout =
            Layout::named(name).map_err(|error| Failure::usage(format!("--layouts: {error}")))?;
        if layouts.contains(&layout) {
            return Err(Failure::usage(format!("--layouts names {name} twice")));
        }
        layouts.push(layout);
    }
    if layouts.is_empty() {
        layouts = Layout::usual(args.ceiling);
    }
    std::fs::create_dir_all(&args.out)
        .map_err(|error| Failure::usage(format!("--out {}: {error}", args.out.display())))?;
    Ok(Plan {
        workload_arg: args.workload.clone(),
        workload,
        layouts,
        rounds: args.rounds,
        time: args.seconds,
        warmup: (args.seconds / 4).min(std::time::Duration::from_secs(1)),
        ceiling: args.ceiling,
        cores,
        out: args.out.clone(),
    })
}

/// Serves as the process under test.
///
/// # Errors
/// What the topology or the workload says wrong.
pub(super) fn serve(args: &LabServerArgs) -> Result<Exit, Failure> {
    let workload = Workload::find(&args.workload).map_err(Failure::usage)?;
    let workload = match args.variant.as_str() {
        "" => workload,
        variant => workload.variant(variant).map_err(Failure::usage)?,
    };
    server::run(&args.topology, &workload)?;
    Ok(Exit::Done)
}
