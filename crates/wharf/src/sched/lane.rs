//! A lane as users declare it.

use std::time::Duration;

use super::lanes::LaneSpec;

/// A scheduling class inside a port or a pool: lanes are declared highest first, and at each turn
/// boundary the highest lane below its cap wins (G6).
///
/// ```
/// use std::time::Duration;
/// use wharf::{Host, Lane};
///
/// let mut host = Host::new();
/// let front = host
///     .port("front")
///     .workers(4)
///     .lane(Lane::new("players"))
///     .lane(Lane::new("backend").workers_max(1).starve_after(Duration::from_millis(500)))
///     .build()?;
/// assert_eq!(front.lanes().collect::<Vec<_>>(), ["players", "backend"]);
/// # Ok::<(), wharf::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a lane is given to a port or pool with .lane(..)"]
pub struct Lane {
    pub(crate) name: String,
    pub(crate) also: Vec<String>,
    pub(crate) workers_max: Option<usize>,
    pub(crate) workers_min: usize,
    pub(crate) starve_after: Option<Duration>,
    pub(crate) frames_per_turn_max: Option<usize>,
    pub(crate) turn_time_max: Option<Duration>,
    pub(crate) nice: Option<i32>,
}

impl Lane {
    /// The lane of a port or pool that declares none.
    pub(crate) const DEFAULT: &'static str = "main";

    /// A lane with this name, without a cap.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            also: Vec::new(),
            workers_max: None,
            workers_min: 0,
            starve_after: None,
            frames_per_turn_max: None,
            turn_time_max: None,
            nice: None,
        }
    }

    /// One more name that it answers to, besides its own. A layout with fewer lanes than the code
    /// names gives the names to those it has, and the code need not know: where sessions that pay
    /// have no lane of their own, say, `Lane::new("players").also("vip")`. In a topology file:
    /// `also = ["vip"]`.
    pub fn also(mut self, name: &str) -> Self {
        self.also.push(name.to_owned());
        self
    }

    /// The most workers that may run its turns at once. What comes beyond stays in the kernel.
    /// Default: all.
    pub fn workers_max(mut self, workers: usize) -> Self {
        self.workers_max = Some(workers);
        self
    }

    /// Workers that other lanes leave free for it, even while it has nothing to run. Default: 0.
    pub fn workers_min(mut self, workers: usize) -> Self {
        self.workers_min = workers;
        self
    }

    /// Ageing: with something queued and no turn for so long, the lane gets the next turn, whatever
    /// higher lanes have queued. One turn, and the clock starts again. Default: never.
    pub fn starve_after(mut self, time: Duration) -> Self {
        self.starve_after = Some(time);
        self
    }

    /// The most frames or jobs of one turn in this lane, if that is less than what the network
    /// allows.
    pub fn frames_per_turn_max(mut self, frames: usize) -> Self {
        self.frames_per_turn_max = Some(frames);
        self
    }

    /// How long one turn in this lane may take before others come, if that is less than what the
    /// network allows. Looked at between frames: a callback is never interrupted.
    pub fn turn_time_max(mut self, time: Duration) -> Self {
        self.turn_time_max = Some(time);
        self
    }

    /// The nice value of a worker while it runs a turn of this lane, -20 (first) to 19 (last).
    /// A cap keeps workers for the higher lanes; where cores are short, this keeps the cores: the
    /// system takes one from a turn that computes as soon as another worker wants it. Two system
    /// calls a turn. Default: what the port or pool has.
    ///
    /// A worker comes back to its own nice value after the turn, which on Linux wants CAP_SYS_NICE
    /// or a limit (`LimitNICE=` of systemd, `ulimit -e`). Where the system does not let it come
    /// back, the lane stays at the port's value, and `refused_settings` tells.
    pub fn nice(mut self, nice: i32) -> Self {
        self.nice = Some(nice);
        self
    }

    /// Its own name, then the others.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.name)
            .chain(&self.also)
            .map(String::as_str)
    }

    /// What the scheduler keeps of it.
    pub(crate) fn spec(&self) -> LaneSpec {
        LaneSpec {
            workers_max: self.workers_max.unwrap_or(usize::MAX),
            workers_min: self.workers_min,
            starve_after: self.starve_after,
        }
    }
}
