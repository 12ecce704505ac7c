//! What a port knows of jobs and strands: how many jobs wait, what runs when it is no session, and
//! how all of it ends with the port.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::contract::Token;
use super::core::{PortCore, WorkerSlot};
use super::served::{JOB, STRAND, Served};
use crate::error::SendError;
use crate::stats::Counter;
use crate::time::Time;

/// Jobs that may wait on one port, delayed ones included: as many sessions as it may have sixteen
/// times over, each with a timeout, and some 30 MB of small closures.
const JOBS_MAX: usize = 256 * 1024;

/// The plain jobs of a port: their bound and their counters.
#[derive(Debug)]
pub(crate) struct Jobs {
    waiting: AtomicUsize,
    max: AtomicUsize,
    /// The host drains: nothing repeats any more.
    ending: AtomicBool,
    /// The last session is gone: only workers may still post, for what they have begun.
    inside_only: AtomicBool,
    /// The port has stopped for good: nothing is taken any more.
    closed: AtomicBool,
    posted: Counter,
    ran: Counter,
    full: Counter,
    panics: Counter,
    cancelled: Counter,
    dropped: Counter,
}

impl Default for Jobs {
    fn default() -> Self {
        Self {
            waiting: AtomicUsize::new(0),
            max: AtomicUsize::new(JOBS_MAX),
            ending: AtomicBool::new(false),
            inside_only: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            posted: Counter::default(),
            ran: Counter::default(),
            full: Counter::default(),
            panics: Counter::default(),
            cancelled: Counter::default(),
            dropped: Counter::default(),
        }
    }
}

/// What the plain jobs of a port or pool have come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct JobStats {
    /// Jobs accepted, the delayed ones and those of sessions included.
    pub posted: u64,
    /// Those that wait now, for a worker or for their time.
    pub waiting: usize,
    /// Those that ran, to their end or to a panic.
    pub ran: u64,
    /// Refused because `jobs_max` were waiting.
    pub full: u64,
    /// Panics, of repeating jobs too.
    pub panics: u64,
    /// Cancelled before they ran.
    pub cancelled: u64,
    /// Dropped without having run: the port stopped, or their session was over.
    pub dropped: u64,
}

impl Jobs {
    pub(crate) fn set_max(&self, max: usize) {
        self.max.store(max, Ordering::Relaxed);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// The host begins to stop: ticks end, so that what was accepted can come to its end.
    pub(crate) fn end_ticks(&self) {
        self.ending.store(true, Ordering::Relaxed);
    }

    /// From now on nothing comes from outside.
    pub(crate) fn end_posts(&self) {
        self.inside_only.store(true, Ordering::Relaxed);
    }

    /// Whether this thread is too late with what it posts.
    pub(crate) fn is_late(&self) -> bool {
        self.inside_only.load(Ordering::Relaxed) && !super::current::is_worker()
    }

    /// Whether ticks have ended.
    pub(crate) fn ticks_ended(&self) -> bool {
        self.ending.load(Ordering::Relaxed)
    }

    /// A place for one more job.
    pub(crate) fn take_place(self: &Arc<Self>) -> Result<Place, SendError> {
        if self.is_closed() || self.is_late() {
            return Err(SendError::Closed);
        }
        let max = self.max.load(Ordering::Relaxed);
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= max {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            self.full.add(1);
            return Err(SendError::Full);
        }
        self.posted.add(1);
        Ok(Place {
            jobs: Arc::clone(self),
            end: End::Dropped,
        })
    }

    /// A job has panicked.
    pub(crate) fn note_panic(&self) {
        self.panics.add(1);
    }

    pub(crate) fn stats(&self) -> JobStats {
        JobStats {
            posted: self.posted.read(),
            waiting: self.waiting.load(Ordering::Relaxed),
            ran: self.ran.read(),
            full: self.full.read(),
            panics: self.panics.read(),
            cancelled: self.cancelled.read(),
            dropped: self.dropped.read(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Dropped,
    Ran,
    Cancelled,
}

/// The place of a job that waits; given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    jobs: Arc<Jobs>,
    end: End,
}

impl Place {
    /// The job begins, and waits no more.
    pub(crate) fn started(mut self) {
        self.end = End::Ran;
    }

    /// The job was cancelled before it ran.
    pub(crate) fn cancelled(mut self) {
        self.end = End::Cancelled;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.jobs.waiting.fetch_sub(1, Ordering::Relaxed);
        match self.end {
            End::Dropped => self.jobs.dropped.add(1),
            End::Ran => self.jobs.ran.add(1),
            End::Cancelled => self.jobs.cancelled.add(1),
        }
    }
}

impl PortCore {
    /// Queues a turn of something that is no session. After the port's end nobody would come for
    /// it, and what stands in the queue would keep the port: it is taken out again.
    pub(crate) fn push_job(&self, item: Arc<dyn Served>, now: Time) {
        self.push_turn(item, now);
        if self.jobs.is_closed() {
            self.drain_queue();
        }
    }

    /// What runs in this slot, in words, if it is no session's turn.
    pub(crate) fn what_runs(&self, slot: &WorkerSlot) -> Option<String> {
        match slot.turn_network.load(Ordering::Relaxed) {
            JOB => Some("a job".to_owned()),
            STRAND => {
                let token = Token::from_bits(slot.turn_session.load(Ordering::Relaxed));
                let tenant = self.table.peek(token);
                // One that closed meanwhile is no longer stuck.
                Some(tenant.and_then(|t| t.what()).unwrap_or("a strand".into()))
            }
            _ => None,
        }
    }

    /// The port has ended, or never starts: everything in it is let go of, on this thread.
    pub(crate) fn discard_all(&self) {
        self.jobs.closed.store(true, Ordering::SeqCst);
        self.drain_queue();
        for tenant in self.table.tenants() {
            tenant.discard();
        }
        self.table.clear();
    }

    fn drain_queue(&self) {
        // Dropped without the lock: they may hold what is the user's.
        let queued = self.queue.lock().drain();
        drop(queued);
    }
}
