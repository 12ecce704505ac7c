//! A strand inside: the mailbox, the turn that empties it, and the end.
//!
//! The word is that of a session: POSTED, TIMER and CLOSING are its only reasons for a turn, and
//! nobody flushes. So workers, lanes and the run queue serve a strand like any session.
//!
//! A turn takes the whole mailbox under one lock and works from what it took; a post is one
//! allocation, one short lock, and a wake only if the strand was idle. Measured on two cores that
//! others use too: 1,000 strands ticking at 20 Hz, each tick posting 50 jobs to 50 other strands,
//! are 1,000,000 jobs a second for 0.15 to 0.2 of one core and 20 MB, flat over ten minutes. All of
//! them tick at once here, so half of the ticks come later than 2 ms.

use std::collections::{BTreeSet, VecDeque};
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::parts::{Budget, Counts, Due, Job, Life, Limits, Mailbox, Step, TurnState};
use super::{OnPanic, StrandStats};
use crate::contain::contained;
use crate::error::SendError;
use crate::port::{PortCore, STRAND, Served, Token, TurnCx, current};
use crate::say::say;
use crate::session::word::{self, Word};
use crate::time::Time;

/// From here on, what a turn has sent leaves at the next callback boundary, not at its end (R5).
const LONG_TURN: Duration = Duration::from_micros(200);

/// Jobs for which an emptied list keeps its room in any case.
const KEPT: usize = 64;

/// A strand. The word says who may lock `turn`, which is therefore never waited for; `mailbox` is
/// a short critical section in which no user code runs.
pub(crate) struct StrandCore<T> {
    pub(super) port: Arc<PortCore>,
    token: Token,
    name: Box<str>,
    lane: usize,
    limits: Limits,
    word: Word,
    mailbox: Mutex<Mailbox<T>>,
    turn: Mutex<TurnState<T>>,
    /// Jobs that the turn has taken and not begun; written by the holder of the turn right.
    taken: AtomicUsize,
    pub(super) counts: Arc<Counts>,
}

