//! Reads a whole file: its tables, and what they must have in common.

use toml::de::DeTable;

use super::address;
use super::fault::{Faults, TopologyError};
use super::limits;
use super::names::{Known, lane};
use super::nearest::did_you_mean;
use super::network::{self, Draft};
use super::plan::{HostPlan, PoolPlan, PortPlan, Topology};
use super::table::{self, Entry, Fields, found};
use super::threads::{self, Threads};
use super::work;

const TABLES: &[&str] = &["port", "pool", "network", "work", "host"];
const HOST_KEYS: &[&str] = &["memory"];

/// Reads the text of a file of this name.
pub(super) fn read(text: &str, file: &str) -> Result<Topology, TopologyError> {
    let mut faults = Faults::new(text);
    let (root, syntax) = DeTable::parse_recoverable(text);
    if !syntax.is_empty() {
        not_toml(&syntax, &mut faults);
        return faults.finish(file, Topology::default());
    }
    let root = table::entries(root.get_ref());
    let mut found = Found::default();
    for entry in &root {
        let Some(kind) = TABLES.iter().find(|kind| **kind == entry.key) else {
            let message = unknown_table(*entry);
            faults.add(entry.at, message);
            found.unread = true;
            continue;
        };
        if *kind == "host" {
            host(*entry, &mut found, &mut faults);
        } else {
            members(kind, *entry, &mut found, &mut faults);
        }
    }
    if found.networks.is_empty() && faults.count() == 0 {
        let message = "there is no network in it; declare one: [network.game], and below it \
                       listen = \"0.0.0.0:7777\"";
        return Err(TopologyError::of_file(file, message.to_owned()));
    }
    found.names(&mut faults);
    found.addresses(&mut faults);
    let topology = found.resolve(&mut faults);
    faults.finish(file, topology)
}

/// The file is no TOML: the first error is told, later ones are mostly its consequences. Names
/// given twice are no misreading, and all told.
fn not_toml(errors: &[toml::de::Error], faults: &mut Faults<'_>) {
    let place = |error: &toml::de::Error| error.span().unwrap_or(0..0);
    let (twice, other): (Vec<_>, Vec<_>) = errors
        .iter()
        .partition(|error| error.message() == "duplicate key");
    let Some(first) = other.into_iter().min_by_key(|error| place(error).start) else {
        for error in twice {
            let span = place(error);
            let name = faults.text(span.clone());
            let message = format!(
                "\"{name}\" is given twice; two tables need two names, and a key stands once in a \
                 table"
            );
            faults.add(span.start, message);
        }
        return;
    };
    let span = place(first);
    let text = faults.text(span.clone());
    let message = match first.message() {
        said if said.starts_with("string values must be quoted") && text.is_empty() => {
            "a value is missing after \"=\"".to_owned()
        }
        said if said.starts_with("string values must be quoted") => {
            let why = match text.starts_with(|c: char| c.is_ascii_digit() || c == '-') {
                true => "a number has no unit: that is in the name of its key",
                false => "a text stands in quotes",
            };
            format!("\"{text}\" is no value: {why}")
        }
        said => format!("not valid TOML: {said}"),
    };
    faults.add(span.start, message);
}

fn unknown_table(entry: Entry<'_, '_>) -> String {
    let Entry { key, value, .. } = entry;
    if value.get_ref().is_table() {
        let mend = did_you_mean(key, TABLES);
        return format!("unknown table \"{key}\"{mend}");
    }
    let tables = "[port.NAME], [pool.NAME], [network.NAME], [work.NAME] and [host]";
    format!("\"{key}\" stands outside of the tables {tables}; move it into the one it belongs to")
}

/// Reads `[host]`.
fn host(entry: Entry<'_, '_>, into: &mut Found, faults: &mut Faults<'_>) {
    let Entry { at, value, .. } = entry;
    let Some(mut fields) = Fields::new("host".to_owned(), at, value, faults) else {
        into.unread = true;
        return;
    };
    if let Some(memory) = limits::memory(&mut fields, faults) {
        into.host.memory = memory;
    }
    fields.finish(faults, HOST_KEYS, &[]);
}

