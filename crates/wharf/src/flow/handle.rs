//! Handle: the user's callbacks, each fenced so that a panic ends its session and nothing else.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::turn::Turning;
use crate::contain::contained;
use crate::error::{CloseReason, SendError};
use crate::handler::Handler;
use crate::limits::input::Meter;
use crate::port::TurnCx;
use crate::say::say;
use crate::session::core::{Phase, SessionCore};
use crate::session::queue::CloseHow;
use crate::session::{Job, Session, word};

impl<H: Handler> SessionCore<H> {
    /// `on_open`.
    pub(super) fn open(self: &Arc<Self>, session: &Session<H>, turn: &mut Turning<'_, H>) {
        let opened = contained(|| self.net.handler.on_open(session));
        // By the clock: it may have taken longer than the peer may be silent.
        let now = self.net.port.now();
        match opened {
            Some(Ok(state)) => {
                turn.state = Some(state);
                turn.phase = Phase::Open;
                turn.meter = Meter::new(&self.net.options.input_rate, now).map(Box::new);
                self.net.registry.insert(session);
                self.net.events.opened.fetch_add(1, Ordering::Relaxed);
                self.deadlines.heard(now);
                self.arm_deadlines(now);
                if let Some(link) = &self.link {
                    link.opened(session);
                }
            }
            Some(Err(refuse)) => {
                self.net
                    .events
                    .refused_by_handler
                    .fetch_add(1, Ordering::Relaxed);
                say!(debug, network = %self.net.name, session = %self.id, peer = %self.peer(),
                    reason = refuse.reason(), "on_open refused the session");
                self.close(CloseHow::Graceful, CloseReason::Closed);
            }
            None => {
                self.net
                    .events
                    .open_panicked
                    .fetch_add(1, Ordering::Relaxed);
                self.panicked("on_open");
            }
        }
        self.flush_turn(None, now);
    }

    /// Jobs that wait in the mailbox, as many as waited when the turn began, within the same budget
    /// as frames: more come next turn.
    pub(super) fn run_jobs(
        self: &Arc<Self>,
        session: &Session<H>,
        turn: &mut Turning<'_, H>,
        cx: &TurnCx<'_>,
    ) {
        let mut budget = self.budget(cx.now, cx.lane);
        let mut waiting = self.mailbox.lock().jobs.len();
        while waiting > 0 {
            let Some(job) = self.take_job() else { return };
            waiting -= 1;
            self.run_job(session, turn, job);
            if self.word.has(word::SHUT) {
                // The rest runs before on_close.
                return;
            }
            budget.take();
            let now = self.after_callback(cx, &mut budget);
            if waiting > 0 && budget.spent(now) {
                self.word.mark(word::POSTED);
                return;
            }
        }
    }

    pub(super) fn run_job(
        self: &Arc<Self>,
        session: &Session<H>,
        turn: &mut Turning<'_, H>,
        job: Job<H>,
    ) {
        let ran = match &mut turn.state {
            Some(state) => contained(|| job(session, state)),
            // Posted in an on_open that then refused: it is not run, and what it holds is dropped.
            None => contained(|| drop(job)),
        };
        if ran.is_none() {
            self.panicked("a posted job");
        }
    }

    /// `on_close`, the last.
    pub(super) fn call_on_close(&self, session: &Session<H>, state: H::State, reason: CloseReason) {
        let handler = &self.net.handler;
        if contained(|| handler.on_close(session, state, reason)).is_none() {
            self.note_panic("on_close");
        }
    }

    pub(super) fn panicked(self: &Arc<Self>, callback: &str) {
        self.note_panic(callback);
        self.close(CloseHow::Graceful, CloseReason::HandlerPanicked);
    }

    fn note_panic(&self, callback: &str) {
        self.net.events.panics.fetch_add(1, Ordering::Relaxed);
        say!(error, network = %self.net.name, session = %self.id, callback,
            "a handler panicked; its session is closed, the others go on");
    }

    /// Puts a job into the mailbox.
    pub(crate) fn post(self: &Arc<Self>, job: Job<H>) -> Result<(), SendError> {
        {
            let mut mailbox = self.mailbox.lock();
            if mailbox.closed || self.word.has(word::SHUT) {
                return Err(SendError::Closed);
            }
            if mailbox.jobs.len() >= self.net.options.mailbox_max {
                self.net.events.mailbox_full.fetch_add(1, Ordering::Relaxed);
                return Err(SendError::Full);
            }
            if self.net.memory.refuses(self.posted_grains()) {
                self.net
                    .events
                    .memory_refused
                    .fetch_add(1, Ordering::Relaxed);
                return Err(SendError::Full);
            }
            mailbox.push(job);
            self.note_mailbox(&mailbox);
        }
        self.raise(word::POSTED, self.net.port.now());
        Ok(())
    }
}
