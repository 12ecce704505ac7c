//! Plain jobs: closures that a worker of a port or pool runs once, at once or after a time, and
//! repeating ones; and the delayed jobs of sessions.
//!
//! A job is what a lane queues: one allocation, no mailbox, and as many at once as the lane has
//! workers. The bound is the port's `jobs_max`.

use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;

use crate::contain::contained;
use crate::error::{Result, SendError};
use crate::handler::Handler;
use crate::port::{Place, PortCore, Served, Token, TurnCx, current};
use crate::say::say;
use crate::session::core::SessionCore;
use crate::session::{Session, word};
use crate::strand::tick::Tick;
use crate::strand::timer::{Alarm, Timer, seat, unseat};
use crate::strand::{self, StrandOptions};
use crate::time::Time;

/// How long a delayed job waits for room in its session's mailbox before it looks again.
const RETRY: Duration = Duration::from_millis(2);

/// A job until it runs, with its place among those that wait.
struct Slot<F>(Mutex<Option<(F, Place)>>);

impl<F> Slot<F> {
    fn new(job: F, place: Place) -> Self {
        Self(Mutex::new(Some((job, place))))
    }

    /// The job, to run it now; `None` if it was cancelled.
    fn start(&self) -> Option<F> {
        let (job, place) = self.0.lock().take()?;
        place.started();
        Some(job)
    }

    /// Cancelled: true if it had not begun.
    fn cancel(&self) -> bool {
        let Some((job, place)) = self.0.lock().take() else {
            return false;
        };
        place.cancelled();
        let _ = contained(|| drop(job));
        true
    }

    /// It will not run.
    fn let_go(&self) {
        let taken = self.0.lock().take();
        // The place counts it as dropped.
        let _ = contained(|| drop(taken));
    }
}

impl<F> Drop for Slot<F> {
    fn drop(&mut self) {
        self.let_go();
    }
}

/// A job of a port.
struct Task<F> {
    port: Arc<PortCore>,
    /// [`Token::WAKE`] if it is not delayed: then it is in no table.
    token: Token,
    lane: usize,
    slot: Slot<F>,
}

/// Queues a job in this lane.
pub(crate) fn post(
    port: &Arc<PortCore>,
    lane: usize,
    job: impl FnOnce() + Send + 'static,
) -> Result<(), SendError> {
    let place = port.jobs.take_place()?;
    let task = Arc::new(Task {
        port: Arc::clone(port),
        token: Token::WAKE,
        lane,
        slot: Slot::new(job, place),
    });
    port.push_job(task, port.now());
    Ok(())
}

/// Queues a job in the lane with this name.
pub(crate) fn post_in(
    port: &Arc<PortCore>,
    lane: &str,
    job: impl FnOnce() + Send + 'static,
) -> Result<()> {
    let lane = strand::lane_of(port, "a job", lane)?;
    Ok(post(port, lane, job)?)
}

/// Queues a job in this lane once this time has passed.
pub(crate) fn post_after(
    port: &Arc<PortCore>,
    lane: usize,
    after: Duration,
    job: impl FnOnce() + Send + 'static,
) -> Result<Timer, SendError> {
    let place = port.jobs.take_place()?;
    let task = seat(port, |token| Task {
        port: Arc::clone(port),
        token,
        lane,
        slot: Slot::new(job, place),
    })?;
    if port.jobs.is_closed() {
        task.discard();
        return Err(SendError::Closed);
    }
    port.arm(task.token, port.now() + after);
    Ok(Timer(task))
}

/// Runs a job at a fixed rate: on a strand of its own, which its closure keeps.
pub(crate) fn every(
    port: &Arc<PortCore>,
    lane: usize,
    period: Duration,
    mut job: impl FnMut(&Tick) + Send + 'static,
) -> Result<Timer> {
    let options = StrandOptions {
        name: "a repeating job".to_owned(),
        mailbox_max: 1,
        ..StrandOptions::default()
    };
    let strand = strand::make(port, lane, (), options)?;
    let (keep, jobs) = (strand.clone(), Arc::clone(&port.jobs));
    strand.every(period, move |(), tick| {
        if contained(|| job(tick)).is_none() {
            jobs.note_panic();
            say!(error, "a repeating job panicked, and ends");
            keep.close();
        }
    })
}

