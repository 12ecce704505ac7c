//! Reports of runs that are made up: the verdict follows the figures, whatever they are.

use std::time::{Duration, SystemTime};

use super::page::page;
use super::*;
use crate::lab::layout::{Layout, place};
use crate::lab::result::{ClassRun, ServerRun, latencies};

const LAYOUTS: [Layout; 3] = [Layout::Shared, Layout::Selective, Layout::Lanes];

fn plan(rounds: u32) -> Plan {
    let workload = r#"
        name = "made up"
        description = "less than <nothing>"
        classes = [
            { name = "game", role = "server", class = "high", load = { rate_per_s = 100 } },
            { name = "chat", role = "client", class = "low", load = { saturate = true } },
        ]
    "#;
    Plan {
        workload_arg: "made up".into(),
        workload: Workload::parse(workload, "made up").unwrap(),
        layouts: LAYOUTS.to_vec(),
        rounds,
        time: Duration::from_secs(1),
        warmup: Duration::ZERO,
        ceiling: false,
        cores: 4,
        out: "nowhere".into(),
        ground: crate::lab::rounds::Ground::Shared,
    }
}

/// A class whose every frame took `us`.
fn class(name: &str, class: Rank, us: u64, per_s: f64) -> ClassRun {
    let mut latency = latencies();
    latency.record_n(us * 1000, 1000).unwrap();
    ClassRun {
        name: name.into(),
        class,
        offered_per_s: (class == Rank::High).then_some(100.0),
        frames_per_s: per_s,
        latency,
        late: latencies(),
        unsent: 0,
        verified: 1000,
        faults: Faults::default(),
    }
}

fn run(layout: Layout, round: u32, phase: Phase, us: u64) -> Run {
    let low = if phase == Phase::Full { 50.0 } else { 0.0 };
    Run {
        layout: layout.name().into(),
        round,
        variant: String::new(),
        phase,
        seconds: 1.0,
        classes: vec![
            class("game", Rank::High, us, 100.0),
            class("chat", Rank::Low, 3000, low),
        ],
        server: ServerRun {
            cpu_s: 0.5,
            frames: 1000,
            low_at_once_max: 1,
            low_cap: Some(1),
            ..ServerRun::default()
        },
        client_cpu_s: 0.25,
        cpu_over_time: vec![(0.1, 0.5), (0.2, 1.5)],
    }
}

/// A report of seven rounds in which the machine gets slower and slower; p99 by layout and round.
fn report(p99: impl Fn(Layout, u32) -> u64) -> Report {
    let mut runs = Vec::new();
    for round in 0..7 {
        let drift = u64::from(round + 1);
        for layout in LAYOUTS {
            runs.push(run(layout, round, Phase::Full, p99(layout, round) * drift));
            runs.push(run(layout, round, Phase::LowOff, 100 * drift));
        }
    }
    of_runs(runs, 7)
}

fn of_runs(runs: Vec<Run>, rounds: u32) -> Report {
    let plan = plan(rounds);
    let topology = |layout: Layout| (layout, place(layout, 4, &plan.workload, &[]));
    let outcome = Outcome {
        started: SystemTime::UNIX_EPOCH,
        ceilings: Vec::new(),
        runs,
        topologies: LAYOUTS.into_iter().map(topology).collect(),
    };
    Report::new(&plan, &outcome)
}

#[test]
fn whoever_has_the_lowest_p99_wins() {
    for winner in LAYOUTS {
        let report = report(|layout, _| if layout == winner { 200 } else { 400 });
        let variant = &report.variants[0];
        assert_eq!(variant.best, [winner.name()]);
        let said = &variant.verdict;
        let start = format!("For game, {} is best: its p99 is 800 µs", winner.name());
        assert!(said.starts_with(&start), "{said}");
        assert!(
            said.contains("2.00 times [2.00 .. 2.00] under"),
            "drift cancels out: {said}"
        );
        assert!(
            said.contains("is 2.00 times [2.00 .. 2.00] what it is with the low"),
            "{said}"
        );
    }
}

#[test]
fn noise_has_no_winner() {
    let noisy = |layout: Layout, round: u32| {
        let shift = if layout == Layout::Shared { 0 } else { 3 };
        200 + u64::from((round * 5 + shift) % 7) * 30
    };
    let report = report(noisy);
    let variant = &report.variants[0];
    assert_eq!(variant.best.len(), 3);
    assert!(
        variant
            .verdict
            .starts_with("No layout differs from the best beyond noise")
    );
}

