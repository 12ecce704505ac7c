//! One paragraph that says what the figures say, and no more: a layout wins only where the interval
//! of the paired ratio excludes 1.

use super::figures::Figure;
use super::table::{count, listed, ratio, time};
use super::{ClassReport, LayoutReport, VariantReport};
use crate::lab::rounds::Plan;
use crate::lab::workload::{Rank, Workload};

/// A layout that answers less than this share of what was due has not carried the load.
const CARRIED: f64 = 0.97;

/// A driver whose own p99 of lateness is more than this share of a p99 is much of it.
const LATE: f64 = 0.5;

/// A layout, and its measure's median.
type Ranked<'a> = (&'a LayoutReport, f64);

/// The best layouts, the first sentences, and the whole paragraph.
pub(super) fn verdict(
    plan: &Plan,
    workload: &Workload,
    report: &VariantReport,
) -> (Vec<String>, String, String) {
    let ranked = rank(plan, report);
    let Some(best) = ranked.first() else {
        let nothing = "Nothing was measured.".to_owned();
        return (Vec::new(), nothing.clone(), nothing);
    };
    let by_best = |layout: &str| {
        let found = report.comparisons.iter();
        found
            .filter(|pair| pair.layout == layout && pair.by == best.0.name)
            .map(|pair| pair.ratio)
            .next()
    };
    let others = || {
        ranked[1..]
            .iter()
            .filter_map(|(l, _)| Some((l.name, by_best(l.name)?)))
    };
    let tied: Vec<&str> = others()
        .filter(|(_, ratio)| ratio.differs_from(1.0) == Some(false))
        .map(|(name, _)| name)
        .collect();
    let behind: Vec<String> = others()
        .filter(|(_, ratio)| ratio.differs_from(1.0) != Some(false))
        .map(|(name, figure)| format!("{} under {name}", ratio(&figure)))
        .collect();
    let mut said = vec![
        headline(plan, workload, &ranked, &tied, behind.is_empty()),
        by_the_best(plan, &behind),
        low_cost(&ranked),
        low_share(&ranked),
        price(&ranked),
        late_driver(plan, best.0),
        not_carried(plan, report),
        caps(workload, report),
    ];
    said.retain(|sentence| !sentence.is_empty());
    let mut winners = vec![best.0.name.to_owned()];
    winners.extend(tied.iter().map(|&name| name.to_owned()));
    (winners, said[0].clone(), said.join(" "))
}

/// Best first.
fn rank<'a>(plan: &Plan, report: &'a VariantReport) -> Vec<Ranked<'a>> {
    let measured = |layout: &'a LayoutReport| Some((layout, measure(plan, layout)?));
    let mut ranked: Vec<Ranked<'_>> = report.layouts.iter().filter_map(measured).collect();
    ranked.sort_by(|a, b| {
        let order = a.1.total_cmp(&b.1);
        if plan.ceiling { order.reverse() } else { order }
    });
    ranked
}

fn high(layout: &LayoutReport) -> impl Iterator<Item = &ClassReport> {
    layout
        .classes
        .iter()
        .filter(|class| class.class == Rank::High)
}

fn measure(plan: &Plan, layout: &LayoutReport) -> Option<f64> {
    if plan.ceiling {
        let rates: Vec<f64> = high(layout)
            .filter_map(|class| Some(class.frames_per_s?.median))
            .collect();
        return (!rates.is_empty()).then(|| rates.iter().sum());
    }
    let p99 = |class: &ClassReport| Some(class.latency.as_ref()?.p99_us.median);
    high(layout).filter_map(p99).reduce(f64::max)
}

fn headline(
    plan: &Plan,
    workload: &Workload,
    ranked: &[Ranked<'_>],
    tied: &[&str],
    nobody_behind: bool,
) -> String {
    let names: Vec<&str> = workload.high().map(|class| class.name.as_str()).collect();
    let (names, rounds) = (listed(&names), plan.rounds);
    let value = |value: f64| {
        if plan.ceiling {
            format!("{} frames/s", count(value))
        } else {
            time(value)
        }
    };
    let what = if plan.ceiling {
        "throughput ceiling"
    } else {
        "p99"
    };
    let (best, figure) = ranked[0];
    let Some((worst, last)) = ranked[1..].last() else {
        return format!(
            "Only {} was run: the {what} of {names} is {}.",
            best.name,
            value(figure)
        );
    };
    let caution = match rounds {
        1 => "One round can't tell a difference from noise: this is a look, not a finding. ",
        2 => "Two rounds can't tell a difference from noise: this is a look, not a finding. ",
        _ => "",
    };
    if nobody_behind {
        return format!(
            "No layout differs from the best beyond noise: the {what} of {names} is {} under {} \
             and {} under {}, and the intervals of all paired ratios to the best include 1.",
            value(figure),
            best.name,
            value(*last),
            worst.name
        );
    }
    let ties = if tied.is_empty() {
        String::new()
    } else {
        let (is, its) = if tied.len() == 1 {
            ("is", "its ratio")
        } else {
            ("are", "their ratios")
        };
        format!(
            " {} {is} not told apart from it: the intervals of {its} include 1.",
            capital(&listed(tied))
        )
    };
    let leads = if rounds < 3 { "comes first" } else { "is best" };
    format!(
        "{caution}For {names}, {} {leads}: its {what} is {}, the median of {}.{ties}",
        best.name,
        value(figure),
        super::table::rounds(rounds),
    )
}

/// The others, by the best.
fn by_the_best(plan: &Plan, behind: &[String]) -> String {
    if behind.is_empty() {
        return String::new();
    }
    let what = if plan.ceiling {
        "The ceiling"
    } else {
        "The p99"
    };
    let all: Vec<&str> = behind.iter().map(String::as_str).collect();
    format!("{what} is {}.", listed(&all))
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(chars).collect()
    })
}

