//! Declaring networks: names, ports and addresses are settled before anything starts.

use std::net::SocketAddr;
use std::sync::Arc;

use super::{Inner, Port, PortBuilder, Shared, Stage};
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
    pub(crate) fn settle(&mut self) -> Result<(String, usize, Arc<PortCore>)> {
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
        Ok((
            self.name.clone(),
            inner.networks.len(),
            Arc::clone(&port.shared.core),
        ))
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
