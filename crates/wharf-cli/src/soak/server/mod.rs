//! The server under test: networks under a topology, links, a strand, a second host that comes
//! and goes, and an account of every frame.

mod accounts;
mod annex;
mod handler;
mod link;
mod operator;
mod zone;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde::Serialize;
use wharf::stats::HostSnapshot;
use wharf::topology::Role;
use wharf::{Host, Network, Pool, Port, Strand, Topology, WeakStrand};

use accounts::Accounts;
use annex::Annex;
use handler::Players;
use link::{LinkCounts, LinkTold, Links};
use operator::{Operator, Reach};
use zone::Zone;

use super::orders::{Order, Orders, tell};
use crate::args::SoakServerArgs;
use crate::exit::Failure;

const TOPOLOGY: &str = include_str!("soak.toml");
/// Between two ticks of the zone.
const TICK: Duration = Duration::from_millis(50);
/// How long a look at the orders waits: nothing else is to be done.
const LOOK: Duration = Duration::from_secs(3600);
const DRAIN: Duration = Duration::from_secs(3);

/// What the server has counted so far.
#[derive(Debug, Serialize)]
struct Mark {
    sessions: usize,
    accepted: u64,
    /// Beyond `sessions_max` or `sessions_per_ip_max`.
    refused: u64,
    /// Pauses of listeners for want of descriptors.
    accept_backoffs: u64,
    panics: u64,
    opened: u64,
    ended: u64,
    /// `on_close` calls by reason.
    closes: BTreeMap<&'static str, u64>,
    /// Accepted frames that were never written, hostile sessions included.
    frames_lost: u64,
    links_open: usize,
    links: LinkTold,
    restarts: u64,
    operator_acts: u64,
}

/// The server and its parts.
struct Server {
    host: Host,
    annex: Annex,
    accounts: Arc<Accounts>,
    links: Arc<LinkCounts>,
    operator: Option<Operator>,
    acts_done: Arc<AtomicU64>,
    /// Dropped, it would be closed.
    _zone: Strand<Zone>,
}

/// Serves until standard input ends.
///
/// # Errors
/// What could not be started, or did not stop.
pub(super) fn run(args: &SoakServerArgs) -> Result<(), Failure> {
    let lib = |error: wharf::Error| Failure::of_library(&error);
    let orders = Orders::read()?;
    let mut server = start(args)?;
    loop {
        match orders.next(LOOK) {
            Order::Line(order) => server.obey(&order)?,
            Order::None => {}
            Order::End => break,
        }
    }
    drop(server.operator.take());
    server.annex.stop().map_err(lib)?;
    server.host.stop().map_err(lib)?;
    server.tell_closed(true)?;
    tell("mark", &server.mark())
}

impl Server {
    fn obey(&mut self, order: &str) -> Result<(), Failure> {
        let operator = self.operator.as_ref();
        match order {
            "mark" => {
                self.tell_closed(false)?;
                return tell("mark", &self.mark());
            }
            "operate" => operator.iter().for_each(|operator| operator.act(true)),
            "rest" => operator.iter().for_each(|operator| operator.act(false)),
            "restart" => {
                let restarted = self.annex.restart();
                return restarted.map_err(|error| Failure::of_library(&error));
            }
            other => return Err(Failure::usage(format!("\"{other}\" is no order"))),
        }
        Ok(())
    }

    fn tell_closed(&self, at_end: bool) -> Result<(), Failure> {
        let closed = self.accounts.settled(at_end);
        closed.iter().try_for_each(|closed| tell("closed", closed))
    }

