//! Small drawings: enough SVG for three kinds of charts. Colours and fonts are the style sheet's.

use std::fmt::Write as _;

/// A drawing that grows.
#[derive(Debug)]
pub(super) struct Svg {
    out: String,
}

/// Where text stands relative to its point.
#[derive(Clone, Copy, Debug)]
pub(super) enum Anchor {
    /// It starts there.
    Start,
    /// It is centred there.
    Middle,
    /// It ends there.
    End,
}

impl Svg {
    /// An empty drawing; `label` is what a screen reader says.
    pub(super) fn new(width: f64, height: f64, label: &str) -> Self {
        let label = escape(label);
        let out = format!(
            "<svg viewBox=\"0 0 {width:.0} {height:.0}\" role=\"img\" aria-label=\"{label}\" \
             preserveAspectRatio=\"xMinYMin meet\">\n"
        );
        Self { out }
    }

    /// The markup.
    pub(super) fn end(mut self) -> String {
        self.out.push_str("</svg>\n");
        self.out
    }

    // Writing to a String does not fail.

    pub(super) fn line(&mut self, from: (f64, f64), to: (f64, f64), class: &str) {
        let ((x1, y1), (x2, y2)) = (from, to);
        let _ = writeln!(
            self.out,
            "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" class=\"{class}\"/>"
        );
    }

    pub(super) fn text(&mut self, at: (f64, f64), anchor: Anchor, class: &str, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let (x, y) = at;
        let text = escape(text);
        let _ = writeln!(
            self.out,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" class=\"{class}\">{text}\
             </text>"
        );
    }

    /// Text that runs upwards, centred at a point.
    pub(super) fn text_up(&mut self, at: (f64, f64), class: &str, text: &str) {
        let (x, y) = at;
        let text = escape(text);
        let _ = writeln!(
            self.out,
            "<text transform=\"translate({x:.1},{y:.1}) rotate(-90)\" text-anchor=\"middle\" \
             class=\"{class}\">{text}</text>"
        );
    }

    pub(super) fn circle(&mut self, at: (f64, f64), radius: f64, class: &str, title: &str) {
        let (x, y) = at;
        let title = escape(title);
        let _ = writeln!(
            self.out,
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\" class=\"{class}\"><title>{title}\
             </title></circle>"
        );
    }

    pub(super) fn rect(&mut self, at: (f64, f64), size: (f64, f64), class: &str, title: &str) {
        let ((x, y), (width, height)) = (at, size);
        let title = escape(title);
        let _ = writeln!(
            self.out,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" rx=\"2\" \
             class=\"{class}\"><title>{title}</title></rect>"
        );
    }

    pub(super) fn path(&mut self, points: &[(f64, f64)], class: &str, title: &str) {
        let mut data = String::new();
        for (at, (x, y)) in points.iter().enumerate() {
            let _ = write!(data, "{}{x:.1},{y:.1}", if at == 0 { 'M' } else { 'L' });
        }
        let title = escape(title);
        let _ = writeln!(
            self.out,
            "<path d=\"{data}\" class=\"{class}\"><title>{title}</title></path>"
        );
    }

    /// A path closed down to `floor` and filled.
    pub(super) fn area(&mut self, points: &[(f64, f64)], floor: f64, class: &str, title: &str) {
        let (Some(first), Some(last)) = (points.first(), points.last()) else {
            return;
        };
        let mut closed = vec![(first.0, floor)];
        closed.extend_from_slice(points);
        closed.push((last.0, floor));
        self.path(&closed, class, title);
    }
}

/// Text that can't be taken for markup.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c => out.push(c),
        }
    }
    out
}

/// A logarithmic axis from values to a place on the page.
#[derive(Clone, Copy, Debug)]
pub(super) struct LogAxis {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl LogAxis {
    /// Holds all `values` with a little air; `from` is where the lowest is drawn.
    pub(super) fn around(values: impl Iterator<Item = f64>, from: f64, to: f64) -> Self {
        let (low, high) = values
            .filter(|value| value.is_finite() && *value > 0.0)
            .fold((f64::MAX, f64::MIN_POSITIVE), |(low, high), v| {
                (low.min(v), high.max(v))
            });
        let (low, high) = if low > high { (1.0, 10.0) } else { (low, high) };
        // A decade at least, or noise would look like a landscape.
        let missing = (10.0 * low / high).max(1.0).sqrt();
        Self {
            low: low / missing / 1.15,
            high: high * missing * 1.15,
            from,
            to,
        }
    }

    pub(super) fn at(&self, value: f64) -> f64 {
        let value = value.clamp(self.low, self.high);
        let share = (value / self.low).ln() / (self.high / self.low).ln();
        self.from + share * (self.to - self.from)
    }

    /// Lines of the grid: the value, and whether it is labelled.
    pub(super) fn grid(&self) -> Vec<(f64, bool)> {
        let decades = (self.high / self.low).log10();
        let first = self.low.log10().floor();
        let mut all = Vec::new();
        let mut decade = 10f64.powf(first);
        while decade <= self.high {
            for step in 1..10 {
                let value = decade * f64::from(step);
                if value >= self.low && value <= self.high {
                    let labelled = step == 1 || (decades < 2.5 && matches!(step, 2 | 5));
                    all.push((value, labelled));
                }
            }
            decade *= 10.0;
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_hold_their_values() {
        let axis = LogAxis::around([120.0, 40_000.0].into_iter(), 100.0, 500.0);
        assert!(axis.at(120.0) > 100.0 && axis.at(40_000.0) < 500.0);
        assert!(axis.at(1000.0) < axis.at(2000.0));
        let labels: Vec<f64> = axis
            .grid()
            .into_iter()
            .filter(|line| line.1)
            .map(|line| line.0)
            .collect();
        assert!(
            labels
                .iter()
                .any(|label| (label / 1000.0 - 1.0).abs() < 1e-9),
            "{labels:?}"
        );
        let narrow = LogAxis::around([100.0].into_iter(), 0.0, 1.0);
        assert!(narrow.grid().iter().filter(|line| line.1).count() >= 2);
    }

    #[test]
    fn text_is_no_markup() {
        let mut svg = Svg::new(10.0, 10.0, "a \"b\"");
        svg.text((1.0, 2.0), Anchor::Start, "t", "<script>&");
        let markup = svg.end();
        assert!(markup.contains("&lt;script&gt;&amp;") && markup.contains("&quot;b&quot;"));
    }
}