/// Reads the tables of one kind.
fn members(kind: &'static str, entry: Entry<'_, '_>, into: &mut Found, faults: &mut Faults<'_>) {
    let name = match kind {
        "network" => "game",
        "pool" => "high",
        "work" => "zones",
        _ => "front",
    };
    let Some(table) = entry.value.get_ref().as_table() else {
        let found = found(entry.value.get_ref());
        let message =
            format!("{kind} is {found}; each {kind} is a table with a name: [{kind}.{name}]");
        faults.add(entry.at, message);
        into.unread = true;
        return;
    };
    for entry in table::entries(table) {
        if !entry.value.get_ref().is_table() {
            let Entry { key, at, value } = entry;
            let found = found(value.get_ref());
            let message = match value.get_ref().is_array() {
                true => {
                    format!("{kind} \"{key}\" is {found}; write [{kind}.{key}], in single brackets")
                }
                false => format!(
                    "{kind}: \"{key}\" is {found}; each {kind} is a table with a name: write \
                     [{kind}.{name}] above its keys"
                ),
            };
            faults.add(at, message);
            into.unread = true;
            continue;
        }
        match kind {
            "network" => into.networks.extend(network::read(entry, faults)),
            "work" => into.work.extend(work::read(entry, faults)),
            "pool" => into.pools.push(threads::read("pool", entry, faults)),
            _ => into.ports.push(threads::read("port", entry, faults)),
        }
    }
}

/// What the file declares, with where it stands.
#[derive(Debug, Default)]
struct Found {
    ports: Vec<Threads>,
    pools: Vec<Threads>,
    networks: Vec<Draft>,
    work: Vec<work::Draft>,
    host: HostPlan,
    /// Something was no table of ours: a name that is not found may have been meant there.
    unread: bool,
}

impl Found {
    /// Ports and pools share one space of names: counters and threads are named by it.
    fn names(&self, faults: &mut Faults<'_>) {
        for pool in &self.pools {
            let Some(port) = self.ports.iter().find(|port| port.name == pool.name) else {
                continue;
            };
            let (later, earlier) = if pool.at > port.at {
                (pool, port)
            } else {
                (port, pool)
            };
            let message = format!(
                "{} has the name of a {} (line {}); threads and counters are named by it: give \
                 one another name",
                later.what(),
                earlier.kind,
                faults.line(earlier.at)
            );
            faults.add(later.at, message);
        }
    }

    /// No two networks may listen on one address.
    fn addresses(&self, faults: &mut Faults<'_>) {
        let listeners: Vec<_> = self
            .networks
            .iter()
            .flat_map(|network| network.listens_on.iter().map(move |addr| (network, addr)))
            .collect();
        for (index, (network, (addr, at))) in listeners.iter().enumerate() {
            let earlier = listeners[..index]
                .iter()
                .find(|(_, (other, _))| address::collide(addr, other));
            let Some((other, (other_addr, other_at))) = earlier else {
                continue;
            };
            let line = faults.line(*other_at);
            let which = if addr == other_addr {
                "as".to_owned()
            } else {
                format!("where {other_addr} already listens, as")
            };
            let whose = if other.wanted.what == network.wanted.what {
                "this network itself".to_owned()
            } else {
                other.wanted.what.clone()
            };
            let message = format!(
                "{}: it listens on {addr}, {which} does {whose} (line {line}); take another port",
                network.wanted.what
            );
            faults.add(*at, message);
        }
    }

    /// Looks all names up.
    fn resolve(self, faults: &mut Faults<'_>) -> Topology {
        let known = Known {
            ports: &self.ports,
            pools: &self.pools,
            unread: self.unread,
        };
        let mut networks = Vec::new();
        for mut network in self.networks {
            let port = known.port(&network.wanted, faults);
            let pool = known.pool(&network.wanted, faults);
            if let Some(port) = port {
                network.plan.port.clone_from(&port.name);
            }
            network.plan.pool = pool.map(|pool| pool.name.clone());
            // With a pool all callbacks run there, and so the lane is the pool's. A pool that is
            // not known says nothing about lanes.
            let serves = if network.wanted.pool.is_some() {
                pool
            } else {
                port
            };
            if let Some(lane) = serves.and_then(|threads| lane(&network.wanted, threads, faults)) {
                network.plan.lane = lane;
            }
            networks.push(network.plan);
        }
        let work = self.work.into_iter();
        let work = work
            .filter_map(|draft| draft.resolve(&known, faults))
            .collect();
        let port = |port: Threads| PortPlan {
            name: port.name,
            threads: port.plan,
            spin: port.spin,
            nap: port.nap,
            concurrency: port.concurrency,
        };
        let pool = |pool: Threads| PoolPlan {
            name: pool.name,
            threads: pool.plan,
        };
        Topology {
            ports: self.ports.into_iter().map(port).collect(),
            pools: self.pools.into_iter().map(pool).collect(),
            networks,
            work,
            host: self.host,
        }
    }
}
