//! The deadlines of a port: one a tenant, lazily kept.
//!
//! A session has one entry, for the earliest moment at which something *may* be due; when it fires
//! the session looks at its stamps and says when to look again. So a frame never touches this
//! structure (R11).
//!
//! An ordered set of std: to arm, to cancel and to take what is due are O(log n), none of them
//! scans (a test counts comparisons), and the next deadline is exact, which is what the one timer
//! of the backend is set to. Measured here, on a busy machine: with 1,000, 100,000 and 1,000,000
//! timers to arm one costs 0.17, 0.4 and 1.1 us, to cancel one 0.17, 0.5 and 1.7 us, to fire one
//! and arm it again 0.2, 0.7 and 1.4 us. So 1,000 strands that tick at 20 Hz spend 0.4 % of a core
//! on it. A timer wheel would save most of that little, for slots that are either coarse or have
//! to be looked at when they are empty; none of its crates is worth its place for that.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use super::contract::Token;
use crate::time::Time;

/// The deadlines.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    by_time: BTreeSet<Entry>,
    /// The entry of each slot's tenant, or [`NONE`]. A former tenant may have left one as well:
    /// it is taken when it is due, and names nobody.
    armed: Vec<Entry>,
    /// What the backend's timer was last set to.
    backend: Option<Time>,
}

/// A deadline and whose it is: the earliest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry(Time, Token);

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        #[cfg(test)]
        tests::COMPARED.set(tests::COMPARED.get() + 1);
        (self.0, self.1).cmp(&(other.0, other.1))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// No entry: the token of no tenant.
const NONE: Entry = Entry(Time::NEVER, Token::WAKE);

impl Timers {
    /// Has the tenant called no later than `at`. Returns the moment to set the backend's timer to,
    /// if that is earlier than what it is set to.
    #[must_use]
    pub(crate) fn arm(&mut self, token: Token, at: Time) -> Option<Time> {
        let slot = token.slot() as usize;
        if self.armed.len() <= slot {
            self.armed.resize(slot + 1, NONE);
        }
        let armed = self.armed[slot];
        if armed.1 == token {
            if armed.0 <= at {
                return None;
            }
            self.by_time.remove(&armed);
        }
        self.armed[slot] = Entry(at, token);
        self.by_time.insert(Entry(at, token));
        self.backend_change()
    }

    /// Forgets the tenant.
    pub(crate) fn disarm(&mut self, token: Token) {
        if let Some(armed) = self.armed.get_mut(token.slot() as usize)
            && armed.1 == token
        {
            self.by_time.remove(armed);
            *armed = NONE;
        }
    }

