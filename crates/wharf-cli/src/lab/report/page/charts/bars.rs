//! One bar a layout, with its interval.

use super::super::super::figures::Figure;
use super::super::super::table::{count, interval, time, times};
use super::super::super::{ClassReport, LayoutReport, VariantReport};
use super::super::svg::{Anchor, LogAxis, Svg};
use super::{WIDTH, axis_title, class, style, tick};

const LEFT: f64 = 170.0;
const RIGHT: f64 = 780.0;
const TOP: f64 = 26.0;
const ROW: f64 = 36.0;
/// How thick a bar is.
const BAR: f64 = 16.0;
/// Where the columns of numbers begin.
const VALUES: (f64, f64) = (RIGHT + 24.0, RIGHT + 104.0);

/// The height of so many rows.
fn height(rows: usize) -> f64 {
    ROW * f64::from(u32::try_from(rows).unwrap_or(0))
}

/// Middle of a row.
fn middle(row: usize) -> f64 {
    TOP + height(row) + ROW / 2.0
}

/// A layout's name, its bar up to `to`, and the whisker over its interval.
fn bar(
    svg: &mut Svg,
    (layout, best): (&str, bool),
    row: usize,
    (to, whisker): (f64, Option<(f64, f64)>),
    title: &str,
) {
    let y = middle(row);
    let name = if best { "row best" } else { "row" };
    svg.text((LEFT - 14.0, y + 4.0), Anchor::End, name, layout);
    let style = format!("bar {}", style(layout));
    svg.rect((LEFT, y - BAR / 2.0), (to - LEFT, BAR), &style, title);
    if let Some((low, high)) = whisker {
        svg.line((low, y), (high, y), "whisker");
        for end in [low, high] {
            svg.line((end, y - 5.0), (end, y + 5.0), "whisker");
        }
    }
}

/// p99 of one class under each layout, with its interval, beside p99 with the low class off.
pub(in super::super) fn p99(variant: &VariantReport, name: &str) -> String {
    let rows: Vec<(&LayoutReport, &ClassReport, Figure)> = variant
        .layouts
        .iter()
        .filter_map(|layout| {
            let class = class(layout, name)?;
            Some((layout, class, class.latency.as_ref()?.p99_us))
        })
        .collect();
    let bottom = TOP + height(rows.len());
    let label = format!("p99 of {name} under each layout");
    let mut svg = Svg::new(WIDTH, bottom + 54.0, &label);
    let off = |class: &ClassReport| Some(class.latency_low_off.as_ref()?.p99_us.median);
    let values = rows.iter().flat_map(|(_, class, p99)| {
        let (low, high) = p99.interval.unwrap_or((p99.median, p99.median));
        [low, high, off(class).unwrap_or(low)]
    });
    let least = values.clone().fold(f64::MAX, f64::min);
    // A bar on a logarithmic axis has no natural start: here it is a third of the least value, so
    // that the least has a bar too.
    let x = LogAxis::around(values.chain([least / 3.0]), LEFT, RIGHT);
    for (value, labelled) in x.grid() {
        let at = x.at(value);
        let style = if labelled { "grid" } else { "grid faint" };
        svg.line((at, TOP - 6.0), (at, bottom), style);
        if labelled {
            svg.text((at, bottom + 20.0), Anchor::Middle, "tick", &tick(value));
        }
    }
    let title = format!("p99 latency of {name} (log scale)");
    axis_title(&mut svg, (LEFT, RIGHT), bottom + 44.0, &title);
    svg.text((VALUES.0, 14.0), Anchor::Start, "axis", "p99");
    if rows.iter().any(|row| row.1.p99_to_low_off.is_some()) {
        svg.text(
            (VALUES.1, 14.0),
            Anchor::Start,
            "axis",
            "× the same with low off",
        );
    }
    for (row, (layout, class, p99)) in rows.iter().enumerate() {
        let between = p99.interval.map_or_else(String::new, |(low, high)| {
            format!(", 95 % interval {} to {}", time(low), time(high))
        });
        let title = format!("{}: p99 {}{between}", layout.name, time(p99.median));
        let whisker = p99.interval.map(|(low, high)| (x.at(low), x.at(high)));
        let best = variant.best.iter().any(|best| best == layout.name);
        bar(
            &mut svg,
            (layout.name, best),
            row,
            (x.at(p99.median), whisker),
            &title,
        );
        if let Some(off) = off(class) {
            let title = format!("{}, low class off: p99 {}", layout.name, time(off));
            svg.circle((x.at(off), middle(row)), 5.5, "hollow", &title);
        }
        numbers(
            &mut svg,
            row,
            &time(p99.median),
            class.p99_to_low_off.as_ref(),
        );
    }
    svg.end()
}

fn numbers(svg: &mut Svg, row: usize, value: &str, ratio: Option<&Figure>) {
    let y = middle(row) + 4.0;
    svg.text((VALUES.0, y), Anchor::Start, "value", value);
    if let Some(ratio) = ratio {
        let text = format!("{}{}", times(ratio.median), interval(ratio));
        svg.text((VALUES.1, y), Anchor::Start, "value", &text);
    }
}

/// Frames a second of one class under each layout: bars from zero, with intervals.
pub(in super::super) fn throughput(variant: &VariantReport, name: &str, bold: bool) -> String {
    let rows: Vec<(&LayoutReport, Figure)> = variant
        .layouts
        .iter()
        .filter_map(|layout| Some((layout, class(layout, name)?.frames_per_s?)))
        .collect();
    let highest = |figure: &Figure| figure.interval.map_or(figure.median, |i| i.1);
    let most = rows.iter().map(|row| highest(&row.1)).fold(1.0, f64::max) * 1.04;
    let x = |value: f64| LEFT + value / most * (RIGHT - LEFT);
    let bottom = TOP + height(rows.len());
    let label = format!("Frames a second of {name} under each layout");
    let mut svg = Svg::new(WIDTH, bottom + 54.0, &label);
    let step = nice(most / 6.0);
    let mut value = 0.0;
    while value <= most {
        svg.line((x(value), TOP - 6.0), (x(value), bottom), "grid");
        let at = (x(value), bottom + 20.0);
        svg.text(at, Anchor::Middle, "tick", &count(value));
        value += step;
    }
    let title = format!("frames a second of {name}");
    axis_title(&mut svg, (LEFT, RIGHT), bottom + 44.0, &title);
    for (row, (layout, frames)) in rows.iter().enumerate() {
        let title = format!("{}: {} frames/s", layout.name, count(frames.median));
        let whisker = frames.interval.map(|(low, high)| (x(low), x(high)));
        let best = bold && variant.best.iter().any(|best| best == layout.name);
        bar(
            &mut svg,
            (layout.name, best),
            row,
            (x(frames.median), whisker),
            &title,
        );
        let range = frames.interval.map_or_else(String::new, |(low, high)| {
            format!(" [{} .. {}]", count(low), count(high))
        });
        let text = format!("{}{range}", count(frames.median));
        numbers(&mut svg, row, &text, None);
    }
    svg.end()
}

/// 1, 2 or 5 times a power of ten, at least `value`.
fn nice(value: f64) -> f64 {
    let power = 10f64.powf(value.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].into_iter();
    steps
        .map(|step| step * power)
        .find(|step| *step >= value)
        .unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_of_an_axis_are_round() {
        let close = |a: f64, b: f64| (a / b - 1.0).abs() < 1e-9;
        assert!(close(nice(0.7), 1.0));
        assert!(close(nice(130.0), 200.0));
        assert!(close(nice(4_100.0), 5_000.0));
    }
}
