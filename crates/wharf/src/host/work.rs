//! Work: where strands and jobs run, for code that leaves the layout to whoever starts it.

use std::sync::Arc;
use std::time::Duration;

use super::crew::Crew;
use crate::error::{Result, SendError};
use crate::strand::tick::Tick;
use crate::strand::timer::Timer;
use crate::strand::{Strand, StrandOptions};
use crate::{job, strand};

/// Where strands and jobs run: a lane of a port or pool. What a network is for sessions this is for
/// work that has none: the code makes zones on the work "zones", and a topology file says whose
/// threads tick them, and before or after whom. So a layout is changed without a look at the code.
/// From [`TopologyHost::work`](crate::TopologyHost::work), or from `work` of a port or pool. Cheap
/// to clone.
///
/// ```
/// use wharf::{Host, Topology};
///
/// let file = r#"
///     [port.front]
///     workers = 2
///     lanes = [ { name = "players" }, { name = "world" } ]
///
///     [network.game]
///     listen = "127.0.0.1:0"
///     lane = "players"
///
///     [work.zones]
///     lane = "world"
/// "#;
/// let mut host = Host::new().with_topology(Topology::parse(file, "server.toml")?)?;
/// let zones = host.work("zones")?;
/// assert_eq!((zones.served_by(), zones.lane()), ("front", "world"));
/// let zone = zones.strand(0.0_f64);
/// zone.post(|position| *position += 1.0)?;
/// # Ok::<(), wharf::Error>(())
/// ```
#[derive(Clone)]
pub struct Work {
    crew: Arc<Crew>,
    lane: usize,
}

impl std::fmt::Debug for Work {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Work")
            .field("served_by", &self.served_by())
            .field("lane", &self.lane())
            .finish()
    }
}

impl Work {
    pub(super) fn new(crew: Arc<Crew>, lane: usize) -> Self {
        Self { crew, lane }
    }

    /// The name of the port or pool whose workers run it.
    #[must_use]
    pub fn served_by(&self) -> &str {
        &self.crew.core.name
    }

    /// The name of the lane.
    #[must_use]
    pub fn lane(&self) -> &str {
        &self.crew.core.lanes[self.lane].name
    }

    /// A strand around this value: a serial mailbox whose jobs run here. It may be made and posted
    /// to before the start; jobs wait for it then.
    pub fn strand<T: Send + 'static>(&self, value: T) -> Strand<T> {
        strand::make_default(&self.crew.core, self.lane, value)
    }

    /// The same with a name and limits. A lane that the options name is looked up among those of
    /// the same port or pool, and goes before this one.
    ///
    /// # Errors
    /// A lane that there is not, a limit of zero.
    pub fn strand_with<T: Send + 'static>(
        &self,
        value: T,
        options: StrandOptions,
    ) -> Result<Strand<T>> {
        strand::make(&self.crew.core, self.lane, value, options)
    }

    /// Runs `job` once on any of the workers. From any thread; never blocks. Jobs run side by side:
    /// those that need an order go to a strand. A panic is contained and counted.
    ///
    /// # Errors
    /// `Full` when `jobs_max` jobs wait; `Closed` when the host has stopped, or is stopping, has no
    /// session left, and this thread is no worker.
    pub fn post(&self, job: impl FnOnce() + Send + 'static) -> Result<(), SendError> {
        job::post(&self.crew.core, self.lane, job)
    }

    /// Runs `job` once this time has passed. It counts among the jobs that wait until then.
    ///
    /// # Errors
    /// As [`Self::post`].
    pub fn post_after(
        &self,
        after: Duration,
        job: impl FnOnce() + Send + 'static,
    ) -> Result<Timer, SendError> {
        job::post_after(&self.crew.core, self.lane, after, job)
    }

    /// Runs `job` at a fixed rate until it is cancelled or panics: tick n is due n periods after
    /// this call. Its runs never overlap. Dropping the timer does not end it.
    ///
    /// # Errors
    /// A period of zero; a host that has stopped.
    pub fn every(
        &self,
        period: Duration,
        job: impl FnMut(&Tick) + Send + 'static,
    ) -> Result<Timer> {
        job::every(&self.crew.core, self.lane, period, job)
    }
}
