//! The report as one page: no script, no link, nothing to load.

mod charts;
mod svg;

use std::fmt::Write as _;

use svg::escape;

use super::table::{count, count_u64, interval, listed, time, times};
use super::{ClassReport, LayoutReport, Report, VariantReport};
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
    for ceiling in &report.one_core_ceilings {
        let of = super::table::named(&ceiling.variant);
        facts.push(format!(
            "one-core ceiling of {}{}: <b>{}</b> frames/s",
            escape(&ceiling.class),
            escape(&of),
            count(ceiling.frames_per_s)
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
    let title = if variant.name.is_empty() {
        "Result"
    } else {
        &variant.name
    };
    let _ = writeln!(out, "<h2>{}</h2>", escape(title));
    let fault = if report.faults.any() || !report.low_caps_held {
        " fault"
    } else {
        ""
    };
    let rest = variant.verdict.strip_prefix(&variant.headline);
    let _ = writeln!(
        out,
        "<div class=\"verdict{fault}\"><p><b>{}</b>{}</p></div>",
        escape(&variant.headline),
        escape(rest.unwrap_or_default())
    );
    tiles(out, report, variant);
    let high = report.workload.high().map(|class| &class.name);
    for name in high {
        let shown = escape(name);
        if report.ceiling {
            figure(
                out,
                &format!("Throughput ceiling of {shown}"),
                "Saturating, closed loop: frames a second that come back. Median of the rounds, with its 95 % bootstrap interval.",
                &charts::throughput(variant, name, true),
            );
        } else {
            figure(
                out,
                &format!("p99 of {shown}"),
                "Bars: median of the rounds, with its 95 % bootstrap interval. Circles: the same layout with the low class switched off. Names in bold are best, or not told apart from the best.",
                &charts::p99(variant, name),
            );
        }
        figure(
            out,
            &format!("Latency of {shown}, all of it"),
            "From the moment a frame was due until its answer was read; all rounds together. Lower and flatter is better.",
            &charts::distribution(variant, name),
        );
    }
    let saturating = report.workload.low().map(|class| &class.name);
    for name in saturating.filter(|name| closed(variant, name)) {
        figure(
            out,
            &format!("What {} gets done", escape(name)),
            "A low class that always has work: what protecting the high class costs it.",
            &charts::throughput(variant, name, false),
        );
    }
    figure(
        out,
        "CPU use of the server",
        "Cores busy, looked at ten times a second, mean over the rounds.",
        &charts::cpu(report, variant),
    );
    let _ = writeln!(
        out,
        "<h3>All figures</h3>\n<p class=\"note\">Medians over the rounds; max is the longest of all.</p>"
    );
    classes(out, variant);
    let _ = writeln!(
        out,
        "<h3>What it costs</h3>\n<p class=\"note\">CPU time and switches are the server process's, divided by all frames it handled; low handlers at once are counted in the handlers.</p>"
    );
    costs(out, variant);
}

fn closed(variant: &VariantReport, name: &str) -> bool {
    let of = |layout: &LayoutReport| {
        let class = layout.classes.iter().find(|class| class.name == *name);
        class.is_some_and(|class| class.offered_per_s.is_none())
    };
    variant.layouts.iter().any(of)
}

fn figure(out: &mut String, title: &str, note: &str, svg: &str) {
    let _ = writeln!(
        out,
        "<h3>{title}</h3>\n<p class=\"note\">{note}</p>\n<figure>\n{svg}</figure>"
    );
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

fn classes(out: &mut String, variant: &VariantReport) {
    out.push_str("<div class=\"scroll\"><table>\n<thead><tr><th>layout</th><th class=\"l\">class</th><th>due/s</th><th>done/s</th><th>p50</th><th>p99</th><th>p99.9</th><th>max</th><th>p99 / low off [95 %]</th><th>driver late p99</th></tr></thead>\n<tbody>\n");
    for layout in &variant.layouts {
        for (at, class) in layout.classes.iter().enumerate() {
            class_row(out, variant, layout, class, at == 0);
        }
    }
    out.push_str("</tbody></table></div>\n");
}

fn class_row(
    out: &mut String,
    variant: &VariantReport,
    layout: &LayoutReport,
    class: &ClassReport,
    first: bool,
) {
    let best = variant.best.iter().any(|best| best == layout.name);
    let row = match (first, best) {
        (true, true) => "first best",
        (true, false) => "first",
        _ => "",
    };
    let low = if class.class == Rank::Low {
        " class=\"low\""
    } else {
        ""
    };
    let name = if first { layout.name } else { "" };
    let _ = write!(
        out,
        "<tr class=\"{row}\"><td>{name}</td><td class=\"l\">{}</td>",
        escape(&class.name)
    );
    let dash = || "–".to_owned();
    let latency = |value: fn(&super::LatencyReport) -> f64| {
        class.latency.as_ref().map_or_else(dash, |l| time(value(l)))
    };
    let ratio = class
        .p99_to_low_off
        .map_or_else(dash, |f| format!("{}{}", times(f.median), interval(&f)));
    for cell in [
        class
            .offered_per_s
            .map_or_else(|| "always".to_owned(), count),
        class.frames_per_s.map_or_else(dash, |f| count(f.median)),
        latency(|l| l.p50_us),
        latency(|l| l.p99_us.median),
        latency(|l| l.p99_9_us),
        latency(|l| l.max_us),
        ratio,
        class.driver_late_p99_us.map_or_else(dash, time),
    ] {
        let _ = write!(out, "<td{low}>{cell}</td>");
    }
    out.push_str("</tr>\n");
}

fn costs(out: &mut String, variant: &VariantReport) {
    out.push_str("<div class=\"scroll\"><table>\n<thead><tr><th>layout</th><th class=\"l\">is</th><th>CPU µs/frame</th><th>low off</th><th>switches/frame</th><th>hand-offs/frame</th><th>workers</th><th>threads</th><th>lines</th><th>low at once</th><th>server cores</th><th>driver cores</th></tr></thead>\n<tbody>\n");
    for l in &variant.layouts {
        let off = l
            .cpu_us_per_frame_low_off
            .map_or_else(|| "–".to_owned(), |us| format!("{us:.1}"));
        let _ = writeln!(
            out,
            "<tr class=\"first\"><td>{}</td><td class=\"l low\">{}</td><td>{:.1}</td><td>{off}</td><td>{:.2}</td><td>{:.2}</td><td>{}</td><td>{}</td><td>{}</td><td>{} of {}</td><td>{:.2}</td><td>{:.2}</td></tr>",
            l.name,
            escape(l.about),
            l.cpu_us_per_frame,
            l.switches_per_frame,
            l.hand_offs_per_frame,
            l.workers,
            l.threads,
            l.topology_lines,
            l.low_at_once_max,
            l.low_cap,
            l.cpu_cores,
            l.client_cpu_cores
        );
    }
    out.push_str("</tbody></table></div>\n");
}

fn topologies(out: &mut String, report: &Report) {
    let Some(variant) = report.variants.first() else {
        return;
    };
    out.push_str("<h2>The topologies</h2>\n<p class=\"note\">All that differs between the layouts; the handlers are the same. A connect address is filled in for each run.</p>\n");
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
    let names: Vec<&str> = report
        .workload
        .classes
        .iter()
        .map(|class| class.name.as_str())
        .collect();
    let load = report.machine.load_1min.map_or_else(String::new, |load| {
        format!(
            " The machine's load average at the end was {load:.1}, the lab's own work included."
        )
    });
    let _ = writeln!(
        out,
        "<footer><p><b>How it was measured.</b> A server process for each run, and one driving thread with network code of its own, on the same machine; the driver's CPU time is in the tables. Each round runs every layout, in an order that moves on from round to round; {warmup} s of warm-up before each run are not counted. Frames of {classes} are due on a schedule that does not wait for the server, unless a class always has work; latency runs from the moment a frame was due (coordinated omission), and how late the driver itself was is listed. Handlers that spin count CPU time, so being preempted makes them longer. Every answer is checked byte by byte, and for order. Ratios are paired by round; intervals are 95 % percentile bootstrap intervals of the median.{load}</p></footer>",
        warmup = report.warmup_seconds,
        classes = escape(&listed(&names)),
    );
}
