//! Pools as users declare and hold them.

use std::sync::Arc;
use std::time::Duration;

use super::crew::{Crew, CrewDraft, crew_handle, crew_options};
use super::jobs::crew_jobs;
use super::{Engine, Shared};
use crate::error::Result;
use crate::port::{Backend, Parking, PortCore};
use crate::sched::Lane;

/// Threads that serve turns and jobs but own no kernel queue. A network with a pool is accepted and
/// watched by its port, whose workers only hand its sessions over; reading, decoding and callbacks
/// happen on the pool's threads. Cheap to clone; any number of networks may share one.
///
/// ```
/// # use wharf::{Frame, Handler, Host, Refuse, Session};
/// # struct Game;
/// # impl Handler for Game {
/// #     type State = ();
/// #     fn on_open(&self, _: &Session<Self>) -> Result<(), Refuse> { Ok(()) }
/// #     fn on_frame(&self, _: &Session<Self>, _: &mut (), _: Frame<'_>) -> wharf::Result<()> {
/// #         Ok(())
/// #     }
/// # }
/// let mut host = Host::new();
/// let front = host.port("front").workers(1).build()?;
/// let high = host.pool("high").workers(4).build()?;
/// host.server("game", Game).port(&front).pool(&high).listen("127.0.0.1:0")?;
/// # Ok::<(), wharf::Error>(())
/// ```
#[derive(Clone)]
pub struct Pool {
    pub(crate) shared: Arc<Crew>,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool")
            .field("name", &self.name())
            .field("workers", &self.workers())
            .finish_non_exhaustive()
    }
}

impl Pool {
    crew_handle!();
    crew_jobs!();
}

/// Declares a pool; [`Self::build`] ends it.
#[must_use = "the pool is declared by .build()"]
#[derive(Debug)]
pub struct PoolBuilder<'a> {
    pub(super) draft: CrewDraft<'a>,
}

impl<'a> PoolBuilder<'a> {
    pub(super) fn new(host: &'a Arc<Shared>, name: &str) -> Self {
        Self {
            draft: CrewDraft::new(host, "pool", name),
        }
    }

    crew_options!();

    /// Ends the declaration; its workers start with the host.
    ///
    /// # Errors
    /// A name that is taken or empty, no workers, lanes that can't work.
    pub fn build(self) -> Result<Pool> {
        let host = self.draft.host;
        let make = |name, lanes, _| {
            let backend: Arc<dyn Backend> = match &host.engine {
                Engine::Threads => Arc::new(Parking::default()),
                #[cfg(feature = "sim")]
                Engine::Sim(sim) => sim.backend(),
            };
            Ok((PortCore::pool(name, backend, lanes), ()))
        };
        self.draft.build(make, |inner, shared, ()| {
            let pool = Pool { shared };
            inner.pools.push(pool.clone());
            pool
        })
    }
}
