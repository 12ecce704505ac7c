//! The layouts: who is served on which port. A body asks for the port of a role and no more.

use wharf::{Host, Port};

/// Who shares a port with whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// Each network has a port of its own.
    PortPerNetwork,
    /// All networks share one port with so many workers.
    Shared(usize),
    /// The main network has a port of its own, the others share one.
    Selective,
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

/// The ports of a host, made as they are asked for.
pub(crate) struct Ports {
    layout: Layout,
    made: Vec<Port>,
}

impl Layout {
    pub(crate) fn ports(self) -> Ports {
        Ports {
            layout: self,
            made: Vec::new(),
        }
    }

    /// How many workers serve the main network.
    pub(crate) fn main_workers(self) -> usize {
        match self {
            Self::Shared(workers) => workers,
            Self::PortPerNetwork | Self::Selective => 2,
        }
    }
}

impl Ports {
    /// The port that serves this role.
    pub(crate) fn get(&mut self, host: &mut Host, role: Role) -> Port {
        let (name, workers) = match (self.layout, role) {
            (Layout::Shared(workers), _) => ("shared", workers),
            (_, Role::Main) => ("main", self.layout.main_workers()),
            (Layout::Selective, _) => ("others", 1),
            (Layout::PortPerNetwork, Role::First) => ("first", 1),
            (Layout::PortPerNetwork, Role::Second) => ("second", 1),
        };
        if let Some(port) = self.made.iter().find(|port| port.name() == name) {
            return port.clone();
        }
        let port = host.port(name).workers(workers).build().unwrap();
        self.made.push(port.clone());
        port
    }

    pub(crate) fn main(&mut self, host: &mut Host) -> Port {
        self.get(host, Role::Main)
    }
}
