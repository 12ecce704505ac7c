//! What a port and a pool have in common: lanes, workers, and the threads that drive them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;

use super::{Engine, Inner, Shared, Stage};
use crate::contain::or_abort;
use crate::error::{Error, ErrorKind, Result};
use crate::port::{self, PortCore, ThreadSettings, Worker};
use crate::say::say;
use crate::sched::Lane;

/// A port or a pool being declared, for its builder.
#[derive(Debug)]
pub(super) struct CrewDraft<'a> {
    pub(super) host: &'a Arc<Shared>,
    /// "port" or "pool", for errors.
    kind: &'static str,
    name: String,
    pub(super) options: CrewOptions,
}

impl<'a> CrewDraft<'a> {
    pub(super) fn new(host: &'a Arc<Shared>, kind: &'static str, name: &str) -> Self {
        Self {
            host,
            kind,
            name: name.to_owned(),
            options: CrewOptions::default(),
        }
    }

    /// Checks all of it, under the host's lock has `make` make the core of name, lanes and the most
    /// workers there may be, and what it has of sockets, and gives both to `keep`, which puts the
    /// crew on the host's list.
    pub(super) fn build<S, T>(
        self,
        make: impl FnOnce(String, Vec<Lane>, usize) -> Result<(PortCore, S)>,
        keep: impl FnOnce(&mut Inner, Arc<Crew>, S) -> T,
    ) -> Result<T> {
        let Self {
            host,
            kind,
            name,
            mut options,
        } = self;
        if name.is_empty() {
            let message =
                format!("a {kind} has an empty name: threads and counters are named by it");
            return Err(Error::new(ErrorKind::Config, message));
        }
        let workers = options.check(&format!("{kind} \"{name}\""))?;
        let mut inner = host.inner.lock();
        super::declare::require_free(&inner, kind, &name)?;
        let (core, sockets) = make(name, std::mem::take(&mut options.lanes), workers.1)?;
        let core = Arc::new(core.with_nice(options.settings.nice).with_nap(options.nap));
        let crew = Arc::new(Crew::new(core, workers, options, host));
        Ok(keep(&mut inner, crew, sockets))
    }
}

/// The most workers of a port or pool: far beyond what a machine has cores for, so more is a
/// mistake.
const WORKERS_MAX: usize = 1024;
/// What the system's set of cores can name.
const CORES_MAX: usize = 1024;
/// The most lanes: a session notes its lane in a byte, and nobody can order more classes.
const LANES_MAX: usize = 64;

/// The workers of a port or pool.
pub(crate) struct Crew {
    pub(crate) core: Arc<PortCore>,
    /// As many as are wanted.
    workers: AtomicUsize,
    limit: usize,
    settings: ThreadSettings,
    spin: Duration,
    host: Weak<Shared>,
    /// What the system refused of the settings.
    refused: Mutex<Vec<String>>,
}

/// What is declared of it.
#[derive(Debug, Default)]
pub(super) struct CrewOptions {
    pub(super) workers: Option<usize>,
    pub(super) limit: Option<usize>,
    pub(super) lanes: Vec<Lane>,
    pub(super) settings: ThreadSettings,
    pub(super) spin: Duration,
    pub(super) nap: Duration,
    pub(super) jobs_max: Option<usize>,
}

/// The options that ports and pools share, as builder methods.
macro_rules! crew_options {
    () => {
        /// How many worker threads. Default: one a core, as [`Self::workers_cores`].
        pub fn workers(mut self, workers: usize) -> Self {
            self.draft.options.workers = Some(workers);
            self
        }

        /// As many workers as this process has cores.
        pub fn workers_cores(mut self) -> Self {
            self.draft.options.workers = None;
            self
        }

        /// The most workers that `set_workers` may ask for while it runs. Default: as many as it
        /// starts with.
        pub fn workers_limit(mut self, limit: usize) -> Self {
            self.draft.options.limit = Some(limit);
            self
        }

        /// One more lane, below those declared before. Default: one lane, named "main".
        pub fn lane(mut self, lane: Lane) -> Self {
            self.draft.options.lanes.push(lane);
            self
        }

        /// The most plain jobs that may wait, delayed ones and those of sessions included. What
        /// comes beyond is refused with `Full` and counted. Default: 262,144.
        pub fn jobs_max(mut self, jobs: usize) -> Self {
            self.draft.options.jobs_max = Some(jobs);
            self
        }

        /// The workers' nice value: -20 runs first, 19 last. What the system refuses is logged and
        /// told by `refused_settings`.
        pub fn nice(mut self, nice: i32) -> Self {
            self.draft.options.settings.nice = Some(nice);
            self
        }

        /// The cores that the workers may run on. What the system refuses is logged and told by
        /// `refused_settings`.
        pub fn cores(mut self, cores: impl Into<Vec<usize>>) -> Self {
            self.draft.options.settings.cores = cores.into();
            self
        }
    };
}
pub(super) use crew_options;

