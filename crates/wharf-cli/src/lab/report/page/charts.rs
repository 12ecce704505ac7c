//! The charts of the page.

use super::super::table::{count, interval, time, times};
use super::super::{ClassReport, LayoutReport, Report, VariantReport};
use super::svg::{Anchor, LogAxis, Svg};
use crate::lab::layout::Layout;

const WIDTH: f64 = 1080.0;

/// The style of a layout: always the same, whichever layouts are shown.
pub(super) fn style(layout: &str) -> usize {
    let at = Layout::ALL.iter().position(|other| other.name() == layout);
    at.unwrap_or(0)
}

fn class<'a>(layout: &'a LayoutReport, name: &str) -> Option<&'a ClassReport> {
    layout.classes.iter().find(|class| class.name == name)
}

/// Latency of one class by percentile, a line a layout; the best one's with the low class off too.
pub(super) fn distribution(variant: &VariantReport, name: &str) -> String {
    const LEFT: f64 = 76.0;
    const RIGHT: f64 = 872.0;
    const TOP: f64 = 14.0;
    const BOTTOM: f64 = 380.0;
    let mut svg = Svg::new(
        WIDTH,
        440.0,
        &format!("Latency of {name} by percentile and layout"),
    );
    let curve = |layout: &LayoutReport| -> Option<Vec<(f64, f64)>> {
        Some(class(layout, name)?.latency.as_ref()?.curve.clone())
    };
    let best = variant.best.first();
    let reference = variant
        .layouts
        .iter()
        .find(|layout| Some(layout.name) == best.map(|b| &**b));
    let reference = reference.and_then(|layout| {
        let off = class(layout, name)?.latency_low_off.as_ref()?;
        Some((layout.name, off.curve.clone()))
    });
    let curves: Vec<_> = variant
        .layouts
        .iter()
        .filter_map(|layout| Some((layout.name, curve(layout)?)))
        .collect();
    let all = || {
        curves
            .iter()
            .map(|(_, c)| c)
            .chain(reference.iter().map(|(_, c)| c))
            .flatten()
    };
    let y = LogAxis::around(all().map(|point| point.1), BOTTOM, TOP);
    let odds_max = all()
        .map(|point| -(1.0 - point.0).log10())
        .fold(1.0, f64::max);
    let x = |share: f64| LEFT - (1.0 - share).log10() / odds_max * (RIGHT - LEFT);
    for (value, labelled) in y.grid() {
        let at = y.at(value);
        svg.line(
            (LEFT, at),
            (RIGHT, at),
            if labelled { "grid" } else { "grid faint" },
        );
        if labelled {
            svg.text((LEFT - 10.0, at + 4.0), Anchor::End, "tick", &tick(value));
        }
    }
    for (share, label) in [
        (0.0, "0"),
        (0.5, "50 %"),
        (0.9, "90 %"),
        (0.99, "99 %"),
        (0.999, "99.9 %"),
        (0.9999, "99.99 %"),
        (0.99999, "99.999 %"),
    ] {
        if x(share) <= RIGHT + 1.0 {
            svg.line((x(share), TOP), (x(share), BOTTOM), "grid");
            svg.text((x(share), BOTTOM + 20.0), Anchor::Middle, "tick", label);
        }
    }
    let middle = f64::midpoint(LEFT, RIGHT);
    svg.text(
        (middle, BOTTOM + 46.0),
        Anchor::Middle,
        "axis",
        "share of frames answered within (log scale towards 100 %)",
    );
    svg.text_up(
        (16.0, f64::midpoint(TOP, BOTTOM)),
        "axis",
        "latency, due to answered (log scale)",
    );
    let drawn = |points: &[(f64, f64)]| -> Vec<(f64, f64)> {
        points
            .iter()
            .map(|(share, us)| (x(*share), y.at(*us)))
            .collect()
    };
    let mut labels = Vec::new();
    if let Some((layout, points)) = &reference {
        let line = drawn(points);
        svg.path(&line, "curve off", &format!("{layout}, low class off"));
        labels.extend(
            line.last()
                .map(|end| (*end, format!("{layout}, low off"), "off".to_owned())),
        );
    }
    for (layout, points) in &curves {
        let style = format!("c{}", style(layout));
        let line = drawn(points);
        svg.path(&line, &format!("curve {style}"), layout);
        for (share, us) in points.iter().filter(|point| is_mark(point.0)) {
            let title = format!("{layout}: {} % within {}", percent(*share), time(*us));
            svg.circle((x(*share), y.at(*us)), 3.5, &format!("dot {style}"), &title);
        }
        labels.extend(line.last().map(|end| (*end, (*layout).to_owned(), style)));
    }
    end_labels(&mut svg, labels, (TOP, BOTTOM));
    svg.end()
}

