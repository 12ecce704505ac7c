//! Declaring networks: names, ports and addresses are settled before anything starts.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use super::{Engine, Inner, Pool, Port, PortBuilder, Shared, Stage};
use crate::error::{Error, ErrorKind, Result};
use crate::limits::memory::Memory;
use crate::network::Declared;
use crate::port::{self, PortCore, Sockets};
use crate::sched::Lane;

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
    /// The calls on that port's sockets.
    pub(crate) sockets: Arc<dyn Sockets>,
    /// Runs its turns: the port, or a pool.
    pub(crate) turns: Arc<PortCore>,
    /// In this lane of it.
    pub(crate) lane: usize,
    /// What all sessions of the host hold.
    pub(crate) memory: Arc<Memory>,
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

    /// What a `host:port` stands for now. Waits for the answer.
    pub(crate) fn look_up(&self, name: &str) -> std::io::Result<Vec<SocketAddr>> {
        match &self.host.engine {
            Engine::Threads => port::resolve(name),
            #[cfg(feature = "sim")]
            Engine::Sim(sim) => sim.resolve(name),
        }
    }

    /// The listener of this name that this process was given, for an address of this index.
    pub(crate) fn inherited(&self, index: usize, name: &str) -> Result<TcpListener> {
        if let Some(listener) = self.host.inherited(&self.name, index, None) {
            return Ok(listener);
        }
        crate::port::inherit::from_environment(name).map_err(|error| {
            let message = format!("network \"{}\" can't inherit a listener", self.name);
            Error::new(ErrorKind::Listen, message).caused_by(error)
        })
    }

    /// For each address the listener that was given for it, or that a predecessor gives.
    pub(crate) fn adopted(
        &self,
        places: Vec<(SocketAddr, Option<TcpListener>)>,
    ) -> Vec<Option<TcpListener>> {
        let places = places.into_iter().enumerate();
        let adopted = places.map(|(index, (addr, given))| {
            given.or_else(|| self.host.inherited(&self.name, index, Some(addr)))
        });
        adopted.collect()
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
            (None, None) => self.default_port(),
            (port, _) => port,
        };
        self.refuse_strangers(port.as_ref())?;
        // Before a port of its own is made: what is refused leaves nothing behind.
        let lane = self.lane_index(port.as_ref())?;
        let port = match (port, self.workers) {
            (Some(port), _) => port,
            (None, Some(workers)) => {
                let own = PortBuilder::new(self.host, &self.name);
                own.workers(workers).build()?
            }
            (None, None) => PortBuilder::new(self.host, DEFAULT_PORT).build()?,
        };
        let sockets = port.sockets;
        let port = Arc::clone(&port.shared.core);
        let turns = self.pool.as_ref().map_or(&port, |pool| &pool.shared.core);
        let turns = Arc::clone(turns);
        if self.pool.is_some() {
            turns.guard_by(&port);
        }
        let index = self.host.inner.lock().networks.len();
        let place = Place {
            port,
            sockets,
            turns,
            lane,
            memory: Arc::clone(&self.host.memory),
        };
        Ok((self.name.clone(), index, place))
    }

    /// Refuses ports and pools of other hosts.
    fn refuse_strangers(&self, port: Option<&Port>) -> Result<()> {
        let inner = self.host.inner.lock();
        let own_port = |port: &Port| {
            let mut own = inner.ports.iter();
            own.any(|own| Arc::ptr_eq(&own.shared, &port.shared))
        };
        let own_pool = |pool: &Pool| {
            let mut own = inner.pools.iter();
            own.any(|own| Arc::ptr_eq(&own.shared, &pool.shared))
        };
        if !port.is_none_or(own_port) {
            return self.config("its port belongs to another host");
        }
        if !self.pool.as_ref().is_none_or(own_pool) {
            return self.config("its pool belongs to another host");
        }
        Ok(())
    }

    /// The index of its lane, by its name; `None` stands for a port of its own.
    fn lane_index(&self, port: Option<&Port>) -> Result<usize> {
        let (what, turns) = match (&self.pool, port) {
            (Some(pool), _) => ("pool", Some(&pool.shared.core)),
            (None, port) => ("port", port.map(|port| &port.shared.core)),
        };
        let (lane, wrong) = match &self.lane {
            Some(name) => {
                let lane = match turns {
                    Some(turns) => turns.lane_named(name),
                    None => (name == Lane::DEFAULT).then_some(0),
                };
                (lane, format!("has no lane \"{name}\""))
            }
            None => {
                let wrong = "has several lanes, and none is named".to_owned();
                let only = turns.is_none_or(|turns| turns.lanes.len() == 1);
                (only.then_some(0), wrong)
            }
        };
        let names = turns.map_or_else(|| vec![Lane::DEFAULT], |turns| turns.lane_names());
        match lane {
            Some(lane) => Ok(lane),
            None => self.config(&format!(
                "its {what} \"{}\" {wrong}; name one with .lane(..): {}",
                turns.map_or(self.name.as_str(), |turns| &turns.name),
                names.join(", ")
            )),
        }
    }

    /// The port of networks that name none, if it was made.
    fn default_port(&self) -> Option<Port> {
        let inner = self.host.inner.lock();
        let mut ports = inner.ports.iter();
        ports.find(|port| port.name() == DEFAULT_PORT).cloned()
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
    if name.contains('\0') {
        let message = format!("{what} {name:?}: a thread can't have a name with a NUL in it");
        return Err(Error::new(ErrorKind::Config, message));
    }
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
