//! A handler made of closures, and the ledger that watches all its callbacks for G1 and G2.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use wharf::{CloseReason, Frame, Handler, Refuse, Result, Session, SessionId};

type Open<S> = Box<dyn Fn(&Session<Act<S>>) -> Result<S, Refuse> + Send + Sync>;
type OnFrame<S> = Box<dyn Fn(&Session<Act<S>>, &mut S, &[u8]) -> Result<()> + Send + Sync>;
type OnClose<S> = Box<dyn Fn(&Session<Act<S>>, S, CloseReason) + Send + Sync>;

/// A handler that does what its closures say.
pub(crate) struct Act<S: Send + 'static> {
    open: Open<S>,
    frame: OnFrame<S>,
    close: OnClose<S>,
    ledger: Ledger,
}

impl<S: Send + 'static> Act<S> {
    pub(crate) fn new(
        open: impl Fn(&Session<Self>) -> Result<S, Refuse> + Send + Sync + 'static,
    ) -> Self {
        Self {
            open: Box::new(open),
            frame: Box::new(|_, _, _| Ok(())),
            close: Box::new(|_, _, _| {}),
            ledger: Ledger::default(),
        }
    }

    pub(crate) fn on_frame(
        mut self,
        frame: impl Fn(&Session<Self>, &mut S, &[u8]) -> Result<()> + Send + Sync + 'static,
    ) -> Self {
        self.frame = Box::new(frame);
        self
    }

    pub(crate) fn on_close(
        mut self,
        close: impl Fn(&Session<Self>, S, CloseReason) + Send + Sync + 'static,
    ) -> Self {
        self.close = Box::new(close);
        self
    }

    /// What was called so far.
    pub(crate) fn ledger(&self) -> Ledger {
        self.ledger.clone()
    }
}

impl Act<()> {
    /// Sends each frame back.
    pub(crate) fn echo() -> Self {
        Self::new(|_| Ok(())).on_frame(|s, (), payload| Ok(s.send(payload)?))
    }

    /// Takes everything and says nothing.
    pub(crate) fn sink() -> Self {
        Self::new(|_| Ok(()))
    }
}

impl<S: Send + 'static> Handler for Act<S> {
    type State = S;

    fn on_open(&self, session: &Session<Self>) -> Result<S, Refuse> {
        let inside = self.ledger.enter(session.id(), Call::Open);
        let opened = (self.open)(session);
        inside.opened(opened.is_ok());
        opened
    }

    fn on_frame(&self, session: &Session<Self>, state: &mut S, frame: Frame<'_>) -> Result<()> {
        let _inside = self.ledger.enter(session.id(), Call::Frame);
        (self.frame)(session, state, frame.payload())
    }

    fn on_close(&self, session: &Session<Self>, state: S, reason: CloseReason) {
        let _inside = self.ledger.enter(session.id(), Call::Close);
        self.ledger.note_close(session.id(), &reason);
        (self.close)(session, state, reason);
    }
}

/// Which callback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Open,
    Frame,
    Job,
    Close,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// `on_open` has not returned, or never will: it refused or panicked.
    Opening,
    Open,
    Closed,
}

struct Entry {
    phase: Phase,
    inside: Option<Call>,
    frames: usize,
    reason: Option<CloseReason>,
}

#[derive(Default)]
struct Book {
    sessions: HashMap<SessionId, Entry>,
    wrong: Vec<String>,
}

/// Who was called, and what was wrong with it. Cloning gives another handle to the same.
#[derive(Clone, Default)]
pub(crate) struct Ledger(Arc<Mutex<Book>>);

/// A callback that runs; leaving it is dropping it, by a panic too.
pub(crate) struct Inside<'a> {
    ledger: &'a Ledger,
    id: SessionId,
}

