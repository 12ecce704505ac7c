//! What one run of a workload under one layout gave; real runs and the model fill the same types.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::workload::Rank;

/// Latencies of one class: nanoseconds from the moment a frame was due until its answer.
pub(crate) type Latencies = Histogram<u64>;

/// An empty histogram: 1 ns to 100 s, three digits.
///
/// # Panics
/// Never: the bounds are constants that fit.
pub(crate) fn latencies() -> Latencies {
    Histogram::new_with_bounds(1, 100_000_000_000, 3)
        .unwrap_or_else(|_| unreachable!("the bounds fit"))
}

/// One run: a workload, one variant of it, under one layout.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    /// The layout's name.
    pub(crate) layout: String,
    /// From 0; runs of one round are neighbours in time.
    pub(crate) round: u32,
    /// The variant's name; empty if the workload has none.
    pub(crate) variant: String,
    /// What was switched on.
    pub(crate) phase: Phase,
    /// Measured time, warm-up excluded.
    pub(crate) seconds: f64,
    /// In the order of the workload.
    pub(crate) classes: Vec<ClassRun>,
    /// The server process.
    pub(crate) server: ServerRun,
    /// CPU seconds of the driver in the measured time.
    pub(crate) client_cpu_s: f64,
    /// CPU use of the server over time: (second since the start of the run, cores busy).
    pub(crate) cpu_over_time: Vec<(f64, f64)>,
}

/// What of a workload a run switches on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Phase {
    /// All of it.
    Full,
    /// The high classes; the low ones are connected and silent.
    LowOff,
    /// The high classes saturating, to find their ceiling; the low ones as they are.
    Ceiling,
}

/// What one class got in one run.
#[derive(Clone, Debug)]
pub(crate) struct ClassRun {
    /// Its name.
    pub(crate) name: String,
    /// Whether it is high or low.
    pub(crate) class: Rank,
    /// Frames a second that were due; `None` in a closed loop.
    pub(crate) offered_per_s: Option<f64>,
    /// Frames a second that the server handled (and answered, where the class has answers).
    pub(crate) frames_per_s: f64,
    /// From due to answer; empty without answers.
    pub(crate) latency: Latencies,
    /// From due to sent: how far behind its schedule the driver was. Part of `latency`.
    pub(crate) late: Latencies,
    /// Frames due that were never sent, because too many were on their way already.
    pub(crate) unsent: u64,
    /// Answers that came and were right.
    pub(crate) verified: u64,
    /// What was wrong with them, and frames never answered.
    pub(crate) faults: Faults,
}

/// What was wrong with answers, each counted apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Faults {
    /// Sent and never answered.
    pub(crate) lost: u64,
    /// Answered again.
    pub(crate) doubled: u64,
    /// Answered behind a later one.
    pub(crate) reordered: u64,
    /// With a wrong byte, or of another session.
    pub(crate) corrupt: u64,
    /// Connections that ended before the run did.
    pub(crate) cut: u64,
}

impl Faults {
    /// Whether anything was wrong.
    pub(crate) fn any(&self) -> bool {
        *self != Self::default()
    }

    /// Adds another run's.
    pub(crate) fn add(&mut self, other: &Self) {
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.reordered += other.reordered;
        self.corrupt += other.corrupt;
        self.cut += other.cut;
    }
}

/// What the server process counted in the measured time.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct ServerRun {
    /// CPU seconds, user and system.
    pub(crate) cpu_s: f64,
    /// Frames handled, all classes.
    pub(crate) frames: u64,
    /// Context switches: the thread waited; `None` where the system does not say.
    pub(crate) switches_voluntary: Option<u64>,
    /// Context switches: the thread was preempted; `None` where the system does not say.
    pub(crate) switches_involuntary: Option<u64>,
    /// Sessions given from a port's worker to a pool's thread.
    pub(crate) hand_offs: u64,
    /// Threads of the process; `None` where the system does not say.
    pub(crate) threads: Option<u64>,
    /// Most handlers of low classes that ran at once: counted in the handlers.
    pub(crate) low_at_once_max: u64,
    /// Most workers that low classes may hold under this layout, where it says.
    pub(crate) low_cap: Option<u64>,
    /// Lines of the topology.
    pub(crate) topology_lines: u64,
    /// Workers of all ports and pools.
    pub(crate) workers: u64,
}

impl Run {
    /// The class of this name.
    pub(crate) fn class(&self, name: &str) -> Option<&ClassRun> {
        self.classes.iter().find(|class| class.name == name)
    }

    /// What was wrong, all classes together.
    pub(crate) fn faults(&self) -> Faults {
        let mut all = Faults::default();
        self.classes.iter().for_each(|class| all.add(&class.faults));
        all
    }
}
