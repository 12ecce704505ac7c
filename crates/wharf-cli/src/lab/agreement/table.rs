//! The agreement in words: a row a cell, a verdict a workload, and the bound of an answer.

use super::{Agreement, Cell, Figure, LATENCY_OFF, OfWorkload, QUIET, THROUGHPUT_OFF};
use crate::lab::result::Phase;

impl OfWorkload {
    fn verdict(&self) -> String {
        let agree = self.cells.iter().filter(|cell| cell.agrees()).count();
        let itself = self.cells.iter().filter(|cell| cell.agrees_with_itself());
        let verb = if self.agrees {
            "agrees"
        } else {
            "does not agree"
        };
        let others = self.others.map_or(String::new(), |others| {
            format!("; other processes used {others:.2} cores")
        });
        format!(
            "  {}: {verb}, {agree} of {} rows within {:.0} % of latency and {:.0} % of throughput; \
             real against real {} of them{others}",
            self.workload,
            self.cells.len(),
            LATENCY_OFF * 100.0,
            THROUGHPUT_OFF * 100.0,
            itself.count()
        )
    }
}

impl Cell {
    fn row(&self) -> String {
        let phase = match self.phase {
            Phase::LowOff => "low off",
            _ => "full",
        };
        let per_s = format!(
            "{:.0} {:.0} {:+.0}%",
            self.per_s.real(),
            self.per_s.model(),
            self.per_s.off() * 100.0
        );
        format!(
            "  {:14} {:16} {phase:7} {:6} {per_s:>22} {:>46} {:>46} {}",
            self.workload,
            self.layout,
            self.class,
            latency(&self.p50_us),
            latency(&self.p99_us),
            if self.agrees() { "" } else { "*" }
        )
    }
}

fn latency(figure: &Figure) -> String {
    let (least, most) = figure.range();
    let itself = figure.off_itself();
    let itself = itself.map_or(String::new(), |off| format!(" ({:+.0}%)", off * 100.0));
    format!(
        "{:.0} [{least:.0}..{most:.0}] {:.0} {:+.0}%{itself}",
        figure.real(),
        figure.model(),
        figure.off() * 100.0
    )
}

impl Agreement {
    /// The table, a line a cell, and the verdict.
    pub(crate) fn table(&self) -> Vec<String> {
        let mut lines = vec![
            "  the server's workers on one core, its peers on another".to_owned(),
            format!(
                "  {} real rounds: their median, [least..most]; the model's median; how far it is \
                 off; (how far every second real round is off the others)",
                self.effort.rounds
            ),
            format!(
                "  {:14} {:16} {:7} {:6} {:>22} {:>46} {:>46}",
                "workload", "layout", "phase", "class", "frames/s", "p50 us", "p99 us"
            ),
        ];
        for of in &self.workloads {
            lines.extend(of.cells.iter().map(Cell::row));
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
        let cells = || self.workloads.iter().flat_map(|of| &of.cells);
        let worst = |of: fn(&Cell) -> &Figure| {
            let mut off: Vec<_> = cells().map(|cell| of(cell).off().abs()).collect();
            off.sort_by(f64::total_cmp);
            let at = |share: usize| off.get(off.len() * share / 10).copied().unwrap_or(0.0) * 100.0;
            format!(
                "{:.0} % in half of the rows, {:.0} % in nine of ten",
                at(5),
                at(9)
            )
        };
        format!(
            "error bound, from {} rows on this machine: p50 within {}; p99 within {}; throughput \
             within {}. The real runs had the server on one core and its peers on another, as if \
             on another machine; how threads spread over several cores is the model's word alone",
            cells().count(),
            worst(|cell| &cell.p50_us),
            worst(|cell| &cell.p99_us),
            worst(|cell| &cell.per_s)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::Effort;
    use super::*;

    fn figure(real: f64, model: f64) -> Figure {
        Figure {
            real: vec![real],
            model: vec![model],
        }
    }

    fn cell(per_s: (f64, f64), p50: (f64, f64), p99: (f64, f64)) -> Cell {
        let figure = |both: (f64, f64)| figure(both.0, both.1);
        Cell {
            workload: "fair".into(),
            layout: "lanes".into(),
            phase: Phase::Full,
            class: "game".into(),
            per_s: figure(per_s),
            p50_us: figure(p50),
            p99_us: figure(p99),
            late_p99_us: figure((0.0, 0.0)),
        }
    }

    #[test]
    fn a_row_agrees_only_if_all_three_are_near() {
        let (near, far) = ((100.0, 109.0), (100.0, 126.0));
        assert!(cell(near, (100.0, 124.0), (100.0, 76.0)).agrees());
        assert!(
            !cell((100.0, 111.0), near, near).agrees(),
            "throughput is held tighter"
        );
        assert!(!cell(near, far, near).agrees());
        assert!(!cell(near, near, (100.0, 74.0)).agrees());
        assert!(
            !cell(near, (0.0, 5.0), near).agrees(),
            "a latency out of nothing"
        );
    }

    #[test]
    fn a_row_tells_how_far_the_machine_is_off_itself() {
        let mut row = cell((100.0, 100.0), (100.0, 100.0), (100.0, 100.0));
        assert!(row.agrees_with_itself(), "a single round says nothing");
        row.p99_us = Figure {
            real: vec![100.0, 140.0, 110.0],
            model: vec![120.0; 3],
        };
        assert!(row.agrees() && !row.agrees_with_itself());
        let text = row.row();
        assert!(text.contains("110 [100..140] 120 +9% (+33%)"), "{text}");
    }

    #[test]
    fn it_holds_with_one_workload_off_and_not_with_two() {
        let of = |agrees| OfWorkload {
            workload: "fair".into(),
            agrees,
            others: Some(0.7),
            cells: vec![cell((1.0, 1.0), (1.0, 1.1), (1.0, 1.2))],
        };
        let agreement = |agree: [bool; 5]| Agreement {
            effort: Effort::default(),
            workloads: agree.map(of).into(),
        };
        assert!(agreement([true, true, false, true, true]).holds());
        let off = agreement([true, false, false, true, true]);
        assert!(!off.holds());
        assert!(off.disturbed().contains("0.7 cores"), "{}", off.disturbed());
        let table = off.table();
        assert_eq!(
            table.len(),
            3 + 2 * 5,
            "a row and a verdict each, under three lines of a head"
        );
        assert!(table[6].contains("does not agree"), "{table:?}");
        assert!(off.bound().contains("5 rows"), "{}", off.bound());
    }
}