/// What handles of ports and pools share.
macro_rules! crew_handle {
    () => {
        /// Its name.
        #[must_use]
        pub fn name(&self) -> &str {
            &self.shared.core.name
        }

        /// How many workers it has, or will have once a change under way is done.
        #[must_use]
        pub fn workers(&self) -> usize {
            self.shared.workers()
        }

        /// The most workers it may have.
        #[must_use]
        pub fn workers_limit(&self) -> usize {
            self.shared.limit()
        }

        /// Has it go on with so many workers. Returns at once, from a handler too: new workers
        /// start now, those too many end after the turn they are in, and no session is lost.
        ///
        /// # Errors
        /// No worker or more than `workers_limit`; fewer than lanes were promised with
        /// `workers_min`; a host that is stopping; no thread to be had, which is logged when a
        /// handler asks.
        pub fn set_workers(&self, workers: usize) -> Result<()> {
            self.shared.set_workers(workers)
        }

        /// The names of its lanes, highest first.
        pub fn lanes(&self) -> impl Iterator<Item = &str> {
            self.shared.core.lanes.iter().map(|lane| &*lane.name)
        }

        /// What the system refused of `nice` and `cores`, in words; empty before the start.
        #[must_use]
        pub fn refused_settings(&self) -> Vec<String> {
            self.shared.refused()
        }
    };
}
pub(super) use crew_handle;

impl CrewOptions {
    /// Refuses what can't work; `what` is `port "front"` or the like. Returns workers and limit.
    pub(super) fn check(&self, what: &str) -> Result<(usize, usize)> {
        let config = |message: String| Err(Error::new(ErrorKind::Config, message));
        let workers = self.workers.unwrap_or_else(port::cores);
        if !(1..=WORKERS_MAX).contains(&workers) {
            return config(format!(
                "{what}: workers is {workers}; it must be 1 to {WORKERS_MAX}, and as many as the \
                 machine has cores is a good start"
            ));
        }
        let limit = self.limit.unwrap_or(workers);
        if limit < workers || limit > WORKERS_MAX {
            return config(format!(
                "{what}: workers_limit is {limit}; it must be at least its {workers} workers and \
                 at most {WORKERS_MAX}"
            ));
        }
        check_lanes(what, &self.lanes, limit)?;
        check_settings(what, &self.settings)?;
        if self.jobs_max == Some(0) {
            return config(format!("{what}: jobs_max is 0; it must be at least 1"));
        }
        promised(what, &self.lanes, workers)?;
        Ok((workers, limit))
    }
}

