//! The report as one page: no script, no link, nothing to load.

mod charts;
mod notes;
mod svg;
mod tables;

use std::fmt::Write as _;

use svg::escape;

use super::table::{count, count_u64, interval, listed, time, times};
use super::{LayoutReport, Report, VariantReport};
use crate::lab::workload::Rank;

/// The whole page.
pub(crate) fn page(report: &Report) -> String {
    let name = escape(&report.workload.name);
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>wharf lab: {name}</title>\n<style>\n{}</style>\n</head>\n<body>\n<main>\n",
        include_str!("style.css")
    );
    // Writing to a String does not fail.
    let _ = writeln!(
        out,
        "<p class=\"eyebrow\">wharf lab</p>\n<h1>{name}</h1>\n<p class=\"lead\">{}</p>",
        escape(&report.workload.description)
    );
    facts(&mut out, report);
    for variant in &report.variants {
        section(&mut out, report, variant);
    }
    topologies(&mut out, report);
    method(&mut out, report);
    out.push_str("</main>\n</body>\n</html>\n");
    out
}

fn facts(out: &mut String, report: &Report) {
    let faults = report.faults;
    let checked = if faults.any() {
        format!(
            "<b>FAULT</b>: {} lost, {} doubled, {} reordered, {} corrupt, {} sessions cut",
            faults.lost, faults.doubled, faults.reordered, faults.corrupt, faults.cut
        )
    } else {
        format!(
            "<b>{}</b> answers checked, all right",
            count_u64(report.verified)
        )
    };
    let rounds = if report.rounds == 1 {
        "round"
    } else {
        "rounds"
    };
    let mut facts = vec![
        format!("<b>{}</b>", escape(&report.started)),
        format!("<b>{}</b>", escape(&report.machine.in_words())),
        format!(
            "<b>{}</b> interleaved {rounds} of <b>{} s</b>",
            report.rounds, report.seconds
        ),
        checked,
    ];
    for (class, per_s) in report.ceilings() {
        let class = escape(class);
        let per_s = count(per_s);
        facts.push(format!(
            "one-core ceiling of {class}: <b>{per_s}</b> frames/s"
        ));
    }
    facts.push(format!("wharf {}", report.version));
    let _ = writeln!(
        out,
        "<ul class=\"facts\"><li>{}</li></ul>",
        facts.join("</li><li>")
    );
}

fn section(out: &mut String, report: &Report, variant: &VariantReport) {
    let title = match variant.name.as_str() {
        "" => "Result",
        name => name,
    };
    let fault = report.faults.any() || !report.low_caps_held;
    let rest = variant.verdict.strip_prefix(&variant.headline);
    let _ = writeln!(
        out,
        "<h2>{}</h2>\n<div class=\"verdict{}\"><p><b>{}</b>{}</p></div>",
        escape(title),
        if fault { " fault" } else { "" },
        escape(&variant.headline),
        escape(rest.unwrap_or_default())
    );
    tiles(out, report, variant);
    for class in report.workload.high() {
        high(out, report, variant, &class.name);
    }
    let low = report.workload.low().map(|class| class.name.as_str());
    for name in low.filter(|name| closed(variant, name)) {
        let chart = charts::throughput(variant, name, false);
        figure(out, &format!("What {name} gets done"), notes::LOW, &chart);
    }
    let chart = charts::cpu(report, variant);
    figure(out, "CPU use of the server", notes::CPU, &chart);
    heading(out, "All figures", notes::CLASSES);
    tables::classes(out, variant);
    heading(out, "What it costs", notes::COSTS);
    tables::costs(out, variant);
}

/// The charts of a high class.
fn high(out: &mut String, report: &Report, variant: &VariantReport, name: &str) {
    if report.ceiling {
        let chart = charts::throughput(variant, name, true);
        let title = format!("Throughput ceiling of {name}");
        figure(out, &title, notes::CEILING, &chart);
    } else {
        let chart = charts::p99(variant, name);
        figure(out, &format!("p99 of {name}"), notes::P99, &chart);
    }
    let chart = charts::distribution(variant, name);
    let title = format!("Latency of {name}, all of it");
    figure(out, &title, notes::LATENCY, &chart);
}

