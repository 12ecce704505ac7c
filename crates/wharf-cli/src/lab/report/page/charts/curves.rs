//! Latency by percentile, a line a layout.

use super::super::super::VariantReport;
use super::super::super::table::time;
use super::super::svg::{Anchor, LogAxis, Svg};
use super::{WIDTH, axis_title, class, style, tick};

const LEFT: f64 = 76.0;
const RIGHT: f64 = 872.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 380.0;

/// Percentiles that are named on the axis.
const SHARES: [(f64, &str); 7] = [
    (0.0, "fastest"),
    (0.5, "50 %"),
    (0.9, "90 %"),
    (0.99, "99 %"),
    (0.999, "99.9 %"),
    (0.9999, "99.99 %"),
    (0.99999, "99.999 %"),
];

/// One line.
struct Curve<'a> {
    name: String,
    style: String,
    points: &'a [(f64, f64)],
}

/// Where a share of answers stands: logarithmic towards all of them.
struct ShareAxis {
    decades: f64,
}

impl ShareAxis {
    fn at(&self, share: f64) -> f64 {
        LEFT - (1.0 - share).log10() / self.decades * (RIGHT - LEFT)
    }
}

/// All of one class's latencies under each layout, and under the best one with the low class off.
pub(in super::super) fn distribution(variant: &VariantReport, name: &str) -> String {
    let label = format!("Latency of {name} by percentile and layout");
    let mut svg = Svg::new(WIDTH, 440.0, &label);
    let mut curves: Vec<Curve<'_>> = Vec::new();
    for layout in &variant.layouts {
        let Some(class) = class(layout, name) else {
            continue;
        };
        let is_best = variant.best.first().is_some_and(|best| best == layout.name);
        if let Some(off) = class.latency_low_off.as_ref().filter(|_| is_best) {
            curves.push(Curve {
                name: format!("{}, low off", layout.name),
                style: "off".into(),
                points: &off.curve,
            });
        }
        curves.extend(class.latency.as_ref().map(|latency| Curve {
            name: layout.name.to_owned(),
            style: style(layout.name),
            points: &latency.curve,
        }));
    }
    let all = || curves.iter().flat_map(|curve| curve.points);
    let y = LogAxis::around(all().map(|point| point.1), BOTTOM, TOP);
    let x = ShareAxis {
        decades: all().map(|p| -(1.0 - p.0).log10()).fold(1.0, f64::max),
    };
    grid(&mut svg, &x, &y);
    for curve in &curves {
        draw(&mut svg, curve, &x, &y);
    }
    end_labels(&mut svg, &curves, &x, &y);
    svg.end()
}

fn grid(svg: &mut Svg, x: &ShareAxis, y: &LogAxis) {
    for (value, labelled) in y.grid() {
        let at = y.at(value);
        let style = if labelled { "grid" } else { "grid faint" };
        svg.line((LEFT, at), (RIGHT, at), style);
        if labelled {
            svg.text((LEFT - 10.0, at + 4.0), Anchor::End, "tick", &tick(value));
        }
    }
    for (share, label) in SHARES {
        let at = x.at(share);
        if at <= RIGHT + 1.0 {
            svg.line((at, TOP), (at, BOTTOM), "grid");
            svg.text((at, BOTTOM + 20.0), Anchor::Middle, "tick", label);
        }
    }
    let title = "share of frames answered within that time (log scale towards 100 %)";
    axis_title(svg, (LEFT, RIGHT), BOTTOM + 46.0, title);
    let middle = f64::midpoint(TOP, BOTTOM);
    svg.text_up(
        (14.0, middle),
        "axis",
        "latency, from due to answered (log scale)",
    );
}

fn draw(svg: &mut Svg, curve: &Curve<'_>, x: &ShareAxis, y: &LogAxis) {
    let Curve {
        name,
        style,
        points,
    } = curve;
    let place = |(share, us): (f64, f64)| (x.at(share), y.at(us));
    let line: Vec<_> = points.iter().map(|point| place(*point)).collect();
    svg.path(&line, &format!("curve {style}"), name);
    if style == "off" {
        return;
    }
    for (share, _) in SHARES.iter().skip(1) {
        let near = |a: &&(f64, f64), b: &&(f64, f64)| {
            (x.at(a.0) - x.at(*share))
                .abs()
                .total_cmp(&(x.at(b.0) - x.at(*share)).abs())
        };
        let Some(point) = points.iter().min_by(near) else {
            continue;
        };
        if (x.at(point.0) - x.at(*share)).abs() < 2.0 {
            let title = format!("{name}: {} % within {}", percent(point.0), time(point.1));
            svg.circle(place(*point), 3.5, &format!("dot {style}"), &title);
        }
    }
}

fn percent(share: f64) -> String {
    let text = format!("{:.3}", share * 100.0);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Names at the ends of the lines, pushed apart where they would overlap.
fn end_labels(svg: &mut Svg, curves: &[Curve<'_>], x: &ShareAxis, y: &LogAxis) {
    const APART: f64 = 18.0;
    let end = |curve: &Curve<'_>| curve.points.last().map(|p| (x.at(p.0), y.at(p.1)));
    let mut ends: Vec<_> = curves
        .iter()
        .filter_map(|curve| Some((end(curve)?, curve)))
        .collect();
    ends.sort_by(|a, b| a.0.1.total_cmp(&b.0.1));
    let mut places: Vec<f64> = ends.iter().map(|end| end.0.1).collect();
    for at in 1..places.len() {
        places[at] = places[at].max(places[at - 1] + APART);
    }
    // What was pushed below the chart is pushed up again.
    let mut limit = BOTTOM;
    for place in places.iter_mut().rev() {
        *place = place.min(limit);
        limit = *place - APART;
    }
    let edge = ends.iter().map(|end| end.0.0).fold(0.0, f64::max);
    for (((from_x, from_y), curve), place) in ends.into_iter().zip(places) {
        let style = &curve.style;
        let from = (from_x + 3.0, from_y);
        svg.line(from, (edge + 22.0, place), &format!("leader {style}"));
        let at = (edge + 27.0, place + 4.0);
        svg.text(at, Anchor::Start, &format!("name {style}"), &curve.name);
    }
}
