//! From the runs of one variant to the figures of each layout.

use super::figures::{Figure, median};
use super::{
    ClassReport, Comparison, LatencyReport, LayoutReport, VariantReport, micros, quantile_us,
    verdict,
};
use crate::lab::layout::{Layout, TopologyText};
use crate::lab::result::{ClassRun, Latencies, Phase, Run, ServerRun, latencies};
use crate::lab::rounds::{Outcome, Plan};
use crate::lab::workload::{Class, Rank, Workload};

/// Shares of answers that a curve shows, as the odds that an answer is longer.
const CURVE_TO: f64 = 1e-5;

/// One variant under every layout.
pub(super) fn variant(
    plan: &Plan,
    outcome: &Outcome,
    name: &str,
    workload: &Workload,
) -> VariantReport {
    let main = if plan.ceiling {
        Phase::Ceiling
    } else {
        Phase::Full
    };
    let of = |layout: Layout, phase: Phase| -> Vec<&Run> {
        let runs = outcome.runs.iter();
        runs.filter(|run| run.variant == name && run.layout == layout.name() && run.phase == phase)
            .collect()
    };
    let layouts: Vec<_> = outcome
        .topologies
        .iter()
        .map(|(layout, topology)| {
            let (full, alone) = (of(*layout, main), of(*layout, Phase::LowOff));
            layout_report(*layout, topology, workload, &full, &alone)
        })
        .collect();
    let comparisons = compare(plan, workload, |layout| of(layout, main));
    let mut report = VariantReport {
        name: name.to_owned(),
        layouts,
        measure: if plan.ceiling {
            "frames_per_s"
        } else {
            "p99_us"
        },
        comparisons,
        best: Vec::new(),
        headline: String::new(),
        verdict: String::new(),
    };
    (report.best, report.headline, report.verdict) = verdict::verdict(plan, workload, &report);
    report
}

fn layout_report(
    layout: Layout,
    topology: &TopologyText,
    workload: &Workload,
    full: &[&Run],
    alone: &[&Run],
) -> LayoutReport {
    let over = |runs: &[&Run], value: &dyn Fn(&Run) -> f64| {
        let values: Vec<f64> = runs.iter().map(|run| value(run)).collect();
        median(&values)
    };
    let per_frame = |count: fn(&ServerRun) -> f64| {
        move |run: &Run| count(&run.server) / float(run.server.frames).max(1.0)
    };
    let figure = |count: fn(&ServerRun) -> f64| over(full, &per_frame(count)).unwrap_or(0.0);
    let cpu = |server: &ServerRun| server.cpu_s * 1e6;
    let both = full.iter().chain(alone);
    let class = |class: &Class| class_report(class, full, alone);
    LayoutReport {
        name: layout.name(),
        about: layout.about(),
        topology: topology.text.clone(),
        topology_lines: topology.lines(),
        workers: topology.workers,
        threads: full.iter().filter_map(|run| run.server.threads).max(),
        low_cap: topology.low_cap,
        low_at_once_max: both
            .map(|run| run.server.low_at_once_max)
            .max()
            .unwrap_or(0),
        cpu_us_per_frame: figure(cpu),
        cpu_us_per_frame_low_off: over(alone, &per_frame(cpu)),
        cpu_cores: over(full, &|run| run.server.cpu_s / run.seconds).unwrap_or(0.0),
        client_cpu_cores: over(full, &|run| run.client_cpu_s / run.seconds).unwrap_or(0.0),
        switches_per_frame: switches_per_frame(full),
        hand_offs_per_frame: figure(|server| float(server.hand_offs)),
        classes: workload.classes.iter().map(class).collect(),
        cpu_over_time: cpu_over_time(full),
    }
}

/// `None` where the system does not count them.
fn switches_per_frame(full: &[&Run]) -> Option<f64> {
    let all = full.iter().map(|run| {
        let server = &run.server;
        let switches = server.switches_voluntary? + server.switches_involuntary?;
        Some(float(switches) / float(server.frames).max(1.0))
    });
    median(&all.collect::<Option<Vec<_>>>()?)
}

