//! From a topology file to a host with the workload's handlers.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::Deserialize;
use wharf::{Error, ErrorKind, Host, Lane, Network};

use super::handler::{Gauges, LabHandler};
use crate::lab::workload::{Role, Workload};

#[derive(Deserialize)]
struct Topology {
    port: BTreeMap<String, Port>,
    pool: Option<BTreeMap<String, Port>>,
    network: BTreeMap<String, Net>,
}

#[derive(Deserialize)]
struct Port {
    workers: usize,
    nice: Option<i32>,
    cores: Option<Vec<usize>>,
    lanes: Option<Vec<LaneEntry>>,
}

#[derive(Deserialize)]
struct LaneEntry {
    name: String,
    workers_max: Option<usize>,
}

#[derive(Deserialize)]
struct Net {
    listen: Option<String>,
    connect: Option<String>,
    links: Option<usize>,
    port: String,
    lane: Option<String>,
    pool: Option<String>,
}

/// Declares every network of the workload where the topology says.
///
/// # Errors
/// What the topology says wrong.
pub(super) fn declare(
    topology: &Path,
    workload: &Workload,
    gauges: &Gauges,
) -> wharf::Result<(Host, Vec<(String, Network<LabHandler>)>)> {
    let config = |message: String| Error::new(ErrorKind::Config, message);
    let text = fs::read_to_string(topology)
        .map_err(|error| config(format!("topology {}: {error}", topology.display())))?;
    let file: Topology = toml::from_str(&text).map_err(|error| config(error.to_string()))?;
    let mut host = Host::new();
    let mut ports = BTreeMap::new();
    let mut pools = BTreeMap::new();
    for (name, port) in &file.port {
        let mut builder = host.port(name).workers(port.workers);
        for lane in port.lanes.iter().flatten() {
            let new = Lane::new(&lane.name);
            builder = builder.lane(match lane.workers_max {
                Some(workers) => new.workers_max(workers),
                None => new,
            });
        }
        if let Some(nice) = port.nice {
            builder = builder.nice(nice);
        }
        if let Some(cores) = &port.cores {
            builder = builder.cores(cores.clone());
        }
        ports.insert(name, builder.build()?);
    }
    for (name, pool) in file.pool.iter().flatten() {
        pools.insert(name, host.pool(name).workers(pool.workers).build()?);
    }
    let mut networks = Vec::new();
    for class in &workload.classes {
        let none = |what| config(format!("class {} has no {what}", class.name));
        let net = file
            .network
            .get(&class.name)
            .ok_or_else(|| none("network"))?;
        let port = ports.get(&net.port).ok_or_else(|| none("port"))?;
        let handler = LabHandler::new(class, gauges);
        let pool = net.pool.as_ref().and_then(|pool| pools.get(pool));
        macro_rules! placed {
            ($builder:expr) => {{
                let mut builder = $builder.port(port);
                if let Some(pool) = pool {
                    builder = builder.pool(pool);
                }
                if let Some(lane) = &net.lane {
                    builder = builder.lane(lane);
                }
                builder
            }};
        }
        let network = match class.role {
            Role::Server => placed!(host.server(&class.name, handler))
                .handshake_timeout(None)
                .listen(net.listen.as_deref().ok_or_else(|| none("listen"))?)?,
            Role::Client => placed!(host.client(&class.name, handler))
                .links(net.links.unwrap_or(1))
                .connect(net.connect.as_deref().ok_or_else(|| none("connect"))?)?,
        };
        networks.push((class.name.clone(), network));
    }
    Ok((host, networks))
}
