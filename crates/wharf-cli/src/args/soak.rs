//! The roles of the soak's processes. `cargo xtask soak` gives these, people don't.

use std::net::{Ipv4Addr, SocketAddr};

use clap::{Args, Subcommand, ValueEnum};

/// A process of the soak (see `cargo xtask soak --help`)
#[derive(Debug, Subcommand)]
pub(crate) enum SoakRole {
    /// The server under test
    Server(SoakServerArgs),
    /// Well-behaved sessions whose every frame is accounted for
    Innocents(SoakInnocentsArgs),
    /// Clients that do harm of one kind
    Hostile(SoakHostileArgs),
    /// What the server's links connect to
    Peer(SoakPeerArgs),
}

/// The server under test.
#[derive(Debug, Args)]
pub(crate) struct SoakServerArgs {
    /// Where the links connect to
    #[arg(long, value_name = "ADDR")]
    pub(crate) peer: SocketAddr,

    /// Backend [default: the best that works here]
    #[arg(long)]
    pub(crate) backend: Option<String>,

    /// What the operator does, and when
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
}

/// Well-behaved sessions.
#[derive(Debug, Args)]
pub(crate) struct SoakInnocentsArgs {
    /// Where they connect, as NETWORK=ADDR
    #[arg(long = "to", value_name = "NETWORK=ADDR", value_parser = named_address, required = true)]
    pub(crate) to: Vec<(String, SocketAddr)>,

    /// Sessions on each network
    #[arg(long, default_value_t = 20)]
    pub(crate) sessions: usize,

    /// Frames a second of each session
    #[arg(long, default_value_t = 20)]
    pub(crate) rate: u32,

    /// Sizes, times and lives
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
}

/// Clients that do harm.
#[derive(Debug, Args)]
pub(crate) struct SoakHostileArgs {
    /// What they do
    #[arg(value_enum)]
    pub(crate) kind: Harm,

    /// Where they connect, in turn
    #[arg(long = "to", value_name = "ADDR", required = true)]
    pub(crate) to: Vec<SocketAddr>,

    /// The address they come from
    #[arg(long, value_name = "IP", default_value_t = Ipv4Addr::LOCALHOST)]
    pub(crate) source: Ipv4Addr,

    /// What they send, and when
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
}

/// What the server's links connect to.
#[derive(Debug, Args)]
pub(crate) struct SoakPeerArgs {
    /// Where it listens
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    pub(crate) listen: SocketAddr,
}

/// What hostile clients do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Harm {
    /// Ask for much and read a few bytes at a time
    SlowReaders,
    /// Write whole frames a byte at a time
    OneByte,
    /// Send and read as fast as it goes
    Flood,
    /// Send random bytes
    Garbage,
    /// Claim frames that are too long or impossible
    Oversize,
    /// Reset or end their half at any moment
    Cuts,
    /// Connect, more than are allowed, and go
    Storm,
    /// Connect and say nothing, or half a frame
    Silent,
    /// Ask for handlers that panic, block, compute, close, abort and fail
    Handlers,
    /// Connect from few port numbers, over and over, until there are none
    Ports,
}

fn named_address(text: &str) -> Result<(String, SocketAddr), String> {
    let (name, addr) = text.split_once('=').ok_or("not NETWORK=ADDR")?;
    let addr = addr.parse().map_err(|error| format!("{addr}: {error}"))?;
    Ok((name.to_owned(), addr))
}
