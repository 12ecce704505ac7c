//! Who waits for which answer: a table of keys, without a session or a clock.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

use super::{RequestError, RequestStats, Then};
use crate::handler::Handler;
use crate::strand::timer::Timer;

/// What is to be called, and the timer that would have called it.
type Ended<H> = (Then<H>, Option<Timer>);

/// Whom an answer found.
pub(super) enum Found<H: Handler> {
    Waiting(Then<H>, Option<Timer>),
    Nobody,
}

enum Slot<H: Handler> {
    /// Its answer is awaited. The serial number tells it from others that had its key.
    Waiting {
        serial: u64,
        then: Then<H>,
        timer: Option<Timer>,
    },
    /// It has timed out; its answer may still come.
    Owed(u64),
}

/// The table.
pub(super) struct Book<H: Handler, K> {
    slots: HashMap<K, Slot<H>>,
    /// The keys of those that have timed out, the oldest first; at most `in_flight_max`.
    owed: BTreeMap<u64, K>,
    in_flight_max: usize,
    next: u64,
    closed: bool,
    stats: RequestStats,
}

impl<H: Handler, K: Clone + Eq + Hash> Book<H, K> {
    pub(super) fn new(in_flight_max: usize) -> Self {
        Self {
            slots: HashMap::new(),
            owed: BTreeMap::new(),
            in_flight_max,
            next: 0,
            closed: false,
            stats: RequestStats::default(),
        }
    }

    fn in_flight(&self) -> usize {
        self.slots.len() - self.owed.len()
    }

    /// A request begins; returns its serial number. What is refused is given back: it is the
    /// user's, and nobody may drop it under a lock.
    pub(super) fn begin(&mut self, key: K, then: Then<H>) -> Result<u64, (RequestError, Then<H>)> {
        if self.closed {
            return Err((RequestError::Closed, then));
        }
        let refused = if self.slots.contains_key(&key) {
            Some(RequestError::KeyInUse)
        } else {
            (self.in_flight() >= self.in_flight_max).then_some(RequestError::TooMany)
        };
        if let Some(refused) = refused {
            self.stats.refused += 1;
            return Err((refused, then));
        }
        let serial = self.next;
        self.next += 1;
        let waiting = Slot::Waiting {
            serial,
            then,
            timer: None,
        };
        self.slots.insert(key, waiting);
        Ok(serial)
    }

    /// Its timer runs; given back if it has come to its end already.
    pub(super) fn set_timer(&mut self, key: &K, serial: u64, set: Timer) -> Option<Timer> {
        match self.slots.get_mut(key) {
            Some(Slot::Waiting {
                serial: of, timer, ..
            }) if *of == serial => {
                *timer = Some(set);
                None
            }
            _ => Some(set),
        }
    }

    /// Takes out this very request, if it waits.
    fn take(&mut self, key: &K, serial: Option<u64>) -> Option<(u64, Ended<H>)> {
        match self.slots.get(key) {
            Some(Slot::Waiting { serial: of, .. }) if serial.is_none_or(|serial| *of == serial) => {
            }
            _ => return None,
        }
        match self.slots.remove(key) {
            Some(Slot::Waiting {
                serial,
                then,
                timer,
            }) => Some((serial, (then, timer))),
            _ => None,
        }
    }

    /// It was not sent after all; `None` if it has come to its end already.
    pub(super) fn withdraw(&mut self, key: &K, serial: u64) -> Option<Ended<H>> {
        Some(self.take(key, Some(serial))?.1)
    }

    /// Its time has run out; `None` if it was answered before. Its key is kept for the late answer.
    pub(super) fn time_out(&mut self, key: &K, serial: u64) -> Option<Then<H>> {
        let (serial, (then, _)) = self.take(key, Some(serial))?;
        self.stats.timed_out += 1;
        if self.owed.len() >= self.in_flight_max
            && let Some((_, oldest)) = self.owed.pop_first()
        {
            self.slots.remove(&oldest);
        }
        self.owed.insert(serial, key.clone());
        self.slots.insert(key.clone(), Slot::Owed(serial));
        Some(then)
    }

    /// An answer has come.
    pub(super) fn answer(&mut self, key: &K) -> Found<H> {
        if let Some((_, (then, timer))) = self.take(key, None) {
            self.stats.answered += 1;
            return Found::Waiting(then, timer);
        }
        if let Some(Slot::Owed(serial)) = self.slots.remove(key) {
            self.owed.remove(&serial);
            self.stats.late += 1;
        } else {
            self.stats.unknown += 1;
        }
        Found::Nobody
    }

    /// The session is over: all that wait, the oldest first.
    pub(super) fn close(&mut self) -> Vec<Ended<H>> {
        self.closed = true;
        self.owed.clear();
        let mut waiting: Vec<_> = std::mem::take(&mut self.slots)
            .into_values()
            .filter_map(|slot| match slot {
                Slot::Waiting {
                    serial,
                    then,
                    timer,
                } => Some((serial, (then, timer))),
                Slot::Owed(_) => None,
            })
            .collect();
        waiting.sort_by_key(|(serial, _)| *serial);
        self.stats.closed += waiting.len() as u64;
        waiting.into_iter().map(|(_, ended)| ended).collect()
    }

    pub(super) fn stats(&self) -> RequestStats {
        RequestStats {
            in_flight: self.in_flight(),
            ..self.stats
        }
    }
}
