//! A run that does not come to its end, told so that it can be understood.

use std::fmt;
use std::time::Duration;

/// How many events of the log a [`SimStuck`] shows.
pub(super) const SHOWN: usize = 20;

/// Why a run was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StuckWhy {
    /// Nothing was due, now or ever: somebody waits for what nobody does.
    Idle,
    /// The limit of steps was reached.
    Steps,
    /// The limit of virtual time was reached.
    Time,
}

/// A run that was given up. It displays the seed to replay it with, what each worker was doing,
/// and the end of the log.
#[derive(Clone)]
pub struct SimStuck(Box<Report>);

#[derive(Clone, Debug)]
pub(super) struct Report {
    pub(super) why: StuckWhy,
    pub(super) seed: u64,
    pub(super) now: Duration,
    pub(super) steps: u64,
    pub(super) workers: Vec<String>,
    pub(super) log: Vec<String>,
}

impl SimStuck {
    pub(super) fn new(report: Report) -> Self {
        Self(Box::new(report))
    }

    /// Why it was given up.
    #[must_use]
    pub fn why(&self) -> StuckWhy {
        self.0.why
    }

    /// The seed of the simulation.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.0.seed
    }

    /// The virtual time at the end.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.0.now
    }

    /// The steps that this run took.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.0.steps
    }
}

impl fmt::Display for SimStuck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report {
            why,
            seed,
            now,
            steps,
            workers,
            log,
        } = &*self.0;
        let (why, mend) = match why {
            StuckWhy::Idle => (
                "nothing will ever happen again",
                "something waits for an event that nobody causes",
            ),
            StuckWhy::Steps => (
                "the limit of steps is reached",
                "something runs in circles; if not, raise it with Sim::set_limits",
            ),
            StuckWhy::Time => (
                "the limit of virtual time is reached",
                "only timers fire any more; if that is right, raise it with Sim::set_limits",
            ),
        };
        writeln!(f, "simulation with seed {seed} is stuck: {why} ({mend})")?;
        writeln!(f, "  virtual time {now:?}, {steps} steps in this run")?;
        for worker in workers {
            writeln!(f, "  {worker}")?;
        }
        write!(f, "  last events:")?;
        for line in log {
            write!(f, "\n    {line}")?;
        }
        Ok(())
    }
}

/// As it displays: `unwrap` shows this, and it is all there is to know.
impl fmt::Debug for SimStuck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for SimStuck {}
