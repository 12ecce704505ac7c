//! Decode: cut the bytes into frames, hand each to the handler, and after each look whether the
//! turn may go on (R4).

use std::sync::Arc;
use std::time::Duration;

use super::turn::Turning;
use crate::contain::contained;
use crate::error::CloseReason;
use crate::frame::{Decoded, Frame};
use crate::handler::Handler;
use crate::limits::input::Allowance;
use crate::port::{TurnCx, current};
use crate::sched::Lane;
use crate::session::Session;
use crate::session::core::{SessionCore, add};
use crate::session::queue::CloseHow;
use crate::session::word;
use crate::time::Time;

/// From here on, what a turn has sent leaves at the next callback boundary, not at its end (R5).
const LONG_TURN: Duration = Duration::from_micros(200);

/// What a turn may still spend.
#[derive(Debug)]
pub(super) struct Budget {
    frames: usize,
    /// Bytes of frames, and how many of them are spent. The frame that exceeds them is handled.
    bytes: usize,
    decoded: usize,
    until: Time,
    long_from: Time,
    /// With so much waiting for the peer, a turn flushes on its way.
    bytes_high: usize,
    frames_high: usize,
}

impl Budget {
    /// One frame, or one job.
    pub(super) fn take(&mut self) {
        self.frames = self.frames.saturating_sub(1);
    }

    /// Takes no more than the session's rates allow.
    pub(super) fn limit(&mut self, allowed: Allowance) {
        self.frames = self.frames.min(allowed.frames);
        self.bytes = allowed.bytes;
    }

    /// Frames that may still be handled.
    pub(super) fn frames_left(&self) -> usize {
        self.frames
    }

    /// Bytes of frames so far.
    pub(super) fn bytes_decoded(&self) -> usize {
        self.decoded
    }

    /// Whether no byte is left.
    pub(super) fn is_out_of_bytes(&self) -> bool {
        self.decoded >= self.bytes
    }

    /// Whether the turn goes to the back of its lane now.
    pub(super) fn spent(&self, now: Time) -> bool {
        self.frames == 0 || now >= self.until
    }
}

/// How a decode ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Nothing whole is left.
    AllDecoded,
    /// Budget, high water, pause or close: what is left was saved.
    Stopped,
}

impl<H: Handler> SessionCore<H> {
    /// The budget of a turn that begins now.
    pub(super) fn budget(&self, now: Time, lane: &Lane) -> Budget {
        let options = &self.net.options;
        let frames = lane.frames_per_turn_max.unwrap_or(usize::MAX);
        let time = lane.turn_time_max.unwrap_or(Duration::MAX);
        Budget {
            frames: options.frames_per_turn_max.min(frames),
            bytes: usize::MAX,
            decoded: 0,
            until: now + options.turn_time_max.min(time),
            long_from: now + LONG_TURN,
            bytes_high: options.send_queue.high_water(),
            frames_high: options.send_queue.frames_high(),
        }
    }

    /// Decodes `inbuf[..len]` and keeps what is left in the session.
    pub(super) fn decode_inbuf(
        self: &Arc<Self>,
        session: &Session<H>,
        turn: &mut Turning<'_, H>,
        cx: &mut TurnCx<'_>,
        len: usize,
        budget: &mut Budget,
    ) -> Outcome {
        // Out of its place meanwhile: the frames borrow it, and the rest of `cx` is needed too.
        let inbuf = std::mem::take(&mut cx.inbuf);
        let (used, outcome) = self.decode(session, turn, cx, &inbuf[..len], budget);
        cx.inbuf = inbuf;
        if used < len {
            let mut kept = cx.spare.take();
            kept.extend_from_slice(&cx.inbuf[used..len]);
            turn.partial = kept;
        }
        outcome
    }

