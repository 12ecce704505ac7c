//! Tables of a run: medians, and how each server stands to wharf, round by round.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::super::stats::{Estimate, bootstrap, median};
use super::cells::{Cell, Kind};
use super::servers::SUBJECT;
use super::store::{Of, Store};

/// All rounds of a figure of one server.
pub(super) fn all(of: &Of, figure: &str) -> Vec<f64> {
    let rounds = of.rounds.values();
    rounds.filter_map(|f| f.get(figure).copied()).collect()
}

/// The median of its rounds.
pub(super) fn middle(of: &Of, figure: &str) -> f64 {
    median(&all(of, figure))
}

/// The mean of its rounds: for what the kernel only samples, and one round is too short for.
pub(super) fn mean(of: &Of, figure: &str) -> f64 {
    let values = all(of, figure);
    values.iter().sum::<f64>() / values.len() as f64
}

/// The median of the ratios of the rounds that both have, with its interval.
pub(super) fn ratio(of: &Of, to: &Of, figure: &str) -> Option<Estimate> {
    let pairs = of.rounds.iter().filter_map(|(round, figures)| {
        Some(figures.get(figure)? / to.rounds.get(round)?.get(figure)?)
    });
    let ratios: Vec<f64> = pairs.filter(|r| r.is_finite()).collect();
    bootstrap(ratios.len(), |drawn| {
        median(&drawn.iter().map(|&n| ratios[n]).collect::<Vec<_>>())
    })
}

/// The servers of a cell by a figure, the least first; without those that never ran.
pub(super) fn sorted<'a>(
    servers: &'a BTreeMap<String, Of>,
    figure: &str,
) -> Vec<(&'a str, &'a Of)> {
    let ran = servers.iter().filter(|(_, of)| !of.rounds.is_empty());
    let mut all: Vec<_> = ran.map(|(name, of)| (name.as_str(), of)).collect();
    all.sort_by(|a, b| middle(a.1, figure).total_cmp(&middle(b.1, figure)));
    all
}

/// What sorts the tables and is plotted.
pub(super) fn first_figure(cell: &Cell) -> &'static str {
    match cell.kind {
        Kind::Idle => "bytes_a_session",
        _ => "cpu_us",
    }
}

/// All tables, as Markdown.
pub(super) fn markdown(store: &Store) -> String {
    let mut text = String::new();
    for (name, servers) in &store.cells {
        let Some(cell) = Cell::parse(name) else {
            continue;
        };
        // Writing to a String does not fail.
        let _ = writeln!(text, "### {name}\n\n{}\n", heading(&cell, servers));
        text += &match cell.kind {
            Kind::Idle => memory_table(servers),
            _ => table(&cell, servers) + &counts_table(&cell, servers),
        };
        for (server, of) in servers {
            if let Some(why) = &of.failed {
                let _ = writeln!(text, "\n{server} failed: {why}");
            }
        }
        let disturbed: u64 = servers.values().map(|of| of.disturbed).sum();
        if disturbed > 0 {
            let _ = writeln!(
                text,
                "\n{disturbed} runs are left out: other programs had taken a core."
            );
        }
        text.push('\n');
    }
    for line in &store.skipped {
        let _ = writeln!(text, "skipped: {line}");
    }
    text
}

fn heading(cell: &Cell, servers: &BTreeMap<String, Of>) -> String {
    let counts = servers.values().map(|of| of.rounds.len());
    let counts: Vec<usize> = counts.filter(|count| *count > 0).collect();
    let least = counts.iter().min().copied().unwrap_or(0);
    let most = counts.iter().max().copied().unwrap_or(0);
    let rounds = match (least, most) {
        (0, _) => "counted, not timed".into(),
        (1, 1) => "1 round".into(),
        _ if least == most => format!("{least} rounds"),
        _ => format!("{least} to {most} rounds"),
    };
    let Cell {
        connections,
        depth,
        size,
        workers,
        ..
    } = cell;
    let what = match cell.kind {
        Kind::Echo => {
            format!("Echo, {connections} connections, {depth} in flight each, {size} bytes a frame")
        }
        Kind::Broadcast { senders } => format!(
            "A room: {senders} senders, {connections} receivers, {size} bytes a frame; \
             latency is to the last receiver"
        ),
        Kind::Churn => format!("{connections} at a time: connect, one frame, its reply, close"),
        Kind::Idle => format!("{connections} idle sessions after one frame each"),
    };
    let place = if *workers > 1 {
        format!("{workers} workers, nothing pinned")
    } else {
        "one worker on its own core".into()
    };
    format!("{what}; {place}; {rounds}.")
}

