//! Ports as users declare and hold them.

use std::sync::Arc;
use std::time::Duration;

use super::{Engine, Shared};
use crate::error::{Error, ErrorKind, Result};
use crate::port::{self, PortCore, ThreadSettings};
use crate::sched::LaneSpec;

/// A completion port: one kernel queue and its workers. Cheap to clone; any number of networks may
/// share one, and any worker serves any ready session of them (G3).
#[derive(Clone)]
pub struct Port {
    pub(crate) shared: Arc<PortShared>,
}

pub(crate) struct PortShared {
    pub(crate) core: Arc<PortCore>,
    pub(crate) workers: usize,
    pub(crate) settings: ThreadSettings,
    pub(crate) spin: Duration,
}

impl std::fmt::Debug for Port {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Port")
            .field("name", &self.shared.core.name)
            .field("workers", &self.shared.workers)
            .finish_non_exhaustive()
    }
}

impl Port {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.core.name
    }

    /// How many workers it has.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.shared.workers
    }

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
                    gathered.for_each(|item| item.work(now));
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
    host: &'a Arc<Shared>,
    name: String,
    workers: Option<usize>,
    settings: ThreadSettings,
    spin: Duration,
}

/// The most workers of a port: far beyond what a machine has cores for, so more is a mistake.
const WORKERS_MAX: usize = 1024;

impl<'a> PortBuilder<'a> {
    pub(super) fn new(host: &'a Arc<Shared>, name: &str) -> Self {
        Self {
            host,
            name: name.to_owned(),
            workers: None,
            settings: ThreadSettings::default(),
            spin: Duration::ZERO,
        }
    }

    /// How many worker threads. Default: one a core, as [`Self::workers_cores`].
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = Some(workers);
        self
    }

    /// As many workers as this process has cores.
    pub fn workers_cores(mut self) -> Self {
        self.workers = None;
        self
    }

    /// The workers' nice value: -20 runs first, 19 last. What the system refuses is logged.
    pub fn nice(mut self, nice: i32) -> Self {
        self.settings.nice = Some(nice);
        self
    }

    /// The cores that the workers may run on. What the system refuses is logged.
    pub fn cores(mut self, cores: impl Into<Vec<usize>>) -> Self {
        self.settings.cores = cores.into();
        self
    }

    /// How long a worker with nothing to do looks again before it sleeps: less latency for a whole
    /// core. Default: zero.
    pub fn spin(mut self, spin: Duration) -> Self {
        self.spin = spin;
        self
    }

    /// Opens the port's kernel queue; its workers start with the host.
    ///
    /// # Errors
    /// A name that is taken or empty, no workers, a backend that does not work here.
    pub fn build(self) -> Result<Port> {
        let config = |message: String| Err(Error::new(ErrorKind::Config, message));
        let Self {
            host,
            name,
            workers,
            settings,
            spin,
        } = self;
        if name.is_empty() {
            return config("a port has an empty name: threads and counters are named by it".into());
        }
        let workers = workers.unwrap_or_else(port::cores);
        if !(1..=WORKERS_MAX).contains(&workers) {
            return config(format!(
                "port \"{name}\": workers is {workers}; it must be 1 to {WORKERS_MAX}, and as many \
                 as the machine has cores is a good start"
            ));
        }
        let mut inner = host.inner.lock();
        super::declare::require_declaring(&inner, &format!("port \"{name}\""))?;
        if inner.ports.iter().any(|port| port.name() == name) {
            return config(format!(
                "two ports are named \"{name}\": give one another name"
            ));
        }
        let backend = match &host.engine {
            Engine::Threads => port::open_backend(host.backend.lock().as_deref())?,
            #[cfg(feature = "sim")]
            Engine::Sim(sim) => sim.backend(),
        };
        let lanes = vec![LaneSpec {
            workers_max: usize::MAX,
        }];
        let core = Arc::new(PortCore::new(name, backend, lanes));
        let port = Port {
            shared: Arc::new(PortShared {
                core,
                workers,
                settings,
                spin,
            }),
        };
        inner.ports.push(port.clone());
        Ok(port)
    }
}
