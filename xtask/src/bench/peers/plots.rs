//! Drawings of a run, for README and docs: a panel a cell, a bar a server.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use svg::Document;
use svg::node::element::{Line, Rectangle, Style, Text};

use super::super::stats::{bootstrap, median};
use super::cells::{Cell, Kind};
use super::report::{all, first_figure, mean, middle, sorted};
use super::servers::SUBJECT;
use super::store::{Of, Store};

/// The house's colours (those of the lab's page), for light and dark pages.
const STYLE: &str = "
svg { --bg: #ffffff; --ink: #1c1e21; --soft: #5c636b; --line: #e4e5e3;
      --ours: #0072b2; --limit: #8a9199; --peer: #c98500; }
@media (prefers-color-scheme: dark) {
  svg { --bg: #1c1f23; --ink: #e8e9ea; --soft: #9aa2ab; --line: #30353b;
        --ours: #56b4e9; --limit: #7d858e; --peer: #e69f00; }
}
text { font: 12.5px system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif;
       fill: var(--ink); font-variant-numeric: tabular-nums; }
.title { font-size: 14px; font-weight: 600; } .soft { fill: var(--soft); font-size: 11.5px; }
.us { font-weight: 700; } .page { fill: var(--bg); } .grid { stroke: var(--line); }
.whisker { stroke: var(--ink); stroke-width: 1.3; }
.ours { fill: var(--ours); } .limit { fill: var(--limit); } .peer { fill: var(--peer); }
.kernel { opacity: .45; }
";

const WIDTH: f64 = 980.0;
const COLUMNS: usize = 2;
const PANEL: f64 = WIDTH / COLUMNS as f64;
const ROW: f64 = 22.0;
const BAR: f64 = 13.0;
/// Inside a panel: names to the left, numbers to the right, the title above, the axis below.
const LEFT: f64 = 112.0;
const RIGHT: f64 = 66.0;
const TOP: f64 = 62.0;
const BELOW: f64 = 44.0;

/// Writes the drawings and says their names.
pub(super) fn draw(store: &Store, folder: &Path, out: &mut dyn Write) -> Result<(), String> {
    std::fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let panels: Vec<Panel<'_>> = store.cells.iter().filter_map(Panel::of).collect();
    let is_echo = |panel: &&Panel<'_>| panel.cell.kind == Kind::Echo;
    let echo: Vec<&Panel<'_>> = panels.iter().filter(is_echo).collect();
    let others: Vec<&Panel<'_>> = panels.iter().filter(|p| !is_echo(p)).collect();
    for (name, panels) in [("echo", echo), ("rooms-and-sessions", others)] {
        if panels.is_empty() {
            continue;
        }
        let path = folder.join(format!("{name}.svg"));
        let text = page(&panels).to_string() + "\n";
        std::fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display()))?;
        writeln!(out, "drawn: {}", path.display()).map_err(|e| format!("cannot print: {e}"))?;
    }
    Ok(())
}

/// One cell: its servers with what is drawn of them.
struct Panel<'a> {
    cell: Cell,
    rows: Vec<(&'a str, Bar)>,
}

/// The figure, the part of it that is our own process's code, and its interval.
struct Bar {
    value: f64,
    user: f64,
    interval: Option<(f64, f64)>,
}

impl<'a> Panel<'a> {
    fn of((name, servers): &'a (String, BTreeMap<String, Of>)) -> Option<Self> {
        let cell = Cell::parse(name)?;
        let figure = first_figure(&cell);
        let rows: Vec<_> = sorted(servers, figure)
            .into_iter()
            .map(|(name, of)| (name, Bar::of(of, figure)))
            .collect();
        (!rows.is_empty()).then_some(Self { cell, rows })
    }

    fn title(&self) -> String {
        let Cell {
            connections,
            depth,
            size,
            workers,
            ..
        } = self.cell;
        let title = match self.cell.kind {
            Kind::Echo => format!("Echo: {connections} connections × {depth}, {size} bytes"),
            Kind::Broadcast { senders } => format!("Room: {senders} to {connections}"),
            Kind::Churn => format!("Connect, one frame, close: {connections} at a time"),
            Kind::Idle => format!("{connections} idle sessions"),
        };
        if workers > 1 {
            format!("{title}, {workers} workers")
        } else {
            title
        }
    }

    fn axis(&self) -> String {
        match self.cell.kind {
            Kind::Idle => "bytes of memory a session".into(),
            _ => format!(
                "µs of server CPU a {}: own code, then kernel",
                self.cell.unit()
            ),
        }
    }
}

impl Bar {
    fn of(of: &Of, figure: &str) -> Self {
        let values = all(of, figure);
        let estimate = bootstrap(values.len(), |drawn| {
            median(&drawn.iter().map(|&n| values[n]).collect::<Vec<_>>())
        });
        let value = middle(of, figure);
        let user = mean(of, "user_us");
        Self {
            value,
            user: if user.is_finite() {
                user.min(value)
            } else {
                value
            },
            interval: estimate.map(|e| (e.low, e.high)),
        }
    }

    fn most(&self) -> f64 {
        self.interval
            .map_or(self.value, |(_, high)| high.max(self.value))
    }
}

fn class(server: &str) -> &'static str {
    match server {
        name if name.starts_with(SUBJECT) => "ours",
        name if name.starts_with("bare-") => "limit",
        _ => "peer",
    }
}

