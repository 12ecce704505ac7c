//! The deadlines of a session: stamps that the hot path writes, and one look that compares them.

use std::time::Duration;

use crate::error::CloseReason;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::time::Time;

/// Timeouts of a session; `None` switches one off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// From the accept to the first whole frame. Default for servers: 10 s; for clients: none.
    pub handshake: Option<Duration>,
    /// Between two bytes received, while we would read them; the time of long turns does not count.
    /// If a turn runs when it would pass, or reading is paused, or the send queue is above its
    /// high-water mark, it begins anew: after at least this time, and at most twice that, in which
    /// we would read. Default for servers: 5 min; for clients: none.
    pub idle: Option<Duration>,
    /// How long a peer may take nothing while frames wait for it. Default: 30 s.
    pub write_stall: Option<Duration>,
    /// How long a graceful close waits for the flush and for the peer's end. Default: 5 s.
    pub linger: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            handshake: Some(Duration::from_secs(10)),
            idle: Some(Duration::from_secs(300)),
            write_stall: Some(Duration::from_secs(30)),
            linger: Duration::from_secs(5),
        }
    }
}

/// What a passed deadline asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// Close the session: its peer is silent or stuck.
    Close(CloseReason),
    /// The session's rate allows more: reading goes on.
    Resume,
    /// The owner's business: the connect took too long, or the linger ends.
    Owner,
}

/// In place of a moment: nobody listened when the peer had been silent for long enough.
const UNHEARD: u64 = 1;
/// The same: it has been silent for long enough, as far as is known.
const DOUBTED: u64 = 2;

/// The stamps. Zero means "not set".
#[derive(Debug, Default)]
pub(crate) struct Deadlines {
    /// End of the current phase: connect, handshake or linger. With [`OWNER`] in one number, so
    /// that a look never sees the end of one phase with the meaning of another.
    phase: AtomicU64,
    last_in: AtomicU64,
    stalled_since: AtomicU64,
    /// When the rate allows more.
    resume: AtomicU64,
}

/// The phase's end is the owner's business, and not a handshake timeout. A clock of nanoseconds
/// needs this bit after 292 years.
const OWNER: u64 = 1 << 63;

impl Deadlines {
    /// The session's first phase, a connect or a handshake, must end by `at`.
    pub(crate) fn begin(&self, connecting: bool, at: Option<Time>) {
        match at {
            Some(at) if connecting => self.owner_at(at),
            at => self.handshake_by(at),
        }
    }

    /// The handshake must end by `at`.
    pub(crate) fn handshake_by(&self, at: Option<Time>) {
        let at = at.map_or(0, |at| at.as_nanos().min(OWNER - 1));
        self.phase.store(at, Ordering::Release);
    }

    /// The owner wants a turn at `at`.
    pub(crate) fn owner_at(&self, at: Time) {
        self.phase.store(at.as_nanos() | OWNER, Ordering::Release);
    }

    /// The first frame came: the handshake ended in time.
    pub(crate) fn first_frame(&self) {
        let phase = self.phase.load(Ordering::Relaxed);
        if phase != 0 && phase & OWNER == 0 {
            self.phase.store(0, Ordering::Release);
        }
    }

    /// Bytes came.
    pub(crate) fn heard(&self, now: Time) {
        self.last_in.store(now.as_nanos(), Ordering::Relaxed);
    }

    /// The silence is ours: nobody listens. It counts from when somebody does.
    pub(crate) fn unheard(&self) {
        self.last_in.store(UNHEARD, Ordering::Relaxed);
    }

    /// Somebody listens.
    pub(crate) fn listens(&self, now: Time) {
        for old in [UNHEARD, DOUBTED] {
            // Bytes that came meanwhile have a stamp of their own.
            let _ = self.last_in.compare_exchange(
                old,
                now.as_nanos(),
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
        }
    }

    /// So much of the silence until now was ours.
    pub(crate) fn not_counted(&self, time: Duration, now: Time) {
        let later = |at: u64| {
            let at = (at > DOUBTED).then(|| Time::from_nanos(at))?;
            Some((at + time).min(now).as_nanos())
        };
        let _ = self
            .last_in
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, later);
    }

