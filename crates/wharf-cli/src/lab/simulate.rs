//! `wharf lab --simulate`: answers for a machine that this one is not, once the model has been
//! shown to agree with this one.

use std::fs::File;
use std::hash::Hasher as _;
use std::io::Read as _;
use std::path::PathBuf;
use std::time::Duration;

use super::agreement::exam::Exam;
use super::agreement::{self, Agreement, Effort};
use super::calibrate::{Calibration, scenario};
use super::layout::{Layout, alone, place};
use super::model::input::{Costs, FarEnd};
use super::model::run::{Outcome, simulate};
use super::result::Latencies;
use super::workload::{Class, Load, Rank, Workload};
use crate::exit::{Exit, Failure};
use crate::out;

/// Simulated time that is measured, and before it.
const TIME: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(5));
/// Frames on their way where a ceiling is looked for.
const CEILING_DEPTH: u32 = 1;

/// What is asked.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    /// The load.
    pub(crate) workload: Workload,
    /// Compared.
    pub(crate) layouts: Vec<Layout>,
    /// Cores of the machine that is asked about.
    pub(crate) cores: usize,
    /// Workers of the high class's port or pool.
    pub(crate) workers: usize,
    /// Cores of this machine.
    pub(crate) here: usize,
    /// Where the agreement is kept, and the files of the runs.
    pub(crate) out: PathBuf,
    /// Real runs with this effort; else those that are kept, or the usual ones.
    pub(crate) anew: Option<Effort>,
    /// Real runs of another machine or build.
    pub(crate) exam: Option<PathBuf>,
}

/// The file that is kept between two questions: real runs of one machine and one build.
const EXAM: &str = "exam.json";

/// What an answer rests on.
struct Ground {
    calibration: Calibration,
    agreement: Agreement,
}

/// Answers, or refuses with the table of the agreement.
///
/// # Errors
/// What could not be run, read or written.
pub(crate) fn answer(question: &Question) -> Result<Exit, Failure> {
    std::fs::create_dir_all(&question.out)
        .map_err(|error| Failure::usage(format!("--out {}: {error}", question.out.display())))?;
    let ground = ground(question)?;
    let file = question.out.join("agreement.json");
    let text = serde_json::to_string(&ground.agreement);
    let written = text
        .map_err(std::io::Error::from)
        .and_then(|text| std::fs::write(&file, text));
    written.map_err(|error| {
        Failure::machine(format!("could not write {}: {error}", file.display()))
    })?;
    for line in ground.agreement.table() {
        out::line(line)?;
    }
    if !ground.agreement.holds() {
        return Err(Failure::fault(format!(
            "the model does not agree with this machine, so it does not answer for {} cores.{} On \
             a quiet machine, with more rounds, it may: wharf lab --simulate --agree --rounds 50",
            question.cores,
            ground.agreement.disturbed()
        )));
    }
    out::line("")?;
    for (variant, workload) in question.workload.each_variant() {
        let mut factors = vec![1];
        if question.workers > 1 {
            factors.push(question.workers);
        }
        for factor in factors {
            one_load(
                question,
                &variant,
                &workload,
                factor,
                ground.calibration.costs,
            )?;
        }
    }
    out::line(ground.agreement.bound())?;
    Ok(Exit::Done)
}

/// One table: every layout at the workload's rates times `factor`.
fn one_load(
    question: &Question,
    variant: &str,
    workload: &Workload,
    factor: usize,
    costs: Costs,
) -> Result<(), Failure> {
    let costs = costs.on(question.cores);
    let ceilings = ceilings(question, workload, costs)?;
    let workload = times(workload, factor);
    let name = if variant.is_empty() { "" } else { "/" };
    out::line(format!(
        "{}{name}{variant} on {} cores, {} workers for the high class, rates of the workload times \
         {factor}, peers on another machine:",
        workload.name, question.cores, question.workers
    ))?;
    let [p50, p99, p999, alone] = ["p50 us", "p99 us", "p99.9 us", "alone p99"];
    out::line(format!(
        "  {:18} {:8} {:>9} {:>8} {p50:>9} {p99:>9} {p999:>9} {alone:>9} {:>7} {:>6} {:>10} {:>11}",
        "layout", "class", "frames/s", "unsent", "threads", "cores", "switches/s", "hand-offs/s"
    ))?;
    for layout in &question.layouts {
        let (full, threads) = one_run(question, *layout, &workload, &ceilings, costs)?;
        let (off, _) = one_run(question, *layout, &workload.low_off(), &ceilings, costs)?;
        let got = full.classes.iter().zip(&off.classes);
        let rows = workload.classes.iter().zip(got);
        for (class, (got, got_alone)) in rows.filter(|(class, _)| class.load != Load::Silent) {
            let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|at| us(&got.latency, at));
            let alone = match class.class {
                Rank::High => us(&got_alone.latency, 0.99),
                Rank::Low => String::new(),
            };
            out::line(format!(
                "  {:18} {:8} {:>9.0} {:>8} {p50:>9} {p99:>9} {p999:>9} {alone:>9} {threads:>7} \
                 {:>6.2} {:>10.0} {:>11.0}",
                layout.name(),
                class.name,
                got.frames_per_s,
                got.unsent,
                full.cpu,
                full.switches_per_s,
                full.hand_offs_per_s
            ))?;
        }
    }
    out::line("")
}