    /// Takes one tenant that is due.
    pub(crate) fn take_due(&mut self, now: Time) -> Option<Token> {
        let &Entry(at, token) = self.by_time.first()?;
        if at > now {
            return None;
        }
        self.by_time.pop_first();
        let armed = &mut self.armed[token.slot() as usize];
        if *armed == Entry(at, token) {
            *armed = NONE;
        }
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
    use std::cell::Cell;

    use proptest::prelude::*;

    use super::*;

    thread_local! {
        /// Comparisons of entries on this thread.
        pub(super) static COMPARED: Cell<u64> = const { Cell::new(0) };
    }

    /// Comparisons an operation, with so many timers: to arm, to cancel, to fire.
    fn compared(timers_max: u32) -> [u64; 3] {
        let mut random = fastrand::Rng::with_seed(7);
        let mut timers = Timers::default();
        let token = |slot| Token::new(slot, 0);
        let mut count = |n: u32, work: &mut dyn FnMut(&mut Timers)| {
            let before = COMPARED.get();
            work(&mut timers);
            (COMPARED.get() - before) / u64::from(n)
        };
        let arm = count(timers_max, &mut |timers| {
            for slot in 0..timers_max {
                let at = Time::from_nanos(random.u64(1..1_000_000_000));
                let _ = timers.arm(token(slot), at);
            }
        });
        let cancel = count(timers_max / 2, &mut |timers| {
            (0..timers_max / 2).for_each(|slot| timers.disarm(token(slot)));
        });
        let fire = count(timers_max / 2, &mut |timers| {
            let mut fired = 0;
            while timers.take_due(Time::from_nanos(1_000_000_000)).is_some() {
                fired += 1;
            }
            assert_eq!(fired, timers_max - timers_max / 2);
        });
        [arm, cancel, fire]
    }

    #[test]
    fn a_hundred_thousand_timers_need_no_scan() {
        let (few, many) = (compared(1_000), compared(100_000));
        for (few, many) in few.into_iter().zip(many) {
            assert!(many <= few * 3 + 3, "{few} comparisons grew to {many}");
        }
        assert!(few[0] > 3, "the comparisons are counted: {few:?}");
    }

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

    #[derive(Clone, Debug)]
    enum Op {
        Arm(u32, u64),
        Disarm(u32),
        /// The slot gets a new tenant; the former one's entry, if it has one, is left over.
        Renew(u32),
        /// Time passes; the tenants that are due are taken, as at a turn's end.
        Pass(u64),
        /// As `Pass`, but because the backend's timer fired.
        Fire,
    }

    fn ops() -> impl Strategy<Value = Vec<Op>> {
        let op = prop_oneof![
            4 => (0..3u32, 0..20u64).prop_map(|(slot, after)| Op::Arm(slot, after)),
            1 => (0..3u32).prop_map(Op::Disarm),
            1 => (0..3u32).prop_map(Op::Renew),
            2 => (0..8u64).prop_map(Op::Pass),
            2 => Just(Op::Fire),
        ];
        prop::collection::vec(op, 1..60)
    }

    /// Deadlines as a plain list.
    #[derive(Default)]
    struct Plain {
        now: u64,
        generations: [u32; 3],
        entries: BTreeSet<(Time, Token)>,
        backend: Option<Time>,
    }

    impl Plain {
        fn token(&self, slot: u32) -> Token {
            Token::new(slot, self.generations[slot as usize])
        }

        fn remove(&mut self, token: Token) -> Option<Time> {
            let entry = *self.entries.iter().find(|entry| entry.1 == token)?;
            self.entries.remove(&entry);
            Some(entry.0)
        }

        fn arm(&mut self, timers: &mut Timers, slot: u32, after: u64) {
            let (token, at) = (self.token(slot), Time::from_nanos(self.now + after));
            let before = self.remove(token).unwrap_or(Time::NEVER);
            self.entries.insert((at.min(before), token));
            self.backend = timers.arm(token, at).or(self.backend);
        }

        fn take_due(&mut self, timers: &mut Timers) {
            let now = Time::from_nanos(self.now);
            while let Some(token) = timers.take_due(now) {
                let first = self.entries.pop_first();
                assert_eq!(
                    first.map(|entry| entry.1),
                    Some(token),
                    "the earliest first"
                );
                assert!(
                    first.is_some_and(|entry| entry.0 <= now),
                    "not before its time"
                );
            }
            let earliest = self.entries.first().map_or(Time::NEVER, |entry| entry.0);
            assert!(earliest > now, "none that is due is left");
            assert_eq!(timers.earliest(), earliest);
        }
    }

    proptest! {
        /// One entry a tenant, called at the earliest moment it asked for, and the backend's timer
        /// is always set to the earliest entry or before it.
        #[test]
        fn timers_agree_with_a_plain_list(ops in ops()) {
            let (mut timers, mut plain) = (Timers::default(), Plain::default());
            for op in ops {
                match op {
                    Op::Arm(slot, after) => plain.arm(&mut timers, slot, after),
                    Op::Disarm(slot) => {
                        plain.remove(plain.token(slot));
                        timers.disarm(plain.token(slot));
                    }
                    Op::Renew(slot) => plain.generations[slot as usize] += 1,
                    Op::Pass(time) => {
                        plain.now += time;
                        plain.take_due(&mut timers);
                    }
                    Op::Fire => {
                        let Some(at) = plain.backend.take() else { continue };
                        plain.now = plain.now.max(at.as_nanos());
                        plain.take_due(&mut timers);
                        plain.backend = timers.fired();
                    }
                }
                let set = plain.backend.unwrap_or(Time::NEVER);
                prop_assert!(set <= timers.earliest(), "{set:?} is too late");
            }
        }
    }
}
