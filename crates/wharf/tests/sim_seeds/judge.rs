//! The judge: what every callback and every peer reports to, and what it holds against them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use parking_lot::Mutex;
use wharf::sim::Sim;
use wharf::{CloseReason, Group, HostHandle, PauseGuard, SessionId};

use crate::crews::{Crews, Holding};
use crate::game::Game;
use crate::rooms::Rooms;

/// What was done to a session, by whoever did it: a close reason must have its cause.
pub(crate) mod did {
    pub(crate) const CLOSE: u32 = 1;
    pub(crate) const ABORT: u32 = 1 << 1;
    pub(crate) const ERROR: u32 = 1 << 2;
    pub(crate) const PANIC: u32 = 1 << 3;
    /// The peer ended its stream or went away.
    pub(crate) const FIN: u32 = 1 << 4;
    /// The peer broke the connection or went away.
    pub(crate) const RESET: u32 = 1 << 5;
    pub(crate) const GARBAGE: u32 = 1 << 6;
}

/// One session of one of the host's networks.
pub(crate) struct Record {
    pub(crate) serial: u32,
    pub(crate) net: usize,
    pub(crate) peer: SocketAddr,
    opened_at: Duration,
    busy: AtomicBool,
    pub(crate) refused: AtomicBool,
    pub(crate) closed: AtomicBool,
    /// Frames handled, which is also the number that the next one must carry.
    pub(crate) frames: AtomicU32,
    /// Replies that `send` accepted.
    pub(crate) replied: AtomicU32,
    /// Broadcasts it has sent.
    pub(crate) casts: AtomicU32,
    pub(crate) posted: AtomicU32,
    pub(crate) ran: AtomicU32,
    did: AtomicU32,
    /// Frames accepted for it from each other sender.
    pub(crate) direct: Mutex<BTreeMap<u32, u32>>,
    pub(crate) reason: Mutex<Option<CloseReason>>,
    /// When a callback of its own moved it to another lane.
    pub(crate) relaned_at: Mutex<Option<Duration>>,
}

impl Record {
    pub(crate) fn note(&self, what: u32) {
        self.did.fetch_or(what, SeqCst);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(SeqCst)
    }
}

/// What this seed allows to happen; the judge compares close reasons with it.
#[derive(Clone, Debug)]
pub(crate) struct Allowed {
    pub(crate) resets: bool,
    /// System calls fail in ways that end sessions.
    pub(crate) failures: bool,
    pub(crate) handshake: Option<Duration>,
    pub(crate) idle: Option<Duration>,
    pub(crate) write_stall: Option<Duration>,
    pub(crate) full_closes: bool,
}

/// The judge.
pub(crate) struct Judge {
    pub(crate) sim: Sim,
    pub(crate) rng: Mutex<fastrand::Rng>,
    pub(crate) allowed: Allowed,
    violations: Mutex<Vec<String>>,
    pub(crate) records: Mutex<Vec<Arc<Record>>>,
    by_id: Mutex<BTreeMap<SessionId, Arc<Record>>>,
    /// What the peer at an address has done, perhaps before its session opened.
    deeds: Mutex<BTreeMap<SocketAddr, u32>>,
    pub(crate) states: AtomicI64,
    /// Set when a stop was asked for.
    pub(crate) stop_at: Mutex<Option<Duration>>,
    /// Links send nothing on their own any more.
    pub(crate) calm: AtomicBool,
    /// Handlers may stop the host.
    pub(crate) may_stop: AtomicBool,
    pub(crate) handle: Mutex<Option<HostHandle>>,
    pub(crate) group: Mutex<Option<Group<Game>>>,
    pub(crate) guards: Mutex<Vec<PauseGuard<Game>>>,
    pub(crate) crews: Mutex<Option<Arc<Crews>>>,
    /// Sessions whose callbacks hold a worker.
    pub(crate) holding: Mutex<Vec<Holding>>,
    pub(crate) rooms: Mutex<Rooms>,
    /// How many changes of the number of workers were granted.
    pub(crate) resizes: AtomicU32,
}

/// Proof that a callback of the session runs; taken twice at once is what G1 forbids.
pub(crate) struct Busy<'a>(&'a Record);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.busy.store(false, SeqCst);
    }
}

impl Judge {
    pub(crate) fn new(sim: &Sim, seed: u64, allowed: Allowed) -> Arc<Self> {
        Arc::new(Self {
            sim: sim.clone(),
            rng: Mutex::new(fastrand::Rng::with_seed(seed ^ 0x1d6e)),
            allowed,
            violations: Mutex::default(),
            records: Mutex::default(),
            by_id: Mutex::default(),
            deeds: Mutex::default(),
            states: AtomicI64::new(0),
            stop_at: Mutex::default(),
            calm: AtomicBool::new(false),
            may_stop: AtomicBool::new(false),
            handle: Mutex::default(),
            group: Mutex::default(),
            guards: Mutex::default(),
            crews: Mutex::default(),
            holding: Mutex::default(),
            rooms: Mutex::default(),
            resizes: AtomicU32::new(0),
        })
    }

    /// Notes something that must not be.
    pub(crate) fn blame(&self, what: impl Into<String>) {
        self.violations.lock().push(what.into());
    }

    /// The first thing that must not be.
    pub(crate) fn verdict(&self) -> Option<String> {
        self.violations.lock().first().cloned()
    }

    pub(crate) fn below(&self, end: u32) -> u32 {
        self.rng.lock().u32(0..end)
    }

    pub(crate) fn coin(&self, share: f64) -> bool {
        self.rng.lock().f64() < share
    }

