//! `wharf lab`, and the process that it measures.

use std::io::IsTerminal as _;
use std::path::Path;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::args::{LabArgs, LabServerArgs};
use crate::exit::{Exit, Failure};
use crate::lab::agreement::Effort;
use crate::lab::layout::Layout;
use crate::lab::report::{Report, page};
use crate::lab::result::Phase;
use crate::lab::rounds::{Ground, Plan, Step};
use crate::lab::server;
use crate::lab::simulate::{self, Question};
use crate::lab::workload::Workload;
use crate::out;

/// Open files beside the sessions.
const FILES_SPARE: u64 = 192;
/// Longest warm-up.
const WARMUP_MAX: Duration = Duration::from_secs(1);

/// Compares, shows progress, writes the reports.
///
/// # Errors
/// What the arguments say wrong, before anything starts; then what could not be run or written.
pub(super) fn run(args: &LabArgs) -> Result<Exit, Failure> {
    let plan = plan(args)?;
    if args.simulate {
        return simulate::answer(&question(args, plan));
    }
    let mut progress = Progress::new(args, &plan)?;
    let outcome = plan.run(|step| progress.show(step));
    progress.end();
    let report = Report::new(&plan, &outcome?);
    let json = serde_json::to_string(&report)
        .map_err(|error| Failure::machine(format!("could not write the report: {error}")))?;
    write(&args.out.join("report.json"), &json)?;
    write(&args.out.join("report.html"), &page::page(&report))?;
    if args.json {
        out::line(json)?;
    } else {
        out::line(&report)?;
        out::line(format_args!(
            "{}, {}",
            args.out.join("report.html").display(),
            args.out.join("report.json").display()
        ))?;
    }
    let fault = report.faults.any() || !report.low_caps_held;
    Ok(if fault { Exit::Fault } else { Exit::Done })
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    std::fs::write(path, text)
        .map_err(|error| Failure::machine(format!("could not write {}: {error}", path.display())))
}

fn question(args: &LabArgs, plan: Plan) -> Question {
    let cores = args.cores.map_or(plan.cores, usize::from);
    Question {
        cores,
        workers: args.workers.map_or(cores, usize::from),
        here: plan.cores,
        anew: args.agree.then(|| Effort {
            layouts: plan.layouts.clone(),
            rounds: plan.rounds,
            time: plan.time,
        }),
        exam: args.exam.clone(),
        workload: plan.workload,
        layouts: plan.layouts,
        out: plan.out,
    }
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
    reserve_files(&workload)?;
    std::fs::create_dir_all(&args.out)
        .map_err(|error| Failure::usage(format!("--out {}: {error}", args.out.display())))?;
    Ok(Plan {
        workload_arg: args.workload.clone(),
        workload,
        layouts,
        rounds: args.rounds,
        time: args.seconds,
        warmup: (args.seconds / 4).min(WARMUP_MAX),
        ceiling: args.ceiling,
        cores,
        out: args.out.clone(),
        ground: Ground::Shared,
    })
}

/// Makes sure that this process, and the one it measures, may open a socket for each session.
fn reserve_files(workload: &Workload) -> Result<(), Failure> {
    let sessions: u32 = workload.classes.iter().map(|class| class.sessions).sum();
    let wanted = u64::from(sessions) + FILES_SPARE;
    match wharf::system::raise_open_files_max(wanted) {
        Some(limit) if limit < wanted => Err(Failure::machine(format!(
            "workload {}: its {sessions} sessions need {wanted} open files, the limit of this \
             process is {limit}; raise it with `ulimit -n {wanted}`, or lower sessions",
            workload.name
        ))),
        // Unknown limits are no reason to refuse: a connect will tell.
        _ => Ok(()),
    }
}

/// A bar on a terminal, a line a round when piped, nothing with --json.
enum Progress {
    Bar(ProgressBar),
    Lines,
    Silent,
}

impl Progress {
    fn new(args: &LabArgs, plan: &Plan) -> Result<Self, Failure> {
        if args.json {
            return Ok(Self::Silent);
        }
        out::line(format_args!(
            "{}: {} layouts, {} rounds, {} runs of {} s, about {} minutes",
            plan.workload.name,
            plan.layouts.len(),
            plan.rounds,
            plan.runs(),
            plan.time.as_secs_f64(),
            plan.at_least().as_secs().div_ceil(60)
        ))?;
        if !std::io::stdout().is_terminal() {
            return Ok(Self::Lines);
        }
        let bar = ProgressBar::new(plan.runs() as u64);
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len}  {msg}  {eta} left");
        if let Ok(style) = style {
            bar.set_style(style);
        }
        Ok(Self::Bar(bar))
    }

    fn show(&mut self, step: Step<'_>) -> Result<(), Failure> {
        let Step {
            number,
            of,
            what,
            variant,
            round,
            phase,
        } = step;
        let doing = match phase {
            None => format!("the one-core ceiling of {what}"),
            Some(Phase::Full) => what.to_owned(),
            Some(Phase::LowOff) => format!("{what}, low class off"),
            Some(Phase::Ceiling) => format!("{what}, saturated"),
        };
        let variant = if variant.is_empty() {
            ""
        } else {
            &format!(" {variant}")
        };
        match self {
            Self::Bar(bar) => {
                bar.set_position(number.saturating_sub(1) as u64);
                bar.set_message(format!("round {}{variant}: {doing}", round + 1));
                Ok(())
            }
            Self::Lines => out::line(format_args!(
                "{number:>4}/{of}  round {}{variant}: {doing}",
                round + 1
            )),
            Self::Silent => Ok(()),
        }
    }

    fn end(&mut self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
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
