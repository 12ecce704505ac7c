//! The layouts: who is served where. A body asks for the place of a role and no more.

use wharf::{ClientBuilder, Handler, Host, Pool, Port, ServerBuilder, Topology};

/// Who shares what with whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// All networks share one port with so many workers.
    Shared(usize),
    /// As the file of this name in `topologies/` says.
    File(&'static str),
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

impl Role {
    /// The network of the sample files that has this role.
    fn network(self) -> &'static str {
        match self {
            Self::Main => "game",
            Self::First => "chat",
            Self::Second => "master",
        }
    }
}

/// Where a network is served.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) port: Port,
    pub(crate) pool: Option<Pool>,
    pub(crate) lane: String,
}

impl Place {
    /// How many workers run its callbacks.
    pub(crate) fn workers(&self) -> usize {
        let pool = self.pool.as_ref().map(Pool::workers);
        pool.unwrap_or_else(|| self.port.workers())
    }
}

/// The ports and pools of a host, made when the first is asked for.
pub(crate) struct Ports {
    layout: Layout,
    made: Option<[Place; 3]>,
}

impl Layout {
    pub(crate) fn ports(self) -> Ports {
        Ports {
            layout: self,
            made: None,
        }
    }

    /// How many workers serve the main network.
    pub(crate) fn main_workers(self) -> usize {
        let Self::File(file) = self else {
            let Self::Shared(workers) = self else {
                unreachable!("one of two")
            };
            return workers;
        };
        let topology = read(file);
        let game = topology.network("game").unwrap();
        let port = || topology.ports.iter().find(|port| port.name == game.port);
        let pool = game.pool.as_ref();
        let pool = pool.and_then(|name| topology.pools.iter().find(|pool| pool.name == *name));
        let threads = pool.map_or_else(|| &port().unwrap().threads, |pool| &pool.threads);
        let cores = std::thread::available_parallelism().unwrap().get();
        threads.workers_on(cores)
    }
}

fn read(file: &str) -> Topology {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../topologies");
    Topology::from_file(format!("{root}/{file}.toml")).unwrap()
}

impl Ports {
    /// The place of this role.
    pub(crate) fn get(&mut self, host: &mut Host, role: Role) -> Place {
        let layout = self.layout;
        let made = self.made.get_or_insert_with(|| match layout {
            Layout::Shared(workers) => {
                let port = host.port("shared").workers(workers).build().unwrap();
                let place = Place {
                    port,
                    pool: None,
                    lane: "main".to_owned(),
                };
                [place.clone(), place.clone(), place]
            }
            Layout::File(file) => places(host, read(file)),
        });
        made[role as usize].clone()
    }

    pub(crate) fn main(&mut self, host: &mut Host) -> Place {
        self.get(host, Role::Main)
    }
}

/// Gives the host the ports and pools of a topology; where its three networks have their places.
fn places(host: &mut Host, topology: Topology) -> [Place; 3] {
    let planned = std::mem::take(host).with_topology(topology).unwrap();
    let places = [Role::Main, Role::First, Role::Second].map(|role| {
        let plan = planned.topology().network(role.network()).unwrap();
        Place {
            port: planned.port(&plan.port).unwrap().clone(),
            pool: plan
                .pool
                .as_ref()
                .map(|pool| planned.pool(pool).unwrap().clone()),
            lane: plan.lane.clone(),
        }
    });
    *host = planned.ports_only();
    places
}

/// Puts a network where its role belongs.
pub(crate) trait At {
    fn at(self, place: &Place) -> Self;
}

macro_rules! at {
    ($builder:ident) => {
        impl<H: Handler> At for $builder<'_, H> {
            fn at(self, place: &Place) -> Self {
                let placed = self.port(&place.port).lane(&place.lane);
                match &place.pool {
                    Some(pool) => placed.pool(pool),
                    None => placed,
                }
            }
        }
    };
}
at!(ServerBuilder);
at!(ClientBuilder);
