//! The tables of the page.

use std::fmt::Write as _;

use super::super::table::{count, interval, time, times};
use super::super::{ClassReport, LatencyReport, LayoutReport, VariantReport};
use super::svg::escape;
use crate::lab::workload::Rank;

/// What each class got. The second column is text.
const CLASSES: [&str; 10] = [
    "layout",
    "class",
    "due/s",
    "done/s",
    "p50",
    "p99",
    "p99.9",
    "max",
    "p99 / low off [95 %]",
    "driver late p99",
];
/// What each layout costs. The second column is text.
const COSTS: [&str; 12] = [
    "layout",
    "is",
    "CPU µs/frame",
    "low off",
    "switches/frame",
    "hand-offs/frame",
    "workers",
    "threads",
    "lines",
    "low at once",
    "server cores",
    "driver cores",
];

fn begin(out: &mut String, columns: &[&str]) {
    out.push_str("<div class=\"scroll\"><table>\n<thead><tr>");
    for (at, column) in columns.iter().enumerate() {
        let class = if at < 2 { " class=\"l\"" } else { "" };
        let _ = write!(out, "<th{class}>{column}</th>");
    }
    out.push_str("</tr></thead>\n<tbody>\n");
}

fn end(out: &mut String) {
    out.push_str("</tbody></table></div>\n");
}

fn cells(out: &mut String, cells: &[String], class: &str) {
    for cell in cells {
        let _ = write!(out, "<td{class}>{cell}</td>");
    }
    out.push_str("</tr>\n");
}

fn dash() -> String {
    "–".to_owned()
}

pub(super) fn classes(out: &mut String, variant: &VariantReport) {
    begin(out, &CLASSES);
    for layout in &variant.layouts {
        for (at, class) in layout.classes.iter().enumerate() {
            class_row(out, variant, layout, (class, at == 0));
        }
    }
    end(out);
}

fn class_row(
    out: &mut String,
    variant: &VariantReport,
    layout: &LayoutReport,
    (class, first): (&ClassReport, bool),
) {
    let best = variant.best.iter().any(|best| best == layout.name);
    let row = match (first, best) {
        (true, true) => "first best",
        (true, false) => "first",
        _ => "",
    };
    let layout = if first { layout.name } else { "" };
    let name = escape(&class.name);
    let _ = write!(
        out,
        "<tr class=\"{row}\"><td>{layout}</td><td class=\"l\">{name}</td>"
    );
    let latency = |value: fn(&LatencyReport) -> f64| {
        let latency = class.latency.as_ref();
        latency.map_or_else(dash, |latency| time(value(latency)))
    };
    let offered = class.offered_per_s;
    let low_off = class.p99_to_low_off;
    let low_off = low_off.map(|figure| format!("{}{}", times(figure.median), interval(&figure)));
    let row = [
        offered.map_or_else(|| "always".to_owned(), count),
        class.frames_per_s.map_or_else(dash, |f| count(f.median)),
        latency(|l| l.p50_us),
        latency(|l| l.p99_us.median),
        latency(|l| l.p99_9_us),
        latency(|l| l.max_us),
        low_off.unwrap_or_else(dash),
        class.driver_late_p99_us.map_or_else(dash, time),
    ];
    let low = class.class == Rank::Low;
    cells(out, &row, if low { " class=\"low\"" } else { "" });
}

pub(super) fn costs(out: &mut String, variant: &VariantReport) {
    begin(out, &COSTS);
    for layout in &variant.layouts {
        let LayoutReport { name, about, .. } = layout;
        let _ = write!(
            out,
            "<tr class=\"first\"><td>{name}</td><td class=\"l low\">{}</td>",
            escape(about)
        );
        let low_off = layout.cpu_us_per_frame_low_off;
        let row = [
            format!("{:.1}", layout.cpu_us_per_frame),
            low_off.map_or_else(dash, |us| format!("{us:.1}")),
            layout
                .switches_per_frame
                .map_or_else(dash, |n| format!("{n:.2}")),
            format!("{:.2}", layout.hand_offs_per_frame),
            layout.workers.to_string(),
            layout.threads.map_or_else(dash, |n| n.to_string()),
            layout.topology_lines.to_string(),
            format!("{} of {}", layout.low_at_once_max, layout.low_cap),
            format!("{:.2}", layout.cpu_cores),
            format!("{:.2}", layout.client_cpu_cores),
        ];
        cells(out, &row, "");
    }
    end(out);
}
