//! All runs of a comparison, interleaved: round by round, each with every layout, so that what
//! drifts in the machine hits all of them alike.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::layout::{Layout, TopologyText, alone, place};
use super::one::{self, Order};
use super::result::{Faults, Phase, Run};
use super::workload::{Class, Load, Workload};
use crate::exit::Failure;

/// Looks for a ceiling: what disturbs one makes it lower, never higher, so the best counts.
const CEILING_LOOKS: u32 = 3;
/// Longest of them.
const CEILING_TIME: Duration = Duration::from_secs(2);

/// What to compare.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Name or file, as the user gave it.
    pub(crate) workload_arg: String,
    /// The workload.
    pub(crate) workload: Workload,
    /// The layouts, in the order of the report.
    pub(crate) layouts: Vec<Layout>,
    /// At least one.
    pub(crate) rounds: u32,
    /// Measured time of a run.
    pub(crate) time: Duration,
    /// Before it.
    pub(crate) warmup: Duration,
    /// Look for the ceiling of the high classes, instead of their latency.
    pub(crate) ceiling: bool,
    /// Cores of this machine.
    pub(crate) cores: usize,
    /// Where the topologies go.
    pub(crate) out: PathBuf,
    /// Which cores the server and its peers have.
    pub(crate) ground: Ground,
}

/// Which cores the server and its peers have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ground {
    /// Both have all of them, as the system shares them out.
    Shared,
    /// The server has one core, its peers have another: nearest to peers on another machine.
    Apart,
    /// The server has all cores, and its peers run ahead of it on one: its threads spread.
    Beside,
}

impl Ground {
    /// Core of the server, where it has one.
    pub(crate) const SERVER: usize = 0;
    /// Core of its peers, where they have one.
    pub(crate) const PEERS: usize = 1;

    /// A topology on this ground.
    pub(crate) fn put(self, topology: TopologyText) -> TopologyText {
        match self {
            Self::Shared | Self::Beside => topology,
            Self::Apart => topology.on_core(Self::SERVER),
        }
    }

    /// The core of the peers, if they have one of their own.
    pub(crate) fn peers_on(self) -> Option<usize> {
        (self != Self::Shared).then_some(Self::PEERS)
    }
}

/// A one-core ceiling: variant, class, frames a second.
pub(crate) type Ceiling = (String, String, f64);

/// All that was measured.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    /// Wall clock at the start.
    pub(crate) started: SystemTime,
    /// One-core ceilings: variant, class, frames a second.
    pub(crate) ceilings: Vec<Ceiling>,
    /// In the order they were made.
    pub(crate) runs: Vec<Run>,
    /// What each layout is.
    pub(crate) topologies: Vec<(Layout, TopologyText)>,
}

/// A run that begins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step<'a> {
    /// Its number, from 1.
    pub(crate) number: usize,
    /// Runs in all, those that look for a ceiling not counted.
    pub(crate) of: usize,
    /// The layout's name, or the class whose ceiling is looked for.
    pub(crate) what: &'a str,
    /// The variant's name.
    pub(crate) variant: &'a str,
    /// From 0.
    pub(crate) round: u32,
    /// What is on.
    pub(crate) phase: Option<Phase>,
}

impl Plan {
    /// What each round measures of each layout and variant.
    pub(super) fn phases(&self, workload: &Workload) -> Vec<Phase> {
        match (self.ceiling, workload.low_sends()) {
            (true, _) => vec![Phase::Ceiling],
            (false, true) => vec![Phase::Full, Phase::LowOff],
            (false, false) => vec![Phase::Full],
        }
    }

    /// Runs of all rounds.
    pub(crate) fn runs(&self) -> usize {
        let variants = self.workload.each_variant();
        let phases: usize = variants.iter().map(|v| self.phases(&v.1).len()).sum();
        phases * self.layouts.len() * self.rounds as usize
    }

    /// How long all of it takes, at least.
    pub(crate) fn at_least(&self) -> Duration {
        let runs = u32::try_from(self.runs()).unwrap_or(u32::MAX);
        (self.time + self.warmup + Duration::from_millis(100)).saturating_mul(runs)
    }

