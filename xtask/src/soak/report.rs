//! What a soak has come to: as JSON, as text, and as a page.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use super::abuse::Deeds;
use super::judge::Account;
use super::plan::{ABUSES, ALL, Phase, QUIET};
use super::watch::{Sample, Trend, trend};

/// Growth of resident memory in all that counts as flat.
const RSS_KIB: f64 = 2048.0;
/// The same of descriptors, whose number moves with the sessions that come and go just then.
const FDS: f64 = 8.0;
/// The same of threads.
const THREADS: f64 = 0.5;

/// Latency of a network's answers in one phase.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Latency {
    answers: f64,
    p50_us: f64,
    p99_us: f64,
    max_us: f64,
}

/// One phase that was.
#[derive(Debug, Serialize)]
struct Done {
    name: &'static str,
    warm_up: bool,
    from_s: f64,
    for_s: f64,
    latency: BTreeMap<String, Latency>,
}

/// How it ended.
#[derive(Debug, Default, Serialize)]
pub(super) struct Ends {
    pub(super) innocents: bool,
    pub(super) peer: bool,
    /// Whether descriptors and threads were what they were before anybody connected, and all links
    /// open.
    pub(super) at_rest: bool,
    pub(super) links_open: u64,
    pub(super) after: Option<Sample>,
    /// Why the server did not end in good order.
    pub(super) server: Option<String>,
    /// The server's last counters.
    pub(super) mark: Value,
}

/// The report.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    seed: u64,
    minutes: f64,
    backend: String,
    cores: usize,
    before: Sample,
    phases: Vec<Done>,
    deeds: BTreeMap<&'static str, Deeds>,
    pub(super) account: Account,
    pub(super) ends: Ends,
    pub(super) processes_left: Vec<String>,
    trends: BTreeMap<&'static str, Option<Trend>>,
    pub(super) samples: Vec<Sample>,
    faults: Vec<String>,
}

/// Seconds, of which tenths tell enough.
fn tenths(time: Duration) -> f64 {
    (time.as_secs_f64() * 10.0).round() / 10.0
}

impl Report {
    pub(super) fn new(seed: u64, minutes: f64, backend: Option<&str>, before: Sample) -> Self {
        Self {
            seed,
            minutes,
            backend: backend.unwrap_or("the default").to_owned(),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            before,
            phases: Vec::new(),
            deeds: BTreeMap::new(),
            account: Account::default(),
            ends: Ends::default(),
            processes_left: Vec::new(),
            trends: BTreeMap::new(),
            samples: Vec::new(),
            faults: Vec::new(),
        }
    }

    /// A phase is over.
    ///
    /// # Errors
    /// The innocents have not told what they should.
    pub(super) fn phase(
        &mut self,
        phase: &Phase,
        from: Duration,
        told: &Value,
        deeds: BTreeMap<&'static str, Deeds>,
    ) -> Result<(), String> {
        let latency = told["latency"].as_object().ok_or("no latency was told")?;
        let of = |value: &Value| {
            let number = |name: &str| value[name].as_f64().unwrap_or(f64::NAN);
            Latency {
                answers: number("answers"),
                p50_us: number("p50_us"),
                p99_us: number("p99_us"),
                max_us: number("max_us"),
            }
        };
        self.phases.push(Done {
            name: phase.name,
            warm_up: phase.warm_up,
            from_s: tenths(from),
            for_s: tenths(phase.time),
            latency: latency
                .iter()
                .map(|(name, value)| (name.clone(), of(value)))
                .collect(),
        });
        for (abuse, done) in deeds {
            let sum = self.deeds.entry(abuse).or_default();
            for (name, count) in done {
                let sum = sum.entry(name.clone()).or_default();
                // A counter of the server's is a sum already.
                *sum = if name.ends_with("so far") {
                    count
                } else {
                    *sum + count
                };
            }
        }
        Ok(())
    }

