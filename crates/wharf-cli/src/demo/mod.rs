//! The demo: a whole game-server process, its peers, and a swarm of bots, on loopback.
//!
//! Three hosts in one process: the peers (chat and master server), the game (the one under show),
//! the bots. They start in this order and stop in the other.

mod bots;
mod game;
mod ledger;
mod report;
mod topology;
mod wire;

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use wharf::{Host, LinkState, Network, Reconnect};

use crate::args::DemoArgs;
use crate::exit::Failure;
use crate::pause::pause;
use bots::Bots;
use game::{Backend, ChatLink, Game, MasterLink};
use ledger::Total;
pub(crate) use report::Report;

/// How long links and bots may take to connect, and the last answers to come.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two looks at what goes on.
const LOOK: Duration = Duration::from_millis(10);

/// What a look at the running demo shows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    /// Since the bots began.
    pub(crate) elapsed: Duration,
    /// Open player sessions.
    pub(crate) players: usize,
    /// Answers checked so far.
    pub(crate) answered: u64,
}

/// Runs the demo; `show` is called about once a second, and says whether to go on.
///
/// # Errors
/// What could not be started, and by which host.
pub(crate) fn run(
    args: &DemoArgs,
    mut show: impl FnMut(Moment) -> Result<(), Failure>,
) -> Result<Report, Failure> {
    let lib = |error: wharf::Error| Failure::of_library(&error);
    let (mut peers, chat_addr, master_addr) = start_peers().map_err(lib)?;
    let mut stage = start_game(args, chat_addr, master_addr).map_err(lib)?;
    wait_for(|| links_up(&stage.chat) && links_up(&stage.master))
        .then_some(())
        .ok_or_else(|| Failure::unreachable("the demo's links did not connect on loopback"))?;

    let bots = Bots::default();
    let mut swarm = Host::new();
    let net = start_bots(&mut swarm, bots.clone(), args, stage.addr).map_err(lib)?;
    let began = Instant::now();
    let mut shown = began;
    while began.elapsed() < args.seconds {
        pause(LOOK);
        if shown.elapsed() >= Duration::from_secs(1) {
            shown = Instant::now();
            show(Moment {
                elapsed: began.elapsed(),
                players: stage.game.sessions().len(),
                answered: bots.shared.answered.load(Ordering::Relaxed),
            })?;
        }
    }
    let played = began.elapsed();
    bots.shared.enough.store(true, Ordering::Relaxed);
    wait_for(|| {
        bots.shared.answered.load(Ordering::Relaxed) >= bots.shared.sent.load(Ordering::Relaxed)
    });
    let connected = net.sessions().len();
    let stats = stage.host.stats();
    swarm.stop().map_err(lib)?;
    stage.host.stop().map_err(lib)?;
    peers.stop().map_err(lib)?;
    Ok(Report::new(
        args,
        played,
        connected,
        &bots.shared,
        &stage.reports,
        &stats,
    ))
}

/// Looks until `done`, for a bounded time.
fn wait_for(mut done: impl FnMut() -> bool) -> bool {
    let until = Instant::now() + PATIENCE;
    while !done() {
        if Instant::now() >= until {
            return false;
        }
        pause(LOOK);
    }
    true
}

fn links_up<H: wharf::Handler>(network: &Network<H>) -> bool {
    network
        .links()
        .iter()
        .all(|link| matches!(link, LinkState::Connected(_)))
        && !network.sessions().is_empty()
}

fn bound<H: wharf::Handler>(network: &Network<H>) -> wharf::Result<SocketAddr> {
    let none = || wharf::Error::new(wharf::ErrorKind::State, "a started server has no address");
    network.local_addr().ok_or_else(none)
}

fn start_peers() -> wharf::Result<(Host, SocketAddr, SocketAddr)> {
    let mut host = Host::new();
    let port = host.port("peers").workers(1).build()?;
    let chat = host
        .server("chat-server", Backend)
        .port(&port)
        .listen("127.0.0.1:0")?;
    let master = host
        .server("master-server", Backend)
        .port(&port)
        .listen("127.0.0.1:0")?;
    host.start()?;
    let addrs = (bound(&chat)?, bound(&master)?);
    Ok((host, addrs.0, addrs.1))
}

/// The process under show.
struct Stage {
    host: Host,
    game: Network<Game>,
    chat: Network<ChatLink>,
    master: Network<MasterLink>,
    reports: Total,
    addr: SocketAddr,
}

fn start_game(args: &DemoArgs, chat: SocketAddr, master: SocketAddr) -> wharf::Result<Stage> {
    let mut host = Host::new().with_topology(topology::load(args, chat, master)?)?;
    let back = Arc::new(OnceLock::new());
    let reports = Total::default();
    let chat_link = ChatLink {
        game: Arc::clone(&back),
    };
    let chat = host.declare_client("chat", chat_link)?;
    let master_link = MasterLink {
        total: reports.clone(),
    };
    let master = host.declare_client("master", master_link)?;
    let game = Game {
        chat: chat.clone(),
        master: master.clone(),
        sabotage: args.sabotage,
    };
    let game = host.declare_server("game", game)?;
    let mut host = host.finish()?;
    // The first and only time, so it is not set yet.
    let _ = back.set(game.downgrade());
    host.start()?;
    let addr = bound(&game)?;
    Ok(Stage {
        host,
        game,
        chat,
        master,
        reports,
        addr,
    })
}

fn start_bots(
    swarm: &mut Host,
    bots: Bots,
    args: &DemoArgs,
    game: SocketAddr,
) -> wharf::Result<Network<Bots>> {
    let port = swarm.port("bots").workers(1).build()?;
    let once = Reconnect {
        enabled: false,
        ..Reconnect::default()
    };
    let net = swarm
        .client("bots", bots)
        .port(&port)
        .links(args.bots as usize)
        .reconnect(once)
        .connect(game)?;
    swarm.start()?;
    Ok(net)
}