/// The percentiles that have a dot to hover over.
fn is_mark(share: f64) -> bool {
    let odds = -(1.0 - share).log10();
    share > 0.0 && (odds - odds.round()).abs() < 1e-6 || (share - 0.5).abs() < 0.02
}

fn percent(share: f64) -> String {
    let text = format!("{:.3}", share * 100.0);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Names at the ends of lines, pushed apart where they would overlap.
fn end_labels(
    svg: &mut Svg,
    mut labels: Vec<((f64, f64), String, String)>,
    (top, bottom): (f64, f64),
) {
    const APART: f64 = 18.0;
    labels.sort_by(|a, b| a.0.1.total_cmp(&b.0.1));
    let mut places: Vec<f64> = labels.iter().map(|label| label.0.1).collect();
    for at in 1..places.len() {
        places[at] = places[at].max(places[at - 1] + APART);
    }
    // What was pushed below the chart is pushed up again.
    let mut limit = bottom.max(top + APART);
    for place in places.iter_mut().rev() {
        *place = place.min(limit);
        limit = *place - APART;
    }
    let edge = labels.iter().map(|label| label.0.0).fold(0.0, f64::max);
    for (((x, y), name, style), place) in labels.into_iter().zip(places) {
        svg.line(
            (x + 3.0, y),
            (edge + 22.0, place),
            &format!("leader {style}"),
        );
        svg.text(
            (edge + 27.0, place + 4.0),
            Anchor::Start,
            &format!("name {style}"),
            &name,
        );
    }
}

/// A value on a time axis.
fn tick(us: f64) -> String {
    match us {
        us if us < 1e3 => format!("{us:.0} µs"),
        us if us < 1e6 => format!("{:.0} ms", us / 1e3),
        us => format!("{:.0} s", us / 1e6),
    }
}

/// p99 of one class under each layout, with its interval, beside p99 with the low class off.
pub(super) fn p99(variant: &VariantReport, name: &str) -> String {
    const LEFT: f64 = 170.0;
    const RIGHT: f64 = 800.0;
    const ROW: f64 = 40.0;
    let rows: Vec<_> = variant
        .layouts
        .iter()
        .filter_map(|layout| {
            Some((
                layout,
                class(layout, name)?,
                class(layout, name)?.latency.as_ref()?,
            ))
        })
        .collect();
    let bottom = 24.0 + ROW * f64::from(u32::try_from(rows.len()).unwrap_or(0));
    let mut svg = Svg::new(
        WIDTH,
        bottom + 56.0,
        &format!("p99 of {name} under each layout"),
    );
    let values = rows.iter().flat_map(|(_, class, latency)| {
        let (low, high) = latency
            .p99_us
            .interval
            .unwrap_or((latency.p99_us.median, latency.p99_us.median));
        let off = class
            .latency_low_off
            .as_ref()
            .map_or(low, |off| off.p99_us.median);
        [low, high, off]
    });
    let x = LogAxis::around(values, LEFT, RIGHT);
    for (value, labelled) in x.grid() {
        svg.line(
            (x.at(value), 14.0),
            (x.at(value), bottom),
            if labelled { "grid" } else { "grid faint" },
        );
        if labelled {
            svg.text(
                (x.at(value), bottom + 20.0),
                Anchor::Middle,
                "tick",
                &tick(value),
            );
        }
    }
    svg.text(
        (f64::midpoint(LEFT, RIGHT), bottom + 46.0),
        Anchor::Middle,
        "axis",
        &format!("p99 latency of {name} (log scale)"),
    );
    svg.text((RIGHT + 24.0, 12.0), Anchor::Start, "axis", "p99");
    if rows
        .iter()
        .any(|(_, class, _)| class.p99_to_low_off.is_some())
    {
        svg.text(
            (RIGHT + 104.0, 12.0),
            Anchor::Start,
            "axis",
            "× its p99 with low off",
        );
    }
    for ((layout, class, latency), row) in rows.iter().zip(0u32..) {
        let y = 24.0 + ROW * (f64::from(row) + 0.5);
        let style = format!("c{}", style(layout.name));
        let best = variant.best.iter().any(|best| best == layout.name);
        svg.text(
            (LEFT - 14.0, y + 4.0),
            Anchor::End,
            if best { "row best" } else { "row" },
            layout.name,
        );
        let p99 = latency.p99_us;
        let title = format!(
            "{}: p99 {}{}",
            layout.name,
            time(p99.median),
            p99.interval.map_or_else(String::new, |(low, high)| format!(
                ", 95 % interval {} to {}",
                time(low),
                time(high)
            ))
        );
        svg.rect(
            (LEFT, y - 8.0),
            (x.at(p99.median) - LEFT, 16.0),
            &format!("bar {style}"),
            &title,
        );
        if let Some((low, high)) = p99.interval {
            svg.line((x.at(low), y), (x.at(high), y), "whisker");
            for end in [low, high] {
                svg.line((x.at(end), y - 6.0), (x.at(end), y + 6.0), "whisker");
            }
        }
        if let Some(off) = &class.latency_low_off {
            let title = format!(
                "{}, low class off: p99 {}",
                layout.name,
                time(off.p99_us.median)
            );
            svg.circle((x.at(off.p99_us.median), y), 5.5, "hollow", &title);
        }
        svg.text(
            (RIGHT + 24.0, y + 4.0),
            Anchor::Start,
            "value",
            &time(p99.median),
        );
        if let Some(figure) = &class.p99_to_low_off {
            let text = format!("{}{}", times(figure.median), interval(figure));
            svg.text((RIGHT + 104.0, y + 4.0), Anchor::Start, "value", &text);
        }
    }
    svg.end()
}

/// Frames a second of one class under each layout: bars from zero, with intervals.
pub(super) fn throughput(variant: &VariantReport, name: &str) -> String {
    const LEFT: f64 = 170.0;
    const RIGHT: f64 = 800.0;
    const ROW: f64 = 34.0;
    let rows: Vec<_> = variant
        .layouts
        .iter()
        .filter_map(|layout| Some((layout, class(layout, name)?.frames_per_s?)))
        .collect();
    let most = rows
        .iter()
        .map(|(_, f)| f.interval.map_or(f.median, |i| i.1))
        .fold(1e-9, f64::max);
    let x = |value: f64| LEFT + value / (most * 1.04) * (RIGHT - LEFT);
    let bottom = 14.0 + ROW * f64::from(u32::try_from(rows.len()).unwrap_or(0));
    let mut svg = Svg::new(
        WIDTH,
        bottom + 52.0,
        &format!("Frames a second of {name} under each layout"),
    );
    let step = nice(most / 5.0);
    let mut value = 0.0;
    while value <= most * 1.04 {
        svg.line((x(value), 8.0), (x(value), bottom), "grid");
        svg.text(
            (x(value), bottom + 20.0),
            Anchor::Middle,
            "tick",
            &count(value),
        );
        value += step;
    }
    svg.text(
        (f64::midpoint(LEFT, RIGHT), bottom + 44.0),
        Anchor::Middle,
        "axis",
        &format!("frames a second of {name}"),
    );
    for ((layout, frames), row) in rows.iter().zip(0u32..) {
        let y = 14.0 + ROW * (f64::from(row) + 0.5);
        svg.text((LEFT - 14.0, y + 4.0), Anchor::End, "row", layout.name);
        let text = count(frames.median);
        let title = format!("{}: {text} frames/s", layout.name);
        svg.rect(
            (LEFT, y - 8.0),
            (x(frames.median) - LEFT, 16.0),
            &format!("bar c{}", style(layout.name)),
            &title,
        );
        if let Some((low, high)) = frames.interval {
            svg.line((x(low), y), (x(high), y), "whisker");
            for end in [low, high] {
                svg.line((x(end), y - 5.0), (x(end), y + 5.0), "whisker");
            }
        }
        let range = frames.interval.map_or_else(String::new, |(low, high)| {
            format!(" [{} .. {}]", count(low), count(high))
        });
        svg.text(
            (RIGHT + 24.0, y + 4.0),
            Anchor::Start,
            "value",
            &format!("{text}{range}"),
        );
    }
    svg.end()
}

/// 1, 2 or 5 times a power of ten, at least `value`.
fn nice(value: f64) -> f64 {
    let power = 10f64.powf(value.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .find(|step| step * power >= value);
    step.unwrap_or(10.0) * power
}

/// Cores that the server keeps busy, over time: a small chart a layout, all on one scale.
pub(super) fn cpu(report: &Report, variant: &VariantReport) -> String {
    const COLUMNS: u32 = 3;
    const HEIGHT: f64 = 150.0;
    let panels = u32::try_from(variant.layouts.len()).unwrap_or(0);
    let height = HEIGHT * f64::from(panels.div_ceil(COLUMNS)) + 16.0;
    let mut svg = Svg::new(WIDTH, height, "Cores that the server keeps busy over time");
    #[expect(clippy::cast_precision_loss, reason = "a number of cores")]
    let cores = report.machine.cores as f64;
    let width = WIDTH / f64::from(COLUMNS);
    for (layout, panel) in variant.layouts.iter().zip(0u32..) {
        let left = width * f64::from(panel % COLUMNS) + 46.0;
        let right = left + width - 72.0;
        let top = HEIGHT * f64::from(panel / COLUMNS) + 30.0;
        let bottom = top + 84.0;
        let x = |at: f64| left + at / report.seconds * (right - left);
        let y = |busy: f64| bottom - busy.min(cores) / cores * (bottom - top);
        svg.text((left, top - 10.0), Anchor::Start, "row", layout.name);
        svg.text(
            (right, top - 10.0),
            Anchor::End,
            "tick",
            &format!("{:.2} cores", layout.cpu_cores),
        );
        for at in [0.0, cores / 2.0, cores] {
            svg.line((left, y(at)), (right, y(at)), "grid");
            svg.text((left - 8.0, y(at) + 4.0), Anchor::End, "tick", &trim(at));
        }
        let points: Vec<_> = layout
            .cpu_over_time
            .iter()
            .map(|(at, busy)| (x(*at).min(right), y(*busy)))
            .collect();
        let style = style(layout.name);
        let title = format!(
            "{}: {:.2} of {cores} cores on average",
            layout.name, layout.cpu_cores
        );
        svg.area(&points, bottom, &format!("area c{style}"), &title);
        svg.path(&points, &format!("thin c{style}"), &title);
        svg.text((left, bottom + 18.0), Anchor::Start, "tick", "0 s");
        svg.text(
            (right, bottom + 18.0),
            Anchor::End,
            "tick",
            &format!("{} s", trim(report.seconds)),
        );
        if panel % COLUMNS == 0 {
            svg.text_up(
                (left - 32.0, f64::midpoint(top, bottom)),
                "axis",
                "cores busy",
            );
        }
    }
    svg.end()
}

/// `2`, `0.5`.
fn trim(value: f64) -> String {
    let text = format!("{value:.1}");
    text.trim_end_matches(".0").to_owned()
}
