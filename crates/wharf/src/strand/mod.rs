//! Strands: a serial mailbox around a value (a room, a zone). Jobs on it run one at a time, in
//! order, on the workers of a port or pool, and get the value as `&mut`: no lock, no thread of its
//! own. See [`Strand`].

mod ask;
mod core;
mod parts;
pub(crate) mod tick;
pub(crate) mod timer;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::error::{Error, ErrorKind, Result, SendError};
use crate::port::{PortCore, Served, Token};
use crate::say::say;
use core::StrandCore;
use parts::{Counts, Limits};
use tick::Tick;
use timer::{Every, Once, Timer};

/// A serial mailbox around a value: a room, a zone, a match maker.
///
/// Jobs run one at a time on the workers of the strand's port or pool, those of one sender in the
/// order in which it posted them, and may send to sessions: what one turn of the strand sends to a
/// session leaves as one write. Nothing a job does blocks another strand, but a job that never
/// returns occupies its worker; the watchdog names the strand.
///
/// Handles are cheap to clone. When the last one is dropped, or [`Self::close`] is called, the
/// ticks end, delayed jobs whose time has not come are dropped, jobs that were accepted run, and
/// then the value is dropped on a worker. A stop of the host ends all ticks, lets jobs that were
/// accepted run within the drain deadline, and drops what has not run by then. A value that holds a
/// handle to its own strand keeps it until then: give it a [`WeakStrand`].
///
/// ```
/// use wharf::Host;
///
/// let mut host = Host::new();
/// let port = host.port("main").workers(1).build()?;
/// let counter = port.strand(0_u64);
/// counter.post(|count| *count += 1)?;
/// assert_eq!(counter.stats().waiting, 1, "jobs wait for the start");
/// # Ok::<(), wharf::Error>(())
/// ```
#[must_use = "a strand whose last handle is dropped is closed"]
pub struct Strand<T: Send + 'static>(Arc<Handle<T>>);

/// What the handles share; the port knows only the core.
struct Handle<T: Send + 'static>(Arc<StrandCore<T>>);

impl<T: Send + 'static> Drop for Handle<T> {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl<T: Send + 'static> Clone for Strand<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Send + 'static> fmt::Debug for Strand<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Strand")
            .field("name", &self.name())
            .finish_non_exhaustive()
    }
}

/// A handle that does not keep its strand: for values that know each other's strands.
pub struct WeakStrand<T: Send + 'static>(Weak<Handle<T>>);

impl<T: Send + 'static> Clone for WeakStrand<T> {
    fn clone(&self) -> Self {
        Self(Weak::clone(&self.0))
    }
}

impl<T: Send + 'static> fmt::Debug for WeakStrand<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WeakStrand")
    }
}

impl<T: Send + 'static> WeakStrand<T> {
    /// The strand, if somebody still has a handle to it.
    #[must_use]
    pub fn upgrade(&self) -> Option<Strand<T>> {
        self.0.upgrade().map(Strand)
    }
}

/// What a strand does when one of its jobs panics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnPanic {
    /// It ends: the value, which may be half changed, and the jobs that wait are dropped, and later
    /// posts say `Closed`.
    #[default]
    Close,
    /// It goes on with the value as the job left it.
    Keep,
}

/// How a strand is to be. All have defaults.
///
/// ```
/// use wharf::{Host, OnPanic, StrandOptions};
///
/// let mut host = Host::new();
/// let port = host.port("main").workers(1).build()?;
/// let options = StrandOptions {
///     name: "zone 7".into(),
///     mailbox_max: 10_000,
///     on_panic: OnPanic::Keep,
///     ..StrandOptions::default()
/// };
/// assert_eq!(port.strand_with(String::new(), options)?.name(), "zone 7");
/// # Ok::<(), wharf::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StrandOptions {
    /// What the log and the watchdog call it. Default: a number.
    pub name: String,
    /// The lane of its turns. Default: the highest of its port or pool; that of its [`Work`], if it
    /// is made there.
    ///
    /// [`Work`]: crate::Work
    pub lane: Option<String>,
    /// Jobs that may wait; each timer that has not ended counts as one. Default: 4096.
    pub mailbox_max: usize,
    /// Jobs of one turn, after which others are served first. Default: 256.
    pub jobs_per_turn_max: usize,
    /// Time of one turn, looked at after each job. Ticks are not cut short by it. Default: 1 ms.
    pub turn_time_max: Duration,
    /// What a panic does. Default: it closes the strand.
    pub on_panic: OnPanic,
}

