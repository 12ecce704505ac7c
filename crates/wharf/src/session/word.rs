//! The one word that says who may touch a session and why it wants to be touched.
//!
//! Turn right, flush right, sticky readiness and every reason for a turn live in one atomic, so
//! each hand-over is one compare-and-swap that sees all of them: nothing can be signalled between
//! "look" and "let go" (R3, R9). The functions below are the only transitions; `models` checks
//! them with loom, `word_values` tests them against separate values.
//!
//! ```text
//!            raise: a reason appears            begin_turn
//!   idle ─────────────────────────▶ queued ─────────────────▶ running
//!    ▲                                ▲                          │
//!    │        nothing is due          │      something is due    │ end_turn
//!    └────────────────────────────────┴──────────────────────────┘
//! ```
//! *READABLE is cleared before the read, not after it:* an edge that arrives while the turn reads
//! sets it again and `end_turn` sees it. Clearing after a short read could erase that edge.

use crate::sync::atomic::{AtomicU32, Ordering};

const STATE: u32 = 0b11;
const IDLE: u32 = 0;
const QUEUED: u32 = 1;
const RUNNING: u32 = 2;

/// The kernel may have bytes, an end of stream or an error for us.
pub(crate) const READABLE: u32 = 1 << 2;
/// A remainder was saved in mid-decode: it is decoded before the next recv (R4).
pub(crate) const REMAINDER: u32 = 1 << 3;
/// The mailbox holds jobs.
pub(crate) const POSTED: u32 = 1 << 4;
/// Somebody asked for the close; the reason stands in the send queue.
pub(crate) const CLOSING: u32 = 1 << 5;
/// A deadline passed that only the owner can act on.
pub(crate) const TIMER: u32 = 1 << 6;
/// The first turn: `on_open`, or a listener's first look.
pub(crate) const START: u32 = 1 << 7;
/// Reading is paused by a guard of the user.
pub(crate) const PAUSED: u32 = 1 << 8;
/// Reading is paused because the own send queue is above its high-water mark.
pub(crate) const CHOKED: u32 = 1 << 9;
/// A hang-up was reported: a short read says nothing about what is left.
pub(crate) const HANGUP: u32 = 1 << 10;
/// The socket failed or both directions ended: looked at even while reading is paused.
pub(crate) const FAILED: u32 = 1 << 11;
/// The socket may take bytes.
pub(crate) const WRITABLE: u32 = 1 << 12;
/// Somebody holds the flush right.
pub(crate) const FLUSHING: u32 = 1 << 13;
/// The send queue, or what the last flush left of it, is not empty.
pub(crate) const PENDING: u32 = 1 << 14;
/// A connect is under way: writable or failed means that it ended.
pub(crate) const CONNECTING: u32 = 1 << 15;
/// The owner wants a turn once the flush right is free.
pub(crate) const OWNER_WAITS: u32 = 1 << 16;
/// The owner wants a turn once everything is flushed.
pub(crate) const DRAINING: u32 = 1 << 17;
/// The flush that the owner waited for has ended.
pub(crate) const DRAINED: u32 = 1 << 18;
/// Callbacks are over; reads only look for the end of the stream, whatever pauses say.
pub(crate) const LINGER: u32 = 1 << 19;
/// New frames are refused.
pub(crate) const SHUT: u32 = 1 << 20;
/// The close is an abort: nothing more is flushed.
pub(crate) const ABORTED: u32 = 1 << 21;
/// In the port-work queue already.
pub(crate) const DIRTY: u32 = 1 << 22;
/// The socket is closed and gone: nothing is ever due again.
pub(crate) const DEAD: u32 = 1 << 23;
/// The send queue holds frames back until a flush is asked for.
pub(crate) const HELD: u32 = 1 << 24;
/// On its network's list of sessions that hold frames, or were on it and have been flushed.
pub(crate) const LISTED: u32 = 1 << 25;

/// Reading is paused until the session's rate allows more.
pub(crate) const THROTTLED: u32 = 1 << 26;

