//! What a driver (a thread, or the simulator) does with a worker: step it, and harvest for it.
//!
//! The loop of a worker is a step (R13): a thread drives one worker and sleeps in the backend's
//! `wait`; the simulator drives all workers of all ports on one thread, in an order chosen by seed.

use std::time::Duration;

use super::contract::Wait;
use super::current::Here;

/// What a worker wants after one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Something was done; step again.
    Ran,
    /// Harvest at most `max` reports, then step again. With [`Wait::Block`] the worker counts as
    /// parked until the harvest has returned.
    Harvest {
        /// The most reports to take.
        max: usize,
        /// Whether to sleep for them.
        how: Wait,
    },
    /// Nap for so long at most, then step again: siblings get on by themselves.
    Nap(Duration),
    /// The port is stopping and this worker is done.
    Quit,
}

/// A worker as its driver sees it.
pub(crate) trait Drive: Send {
    /// It is the worker of the calling thread from now on; returns what that was before. A driver
    /// of several calls this whenever it turns to another.
    fn enter(&self) -> Option<Here>;

    /// Does at most one piece of work: a turn, or a small budget of port work.
    fn step(&mut self) -> Step;

    /// Calls the backend's `wait` and takes in what it reported.
    fn harvest(&mut self, max: usize, how: Wait);

    /// Sleeps for so long at most, where time passes by itself; the simulator lets it pass before.
    fn nap(&mut self, limit: Duration);

    /// Its name, as in `top -H`.
    #[cfg(feature = "sim")]
    fn name(&self) -> &str;
}

/// The host's supervisor as its driver sees it: called at a moment, says when to be called next.
#[cfg(feature = "sim")]
pub(crate) type Supervise = Box<dyn FnMut(crate::time::Time) -> crate::time::Time + Send>;
