//! The host: owns ports, workers and networks of a process. Declare, start, drain, stop.

mod crew;
mod declare;
mod from_file;
mod handover;
mod jobs;
mod pool;
mod port;
mod shed;
mod signals;
mod start;
mod stop;
mod watch;
mod work;

use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::error::{Error, ErrorKind, Result};
use crate::handler::Handler;
use crate::limits::MemoryLimit;
use crate::limits::memory::Memory;
use crate::network::{ClientBuilder, Declared, ServerBuilder};
use crate::say::say;
use crate::stats::HostSnapshot;

use crew::Crew;
pub(crate) use declare::{Declaring, Place};
pub use from_file::TopologyHost;
pub(crate) use handover::name_of;
pub use pool::{Pool, PoolBuilder};
pub use port::{Port, PortBuilder};
pub use watch::StuckTurn;
pub use work::Work;

/// Owns everything: dropping it stops everything; dropping any other handle stops nothing.
///
/// ```
/// use wharf::{Frame, Handler, Host, Refuse, Session};
///
/// struct Echo;
///
/// impl Handler for Echo {
///     type State = ();
///
///     fn on_open(&self, _: &Session<Self>) -> Result<(), Refuse> {
///         Ok(())
///     }
///
///     fn on_frame(&self, s: &Session<Self>, _: &mut (), f: Frame<'_>) -> wharf::Result<()> {
///         Ok(s.send(f.payload())?)
///     }
/// }
///
/// let mut host = Host::new();
/// let echo = host.server("echo", Echo).workers(2).listen("127.0.0.1:0")?;
/// host.start()?;
/// println!("listening on {}", echo.local_addr().unwrap());
/// host.stop()?;
/// # Ok::<(), wharf::Error>(())
/// ```
#[derive(Debug)]
pub struct Host {
    shared: Arc<Shared>,
}

/// A handle to a host: ask it to stop, look at its counters. Keeps nothing running and nothing
/// alive, so a handler may hold it; of a host that was dropped it says nothing but that it stopped.
#[derive(Clone, Debug)]
pub struct HostHandle {
    shared: Weak<Shared>,
}

/// What drives the workers.
#[derive(Clone)]
pub(crate) enum Engine {
    /// A thread each.
    Threads,
    /// The simulator, all on the thread that calls it.
    #[cfg(feature = "sim")]
    Sim(crate::sim::Sim),
}

pub(crate) struct Shared {
    engine: Engine,
    backend: Mutex<Option<String>>,
    inner: Mutex<Inner>,
    /// What the sessions of all networks hold.
    memory: Arc<Memory>,
    /// Who was here before, and who comes next.
    handover: Mutex<Option<handover::Handover>>,
    /// Signalled at each change of the stage.
    changed: Condvar,
    /// Signalled to have the supervisor look.
    attention: Condvar,
}

/// How far the host has come.
#[derive(Debug, Default)]
enum Stage {
    #[default]
    Declaring,
    /// In `start`; true if a stop was asked for meanwhile.
    Starting(bool),
    Running,
    Stopping(stop::Stopping),
    Stopped(Vec<StuckTurn>),
}

struct Inner {
    stage: Stage,
    ports: Vec<Port>,
    pools: Vec<Pool>,
    networks: Vec<Arc<dyn Declared>>,
    workers: Vec<std::thread::JoinHandle<()>>,
    supervisor: Option<std::thread::JoinHandle<()>>,
    /// Workers whose threads the supervisor is to start.
    hired: Vec<crew::Hired>,
    drain_deadline: Duration,
    stuck_after: Duration,
}

impl Inner {
    /// The workers of all ports, then of all pools.
    fn each_crew(&self) -> impl Iterator<Item = &Arc<Crew>> {
        let ports = self.ports.iter().map(|port| &port.shared);
        ports.chain(self.pools.iter().map(|pool| &pool.shared))
    }

