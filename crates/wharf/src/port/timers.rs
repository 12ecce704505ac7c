//! The deadlines of a port: one a tenant, lazily kept.
//!
//! A session has one entry, for the earliest moment at which something *may* be due; when it fires
//! the session looks at its stamps and says when to look again. So a frame never touches this
//! structure (R11). Ordered set of std: insertion and removal in O(log n), no scan.

use std::collections::BTreeSet;

use super::contract::Token;
use crate::time::Time;

/// The deadlines.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    by_time: BTreeSet<(Time, Token)>,
    /// The armed moment of each slot; `Time::ZERO` for none.
    armed: Vec<Time>,
    /// What the backend's timer was last set to.
    backend: Option<Time>,
}

impl Timers {
    /// Has the tenant called no later than `at`. Returns the moment to set the backend's timer to,
    /// if that is earlier than what it is set to.
    #[must_use]
    pub(crate) fn arm(&mut self, token: Token, at: Time) -> Option<Time> {
        let slot = token.slot() as usize;
        if self.armed.len() <= slot {
            self.armed.resize(slot + 1, Time::ZERO);
        }
        let armed = self.armed[slot];
        if armed != Time::ZERO {
            // A leftover of the slot's former tenant has another generation and is not found.
            if armed <= at && self.by_time.contains(&(armed, token)) {
                return None;
            }
            self.by_time.remove(&(armed, token));
        }
        let at = at.max(Time::from_nanos(1));
        self.armed[slot] = at;
        self.by_time.insert((at, token));
        self.backend_change()
    }

    /// Forgets the tenant.
    pub(crate) fn disarm(&mut self, token: Token) {
        if let Some(armed) = self.armed.get_mut(token.slot() as usize)
            && self.by_time.remove(&(*armed, token))
        {
            *armed = Time::ZERO;
        }
    }

    /// Takes one tenant that is due.
    pub(crate) fn take_due(&mut self, now: Time) -> Option<Token> {
        let &(at, token) = self.by_time.first()?;
        if at > now {
            return None;
        }
        self.by_time.pop_first();
        self.armed[token.slot() as usize] = Time::ZERO;
        Some(token)
    }

    /// The earliest deadline, [`Time::NEVER`] if there is none.
    pub(crate) fn earliest(&self) -> Time {
        self.by_time.first().map_or(Time::NEVER, |first| first.0)
    }

    /// After the backend's timer fired and what was due was taken: what to set it to next.
    #[must_use]
    pub(crate) fn fired(&mut self) -> Option<Time> {
        self.backend = None;
        self.backend_change()
    }

    fn backend_change(&mut self) -> Option<Time> {
        let earliest = self.by_time.first()?.0;
        if self.backend.is_some_and(|set| set <= earliest) {
            return None;
        }
        self.backend = Some(earliest);
        Some(earliest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_earlier_deadline_touches_the_backend() {
        let mut timers = Timers::default();
        let (a, b) = (Token::new(0, 0), Token::new(1, 0));
        let at = Time::from_nanos;
        assert_eq!(timers.arm(a, at(50)), Some(at(50)));
        assert_eq!(timers.arm(b, at(60)), None, "later than what is set");
        assert_eq!(
            timers.arm(b, at(70)),
            None,
            "armed earlier already: lazily kept"
        );
        assert_eq!(timers.arm(b, at(20)), Some(at(20)));
        assert_eq!(timers.take_due(at(19)), None);
        assert_eq!(timers.take_due(at(20)), Some(b));
        assert_eq!(timers.fired(), Some(at(50)));
        timers.disarm(a);
        assert_eq!(timers.earliest(), Time::NEVER);
        assert_eq!(timers.fired(), None);
        let a_again = Token::new(0, 1);
        assert_eq!(timers.arm(a_again, at(90)), Some(at(90)));
        timers.disarm(a);
        assert_eq!(
            timers.earliest(),
            at(90),
            "a former tenant's disarm changes nothing"
        );
    }
}