    /// It is silent for too long, unless the next look at its socket finds something; false if it
    /// has been heard since it was found to be.
    pub(crate) fn doubt(&self, timeouts: &Timeouts, now: Time) -> bool {
        let limit = timeouts.idle.unwrap_or(Duration::MAX);
        let silent = |at: u64| at > DOUBTED && Time::from_nanos(at) + limit <= now;
        self.last_in
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |at| {
                silent(at).then_some(DOUBTED)
            })
            .is_ok()
    }

    /// Nothing has come since [`Self::doubt`].
    pub(crate) fn is_doubted(&self) -> bool {
        self.last_in.load(Ordering::Relaxed) == DOUBTED
    }

    /// Reading goes on at `at`.
    pub(crate) fn resume_at(&self, at: Time) {
        self.resume.store(at.as_nanos(), Ordering::Release);
    }

    /// It does.
    pub(crate) fn resumed(&self) {
        self.resume.store(0, Ordering::Release);
    }

    /// The socket takes no more; true if it did until now.
    pub(crate) fn stalled(&self, now: Time) -> bool {
        self.stalled_since
            .compare_exchange(0, now.as_nanos(), Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
    }

    /// The socket took something.
    pub(crate) fn unstalled(&self) {
        if self.stalled_since.load(Ordering::Relaxed) != 0 {
            self.stalled_since.store(0, Ordering::Relaxed);
        }
    }

    /// What is due, or else the next moment to look; [`Time::NEVER`] if nothing can become due.
    pub(crate) fn look(&self, timeouts: &Timeouts, now: Time) -> Result<Due, Time> {
        let mut next = Time::NEVER;
        let mut passed = |at: Time| {
            next = next.min(at);
            at <= now
        };
        let phase = self.phase.load(Ordering::Acquire);
        if phase != 0 {
            let over = passed(Time::from_nanos(phase & !OWNER));
            if phase & OWNER != 0 {
                // Connecting or saying goodbye: nothing else counts.
                return if over { Ok(Due::Owner) } else { Err(next) };
            }
            if over {
                return Ok(Due::Close(CloseReason::HandshakeTimeout));
            }
        }
        let resume = self.resume.load(Ordering::Acquire);
        if resume != 0 && passed(Time::from_nanos(resume)) {
            return Ok(Due::Resume);
        }
        let stalled = self.stalled_since.load(Ordering::Relaxed);
        if let Some(limit) = timeouts.write_stall
            && stalled != 0
            && passed(Time::from_nanos(stalled) + limit)
        {
            return Ok(Due::Close(CloseReason::WriteStalled));
        }
        // Not before it is open: until then nobody listens to what the peer says.
        let heard = match self.last_in.load(Ordering::Relaxed) {
            0 => None,
            UNHEARD | DOUBTED => Some(now),
            at => Some(Time::from_nanos(at)),
        };
        if let (Some(limit), Some(heard)) = (timeouts.idle, heard)
            && passed(heard + limit)
        {
            return Ok(Due::Close(CloseReason::IdleTimeout));
        }
        Err(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn idle_for_a_second() -> Timeouts {
        Timeouts {
            idle: Some(SECOND),
            ..Timeouts::default()
        }
    }

    #[test]
    fn the_earliest_passed_deadline_is_named() {
        let timeouts = Timeouts {
            idle: Some(SECOND * 4),
            ..Timeouts::default()
        };
        let start = Time::ZERO + SECOND;
        let deadlines = Deadlines::default();
        deadlines.heard(start);
        deadlines.handshake_by(Some(start + SECOND * 2));
        assert_eq!(deadlines.look(&timeouts, start), Err(start + SECOND * 2));
        let late = deadlines.look(&timeouts, start + SECOND * 2);
        assert_eq!(late, Ok(Due::Close(CloseReason::HandshakeTimeout)));
        deadlines.first_frame();
        assert_eq!(
            deadlines.look(&timeouts, start + SECOND * 2),
            Err(start + SECOND * 4)
        );
        deadlines.heard(start + SECOND * 3);
        assert_eq!(
            deadlines.look(&timeouts, start + SECOND * 4),
            Err(start + SECOND * 7)
        );
        let idle = deadlines.look(&timeouts, start + SECOND * 7);
        assert_eq!(idle, Ok(Due::Close(CloseReason::IdleTimeout)));
    }

    #[test]
    fn nobody_is_idle_before_it_is_open() {
        let timeouts = idle_for_a_second();
        let start = Time::ZERO + SECOND * 60;
        let deadlines = Deadlines::default();
        deadlines.begin(true, Some(start + SECOND * 5));
        assert_eq!(deadlines.look(&timeouts, start), Err(start + SECOND * 5));
        // Connected; `on_open` takes its time, and the connect's deadline passes.
        deadlines.handshake_by(None);
        let late = deadlines.look(&timeouts, start + SECOND * 5);
        assert_eq!(late, Err(Time::NEVER));
        deadlines.heard(start + SECOND * 6);
        let open = deadlines.look(&timeouts, start + SECOND * 6);
        assert_eq!(open, Err(start + SECOND * 7));
    }

    #[test]
    fn who_is_heard_between_the_look_and_the_doubt_is_not_doubted() {
        let timeouts = idle_for_a_second();
        let start = Time::ZERO + SECOND;
        let deadlines = Deadlines::default();
        deadlines.heard(start);
        let due = deadlines.look(&timeouts, start + SECOND);
        assert_eq!(due, Ok(Due::Close(CloseReason::IdleTimeout)));
        deadlines.heard(start + SECOND);
        assert!(!deadlines.doubt(&timeouts, start + SECOND));
        assert!(!deadlines.is_doubted());
        let next = deadlines.look(&timeouts, start + SECOND);
        assert_eq!(next, Err(start + SECOND * 2));
    }

    #[test]
    fn a_silence_that_nobody_listened_to_begins_anew() {
        let timeouts = idle_for_a_second();
        let start = Time::ZERO + SECOND;
        let deadlines = Deadlines::default();
        deadlines.heard(start);
        deadlines.unheard();
        let next = deadlines.look(&timeouts, start + SECOND);
        assert_eq!(next, Err(start + SECOND * 2));
        deadlines.listens(start + SECOND * 3);
        let next = deadlines.look(&timeouts, start + SECOND * 3);
        assert_eq!(next, Err(start + SECOND * 4));
        deadlines.not_counted(SECOND, start + SECOND * 5);
        let next = deadlines.look(&timeouts, start + SECOND * 4);
        assert_eq!(next, Err(start + SECOND * 5));
        deadlines.listens(start + SECOND * 5);
        let due = deadlines.look(&timeouts, start + SECOND * 5);
        assert_eq!(due, Ok(Due::Close(CloseReason::IdleTimeout)));
        assert!(deadlines.doubt(&timeouts, start + SECOND * 5));
        deadlines.not_counted(SECOND, start + SECOND * 6);
        assert!(deadlines.is_doubted());
        let next = deadlines.look(&timeouts, start + SECOND * 6);
        assert_eq!(next, Err(start + SECOND * 7));
        deadlines.heard(start + SECOND * 6);
        assert!(!deadlines.is_doubted());
    }

    #[test]
    fn a_resume_is_due_once_and_hides_no_other() {
        let timeouts = idle_for_a_second();
        let start = Time::ZERO + SECOND;
        let deadlines = Deadlines::default();
        deadlines.heard(start);
        deadlines.resume_at(start + SECOND / 2);
        let next = deadlines.look(&timeouts, start);
        assert_eq!(next, Err(start + SECOND / 2));
        let due = deadlines.look(&timeouts, start + SECOND * 2);
        assert_eq!(due, Ok(Due::Resume));
        deadlines.resumed();
        let due = deadlines.look(&timeouts, start + SECOND * 2);
        assert_eq!(due, Ok(Due::Close(CloseReason::IdleTimeout)));
    }

    #[test]
    fn a_stall_is_counted_from_its_first_moment() {
        let timeouts = Timeouts {
            write_stall: Some(SECOND),
            ..Timeouts::default()
        };
        let deadlines = Deadlines::default();
        let start = Time::ZERO + SECOND;
        assert!(deadlines.stalled(start));
        assert!(
            !deadlines.stalled(start + SECOND / 2),
            "still the same stall"
        );
        assert_eq!(deadlines.look(&timeouts, start), Err(start + SECOND));
        let due = deadlines.look(&timeouts, start + SECOND);
        assert_eq!(due, Ok(Due::Close(CloseReason::WriteStalled)));
        deadlines.unstalled();
        assert_eq!(deadlines.look(&timeouts, start + SECOND), Err(Time::NEVER));
        deadlines.owner_at(start);
        assert_eq!(deadlines.look(&timeouts, start), Ok(Due::Owner));
    }
}