    /// One mean a quiet phase, warm-up apart.
    fn trend_of(&self, value: fn(&Sample) -> f64, allowed: f64) -> Option<Trend> {
        let quiet = self.phases.iter().filter(|p| p.name == QUIET && !p.warm_up);
        let points = quiet.filter_map(|phase| {
            let inside = |s: &&Sample| {
                s.quiet && (phase.from_s..phase.from_s + phase.for_s + 0.5).contains(&s.at_s)
            };
            let samples: Vec<_> = self.samples.iter().filter(inside).collect();
            let n = samples.len() as f64;
            let mean = |of: fn(&Sample) -> f64| samples.iter().map(|s| of(s)).sum::<f64>() / n;
            (n > 0.0).then(|| (mean(|s| s.at_s), mean(value)))
        });
        trend(&points.collect::<Vec<_>>(), allowed)
    }

    /// All that breaks the promise.
    pub(super) fn faults(&self) -> Vec<String> {
        let mut faults = self.account.faults();
        for (name, trend) in &self.trends {
            match trend {
                Some(trend) if trend.flat => {}
                Some(trend) => faults.push(format!("{name} grow: {trend:?}")),
                None => faults.push(format!("{name}: too few samples to tell")),
            }
        }
        let ends = &self.ends;
        let mut unless = |good: bool, what: String| {
            if !good {
                faults.push(what);
            }
        };
        unless(self.account.answered > 0, "no frame was answered".into());
        unless(ends.innocents, "innocents did not finish".into());
        unless(ends.peer, "the links' peer did not end".into());
        let at_rest = format!(
            "not at rest: {} links open, before {:?}, after {:?}",
            ends.links_open, self.before, ends.after
        );
        unless(ends.at_rest, at_rest);
        unless(
            ends.server.is_none(),
            format!("the server: {:?}", ends.server),
        );
        let mark = |name: &str| ends.mark[name].as_u64();
        let closes = format!(
            "{:?} sessions opened, {:?} on_close",
            mark("opened"),
            mark("ended")
        );
        unless(
            mark("opened").is_some() && mark("opened") == mark("ended"),
            closes,
        );
        let wrong = ends.mark["links"]["wrong"].as_u64();
        unless(
            wrong == Some(0),
            format!("wrong answers on links: {wrong:?}"),
        );
        for abuse in ABUSES.map(super::plan::Abuse::name) {
            // The operator's acts are counted by the server.
            let done = self
                .deeds
                .get(abuse)
                .is_some_and(|deeds| deeds.values().any(|n| *n > 0.0));
            let acts = abuse == "operator" && mark("operator_acts") > Some(0);
            unless(done || acts, format!("the abuse {abuse} did nothing"));
        }
        let left = &self.processes_left;
        unless(
            left.is_empty(),
            format!("processes left: {}", left.join(", ")),
        );
        faults
    }

    /// Writes report.json, report.txt and report.html, and returns the text.
    ///
    /// # Errors
    /// They can't be written.
    pub(super) fn write(&mut self, folder: &Path) -> Result<String, String> {
        self.trends = BTreeMap::from([
            ("rss_kib", self.trend_of(|s| s.rss_kib, RSS_KIB)),
            ("fds", self.trend_of(|s| s.fds, FDS)),
            ("threads", self.trend_of(|s| s.threads, THREADS)),
        ]);
        self.faults = self.faults();
        let json = serde_json::to_string(self).map_err(|e| e.to_string())?;
        let text = self.text();
        // In a script nothing but `</` could end it.
        let page = include_str!("page.html")
            .replace("{{report}}", &json.replace("</", "<\\/"))
            .replace("{{text}}", &text.replace('&', "&amp;").replace('<', "&lt;"));
        std::fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        for (name, content) in [
            ("report.json", &json),
            ("report.txt", &text),
            ("report.html", &page),
        ] {
            let path = folder.join(name);
            std::fs::write(&path, content).map_err(|e| format!("{}: {e}", path.display()))?;
        }
        Ok(text)
    }

