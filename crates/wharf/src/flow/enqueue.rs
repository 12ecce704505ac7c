//! Enqueue: what is sent to a session joins its send queue, or the out buffer of its own turn.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use crate::error::{CloseReason, SendError};
use crate::handler::Handler;
use crate::network::FlushMode;
use crate::port::current::{self, Gathering};
use crate::session::core::SessionCore;
use crate::session::piece::Wire;
use crate::session::queue::{CloseHow, Entry, Pushed, WhenFull};
use crate::session::word;

/// The room that the buffer for one frame keeps.
const SCRATCH_KEPT: usize = 64 * 1024;

/// What the out buffer of a turn holds.
struct Built {
    bytes: usize,
    frames: usize,
    /// Bytes of the last frame.
    last: usize,
}

impl Built {
    /// A frame of so many bytes has joined.
    fn one_more(turn: &mut current::Turn, last: usize) -> Self {
        turn.frames += 1;
        Self {
            bytes: turn.out.len(),
            frames: turn.frames,
            last,
        }
    }
}

impl<H: Handler> SessionCore<H> {
    /// Sends one frame with this payload.
    #[inline]
    pub(crate) fn send_payload(self: &Arc<Self>, payload: &[u8]) -> Result<(), SendError> {
        let framing = &self.net.options.framing;
        if framing.is_custom() {
            return self.send_encoded(|out| {
                let encoded = framing.encode(payload, out);
                encoded.map_err(|_| SendError::Framing)
            });
        }
        if self.word.has(word::SHUT | word::DEAD) {
            return Err(SendError::Closed);
        }
        if self.holds() {
            return self.hold_encoded(|out| {
                let encoded = framing.encode(payload, out);
                encoded.map_err(|_| SendError::Framing)
            });
        }
        // No user code runs in here, so the frame is built in its place.
        let built = current::with_turn_of(self.id.get(), |turn| {
            let start = turn.out.len();
            framing.encode(payload, &mut turn.out).map_err(|_| ())?;
            Ok::<_, ()>(Built::one_more(turn, turn.out.len() - start))
        });
        match built {
            Some(Ok(built)) => self.accept_own(&built),
            Some(Err(())) => Err(SendError::Framing),
            None => {
                let mut wire = Vec::new();
                let encoded = framing.encode(payload, &mut wire);
                encoded.map_err(|_| SendError::Framing)?;
                self.send_wire(wire.into())
            }
        }
    }

    /// Sends the one frame that `encode` appends to the empty buffer it is given. In the session's
    /// own turn that is not the out buffer itself: `encode` is user code, which may send and flush,
    /// fail half way, panic, or cut into what it did not write.
    pub(crate) fn send_encoded<E: From<SendError>>(
        self: &Arc<Self>,
        encode: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.word.has(word::SHUT | word::DEAD) {
            return Err(SendError::Closed.into());
        }
        if self.holds() {
            return self.hold_encoded(encode);
        }
        let scratch =
            current::with_turn_of(self.id.get(), |turn| std::mem::take(&mut turn.scratch));
        let Some(mut wire) = scratch else {
            let mut wire = Vec::new();
            encode(&mut wire)?;
            return Ok(self.send_wire(wire.into())?);
        };
        wire.clear();
        let encoded = encode(&mut wire);
        let built = current::with_turn_of(self.id.get(), |turn| {
            let built = encoded.map(|()| {
                turn.out.extend_from_slice(&wire);
                Built::one_more(turn, wire.len())
            });
            if wire.capacity() <= SCRATCH_KEPT {
                turn.scratch = wire;
            }
            built
        });
        // It is still the turn that gave the buffer.
        built.map_or(Err(SendError::Closed.into()), |built| {
            Ok(self.accept_own(&built?)?)
        })
    }

    /// The last frame in the out buffer is accepted, or taken off again.
    #[inline]
    fn accept_own(self: &Arc<Self>, built: &Built) -> Result<(), SendError> {
        let (bytes, frames) = self.queued();
        let (bytes, frames) = (built.bytes + bytes, built.frames + frames);
        if self.net.own_high.is_reached(bytes, frames) {
            return self.flush_own(built, bytes, frames);
        }
        Ok(())
    }