impl Ledger {
    /// A callback of this session begins. Jobs call it themselves.
    pub(crate) fn enter(&self, id: SessionId, call: Call) -> Inside<'_> {
        let mut book = self.0.lock().unwrap();
        let fresh = || Entry {
            phase: Phase::Opening,
            inside: None,
            frames: 0,
            reason: None,
        };
        let known = book.sessions.contains_key(&id);
        let entry = book.sessions.entry(id).or_insert_with(fresh);
        let before = (entry.phase, entry.inside);
        entry.inside = Some(call);
        entry.frames += usize::from(call == Call::Frame);
        let expected = if call == Call::Open {
            Phase::Opening
        } else {
            Phase::Open
        };
        if call == Call::Close {
            entry.phase = Phase::Closed;
        }
        if before.0 != expected || before.1.is_some() || known == (call == Call::Open) {
            let (phase, inside) = before;
            book.wrong
                .push(format!("{call:?} of {id} in {phase:?}, inside {inside:?}"));
        }
        drop(book);
        Inside { ledger: self, id }
    }

    /// The callback of a posted job.
    pub(crate) fn job(&self, id: SessionId) -> Inside<'_> {
        self.enter(id, Call::Job)
    }

    fn note_close(&self, id: SessionId, reason: &CloseReason) {
        let mut book = self.0.lock().unwrap();
        if let Some(entry) = book.sessions.get_mut(&id) {
            entry.reason = Some(reason.clone());
        }
    }

    /// Nothing overlapped, nothing came out of order.
    pub(crate) fn check(&self) {
        let book = self.0.lock().unwrap();
        assert!(book.wrong.is_empty(), "callbacks: {:#?}", book.wrong);
    }

    /// The same, and each session that was opened was closed.
    pub(crate) fn check_all_closed(&self) {
        self.check();
        let book = self.0.lock().unwrap();
        let open = book
            .sessions
            .iter()
            .filter(|(_, entry)| entry.phase == Phase::Open);
        let open: Vec<_> = open.map(|(id, _)| *id).collect();
        assert!(open.is_empty(), "opened and never closed: {open:?}");
    }

    /// How many sessions were opened.
    pub(crate) fn opened(&self) -> usize {
        let book = self.0.lock().unwrap();
        let opened = book
            .sessions
            .values()
            .filter(|entry| entry.phase != Phase::Opening);
        opened.count()
    }

    /// How many were closed.
    pub(crate) fn closed(&self) -> usize {
        let book = self.0.lock().unwrap();
        let closed = book
            .sessions
            .values()
            .filter(|entry| entry.reason.is_some());
        closed.count()
    }

    /// Frames handled.
    pub(crate) fn frames(&self) -> usize {
        let book = self.0.lock().unwrap();
        book.sessions.values().map(|entry| entry.frames).sum()
    }

    /// Why this session was closed; `None` if it was not.
    pub(crate) fn reason(&self, id: SessionId) -> Option<CloseReason> {
        let book = self.0.lock().unwrap();
        book.sessions.get(&id)?.reason.clone()
    }

    /// Why sessions were closed, in the order of their ids.
    pub(crate) fn reasons(&self) -> Vec<CloseReason> {
        let book = self.0.lock().unwrap();
        let mut reasons: Vec<_> = book
            .sessions
            .iter()
            .filter_map(|(id, entry)| Some((*id, entry.reason.clone()?)))
            .collect();
        reasons.sort_by_key(|(id, _)| *id);
        reasons.into_iter().map(|(_, reason)| reason).collect()
    }
}

impl Inside<'_> {
    fn opened(&self, opened: bool) {
        let mut book = self.ledger.0.lock().unwrap();
        if let Some(entry) = book.sessions.get_mut(&self.id)
            && opened
        {
            entry.phase = Phase::Open;
        }
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        let mut book = self.ledger.0.lock().unwrap();
        if let Some(entry) = book.sessions.get_mut(&self.id) {
            entry.inside = None;
        }
    }
}

/// What handlers tell the test. Cloning gives another handle to the same.
pub(crate) struct Log<T>(Arc<Mutex<Vec<T>>>);

impl<T> Clone for Log<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Default for Log<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T> Log<T> {
    pub(crate) fn push(&self, event: T) {
        self.0.lock().unwrap().push(event);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    /// Takes what was told so far.
    pub(crate) fn take(&self) -> Vec<T> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}
