//! The tick's flush: frames wait in the send queue until somebody asks for the flush of many
//! sessions, and then leave in one gathered write a session. For networks with `FlushMode::Tick`.
//!
//! What waits is *held*: in the queue, counted by its limits, and taken by no flush. Releasing it
//! makes it pending, from where on the flush right does what it always does.

use std::sync::Arc;

use crate::error::SendError;
use crate::handler::Handler;
use crate::network::NetworkCore;
use crate::port::{Served, current, work_all};
use crate::session::core::SessionCore;
use crate::session::piece::Wire;
use crate::session::{Session, word};
use crate::time::Time;

/// Sessions that the caller of a flush writes to itself; the port's workers take the others.
const FLUSHED_INLINE: usize = 32;
/// The room that the buffer for one frame keeps.
const SCRATCH_KEPT: usize = 64 * 1024;

impl<H: Handler> SessionCore<H> {
    /// Holds one frame. Own replies do not gather in the turn: they would be overtaken by what
    /// others send, and a flush on another thread could not reach them.
    pub(super) fn hold(self: &Arc<Self>, wire: Wire<'_>) -> Result<(), SendError> {
        if let Err(refused) = self.within_memory() {
            return self.judged(Err(refused));
        }
        let limits = &self.net.options.send_queue;
        let pushed = {
            let mut out = self.out.lock();
            let pushed = out.hold(wire, limits);
            if let Ok(pushed) = &pushed {
                self.mirror(&out);
                if pushed.high {
                    // Nothing is read from a session this full: without a flush it might never be.
                    out.release();
                    self.word.mark(word::PENDING | word::CHOKED);
                    self.word.take(word::HELD);
                } else if self.word.mark(word::HELD | word::LISTED) & word::LISTED == 0 {
                    // Under the lock: whoever sends next and then flushes finds it listed.
                    self.net.held.add(Session(Arc::clone(self)));
                }
            }
            pushed
        };
        let high = pushed.as_ref().is_ok_and(|pushed| pushed.high);
        self.judged(pushed)?;
        if high {
            self.flush_soon();
        }
        Ok(())
    }

    /// Holds the one frame that `encode` appends to the empty buffer it is given.
    pub(super) fn hold_encoded<E: From<SendError>>(
        self: &Arc<Self>,
        encode: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut wire = current::take_scratch();
        wire.clear();
        encode(&mut wire)?;
        let held = self.hold(Wire::Borrowed(&wire));
        if wire.capacity() <= SCRATCH_KEPT {
            current::keep_scratch(wire);
        }
        Ok(held?)
    }

    /// What is held may be flushed; false if that is nothing.
    fn release(&self) -> bool {
        if !self.word.has(word::HELD) {
            return false;
        }
        let mut out = self.out.lock();
        out.release();
        if !out.is_empty() {
            // Under the lock, as the flush clears it under the lock. And before the other mark
            // goes: who says goodbye must see one of them.
            self.word.mark(word::PENDING);
        }
        self.word.take(word::HELD) != 0
    }

    /// Flushes what is held, if anything is.
    pub(super) fn flush_held(self: &Arc<Self>, now: Time) {
        if self.release() {
            self.flush_queue(now);
        }
    }

    /// Hands its flush to its port; itself again, if the caller has to do it.
    fn hand_over(self: &Arc<Self>) -> Option<Arc<dyn Served>> {
        if self.word.mark(word::DIRTY) != 0 {
            return None;
        }
        // All of the port's workers may be in handlers that take long (R5).
        self.net.port.offer_work(self.as_served())
    }
}

impl<H: Handler> NetworkCore<H> {
    /// Flushes every session that holds frames; returns how many those were.
    pub(crate) fn flush_all(&self) -> usize {
        let mut listed = self.held.take();
        // First the marks: what is held after this look lists the session again.
        let all = listed.drain(..).inspect(|session| {
            session.0.word.take(word::LISTED);
        });
        let flushed = self.flush_each(all);
        self.held.put_back(listed);
        flushed
    }

    /// Flushes those of these sessions that hold frames, a few here and the others as port work
    /// (R6), so that the port's workers share them; all of them if the system prefers those to this
    /// thread (R9). Returns how many those were.
    pub(crate) fn flush_each(&self, sessions: impl Iterator<Item = Session<H>>) -> usize {
        let now = self.port.now();
        let here_max = if self.port.nice < current::nice() {
            0
        } else {
            FLUSHED_INLINE
        };
        let mut flushed = 0;
        let here = sessions.filter_map(|session| {
            if !session.0.release() {
                return None;
            }
            flushed += 1;
            if flushed <= here_max {
                Some(session.0.as_served())
            } else {
                session.0.hand_over()
            }
        });
        work_all(here, now);
        flushed
    }
}
