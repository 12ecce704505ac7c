//! The report: what the runs of a lab say, as a value; text, JSON and a page are made from it.

pub(crate) mod figures;
mod layouts;
pub(crate) mod machine;
pub(crate) mod page;
pub(crate) mod table;
#[cfg(test)]
mod tests;
mod verdict;

use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use figures::Figure;
use machine::Machine;

use super::result::{Faults, Latencies, Phase, Run};
use super::rounds::{Outcome, Plan};
use super::workload::{Rank, Workload};

/// All that a lab found.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    /// Of this program.
    pub(crate) version: &'static str,
    /// Milliseconds since 1970.
    pub(crate) started_unix_ms: u64,
    /// The same in words, UTC.
    pub(crate) started: String,
    /// Where it ran.
    pub(crate) machine: Machine,
    /// What was run.
    pub(crate) workload: Workload,
    /// Rounds.
    pub(crate) rounds: u32,
    /// Measured seconds of each run.
    pub(crate) seconds: f64,
    /// Seconds before them, each run.
    pub(crate) warmup_seconds: f64,
    /// Whether throughput ceilings were looked for, instead of latency at a rate.
    pub(crate) ceiling: bool,
    /// What the shares of a ceiling in the workload mean here.
    pub(crate) one_core_ceilings: Vec<OneCoreCeiling>,
    /// In the order of the workload; one with an empty name if it has none.
    pub(crate) variants: Vec<VariantReport>,
    /// Answers that were right, all runs together.
    pub(crate) verified: u64,
    /// What was wrong, all runs together.
    pub(crate) faults: Faults,
    /// Whether low handlers were never more at once than the layout allows, in any run.
    pub(crate) low_caps_held: bool,
    /// Each run by itself, in the order they were made.
    pub(crate) runs: Vec<RunRow>,
}

/// What one worker can do with one class alone.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct OneCoreCeiling {
    /// The variant it was measured for.
    pub(crate) variant: String,
    /// The class.
    pub(crate) class: String,
    /// Frames a second.
    pub(crate) frames_per_s: f64,
}

/// One variant under every layout.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct VariantReport {
    /// Its name; empty if the workload has none.
    pub(crate) name: String,
    /// In the order asked for.
    pub(crate) layouts: Vec<LayoutReport>,
    /// What the verdict goes by: `p99_us` (less is better) or `frames_per_s` (more is).
    pub(crate) measure: &'static str,
    /// Paired ratios of that measure, each layout to each other.
    pub(crate) comparisons: Vec<Comparison>,
    /// The layouts that are best, or not told apart from the best.
    pub(crate) best: Vec<String>,
    /// The first sentences of the verdict: who is best.
    pub(crate) headline: String,
    /// One paragraph.
    pub(crate) verdict: String,
}

/// One layout in one variant. Figures are medians over rounds.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct LayoutReport {
    /// Its name.
    pub(crate) name: &'static str,
    /// In words.
    pub(crate) about: &'static str,
    /// Its file.
    pub(crate) topology: String,
    /// Lines of it that say something.
    pub(crate) topology_lines: u64,
    /// Workers of ports and pools.
    pub(crate) workers: u64,
    /// Threads of the process, all; `None` where the system does not say.
    pub(crate) threads: Option<u64>,
    /// Most low handlers at once that it allows.
    pub(crate) low_cap: u64,
    /// Most that ran at once, counted in the handlers, over all runs.
    pub(crate) low_at_once_max: u64,
    /// CPU time of the server for a frame, all classes, microseconds.
    pub(crate) cpu_us_per_frame: f64,
    /// The same with the low class off; `None` if that was not run.
    pub(crate) cpu_us_per_frame_low_off: Option<f64>,
    /// Cores that the server kept busy.
    pub(crate) cpu_cores: f64,
    /// Cores that the driver kept busy.
    pub(crate) client_cpu_cores: f64,
    /// Context switches a frame, voluntary and not; `None` where the system does not say.
    pub(crate) switches_per_frame: Option<f64>,
    /// Sessions handed to a pool, a frame.
    pub(crate) hand_offs_per_frame: f64,
    /// In the order of the workload.
    pub(crate) classes: Vec<ClassReport>,
    /// Cores busy at a second of the run, mean over rounds.
    pub(crate) cpu_over_time: Vec<(f64, f64)>,
}

/// One class under one layout. Times in microseconds.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ClassReport {
    /// Its name.
    pub(crate) name: String,
    /// High or low.
    pub(crate) class: Rank,
    /// Frames a second that were due; `None` in a closed loop.
    pub(crate) offered_per_s: Option<f64>,
    /// Frames a second.
    pub(crate) frames_per_s: Option<Figure>,
    /// Frames due and never sent, all rounds.
    pub(crate) unsent: u64,
    /// From due to answer.
    pub(crate) latency: Option<LatencyReport>,
    /// The same with the low class off.
    pub(crate) latency_low_off: Option<LatencyReport>,
    /// p99 by p99 with the low class off, paired by round.
    pub(crate) p99_to_low_off: Option<Figure>,
    /// p99 of how late the driver was: part of the latencies, and not the server's.
    pub(crate) driver_late_p99_us: Option<f64>,
}