impl<F: FnOnce() + Send + 'static> Served for Task<F> {
    fn turn(self: Arc<Self>, _: &mut TurnCx<'_>) {
        let Some(job) = self.slot.start() else { return };
        current::set_job_turn(true);
        if contained(job).is_none() {
            self.port.jobs.note_panic();
            say!(error, port = %self.port.name, "a job panicked");
        }
        current::set_job_turn(false);
    }

    fn timer(self: Arc<Self>, now: Time) {
        self.port.table.remove(self.token);
        let port = Arc::clone(&self.port);
        port.push_job(self, now);
    }

    fn lane(&self) -> usize {
        self.lane
    }

    fn discard(self: Arc<Self>) {
        unseat(&self.port, self.token);
        self.slot.let_go();
    }
}

impl<F: FnOnce() + Send + 'static> Alarm for Task<F> {
    fn cancel(self: Arc<Self>) -> bool {
        let cancelled = self.slot.cancel();
        if cancelled {
            unseat(&self.port, self.token);
        }
        cancelled
    }
}

/// A delayed job of a session. It does not keep the session.
struct Later<H: Handler, F> {
    session: Weak<SessionCore<H>>,
    port: Arc<PortCore>,
    token: Token,
    slot: Slot<F>,
}

impl<H: Handler> Session<H> {
    /// Runs `job` serially with this session's callbacks once this time has passed: for a request's
    /// timeout, say, with the timer cancelled when the reply comes. If the session is over by then
    /// the job is dropped; if its mailbox is full it waits for room. It counts among the jobs of
    /// the network's port (`jobs_max`).
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use wharf::{Frame, Handler, Refuse, Session, Timer};
    /// struct Link;
    ///
    /// impl Handler for Link {
    ///     type State = Option<Timer>;
    ///
    ///     fn on_open(&self, s: &Session<Self>) -> Result<Option<Timer>, Refuse> {
    ///         let _ = s.send(b"hello");
    ///         let timeout = s.post_after(Duration::from_secs(3), |s, _| s.close());
    ///         Ok(timeout.ok())
    ///     }
    ///
    ///     fn on_frame(
    ///         &self,
    ///         _: &Session<Self>,
    ///         timeout: &mut Option<Timer>,
    ///         _: Frame<'_>,
    ///     ) -> wharf::Result<()> {
    ///         if let Some(timeout) = timeout.take() {
    ///             timeout.cancel();
    ///         }
    ///         Ok(())
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    /// [`SendError::Closed`] when the session is over, [`SendError::Full`] when `jobs_max` jobs
    /// wait.
    pub fn post_after(
        &self,
        after: Duration,
        job: impl FnOnce(&Self, &mut H::State) + Send + 'static,
    ) -> Result<Timer, SendError> {
        if !self.is_open() {
            return Err(SendError::Closed);
        }
        let port = &self.0.net.port;
        let place = port.jobs.take_place()?;
        let later = seat(port, |token| Later {
            session: Arc::downgrade(&self.0),
            port: Arc::clone(port),
            token,
            slot: Slot::new(job, place),
        })?;
        if port.jobs.is_closed() {
            later.discard();
            return Err(SendError::Closed);
        }
        port.arm(later.token, port.now() + after);
        Ok(Timer(later))
    }
}

impl<H, F> Served for Later<H, F>
where
    H: Handler,
    F: FnOnce(&Session<H>, &mut H::State) + Send + 'static,
{
    fn timer(self: Arc<Self>, now: Time) {
        let session = self.session.upgrade();
        let session = session.filter(|session| !session.word.has(word::SHUT | word::DEAD));
        let later = Arc::clone(&self);
        let posted = session.map(|session| {
            session.post(Box::new(move |session, state| {
                if let Some(job) = later.slot.start() {
                    job(session, state);
                }
            }))
        });
        match posted {
            Some(Ok(())) => unseat(&self.port, self.token),
            // Not lost for a full mailbox: it is a deadline that somebody counts on.
            Some(Err(SendError::Full)) => self.port.arm(self.token, now + RETRY),
            _ => self.discard(),
        }
    }

    fn discard(self: Arc<Self>) {
        unseat(&self.port, self.token);
        self.slot.let_go();
    }
}

impl<H, F> Alarm for Later<H, F>
where
    H: Handler,
    F: FnOnce(&Session<H>, &mut H::State) + Send + 'static,
{
    fn cancel(self: Arc<Self>) -> bool {
        let cancelled = self.slot.cancel();
        if cancelled {
            unseat(&self.port, self.token);
        }
        cancelled
    }
}
