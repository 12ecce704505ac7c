//! Receive: bytes into the worker's buffer, behind what the last turn left undecoded.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::decode::{Budget, Outcome};
use super::turn::Turning;
use crate::error::CloseReason;
use crate::frame::proxy_v2::{self, Proxy};
use crate::handler::Handler;
use crate::port::TurnCx;
use crate::session::Session;
use crate::session::core::{Phase, SessionCore, add, small};
use crate::session::queue::CloseHow;
use crate::session::word;

/// A partial frame up to this size is copied in front of the next bytes, so that the whole frame
/// is contiguous in the worker's buffer; a longer one grows where it lies.
const COPIED_MAX: usize = crate::port::RECV_BYTES / 2;

/// What one look at the socket brought.
pub(super) enum Received {
    /// So many new bytes; more may be there.
    Bytes(usize),
    /// Nothing now.
    Nothing,
    /// The stream is over: the close is under way.
    Over,
}

impl<H: Handler> SessionCore<H> {
    /// Reads and decodes until the socket is empty, the budget is spent, or something forbids it.
    pub(super) fn recv(
        self: &Arc<Self>,
        session: &Session<H>,
        turn: &mut Turning<'_, H>,
        cx: &mut TurnCx<'_>,
    ) {
        let mut budget = self.budget(cx.now, cx.lane);
        if turn.meter.is_none() {
            self.read_on(session, turn, cx, &mut budget);
        } else if self.within_rate(turn, &mut budget, cx.now) {
            let frames = budget.frames_left();
            self.read_on(session, turn, cx, &mut budget);
            let frames = frames - budget.frames_left();
            self.spend_rate(turn, frames, budget.bytes_decoded(), cx.now);
        }
    }

    fn read_on(
        self: &Arc<Self>,
        session: &Session<H>,
        turn: &mut Turning<'_, H>,
        cx: &mut TurnCx<'_>,
        budget: &mut Budget,
    ) {
        loop {
            let bits = self.word.bits();
            if bits & (word::SHUT | word::HELD_BACK) != 0 || budget.is_out_of_bytes() {
                return;
            }
            let outcome = if bits & word::REMAINDER != 0 {
                self.word.take(word::REMAINDER);
                self.decode_partial(session, turn, cx, budget)
            } else if bits & word::READABLE != 0 {
                match self.recv_and_decode(session, turn, cx, budget) {
                    Some(outcome) => outcome,
                    None => return,
                }
            } else {
                return;
            };
            if outcome == Outcome::Stopped || !self.word.has(word::READABLE | word::REMAINDER) {
                // Mostly a short read: the clock is not even asked.
                return;
            }
            let now = self.after_callback(cx, budget);
            if budget.spent(now) {
                return;
            }
        }
    }

    fn recv_and_decode(
        self: &Arc<Self>,
        session: &Session<H>,
        turn: &mut Turning<'_, H>,
        cx: &mut TurnCx<'_>,
        budget: &mut Budget,
    ) -> Option<Outcome> {
        let kept = turn.partial.len();
        let copied = if kept <= COPIED_MAX { kept } else { 0 };
        cx.inbuf[..copied].copy_from_slice(&turn.partial[..copied]);
        let new = match self.recv_into(turn, cx, copied) {
            Received::Bytes(n) => n,
            Received::Nothing | Received::Over => return None,
        };
        if kept == copied {
            if kept > 0 {
                cx.spare.put(std::mem::take(&mut turn.partial));
            }
            Some(self.decode_inbuf(session, turn, cx, copied + new, budget))
        } else {
            turn.partial.extend_from_slice(&cx.inbuf[..new]);
            Some(self.decode_partial(session, turn, cx, budget))
        }
    }

    /// One recv to `inbuf[from..]`. READABLE is cleared before it and set again when there may be
    /// more: see `session/word.rs`.
    #[inline]
    pub(super) fn recv_into(
        self: &Arc<Self>,
        turn: &mut Turning<'_, H>,
        cx: &mut TurnCx<'_>,
        from: usize,
    ) -> Received {
        let Some(socket) = &turn.socket else {
            return Received::Over;
        };
        self.word.take(word::READABLE);
        let room = cx.inbuf.len() - from;
        match self.net.sockets.recv(socket, &mut cx.inbuf[from..]) {
            Ok(0) => {
                turn.eof = true;
                self.close(CloseHow::Graceful, CloseReason::PeerClosed);
                Received::Over
            }
            Ok(n) => {
                if n == room || self.word.has(word::HANGUP) {
                    self.word.mark(word::READABLE);
                }
                self.deadlines.heard(cx.now);
                add(&self.counts.bytes_in, n as u64);
                cx.counters.recvs.add_own(1);
                cx.counters.bytes_in.add_own(n as u64);
                Received::Bytes(n)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if self.deadlines.is_doubted() {
                    // It has fallen silent, and gets a goodbye.
                    self.close(CloseHow::Graceful, CloseReason::IdleTimeout);
                    return Received::Over;
                }
                Received::Nothing
            }
            Err(error) => {
                turn.eof = true;
                self.close(CloseHow::Abort, CloseReason::of_io(&error));
                Received::Over
            }
        }
    }

    /// Reads until the PROXY header is whole; `on_open` follows.
    pub(super) fn recv_preamble(self: &Arc<Self>, turn: &mut Turning<'_, H>, cx: &mut TurnCx<'_>) {
        while self.word.has(word::READABLE) && !self.word.has(word::SHUT) {
            let Received::Bytes(n) = self.recv_into(turn, cx, 0) else {
                return;
            };
            turn.partial.extend_from_slice(&cx.inbuf[..n]);
            match proxy_v2::parse(&turn.partial) {
                Ok(Proxy::Partial { .. }) => {}
                Ok(Proxy::Header { len, source, .. }) => {
                    turn.partial.drain(..len);
                    if !turn.partial.is_empty() {
                        self.word.mark(word::REMAINDER);
                    }
                    if let Some(source) = source {
                        self.set_peer(source);
                    }
                    if self.admit_address(cx.now) {
                        turn.admitted = true;
                        turn.phase = Phase::Opening;
                    } else {
                        turn.refused = true;
                        self.close(CloseHow::Abort, CloseReason::Aborted);
                    }
                    return;
                }
                Err(error) => {
                    let reason = CloseReason::BadProxyHeader(error.to_string());
                    self.close(CloseHow::Abort, reason);
                    return;
                }
            }
        }
    }

    /// Reads and throws away what comes after the close, to find the peer's end of stream without
    /// resetting it; true when it has ended, one way or the other.
    pub(super) fn recv_end(
        self: &Arc<Self>,
        turn: &mut Turning<'_, H>,
        cx: &mut TurnCx<'_>,
        budget: usize,
    ) -> bool {
        if turn.eof {
            // Each later report repeats that the end can be read: left set, it would have the
            // session turn round and round until everything is flushed.
            self.word.take(word::READABLE);
            return true;
        }
        let mut read = 0;
        while self.word.has(word::READABLE) && read < budget {
            let Some(socket) = &turn.socket else {
                return true;
            };
            self.word.take(word::READABLE);
            match self.net.sockets.recv(socket, cx.inbuf) {
                Ok(0) => turn.eof = true,
                Ok(n) => {
                    read += n;
                    turn.discarded = turn.discarded.saturating_add(small(n));
                    self.word.mark(word::READABLE);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => turn.eof = true,
            }
        }
        if read > 0 {
            self.net
                .events
                .discarded_bytes
                .fetch_add(read as u64, Ordering::Relaxed);
        }
        turn.eof
    }
}
