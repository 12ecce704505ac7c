//! Ports as users declare and hold them.

use std::sync::Arc;
use std::time::Duration;

use super::crew::{Crew, CrewDraft, crew_handle, crew_options};
use super::jobs::crew_jobs;
use super::{Engine, Shared};
use crate::error::{Error, ErrorKind, Result};
use crate::port::{self, PortCore, PortOptions, Sockets};
use crate::sched::Lane;

/// A completion port: one kernel queue and its workers. Cheap to clone; any number of networks may
/// share one, and any worker serves any ready session of them (G3).
#[derive(Clone)]
pub struct Port {
    pub(crate) shared: Arc<Crew>,
    pub(crate) sockets: Arc<dyn Sockets>,
}

impl std::fmt::Debug for Port {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Port")
            .field("name", &self.name())
            .field("workers", &self.workers())
            .finish_non_exhaustive()
    }
}

impl Port {
    crew_handle!();
    crew_jobs!();

    /// The backend it runs on, as `WHARF_BACKEND` names it.
    #[must_use]
    pub fn backend(&self) -> &'static str {
        self.shared.core.backend.name()
    }

    /// Gathers what `sends` sends from this thread, which is no worker, and flushes it at the end:
    /// one write a session instead of one a frame. Inside a handler the turn gathers already.
    pub fn batch<R>(&self, sends: impl FnOnce() -> R) -> R {
        struct End<'a>(&'a Port);
        impl Drop for End<'_> {
            fn drop(&mut self) {
                let gathered = port::current::end_batch();
                if gathered.len() > 0 {
                    let now = self.0.shared.core.now();
                    port::work_all(gathered, now);
                }
            }
        }
        port::current::begin_batch();
        let _end = End(self);
        sends()
    }
}

/// Declares a port; [`Self::build`] ends it.
#[must_use = "the port is declared by .build()"]
#[derive(Debug)]
pub struct PortBuilder<'a> {
    pub(super) draft: CrewDraft<'a>,
    pub(super) concurrency: Option<u32>,
}

impl<'a> PortBuilder<'a> {
    pub(super) fn new(host: &'a Arc<Shared>, name: &str) -> Self {
        Self {
            draft: CrewDraft::new(host, "port", name),
            concurrency: None,
        }
    }

    crew_options!();

    /// How long a worker with nothing to do looks again before it sleeps: less latency for a whole
    /// core. Default: zero.
    pub fn spin(mut self, spin: Duration) -> Self {
        self.draft.options.spin = spin;
        self
    }

    /// Linux: how long a worker with nothing to do may nap while its siblings get on (40,000 turns
    /// a second and more), instead of being woken for each frame that comes meanwhile. For machines
    /// whose cores other processes want too: there it saves thread switches, and those who are
    /// awake are disturbed less. Where each worker has a core of its own it only costs latency.
    /// What waits behind a callback that gets stuck just then waits for about so long, instead of
    /// being served at once. Sensible: 500 µs. Other systems take no notice. In a topology file:
    /// `nap_us = 500`. Default: zero, never.
    pub fn nap(mut self, nap: Duration) -> Self {
        self.draft.options.nap = nap;
        self
    }

    /// Windows: how many of its workers the system lets run at once, the
    /// `NumberOfConcurrentThreads` of an I/O completion port; 0 is one a processor. A worker that
    /// blocks in the system does not count, one that computes does: with fewer than there are
    /// workers, handlers that compute for long keep packets from workers that are free. It can't be
    /// changed later, and is at most `workers_limit`. Default: `workers_limit`, so that nothing is
    /// kept back. Other systems have no such limit. In a topology file: `concurrency = 2`.
    pub fn concurrency(mut self, threads: u32) -> Self {
        self.concurrency = Some(threads);
        self
    }

    /// Opens the port's kernel queue; its workers start with the host.
    ///
    /// # Errors
    /// A name that is taken or empty, no workers, lanes that can't work, a concurrency above the
    /// most workers, a backend that does not work here.
    pub fn build(self) -> Result<Port> {
        let host = self.draft.host;
        let concurrency = self.concurrency;
        let make = |name, lanes, limit: usize| {
            let all = u32::try_from(limit).unwrap_or(0);
            let concurrency = concurrency.unwrap_or(all);
            if concurrency > all {
                let message = format!(
                    "port \"{name}\": concurrency is {concurrency}, and there are never more than \
                     {all} workers (workers_limit); lower it, or leave it out"
                );
                return Err(Error::new(ErrorKind::Config, message));
            }
            let options = PortOptions { concurrency };
            let sockets = match &host.engine {
                Engine::Threads => port::open_backend(host.backend.lock().as_deref(), &options)?,
                #[cfg(feature = "sim")]
                Engine::Sim(sim) => sim.backend(),
            };
            let core = PortCore::new(name, Arc::clone(&sockets) as _, lanes);
            Ok((core, sockets))
        };
        self.draft.build(make, |inner, shared, sockets| {
            let port = Port { shared, sockets };
            inner.ports.push(port.clone());
            port
        })
    }
}