/// Refuses lanes that can't work; there are never more than `limit` workers.
fn check_lanes(what: &str, lanes: &[Lane], limit: usize) -> Result<()> {
    let config = |message: String| Err(Error::new(ErrorKind::Config, message));
    if lanes.len() > LANES_MAX {
        return config(format!("{what}: more than {LANES_MAX} lanes"));
    }
    for (index, lane) in lanes.iter().enumerate() {
        let name = &lane.name;
        let whose = format!("{what}: lane \"{name}\"");
        if name.is_empty() {
            return config(format!("{what}: lane {} has an empty name", index + 1));
        }
        let earlier = || lanes[..index].iter().flat_map(Lane::names);
        for (at, its) in lane.names().enumerate() {
            if its.is_empty() {
                return config(format!("{whose}: one of its other names is empty"));
            }
            if earlier()
                .chain(lane.names().take(at))
                .any(|other| other == its)
            {
                return config(format!(
                    "{what}: lane \"{its}\" is declared twice: give one another name"
                ));
            }
        }
        if let Some(most) = lane.workers_max {
            if most == 0 {
                let message = "workers_max is 0, so it would never run; it must be at least 1";
                return config(format!("{whose}: {message}"));
            }
            if most > limit {
                return config(format!(
                    "{whose}: workers_max is {most}, above the {limit} workers there may be; \
                     lower it, or leave it out for no cap"
                ));
            }
            if lane.workers_min > most {
                return config(format!(
                    "{whose}: workers_min ({}) is above workers_max ({most})",
                    lane.workers_min
                ));
            }
        }
        if lane.starve_after.is_some_and(|time| time.is_zero()) {
            let message = "starve_after is 0, which would put it above all others";
            return config(format!("{whose}: {message}; declare it higher instead"));
        }
        check_nice(&whose, lane.nice)?;
        if lane.frames_per_turn_max == Some(0) {
            let message = "frames_per_turn_max is 0; it must be at least 1";
            return config(format!("{whose}: {message}"));
        }
    }
    Ok(())
}

fn check_nice(what: &str, nice: Option<i32>) -> Result<()> {
    match nice.filter(|nice| !(-20..=19).contains(nice)) {
        None => Ok(()),
        Some(nice) => Err(Error::new(
            ErrorKind::Config,
            format!("{what}: nice is {nice}; it must be -20 (runs first) to 19 (last)"),
        )),
    }
}

/// Refuses settings that no system takes.
fn check_settings(what: &str, settings: &ThreadSettings) -> Result<()> {
    let config = |message: String| Err(Error::new(ErrorKind::Config, message));
    check_nice(what, settings.nice)?;
    if let Some(core) = settings.cores.iter().find(|&&core| core >= CORES_MAX) {
        return config(format!("{what}: there is no core {core}; the first is 0"));
    }
    Ok(())
}

/// Refuses fewer workers than lanes are promised, and promises that leave a lane none at all.
fn promised(what: &str, lanes: &[Lane], workers: usize) -> Result<()> {
    let each = lanes.iter().map(|lane| lane.workers_min);
    let promised = each.fold(0, usize::saturating_add);
    let left_out = lanes.iter().find(|lane| lane.workers_min == 0);
    let message = if promised > workers {
        format!(
            "{what}: its lanes are promised {promised} workers by workers_min, and it has \
             {workers}; give it more workers or promise fewer"
        )
    } else if let Some(lane) = left_out.filter(|_| promised == workers) {
        format!(
            "{what}: all of its {workers} workers are promised to other lanes by workers_min, so \
             lane \"{}\" would never run; give it more workers or promise fewer",
            lane.name
        )
    } else {
        return Ok(());
    };
    Err(Error::new(ErrorKind::Config, message))
}

impl Crew {
    pub(super) fn new(
        core: Arc<PortCore>,
        (workers, limit): (usize, usize),
        options: CrewOptions,
        host: &Arc<Shared>,
    ) -> Self {
        if let Some(max) = options.jobs_max {
            core.jobs.set_max(max);
        }
        Self {
            core,
            workers: AtomicUsize::new(workers),
            limit,
            settings: options.settings,
            spin: options.spin,
            host: Arc::downgrade(host),
            refused: Mutex::default(),
        }
    }

    pub(super) fn workers(&self) -> usize {
        self.workers.load(Ordering::Relaxed)
    }

    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    pub(super) fn refused(&self) -> Vec<String> {
        self.refused.lock().clone()
    }

