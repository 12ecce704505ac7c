//! The charts of the page.

mod bars;
mod cpu;
mod curves;

pub(super) use bars::{p99, throughput};
pub(super) use cpu::cpu;
pub(super) use curves::distribution;

use super::super::{ClassReport, LayoutReport};
use super::svg::{Anchor, Svg};
use crate::lab::layout::Layout;

/// Width of every chart, in its own units; the page scales it.
const WIDTH: f64 = 1080.0;

/// The style of a layout: always the same, whichever layouts are shown.
fn style(layout: &str) -> String {
    let at = Layout::ALL.iter().position(|other| other.name() == layout);
    format!("c{}", at.unwrap_or(0))
}

fn class<'a>(layout: &'a LayoutReport, name: &str) -> Option<&'a ClassReport> {
    layout.classes.iter().find(|class| class.name == name)
}

/// A value on an axis of times.
fn tick(us: f64) -> String {
    match us {
        us if us < 999.5 => format!("{us:.0} µs"),
        us if us < 999_500.0 => format!("{:.0} ms", us / 1e3),
        us => format!("{:.0} s", us / 1e6),
    }
}

/// `2`, `0.5`.
fn trim(value: f64) -> String {
    let text = format!("{value:.1}");
    text.trim_end_matches(".0").to_owned()
}

/// The title of a horizontal axis, centred under it.
fn axis_title(svg: &mut Svg, (left, right): (f64, f64), y: f64, text: &str) {
    svg.text(
        (f64::midpoint(left, right), y),
        Anchor::Middle,
        "axis",
        text,
    );
}
