//! A turn: one worker serves one session once. What is due is in the word; this file gives the
//! order in which it is served.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::MutexGuard;

use super::decode::LONG_TURN;
use super::flush::Own;
use crate::contain::contained;
use crate::error::CloseReason;
use crate::handler::Handler;
use crate::port::{Bits, Outgoing, PortCore, Served, Sockets, TurnCx, current};
use crate::session::Session;
use crate::session::core::{FlushState, Phase, SessionCore, TurnState};
use crate::session::deadlines::Due;
use crate::session::queue::CloseHow;
use crate::session::word;
use crate::time::Time;

/// The locked turn state of a session whose turn runs.
pub(super) type Turning<'a, H> = MutexGuard<'a, TurnState<<H as Handler>::State>>;

impl<H: Handler> Served for SessionCore<H> {
    fn ready(self: Arc<Self>, bits: Bits, now: Time, due: &mut Vec<Arc<dyn Served>>) {
        let failed = Bits::HANGUP.with(Bits::ERROR);
        let hangup = failed.with(Bits::READ_HANGUP);
        let mut reasons = 0;
        if bits.any(Bits::READ.with(hangup)) {
            reasons |= word::READABLE;
        }
        if bits.any(hangup) {
            reasons |= word::HANGUP;
        }
        if bits.any(failed) {
            reasons |= word::FAILED;
        }
        if bits.any(Bits::WRITE) {
            reasons |= word::WRITABLE;
        }
        let queued = self.word.raise(reasons);
        if reasons & word::WRITABLE != 0 && self.word.has(word::PENDING) {
            self.flush_queue(now);
        }
        if queued {
            due.push(self);
        }
    }

    fn turn(self: Arc<Self>, cx: &mut TurnCx<'_>) {
        let had = self.word.begin_turn();
        let session = Session(self);
        current::set_turn(session.id().get());
        let core = &session.0;
        core.serve(&session, had, cx);
        current::set_turn(0);
        let ended = cx.port.now();
        cx.ended = Some(ended);
        let took = ended.since(cx.now);
        if took >= LONG_TURN {
            // What it read has its begin for a stamp. While it still runs: nobody calls the peer
            // silent before that.
            core.deadlines.not_counted(took, ended);
        }
        if core.word.end_turn() {
            cx.again = Some(session.0);
        }
    }

    fn work(self: Arc<Self>, now: Time) {
        self.leave_lists();
        self.flush_queue(now);
    }

    fn begin_write(self: Arc<Self>, now: Time) -> Option<Outgoing> {
        if !self.net.sockets.sends_together() {
            self.work(now);
            return None;
        }
        self.leave_lists();
        Self::begin_write(self, now)
    }

    fn end_write(self: Arc<Self>, held: FlushState, wrote: io::Result<usize>, now: Time) {
        Self::end_write(&self, held, wrote, now);
    }

    fn sockets(&self) -> Option<&Arc<dyn Sockets>> {
        Some(&self.net.sockets)
    }

    fn timer(self: Arc<Self>, now: Time) {
        // Before the stamps: who has come to listen since then is no reason to blame the peer.
        let listening = self.word.is_listening();
        if listening {
            self.deadlines.listens(now);
        }
        match self.deadlines.look(&self.net.options.timeouts, now) {
            Ok(Due::Owner) => self.raise(word::TIMER, now),
            Ok(Due::Resume) => {
                self.deadlines.resumed();
                if self.word.lower(word::THROTTLED) {
                    self.net.turns.push_turn(self.as_served(), now);
                }
                self.arm_deadlines(now);
            }
            Ok(Due::Close(CloseReason::IdleTimeout)) => {
                if !listening {
                    self.deadlines.unheard();
                } else if self.deadlines.doubt(&self.net.options.timeouts, now) {
                    // The kernel may have what it said: a turn asks, and closes if there is
                    // nothing.
                    self.raise(word::READABLE, now);
                }
                self.arm_deadlines(now);
            }
            Ok(Due::Close(reason)) => {
                // A peer that is stuck or never spoke gets no goodbye.
                self.close(CloseHow::Abort, reason);
            }
            Err(next) if next != Time::NEVER => self.net.port.arm(self.token, next),
            Err(_) => {}
        }
    }

    fn home(&self) -> Option<&Arc<PortCore>> {
        Some(&self.net.port)
    }

