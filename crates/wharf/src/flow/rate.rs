//! Rate: a session that says more than it may waits for its turn, or is closed.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::decode::Budget;
use super::turn::Turning;
use crate::error::CloseReason;
use crate::handler::Handler;
use crate::session::core::SessionCore;
use crate::session::queue::CloseHow;
use crate::session::word;
use crate::time::Time;

impl<H: Handler> SessionCore<H> {
    /// Cuts the turn's budget to what the session's rates allow; false if that is nothing.
    pub(super) fn within_rate(
        self: &Arc<Self>,
        turn: &mut Turning<'_, H>,
        budget: &mut Budget,
        now: Time,
    ) -> bool {
        let Some(meter) = &mut turn.meter else {
            return true;
        };
        let allowed = meter.allowance(now);
        budget.limit(allowed);
        let some = allowed.frames > 0 && allowed.bytes > 0;
        if !some {
            self.throttle(turn, now);
        }
        some
    }

    /// Counts what the turn took.
    pub(super) fn spend_rate(
        self: &Arc<Self>,
        turn: &mut Turning<'_, H>,
        frames: usize,
        bytes: usize,
        now: Time,
    ) {
        let Some(meter) = &mut turn.meter else { return };
        meter.spend(frames, bytes);
        if meter.is_over() {
            self.close(CloseHow::Abort, CloseReason::RateExceeded);
        } else {
            self.throttle(turn, now);
        }
    }

    /// Holds reading back until the rates allow more, if there is something to read and nothing is
    /// left of them.
    fn throttle(self: &Arc<Self>, turn: &mut Turning<'_, H>, now: Time) {
        let Some(meter) = &mut turn.meter else { return };
        let wait = meter.wait();
        if wait.is_zero() || !self.word.has(word::READABLE | word::REMAINDER) {
            return;
        }
        self.net.events.throttled.fetch_add(1, Ordering::Relaxed);
        // In this order: a timer that finds the moment has come finds the mark to take away.
        self.word.mark(word::THROTTLED);
        let at = now + wait;
        self.deadlines.resume_at(at);
        self.net.port.arm(self.token, at);
    }
}