/// All reasons not to read.
pub(crate) const HELD_BACK: u32 = PAUSED | CHOKED | THROTTLED;

const ALWAYS_DUE: u32 = POSTED | CLOSING | TIMER | START | FAILED | DRAINED;
const TAKEN_AT_BEGIN: u32 = POSTED | CLOSING | TIMER | START | FAILED | DRAINED;

/// Whether a session with these bits wants a turn.
const fn due(bits: u32) -> bool {
    if bits & DEAD != 0 {
        return false;
    }
    let reads = bits & (READABLE | REMAINDER) != 0;
    let blocked = bits & HELD_BACK != 0 && bits & LINGER == 0;
    let connected = bits & CONNECTING != 0 && bits & WRITABLE != 0;
    bits & ALWAYS_DUE != 0 || connected || (reads && !blocked && bits & CONNECTING == 0)
}

/// How a flush ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FlushEnd {
    /// More came while it ran, and the socket takes it: the right is still held.
    Again,
    /// The right is free.
    Done,
    /// The right is free and the session was queued for its owner: push it.
    Queued,
}

/// The word.
#[derive(Debug)]
pub(crate) struct Word(AtomicU32);

impl Word {
    /// A session that nobody has queued yet.
    pub(crate) fn new(bits: u32) -> Self {
        debug_assert!(bits & STATE == IDLE);
        Self(AtomicU32::new(bits))
    }

    /// All bits, as they were a moment ago.
    pub(crate) fn bits(&self) -> u32 {
        self.0.load(Ordering::Acquire)
    }

    /// Whether any of `bits` is set.
    pub(crate) fn has(&self, bits: u32) -> bool {
        self.bits() & bits != 0
    }

    /// Whether all that the peer has sent was read: no turn runs or is due, and nothing holds it
    /// back. Else its silence says nothing.
    pub(crate) fn is_listening(&self) -> bool {
        self.bits() & (STATE | READABLE | REMAINDER | HELD_BACK) == IDLE
    }

    /// Whether it waits for a turn. Asked under the run queue's lock, "no" means that it does not
    /// stand in that queue.
    pub(crate) fn is_queued(&self) -> bool {
        self.bits() & STATE == QUEUED
    }

    /// One transition: `step` maps the old bits to the new ones.
    fn change(&self, mut step: impl FnMut(u32) -> u32) -> (u32, u32) {
        let mut old = self.0.load(Ordering::Relaxed);
        loop {
            let new = step(old);
            if new == old {
                // Still an acquire: the caller acts on what the bits say.
                crate::sync::atomic::fence(Ordering::Acquire);
                return (old, new);
            }
            match self
                .0
                .compare_exchange_weak(old, new, Ordering::AcqRel, Ordering::Relaxed)
            {
                Ok(_) => return (old, new),
                Err(now) => old = now,
            }
        }
    }

    /// Sets and clears bits; true if the session went from idle to queued: the caller pushes it.
    fn adjust(&self, set: u32, clear: u32) -> bool {
        let (old, new) = self.change(|bits| {
            let bits = bits & !clear | set;
            if bits & STATE == IDLE && due(bits) {
                bits | QUEUED
            } else {
                bits
            }
        });
        old & STATE == IDLE && new & STATE == QUEUED
    }

    /// A reason appears. True: the caller pushes the session.
    #[must_use]
    pub(crate) fn raise(&self, reasons: u32) -> bool {
        self.adjust(reasons, 0)
    }

    /// A reason not to read goes away. True: the caller pushes the session.
    #[must_use]
    pub(crate) fn lower(&self, blocks: u32) -> bool {
        self.adjust(0, blocks)
    }

    /// Sets bits that are no reason for a turn and returns those that were set before.
    pub(crate) fn mark(&self, bits: u32) -> u32 {
        self.0.fetch_or(bits, Ordering::AcqRel) & bits
    }

    /// Clears bits and returns those of them that were set.
    pub(crate) fn take(&self, bits: u32) -> u32 {
        self.0.fetch_and(!bits, Ordering::AcqRel) & bits
    }