fn class_report(class: &Class, full: &[&Run], alone: &[&Run]) -> ClassReport {
    let of = |runs: &[&Run]| -> Vec<(u32, ClassRun)> {
        let found = |run: &&Run| Some((run.round, run.class(&class.name)?.clone()));
        runs.iter().filter_map(found).collect()
    };
    let (full, alone) = (of(full), of(alone));
    let rates: Vec<f64> = full.iter().map(|(_, run)| run.frames_per_s).collect();
    let offered: Vec<f64> = full
        .iter()
        .filter_map(|(_, run)| run.offered_per_s)
        .collect();
    let p99 = |run: &ClassRun| quantile_us(&run.latency, 0.99);
    let pair = |(round, run): &(u32, ClassRun)| {
        let other = alone.iter().find(|(other, _)| other == round)?;
        Some((p99(run), p99(&other.1)))
    };
    let pairs: Vec<_> = full.iter().filter_map(pair).collect();
    let mut late = latencies();
    full.iter().for_each(|(_, run)| add(&mut late, &run.late));
    ClassReport {
        name: class.name.clone(),
        class: class.class,
        offered_per_s: median(&offered),
        frames_per_s: Figure::of(&rates),
        unsent: full.iter().map(|(_, run)| run.unsent).sum(),
        latency: latency(&full),
        latency_low_off: (class.class == Rank::High)
            .then(|| latency(&alone))
            .flatten(),
        p99_to_low_off: (class.class == Rank::High)
            .then(|| Figure::of_ratios(&pairs))
            .flatten(),
        driver_late_p99_us: (!late.is_empty()).then(|| quantile_us(&late, 0.99)),
    }
}

fn latency(runs: &[(u32, ClassRun)]) -> Option<LatencyReport> {
    let runs = runs
        .iter()
        .map(|(_, run)| &run.latency)
        .filter(|all| !all.is_empty());
    let runs: Vec<&Latencies> = runs.collect();
    let at = |q: f64| -> Vec<f64> { runs.iter().map(|run| quantile_us(run, q)).collect() };
    let mut all = latencies();
    runs.iter().for_each(|run| add(&mut all, run));
    Some(LatencyReport {
        samples: all.len(),
        p50_us: median(&at(0.5))?,
        p99_us: Figure::of(&at(0.99))?,
        p99_9_us: median(&at(0.999))?,
        max_us: micros(all.max()),
        curve: curve(&all),
    })
}

/// Up to where a percentile is more than the luck of ten answers.
fn curve(all: &Latencies) -> Vec<(f64, f64)> {
    let last = (10.0 / float(all.len()).max(1.0)).max(CURVE_TO);
    // Twenty points a decade: a line without corners.
    let odds = (0..=100).map(|step| 10f64.powf(-f64::from(step) / 20.0));
    odds.take_while(|odds| *odds >= last)
        .map(|odds| (1.0 - odds, quantile_us(all, 1.0 - odds)))
        .collect()
}

fn add(sum: &mut Latencies, more: &Latencies) {
    // Fails only for values beyond the bounds, which both share.
    let _ = sum.add(more);
}

/// Mean over rounds, look by look: the looks of all runs are at the same times.
fn cpu_over_time(runs: &[&Run]) -> Vec<(f64, f64)> {
    let looks = runs
        .iter()
        .map(|run| run.cpu_over_time.len())
        .min()
        .unwrap_or(0);
    let mean = |look: usize| {
        let sum = runs.iter().fold((0.0, 0.0), |sum, run| {
            let (at, cores) = run.cpu_over_time[look];
            (sum.0 + at, sum.1 + cores)
        });
        let count = float(runs.len() as u64);
        (sum.0 / count, sum.1 / count)
    };
    (0..looks).map(mean).collect()
}

/// What the verdict goes by, of one run: the worst p99 of the high classes, or the sum of what they
/// got done.
fn measure(plan: &Plan, workload: &Workload, run: &Run) -> f64 {
    let high = workload.high().filter_map(|class| run.class(&class.name));
    if plan.ceiling {
        return high.map(|class| class.frames_per_s).sum();
    }
    high.map(|class| quantile_us(&class.latency, 0.99))
        .fold(0.0, f64::max)
}

fn compare<'a>(
    plan: &Plan,
    workload: &Workload,
    of: impl Fn(Layout) -> Vec<&'a Run>,
) -> Vec<Comparison> {
    let mut all = Vec::new();
    for layout in &plan.layouts {
        for by in plan.layouts.iter().filter(|by| *by != layout) {
            let others = of(*by);
            let pair = |run: &Run| {
                let other = others.iter().find(|other| other.round == run.round)?;
                Some((measure(plan, workload, run), measure(plan, workload, other)))
            };
            let pairs: Vec<_> = of(*layout).into_iter().filter_map(pair).collect();
            all.extend(Figure::of_ratios(&pairs).map(|ratio| Comparison {
                layout: layout.name(),
                by: by.name(),
                ratio,
            }));
        }
    }
    all
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts of a run are far below 2^53"
)]
fn float(count: u64) -> f64 {
    count as f64
}