impl<T: Send + 'static> StrandCore<T> {
    pub(super) fn new(
        port: Arc<PortCore>,
        token: Token,
        name: Box<str>,
        lane: usize,
        limits: Limits,
        value: Option<T>,
    ) -> Self {
        Self {
            port,
            token,
            name,
            lane,
            limits,
            word: Word::new(0),
            mailbox: Mutex::new(Mailbox {
                jobs: VecDeque::new(),
                due: VecDeque::new(),
                timers: BTreeSet::new(),
                delayed: 0,
                life: Life::Open,
                posted: 0,
                full: 0,
            }),
            turn: Mutex::new(TurnState {
                value,
                jobs: VecDeque::new(),
                due: VecDeque::new(),
            }),
            taken: AtomicUsize::new(0),
            counts: Arc::default(),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn is_open(&self) -> bool {
        self.mailbox.lock().life == Life::Open
    }

    /// Refuses, or counts what the caller is about to put in.
    fn admit(&self, mailbox: &mut Mailbox<T>) -> Result<(), SendError> {
        if mailbox.life != Life::Open || self.port.jobs.is_late() {
            return Err(SendError::Closed);
        }
        let waiting = mailbox.jobs.len() + self.taken.load(Ordering::Relaxed) + mailbox.delayed;
        if waiting >= self.limits.mailbox_max {
            mailbox.full += 1;
            return Err(SendError::Full);
        }
        mailbox.posted += 1;
        Ok(())
    }

    /// Puts a job into the mailbox.
    pub(super) fn post(self: &Arc<Self>, job: Job<T>) -> Result<(), SendError> {
        {
            let mut mailbox = self.mailbox.lock();
            self.admit(&mut mailbox)?;
            mailbox.jobs.push_back(job);
        }
        self.raise(word::POSTED);
        Ok(())
    }

    fn raise(self: &Arc<Self>, reasons: u32) {
        if self.word.raise(reasons) {
            let item: Arc<Self> = Arc::clone(self);
            self.port.push_job(item, self.port.now());
        }
    }

    /// Takes nothing more; ends when what was accepted has run.
    pub(super) fn close(self: &Arc<Self>) {
        {
            let mut mailbox = self.mailbox.lock();
            if mailbox.life != Life::Open {
                return;
            }
            mailbox.life = Life::Closing;
        }
        self.word.mark(word::SHUT);
        self.raise(word::CLOSING);
    }

    /// Whether it takes nothing more.
    pub(super) fn is_shut(&self) -> bool {
        self.word.has(word::SHUT | word::DEAD)
    }

    // What is delayed: `timer.rs` has it, the strand has a place for it.

    /// A place for something delayed.
    pub(super) fn reserve(&self) -> Result<(), SendError> {
        let mut mailbox = self.mailbox.lock();
        self.admit(&mut mailbox)?;
        mailbox.delayed += 1;
        Ok(())
    }

    /// Gives back a place that nothing came to.
    pub(super) fn unreserve(&self) {
        let mut mailbox = self.mailbox.lock();
        mailbox.delayed = mailbox.delayed.saturating_sub(1);
        mailbox.posted = mailbox.posted.saturating_sub(1);
    }

    /// The delayed thing with this token is about to be armed; false if the strand takes nothing
    /// more, and has therefore not been told of it.
    pub(super) fn enlist(&self, token: Token) -> bool {
        let mut mailbox = self.mailbox.lock();
        let open = mailbox.life == Life::Open;
        if open {
            mailbox.timers.insert(token);
        }
        open
    }

    /// A delayed thing has run for the last time, or was cancelled.
    pub(super) fn release(&self, token: Token) {
        let mut mailbox = self.mailbox.lock();
        mailbox.timers.remove(&token);
        mailbox.delayed = mailbox.delayed.saturating_sub(1);
    }

    /// The time of something delayed has come. It has a place, so the mailbox may be full. False if
    /// the strand is over.
    pub(super) fn push_due(self: &Arc<Self>, due: Arc<dyn Due<T>>) -> bool {
        {
            let mut mailbox = self.mailbox.lock();
            if mailbox.life == Life::Over {
                return false;
            }
            mailbox.due.push_back(due);
        }
        self.raise(word::TIMER);
        true
    }

    // The turn.

    fn serve(self: &Arc<Self>, cx: &TurnCx<'_>) {
        let mut turn = self.turn.lock();
        let all_taken = self.take(&mut turn);
        let mut step = self.run_due(&mut turn, cx);
        if step != Step::Over {
            // Also when the ticks have spent their budget: two that overrun would list each other
            // again for ever, and no job would run.
            let jobs = self.run_jobs(&mut turn, cx, all_taken);
            step = if jobs == Step::Done { step } else { jobs };
        }
        let all_ran = step == Step::Done && turn.due.is_empty();
        if all_ran && self.is_shut() && self.nothing_waits() {
            step = Step::Over;
        }
        match step {
            Step::Done => {}
            Step::More => {
                self.word.mark(word::POSTED);
            }
            Step::Over => {
                let value = turn.value.take();
                let rest = (mem::take(&mut turn.jobs), mem::take(&mut turn.due));
                drop(turn);
                self.bury(value, rest.0, rest.1);
            }
        }
    }

    /// Takes what waits, in one lock: what is due, and the jobs if all that were taken before have
    /// run. True if the mailbox is empty now.
    fn take(&self, turn: &mut TurnState<T>) -> bool {
        let mut mailbox = self.mailbox.lock();
        turn.due.append(&mut mailbox.due);
        if !turn.jobs.is_empty() {
            return mailbox.jobs.is_empty();
        }
        // The two lists change places, so that neither has to grow again.
        mem::swap(&mut turn.jobs, &mut mailbox.jobs);
        let taken = turn.jobs.len();
        self.taken.store(taken, Ordering::Relaxed);
        // Unless it grew in a rush that is over: a thousand strands would keep a lot.
        if mailbox.jobs.capacity() > KEPT.max(8 * taken) {
            mailbox.jobs.shrink_to(KEPT);
        }
        true
    }

    /// Nothing was posted since the turn emptied what it took.
    fn nothing_waits(&self) -> bool {
        let mailbox = self.mailbox.lock();
        mailbox.jobs.is_empty() && mailbox.due.is_empty()
    }

    fn budget(&self, cx: &TurnCx<'_>, now: Time) -> Budget {
        let limits = &self.limits;
        let jobs = cx.lane.frames_per_turn_max.unwrap_or(usize::MAX);
        let time = cx.lane.turn_time_max.unwrap_or(Duration::MAX);
        Budget {
            jobs: limits.jobs_per_turn_max.min(jobs),
            until: now + limits.turn_time_max.min(time),
        }
    }

    /// Ticks and delayed jobs whose time has come.
    fn run_due(self: &Arc<Self>, turn: &mut TurnState<T>, cx: &TurnCx<'_>) -> Step {
        let mut budget = self.budget(cx, cx.now);
        while let Some(due) = turn.due.pop_front() {
            let Some(value) = &mut turn.value else {
                return Step::Over;
            };
            let ran = due.run(value);
            let step = self.after_callback(ran, cx, &mut budget);
            if step == Step::Over || step == Step::More && !turn.due.is_empty() {
                return step;
            }
        }
        Step::Done
    }

    /// Jobs, by a budget of their own: ticks that take long must not keep all jobs from running.
    fn run_jobs(
        self: &Arc<Self>,
        turn: &mut TurnState<T>,
        cx: &TurnCx<'_>,
        mut all_taken: bool,
    ) -> Step {
        if turn.jobs.is_empty() && all_taken {
            return Step::Done;
        }
        let mut budget = self.budget(cx, self.port.now());
        let given = budget.jobs;
        let step = loop {
            let Some(job) = turn.jobs.pop_front() else {
                if all_taken {
                    break Step::Done;
                }
                all_taken = self.take(turn);
                continue;
            };
            self.taken.store(turn.jobs.len(), Ordering::Relaxed);
            let Some(value) = &mut turn.value else {
                break Step::Over;
            };
            let ran = contained(|| job(value));
            let step = self.after_callback(ran, cx, &mut budget);
            if step == Step::Over || step == Step::More && !(turn.jobs.is_empty() && all_taken) {
                break step;
            }
        };
        self.counts.ran.add_own((given - budget.jobs) as u64);
        step
    }

    /// The look after each callback: its panic, the end of the port, the budget; and what a long
    /// turn has sent so far leaves.
    fn after_callback(&self, ran: Option<()>, cx: &TurnCx<'_>, budget: &mut Budget) -> Step {
        budget.jobs = budget.jobs.saturating_sub(1);
        if ran.is_none() {
            self.note_panic();
            if self.limits.on_panic == OnPanic::Close {
                return Step::Over;
            }
        }
        if self.word.has(word::DEAD) {
            return Step::Over;
        }
        let now = self.port.now();
        if now >= cx.now + LONG_TURN {
            cx.flush_others(now);
        }
        if budget.jobs == 0 || now >= budget.until {
            Step::More
        } else {
            Step::Done
        }
    }

    fn note_panic(&self) {
        self.counts.panics.add(1);
        let goes_on = self.limits.on_panic == OnPanic::Keep;
        say!(error, strand = %self.name, port = %self.port.name, goes_on,
            "a job of a strand panicked");
    }

    // The end.

    /// Nothing runs any more: the value is dropped, and with it what still waits.
    fn bury(&self, value: Option<T>, jobs: VecDeque<Job<T>>, due: VecDeque<Arc<dyn Due<T>>>) {
        // First the marks: what is dropped below is the user's, and may still call.
        self.word.mark(word::DEAD | word::SHUT);
        let (waiting, ready, timers) = {
            let mut mailbox = self.mailbox.lock();
            mailbox.life = Life::Over;
            let timers = mem::take(&mut mailbox.timers);
            let jobs = mem::take(&mut mailbox.jobs);
            (jobs, mem::take(&mut mailbox.due), timers)
        };
        self.port.table.remove(self.token);
        self.counts.dropped.add((jobs.len() + waiting.len()) as u64);
        for job in jobs.into_iter().chain(waiting) {
            self.drop_contained(job);
        }
        for timer in timers {
            if let Some(timer) = self.port.table.peek(timer) {
                timer.discard();
            }
        }
        due.into_iter().chain(ready).for_each(|due| due.let_go());
        self.drop_contained(value);
        self.taken.store(0, Ordering::Relaxed);
    }

    fn drop_contained<V>(&self, what: V) {
        if contained(|| drop(what)).is_none() {
            self.counts.panics.add(1);
        }
    }

    pub(super) fn stats(&self) -> StrandStats {
        let mailbox = self.mailbox.lock();
        StrandStats {
            posted: mailbox.posted,
            ran: self.counts.ran.read(),
            full: mailbox.full,
            panics: self.counts.panics.read(),
            dropped: self.counts.dropped.read(),
            answers_lost: self.counts.answers_lost.read(),
            waiting: mailbox.jobs.len() + self.taken.load(Ordering::Relaxed),
            delayed: mailbox.delayed,
        }
    }
}

impl<T: Send + 'static> Served for StrandCore<T> {
    fn turn(self: Arc<Self>, cx: &mut TurnCx<'_>) {
        self.word.begin_turn();
        current::set_job_turn(true);
        self.serve(cx);
        current::set_job_turn(false);
        if self.word.end_turn() {
            cx.again = Some(self);
        }
    }

    fn timer(self: Arc<Self>, _: Time) {}

    fn lane(&self) -> usize {
        self.lane
    }

    fn identity(&self) -> (u64, usize) {
        (self.token.bits(), STRAND)
    }

    fn what(&self) -> Option<String> {
        Some(format!("strand \"{}\"", self.name))
    }

    fn discard(self: Arc<Self>) {
        self.word.mark(word::DEAD | word::SHUT);
        // A job that never returned still holds the lock; the value stays with it.
        let (value, jobs, due) = match self.turn.try_lock() {
            Some(mut turn) => (
                turn.value.take(),
                mem::take(&mut turn.jobs),
                mem::take(&mut turn.due),
            ),
            None => (None, VecDeque::new(), VecDeque::new()),
        };
        self.bury(value, jobs, due);
    }
}