impl Default for StrandOptions {
    fn default() -> Self {
        Self {
            name: String::new(),
            lane: None,
            mailbox_max: 4096,
            jobs_per_turn_max: 256,
            turn_time_max: Duration::from_millis(1),
            on_panic: OnPanic::Close,
        }
    }
}

impl StrandOptions {
    fn limits(&self) -> Limits {
        Limits {
            mailbox_max: self.mailbox_max,
            jobs_per_turn_max: self.jobs_per_turn_max,
            turn_time_max: self.turn_time_max,
            on_panic: self.on_panic,
        }
    }
}

/// What a strand has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StrandStats {
    /// Jobs and timers accepted.
    pub posted: u64,
    /// Jobs that ran, to their end or to a panic; ticks are counted by their timer.
    pub ran: u64,
    /// Refused because `mailbox_max` were waiting.
    pub full: u64,
    /// Panics, in jobs and ticks, and as things were dropped.
    pub panics: u64,
    /// Jobs accepted and dropped without having run: after a panic, or as the host stopped.
    pub dropped: u64,
    /// Answers that found who asked closed or full.
    pub answers_lost: u64,
    /// Jobs that wait now.
    pub waiting: usize,
    /// Timers that have not ended.
    pub delayed: usize,
}

impl<T: Send + 'static> Strand<T> {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.0.name()
    }

    /// Runs `job` with the value, after what this thread posted before. From any thread; never
    /// blocks.
    ///
    /// # Errors
    /// [`SendError::Closed`] when the strand is closed, or its host is stopping, has no session
    /// left, and this thread is no worker; [`SendError::Full`] when `mailbox_max` jobs wait.
    /// Nothing of the job is left then.
    pub fn post(&self, job: impl FnOnce(&mut T) + Send + 'static) -> Result<(), SendError> {
        self.0.0.post(Box::new(job))
    }

    /// Runs `job` once this time has passed, before the jobs that wait then.
    ///
    /// # Errors
    /// As [`Self::post`].
    pub fn post_after(
        &self,
        after: Duration,
        job: impl FnOnce(&mut T) + Send + 'static,
    ) -> Result<Timer, SendError> {
        Once::begin(&self.0.0, after, job)
    }

    /// Runs `job` at a fixed rate: tick n is due n periods after this call, however long earlier
    /// ticks took. A tick that comes late runs once and says for how many it stands. A due tick
    /// runs before the jobs that wait, and needs no room in the mailbox.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # let mut host = wharf::Host::new();
    /// # let port = host.port("main").workers(1).build()?;
    /// let zone = port.strand(0.0_f64);
    /// let timer = zone.every(Duration::from_millis(50), |position, tick| {
    ///     *position += 3.0 * tick.step().as_secs_f64();
    /// })?;
    /// assert_eq!(timer.stats().overruns, 0);
    /// assert!(timer.cancel());
    /// # Ok::<(), wharf::Error>(())
    /// ```
    ///
    /// # Errors
    /// A period of zero; and as [`Self::post`].
    pub fn every(
        &self,
        period: Duration,
        job: impl FnMut(&mut T, &Tick) + Send + 'static,
    ) -> Result<Timer> {
        require_period(self.name(), period)?;
        Ok(Every::begin(&self.0.0, period, job)?)
    }

    /// Takes no more jobs. Ticks end, delayed jobs whose time has not come are dropped, those that
    /// were accepted run, and then the value is dropped on a worker.
    pub fn close(&self) {
        self.0.0.close();
    }

    /// Whether it still takes jobs.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.0.0.is_open()
    }

    /// What it has done.
    #[must_use]
    pub fn stats(&self) -> StrandStats {
        self.0.0.stats()
    }

    /// A handle that does not keep it.
    #[must_use]
    pub fn downgrade(&self) -> WeakStrand<T> {
        WeakStrand(Arc::downgrade(&self.0))
    }

    fn counts(&self) -> Arc<Counts> {
        Arc::clone(&self.0.0.counts)
    }
}