    /// Decodes what the session kept.
    pub(super) fn decode_partial(
        self: &Arc<Self>,
        session: &Session<H>,
        turn: &mut Turning<'_, H>,
        cx: &mut TurnCx<'_>,
        budget: &mut Budget,
    ) -> Outcome {
        let mut kept = std::mem::take(&mut turn.partial);
        let (used, outcome) = self.decode(session, turn, cx, &kept, budget);
        if used == kept.len() {
            cx.spare.put(kept);
        } else {
            kept.drain(..used);
            turn.partial = kept;
        }
        outcome
    }

    /// Cuts frames from the front of `bytes`; returns how many bytes they took.
    fn decode(
        self: &Arc<Self>,
        session: &Session<H>,
        turn: &mut Turning<'_, H>,
        cx: &mut TurnCx<'_>,
        bytes: &[u8],
        budget: &mut Budget,
    ) -> (usize, Outcome) {
        let framing = &self.net.options.framing;
        let (mut used, mut frames) = (0, 0);
        let mut seen = std::mem::take(&mut turn.seen);
        // Looked at after each frame, whether there is a rate or none.
        let end = bytes.len().min(budget.bytes.saturating_sub(budget.decoded));
        let outcome = loop {
            if used >= end {
                if used == bytes.len() {
                    break Outcome::AllDecoded;
                }
                self.word.mark(word::REMAINDER);
                break Outcome::Stopped;
            }
            let decoded = if framing.is_custom() {
                // User code, so it is fenced like a callback.
                contained(|| framing.decode(&bytes[used..], seen))
            } else {
                Some(framing.decode(&bytes[used..], seen))
            };
            let Some(decoded) = decoded else {
                self.panicked("a codec's decode");
                break Outcome::Stopped;
            };
            match decoded {
                Ok(Decoded::Frame { wire_len, payload }) => {
                    seen = 0;
                    let frame = Frame::new(&bytes[used..used + wire_len], payload);
                    used += wire_len;
                    frames += 1;
                    budget.take();
                    self.handle(session, turn, frame);
                    if used == bytes.len() && !self.word.has(word::SHUT) {
                        // The turn ends, which flushes, or looks before it reads on. Only
                        // `on_close` may follow at once.
                        break Outcome::AllDecoded;
                    }
                    if self.must_stop(cx, budget) {
                        if used < bytes.len() {
                            self.word.mark(word::REMAINDER);
                        }
                        break Outcome::Stopped;
                    }
                }
                Ok(Decoded::Partial { .. }) => {
                    turn.seen = bytes.len() - used;
                    break Outcome::AllDecoded;
                }
                Err(error) => {
                    self.close(CloseHow::Graceful, CloseReason::BadFrame(error));
                    break Outcome::Stopped;
                }
            }
        };
        budget.decoded += used;
        if frames > 0 {
            add(&self.counts.frames_in, frames);
            cx.slot.net(self.net.index).frames_in.add_own(frames);
            self.deadlines.first_frame();
        }
        (used, outcome)
    }

    /// The look after each frame: close, pause, high water, budget.
    fn must_stop(self: &Arc<Self>, cx: &TurnCx<'_>, budget: &Budget) -> bool {
        let now = self.after_callback(cx, budget);
        self.word.has(word::SHUT | word::HELD_BACK) || budget.spent(now)
    }

    /// What a long turn has sent, or much of it, leaves before the next callback. Returns when.
    pub(super) fn after_callback(self: &Arc<Self>, cx: &TurnCx<'_>, budget: &Budget) -> Time {
        let now = cx.port.now();
        let own = current::with_turn_of(self.id.get(), |turn| (turn.out.len(), turn.frames));
        let (own_bytes, own_frames) = own.unwrap_or_default();
        let (bytes, frames) = self.queued();
        let high =
            own_bytes + bytes >= budget.bytes_high || own_frames + frames >= budget.frames_high;
        if high || now >= budget.long_from {
            self.flush_turn(now);
            cx.flush_others(now);
        }
        now
    }
}
