//! From a token to what it names: the port's table of registered things.
//!
//! Segments are allocated once and never move, and each slot has a lock of its own, so two workers
//! that look up two sessions share no cache line. A slot's generation moves when it is freed: a
//! late report of the former tenant finds nothing and is counted (G7).

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::contract::Token;

/// Slots of one segment.
const SEGMENT: usize = 1024;
/// Segments of a table: 4 million sessions a port, beyond what one process can open.
const SEGMENTS: usize = 4096;

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    tenant: Option<T>,
}

type Segment<T> = Box<[Mutex<Slot<T>>]>;

/// The table.
#[derive(Debug)]
pub(crate) struct Table<T> {
    segments: Box<[OnceLock<Segment<T>>]>,
    free: Mutex<Free>,
    stale: AtomicU64,
}

#[derive(Debug, Default)]
struct Free {
    slots: Vec<u32>,
    /// The first slot that was never used.
    fresh: u32,
}

impl<T: Clone> Table<T> {
    /// An empty table.
    pub(crate) fn new() -> Self {
        let segments = (0..SEGMENTS).map(|_| OnceLock::new()).collect();
        Self {
            segments,
            free: Mutex::default(),
            stale: AtomicU64::new(0),
        }
    }

    /// Takes a slot for what `tenant` makes of its token. `None`: the table is full.
    pub(crate) fn insert(&self, tenant: impl FnOnce(Token) -> T) -> Option<T> {
        let slot = {
            let mut free = self.free.lock();
            match free.slots.pop() {
                Some(slot) => slot,
                None if (free.fresh as usize) < SEGMENT * SEGMENTS => {
                    free.fresh += 1;
                    free.fresh - 1
                }
                None => return None,
            }
        };
        let segment = self.segments[slot as usize / SEGMENT].get_or_init(|| {
            let slot = || {
                Mutex::new(Slot {
                    generation: 0,
                    tenant: None,
                })
            };
            (0..SEGMENT).map(|_| slot()).collect()
        });
        let cell = &segment[slot as usize % SEGMENT];
        let token = Token::new(slot, cell.lock().generation);
        let tenant = tenant(token);
        cell.lock().tenant = Some(tenant.clone());
        Some(tenant)
    }

    /// Whom the token names; `None`, and counted, if it is of an earlier generation.
    pub(crate) fn find(&self, token: Token) -> Option<T> {
        let found = self.peek(token);
        if found.is_none() {
            self.stale.fetch_add(1, Ordering::Relaxed);
        }
        found
    }

    /// Whom the token names, for those who know that it may name nobody.
    #[inline]
    pub(crate) fn peek(&self, token: Token) -> Option<T> {
        let slot = self.slot(token)?.lock();
        if slot.generation == token.generation() {
            slot.tenant.clone()
        } else {
            None
        }
    }

    /// Frees the slot; the token names nothing from now on.
    pub(crate) fn remove(&self, token: Token) -> Option<T> {
        let tenant = {
            let mut slot = self.slot(token)?.lock();
            if slot.generation != token.generation() {
                return None;
            }
            // Wraps after 4 billion uses of one slot; two such far reports can't meet.
            slot.generation = slot.generation.wrapping_add(1);
            slot.tenant.take()
        };
        self.free.lock().slots.push(token.slot());
        tenant
    }

    /// Reports that named nobody: late ones of sockets closed since.
    pub(crate) fn stale_reports(&self) -> u64 {
        self.stale.load(Ordering::Relaxed)
    }

    /// All tenants, for shutdown.
    pub(crate) fn tenants(&self) -> Vec<T> {
        let segments = self.segments.iter().filter_map(OnceLock::get);
        segments
            .flat_map(|segment| segment.iter().filter_map(|c| c.lock().tenant.clone()))
            .collect()
    }

    /// Frees all slots: the port has stopped, or never started.
    pub(crate) fn clear(&self) {
        self.clear_if(|_| true);
    }

    /// Frees the slots of such tenants.
    pub(crate) fn clear_if(&self, gone: impl Fn(&T) -> bool) {
        for (segment_index, segment) in self.segments.iter().enumerate() {
            for (index, cell) in segment.get().into_iter().flatten().enumerate() {
                let (generation, used) = {
                    let slot = cell.lock();
                    (slot.generation, slot.tenant.as_ref().is_some_and(&gone))
                };
                if used && let Ok(slot) = u32::try_from(segment_index * SEGMENT + index) {
                    // Dropped outside the slot's lock.
                    drop(self.remove(Token::new(slot, generation)));
                }
            }
        }
    }

    fn slot(&self, token: Token) -> Option<&Mutex<Slot<T>>> {
        let segment = self.segments.get(token.slot() as usize / SEGMENT)?.get()?;
        segment.get(token.slot() as usize % SEGMENT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_of_a_freed_slot_names_nobody() {
        let table = Table::new();
        let mut first = Token::WAKE;
        table.insert(|token| {
            first = token;
            "first"
        });
        assert_eq!(table.find(first), Some("first"));
        assert_eq!(table.remove(first), Some("first"));
        let mut second = Token::WAKE;
        table.insert(|token| {
            second = token;
            "second"
        });
        assert_eq!(first.slot(), second.slot(), "the slot is used again");
        assert_eq!(table.find(first), None);
        assert_eq!(
            table.remove(first),
            None,
            "and can't be freed by its former tenant"
        );
        assert_eq!(table.find(second), Some("second"));
        assert_eq!(table.stale_reports(), 1);
        assert_eq!(table.find(Token::new(4_000_000, 0)), None);
        assert_eq!(table.tenants(), vec!["second"]);
    }
}
