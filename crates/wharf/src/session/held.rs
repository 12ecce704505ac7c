//! The sessions of a network whose frames wait for a tick: what its flush looks through.

use parking_lot::Mutex;

use super::{Session, word};
use crate::handler::Handler;

/// The sessions, each at most once: [`word::LISTED`] is set while one is in.
pub(crate) struct HeldList<H: Handler>(Mutex<Vec<Session<H>>>);

impl<H: Handler> HeldList<H> {
    pub(crate) fn new() -> Self {
        Self(Mutex::default())
    }

    /// Adds a session whose mark the caller has just set. Those that are over leave when the list
    /// would grow: where nobody flushes the whole network, nothing else takes them out.
    pub(crate) fn add(&self, session: Session<H>) {
        let mut over = Vec::new();
        let mut list = self.0.lock();
        if list.len() == list.capacity() {
            over.extend(list.extract_if(.., |listed| listed.0.word.has(word::DEAD)));
            // Not again before as many more came: looking through costs each of them one look.
            let len = list.len();
            list.reserve(len);
        }
        list.push(session);
        drop(list);
        // Outside the lock: the last handle of a session takes what it holds with it.
        drop(over);
    }

    /// Takes all.
    pub(crate) fn take(&self) -> Vec<Session<H>> {
        std::mem::take(&mut self.0.lock())
    }

    /// Gives back the emptied list for its room.
    pub(crate) fn put_back(&self, mut emptied: Vec<Session<H>>) {
        debug_assert!(emptied.is_empty());
        let mut list = self.0.lock();
        if list.capacity() < emptied.capacity() {
            emptied.append(&mut list);
            *list = emptied;
        }
    }
}
