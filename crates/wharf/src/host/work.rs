//! Work: where strands and jobs run, for code that leaves the layout to whoever starts it.

use std::sync::Arc;
use std::time::Duration;

use super::crew::Crew;
use super::jobs::job_methods;
use crate::error::Result;
use crate::port::PortCore;

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

    job_methods!("its lane");

    fn place(&self) -> (&Arc<PortCore>, usize) {
        (&self.crew.core, self.lane)
    }
}