    /// The median over the phases of this name.
    fn median(&self, name: &str, network: &str, of: fn(&Latency) -> f64) -> f64 {
        let phases = self.phases.iter().filter(|p| p.name == name && !p.warm_up);
        let mut values: Vec<f64> = phases
            .filter_map(|phase| Some(of(phase.latency.get(network)?)))
            .collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
    }

    fn text(&self) -> String {
        let mut out = String::new();
        // Writing to a String does not fail.
        let _ = self.write_text(&mut out);
        out
    }

    fn write_text(&self, out: &mut String) -> std::fmt::Result {
        let Self {
            seed,
            minutes,
            backend,
            cores,
            account,
            ..
        } = self;
        writeln!(
            out,
            "soak of {minutes} minutes, seed {seed}, backend {backend}, {cores} cores\n"
        )?;
        writeln!(out, "innocent sessions      {:>12}", account.sessions)?;
        writeln!(out, "frames sent            {:>12}", account.sent)?;
        writeln!(out, "frames answered        {:>12}", account.answered)?;
        writeln!(out, "frames server accepted {:>12}", account.server_sent)?;
        writeln!(out, "  of these came        {:>12}", account.server_came)?;
        writeln!(out, "lost                   {:>12}", account.lost)?;
        writeln!(out, "doubled                {:>12}", account.doubled)?;
        writeln!(out, "reordered              {:>12}", account.reordered)?;
        writeln!(out, "corrupt                {:>12}", account.corrupt)?;
        writeln!(out, "sessions cut           {:>12}", account.cut)?;
        writeln!(
            out,
            "ended by operator {}, by policy {} ({} frames unanswered then), refused {}\n",
            account.by_operator, account.by_policy, account.unanswered_then, account.refused
        )?;
        for (name, trend) in &self.trends {
            let Some(t) = trend else { continue };
            writeln!(
                out,
                "{name:<8} {:>9.1} at first, {:>9.1} at last, {:+.3} a minute (standard error \
                 {:.3}), {:+.1} in all; flat: {}",
                t.first, t.last, t.per_minute, t.error, t.in_all, t.flat
            )?;
        }
        if let Some(after) = self.ends.after {
            let before = self.before;
            writeln!(
                out,
                "before anybody came: {} descriptors, {} threads; when all had gone: {}, {}\n",
                before.fds, before.threads, after.fds, after.threads
            )?;
        }
        self.write_latencies(out)?;
        writeln!(out, "\nserver: {}", self.ends.mark)?;
        match self.faults.as_slice() {
            [] => writeln!(out, "\nno fault"),
            faults => {
                writeln!(out, "\nFAULTS: {}", faults.join("; "))?;
                self.account
                    .words
                    .iter()
                    .try_for_each(|word| writeln!(out, "  {word}"))
            }
        }
    }

    fn write_latencies(&self, out: &mut String) -> std::fmt::Result {
        writeln!(
            out,
            "ms, median of phases   game p50    p99   lobby p50    p99    zone p50    p99   what \
             was done"
        )?;
        let names = ABUSES.map(super::plan::Abuse::name);
        for name in std::iter::once(QUIET).chain(names).chain([ALL]) {
            write!(out, "{name:<20}")?;
            for network in ["game", "lobby", "zone"] {
                let p50 = self.median(name, network, |l| l.p50_us) / 1000.0;
                let p99 = self.median(name, network, |l| l.p99_us) / 1000.0;
                write!(out, "  {p50:>9.2} {p99:>6.1}")?;
            }
            let deeds = self.deeds.get(name).into_iter().flatten();
            let deeds: Vec<_> = deeds
                .map(|(what, count)| format!("{what} {count}"))
                .collect();
            writeln!(out, "   {}", deeds.join(", "))?;
        }
        Ok(())
    }
}
