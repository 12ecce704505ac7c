//! CPU use over time: a small chart a layout, all on one scale.

use super::super::super::{LayoutReport, Report, VariantReport};
use super::super::svg::{Anchor, Svg};
use super::{WIDTH, style, trim};

const COLUMNS: u32 = 3;
const HEIGHT: f64 = 150.0;

/// Where one small chart is drawn.
struct Panel {
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
    first: bool,
}

impl Panel {
    fn number(panel: u32) -> Self {
        let width = WIDTH / f64::from(COLUMNS);
        let left = width * f64::from(panel % COLUMNS) + 46.0;
        let top = HEIGHT * f64::from(panel / COLUMNS) + 30.0;
        Self {
            left,
            right: left + width - 72.0,
            top,
            bottom: top + 84.0,
            first: panel.is_multiple_of(COLUMNS),
        }
    }
}

/// Cores that the server keeps busy.
pub(in super::super) fn cpu(report: &Report, variant: &VariantReport) -> String {
    let panels = u32::try_from(variant.layouts.len()).unwrap_or(0);
    let height = HEIGHT * f64::from(panels.div_ceil(COLUMNS)) + 16.0;
    let mut svg = Svg::new(WIDTH, height, "Cores that the server keeps busy over time");
    for (layout, panel) in variant.layouts.iter().zip(0u32..) {
        draw(&mut svg, report, layout, &Panel::number(panel));
    }
    svg.end()
}

fn draw(svg: &mut Svg, report: &Report, layout: &LayoutReport, panel: &Panel) {
    let Panel {
        left,
        right,
        top,
        bottom,
        first,
    } = *panel;
    #[expect(clippy::cast_precision_loss, reason = "a number of cores")]
    let cores = report.machine.cores as f64;
    let x = |at: f64| (left + at / report.seconds * (right - left)).min(right);
    let y = |busy: f64| bottom - busy.min(cores) / cores * (bottom - top);
    let above = top - 10.0;
    svg.text((left, above), Anchor::Start, "row", layout.name);
    let mean = format!("{:.2} cores", layout.cpu_cores);
    svg.text((right, above), Anchor::End, "tick", &mean);
    for at in [0.0, cores / 2.0, cores] {
        svg.line((left, y(at)), (right, y(at)), "grid");
        svg.text((left - 8.0, y(at) + 4.0), Anchor::End, "tick", &trim(at));
    }
    let looks = layout.cpu_over_time.iter();
    let mut points: Vec<_> = looks.map(|(at, busy)| (x(*at), y(*busy))).collect();
    // A look tells of the time since the one before it: the first, of the time from the start.
    if let Some((_, busy)) = points.first().copied() {
        points.insert(0, (left, busy));
    }
    let style = style(layout.name);
    let title = format!("{}: {mean} of {cores} busy, the median round", layout.name);
    svg.area(&points, bottom, &format!("area {style}"), &title);
    svg.path(&points, &format!("thin {style}"), &title);
    let below = bottom + 18.0;
    svg.text((left, below), Anchor::Start, "tick", "0 s");
    let end = format!("{} s", trim(report.seconds));
    svg.text((right, below), Anchor::End, "tick", &end);
    if first {
        svg.text_up(
            (left - 32.0, f64::midpoint(top, bottom)),
            "axis",
            "cores busy",
        );
    }
}