    /// The queued session's turn begins: returns all bits as they stood, and clears the reasons
    /// that this turn will serve.
    pub(crate) fn begin_turn(&self) -> u32 {
        let (old, _) = self.change(|bits| bits & !(STATE | TAKEN_AT_BEGIN) | RUNNING);
        debug_assert!(
            old & STATE == QUEUED,
            "a turn begins on a queued session only"
        );
        old
    }

    /// The turn ends. True: something is due, the session is queued again and the caller pushes it.
    #[must_use]
    pub(crate) fn end_turn(&self) -> bool {
        let (_, new) = self.change(|bits| bits & !STATE | if due(bits) { QUEUED } else { IDLE });
        new & STATE == QUEUED
    }

    /// Takes the flush right if the queue holds something and the socket may take it.
    #[must_use]
    pub(crate) fn begin_flush(&self) -> bool {
        self.grab_flush(PENDING | WRITABLE, PENDING | WRITABLE)
    }

    /// Takes the flush right for bytes that are in no queue: only when the queue is empty.
    #[must_use]
    pub(crate) fn begin_flush_direct(&self) -> bool {
        self.grab_flush(PENDING | WRITABLE, WRITABLE)
    }

    /// Takes the flush right for good, to close the socket. False: [`OWNER_WAITS`] is set and the
    /// holder's `end_flush` queues the session.
    #[must_use]
    pub(crate) fn seize_flush(&self) -> bool {
        let (old, _) = self.change(|bits| {
            bits | if bits & FLUSHING == 0 {
                FLUSHING
            } else {
                OWNER_WAITS
            }
        });
        old & FLUSHING == 0
    }

    fn grab_flush(&self, mask: u32, wanted: u32) -> bool {
        let free = |bits: u32| bits & (FLUSHING | DEAD | CONNECTING) == 0 && bits & mask == wanted;
        // Writable is cleared before the attempt: an edge during it is seen by `end_flush`.
        let (old, _) = self.change(|bits| {
            if free(bits) {
                (bits | FLUSHING) & !WRITABLE
            } else {
                bits
            }
        });
        free(old)
    }

    /// The flush stops in between, to let others have the worker: the socket takes more, and the
    /// caller sees to it that somebody flushes again. True: the session was queued for its owner,
    /// who waits for the right; the caller pushes it.
    #[must_use]
    pub(crate) fn yield_flush(&self) -> bool {
        let (old, new) = self.change(|bits| {
            let mut bits = (bits | WRITABLE) & !FLUSHING;
            if bits & OWNER_WAITS != 0 {
                bits = bits & !OWNER_WAITS | DRAINED;
            }
            if bits & STATE == IDLE && due(bits) {
                bits | QUEUED
            } else {
                bits
            }
        });
        old & STATE == IDLE && new & STATE == QUEUED
    }

    /// The flush ends; `writable` says that the socket took all it was given.
    #[must_use]
    pub(crate) fn end_flush(&self, writable: bool) -> FlushEnd {
        let (old, new) = self.change(|bits| {
            let mut bits = if writable { bits | WRITABLE } else { bits };
            if bits & (PENDING | WRITABLE) == PENDING | WRITABLE && bits & OWNER_WAITS == 0 {
                return bits & !WRITABLE;
            }
            bits &= !FLUSHING;
            let drained = bits & DRAINING != 0 && bits & PENDING == 0;
            if drained || bits & OWNER_WAITS != 0 {
                bits = bits & !OWNER_WAITS | DRAINED;
            }
            if bits & STATE == IDLE && due(bits) {
                bits | QUEUED
            } else {
                bits
            }
        });
        if new & FLUSHING != 0 {
            FlushEnd::Again
        } else if old & STATE == IDLE && new & STATE == QUEUED {
            FlushEnd::Queued
        } else {
            FlushEnd::Done
        }
    }
}

#[cfg(all(test, loom))]
impl Word {
    /// Whether it is neither queued nor in a turn.
    pub(crate) fn is_idle(&self) -> bool {
        self.bits() & STATE == IDLE
    }
}
