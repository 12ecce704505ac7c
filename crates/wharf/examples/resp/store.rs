//! The keys and values: a hash table in shards, so that workers rarely meet at a lock.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::time::Instant;

use parking_lot::{Mutex, MutexGuard};
use wharf::Bytes;

use crate::parser::number;

/// Many more than workers: then two workers seldom want the same one.
const SHARDS: usize = 64;

type Shard = HashMap<Box<[u8]>, Entry>;

/// The store. Time is an argument, so a value that expires can be tested without waiting.
pub(crate) struct Store {
    shards: [Mutex<Shard>; SHARDS],
    /// Seeded at random, as the tables' own: keys can't be chosen to fall into one shard.
    hasher: RandomState,
}

struct Entry {
    /// Shared: a reply is written after the lock is let go.
    value: Bytes,
    expires: Option<Instant>,
}

impl Entry {
    fn lives(&self, now: Instant) -> bool {
        self.expires.is_none_or(|at| now < at)
    }
}

/// Which keys a [`Store::set`] is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Only {
    Any,
    New,
    Existing,
}

/// Why a number could not be changed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum AddError {
    NotANumber,
    Overflow,
}

impl Store {
    pub(crate) fn new() -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
            hasher: RandomState::new(),
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "below SHARDS")]
    fn shard(&self, key: &[u8]) -> MutexGuard<'_, Shard> {
        let index = self.hasher.hash_one(key) % SHARDS as u64;
        self.shards[index as usize].lock()
    }

    pub(crate) fn get(&self, key: &[u8], now: Instant) -> Option<Bytes> {
        let mut shard = self.shard(key);
        let entry = shard.get(key)?;
        if entry.lives(now) {
            return Some(entry.value.clone());
        }
        // Expired keys go when somebody looks at them; nobody waits for a clock.
        shard.remove(key);
        None
    }

    /// Sets a value; false if `only` forbids it.
    pub(crate) fn set(
        &self,
        key: &[u8],
        value: &[u8],
        expires: Option<Instant>,
        only: Only,
        now: Instant,
    ) -> bool {
        let new = Entry {
            value: Bytes::copy_from_slice(value),
            expires,
        };
        let mut shard = self.shard(key);
        // Looked up first: a key that is there already is not allocated again.
        match shard.get_mut(key) {
            Some(entry) => {
                let fits = match only {
                    Only::Any => true,
                    Only::New => !entry.lives(now),
                    Only::Existing => entry.lives(now),
                };
                if fits {
                    *entry = new;
                }
                fits
            }
            None if only == Only::Existing => false,
            None => {
                shard.insert(key.into(), new);
                true
            }
        }
    }

    /// Removes a key; false if it was not there.
    pub(crate) fn remove(&self, key: &[u8], now: Instant) -> bool {
        self.shard(key)
            .remove(key)
            .is_some_and(|old| old.lives(now))
    }

    /// Adds to a number, which is 0 if the key is new; returns the sum.
    pub(crate) fn add(&self, key: &[u8], by: i64, now: Instant) -> Result<i64, AddError> {
        let mut shard = self.shard(key);
        if let Some(entry) = shard.get_mut(key)
            && entry.lives(now)
        {
            let old = number(&entry.value).ok_or(AddError::NotANumber)?;
            let sum = old.checked_add(by).ok_or(AddError::Overflow)?;
            entry.value = sum.to_string().into();
            return Ok(sum);
        }
        let entry = Entry {
            value: by.to_string().into(),
            expires: None,
        };
        shard.insert(key.into(), entry);
        Ok(by)
    }

    /// How many keys there are, those expired and not looked at since included, as in Redis.
    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().len()).sum()
    }

    pub(crate) fn clear(&self) {
        // The old table is freed outside the lock.
        for shard in &self.shards {
            drop(std::mem::take(&mut *shard.lock()));
        }
    }
}
