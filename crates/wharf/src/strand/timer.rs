//! What is delayed: a job of a strand after a time, or at a fixed rate. Each is a tenant of the
//! port's table, for the sake of its deadline (`port/timers.rs`).
//!
//! When its time has come it joins a list of its strand, by an entry of its own: there is no
//! mailbox that could be full. Its job stays in it until it runs, so that a cancel takes away what
//! has not begun, wherever it stands: whoever takes the job out first, decides.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::time::Duration;

use parking_lot::Mutex;

use super::core::StrandCore;
use super::parts::Due;
use super::tick::{Rate, Tick};
use crate::contain::contained;
use crate::error::SendError;
use crate::port::{PortCore, Served, Token, held};
use crate::stats::{Counter, Durations, Histogram};
use crate::time::{Time, nanos};

/// A delayed or repeating job, to cancel it and to see how its ticks come. Dropping it cancels
/// nothing.
#[derive(Clone)]
pub struct Timer(pub(crate) Arc<dyn Alarm>);

impl fmt::Debug for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timer")
            .field("stats", &self.stats())
            .finish()
    }
}

impl Timer {
    /// Ends it. True: it was this call that ended it, and it does not run any more; a tick that
    /// runs right now comes to its end. False: a delayed job that has begun, or something that had
    /// ended before. From any thread, from its own job too; does not wait.
    pub fn cancel(&self) -> bool {
        Arc::clone(&self.0).cancel()
    }

    /// How the ticks came so far; of a delayed job there are none.
    #[must_use]
    pub fn stats(&self) -> TickStats {
        self.0.stats()
    }
}

/// How the ticks of a timer came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TickStats {
    /// Those that ran.
    pub ticks: u64,
    /// Those that had not ended when the next one was due.
    pub overruns: u64,
    /// Those that did not run, because a later one was due before they could.
    pub missed: u64,
    /// How late they came: from the due time of the first tick that had not run.
    pub lag: Durations,
    /// The longest of it.
    pub lag_max: Duration,
    /// The last of it.
    pub lag_last: Duration,
}

/// What a [`Timer`] holds.
pub(crate) trait Alarm: Send + Sync {
    fn cancel(self: Arc<Self>) -> bool;
    fn stats(&self) -> TickStats {
        TickStats::default()
    }
}

/// Makes a tenant of the port's table.
///
/// # Errors
/// [`SendError::Full`]: the table is.
pub(crate) fn seat<A: Served>(
    port: &PortCore,
    make: impl FnOnce(Token) -> A,
) -> Result<Arc<A>, SendError> {
    let mut made = None;
    let inserted = port.table.insert(|token| {
        let alarm = Arc::new(make(token));
        made = Some(Arc::clone(&alarm));
        alarm
    });
    made.filter(|_| inserted.is_some()).ok_or(SendError::Full)
}

/// Frees the place that [`seat`] took.
pub(crate) fn unseat(port: &PortCore, token: Token) {
    port.disarm(token);
    port.table.remove(token);
}

/// A job of a strand after a time.
pub(super) struct Once<T, F> {
    strand: Arc<StrandCore<T>>,
    token: Token,
    job: Mutex<Option<F>>,
}

impl<T: Send + 'static, F: FnOnce(&mut T) + Send + 'static> Once<T, F> {
    pub(super) fn begin(
        strand: &Arc<StrandCore<T>>,
        after: Duration,
        job: F,
    ) -> Result<Timer, SendError> {
        strand.reserve()?;
        let seated = seat(&strand.port, |token| Self {
            strand: Arc::clone(strand),
            token,
            job: Mutex::new(Some(job)),
        });
        let once = seated.inspect_err(|_| strand.unreserve())?;
        if !strand.enlist(once.token) {
            once.let_go();
            return Err(SendError::Closed);
        }
        strand.port.arm(once.token, strand.port.now() + after);
        Ok(Timer(once))
    }

    /// True if it had not begun.
    fn end(&self) -> bool {
        let job = self.job.lock().take();
        if job.is_some() {
            unseat(&self.strand.port, self.token);
            self.strand.release(self.token);
        }
        contained(|| job.map(drop)).flatten().is_some()
    }
}

impl<T: Send + 'static, F: FnOnce(&mut T) + Send + 'static> Due<T> for Once<T, F> {
    fn run(&self, value: &mut T) -> Option<()> {
        let Some(job) = self.job.lock().take() else {
            return Some(());
        };
        self.strand.release(self.token);
        self.strand.counts.ran.add_own(1);
        contained(|| job(value))
    }

    fn let_go(&self) {
        self.end();
    }
}

impl<T: Send + 'static, F: FnOnce(&mut T) + Send + 'static> Alarm for Once<T, F> {
    fn cancel(self: Arc<Self>) -> bool {
        self.end()
    }
}

impl<T: Send + 'static, F: FnOnce(&mut T) + Send + 'static> Served for Once<T, F> {
    fn timer(self: Arc<Self>, _: Time) {
        self.strand.port.table.remove(self.token);
        let due: Arc<Self> = Arc::clone(&self);
        if !self.strand.push_due(due) {
            self.end();
        }
    }

    fn discard(self: Arc<Self>) {
        self.end();
    }
}

