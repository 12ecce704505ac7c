//! The names of the simulated network, and the lookups that are under way.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::net::World;
use crate::port::names::Found;
use crate::time::Time;

/// What names stand for, and who has asked.
#[derive(Debug)]
pub(super) struct Names {
    known: BTreeMap<String, Vec<IpAddr>>,
    asked: Vec<Lookup>,
}

impl Default for Names {
    fn default() -> Self {
        let localhost = ("localhost".to_owned(), vec![Ipv4Addr::LOCALHOST.into()]);
        Self {
            known: BTreeMap::from([localhost]),
            asked: Vec::new(),
        }
    }
}

/// A lookup that has not been answered yet.
struct Lookup {
    at: Time,
    names: Vec<String>,
    found: Found,
}

impl fmt::Debug for Lookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at {:?}", self.names, self.at)
    }
}

impl World {
    /// From now on the host name stands for these addresses; for none, nobody knows it.
    pub(super) fn set_name(&mut self, host: &str, ips: &[IpAddr]) {
        self.names.known.insert(host.to_owned(), ips.to_vec());
    }

    /// What a `host:port` stands for now.
    pub(super) fn resolve(&self, name: &str) -> io::Result<Vec<SocketAddr>> {
        let (host, port) = name.rsplit_once(':').unwrap_or((name, ""));
        let port = port
            .parse::<u16>()
            .map_err(|_| io::ErrorKind::InvalidInput)?;
        let ips = self.names.known.get(host).filter(|ips| !ips.is_empty());
        let ips = ips.ok_or_else(|| {
            let message = "nobody in the simulation knows it; Sim::set_name tells";
            io::Error::new(io::ErrorKind::NotFound, message)
        })?;
        Ok(ips.iter().map(|ip| (*ip, port).into()).collect())
    }

    /// A lookup begins; its answer is what the names stand for when it comes.
    pub(super) fn look_up(&mut self, names: Vec<String>, found: Found) {
        let delay = self.faults.delay_max;
        let at = self.now + self.some_time(delay);
        self.names.asked.push(Lookup { at, names, found });
    }

    pub(super) fn lookups_due(&self) -> usize {
        let asked = self.names.asked.iter();
        asked.filter(|lookup| lookup.at <= self.now).count()
    }

    pub(super) fn next_lookup(&self) -> Option<Time> {
        self.names.asked.iter().map(|lookup| lookup.at).min()
    }

    /// The `nth` answer that is due, to be told without a lock.
    pub(super) fn answer(&mut self, nth: usize) -> Option<impl FnOnce() + use<>> {
        let now = self.now;
        let asked = self.names.asked.iter().enumerate();
        let due = asked.filter(|(_, lookup)| lookup.at <= now).nth(nth)?.0;
        let Lookup { names, found, .. } = self.names.asked.remove(due);
        let answers = names.iter().map(|name| self.resolve(name)).collect();
        Some(move || found(answers))
    }
}
