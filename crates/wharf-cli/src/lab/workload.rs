//! Workload files: which classes of sessions there are, how they are loaded, what a frame costs.
//!
//! A workload is a pure value; reading one touches nothing but its text. Rates and depths are those
//! of the whole class unless a field says "each".

mod check;
mod file;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::nearest::nearest;

/// The workloads that the program carries.
const SAMPLES: [(&str, &str); 5] = [
    (
        "argument",
        include_str!("../../../../workloads/argument.toml"),
    ),
    (
        "blocking",
        include_str!("../../../../workloads/blocking.toml"),
    ),
    ("fair", include_str!("../../../../workloads/fair.toml")),
    ("burst", include_str!("../../../../workloads/burst.toml")),
    (
        "idle_low",
        include_str!("../../../../workloads/idle_low.toml"),
    ),
];

/// One load: its classes, and the variants of it that are run one after the other.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Workload {
    /// What the user calls it.
    pub(crate) name: String,
    /// One sentence for the report.
    pub(crate) description: String,
    /// In the order of the file.
    pub(crate) classes: Vec<Class>,
    /// Empty: the workload is run as it stands.
    pub(crate) variants: Vec<Variant>,
}

/// Sessions that are alike. Its name is the name of its network in a topology.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Class {
    /// The network's name.
    pub(crate) name: String,
    /// What the process under test is in it.
    pub(crate) role: Role,
    /// Whether it matters.
    pub(crate) class: Rank,
    /// Sessions, or links of a client.
    pub(crate) sessions: u32,
    /// What the far end sends.
    pub(crate) load: Load,
    /// Bytes of a frame on the wire, its header included.
    pub(crate) frame_bytes: u16,
    /// What a frame costs its handler.
    pub(crate) handler: Handler,
    /// Whether each frame is answered. Without answers there is no latency to measure.
    pub(crate) replies: bool,
}

/// What the process under test is in a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    /// It listens; the lab connects.
    Server,
    /// It connects; the lab listens.
    Client,
}

/// Whether a class may make others wait, or must not be made to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Rank {
    /// Players.
    High,
    /// Links and the like.
    Low,
}

/// What the far end of a class sends.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub(crate) enum Load {
    /// Open loop: frames are due on a schedule, whatever the server does.
    Rate {
        /// Frames a second, all sessions together.
        per_s: f64,
        /// How they are spread in time.
        arrivals: Arrivals,
    },
    /// Open loop at a share of what one worker on one core can do with this class alone; the
    /// ceiling is measured before the first round.
    ShareOfCeiling {
        /// Above 0, below 1 for a load that one core could carry.
        share: f64,
        /// How they are spread in time.
        arrivals: Arrivals,
    },
    /// Closed loop: each session keeps `depth` frames on their way.
    Saturate {
        /// Frames on their way, each session.
        depth: u32,
    },
    /// Open loop: `frames` are due at once, dealt over the sessions, every `every_ms`.
    Bursts {
        /// Milliseconds from one burst to the next.
        every_ms: f64,
        /// Frames of a burst, all sessions together.
        frames: u32,
    },
    /// Connected, and silent.
    Silent,
}

/// How the frames of an open loop are spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Arrivals {
    /// Gaps are exponential: frames of independent players.
    #[default]
    Poisson,
    /// Gaps are all the same.
    Even,
}

/// What a frame costs the handler.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Handler {
    /// How the time is spent.
    pub(crate) kind: Work,
    /// How much of it.
    pub(crate) cost: Cost,
}

/// How a handler spends its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Work {
    /// It answers at once.
    None,
    /// It computes: a core is busy, and preemption makes it take longer.
    Spin,
    /// It blocks: the worker is occupied, the core is free.
    Sleep,
}

/// Microseconds a frame.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub(crate) enum Cost {
    /// Always the same.
    Fixed {
        /// Microseconds.
        us: f64,
    },
    /// Anything in between is as likely.
    Uniform {
        /// Least, in microseconds.
        min_us: f64,
        /// Most, in microseconds.
        max_us: f64,
    },
    /// Exponential: many short, few long.
    Exponential {
        /// Mean, in microseconds.
        mean_us: f64,
    },
}

/// A workload with some classes changed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Variant {
    /// What the user calls it.
    pub(crate) name: String,
    /// By class: what is different.
    pub(crate) changes: Vec<(String, Change)>,
}

/// What a variant changes in a class.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Change {
    /// Another cost of a frame.
    pub(crate) handler: Option<Handler>,
    /// Another load.
    pub(crate) load: Option<Load>,
}

impl Handler {
    /// Answers at once.
    pub(crate) const NONE: Self = Self {
        kind: Work::None,
        cost: Cost::Fixed { us: 0.0 },
    };

    /// Mean time a frame, in microseconds.
    pub(crate) fn mean_us(&self) -> f64 {
        match self.cost {
            Cost::Fixed { us } => us,
            Cost::Uniform { min_us, max_us } => f64::midpoint(min_us, max_us),
            Cost::Exponential { mean_us } => mean_us,
        }
    }