fn page(panels: &[&Panel<'_>]) -> Document {
    let mut document = Document::new().add(Style::new(STYLE));
    let mut body = Vec::new();
    let mut top = 0.0;
    for pair in panels.chunks(COLUMNS) {
        let rows = pair.iter().map(|panel| panel.rows.len()).max().unwrap_or(0);
        for (column, panel) in pair.iter().enumerate() {
            body.push((panel, PANEL * column as f64, top));
        }
        top += TOP + ROW * rows as f64 + BELOW;
    }
    let whole = Rectangle::new().set("width", WIDTH).set("height", top);
    document = document
        .set("viewBox", (0.0, 0.0, WIDTH, top))
        .set("role", "img")
        .add(whole.set("rx", 6).set("class", "page"));
    for (panel, left, top) in body {
        document = draw_panel(document, panel, left, top);
    }
    document
}

fn text(at: (f64, f64), anchor: &str, class: &str, words: &str) -> Text {
    Text::new(words)
        .set("x", format!("{:.1}", at.0))
        .set("y", format!("{:.1}", at.1))
        .set("text-anchor", anchor)
        .set("class", class)
}

fn line(from: (f64, f64), to: (f64, f64), class: &str) -> Line {
    Line::new()
        .set("x1", format!("{:.1}", from.0))
        .set("y1", format!("{:.1}", from.1))
        .set("x2", format!("{:.1}", to.0))
        .set("y2", format!("{:.1}", to.1))
        .set("class", class)
}

fn bar(at: (f64, f64), width: f64, class: &str) -> Rectangle {
    Rectangle::new()
        .set("x", format!("{:.1}", at.0))
        .set("y", format!("{:.1}", at.1))
        .set("width", format!("{:.1}", width.max(0.0)))
        .set("height", BAR)
        .set("class", class)
}

fn draw_panel(mut document: Document, panel: &Panel<'_>, left: f64, top: f64) -> Document {
    let (from, to) = (left + LEFT, left + PANEL - RIGHT);
    let most = panel.rows.iter().map(|(_, b)| b.most()).fold(0.0, f64::max);
    let x = |value: f64| from + value / most * (to - from);
    let bottom = top + TOP + ROW * panel.rows.len() as f64;
    document = document.add(text(
        (left + 16.0, top + 30.0),
        "start",
        "title",
        &panel.title(),
    ));
    document = document.add(text(
        (left + 16.0, top + 48.0),
        "start",
        "soft",
        &panel.axis(),
    ));
    let step = nice(most / 4.0);
    let mut value = 0.0;
    while value <= most {
        let at = x(value);
        document = document.add(line((at, top + TOP - 4.0), (at, bottom), "grid"));
        let tick = number(value, step);
        document = document.add(text((at, bottom + 16.0), "middle", "soft", &tick));
        value += step;
    }
    for (row, (name, drawn)) in panel.rows.iter().enumerate() {
        let y = top + TOP + ROW * row as f64 + ROW / 2.0;
        let class = class(name);
        let weight = if class == "ours" { "us" } else { "" };
        document = document.add(text((from - 10.0, y + 4.0), "end", weight, name));
        let above = y - BAR / 2.0;
        document = document.add(bar((from, above), x(drawn.user) - from, class));
        let kernel = x(drawn.value) - x(drawn.user);
        document = document.add(bar(
            (x(drawn.user), above),
            kernel,
            &format!("{class} kernel"),
        ));
        if let Some((low, high)) = drawn.interval {
            document = document.add(line((x(low), y), (x(high), y), "whisker"));
            for end in [x(low), x(high)] {
                document = document.add(line((end, y - 3.5), (end, y + 3.5), "whisker"));
            }
        }
        let value = number(drawn.value, drawn.value / 100.0);
        let at = (x(drawn.most()) + 7.0, y + 4.0);
        document = document.add(text(at, "start", weight, &value));
    }
    document
}

/// With as many decimals as tell steps of this size apart.
fn number(value: f64, step: f64) -> String {
    let decimals = (-step.log10().floor()).clamp(0.0, 3.0);
    // At most 3, as just clamped.
    #[expect(clippy::cast_possible_truncation, reason = "between 0 and 3")]
    #[expect(clippy::cast_sign_loss, reason = "between 0 and 3")]
    let decimals = decimals as usize;
    format!("{value:.decimals$}")
}

/// 1, 2 or 5 times a power of ten, at least `value`.
fn nice(value: f64) -> f64 {
    let power = 10_f64.powf(value.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * power);
    steps
        .into_iter()
        .find(|step| *step >= value)
        .unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[f64]) -> Of {
        let figures = |cpu: f64| {
            BTreeMap::from([
                ("cpu_us".to_owned(), cpu),
                ("user_us".to_owned(), cpu / 4.0),
            ])
        };
        Of {
            rounds: (0..).zip(values.iter().map(|cpu| figures(*cpu))).collect(),
            ..Of::default()
        }
    }

    #[test]
    fn a_panel_has_a_bar_a_server_and_no_markup_of_a_name() {
        let servers = BTreeMap::from([
            ("wharf".to_owned(), of(&[1.0, 1.2, 1.1])),
            ("a<b".to_owned(), of(&[3.0])),
        ]);
        let cell = ("echo-64x1-64".to_owned(), servers);
        let panel = Panel::of(&cell).expect("a panel");
        assert_eq!(panel.rows[0].0, "wharf");
        let text = page(&[&panel]).to_string();
        assert!(text.contains("64 connections × 1, 64 bytes"), "{text}");
        assert!(text.contains("a&lt;b") && text.contains("1.10"), "{text}");
        assert_eq!(text.matches("class=\"peer kernel\"").count(), 1, "{text}");
    }

    #[test]
    fn numbers_have_the_decimals_that_matter() {
        assert_eq!(number(4.2, 0.042), "4.20");
        assert_eq!(number(5000.0, 50.0), "5000");
        assert_eq!(
            (nice(0.7), nice(130.0), nice(4_100.0)),
            (1.0, 200.0, 5_000.0)
        );
    }
}