/// Refuses a period that never ends.
pub(crate) fn require_period(name: &str, period: Duration) -> Result<()> {
    if !period.is_zero() {
        return Ok(());
    }
    let message = format!("\"{name}\": every(..) with a period of zero would never rest");
    Err(Error::new(ErrorKind::Config, message))
}

/// The lane with this name.
pub(crate) fn lane_of(port: &PortCore, what: &str, name: &str) -> Result<usize> {
    port.lane_named(name).ok_or_else(|| {
        let message = format!(
            "{what}: \"{}\" has no lane \"{name}\"; it has {}",
            port.name,
            port.lane_names().join(", ")
        );
        Error::new(ErrorKind::Config, message)
    })
}

/// A strand on this port or pool; in this lane, if the options name none.
pub(crate) fn make<T: Send + 'static>(
    port: &Arc<PortCore>,
    lane: usize,
    value: T,
    options: StrandOptions,
) -> Result<Strand<T>> {
    let limits = options.limits();
    let name = if options.name.is_empty() {
        next_name()
    } else {
        options.name
    };
    let what = format!("strand \"{name}\"");
    for (limit, of) in [
        (limits.mailbox_max, "mailbox_max"),
        (limits.jobs_per_turn_max, "jobs_per_turn_max"),
    ] {
        if limit == 0 {
            let message = format!("{what}: {of} is 0; it must be at least 1");
            return Err(Error::new(ErrorKind::Config, message));
        }
    }
    let lane = match &options.lane {
        Some(name) => lane_of(port, &what, name)?,
        None => lane,
    };
    let (strand, seated) = make_core(port, name, lane, limits, value);
    if !seated {
        let message = format!("{what}: the table of \"{}\" is full", port.name);
        return Err(Error::new(ErrorKind::System, message));
    }
    Ok(strand)
}

/// A strand as [`StrandOptions`] has it by default, in this lane. Should the port have no place for
/// it, which takes millions of sessions and timers, it is closed from the beginning.
pub(crate) fn make_default<T: Send + 'static>(
    port: &Arc<PortCore>,
    lane: usize,
    value: T,
) -> Strand<T> {
    let options = StrandOptions::default();
    let limits = options.limits();
    let (strand, seated) = make_core(port, next_name(), lane, limits, value);
    if !seated {
        say!(error, port = %port.name, "no place for a strand: it is closed");
    }
    strand
}

fn next_name() -> String {
    static NUMBER: AtomicU64 = AtomicU64::new(1);
    NUMBER.fetch_add(1, Ordering::Relaxed).to_string()
}

fn make_core<T: Send + 'static>(
    port: &Arc<PortCore>,
    name: String,
    lane: usize,
    limits: Limits,
    value: T,
) -> (Strand<T>, bool) {
    let mut value = Some((name, value));
    let mut make = |token| {
        let (name, value) = value
            .take()
            .map_or((String::new(), None), |v| (v.0, Some(v.1)));
        StrandCore::new(Arc::clone(port), token, name.into(), lane, limits, value)
    };
    let (core, seated) = match timer::seat(port, &mut make) {
        Ok(core) => (core, true),
        Err(_) => (Arc::new(make(Token::WAKE)), false),
    };
    if !seated || port.jobs.is_closed() {
        // Nobody comes for it, now or any more. Its posts say so.
        Arc::clone(&core).discard();
    }
    (Strand(Arc::new(Handle(core))), seated)
}