    fn mark(&self) -> Mark {
        let stats: HostSnapshot = self.host.stats();
        let nets = || stats.networks.iter();
        let servers = || nets().filter(|net| net.is_server);
        let closes = |name| nets().map(|net| net.closes_named(name)).sum();
        Mark {
            sessions: servers().map(|net| net.sessions).sum(),
            accepted: nets().map(|net| net.accepted).sum(),
            refused: nets()
                .map(|net| net.refused_sessions_max + net.refused_per_ip)
                .sum(),
            accept_backoffs: nets().map(|net| net.accept_backoffs).sum(),
            panics: nets().map(|net| net.panics).sum(),
            opened: nets().map(|net| net.opened).sum(),
            ended: nets().map(|net| net.ended).sum(),
            closes: wharf::CloseReason::NAMES
                .iter()
                .map(|name| (*name, closes(name)))
                .collect(),
            frames_lost: nets().map(|net| net.frames_lost).sum(),
            links_open: nets()
                .filter(|net| !net.is_server)
                .map(|net| net.sessions)
                .sum(),
            links: self.links.told(),
            restarts: self.annex.restarts(),
            operator_acts: self.acts_done.load(Ordering::Relaxed),
        }
    }
}

/// What is declared of the topology.
struct Declared {
    host: Host,
    front: Port,
    logic: Pool,
    networks: Vec<Network<Players>>,
    chat: Network<Links>,
    master: Network<Links>,
}

fn start(args: &SoakServerArgs) -> Result<Server, Failure> {
    let lib = |error: wharf::Error| Failure::of_library(&error);
    let accounts = Arc::new(Accounts::default());
    let links = Arc::new(LinkCounts::default());
    let seat = Arc::new(OnceLock::new());
    let declared = declare(args, &accounts, &links, &seat).map_err(lib)?;
    let Declared {
        mut host,
        front,
        logic,
        networks,
        chat,
        master,
    } = declared;
    host.set_drain_deadline(DRAIN);
    let zone = logic.strand(Zone::default());
    // Set once, so this is the first time.
    let _ = seat.set(zone.downgrade());
    host.start().map_err(lib)?;
    let flushed = networks[2].clone();
    zone.every(TICK, move |zone, _| zone.tick(&flushed))
        .map_err(lib)?;
    let annex = Annex::start(&accounts, args.backend.as_deref()).map_err(lib)?;
    let bound = |network: &Network<Players>| {
        let name = network.name().to_owned();
        network.local_addr().map(|addr| (name, addr))
    };
    let mut listens_on: BTreeMap<String, SocketAddr> = networks.iter().filter_map(bound).collect();
    listens_on.insert("annex".into(), annex.addr());
    let reach = Reach {
        accounts: Arc::clone(&accounts),
        front,
        logic,
        networks,
        chat,
        master,
    };
    let operator = Operator::start(reach, args.seed)?;
    tell("ready", &listens_on)?;
    Ok(Server {
        host,
        annex,
        accounts,
        links,
        acts_done: operator.acts_done(),
        operator: Some(operator),
        _zone: zone,
    })
}

fn declare(
    args: &SoakServerArgs,
    accounts: &Arc<Accounts>,
    links: &Arc<LinkCounts>,
    zone: &Arc<OnceLock<WeakStrand<Zone>>>,
) -> wharf::Result<Declared> {
    let mut topology = Topology::parse(TOPOLOGY, "soak.toml")?;
    for plan in &mut topology.networks {
        if let Role::Connect(client) = &mut plan.role {
            client.addrs = vec![args.peer.to_string()];
        }
    }
    let mut host = Host::new();
    if let Some(backend) = &args.backend {
        host = host.with_backend(backend);
    }
    let mut host = host.with_topology(topology)?;
    let mut networks = Vec::new();
    for name in ["game", "lobby", "zone"] {
        let mut players = Players::new(name, accounts);
        players.zone = (name != "lobby").then(|| Arc::clone(zone));
        let network = host.declare_server(name, players)?;
        Players::open_room(&network);
        networks.push(network);
    }
    let handler = || Links {
        counts: Arc::clone(links),
    };
    let chat = host.declare_client("chat", handler())?;
    let master = host.declare_client("master", handler())?;
    let missing = || wharf::Error::new(wharf::ErrorKind::Config, "soak.toml has lost a name");
    let front = host.port("front").cloned().ok_or_else(missing)?;
    let logic = host.pool("logic").cloned().ok_or_else(missing)?;
    Ok(Declared {
        host: host.finish()?,
        front,
        logic,
        networks,
        chat,
        master,
    })
}
