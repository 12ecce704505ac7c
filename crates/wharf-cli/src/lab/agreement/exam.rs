//! The real side: what is measured here once, and what every model of this machine is judged by.
//!
//! All of it is in one file, written after each run, so that an exam that was ended goes on where
//! it was, and in several goes: minutes apart, it has seen more of what the machine does.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Effort;
use crate::exit::Failure;
use crate::lab::calibrate::{Measured, measure};
use crate::lab::layout::Layout;
use crate::lab::others::Others;
use crate::lab::result::{ClassRun, Latencies, Phase, Run};
use crate::lab::rounds::{Ceiling, Ground, Plan};
use crate::lab::workload::{Class, Workload};

/// Where the peers are: on a core of their own, as if on another machine, and ahead of the server
/// on one of its cores, so that its threads spread over several.
pub(crate) const GROUNDS: [Ground; 2] = [Ground::Apart, Ground::Beside];
/// Quantiles that are kept of each latency.
pub(crate) const QUANTILES: [f64; 8] = [0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999];

/// All that was measured on one machine with one build.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Exam {
    /// Names both.
    pub(crate) key: String,
    /// How much is to be run.
    pub(crate) effort: Effort,
    /// What the model's costs are made of: none of the runs below.
    pub(crate) measured: Measured,
    /// By workload.
    pub(crate) ceilings: Vec<(String, Vec<Ceiling>)>,
    /// In the order they were made.
    pub(crate) runs: Vec<RealRun>,
}

/// One run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RealRun {
    pub(crate) ground: Ground,
    /// Without its variant.
    pub(crate) workload: String,
    pub(crate) variant: String,
    pub(crate) layout: String,
    pub(crate) phase: Phase,
    pub(crate) round: u32,
    /// Cores that other processes kept busy, where the system says.
    pub(crate) others: Option<f64>,
    /// Cores that the server and its peers kept busy.
    pub(crate) cpu: (f64, f64),
    /// Thread switches of the server a second: it waited, it was preempted.
    pub(crate) switches_per_s: (f64, f64),
    /// In the order of the workload.
    pub(crate) classes: Vec<Numbers>,
}

/// What one class got in a run, real or simulated.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Numbers {
    /// Frames a second.
    pub(crate) per_s: f64,
    /// Microseconds, at [`QUANTILES`]; zeroes without answers.
    pub(crate) latency_us: [f64; 8],
    /// From due to sent, in microseconds: how far behind the driver was.
    pub(crate) late_p99_us: f64,
}

impl RealRun {
    fn new(plan: &Plan, run: &Run, others: Option<f64>) -> Self {
        let per_s = |count: Option<u64>| {
            let count = Duration::from_nanos(count.unwrap_or(0)).as_secs_f64() * 1e9;
            count / run.seconds.max(0.001)
        };
        let numbers =
            |class: &ClassRun| Numbers::new(class.frames_per_s, &class.latency, &class.late);
        Self {
            ground: plan.ground,
            workload: plan.workload_arg.clone(),
            variant: run.variant.clone(),
            layout: run.layout.clone(),
            phase: run.phase,
            round: run.round,
            others,
            cpu: (
                run.server.cpu_s / run.seconds.max(0.001),
                run.client_cpu_s / run.seconds.max(0.001),
            ),
            switches_per_s: (
                per_s(run.server.switches_voluntary),
                per_s(run.server.switches_involuntary),
            ),
            classes: run.classes.iter().map(numbers).collect(),
        }
    }
}

impl Numbers {
    /// Of what was counted.
    pub(super) fn new(per_s: f64, latency: &Latencies, late: &Latencies) -> Self {
        Self {
            per_s,
            latency_us: QUANTILES.map(|at| us(latency, at)),
            late_p99_us: us(late, 0.99),
        }
    }

    /// A latency in microseconds.
    pub(super) fn at(&self, quantile: f64) -> f64 {
        let both = QUANTILES.iter().zip(self.latency_us);
        let mut found = both.filter(|(at, _)| (**at - quantile).abs() < 1e-9);
        found.next().map_or(0.0, |(_, us)| us)
    }
}

/// A latency in microseconds; 0 without any.
fn us(latency: &Latencies, at: f64) -> f64 {
    let nanos = match latency.len() {
        0 => 0,
        _ => latency.value_at_quantile(at),
    };
    Duration::from_nanos(nanos).as_secs_f64() * 1e6
}

impl Exam {
    /// The one in this file, if there is one of this version.
    pub(crate) fn read(file: &Path) -> Option<Self> {
        serde_json::from_reader(BufReader::new(File::open(file).ok()?)).ok()
    }

    fn write(&self, file: &Path) -> Result<(), Failure> {
        let unwritten = |error: std::io::Error| {
            Failure::machine(format!("could not write {}: {error}", file.display()))
        };
        let text = serde_json::to_string(self).map_err(|error| unwritten(error.into()))?;
        // Whoever ends this program meets the old file or the new one.
        let new = file.with_extension("new");
        std::fs::write(&new, text).map_err(unwritten)?;
        std::fs::rename(&new, file).map_err(unwritten)
    }