    /// Makes every run; `step` hears of each before it begins.
    ///
    /// # Errors
    /// The first run that could not be made.
    pub(crate) fn run(
        &self,
        mut step: impl FnMut(Step<'_>) -> Result<(), Failure>,
    ) -> Result<Outcome, Failure> {
        let started = SystemTime::now();
        let variants = self.workload.each_variant();
        let ceilings = self.ceilings(&variants, &mut step)?;
        let mut runs = Vec::new();
        for round in 0..self.rounds {
            for (variant, workload) in &variants {
                for (layout, phase) in self.order(workload, round) {
                    step(Step {
                        number: runs.len() + 1,
                        of: self.runs(),
                        what: layout.name(),
                        variant,
                        round,
                        phase: Some(phase),
                    })?;
                    runs.push(self.make((variant, workload), layout, phase, round, &ceilings)?);
                }
            }
        }
        let topology = |layout: &Layout| (*layout, place(*layout, self.cores, &self.workload, &[]));
        Ok(Outcome {
            started,
            ceilings,
            runs,
            topologies: self.layouts.iter().map(topology).collect(),
        })
    }

    /// Makes one run of a variant.
    ///
    /// # Errors
    /// A run that could not be made.
    pub(super) fn make(
        &self,
        (variant, workload): (&str, &Workload),
        layout: Layout,
        phase: Phase,
        round: u32,
        ceilings: &[Ceiling],
    ) -> Result<Run, Failure> {
        let alone = (phase == Phase::LowOff).then(|| workload.low_off());
        let workload = alone.as_ref().unwrap_or(workload);
        let of_variant = ceilings.iter().filter(|ceiling| ceiling.0 == variant);
        let of_variant: Vec<_> = of_variant
            .map(|(_, class, per_s)| (class.clone(), *per_s))
            .collect();
        let order = Order {
            phase,
            round,
            ceilings: &of_variant,
            ..self.order_of(layout.name(), variant, workload)
        };
        one::run(&order, |peers| {
            self.ground.put(place(layout, self.cores, workload, peers))
        })
    }

    /// The one-core ceiling of each class that asks for it, by variant. Classes that are alike have
    /// one in common: two looks would give equal classes unequal loads.
    pub(super) fn ceilings(
        &self,
        variants: &[(String, Workload)],
        step: &mut impl FnMut(Step<'_>) -> Result<(), Failure>,
    ) -> Result<Vec<Ceiling>, Failure> {
        let mut known: Vec<(&Class, f64)> = Vec::new();
        let mut ceilings = Vec::new();
        for (variant, workload) in variants {
            for class in workload
                .classes
                .iter()
                .filter(|class| self.asks_ceiling(class))
            {
                let alike = known.iter().find(|(other, _)| other.costs_as(class));
                let per_s = if let Some((_, per_s)) = alike {
                    *per_s
                } else {
                    step(Step {
                        number: 0,
                        of: self.runs(),
                        what: &class.name,
                        variant,
                        round: 0,
                        phase: None,
                    })?;
                    self.measure_ceiling(variant, workload, class)?
                };
                known.push((class, per_s));
                ceilings.push((variant.clone(), class.name.clone(), per_s));
            }
        }
        Ok(ceilings)
    }

    /// The runs of one round: the layouts' order moves on by one each round, and so does which of
    /// the phases comes first, so that no layout always has the same neighbour.
    pub(super) fn order(&self, workload: &Workload, round: u32) -> Vec<(Layout, Phase)> {
        let mut phases = self.phases(workload);
        if round % 2 == 1 {
            phases.reverse();
        }
        let first = round as usize % self.layouts.len().max(1);
        let mut layouts = self.layouts.clone();
        layouts.rotate_left(first);
        let both = |layout: Layout| phases.iter().map(move |phase| (layout, *phase));
        layouts.into_iter().flat_map(both).collect()
    }

    fn order_of<'a>(
        &'a self,
        layout: &'a str,
        variant: &'a str,
        workload: &'a Workload,
    ) -> Order<'a> {
        Order {
            layout,
            phase: Phase::Full,
            round: 0,
            workload_arg: &self.workload_arg,
            variant,
            workload,
            ceilings: &[],
            time: self.time,
            warmup: self.warmup,
            out: &self.out,
            ground: self.ground,
        }
    }

    /// A class that saturates anyway needs no ceiling.
    fn asks_ceiling(&self, class: &Class) -> bool {
        let saturates = self.ceiling && class.class == super::workload::Rank::High;
        matches!(class.load, Load::ShareOfCeiling { .. }) && !saturates
    }

    /// Frames a second that one worker on one core can do with this class alone.
    fn measure_ceiling(
        &self,
        variant: &str,
        workload: &Workload,
        class: &Class,
    ) -> Result<f64, Failure> {
        let mut only = workload.clone();
        for other in &mut only.classes {
            other.load = if other.name == class.name {
                Load::Saturate {
                    depth: one::ceiling_depth(class.sessions),
                }
            } else {
                Load::Silent
            };
        }
        let order = Order {
            time: self.time.min(CEILING_TIME),
            ..self.order_of("alone", variant, &only)
        };
        let mut best = 0.0;
        let mut faults = Faults::default();
        for _ in 0..CEILING_LOOKS {
            let run = one::run(&order, |peers| {
                self.ground.put(alone(&class.name, &only, peers))
            })?;
            let per_s = run
                .class(&class.name)
                .map_or(0.0, |class| class.frames_per_s);
            best = f64::max(best, per_s);
            faults.add(&run.faults());
        }
        if best > 0.0 && !faults.any() {
            return Ok(best);
        }
        Err(Failure::fault(format!(
            "class {}: its one-core ceiling could not be measured: {best} frames/s, {faults:?}",
            class.name
        )))
    }
}
