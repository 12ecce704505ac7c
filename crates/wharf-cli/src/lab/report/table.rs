//! The report as text, and how its numbers are written everywhere.

use std::fmt;

use super::figures::Figure;
use super::{ClassReport, LayoutReport, Report, VariantReport};

/// `812 µs`, `3.42 ms`, `1.20 s`.
pub(super) fn time(us: f64) -> String {
    match us {
        us if us < 999.5 => format!("{us:.0} µs"),
        us if us < 9_995.0 => format!("{:.2} ms", us / 1e3),
        us if us < 99_950.0 => format!("{:.1} ms", us / 1e3),
        us if us < 999_500.0 => format!("{:.0} ms", us / 1e3),
        us => format!("{:.2} s", us / 1e6),
    }
}

/// `12,345`.
pub(super) fn count(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1.23 times [1.10 .. 1.40]`.
pub(super) fn ratio(figure: &Figure) -> String {
    format!("{} times{}", times(figure.median), interval(figure))
}

/// ` [1.10 .. 1.40]`, or nothing.
pub(super) fn interval(figure: &Figure) -> String {
    figure.interval.map_or_else(String::new, |(low, high)| {
        format!(" [{} .. {}]", times(low), times(high))
    })
}

/// `1.23`, `12.3`, `123`.
pub(super) fn times(ratio: f64) -> String {
    match ratio {
        ratio if ratio < 9.995 => format!("{ratio:.2}"),
        ratio if ratio < 99.95 => format!("{ratio:.1}"),
        ratio => format!("{ratio:.0}"),
    }
}

/// `a, b and c`.
pub(super) fn listed(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n{}", self.workload.description)?;
        writeln!(
            f,
            "{}; {} of {} s",
            self.machine.in_words(),
            rounds(self.rounds),
            self.seconds
        )?;
        for (class, per_s) in self.ceilings() {
            writeln!(f, "one-core ceiling of {class}: {} frames/s", count(per_s))?;
        }
        for variant in &self.variants {
            self.variant(f, variant)?;
        }
        let faults = self.faults;
        write!(f, "\n{} answers checked", count_u64(self.verified))?;
        if faults.any() {
            write!(
                f,
                "; FAULT: {} lost, {} doubled, {} reordered, {} corrupt, {} sessions cut",
                faults.lost, faults.doubled, faults.reordered, faults.corrupt, faults.cut
            )
        } else {
            write!(f, ", each came once, in order, with the right bytes")
        }
    }
}

/// `1 round`, `2 rounds`.
pub(super) fn rounds(rounds: u32) -> String {
    format!("{rounds} {}", if rounds == 1 { "round" } else { "rounds" })
}

/// `, variant x`, or nothing.
pub(super) fn named(variant: &str) -> String {
    if variant.is_empty() {
        String::new()
    } else {
        format!(", variant {variant}")
    }
}

/// A whole number with its thousands marked.
#[expect(
    clippy::cast_precision_loss,
    reason = "counts of a run are far below 2^53"
)]
pub(super) fn count_u64(value: u64) -> String {
    count(value as f64)
}

impl Report {
    fn variant(&self, f: &mut fmt::Formatter<'_>, variant: &VariantReport) -> fmt::Result {
        let title = format!("{}{}", self.workload.name, named(&variant.name));
        writeln!(f, "\n{title}\n{}\n", "-".repeat(title.chars().count()))?;
        writeln!(
            f,
            "{:17} {:9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}  p99 / p99 with low off",
            "layout", "class", "due/s", "done/s", "p50", "p99", "p99.9", "max"
        )?;
        for layout in &variant.layouts {
            for (at, class) in layout.classes.iter().enumerate() {
                let name = if at == 0 { layout.name } else { "" };
                class_row(f, name, class)?;
            }
        }
        writeln!(
            f,
            "\n{:17} {:>9} {:>9} {:>9} {:>9} {:>8} {:>8} {:>6} {:>14} {:>7}",
            "layout",
            "cpu µs/fr",
            "low off",
            "switch/fr",
            "handoff/f",
            "threads",
            "workers",
            "lines",
            "low at once",
            "client"
        )?;
        for layout in &variant.layouts {
            layout_row(f, layout)?;
        }
        writeln!(f)?;
        wrap(f, &variant.verdict)
    }
}

fn class_row(f: &mut fmt::Formatter<'_>, layout: &str, class: &ClassReport) -> fmt::Result {
    let dash = || "-".to_owned();
    let offered = match class.offered_per_s {
        Some(per_s) => count(per_s),
        None => "always".into(),
    };
    let done = class
        .frames_per_s
        .map_or_else(dash, |done| count(done.median));
    write!(f, "{layout:17} {:9} {offered:>9} {done:>9}", class.name)?;
    match &class.latency {
        Some(l) => write!(
            f,
            " {:>9} {:>9} {:>9} {:>9}",
            time(l.p50_us),
            time(l.p99_us.median),
            time(l.p99_9_us),
            time(l.max_us)
        )?,
        None => write!(f, " {:>9} {:>9} {:>9} {:>9}", "-", "-", "-", "-")?,
    }
    match &class.p99_to_low_off {
        Some(figure) => writeln!(f, "  {}{}", times(figure.median), interval(figure)),
        None => writeln!(f),
    }
}

fn layout_row(f: &mut fmt::Formatter<'_>, layout: &LayoutReport) -> fmt::Result {
    let low_off = layout.cpu_us_per_frame_low_off;
    let low_off = low_off.map_or_else(|| "-".to_owned(), |us| format!("{us:.1}"));
    let switches = layout.switches_per_frame;
    let switches = switches.map_or_else(|| "-".to_owned(), |n| format!("{n:.2}"));
    let threads = layout.threads;
    let threads = threads.map_or_else(|| "-".to_owned(), |n| n.to_string());
    let at_once = format!("{} of {}", layout.low_at_once_max, layout.low_cap);
    writeln!(
        f,
        "{:17} {:>9.1} {low_off:>9} {switches:>9} {:>9.2} {threads:>8} {:>8} {:>6} {at_once:>14} \
         {:>7.2}",
        layout.name,
        layout.cpu_us_per_frame,
        layout.hand_offs_per_frame,
        layout.workers,
        layout.topology_lines,
        layout.client_cpu_cores
    )
}

/// Lines of at most 96 characters.
fn wrap(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    let mut width = 0;
    for word in text.split(' ') {
        let len = word.chars().count();
        if width > 0 && width + 1 + len > 96 {
            writeln!(f)?;
            width = 0;
        }
        if width > 0 {
            write!(f, " ")?;
            width += 1;
        }
        write!(f, "{word}")?;
        width += len;
    }
    writeln!(f)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!(time(12.4), "12 µs");
        assert_eq!(time(3_420.0), "3.42 ms");
        assert_eq!(time(34_200.0), "34.2 ms");
        assert_eq!(time(342_000.0), "342 ms");
        assert_eq!(time(3_420_000.0), "3.42 s");
        assert_eq!(count(0.0), "0");
        assert_eq!(count(1234.5), "1,234");
        assert_eq!(count(1_234_567.0), "1,234,567");
        assert_eq!(listed(&["a"]), "a");
        assert_eq!(listed(&["a", "b", "c"]), "a, b and c");
        let figure = Figure {
            median: 1.5,
            interval: Some((1.25, 12.0)),
        };
        assert_eq!(ratio(&figure), "1.50 times [1.25 .. 12.0]");
    }
}