fn closed(variant: &VariantReport, name: &str) -> bool {
    let of = |layout: &LayoutReport| {
        let class = layout.classes.iter().find(|class| class.name == *name);
        class.is_some_and(|class| class.offered_per_s.is_none())
    };
    variant.layouts.iter().any(of)
}

fn heading(out: &mut String, title: &str, note: &str) {
    let title = escape(title);
    let _ = writeln!(out, "<h3>{title}</h3>\n<p class=\"note\">{note}</p>");
}

fn figure(out: &mut String, title: &str, note: &str, svg: &str) {
    heading(out, title, note);
    let _ = writeln!(out, "<figure>\n{svg}</figure>");
}

/// The best layout in four numbers.
fn tiles(out: &mut String, report: &Report, variant: &VariantReport) {
    let best = variant.best.first();
    let Some(layout) = variant
        .layouts
        .iter()
        .find(|l| best.is_some_and(|best| best == l.name))
    else {
        return;
    };
    let high = layout
        .classes
        .iter()
        .find(|class| class.class == Rank::High);
    let mut tiles = Vec::new();
    let with = match variant.best.len() {
        _ if report.rounds < 3 => "first here, of too few rounds to tell".to_owned(),
        1 => "best layout here".to_owned(),
        more => format!(
            "best here, not told apart from {} {}",
            more - 1,
            if more == 2 { "other" } else { "others" }
        ),
    };
    tiles.push((layout.name.to_owned(), with));
    if let Some(class) = high {
        if let (true, Some(frames)) = (report.ceiling, class.frames_per_s) {
            tiles.push((count(frames.median), format!("frames/s of {}", class.name)));
        }
        if let Some(latency) = class.latency.as_ref().filter(|_| !report.ceiling) {
            tiles.push((
                time(latency.p99_us.median),
                format!("p99 of {}", class.name),
            ));
        }
        if let Some(figure) = &class.p99_to_low_off {
            tiles.push((
                format!("× {}", times(figure.median)),
                format!("what it is with the low class off{}", interval(figure)),
            ));
        }
    }
    if report.workload.low_sends() {
        tiles.push((
            format!("{} of {}", layout.low_at_once_max, layout.low_cap),
            "low handlers at once, at most, of those allowed".to_owned(),
        ));
    }
    out.push_str("<div class=\"tiles\">");
    for (value, what) in tiles {
        let _ = write!(
            out,
            "<div class=\"tile\"><b>{}</b><span>{}</span></div>",
            escape(&value),
            escape(&what)
        );
    }
    out.push_str("</div>\n");
}

fn topologies(out: &mut String, report: &Report) {
    let Some(variant) = report.variants.first() else {
        return;
    };
    let note = notes::TOPOLOGIES;
    let _ = writeln!(out, "<h2>The topologies</h2>\n<p class=\"note\">{note}</p>");
    for layout in &variant.layouts {
        let _ = writeln!(
            out,
            "<details><summary>{} <span>{}, {} lines</span></summary><pre>{}</pre></details>",
            layout.name,
            escape(layout.about),
            layout.topology_lines,
            escape(layout.topology.trim())
        );
    }
}

fn method(out: &mut String, report: &Report) {
    let classes = report.workload.classes.iter();
    let names: Vec<&str> = classes.map(|class| class.name.as_str()).collect();
    let load = report.machine.load_1min.map_or_else(String::new, |load| {
        format!(" Load average at the end: {load:.1}, the lab's own work included.")
    });
    let _ = writeln!(
        out,
        "<footer><p>{} {} s of warm-up before each run are not counted. Classes: {}.{load}</p>\
         </footer>",
        notes::METHOD,
        report.warmup_seconds,
        escape(&listed(&names)),
    );
}