    /// At high water the turn flushes (R4). What even the queue has no room for is taken off again,
    /// for the queue to judge when the rest is written.
    #[cold]
    fn flush_own(
        self: &Arc<Self>,
        built: &Built,
        bytes: usize,
        frames: usize,
    ) -> Result<(), SendError> {
        let limits = &self.net.options.send_queue;
        let now = self.net.port.now();
        if bytes <= limits.bytes_max && frames <= limits.frames_max {
            self.flush_turn(None, now);
            return Ok(());
        }
        let last = current::with_turn_of(self.id.get(), |turn| {
            turn.frames -= 1;
            turn.out.split_off(turn.out.len() - built.last)
        });
        self.flush_turn(None, now);
        let last = Bytes::from(last.unwrap_or_default());
        self.queue(Entry {
            bytes: last.into(),
            frames: 1,
        })?;
        self.flush_queue(now);
        Ok(())
    }

    /// Sends one frame of wire bytes.
    pub(crate) fn send_wire(self: &Arc<Self>, wire: Bytes) -> Result<(), SendError> {
        if self.word.has(word::SHUT | word::DEAD) {
            return Err(SendError::Closed);
        }
        if self.holds() {
            return self.hold(Wire::Shared(wire));
        }
        let built = current::with_turn_of(self.id.get(), |turn| {
            turn.out.extend_from_slice(&wire);
            Built::one_more(turn, wire.len())
        });
        if let Some(built) = built {
            return self.accept_own(&built);
        }
        self.queue(Entry {
            bytes: wire.into(),
            frames: 1,
        })?;
        self.flush_soon();
        Ok(())
    }

    /// Whether its frames wait for a tick.
    pub(super) fn holds(&self) -> bool {
        self.net.options.flush == FlushMode::Tick
    }

    /// Appends to the send queue, or applies the full-policy.
    fn queue(self: &Arc<Self>, entry: Entry) -> Result<(), SendError> {
        if let Err(refused) = self.within_memory() {
            return self.judged(Err(refused));
        }
        let limits = &self.net.options.send_queue;
        let pushed = {
            let mut out = self.out.lock();
            let pushed = out.push(entry, limits, 0);
            if let Ok(pushed) = &pushed {
                self.mirror(&out);
                // Under the lock, as the flush clears them under the lock.
                let high = if pushed.high { word::CHOKED } else { 0 };
                self.word.mark(word::PENDING | high);
            }
            pushed
        };
        self.judged(pushed)
    }

    /// Whether the queue may grow; else it is as if it were full.
    pub(super) fn within_memory(&self) -> Result<(), SendError> {
        if !self.net.memory.refuses(self.queue_grains()) {
            return Ok(());
        }
        let refused = &self.net.events.memory_refused;
        refused.fetch_add(1, Ordering::Relaxed);
        Err(match self.net.options.send_queue.when_full {
            WhenFull::Close | WhenFull::Error => SendError::Full,
            WhenFull::DropNew | WhenFull::DropOld => SendError::Dropped,
        })
    }

    /// Counts what the queue said, and closes if its policy is to.
    pub(super) fn judged(
        self: &Arc<Self>,
        pushed: Result<Pushed, SendError>,
    ) -> Result<(), SendError> {
        let events = &self.net.events;
        match pushed {
            Ok(pushed) => {
                if pushed.dropped > 0 {
                    events
                        .dropped_old
                        .fetch_add(u64::from(pushed.dropped), Ordering::Relaxed);
                }
                Ok(())
            }
            Err(SendError::Full) if self.net.options.send_queue.when_full == WhenFull::Close => {
                events.send_queue_full.fetch_add(1, Ordering::Relaxed);
                self.close(CloseHow::Abort, CloseReason::SendQueueFull);
                Err(SendError::Full)
            }
            Err(error) => {
                match error {
                    SendError::Full => events.send_queue_full.fetch_add(1, Ordering::Relaxed),
                    SendError::Dropped => events.dropped_new.fetch_add(1, Ordering::Relaxed),
                    _ => 0,
                };
                Err(error)
            }
        }
    }

    /// Has the queue flushed: at the end of the running turn or batch, or now. A thread that
    /// gathers nothing tries the socket whatever lists the session is on: theirs may be long in
    /// coming.
    pub(super) fn flush_soon(self: &Arc<Self>) {
        let gathered = match current::gathering() {
            Gathering::Turn(list) => {
                // Once a list, and not on one list for all: another's turn may be stuck, with no
                // sibling that takes its list.
                if self.gathered_by.swap(list, Ordering::AcqRel) != list {
                    current::gather_in_turn(self.as_served());
                }
                true
            }
            Gathering::Batch => current::gather_in_batch(self.as_served()),
            Gathering::Nothing => false,
        };
        if !gathered {
            self.flush_queue(self.net.port.now());
        }
    }
}
