//! The open sessions of a network: look up, iterate, broadcast, from any thread.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;

use super::{Session, SessionId};
use crate::error::SendError;
use crate::frame::FrameError;
use crate::handler::Handler;
use crate::network::NetworkCore;

/// Shards, so that opening and closing sessions on several workers rarely meet.
const SHARDS: usize = 16;

/// By id, so nearly all join at the end: 8 bytes a session, where a tree takes 32.
type Shard<H> = Mutex<Vec<Session<H>>>;

/// The sessions by id.
pub(crate) struct Registry<H: Handler> {
    shards: [Shard<H>; SHARDS],
    count: AtomicUsize,
}

impl<H: Handler> Registry<H> {
    pub(crate) fn new() -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
            count: AtomicUsize::new(0),
        }
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "only the low bits are wanted"
    )]
    fn shard(&self, id: SessionId) -> &Shard<H> {
        &self.shards[id.get() as usize % SHARDS]
    }

    pub(crate) fn insert(&self, session: &Session<H>) {
        let mut shard = self.shard(session.id()).lock();
        if let Err(at) = shard.binary_search_by_key(&session.id(), Session::id) {
            shard.insert(at, session.clone());
            self.count.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn remove(&self, id: SessionId) {
        let removed = {
            let mut shard = self.shard(id).lock();
            let found = shard.binary_search_by_key(&id, Session::id);
            let removed = found.ok().map(|at| shard.remove(at));
            if shard.len() < shard.capacity() / 4 {
                let room = shard.len() * 2;
                shard.shrink_to(room);
            }
            removed
        };
        // Dropped outside the lock: the last handle of a session takes what it holds with it.
        if removed.is_some() {
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn get(&self, id: SessionId) -> Option<Session<H>> {
        let shard = self.shard(id).lock();
        let at = shard.binary_search_by_key(&id, Session::id).ok()?;
        shard.get(at).cloned()
    }

    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Calls `use_it` for each session, the oldest first, holding no lock meanwhile. In any other
    /// order a run would depend on more than its seed.
    pub(crate) fn for_each(&self, use_it: impl FnMut(&Session<H>)) {
        let mut all = Vec::with_capacity(self.count());
        let runs = self.shards.each_ref().map(|shard| {
            let from = all.len();
            all.extend(shard.lock().iter().cloned());
            from..all.len()
        });
        in_order(&all, runs, |session| session.id().get(), use_it);
    }

    /// The oldest session.
    pub(crate) fn first(&self) -> Option<Session<H>> {
        let firsts = self
            .shards
            .iter()
            .filter_map(|shard| shard.lock().first().cloned());
        firsts.min_by_key(Session::id)
    }
}

/// Calls `use_it` for each item of `all` in the order of their ids: `runs` are those of each shard,
/// sorted.
fn in_order<T>(
    all: &[T],
    mut runs: [Range<usize>; SHARDS],
    id: impl Fn(&T) -> u64,
    mut use_it: impl FnMut(&T),
) {
    // Of as many ids in a row as there are shards, each shard has one.
    let row = |run: &Range<usize>| match all.get(run.start) {
        Some(item) if !run.is_empty() => id(item) / SHARDS as u64,
        _ => u64::MAX,
    };
    let mut rows = runs.each_ref().map(row);
    while let Some(&next) = rows.iter().min().filter(|&&row| row < u64::MAX) {
        for (run, at) in runs.iter_mut().zip(&mut rows) {
            if *at == next {
                use_it(&all[run.start]);
                run.start += 1;
                *at = row(run);
            }
        }
    }
}

/// The open sessions of a network, as they are from moment to moment: from the return of `on_open`
/// to the call of `on_close`.
pub struct Sessions<H: Handler>(Arc<NetworkCore<H>>);

impl<H: Handler> std::fmt::Debug for Sessions<H> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sessions({})", self.len())
    }
}

/// What became of a frame sent to many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SentToMany {
    /// Sessions that accepted it.
    pub accepted: usize,
    /// Sessions whose send queue was full: their full-policy was applied.
    pub full: usize,
    /// Sessions that were closed meanwhile.
    pub closed: usize,
}

impl SentToMany {
    pub(crate) fn count(&mut self, sent: Result<(), SendError>) {
        match sent {
            Ok(()) => self.accepted += 1,
            Err(SendError::Closed) => self.closed += 1,
            Err(_) => self.full += 1,
        }
    }
}

impl<H: Handler> Sessions<H> {
    pub(crate) fn new(net: Arc<NetworkCore<H>>) -> Self {
        Self(net)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.registry.count()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The session with this id, if it is open.
    #[must_use]
    pub fn get(&self, id: SessionId) -> Option<Session<H>> {
        self.0.registry.get(id)
    }

    /// The oldest open session: the link of a client network that keeps one.
    #[must_use]
    pub fn first(&self) -> Option<Session<H>> {
        self.0.registry.first()
    }

    /// Calls `use_it` for each open session, the oldest first, holding no lock meanwhile.
    pub fn for_each(&self, use_it: impl FnMut(&Session<H>)) {
        self.0.registry.for_each(use_it);
    }

    /// All open sessions.
    #[must_use]
    pub fn to_vec(&self) -> Vec<Session<H>> {
        let mut all = Vec::with_capacity(self.len());
        self.for_each(|session| all.push(session.clone()));
        all
    }

    /// The sessions whose send queue is above its high-water mark and not down again: the readers
    /// that a broadcaster leaves behind.
    #[must_use]
    pub fn behind(&self) -> Vec<Session<H>> {
        let mut behind = Vec::new();
        self.for_each(|session| {
            if session.send_queue().behind {
                behind.push(session.clone());
            }
        });
        behind
    }

    /// The same as [`Network::flush`](crate::Network::flush).
    pub fn flush(&self) -> usize {
        self.0.flush_all()
    }

    /// Sends one frame to every open session: encoded once, one shared buffer.
    ///
    /// # Errors
    /// The payload does not fit the framing; nothing was sent then.
    pub fn broadcast(&self, payload: &[u8]) -> Result<SentToMany, FrameError> {
        Ok(self.broadcast_wire(&self.0.options.framing.encode_shared(payload)?))
    }

    /// The same with wire bytes that the caller has encoded.
    pub fn broadcast_wire(&self, wire: &Bytes) -> SentToMany {
        let mut sent = SentToMany::default();
        self.for_each(|session| sent.count(session.send_wire(wire.clone())));
        sent
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn shards_give_their_ids_in_order(
            ids in prop::collection::btree_set(prop_oneof![0..100u64, any::<u64>()], 0..200),
        ) {
            let mut all = Vec::new();
            let runs = std::array::from_fn(|shard| {
                let from = all.len();
                all.extend(ids.iter().filter(|&&id| id % SHARDS as u64 == shard as u64));
                from..all.len()
            });
            let mut seen = Vec::new();
            in_order(&all, runs, |&&id| id, |&&id| seen.push(id));
            prop_assert_eq!(seen.iter().copied().collect::<BTreeSet<_>>(), ids);
            prop_assert!(seen.is_sorted());
        }
    }
}
