//! Where the demo's networks are served: a topology file's, or one of its own.

use std::net::SocketAddr;
use std::path::Path;

use wharf::topology::{ConnectPlan, FramingPlan, ListenPlan, NetworkPlan, PortPlan, Role, Workers};
use wharf::{ErrorKind, FlushMode, Topology};

use crate::args::DemoArgs;

/// The demo's networks, and whether they listen.
const NETWORKS: [(&str, bool); 3] = [("game", true), ("chat", false), ("master", false)];

/// The topology to play, with the demo's own addresses.
///
/// # Errors
/// What is wrong in the file, or not as the demo needs it.
pub(super) fn load(
    args: &DemoArgs,
    chat: SocketAddr,
    master: SocketAddr,
) -> wharf::Result<Topology> {
    let mut topology = match &args.topology {
        Some(file) => from_file(file)?,
        None => built_in(args),
    };
    // It has no strands and no jobs.
    topology.work.clear();
    for network in &mut topology.networks {
        // Bots and peers speak it.
        network.framing = FramingPlan::default();
        // There is no tick that would flush.
        network.flush = FlushMode::Turn;
        match &mut network.role {
            Role::Listen(server) => {
                server.addrs = vec!["127.0.0.1:0".to_owned()];
                // All bots come from one address, and with no balancer in front.
                server.sessions_per_ip_max = wharf::PerAddress::Off;
                server.connects_per_ip = wharf::PerAddress::Off;
                server.proxy_protocol = false;
            }
            Role::Connect(client) => {
                let peer = if network.name == "chat" { chat } else { master };
                client.addrs = vec![peer.to_string()];
            }
        }
        if network.name == "master" {
            // Every player may report at the same moment.
            let jobs = args.bots as usize * 4 + 1024;
            network.mailbox_max = network.mailbox_max.max(jobs);
        }
    }
    Ok(topology)
}

fn from_file(file: &Path) -> wharf::Result<Topology> {
    let topology = Topology::from_file(file)?;
    let wrong = |message: String| {
        let file = file.display();
        Err(wharf::Error::new(
            ErrorKind::Config,
            format!("{file}: {message}"),
        ))
    };
    for (name, listens) in NETWORKS {
        let role = if listens { "listens" } else { "connects" };
        match topology.network(name) {
            Some(plan) if matches!(plan.role, Role::Listen(_)) == listens => {}
            Some(_) => return wrong(format!("in the demo the network \"{name}\" {role}")),
            None => {
                return wrong(format!(
                    "the demo needs a network \"{name}\" that {role}; topologies/ has examples"
                ));
            }
        }
    }
    let known = |name: &str| NETWORKS.iter().any(|(known, _)| *known == name);
    if let Some(other) = topology.networks.iter().find(|plan| !known(&plan.name)) {
        return wrong(format!(
            "the demo has handlers for \"game\", \"chat\" and \"master\", and none for \"{}\"",
            other.name
        ));
    }
    Ok(topology)
}

/// The game on a port of its own, the links on one with one worker, or with them if so asked.
fn built_in(args: &DemoArgs) -> Topology {
    let workers = args.workers.map_or(Workers::Cores, Workers::Count);
    let mut ports = vec![PortPlan::new("game", workers)];
    if !args.shared {
        ports.push(PortPlan::new("links", Workers::Count(1)));
    }
    let links = if args.shared { "game" } else { "links" };
    let network = |(name, listens)| {
        let (role, port) = if listens {
            (Role::Listen(ListenPlan::new(Vec::new())), "game")
        } else {
            (Role::Connect(ConnectPlan::new(Vec::new())), links)
        };
        NetworkPlan::new(name, role, port)
    };
    Topology {
        ports,
        pools: Vec::new(),
        networks: NETWORKS.into_iter().map(network).collect(),
        ..Topology::default()
    }
}