/// One layout, and how many threads it has.
fn one_run(
    question: &Question,
    layout: Layout,
    workload: &Workload,
    ceilings: &[(String, f64)],
    costs: Costs,
) -> Result<(Outcome, u64), Failure> {
    let topology = place(layout, question.workers, workload, &[]);
    let cores = question.cores;
    let mut scenario = scenario(workload, &topology.text, cores, ceilings, costs, TIME, 1)?;
    scenario.far_end = FarEnd::Apart;
    Ok((simulate(&scenario), topology.workers))
}

fn us(latency: &Latencies, at: f64) -> String {
    let value = Duration::from_nanos(latency.value_at_quantile(at));
    format!("{:.0}", value.as_secs_f64() * 1e6)
}

/// The one-core ceilings that the workload asks for, by the model.
fn ceilings(
    question: &Question,
    workload: &Workload,
    costs: Costs,
) -> Result<Vec<(String, f64)>, Failure> {
    let asks = |class: &&Class| matches!(class.load, Load::ShareOfCeiling { .. });
    let mut ceilings = Vec::new();
    for (at, class) in workload
        .classes
        .iter()
        .enumerate()
        .filter(|(_, class)| asks(class))
    {
        let mut only = workload.clone();
        for other in &mut only.classes {
            other.load = Load::Silent;
        }
        only.classes[at].load = Load::Saturate {
            depth: CEILING_DEPTH,
        };
        let topology = alone(&class.name, &only, &[]);
        let mut scenario = scenario(
            &only,
            &topology.text,
            question.cores.max(2),
            &[],
            costs,
            TIME,
            1,
        )?;
        scenario.far_end = FarEnd::Apart;
        let outcome = simulate(&scenario);
        ceilings.push((class.name.clone(), outcome.classes[at].frames_per_s));
    }
    Ok(ceilings)
}

/// The workload with its schedules so many times as fast; closed loops stay what they are.
fn times(workload: &Workload, factor: usize) -> Workload {
    let mut faster = workload.clone();
    let whole = u32::try_from(factor).unwrap_or(1);
    let by = f64::from(whole);
    for class in &mut faster.classes {
        match &mut class.load {
            Load::Rate { per_s, .. } => *per_s *= by,
            Load::ShareOfCeiling { share, .. } => *share *= by,
            Load::Bursts { frames, .. } => *frames = frames.saturating_mul(whole),
            Load::Saturate { .. } | Load::Silent => {}
        }
    }
    faster
}

/// Real runs, the model's costs and their agreement: of the exam that is asked for, or of this
/// machine and build, which is taken first if it has not been.
fn ground(question: &Question) -> Result<Ground, Failure> {
    let exam = match &question.exam {
        Some(file) => {
            let exam = Exam::read(file).ok_or_else(|| {
                Failure::usage(format!("--exam {}: it holds no exam", file.display()))
            })?;
            out::line(format!("real runs of {}:", exam.key))?;
            exam
        }
        None => own_exam(question)?,
    };
    let calibration = exam.measured.calibration()?;
    for fit in &calibration.fits {
        out::note(format_args!(
            "  {}: real {:.0} ns, model {:.0} ns",
            fit.what, fit.real, fit.model
        ));
    }
    let agreement = agreement::agreement(&exam, &calibration, |what| {
        out::note(format_args!("agreement: {what}"));
        Ok(())
    })?;
    Ok(Ground {
        calibration,
        agreement,
    })
}

fn own_exam(question: &Question) -> Result<Exam, Failure> {
    let file = question.out.join(EXAM);
    let key = key(question.here)?;
    let kept = Exam::read(&file).filter(|exam| exam.key == key);
    let effort = match (&question.anew, &kept) {
        (Some(effort), _) => effort.clone(),
        (None, Some(kept)) => kept.effort.clone(),
        (None, None) => Effort::default(),
    };
    if question.here < 2 {
        return Err(Failure::machine(
            "the model is compared with real runs whose server and peers have a core each, and \
             this machine has one",
        ));
    }
    let exam = Exam::take(&file, &key, &effort, question.here, |what| {
        out::note(what);
        Ok(())
    })?;
    out::line(format!(
        "real runs of this machine and build, kept in {}:",
        file.display()
    ))?;
    Ok(exam)
}

/// Names this machine and this build: an agreement says nothing of another.
fn key(cores: usize) -> Result<String, Failure> {
    let program = std::env::current_exe().and_then(File::open);
    let mut program = program
        .map_err(|error| Failure::machine(format!("could not read this program: {error}")))?;
    let mut hasher = std::hash::DefaultHasher::new();
    let mut block = vec![0; 64 * 1024];
    loop {
        match program.read(&mut block) {
            Ok(0) => break,
            Ok(count) => hasher.write(&block[..count]),
            Err(error) => {
                return Err(Failure::machine(format!(
                    "could not read this program: {error}"
                )));
            }
        }
    }
    // Where the system says which it is; elsewhere the build and the cores must do.
    let kernel = std::fs::read_to_string("/proc/version").unwrap_or_default();
    let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cpu = cpus
        .lines()
        .find(|line| line.starts_with("model name"))
        .unwrap_or_default();
    Ok(format!(
        "{:016x} {cores} cores, {cpu}, {}",
        hasher.finish(),
        kernel.trim()
    ))
}