/// A job of a strand at a fixed rate.
pub(super) struct Every<T, F> {
    strand: Arc<StrandCore<T>>,
    token: Token,
    over: AtomicBool,
    /// Locked while a tick runs.
    running: Mutex<Option<Running<F>>>,
    counts: TickCounts,
}

struct Running<F> {
    job: F,
    rate: Rate,
}

/// Written by the tick that runs.
struct TickCounts {
    ticks: Counter,
    overruns: Counter,
    missed: Counter,
    lag: Histogram,
    lag_max: AtomicU64,
    lag_last: AtomicU64,
}

impl TickCounts {
    fn began(&self, tick: &Tick, lag: Duration) {
        let lag = nanos(lag);
        self.ticks.add_own(1);
        self.missed.add_own(tick.missed);
        self.lag.record_own(lag);
        self.lag_max.fetch_max(lag, Ordering::Relaxed);
        self.lag_last.store(lag, Ordering::Relaxed);
    }
}

impl<T: Send + 'static, F: FnMut(&mut T, &Tick) + Send + 'static> Every<T, F> {
    pub(super) fn begin(
        strand: &Arc<StrandCore<T>>,
        period: Duration,
        job: F,
    ) -> Result<Timer, SendError> {
        strand.reserve()?;
        let rate = Rate::new(strand.port.now(), period);
        let first = rate.due();
        let seated = seat(&strand.port, |token| Self {
            strand: Arc::clone(strand),
            token,
            over: AtomicBool::new(false),
            running: Mutex::new(Some(Running { job, rate })),
            counts: TickCounts {
                ticks: Counter::default(),
                overruns: Counter::default(),
                missed: Counter::default(),
                lag: Histogram::new(),
                lag_max: AtomicU64::new(0),
                lag_last: AtomicU64::new(0),
            },
        });
        let every = seated.inspect_err(|_| strand.unreserve())?;
        if !strand.enlist(every.token) {
            every.end();
            return Err(SendError::Closed);
        }
        strand.port.arm(every.token, first);
        Ok(Timer(every))
    }

    /// True if it had not ended before.
    fn end(&self) -> bool {
        let first = !self.over.swap(true, Ordering::SeqCst);
        if first {
            unseat(&self.strand.port, self.token);
            self.strand.release(self.token);
        }
        self.sweep();
        first
    }

    /// Drops the job of one that has ended, unless its tick runs: that one sweeps when it ends. Of
    /// the two, who comes second sees the other, as both look after a fence.
    fn sweep(&self) {
        fence(Ordering::SeqCst);
        if let Some(mut running) = self.running.try_lock() {
            let job = running.take();
            drop(running);
            let _ = contained(|| drop(job));
        }
    }

    /// One tick, if it is due; when the next one is.
    fn tick(&self, value: &mut T) -> Option<(Option<()>, Time)> {
        let mut running = self.running.lock();
        let Running { job, rate } = running.as_mut()?;
        let Some((tick, lag)) = rate.begin(self.strand.port.now()) else {
            return Some((Some(()), rate.due()));
        };
        self.counts.began(&tick, lag);
        let ran = contained(|| job(value, &tick));
        if rate.overran(self.strand.port.now() + held()) {
            self.counts.overruns.add_own(1);
        }
        Some((ran, rate.due()))
    }
}

impl<T: Send + 'static, F: FnMut(&mut T, &Tick) + Send + 'static> Due<T> for Every<T, F> {
    fn run(&self, value: &mut T) -> Option<()> {
        if self.over.load(Ordering::SeqCst) || self.strand.is_shut() {
            return Some(());
        }
        let Some((ran, next)) = self.tick(value) else {
            return Some(());
        };
        fence(Ordering::SeqCst);
        if self.over.load(Ordering::SeqCst) {
            self.sweep();
        } else {
            // From here on it may be listed again, and only now: it is in the list once at most.
            self.strand.port.arm(self.token, next);
        }
        ran
    }

    fn let_go(&self) {
        self.end();
    }
}

impl<T: Send + 'static, F: FnMut(&mut T, &Tick) + Send + 'static> Alarm for Every<T, F> {
    fn cancel(self: Arc<Self>) -> bool {
        self.end()
    }

    fn stats(&self) -> TickStats {
        let mut lag = Durations::default();
        self.counts.lag.add_to(&mut lag);
        TickStats {
            ticks: self.counts.ticks.read(),
            overruns: self.counts.overruns.read(),
            missed: self.counts.missed.read(),
            lag,
            lag_max: Duration::from_nanos(self.counts.lag_max.load(Ordering::Relaxed)),
            lag_last: Duration::from_nanos(self.counts.lag_last.load(Ordering::Relaxed)),
        }
    }
}

impl<T: Send + 'static, F: FnMut(&mut T, &Tick) + Send + 'static> Served for Every<T, F> {
    fn timer(self: Arc<Self>, _: Time) {
        if self.strand.port.jobs.ticks_ended() {
            return;
        }
        let due: Arc<Self> = Arc::clone(&self);
        if !self.strand.push_due(due) {
            self.end();
        }
    }

    fn discard(self: Arc<Self>) {
        self.end();
    }
}