    /// The time of one frame; `unit` is uniform in 0.0 .. 1.0.
    pub(crate) fn time(&self, unit: f64) -> Duration {
        let us = match self.cost {
            Cost::Fixed { us } => us,
            Cost::Uniform { min_us, max_us } => min_us + unit * (max_us - min_us),
            // By inversion; 1 - unit is never 0.
            Cost::Exponential { mean_us } => -mean_us * (1.0 - unit).ln(),
        };
        Duration::from_secs_f64(us.clamp(0.0, check::HANDLER_US_MAX) / 1e6)
    }
}

impl Load {
    /// Frames a second that are due, if the schedule says so; `ceiling` is the one-core ceiling.
    pub(crate) fn offered_per_s(&self, ceiling: f64) -> Option<f64> {
        match *self {
            Self::Rate { per_s, .. } => Some(per_s),
            Self::ShareOfCeiling { share, .. } => Some(share * ceiling),
            Self::Bursts { every_ms, frames } => Some(f64::from(frames) * 1000.0 / every_ms),
            Self::Saturate { .. } => None,
            Self::Silent => Some(0.0),
        }
    }
}

impl Class {
    /// Whether a frame of `other` is the same work, whatever is sent and however much it matters.
    pub(crate) fn costs_as(&self, other: &Self) -> bool {
        let work = |class: &Self| {
            let Self {
                role,
                sessions,
                frame_bytes,
                handler,
                replies,
                ..
            } = *class;
            (role, sessions, frame_bytes, handler, replies)
        };
        work(self) == work(other)
    }
}

impl Workload {
    /// The names of the workloads that the program carries.
    pub(crate) fn sample_names() -> impl Iterator<Item = &'static str> {
        SAMPLES.iter().map(|(name, _)| *name)
    }

    /// A workload by the name of a sample, or by the path of a file.
    ///
    /// # Errors
    /// What is wrong, where, and the nearest right spelling.
    pub(crate) fn find(name_or_file: &str) -> Result<Self, String> {
        if let Some((name, text)) = SAMPLES.iter().find(|(name, _)| *name == name_or_file) {
            return Self::parse(text, name);
        }
        let is_path = name_or_file.contains(['/', '\\', '.']);
        match std::fs::read_to_string(name_or_file) {
            Ok(text) => Self::parse(&text, name_or_file),
            Err(error) if is_path => Err(format!("workload file {name_or_file}: {error}")),
            Err(_) => {
                let names: Vec<_> = Self::sample_names().collect();
                Err(format!(
                    "there is no workload \"{name_or_file}\"{}; those built in are {}; a file is \
                     named by its path",
                    nearest(name_or_file, &names),
                    names.join(", ")
                ))
            }
        }
    }

    /// Reads the text of a workload file.
    ///
    /// # Errors
    /// What is wrong, with `file`, the line, and the nearest right spelling.
    pub(crate) fn parse(text: &str, file: &str) -> Result<Self, String> {
        file::parse(text, file)
    }

    /// The workload as one of its variants has it.
    ///
    /// # Errors
    /// An unknown name, with the nearest right one.
    pub(crate) fn variant(&self, name: &str) -> Result<Self, String> {
        let Some(variant) = self.variants.iter().find(|variant| variant.name == name) else {
            let names: Vec<_> = self.variants.iter().map(|v| v.name.as_str()).collect();
            return Err(format!(
                "workload {}: there is no variant \"{name}\"{}; it has {}",
                self.name,
                nearest(name, &names),
                names.join(", ")
            ));
        };
        let mut changed = self.clone();
        changed.variants.clear();
        for class in &mut changed.classes {
            let change = variant.changes.iter().find(|(name, _)| *name == class.name);
            if let Some((_, change)) = change {
                class.handler = change.handler.unwrap_or(class.handler);
                class.load = change.load.unwrap_or(class.load);
            }
        }
        Ok(changed)
    }

    /// Every variant with its name, or the workload itself with an empty name.
    pub(crate) fn each_variant(&self) -> Vec<(String, Self)> {
        if self.variants.is_empty() {
            return vec![(String::new(), self.clone())];
        }
        let made =
            |variant: &Variant| Some((variant.name.clone(), self.variant(&variant.name).ok()?));
        self.variants.iter().filter_map(made).collect()
    }

    /// The same with every low class connected and silent: what the high classes are like alone.
    pub(crate) fn low_off(&self) -> Self {
        let mut alone = self.clone();
        for class in &mut alone.classes {
            if class.class == Rank::Low {
                class.load = Load::Silent;
            }
        }
        alone
    }

    /// Whether a low class sends anything.
    pub(crate) fn low_sends(&self) -> bool {
        self.low().any(|class| class.load != Load::Silent)
    }

    /// The classes that matter.
    pub(crate) fn high(&self) -> impl Iterator<Item = &Class> {
        self.classes
            .iter()
            .filter(|class| class.class == Rank::High)
    }

    /// The others.
    pub(crate) fn low(&self) -> impl Iterator<Item = &Class> {
        self.classes.iter().filter(|class| class.class == Rank::Low)
    }
}