/// What was counted in passes of their own: the fewest instructions first.
fn counts_table(cell: &Cell, servers: &BTreeMap<String, Of>) -> String {
    let counted = servers.iter().filter(|(_, of)| !of.counts.is_empty());
    let mut counted: Vec<_> = counted.collect();
    let known = |of: &Of, name: &str| of.counts.get(name).copied();
    counted.sort_by(|a, b| {
        let [a, b] = [a.1, b.1].map(|of| known(of, "instructions").unwrap_or(f64::MAX));
        a.total_cmp(&b)
    });
    if counted.is_empty() {
        return String::new();
    }
    let mut text = format!(
        "\n| server | instructions a {} | system calls | which |\n|---|--:|--:|---|\n",
        cell.unit()
    );
    for (name, of) in counted {
        let number = |name: &str, decimals: usize| {
            known(of, name).map_or("".into(), |n| format!("{n:.decimals$}"))
        };
        let calls = of.counts.iter().filter(|(call, count)| {
            !matches!(call.as_str(), "calls" | "instructions") && **count >= CALLS_SHOWN_MIN
        });
        let which: Vec<String> = calls.map(|(call, n)| format!("{call} {n:.3}")).collect();
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} |",
            bold(name),
            number("instructions", 0),
            number("calls", 3),
            which.join(", ")
        );
    }
    text
}

/// Calls of a frame that are not worth a word.
const CALLS_SHOWN_MIN: f64 = 0.002;

/// The name of wharf stands out.
fn bold(name: &str) -> String {
    if name == SUBJECT {
        format!("**{name}**")
    } else {
        name.to_owned()
    }
}

fn table(cell: &Cell, servers: &BTreeMap<String, Of>) -> String {
    if servers.values().all(|of| of.rounds.is_empty()) {
        return String::new();
    }
    let unit = cell.unit();
    let plural = unit
        .strip_suffix('y')
        .map_or(format!("{unit}s"), |u| format!("{u}ies"));
    let mut text = format!(
        "| server | CPU µs a {unit} | to wharf | {plural}/s | to wharf | user µs | system µs \
         | p50 µs | p99 µs | p99.9 µs | switches | RSS MiB |\n\
         |---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n"
    );
    let subject = servers.get(SUBJECT);
    for (name, of) in sorted(servers, "cpu_us") {
        let cpu = middle(of, "cpu_us");
        let user = mean(of, "user_us");
        let to = |figure| match subject {
            Some(subject) if name != SUBJECT => ratio(of, subject, figure).map_or("".into(), |r| {
                format!("{:.2} [{:.2} .. {:.2}]", r.middle, r.low, r.high)
            }),
            _ => "1".into(),
        };
        let name = bold(name);
        let _ = writeln!(
            text,
            "| {name} | {cpu:.3} | {} | {} | {} | {user:.3} | {:.3} | {:.0} | {:.0} | {:.0} \
             | {:.4} | {:.1} |",
            to("cpu_us"),
            thousands(middle(of, "per_second")),
            to("per_second"),
            (mean(of, "cpu_us") - user).max(0.0),
            middle(of, "p50_us"),
            middle(of, "p99_us"),
            middle(of, "p99_9_us"),
            middle(of, "switches"),
            middle(of, "rss_bytes") / f64::from(1 << 20),
        );
    }
    text
}

fn memory_table(servers: &BTreeMap<String, Of>) -> String {
    let mut text = "| server | bytes a session | least | most | RSS MiB |\n\
                    |---|--:|--:|--:|--:|\n"
        .to_owned();
    for (name, of) in sorted(servers, "bytes_a_session") {
        let values = all(of, "bytes_a_session");
        let (least, most) = values
            .iter()
            .fold((f64::MAX, 0.0_f64), |(a, b), v| (a.min(*v), b.max(*v)));
        let name = bold(name);
        let _ = writeln!(
            text,
            "| {name} | {:.0} | {least:.0} | {most:.0} | {:.1} |",
            median(&values),
            middle(of, "rss_bytes") / f64::from(1 << 20),
        );
    }
    text
}

fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[(u64, f64)]) -> Of {
        let rounds = values
            .iter()
            .map(|&(round, cpu)| (round, BTreeMap::from([("cpu_us".to_owned(), cpu)])));
        Of {
            rounds: rounds.collect(),
            ..Of::default()
        }
    }

    #[test]
    fn only_rounds_that_both_have_are_paired() {
        let (a, b) = (
            of(&[(0, 2.0), (1, 20.0), (2, 200.0), (7, 5.0)]),
            of(&[(0, 1.0), (1, 10.0), (2, 100.0), (8, 9.0)]),
        );
        let ratio = ratio(&a, &b, "cpu_us").expect("three pairs");
        assert_eq!((ratio.low, ratio.middle, ratio.high), (2.0, 2.0, 2.0));
    }

    #[test]
    fn the_table_has_the_least_first_and_names_wharf() {
        let servers = BTreeMap::from([
            ("wharf".to_owned(), of(&[(0, 3.0)])),
            ("mio".to_owned(), of(&[(0, 6.0)])),
            ("never".to_owned(), Of::default()),
        ]);
        let cell = Cell::parse("broadcast-1x9-64").expect("known");
        let text = table(&cell, &servers);
        let rows: Vec<&str> = text.lines().skip(2).collect();
        assert!(text.contains("deliveries/s"), "{text}");
        assert!(
            rows.len() == 2 && rows[0].starts_with("| **wharf** | 3.000 | 1 |"),
            "{text}"
        );
        assert!(rows[1].contains("2.00 [2.00 .. 2.00]"), "{text}");
        assert_eq!(thousands(1_234_567.4) + &thousands(12.0), "1,234,56712");
    }
}