    /// The same, for when the lock is let go.
    fn crews(&self) -> Vec<Arc<Crew>> {
        self.each_crew().cloned().collect()
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let inner = self.inner.lock();
        f.debug_struct("Shared")
            .field("stage", &inner.stage)
            .field("ports", &inner.ports)
            .finish_non_exhaustive()
    }
}

impl Default for Host {
    fn default() -> Self {
        Self::new()
    }
}

impl Host {
    /// A host with nothing declared. Its backend is the best that works here, or the one that the
    /// environment variable `WHARF_BACKEND` names (`epoll`).
    #[must_use]
    pub fn new() -> Self {
        Self::with(Engine::Threads)
    }

    /// A host whose network, clock and workers are simulated: nothing happens but in
    /// [`Sim::step`](crate::sim::Sim::step) and the calls that step.
    #[cfg(feature = "sim")]
    #[must_use]
    pub fn simulated(sim: &crate::sim::Sim) -> Self {
        Self::with(Engine::Sim(sim.clone()))
    }

    fn with(engine: Engine) -> Self {
        let inner = Inner {
            stage: Stage::default(),
            ports: Vec::new(),
            pools: Vec::new(),
            networks: Vec::new(),
            workers: Vec::new(),
            supervisor: None,
            hired: Vec::new(),
            drain_deadline: Duration::from_secs(5),
            stuck_after: Duration::from_secs(1),
        };
        Self {
            shared: Arc::new(Shared {
                engine,
                backend: Mutex::new(None),
                inner: Mutex::new(inner),
                memory: Arc::new(Memory::new(Some(MemoryLimit::OF_A_HOST), usize::MAX, None)),
                handover: Mutex::default(),
                changed: Condvar::new(),
                attention: Condvar::new(),
            }),
        }
    }

    /// Forces a backend by name, as `WHARF_BACKEND` does; the name wins over the environment.
    /// Before anything is declared.
    #[must_use]
    pub fn with_backend(self, name: &str) -> Self {
        *self.shared.backend.lock() = Some(name.to_owned());
        self
    }

    /// How long a stop waits for sessions to flush and part in good order before it cuts them.
    /// Default: 5 s.
    pub fn set_drain_deadline(&mut self, deadline: Duration) {
        self.shared.inner.lock().drain_deadline = deadline;
    }

    /// The ceiling for what the sessions of all networks hold together: frames that wait to be
    /// sent, bytes that are not decoded, jobs; `None` is none. Default: 1 GiB, and near it those
    /// that hold most are closed. A ceiling below 64 KiB counts as 64 KiB.
    pub fn set_memory(&mut self, limit: impl Into<Option<MemoryLimit>>) {
        let limit = limit.into().map(|limit| MemoryLimit {
            bytes_max: limit.bytes_max.max(MemoryLimit::LEAST),
            ..limit
        });
        self.shared.memory.set(limit);
    }

    /// How long a turn may last before the watchdog names it in the log. Default: 1 s.
    pub fn set_stuck_after(&mut self, after: Duration) {
        self.shared.inner.lock().stuck_after = after;
    }

