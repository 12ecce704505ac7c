//! Groups: some sessions of a network, sent to together. A room, a zone, a team.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use super::registry::SentToMany;
use super::{Session, SessionId, word};
use crate::error::SendError;
use crate::frame::{FrameError, Framing};
use crate::handler::Handler;
use crate::network::NetworkCore;

/// Some sessions of a network. Cheap to clone; a session may be in any number of groups. One that
/// is over leaves by itself, at the next join or send.
pub struct Group<H: Handler> {
    framing: Framing,
    members: Arc<Members<H>>,
}

/// The members, in order of age: a seed replays only if nothing depends on where memory lies.
///
/// The network knows the list, but not the other way round, and empties it when its host has
/// stopped: a handler that keeps groups of its own sessions would keep itself for ever otherwise.
pub(crate) type Members<H> = Mutex<BTreeMap<SessionId, Session<H>>>;

impl<H: Handler> Clone for Group<H> {
    fn clone(&self) -> Self {
        Self {
            framing: self.framing.clone(),
            members: Arc::clone(&self.members),
        }
    }
}

impl<H: Handler> std::fmt::Debug for Group<H> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Group({})", self.len())
    }
}

/// Joins between two looks for members that are over.
const PRUNE_EVERY: usize = 64;

impl<H: Handler> Group<H> {
    pub(crate) fn new(net: &NetworkCore<H>) -> Self {
        let members = Arc::default();
        net.note_group(&members);
        Self {
            framing: net.options.framing.clone(),
            members,
        }
    }

    /// Adds a session; false if it was in, or is over.
    ///
    /// From now on others' frames may reach it, ahead of what its own running turn has built and
    /// not flushed: see [`Session::send`] and [`Session::flush`].
    pub fn join(&self, session: &Session<H>) -> bool {
        let mut members = self.members.lock();
        if members.len() % PRUNE_EVERY == PRUNE_EVERY - 1 {
            members.retain(|_, member| member.is_open());
        }
        session.is_open() && members.insert(session.id(), session.clone()).is_none()
    }

    /// Takes a session out; false if it was not in.
    pub fn leave(&self, id: SessionId) -> bool {
        self.members.lock().remove(&id).is_some()
    }

    /// Whether the session is in, and open.
    #[must_use]
    pub fn contains(&self, id: SessionId) -> bool {
        let members = self.members.lock();
        members.get(&id).is_some_and(|member| member.is_open())
    }

    /// How many open sessions are in.
    #[must_use]
    pub fn len(&self) -> usize {
        self.members
            .lock()
            .values()
            .filter(|member| member.is_open())
            .count()
    }

    /// Whether no open session is in.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The open sessions that are in.
    #[must_use]
    pub fn to_vec(&self) -> Vec<Session<H>> {
        self.members
            .lock()
            .values()
            .filter(|member| member.is_open())
            .cloned()
            .collect()
    }

    /// Sends one frame to all members: encoded once, one shared buffer.
    ///
    /// # Errors
    /// The payload does not fit the framing; nothing was sent then.
    pub fn send(&self, payload: &[u8]) -> Result<SentToMany, FrameError> {
        Ok(self.send_wire(&self.framing.encode_shared(payload)?, None))
    }

    /// Sends one frame to all members but one: the one it came from.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub fn send_except(&self, payload: &[u8], except: SessionId) -> Result<SentToMany, FrameError> {
        Ok(self.send_wire(&self.framing.encode_shared(payload)?, Some(except)))
    }

    /// Flushes its members that hold frames, as [`Network::flush`](crate::Network::flush) does a
    /// whole network; returns how many those were. It looks at one mark of each member.
    pub fn flush(&self) -> usize {
        let members = self.members.lock();
        let held = |member: &&Session<H>| member.0.word.has(word::HELD);
        let holding: Vec<_> = members.values().filter(held).cloned().collect();
        drop(members);
        let net = holding.first().map(|first| Arc::clone(&first.0.net));
        net.map_or(0, |net| net.flush_each(holding.into_iter()))
    }

    /// Sends wire bytes that the caller has encoded, to all members, or to all but one.
    pub fn send_wire(&self, wire: &Bytes, except: Option<SessionId>) -> SentToMany {
        // Outside the lock: a send may flush, and must not hold up those who join.
        let members: Vec<_> = self.members.lock().values().cloned().collect();
        let mut sent = SentToMany::default();
        let mut over = Vec::new();
        for member in members.iter().filter(|member| Some(member.id()) != except) {
            let result = member.send_wire(wire.clone());
            if result == Err(SendError::Closed) {
                over.push(member.id());
            }
            sent.count(result);
        }
        if !over.is_empty() {
            let mut members = self.members.lock();
            for id in over {
                members.remove(&id);
            }
        }
        sent
    }
}
