//! Close: one `on_close`, then flush, end our stream, wait for the peer's end, free. Only the
//! owner of the turn does any of it (R8); the socket goes when the flush right is its own as well.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::turn::Turning;
use crate::error::CloseReason;
use crate::handler::Handler;
use crate::port::TurnCx;
use crate::say::say;
use crate::session::Session;
use crate::session::core::{Phase, SessionCore};
use crate::session::queue::CloseHow;
use crate::session::word;
use crate::time::Time;

/// Bytes thrown away in one turn while the peer's end is awaited.
const DISCARD_PER_TURN: usize = 256 * 1024;
/// Bytes thrown away in all: a peer that floods a closed session is reset.
const DISCARD_MAX: u32 = 16 * 1024 * 1024;

impl<H: Handler> SessionCore<H> {
    /// The callbacks end: accepted jobs, then `on_close` if there was an `on_open`. Returns by when
    /// the goodbye must end, if there is one.
    pub(super) fn end_callbacks(
        self: &Arc<Self>,
        session: &Session<H>,
        turn: &mut Turning<'_, H>,
        now: Time,
    ) -> Option<Time> {
        for job in self.take_jobs() {
            self.run_job(session, turn, job);
        }
        self.flush_turn(None, now);
        // No tick is waited for: nothing more can come.
        self.flush_held(now);
        let (how, reason) = self.asked_close();
        say!(debug, network = %self.net.name, session = %self.id, peer = %self.peer(), %reason,
            "a session ends");
        if let Some(state) = turn.state.take() {
            self.net.registry.remove(self.id);
            self.net.events.closed[reason.index()].fetch_add(1, Ordering::Relaxed);
            self.call_on_close(session, state, reason);
            self.net.events.ended.fetch_add(1, Ordering::Relaxed);
        } else if !turn.refused {
            let unopened = &self.net.events.closed_unopened;
            unopened[reason.index()].fetch_add(1, Ordering::Relaxed);
        }
        if !turn.partial.is_empty() {
            turn.partial = Vec::new();
        }
        turn.phase = Phase::Linger;
        self.word.take(word::REMAINDER);
        self.word.mark(word::LINGER);
        if how == CloseHow::Abort {
            return None;
        }
        self.word.mark(word::DRAINING);
        // By the clock: a callback may have taken longer than the goodbye may.
        let ends = self.net.port.now() + self.net.options.timeouts.linger;
        self.deadlines.owner_at(ends);
        Some(ends)
    }

    /// The close that was asked for; some was, or its callbacks would go on.
    fn asked_close(&self) -> (CloseHow, CloseReason) {
        let asked = self.closing();
        asked.unwrap_or((CloseHow::Abort, CloseReason::Closed))
    }

    /// One step of the goodbye.
    pub(super) fn linger(
        self: &Arc<Self>,
        turn: &mut Turning<'_, H>,
        had: u32,
        cx: &mut TurnCx<'_>,
    ) {
        let bits = self.word.bits();
        let late = had & word::TIMER != 0;
        if bits & word::ABORTED != 0 || late {
            if late && bits & word::ABORTED == 0 {
                self.net.events.linger_cut.fetch_add(1, Ordering::Relaxed);
            }
            self.word.mark(word::ABORTED);
            self.close_socket(turn, true);
            return;
        }
        if !turn.fin_sent && bits & (word::PENDING | word::FLUSHING) == 0 {
            self.word.take(word::DRAINING);
            turn.fin_sent = true;
            if !turn.eof
                && let Some(socket) = &turn.socket
            {
                self.net.sockets.shutdown_write(socket);
            }
        }
        let ended = self.recv_end(turn, cx, DISCARD_PER_TURN);
        if turn.discarded > DISCARD_MAX {
            self.close_socket(turn, true);
        } else if ended && turn.fin_sent {
            self.close_socket(turn, false);
        }
    }

    /// Frees the socket, the token and what the session counts for; waits for the flush right.
    pub(super) fn close_socket(self: &Arc<Self>, turn: &mut Turning<'_, H>, reset: bool) {
        if !self.word.seize_flush() {
            // Its holder queues the session when it lets go; until then nothing else may.
            self.word.take(word::READABLE);
            return;
        }
        {
            let mut flush = self.flush.lock();
            if reset && let Some(socket) = &flush.socket {
                self.net.sockets.reset_on_close(socket);
            }
            flush.socket = None;
            flush.entries.clear();
        }
        turn.socket = None;
        turn.phase = Phase::Closed;
        let lost = {
            let mut out = self.out.lock();
            let lost = out.clear();
            self.mirror(&out);
            lost
        };
        self.count_lost(lost as u64);
        self.word.mark(word::DEAD);
        self.net.port.disarm(self.token);
        self.net.port.table.remove(self.token);
        self.release_address(turn.admitted);
        self.net.events.live.fetch_sub(1, Ordering::AcqRel);
        if let Some(link) = &self.link {
            let (_, why) = self.asked_close();
            link.ended(self.id, &why);
        }
    }
}