#[test]
fn a_tie_is_told_as_a_tie() {
    let report = report(|layout, round| match layout {
        Layout::Shared => 5000,
        Layout::Lanes => 200 + u64::from(round % 3) * 20,
        _ => 200 + u64::from((round + 1) % 3) * 20,
    });
    let variant = &report.variants[0];
    assert_eq!(variant.best.len(), 2, "{}", variant.verdict);
    assert!(
        variant.verdict.contains("is not told apart from it"),
        "{}",
        variant.verdict
    );
    assert!(
        variant.verdict.contains("under shared."),
        "{}",
        variant.verdict
    );
}

#[test]
fn one_round_is_no_evidence() {
    let runs = LAYOUTS.map(|layout| run(layout, 0, Phase::Full, 100 + layout as u64));
    let report = of_runs(runs.to_vec(), 1);
    let variant = &report.variants[0];
    assert!(
        variant.verdict.starts_with("One round can't tell"),
        "{}",
        variant.verdict
    );
    assert!(variant.layouts[0].classes[0].p99_to_low_off.is_none());
    assert_eq!(
        variant.layouts[0].classes[0]
            .latency
            .as_ref()
            .unwrap()
            .p99_us
            .interval,
        None
    );
}

#[test]
fn a_cap_that_did_not_hold_is_a_fault() {
    let mut runs: Vec<_> = LAYOUTS
        .map(|layout| run(layout, 0, Phase::Full, 100))
        .to_vec();
    assert!(of_runs(runs.clone(), 1).low_caps_held);
    runs[2].server.low_at_once_max = 2;
    let report = of_runs(runs, 1);
    assert!(!report.low_caps_held);
    let said = &report.variants[0].verdict;
    assert!(
        said.contains("FAULT: under lanes more low handlers"),
        "{said}"
    );
    assert!(page(&report).contains("class=\"verdict fault\""));
}

#[test]
fn what_was_not_carried_is_said() {
    let mut runs: Vec<_> = LAYOUTS
        .map(|layout| run(layout, 0, Phase::Full, 100))
        .to_vec();
    runs[0].classes[0].frames_per_s = 60.0;
    let said = of_runs(runs, 1).variants.remove(0).verdict;
    assert!(
        said.contains("Shared did not carry what was due."),
        "{said}"
    );
}

#[test]
fn a_driver_that_was_late_itself_is_told() {
    let mut runs: Vec<_> = LAYOUTS
        .map(|layout| run(layout, 0, Phase::Full, 100))
        .to_vec();
    let said = |runs: &[Run]| of_runs(runs.to_vec(), 1).variants.remove(0).verdict;
    for (late_us, told) in [(40, false), (60, true)] {
        for run in &mut runs {
            run.classes[0].late = latencies();
            run.classes[0].late.record_n(late_us * 1000, 1000).unwrap();
        }
        let said = said(&runs);
        assert_eq!(said.contains("one in a hundred 60 µs late"), told, "{said}");
    }
}

/// Some systems count no context switches: zero would look like the best figure there is.
#[test]
fn what_a_system_does_not_count_is_no_zero() {
    let unsaid = report(|_, _| 200);
    let verdict = &unsaid.variants[0].verdict;
    assert!(
        verdict.contains("context switches that this system does not count"),
        "{verdict}"
    );
    assert_eq!(unsaid.variants[0].layouts[0].threads, None);
    let mut counted = run(Layout::Shared, 0, Phase::Full, 200);
    counted.server.switches_voluntary = Some(900);
    counted.server.switches_involuntary = Some(100);
    counted.server.threads = Some(3);
    let said = of_runs(vec![counted], 1);
    let shared = &said.variants[0].layouts[0];
    assert_eq!(shared.switches_per_frame, Some(1.0));
    assert_eq!(shared.threads, Some(3));
}

#[test]
fn the_page_and_the_text_show_every_layout() {
    let report = report(|layout, _| 200 + 100 * layout as u64);
    let (page, text) = (page(&report), report.to_string());
    for layout in LAYOUTS {
        assert!(page.contains(layout.name()) && text.contains(layout.name()));
    }
    assert!(page.contains("less than &lt;nothing&gt;") && !page.contains("<nothing>"));
    assert!(page.contains("1970-01-01 00:00 UTC"));
    assert!(
        !page.contains("NaN") && !page.contains("inf"),
        "every number is one"
    );
    assert!(
        text.contains("each came once, in order, with the right bytes"),
        "{text}"
    );
}