    pub(crate) fn opening(&self, id: SessionId, net: usize, peer: SocketAddr) -> Arc<Record> {
        let mut records = self.records.lock();
        let record = Arc::new(Record {
            serial: u32::try_from(records.len()).unwrap(),
            net,
            peer,
            opened_at: self.sim.now(),
            busy: AtomicBool::new(false),
            refused: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            frames: AtomicU32::new(0),
            replied: AtomicU32::new(0),
            casts: AtomicU32::new(0),
            posted: AtomicU32::new(0),
            ran: AtomicU32::new(0),
            did: AtomicU32::new(0),
            direct: Mutex::default(),
            reason: Mutex::default(),
            relaned_at: Mutex::default(),
        });
        records.push(Arc::clone(&record));
        if self.by_id.lock().insert(id, Arc::clone(&record)).is_some() {
            self.blame(format!("on_open ran twice for session {id}"));
        }
        record
    }

    /// The session with this id; one that had no `on_open` has no record.
    pub(crate) fn record(&self, id: SessionId) -> Option<Arc<Record>> {
        self.by_id.lock().get(&id).cloned()
    }

    /// The session of network `net` that serves the peer at this address.
    pub(crate) fn record_of(&self, net: usize, peer: SocketAddr) -> Option<Arc<Record>> {
        let records = self.records.lock();
        let mut own = records.iter().filter(|r| r.net == net && r.peer == peer);
        own.next_back().cloned()
    }

    /// The peer at this address is about to do this.
    pub(crate) fn deed(&self, peer: SocketAddr, what: u32) {
        *self.deeds.lock().entry(peer).or_insert(0) |= what;
    }

    /// What was done to a session, from either side.
    fn done_to(&self, record: &Record) -> u32 {
        let scripted = self.deeds.lock().get(&record.peer).copied();
        record.did.load(SeqCst) | scripted.filter(|_| record.net == 0).unwrap_or(0)
    }

    /// A callback of the session begins.
    pub(crate) fn enter<'a>(&self, record: &'a Record, callback: &str) -> Busy<'a> {
        if record.busy.swap(true, SeqCst) {
            let serial = record.serial;
            self.blame(format!(
                "G1: {callback} of session {serial} overlaps another"
            ));
        }
        if record.is_closed() || record.refused.load(SeqCst) {
            let serial = record.serial;
            self.blame(format!(
                "G2: {callback} of session {serial} after its last callback"
            ));
        }
        Busy(record)
    }

    /// `on_close` ran: exactly once, after all accepted jobs, for a reason that there is.
    pub(crate) fn closing(&self, record: &Record, reason: &CloseReason) {
        let serial = record.serial;
        if record.closed.swap(true, SeqCst) {
            self.blame(format!("G2: on_close ran twice for session {serial}"));
        }
        let (posted, ran) = (record.posted.load(SeqCst), record.ran.load(SeqCst));
        if posted != ran {
            self.blame(format!(
                "session {serial}: {posted} jobs were accepted and {ran} ran before on_close"
            ));
        }
        *record.reason.lock() = Some(reason.clone());
        if !self.is_plausible(record, reason) {
            self.blame(format!(
                "G2: session {serial} of network {} ended with {reason:?}, but what was done to it \
                 is {:#b}",
                record.net,
                self.done_to(record)
            ));
        }
    }

    fn is_plausible(&self, record: &Record, reason: &CloseReason) -> bool {
        let done = self.done_to(record);
        let was = |what: u32| done & what != 0;
        // A turn's own clock may be as old as the last handler's hold.
        let slack = Duration::from_millis(10);
        let lived = self.sim.now().saturating_sub(record.opened_at) + slack;
        let since = |limit: Option<Duration>| limit.is_some_and(|limit| lived >= limit);
        // Networks 1 and 2 are each other's peers, and both end connections as they like.
        let scripted = record.net == 0;
        match reason {
            CloseReason::PeerClosed => !scripted || was(did::FIN),
            CloseReason::Reset => {
                !scripted || was(did::RESET) || self.allowed.resets || self.allowed.failures
            }
            CloseReason::Closed => was(did::CLOSE),
            CloseReason::Aborted => was(did::ABORT),
            // Network 1 may be stopped alone.
            CloseReason::Shutdown => record.net == 1 || self.stop_at.lock().is_some(),
            // The clock of the handshake starts at the accept, a little before on_open.
            CloseReason::HandshakeTimeout => {
                self.allowed.handshake.is_some() && record.frames.load(SeqCst) == 0
            }
            CloseReason::IdleTimeout => since(self.allowed.idle),
            CloseReason::WriteStalled => since(self.allowed.write_stall),
            CloseReason::SendQueueFull => self.allowed.full_closes,
            CloseReason::BadFrame(_) => was(did::GARBAGE),
            CloseReason::HandlerError(_) => was(did::ERROR),
            CloseReason::HandlerPanicked => was(did::PANIC),
            CloseReason::Io(_) => self.allowed.failures,
            _ => false,
        }
    }

    /// Nothing runs any more: each session has had its `on_close`.
    pub(crate) fn check_closed(&self) {
        for record in self.records.lock().iter() {
            if !record.is_closed() && !record.refused.load(SeqCst) {
                self.blame(format!("G2: session {} had no on_close", record.serial));
            }
        }
    }

    /// Asks the host to stop, as any thread or handler may.
    pub(crate) fn stop_host(&self) {
        let now = self.sim.now();
        self.stop_at.lock().get_or_insert(now);
        let handle = self.handle.lock().clone();
        if let Some(handle) = handle {
            handle.stop();
        }
    }
}