    fn turns(&self) -> Option<&PortCore> {
        Some(&self.net.turns)
    }

    fn lane(&self) -> usize {
        usize::from(self.lane.load(Ordering::Relaxed))
    }

    fn identity(&self) -> (u64, usize) {
        (self.id.get(), self.net.index)
    }

    fn shutdown(self: Arc<Self>, abort: bool) {
        let how = if abort {
            CloseHow::Abort
        } else {
            CloseHow::Graceful
        };
        self.close(how, CloseReason::Shutdown);
    }

    fn unreported(self: Arc<Self>, why: io::ErrorKind) {
        self.close(CloseHow::Abort, CloseReason::Io(why));
    }

    fn shed(self: Arc<Self>) {
        self.close(CloseHow::Abort, CloseReason::MemoryCeiling);
    }

    fn discard(self: Arc<Self>) {
        // First the marks: what is dropped below is the user's, and may still call.
        self.word.mark(word::DEAD | word::SHUT);
        self.net.registry.remove(self.id);
        if let Some(mut flush) = self.flush.try_lock() {
            flush.socket = None;
            flush.entries.clear();
        }
        // A turn that never returned still holds the lock; its session stays with it.
        let Some(mut turn) = self.turn.try_lock() else {
            return;
        };
        turn.socket = None;
        if std::mem::replace(&mut turn.phase, Phase::Closed) != Phase::Closed {
            self.net.give_place();
        }
        let state = turn.state.take();
        drop(turn);
        let jobs = self.take_jobs();
        // On the supervisor's thread, which has to come to its end.
        for job in jobs {
            contained(|| drop(job));
        }
        contained(|| drop(state));
    }
}

impl<H: Handler> SessionCore<H> {
    /// It is flushed now. First the marks: what is queued after this look marks it again.
    fn leave_lists(&self) {
        if self.word.has(word::DIRTY) {
            // A look is enough: who comes from that list finds the mark that was set before it.
            self.word.take(word::DIRTY);
        }
        self.gathered_by.swap(0, Ordering::AcqRel);
    }

    fn serve(self: &Arc<Self>, session: &Session<H>, mut had: u32, cx: &mut TurnCx<'_>) {
        let mut turn = self.turn.lock();
        if turn.phase == Phase::Connecting && !self.connect_ended(&mut turn, had, cx) {
            // A close that came during the look has a turn of its own: it finds a connect to break
            // off, and no connection to say goodbye to.
            return;
        }
        if turn.phase == Phase::Preamble {
            self.recv_preamble(&mut turn, cx);
        }
        if turn.phase == Phase::Opening && !self.word.has(word::SHUT) {
            self.open(session, &mut turn);
        }
        if turn.phase == Phase::Open {
            cx.counters.turns.add_own(1);
            if had & word::FAILED != 0 && self.reading_blocked() {
                self.look_at_failure(&turn);
            }
            if had & word::POSTED != 0 && !self.word.has(word::SHUT) {
                self.run_jobs(session, &mut turn, cx);
            }
            self.recv(session, &mut turn, cx);
            let own = turn.socket.as_deref().map(|socket| Own {
                socket,
                counters: cx.counters,
            });
            self.flush_turn(own, cx.now);
        }
        let mut ends = None;
        if !matches!(turn.phase, Phase::Linger | Phase::Closed) && self.word.has(word::SHUT) {
            ends = self.end_callbacks(session, &mut turn, cx.now);
            // A deadline that passed before was no deadline of the goodbye.
            had &= !word::TIMER;
        }
        self.keep(turn.partial.capacity());
        if turn.phase == Phase::Linger {
            self.linger(&mut turn, had, cx);
        }
        if turn.phase == Phase::Linger
            && let Some(ends) = ends
        {
            // Mostly one step was enough, as the peer's end had come before.
            self.net.port.arm(self.token, ends);
        }
    }

    /// The socket failed while reading is held back: nobody would read the error, so ask for it.
    fn look_at_failure(self: &Arc<Self>, turn: &Turning<'_, H>) {
        let failure = turn
            .socket
            .as_ref()
            .and_then(|s| self.net.sockets.take_error(s));
        if let Some(error) = failure {
            self.close(CloseHow::Abort, CloseReason::of_io(&error));
        }
    }
}
