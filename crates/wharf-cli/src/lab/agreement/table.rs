//! The agreement in words: a line a row, a verdict a workload, and the bound of an answer.

use super::judge::{enough_known, share};
use super::{Agreement, Figure, Kind, OfWorkload, QUIET, Row, Verdict};
use crate::lab::result::Phase;
use crate::lab::rounds::Ground;

impl OfWorkload {
    /// Whether no row differs, and enough is known for that to mean something.
    pub(crate) fn agrees(&self) -> bool {
        let differs = |row: &Row| row.verdict() == Verdict::Differs;
        !self.rows.iter().any(differs) && enough_known(self.figures())
    }

    fn figures(&self) -> impl Iterator<Item = &Figure> + Clone {
        self.rows.iter().flat_map(|row| &row.figures)
    }

    fn verdict(&self) -> String {
        let count = |verdict| {
            let rows = self.rows.iter().filter(|row| row.verdict() == verdict);
            rows.count()
        };
        let verb = if self.agrees() {
            "agrees"
        } else {
            "does not agree"
        };
        let known = Kind::ALL.map(|kind| {
            let of_kind = self.figures().filter(|figure| figure.kind == kind);
            let known = of_kind.clone().filter(|figure| figure.is_known()).count();
            format!("{:.0} %", share(known, of_kind.count()) * 100.0)
        });
        let others = self.others.map_or(String::new(), |others| {
            let disturbed = self.disturbed;
            format!("; others took {others:.2} cores, and {disturbed} runs that do not count")
        });
        format!(
            "  {}: {verb}. Of {} rows {} agree, {} are open, {} differ; the machine is known well \
             enough in {} of throughputs, {} of p50, {} of p99{others}",
            self.workload,
            self.rows.len(),
            count(Verdict::Agrees),
            count(Verdict::Open),
            count(Verdict::Differs),
            known[0],
            known[1],
            known[2],
        )
    }
}

impl Row {
    /// The worst of its figures'.
    pub(crate) fn verdict(&self) -> Verdict {
        let verdicts = self.figures.iter().map(Figure::verdict);
        verdicts.max().unwrap_or(Verdict::Open)
    }

    fn line(&self, workload: &str) -> String {
        let phase = match self.phase {
            Phase::LowOff => "low off",
            _ => "full",
        };
        let ground = match self.ground {
            Ground::Apart => "one core",
            Ground::Beside => "all cores",
            Ground::Shared => "shared",
        };
        let variant = if self.variant.is_empty() { "" } else { "/" };
        let name = format!("{workload}{variant}{}", self.variant);
        let [per_s, p50, p99] = self.figures.each_ref().map(figure);
        let verdict = match self.verdict() {
            Verdict::Agrees => "",
            Verdict::Open => "open",
            Verdict::Differs => "differs",
        };
        format!(
            "  {name:14} {ground:9} {:16} {phase:7} {:6} {per_s:>34} {p50:>34} {p99:>34} {verdict}",
            self.layout, self.class,
        )
    }
}

fn figure(figure: &Figure) -> String {
    let (low, high) = figure.interval();
    let mark = match figure.verdict() {
        Verdict::Agrees => ' ',
        Verdict::Open => '?',
        Verdict::Differs => '*',
    };
    format!(
        "{:.0} [{low:.0}..{high:.0}] {:.0} {:+.0}%{mark}",
        figure.real(),
        figure.model(),
        figure.off() * 100.0
    )
}

impl Agreement {
    /// The table, a line a row, and the verdicts.
    pub(crate) fn table(&self) -> Vec<String> {
        let mut lines = vec![
            "  the server's workers on one core and its peers on another; or on all cores, with \
             the peers ahead of them on one"
                .to_owned(),
            "  each figure: the real rounds' median, [its 95 % interval]; the model's median; how \
             far that is off; * differs, ? open: the machine does not say well enough"
                .to_owned(),
            format!(
                "  {:14} {:9} {:16} {:7} {:6} {:>34} {:>34} {:>34}",
                "workload", "server on", "layout", "phase", "class", "frames/s", "p50 us", "p99 us"
            ),
        ];
        for of in &self.workloads {
            lines.extend(of.rows.iter().map(|row| row.line(&of.workload)));
            lines.push(of.verdict());
        }
        lines
    }

    /// That this machine was not quiet, if it was not.
    pub(crate) fn disturbed(&self) -> String {
        let others = self.workloads.iter().filter_map(|of| of.others);
        let most = others.fold(0.0, f64::max);
        if most < QUIET {
            return String::new();
        }
        format!(" Other processes kept up to {most:.1} cores busy during the real runs.")
    }

