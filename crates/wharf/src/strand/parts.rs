//! What a strand is made of, beside its word.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::OnPanic;
use crate::port::Token;
use crate::stats::Counter;
use crate::time::Time;

/// What runs on a strand.
pub(super) type Job<T> = Box<dyn FnOnce(&mut T) + Send>;

/// Something delayed whose time has come.
pub(super) trait Due<T>: Send + Sync {
    /// Runs it, unless it was cancelled; `None` if it panicked.
    fn run(&self, value: &mut T) -> Option<()>;

    /// It will not run: drops what is the user's.
    fn let_go(&self);
}

/// What [`super::StrandOptions`] says, checked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) mailbox_max: usize,
    pub(super) jobs_per_turn_max: usize,
    pub(super) turn_time_max: Duration,
    pub(super) on_panic: OnPanic,
}

/// What others put in.
pub(super) struct Mailbox<T> {
    pub(super) jobs: VecDeque<Job<T>>,
    /// Delayed things whose time has come, in the order of it. Each stands here once at most.
    pub(super) due: VecDeque<Arc<dyn Due<T>>>,
    /// Delayed things whose time is to come.
    pub(super) timers: BTreeSet<Token>,
    /// All that is delayed and has not run or ended.
    pub(super) delayed: usize,
    pub(super) life: Life,
    pub(super) posted: u64,
    pub(super) full: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    Open,
    /// Nothing more is taken; what was accepted runs.
    Closing,
    Over,
}

/// What the holder of the turn right may touch.
pub(super) struct TurnState<T> {
    /// There until the strand is over.
    pub(super) value: Option<T>,
    pub(super) jobs: VecDeque<Job<T>>,
    pub(super) due: VecDeque<Arc<dyn Due<T>>>,
}

#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Written by the holder of the turn right.
    pub(super) ran: Counter,
    pub(super) panics: Counter,
    pub(super) dropped: Counter,
    pub(super) answers_lost: Counter,
}

/// How a step of a turn ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing is left.
    Done,
    /// The budget is spent.
    More,
    /// A panic, or the port's end: nothing runs any more.
    Over,
}

/// What a turn may still spend.
pub(super) struct Budget {
    pub(super) jobs: usize,
    pub(super) until: Time,
}