/// Latencies of a class; medians over rounds, but for `max` and the curve.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct LatencyReport {
    /// Answers measured, all rounds.
    pub(crate) samples: u64,
    /// Median.
    pub(crate) p50_us: f64,
    /// 99 of 100 are not longer.
    pub(crate) p99_us: Figure,
    /// 999 of 1000 are not longer.
    pub(crate) p99_9_us: f64,
    /// The longest of all rounds.
    pub(crate) max_us: f64,
    /// Share of answers, and the time they took at most; all rounds together.
    pub(crate) curve: Vec<(f64, f64)>,
}

/// How two layouts compare, paired by round.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Comparison {
    /// This one's measure ..
    pub(crate) layout: &'static str,
    /// .. by this one's.
    pub(crate) by: &'static str,
    /// The ratio.
    pub(crate) ratio: Figure,
}

/// One run of one class.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct RunRow {
    round: u32,
    variant: String,
    layout: String,
    phase: Phase,
    class: String,
    rank: Rank,
    offered_per_s: Option<f64>,
    frames_per_s: f64,
    p50_us: Option<f64>,
    p99_us: Option<f64>,
    p99_9_us: Option<f64>,
    max_us: Option<f64>,
    unsent: u64,
    verified: u64,
    faults: Faults,
    server_cpu_s: f64,
    client_cpu_s: f64,
    low_at_once_max: u64,
}

impl Report {
    /// What `outcome` says.
    pub(crate) fn new(plan: &Plan, outcome: &Outcome) -> Self {
        let variants = plan.workload.each_variant().into_iter();
        let variants =
            variants.map(|(name, workload)| layouts::variant(plan, outcome, &name, &workload));
        let mut faults = Faults::default();
        outcome
            .runs
            .iter()
            .for_each(|run| faults.add(&run.faults()));
        let classes = outcome.runs.iter().flat_map(|run| &run.classes);
        let held = |run: &Run| {
            run.server
                .low_cap
                .is_none_or(|cap| run.server.low_at_once_max <= cap)
        };
        let ceiling = |(variant, class, per_s): &(String, String, f64)| OneCoreCeiling {
            variant: variant.clone(),
            class: class.clone(),
            frames_per_s: *per_s,
        };
        let since = outcome
            .started
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Self {
            version: env!("CARGO_PKG_VERSION"),
            started_unix_ms: u64::try_from(since.as_millis()).unwrap_or(0),
            started: in_words(outcome.started),
            machine: Machine::this(plan.cores),
            workload: plan.workload.clone(),
            rounds: plan.rounds,
            seconds: plan.time.as_secs_f64(),
            warmup_seconds: plan.warmup.as_secs_f64(),
            ceiling: plan.ceiling,
            one_core_ceilings: outcome.ceilings.iter().map(ceiling).collect(),
            variants: variants.collect(),
            verified: classes.map(|class| class.verified).sum(),
            faults,
            low_caps_held: outcome.runs.iter().all(held),
            runs: outcome.runs.iter().flat_map(rows).collect(),
        }
    }
}

impl Report {
    /// The one-core ceilings, each class's once where variants have it in common.
    fn ceilings(&self) -> Vec<(&str, f64)> {
        let mut all: Vec<(&str, f64)> = Vec::new();
        for ceiling in &self.one_core_ceilings {
            let this = (ceiling.class.as_str(), ceiling.frames_per_s);
            if !all.contains(&this) {
                all.push(this);
            }
        }
        all
    }
}

fn rows(run: &Run) -> impl Iterator<Item = RunRow> {
    run.classes.iter().map(|class| {
        let some = !class.latency.is_empty();
        let at = |q: f64| some.then(|| micros(class.latency.value_at_quantile(q)));
        RunRow {
            round: run.round,
            variant: run.variant.clone(),
            layout: run.layout.clone(),
            phase: run.phase,
            class: class.name.clone(),
            rank: class.class,
            offered_per_s: class.offered_per_s,
            frames_per_s: class.frames_per_s,
            p50_us: at(0.5),
            p99_us: at(0.99),
            p99_9_us: at(0.999),
            max_us: at(1.0),
            unsent: class.unsent,
            verified: class.verified,
            faults: class.faults,
            server_cpu_s: run.server.cpu_s,
            client_cpu_s: run.client_cpu_s,
            low_at_once_max: run.server.low_at_once_max,
        }
    })
}

/// `2026-11-23 21:45 UTC`.
fn in_words(time: SystemTime) -> String {
    let seconds = time
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    let seconds = i64::try_from(seconds).unwrap_or(0);
    jiff::Timestamp::from_second(seconds).map_or_else(
        |_| String::from("an unknown time"),
        |stamp| stamp.strftime("%Y-%m-%d %H:%M UTC").to_string(),
    )
}

/// Microseconds of nanoseconds.
#[expect(
    clippy::cast_precision_loss,
    reason = "latencies are far below 2^53 ns"
)]
fn micros(nanos: u64) -> f64 {
    nanos as f64 / 1000.0
}

/// The value that a share `q` of all does not exceed.
fn quantile_us(latencies: &Latencies, q: f64) -> f64 {
    micros(latencies.value_at_quantile(q))
}
