//! The layouts: who is served where. A body asks for the place of a role and no more.

use wharf::{ClientBuilder, Handler, Host, Lane, Pool, Port, ServerBuilder};

/// Who shares what with whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// Each network has a port of its own.
    PortPerNetwork,
    /// All networks share one port with so many workers.
    Shared(usize),
    /// The main network has a port of its own, the others share one.
    Selective,
    /// One port that only hands over; the main network runs on a pool, the others on another.
    Dispatch,
    /// One port; the others have a lane with a cap.
    Lanes,
    /// The main network has a port of its own with thread settings, and so has the first.
    Dedicated,
}

/// What a network is for its host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// The important one.
    Main,
    /// An unimportant one.
    First,
    /// Another unimportant one.
    Second,
}

/// Where a network is served.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) port: Port,
    pub(crate) pool: Option<Pool>,
    pub(crate) lane: Option<&'static str>,
}

impl Place {
    /// How many workers run its callbacks.
    pub(crate) fn workers(&self) -> usize {
        self.pool
            .as_ref()
            .map_or_else(|| self.port.workers(), Pool::workers)
    }
}

/// The ports and pools of a host, made as they are asked for.
pub(crate) struct Ports {
    layout: Layout,
    ports: Vec<Port>,
    pools: Vec<Pool>,
}

impl Layout {
    pub(crate) fn ports(self) -> Ports {
        Ports {
            layout: self,
            ports: Vec::new(),
            pools: Vec::new(),
        }
    }

    /// How many workers serve the main network.
    pub(crate) fn main_workers(self) -> usize {
        match self {
            Self::Shared(workers) => workers,
            _ => 2,
        }
    }
}

impl Ports {
    /// The place of this role.
    pub(crate) fn get(&mut self, host: &mut Host, role: Role) -> Place {
        let main = role == Role::Main;
        let workers = self.layout.main_workers();
        let (name, workers) = match (self.layout, role) {
            (Layout::Shared(_) | Layout::Lanes, _) => ("shared", workers),
            (Layout::Dispatch, _) => ("front", 1),
            (_, Role::Main) => ("main", workers),
            (Layout::Selective, _) => ("others", 1),
            (_, Role::First) => ("first", 1),
            (_, Role::Second) => ("second", 1),
        };
        Place {
            port: self.port(host, name, workers),
            pool: (self.layout == Layout::Dispatch).then(|| self.pool(host, main)),
            lane: (self.layout == Layout::Lanes).then_some(if main {
                "players"
            } else {
                "backend"
            }),
        }
    }

    fn port(&mut self, host: &mut Host, name: &str, workers: usize) -> Port {
        if let Some(port) = self.ports.iter().find(|port| port.name() == name) {
            return port.clone();
        }
        let mut port = host.port(name).workers(workers);
        match self.layout {
            Layout::Lanes => {
                let backend = Lane::new("backend").workers_max(1);
                port = port.lane(Lane::new("players")).lane(backend);
            }
            // What every machine grants: later than others, on its first core.
            Layout::Dedicated => port = port.nice(1).cores([0]),
            _ => {}
        }
        let port = port.build().unwrap();
        self.ports.push(port.clone());
        port
    }

    fn pool(&mut self, host: &mut Host, main: bool) -> Pool {
        let (name, workers) = if main {
            ("high", self.layout.main_workers())
        } else {
            ("low", 1)
        };
        if let Some(pool) = self.pools.iter().find(|pool| pool.name() == name) {
            return pool.clone();
        }
        let pool = host.pool(name).workers(workers).build().unwrap();
        self.pools.push(pool.clone());
        pool
    }

    pub(crate) fn main(&mut self, host: &mut Host) -> Place {
        self.get(host, Role::Main)
    }
}

/// Puts a network where its role belongs.
pub(crate) trait At {
    fn at(self, place: &Place) -> Self;
}

macro_rules! at {
    ($builder:ident) => {
        impl<H: Handler> At for $builder<'_, H> {
            fn at(self, place: &Place) -> Self {
                let mut placed = self.port(&place.port);
                if let Some(pool) = &place.pool {
                    placed = placed.pool(pool);
                }
                if let Some(lane) = place.lane {
                    placed = placed.lane(lane);
                }
                placed
            }
        }
    };
}
at!(ServerBuilder);
at!(ClientBuilder);