    /// Declares a port; [`PortBuilder::build`] ends it.
    pub fn port(&mut self, name: &str) -> PortBuilder<'_> {
        PortBuilder::new(&self.shared, name)
    }

    /// Declares a pool; [`PoolBuilder::build`] ends it.
    pub fn pool(&mut self, name: &str) -> PoolBuilder<'_> {
        PoolBuilder::new(&self.shared, name)
    }

    /// Declares a server; [`ServerBuilder::listen`] ends it.
    pub fn server<H: Handler>(&mut self, name: &str, handler: H) -> ServerBuilder<'_, H> {
        ServerBuilder::new(Declaring::new(&self.shared, name), handler)
    }

    /// Declares a client; [`ClientBuilder::connect`] ends it.
    pub fn client<H: Handler>(&mut self, name: &str, handler: H) -> ClientBuilder<'_, H> {
        ClientBuilder::new(Declaring::new(&self.shared, name), handler)
    }

    /// Starts: binds every listener, starts the workers, accepts and connects. All or nothing.
    ///
    /// # Errors
    /// What could not be bound or started, by name; nothing runs then. After an address that could
    /// not be bound it may be called again.
    pub fn start(&mut self) -> Result<()> {
        start::start(&self.shared)
    }

    /// Stops: takes no new connections, ends ticks, flushes and closes every session and runs the
    /// jobs that wait, all within the drain deadline, cuts the rest, ends the workers. Calling it
    /// again changes nothing. Called from a handler it begins all that and returns at once.
    ///
    /// # Errors
    /// [`ErrorKind::Stuck`] when a callback never returned: it is named, and only its thread is
    /// left behind.
    pub fn stop(&mut self) -> Result<()> {
        self.shared.stop_and_wait()
    }

    /// Has Ctrl-C and SIGTERM stop this host from now on; [`Self::run_until_signal`] does it too.
    /// Call it before [`Self::start`] where something between the two takes time.
    ///
    /// # Errors
    /// The system refused to watch signals.
    pub fn stop_on_signal(&mut self) -> Result<()> {
        signals::watch(&self.shared)
    }

    /// Starts if that was not done, waits for Ctrl-C or SIGTERM (a second one cuts the drain
    /// short) or for [`HostHandle::stop`], and stops.
    ///
    /// # Errors
    /// As [`Self::start`] and [`Self::stop`].
    pub fn run_until_signal(&mut self) -> Result<()> {
        self.stop_on_signal()?;
        if matches!(self.shared.inner.lock().stage, Stage::Declaring) {
            self.start()?;
        }
        self.shared.wait_until_stopped()
    }

    /// A handle for other threads and for handlers.
    #[must_use]
    pub fn handle(&self) -> HostHandle {
        HostHandle {
            shared: Arc::downgrade(&self.shared),
        }
    }

    /// A snapshot of all counters.
    #[must_use]
    pub fn stats(&self) -> HostSnapshot {
        self.shared.stats()
    }

    /// The turns that have lasted longer than `limit` so far and still run.
    #[must_use]
    pub fn stuck_turns(&self, limit: Duration) -> Vec<StuckTurn> {
        self.shared.stuck_turns(limit)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Err(error) = self.shared.stop_and_wait() {
            say!(error, %error, "the host could not stop cleanly");
        }
    }
}

impl HostHandle {
    /// Begins to stop and returns at once: from any thread, from a handler too.
    pub fn stop(&self) {
        if let Some(shared) = self.shared.upgrade() {
            shared.request_stop();
        }
    }

    /// Whether a stop has begun.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.shared.upgrade().is_none_or(|shared| {
            let stage = &shared.inner.lock().stage;
            matches!(
                stage,
                Stage::Starting(true) | Stage::Stopping(_) | Stage::Stopped(_)
            )
        })
    }

    /// A snapshot of all counters; empty once the host is gone.
    #[must_use]
    pub fn stats(&self) -> HostSnapshot {
        let shared = self.shared.upgrade();
        shared.map_or_else(HostSnapshot::default, |shared| shared.stats())
    }

    /// The turns that have lasted longer than `limit` so far and still run.
    #[must_use]
    pub fn stuck_turns(&self, limit: Duration) -> Vec<StuckTurn> {
        let shared = self.shared.upgrade();
        shared.map_or_else(Vec::new, |shared| shared.stuck_turns(limit))
    }
}

impl Shared {
    fn state_error(message: &str) -> Error {
        Error::new(ErrorKind::State, message)
    }

    fn stats(&self) -> HostSnapshot {
        let (ports, pools, networks) = {
            let inner = self.inner.lock();
            let (ports, pools) = (inner.ports.clone(), inner.pools.clone());
            (ports, pools, inner.networks.clone())
        };
        let ports = ports.iter().map(|port| &*port.shared.core);
        let pools = pools.iter().map(|pool| &*pool.shared.core);
        let mut stats = crate::stats::snapshot(ports, pools, &networks);
        stats.memory_bytes = self.memory.held_bytes();
        stats
    }
}