/// What the low class costs the high one, under the best layout and under the one where it costs
/// most.
fn low_cost(ranked: &[Ranked<'_>]) -> String {
    let worst = |layout: &LayoutReport| {
        let ratios = high(layout).filter_map(|class| class.p99_to_low_off);
        ratios.max_by(|a, b| a.median.total_cmp(&b.median))
    };
    let costs: Vec<(&str, Figure)> = ranked
        .iter()
        .filter_map(|(layout, _)| Some((layout.name, worst(layout)?)))
        .collect();
    let Some((best, of_best)) = costs.first() else {
        return String::new();
    };
    let most = costs
        .iter()
        .max_by(|a, b| a.1.median.total_cmp(&b.1.median));
    let of_most = most.filter(|(name, _)| name != best);
    let of_most = of_most.map_or_else(String::new, |(name, figure)| {
        format!(", and most under {name}: {}", ratio(figure))
    });
    format!(
        "Beside the low class, the p99 under {best} is {} what it is with the low class switched \
         off{of_most}.",
        ratio(of_best)
    )
}

/// What the low class gets done: protection has a price.
fn low_share(ranked: &[Ranked<'_>]) -> String {
    let done = |layout: &LayoutReport| -> f64 {
        let low = layout
            .classes
            .iter()
            .filter(|class| class.class == Rank::Low);
        // What comes by a schedule gets done everywhere, sooner or later.
        let closed = low.filter(|class| class.offered_per_s.is_none());
        closed
            .filter_map(|class| Some(class.frames_per_s?.median))
            .sum()
    };
    let best = ranked[0].0;
    let most = ranked.iter().map(|(layout, _)| (layout.name, done(layout)));
    let Some((name, frames)) = most
        .max_by(|a, b| a.1.total_cmp(&b.1))
        .filter(|m| m.1 > 0.0)
    else {
        return String::new();
    };
    // A difference of less is not worth a word.
    if done(best) > 0.98 * frames {
        return format!(
            "The low class does {} frames/s under it, as much as under any other.",
            count(done(best))
        );
    }
    format!(
        "The low class does most under {name}, {} frames/s; under {} it does {}, {:.2} of that.",
        count(frames),
        best.name,
        count(done(best)),
        done(best) / frames
    )
}

/// CPU, switches and lines of the best.
fn price(ranked: &[Ranked<'_>]) -> String {
    let (best, _) = ranked[0];
    let cpu = |layout: &LayoutReport| {
        layout
            .cpu_us_per_frame_low_off
            .unwrap_or(layout.cpu_us_per_frame)
    };
    let layouts = ranked.iter().map(|(layout, _)| *layout);
    let Some(least) = layouts.min_by(|a, b| cpu(a).total_cmp(&cpu(b))) else {
        return String::new();
    };
    let least = if least.name == best.name {
        "; no layout takes less CPU".into()
    } else {
        format!("; {} takes least CPU, {:.1} µs", least.name, cpu(least))
    };
    let off = if best.cpu_us_per_frame_low_off.is_some() {
        " with the low class off"
    } else {
        ""
    };
    let switches = best.switches_per_frame.map_or_else(
        || "context switches that this system does not count".to_owned(),
        |n| format!("{n:.2} context switches"),
    );
    format!(
        "Under {} a frame costs the server {:.1} µs of CPU{off}, {switches} and {:.2} \
         hand-offs{least}. Its topology has {} lines and {} workers.",
        best.name,
        cpu(best),
        best.hand_offs_per_frame,
        best.topology_lines,
        best.workers
    )
}

/// A driver that was late itself: then the machine was too busy to tell small differences.
fn late_driver(plan: &Plan, best: &LayoutReport) -> String {
    let late = |class: &ClassReport| {
        let p99 = class.latency.as_ref()?.p99_us.median;
        let late = class.driver_late_p99_us?;
        (late > LATE * p99).then_some((class.name.clone(), late))
    };
    let Some((class, late)) = high(best).find_map(late).filter(|_| !plan.ceiling) else {
        return String::new();
    };
    format!(
        "Take care: of the frames of {class} under {}, the driver itself sent one in a hundred {} \
         late or more, which is much of that p99; a machine with more idle cores tells more.",
        best.name,
        time(late)
    )
}

/// Layouts that did not keep up with what was due.
fn not_carried(plan: &Plan, report: &VariantReport) -> String {
    let behind = |class: &ClassReport| {
        let short = match (class.offered_per_s, class.frames_per_s) {
            (Some(offered), Some(done)) => done.median < CARRIED * offered,
            _ => false,
        };
        (short && !plan.ceiling) || class.unsent > 0
    };
    let names: Vec<&str> = report
        .layouts
        .iter()
        .filter(|layout| high(layout).any(behind))
        .map(|layout| layout.name)
        .collect();
    if names.is_empty() {
        return String::new();
    }
    format!("{} did not carry what was due.", capital(&listed(&names)))
}

fn caps(workload: &Workload, report: &VariantReport) -> String {
    if !workload.low_sends() {
        return String::new();
    }
    let above = report
        .layouts
        .iter()
        .filter(|layout| layout.low_at_once_max > layout.low_cap);
    let names: Vec<&str> = above.map(|layout| layout.name).collect();
    if names.is_empty() {
        return "Low handlers at once, counted in the handlers, were never more than the layout \
                allows."
            .into();
    }
    format!(
        "FAULT: under {} more low handlers ran at once than the layout allows.",
        listed(&names)
    )
}