    /// Makes what is missing of it; `step` hears of each run before it begins.
    ///
    /// # Errors
    /// A run that could not be made, a file that could not be written.
    pub(crate) fn take(
        file: &Path,
        key: &str,
        effort: &Effort,
        cores: usize,
        mut step: impl FnMut(&str) -> Result<(), Failure>,
    ) -> Result<Self, Failure> {
        let out = file.parent().map_or_else(PathBuf::new, Path::to_owned);
        let started = Self::read(file).filter(|exam| exam.key == key && exam.effort.same(effort));
        let mut exam = if let Some(mut exam) = started {
            exam.effort = effort.clone();
            exam
        } else {
            Self {
                key: key.to_owned(),
                effort: effort.clone(),
                measured: measure(cores, &out, |what| step(&format!("calibrating: {what}")))?,
                ceilings: Vec::new(),
                runs: Vec::new(),
            }
        };
        exam.write(file)?;
        for round in 0..effort.rounds {
            for name in Workload::sample_names() {
                for ground in GROUNDS {
                    let plan = plan(name, ground, effort, cores, &out)?;
                    exam.round(&plan, round, file, &mut step)?;
                }
            }
        }
        Ok(exam)
    }

    /// What is missing of one round of one workload.
    fn round(
        &mut self,
        plan: &Plan,
        round: u32,
        file: &Path,
        step: &mut impl FnMut(&str) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let variants = plan.workload.each_variant();
        let workload = plan.workload_arg.clone();
        let of = |ceilings: &&(String, Vec<Ceiling>)| ceilings.0 == workload;
        let ceilings = if let Some((_, ceilings)) = self.ceilings.iter().find(of) {
            ceilings.clone()
        } else {
            let ceilings =
                plan.ceilings(&variants, &mut |at| step(&format!("{} alone", at.what)))?;
            self.ceilings.push((workload.clone(), ceilings.clone()));
            ceilings
        };
        let mut alone: Vec<(Layout, Vec<Class>)> = Vec::new();
        for (variant, workload) in &variants {
            for (layout, phase) in plan.order(workload, round) {
                // Variants of the links are alike without the links.
                let high = (layout, workload.high().cloned().collect());
                if phase == Phase::LowOff && alone.contains(&high) {
                    continue;
                }
                if phase == Phase::LowOff {
                    alone.push(high);
                }
                if self.has(plan, variant, layout.name(), phase, round) {
                    continue;
                }
                step(&format!(
                    "round {} of {}: {} {variant} {} {:?} {phase:?}",
                    round + 1,
                    plan.rounds,
                    plan.workload_arg,
                    layout.name(),
                    plan.ground
                ))?;
                let others = Others::start();
                let run = plan.make((variant, workload), layout, phase, round, &ceilings)?;
                let run = RealRun::new(plan, &run, others.and_then(Others::cores));
                self.runs.push(run);
                self.write(file)?;
            }
        }
        Ok(())
    }

    fn has(&self, plan: &Plan, variant: &str, layout: &str, phase: Phase, round: u32) -> bool {
        let is = |run: &RealRun| {
            (run.ground, run.phase, run.round) == (plan.ground, phase, round)
                && run.workload == plan.workload_arg
                && run.variant == variant
                && run.layout == layout
        };
        self.runs.iter().any(is)
    }
}

/// The plan of one workload's rounds.
pub(super) fn plan(
    name: &str,
    ground: Ground,
    effort: &Effort,
    cores: usize,
    out: &Path,
) -> Result<Plan, Failure> {
    Ok(Plan {
        workload_arg: name.to_owned(),
        workload: Workload::find(name).map_err(Failure::usage)?,
        layouts: effort.layouts.clone(),
        rounds: effort.rounds,
        time: effort.time,
        warmup: effort.time / 4,
        ceiling: false,
        cores,
        out: out.to_owned(),
        ground,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(ground: Ground, layout: &str, round: u32) -> RealRun {
        RealRun {
            ground,
            workload: "fair".into(),
            variant: String::new(),
            layout: layout.into(),
            phase: Phase::Full,
            round,
            others: Some(0.01),
            cpu: (0.5, 0.4),
            switches_per_s: (100.0, 2.0),
            classes: vec![Numbers {
                per_s: 10.0,
                latency_us: [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0],
                late_p99_us: 1.0,
            }],
        }
    }

    #[test]
    fn an_exam_that_was_ended_knows_what_it_has() {
        let dir = std::env::temp_dir().join(format!("wharf-exam-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let file = dir.join("exam.json");
        assert!(Exam::read(&file).is_none(), "there is none yet");
        let mut exam = Exam {
            key: "here".into(),
            effort: Effort::default(),
            measured: Measured::example(),
            ceilings: vec![(
                "fair".into(),
                vec![(String::new(), "game".into(), 30_000.0)],
            )],
            runs: vec![run(Ground::Apart, "lanes", 0)],
        };
        exam.write(&file).unwrap();
        exam.runs.push(run(Ground::Beside, "lanes", 0));
        exam.write(&file).unwrap();
        let kept = Exam::read(&file).unwrap();
        std::fs::remove_dir_all(&dir).unwrap();
        assert_eq!((kept.key.as_str(), kept.runs.len()), ("here", 2));
        assert_eq!(kept.ceilings, exam.ceilings);
        let plan = |ground| plan("fair", ground, &kept.effort, 2, &dir).unwrap();
        let has = |ground, layout, round| kept.has(&plan(ground), "", layout, Phase::Full, round);
        assert!(has(Ground::Apart, "lanes", 0) && has(Ground::Beside, "lanes", 0));
        assert!(!has(Ground::Beside, "lanes", 1), "another round");
        assert!(!has(Ground::Apart, "shared", 0), "another layout");
        assert!((kept.runs[0].classes[0].at(0.99) - 7.0).abs() < 1e-9);
    }
}
