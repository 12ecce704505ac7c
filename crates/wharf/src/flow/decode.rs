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
use crate::port::TurnCx;
use crate::sched::Lane;
use crate::session::Session;
use crate::session::core::{SessionCore, TurnState, add, small};
use crate::session::queue::CloseHow;
use crate::session::word;
use crate::time::Time;

/// From here on, what a turn has sent leaves at the next callback boundary, not at its end (R5).
pub(super) const LONG_TURN: Duration = Duration::from_micros(200);
/// The most callbacks between two looks at the clock. After those that take longer than their part
/// of a long turn, there is a look after each.
const UNTIMED_MAX: u8 = 4;
const SHORT_CALLBACK: Duration = Duration::from_micros(50);

/// What a turn may still spend.
#[derive(Debug)]
pub(super) struct Budget {
    frames: usize,
    /// Bytes of frames, and how many of them are spent. The frame that exceeds them is handled.
    bytes: usize,
    decoded: usize,
    began: Time,
    time_max: Duration,
    looks: Looks,
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

    /// Whether the turn goes to the back of its lane at this moment, if there was a look at the
    /// clock.
    pub(super) fn spent(&self, now: Option<Time>) -> bool {
        self.frames == 0 || now.is_some_and(|now| now >= self.began + self.time_max)
    }
}

/// When a turn looks at the clock: after each callback, unless they have been short, and a look
/// would cost as much as they do.
#[derive(Debug)]
struct Looks {
    last: Time,
    /// Callbacks between two looks.
    every: u8,
    /// Until the next one.
    left: u8,
}

impl Looks {
    fn new(now: Time) -> Self {
        Self {
            last: now,
            every: 1,
            left: 1,
        }
    }

    /// A callback has returned: whether to look.
    fn is_due(&mut self) -> bool {
        self.left = self.left.saturating_sub(1);
        self.left == 0
    }

    fn looked(&mut self, now: Time) {
        let short = now < self.last + SHORT_CALLBACK * u32::from(self.every);
        self.every = if short {
            (self.every * 2).min(UNTIMED_MAX)
        } else {
            1
        };
        (self.left, self.last) = (self.every, now);
    }
}

/// How far [`SessionCore::cut`] has come.
#[derive(Debug, Default)]
struct Cut {
    used: usize,
    frames: u64,
    /// A codec of the user runs.
    in_codec: bool,
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
            began: now,
            time_max: options.turn_time_max.min(time),
            looks: Looks::new(now),
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
    ///
    /// One fence for all of them: around each frame it would cost more than many a callback.
    fn decode(
        self: &Arc<Self>,
        session: &Session<H>,
        turn: &mut Turning<'_, H>,
        cx: &mut TurnCx<'_>,
        bytes: &[u8],
        budget: &mut Budget,
    ) -> (usize, Outcome) {
        let mut cut = Cut::default();
        let ended = contained(|| self.cut(session, turn, cx, bytes, budget, &mut cut));
        let outcome = ended.unwrap_or_else(|| {
            self.panicked(if cut.in_codec {
                "a codec's decode"
            } else {
                "on_frame"
            });
            Outcome::Stopped
        });
        budget.decoded += cut.used;
        if cut.frames > 0 {
            add(&self.counts.frames_in, cut.frames);
            cx.counters.frames_in.add_own(cut.frames);
            self.deadlines.first_frame();
        }
        (cut.used, outcome)
    }

    /// The loop of [`Self::decode`], which user code may end by a panic.
    fn cut(
        self: &Arc<Self>,
        session: &Session<H>,
        turn: &mut TurnState<H::State>,
        cx: &TurnCx<'_>,
        bytes: &[u8],
        budget: &mut Budget,
        cut: &mut Cut,
    ) -> Outcome {
        let (framing, handler) = (&self.net.options.framing, &self.net.handler);
        let Some(state) = &mut turn.state else {
            return Outcome::Stopped;
        };
        let mut seen = std::mem::take(&mut turn.seen) as usize;
        // Looked at after each frame, whether there is a rate or none.
        let end = bytes.len().min(budget.bytes.saturating_sub(budget.decoded));
        while cut.used < end {
            let rest = &bytes[cut.used..];
            cut.in_codec = framing.is_custom();
            let decoded = framing.decode(rest, seen);
            cut.in_codec = false;
            match decoded {
                Ok(Decoded::Frame { wire_len, payload }) => {
                    seen = 0;
                    let frame = Frame::new(&rest[..wire_len], payload);
                    cut.used += wire_len;
                    cut.frames += 1;
                    budget.take();
                    if let Err(error) = handler.on_frame(session, state, frame) {
                        // What the error says may be the words of user code too.
                        let reason = CloseReason::HandlerError(error.to_string());
                        self.close(CloseHow::Graceful, reason);
                    }
                    if cut.used == bytes.len() && !self.word.has(word::SHUT) {
                        // The turn ends, which flushes, or looks before it reads on. Only
                        // `on_close` may follow at once.
                        return Outcome::AllDecoded;
                    }
                    if self.must_stop(cx, budget) {
                        if cut.used < bytes.len() {
                            self.word.mark(word::REMAINDER);
                        }
                        return Outcome::Stopped;
                    }
                }
                Ok(Decoded::Partial { .. }) => {
                    turn.seen = small(rest.len());
                    return Outcome::AllDecoded;
                }
                Err(error) => {
                    self.close(CloseHow::Graceful, CloseReason::BadFrame(error));
                    return Outcome::Stopped;
                }
            }
        }
        if cut.used == bytes.len() {
            return Outcome::AllDecoded;
        }
        self.word.mark(word::REMAINDER);
        Outcome::Stopped
    }

    /// The look after each frame: close, pause, high water, budget.
    #[inline]
    fn must_stop(self: &Arc<Self>, cx: &TurnCx<'_>, budget: &mut Budget) -> bool {
        let now = self.after_callback(cx, budget);
        self.word.has(word::SHUT | word::HELD_BACK) || budget.spent(now)
    }

    /// What a long turn has sent leaves before the next callback. Returns when, if it looked at the
    /// clock.
    #[inline]
    pub(super) fn after_callback(
        self: &Arc<Self>,
        cx: &TurnCx<'_>,
        budget: &mut Budget,
    ) -> Option<Time> {
        budget.looks.is_due().then(|| self.look(cx, budget))
    }

    #[inline(never)]
    fn look(self: &Arc<Self>, cx: &TurnCx<'_>, budget: &mut Budget) -> Time {
        let now = cx.port.now();
        budget.looks.looked(now);
        if now >= budget.began + LONG_TURN {
            self.flush_turn(None, now);
            cx.flush_others(now);
        }
        now
    }
}