    pub(super) fn set_workers(self: &Arc<Self>, workers: usize) -> Result<()> {
        let what = format!("\"{}\"", self.core.name);
        if !(1..=self.limit).contains(&workers) {
            let message = format!(
                "{what}: {workers} workers are asked for; it may have 1 to {} (workers_limit)",
                self.limit
            );
            return Err(Error::new(ErrorKind::Config, message));
        }
        promised(&what, &self.core.lanes, workers)?;
        let Some(host) = self.host.upgrade() else {
            return Err(Shared::state_error("the host is gone"));
        };
        // Under the host's lock: two changes come one after the other, and a stop after both.
        let mut inner = host.inner.lock();
        match inner.stage {
            Stage::Declaring => {}
            Stage::Running => {
                let (wake, have) = {
                    let mut queue = self.core.queue.lock();
                    (queue.resize(workers), queue.workers())
                };
                if wake {
                    self.core.wake();
                }
                // Whoever is hired waits for the supervisor.
                host.attention.notify_all();
                for _ in have..workers {
                    if let Err(error) = self.spawn(&host.engine, &mut inner) {
                        self.settle_for_less(workers);
                        return Err(error);
                    }
                }
            }
            Stage::Starting(_) | Stage::Stopping(_) | Stage::Stopped(_) => {
                let message = "workers can be changed before the start and while the host runs, \
                               not while it starts or stops";
                return Err(Shared::state_error(message));
            }
        }
        self.workers.store(workers, Ordering::Relaxed);
        Ok(())
    }

    /// Not all the threads were to be had: those that are there are as many as are wanted, unless
    /// fewer are: some may be about to leave.
    fn settle_for_less(&self, wanted: usize) {
        let mut queue = self.core.queue.lock();
        let have = queue.workers().min(wanted);
        let wake = queue.resize(have);
        drop(queue);
        if wake {
            self.core.wake();
        }
        self.workers.store(have, Ordering::Relaxed);
    }

    /// One more worker. If its thread can't be had, the crew goes on with those it has.
    pub(super) fn spawn(self: &Arc<Self>, engine: &Engine, inner: &mut Inner) -> Result<()> {
        let what = || format!("\"{}\": no thread for a worker", self.core.name);
        let Some(index) = self.core.take_slot() else {
            // Each leaver frees its slot before it is counted out.
            return Err(Error::new(ErrorKind::System, what()));
        };
        let worker = Worker::new(Arc::clone(&self.core), index, self.spin);
        match engine {
            // A thread takes over priority and cores from the one that starts it, and a worker may
            // have been given its own.
            Engine::Threads if port::current::is_worker() => {
                let crew = Arc::clone(self);
                inner.hired.push(Hired { crew, worker });
                Ok(())
            }
            Engine::Threads => {
                let started = self.start(worker).map(|thread| inner.workers.push(thread));
                started.map_err(|error| Error::new(ErrorKind::System, what()).caused_by(error))
            }
            #[cfg(feature = "sim")]
            Engine::Sim(sim) => {
                sim.adopt(Box::new(worker), &self.core.backend);
                Ok(())
            }
        }
    }

    fn start(self: &Arc<Self>, worker: Worker) -> std::io::Result<JoinHandle<()>> {
        let (crew, name) = (Arc::clone(self), worker.thread_name());
        let run = move || or_abort(|| crew.run(worker));
        std::thread::Builder::new().name(name).spawn(run)
    }

    fn run(&self, mut worker: Worker) {
        let refused = port::apply_thread_settings(&self.settings);
        for refused in refused.into_iter().chain(worker.step_aside()) {
            say!(
                warn,
                thread = std::thread::current().name(),
                refused,
                "a setting was refused"
            );
            let mut all = self.refused.lock();
            if !all.contains(&refused) {
                all.push(refused);
            }
        }
        port::run_worker(worker);
    }
}

/// A worker that a handler has asked for: the supervisor starts its thread.
pub(super) struct Hired {
    crew: Arc<Crew>,
    worker: Worker,
}

impl Hired {
    pub(super) fn start(self, inner: &mut Inner) {
        match self.crew.start(self.worker) {
            Ok(thread) => inner.workers.push(thread),
            Err(error) => {
                let crew = &self.crew.core.name;
                say!(error, crew, %error, "no thread for a worker: it goes on with fewer");
                self.crew.settle_for_less(self.crew.workers());
            }
        }
    }
}

impl std::fmt::Debug for Crew {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Crew")
            .field("name", &self.core.name)
            .field("workers", &self.workers())
            .finish_non_exhaustive()
    }
}