    /// How far the model was off, in one sentence.
    pub(crate) fn bound(&self) -> String {
        let rows = || self.workloads.iter().flat_map(|of| &of.rows);
        let worst = |kind: Kind| {
            let figures = rows().flat_map(|row| &row.figures);
            let figures = figures.filter(|figure| figure.kind == kind && figure.is_known());
            let mut off: Vec<_> = figures.map(|figure| figure.off().abs()).collect();
            off.sort_by(f64::total_cmp);
            let at = |tenths: usize| {
                let at = off.len() * tenths / 10;
                off.get(at).copied().unwrap_or(0.0) * 100.0
            };
            format!(
                "{:.0} % in half and {:.0} % in nine of ten of {}",
                at(5),
                at(9),
                off.len()
            )
        };
        format!(
            "error bound, from the figures that this machine gives well enough, of {} rows: p50 \
             within {}; p99 within {}; throughput within {}",
            rows().count(),
            worst(Kind::P50),
            worst(Kind::P99),
            worst(Kind::PerS)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Five rounds near `real`, all simulated as `model`.
    fn row(real: [f64; 3], model: [f64; 3]) -> Row {
        let mut figures = Kind::ALL.map(Figure::new);
        for (figure, (real, model)) in figures.iter_mut().zip(real.into_iter().zip(model)) {
            for share in [0.99, 1.0, 1.01, 0.995, 1.005] {
                figure.measured(real * share);
                figure.simulated(model);
            }
        }
        Row {
            ground: Ground::Beside,
            variant: "spin".into(),
            layout: "lanes".into(),
            phase: Phase::Full,
            class: "game".into(),
            figures,
            rounds: Vec::new(),
            cpu: Vec::new(),
            switches_per_s: Vec::new(),
        }
    }

    fn of(rows: Vec<Row>) -> OfWorkload {
        OfWorkload {
            workload: "fair".into(),
            others: Some(0.7),
            disturbed: 0,
            rows,
        }
    }

    #[test]
    fn a_row_is_as_good_as_its_worst_figure() {
        let near = row([1000.0, 100.0, 400.0], [1050.0, 120.0, 320.0]);
        assert_eq!(near.verdict(), Verdict::Agrees);
        let far = row([1000.0, 100.0, 400.0], [1050.0, 120.0, 240.0]);
        assert_eq!(far.verdict(), Verdict::Differs);
        let line = far.line("argument");
        assert!(
            line.contains("argument/spin") && line.contains("all cores"),
            "{line}"
        );
        assert!(line.contains("400 [396..404] 240 -40%*"), "{line}");
        assert!(line.contains("100 [99..101] 120 +20% "), "{line}");
    }

    #[test]
    fn it_holds_with_one_workload_off_and_not_with_two() {
        let agrees = || of(vec![row([10.0, 10.0, 10.0], [10.0, 11.0, 12.0])]);
        let differs = || {
            let off = row([10.0, 10.0, 10.0], [12.0, 10.0, 10.0]);
            of(vec![row([10.0; 3], [10.0; 3]), off])
        };
        assert!(agrees().agrees() && !differs().agrees());
        let agreement = |off: usize| Agreement {
            workloads: (0..5)
                .map(|at| if at < off { differs() } else { agrees() })
                .collect(),
        };
        assert!(agreement(0).holds() && agreement(1).holds());
        let off = agreement(2);
        assert!(!off.holds());
        assert!(off.disturbed().contains("0.7 cores"), "{}", off.disturbed());
        let table = off.table();
        assert_eq!(
            table.len(),
            3 + 7 + 5,
            "three lines of a head, a row, and a verdict each"
        );
        assert!(table[5].contains("does not agree"), "{table:?}");
        assert!(
            table[5].contains("1 agree, 0 are open, 1 differ"),
            "{table:?}"
        );
        assert!(off.bound().contains("7 rows"), "{}", off.bound());
    }

    #[test]
    fn a_workload_whose_figures_nobody_knows_does_not_agree() {
        let mut wild = row([10.0; 3], [10.0; 3]);
        wild.figures[2] = Figure::new(Kind::P99);
        for real in [4.0, 30.0, 10.0, 80.0, 2.0, 10.0, 60.0] {
            wild.figures[2].measured(real);
            wild.figures[2].simulated(10.0);
        }
        assert_eq!(wild.verdict(), Verdict::Open, "nothing contradicts it");
        assert!(!of(vec![wild]).agrees(), "and nothing bears it out");
    }
}
