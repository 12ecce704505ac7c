//! Declaring networks: names, ports and addresses are settled before anything starts.

use std::net::SocketAddr;
use std::sync::Arc;

use super::{Inner, Pool, Port, PortBuilder, Shared, Stage};
use crate::error::{Error, ErrorKind, Result};
use crate::network::Declared;
use crate::port::PortCore;

/// A network being declared, for its builder.
#[derive(Debug)]
pub(crate) struct Declaring<'a> {
    host: &'a Arc<Shared>,
    pub(crate) name: String,
    pub(crate) port: Option<Port>,
    pub(crate) workers: Option<usize>,
    pub(crate) pool: Option<Pool>,
    pub(crate) lane: Option<String>,
}

/// Where a network is served.
pub(crate) struct Place {
    /// Reports its readiness.
    pub(crate) port: Arc<PortCore>,
    /// Runs its turns: the port, or a pool.
    pub(crate) turns: Arc<PortCore>,
    /// In this lane of it.
    pub(crate) lane: usize,
}

/// The port of networks that name none.
const DEFAULT_PORT: &str = "main";

impl<'a> Declaring<'a> {
    pub(super) fn new(host: &'a Arc<Shared>, name: &str) -> Self {
        Self {
            host,
            name: name.to_owned(),
            port: None,
            workers: None,
            pool: None,
            lane: None,
        }
    }

    fn config<T>(&self, message: &str) -> Result<T> {
        Err(Error::new(
            ErrorKind::Config,
            format!("network \"{}\": {message}", self.name),
        ))
    }

    /// Puts the network's name in front of an error.
    pub(crate) fn name_it<T>(&self, result: Result<T>) -> Result<T> {
        result.map_err(|error| {
            Error::new(error.kind(), format!("network \"{}\"", self.name)).caused_by(error)
        })
    }

    /// Refuses an address that another network listens on.
    pub(crate) fn refuse_taken(&self, addrs: &[SocketAddr]) -> Result<()> {
        let inner = self.host.inner.lock();
        for addr in addrs.iter().filter(|addr| addr.port() != 0) {
            let other = inner
                .networks
                .iter()
                .find(|net| net.listens_on().contains(addr));
            if let Some(other) = other {
                return self.config(&format!(
                    "it listens on {addr}, and so does network \"{}\"",
                    other.name()
                ));
            }
        }
        Ok(())
    }

    /// The name, the index and the port, all checked.
    pub(crate) fn settle(&mut self) -> Result<(String, usize, Place)> {
        if self.name.is_empty() {
            let message = "a network has an empty name: counters and errors are named by it";
            return Err(Error::new(ErrorKind::Config, message));
        }
        let taken = {
            let inner = self.host.inner.lock();
            require_declaring(&inner, &format!("network \"{}\"", self.name))?;
            inner.networks.iter().any(|net| net.name() == self.name)
        };
        if taken {
            return self.config("two networks have this name: give one another");
        }
        let port = match (self.port.take(), self.workers) {
            (Some(_), Some(_)) => {
                return self.config(
                    "both .port(..) and .workers(..) are given: workers belong to a port; set \
                     them where the port is declared",
                );
            }
            (Some(port), None) => port,
            (None, Some(workers)) => PortBuilder::new(self.host, &self.name)
                .workers(workers)
                .build()?,
            (None, None) => self.default_port()?,
        };
        let inner = self.host.inner.lock();
        if !inner
            .ports
            .iter()
            .any(|own| Arc::ptr_eq(&own.shared, &port.shared))
        {
            return self.config("its port belongs to another host");
        }
        if let Some(pool) = &self.pool
            && !inner
                .pools
                .iter()
                .any(|own| Arc::ptr_eq(&own.shared, &pool.shared))
        {
            return self.config("its pool belongs to another host");
        }
        let place = self.place(&port)?;
        Ok((self.name.clone(), inner.networks.len(), place))
    }

    /// The lane, by its name.
    fn place(&self, port: &Port) -> Result<Place> {
        let port = Arc::clone(&port.shared.core);
        let (what, turns) = match &self.pool {
            Some(pool) => ("pool", Arc::clone(&pool.shared.core)),
            None => ("port", Arc::clone(&port)),
        };
        let names: Vec<_> = turns.lanes.iter().map(|lane| &*lane.name).collect();
        let lane = match &self.lane {
            Some(name) => turns.lane_named(name),
            None => (names.len() == 1).then_some(0),
        };
        let Some(lane) = lane else {
            let wrong = match &self.lane {
                Some(name) => format!("has no lane \"{name}\""),
                None => "has several lanes, and none is named".to_owned(),
            };
            return self.config(&format!(
                "its {what} \"{}\" {wrong}; name one with .lane(..): {}",
                turns.name,
                names.join(", ")
            ));
        };
        if self.pool.is_some() {
            turns.guard_by(&port);
        }
        Ok(Place { port, turns, lane })
    }

    fn default_port(&self) -> Result<Port> {
        let found = {
            let inner = self.host.inner.lock();
            inner
                .ports
                .iter()
                .find(|port| port.name() == DEFAULT_PORT)
                .cloned()
        };
        match found {
            Some(port) => Ok(port),
            None => PortBuilder::new(self.host, DEFAULT_PORT).build(),
        }
    }

    /// The network is complete.
    pub(crate) fn declared(&self, network: Arc<dyn Declared>) {
        self.host.inner.lock().networks.push(network);
    }
}

/// Refuses declarations once the host has started.
pub(super) fn require_declaring(inner: &Inner, what: &str) -> Result<()> {
    if matches!(inner.stage, Stage::Declaring) {
        return Ok(());
    }
    let message = format!("{what} is declared after the start: declare everything before .start()");
    Err(Error::new(ErrorKind::State, message))
}

/// Refuses a second port or pool of a name, and one that comes after the start. Ports and pools
/// share their names: threads, counters and topology files go by them.
pub(super) fn require_free(inner: &Inner, what: &str, name: &str) -> Result<()> {
    require_declaring(inner, &format!("{what} \"{name}\""))?;
    let port = inner.ports.iter().any(|port| port.name() == name);
    let pool = inner.pools.iter().any(|pool| pool.name() == name);
    if !port && !pool {
        return Ok(());
    }
    let other = if port { "port" } else { "pool" };
    let message = if what == other {
        format!("two {what}s are named \"{name}\": give one another name")
    } else {
        format!("{what} \"{name}\": a {other} has this name: give one another")
    };
    Err(Error::new(ErrorKind::Config, message))
}
