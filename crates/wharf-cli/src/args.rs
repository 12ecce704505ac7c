//! All command line definitions, and nothing else.

mod soak;

use std::net::IpAddr;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum, value_parser};

use crate::exit;
pub(crate) use soak::{
    Harm, SoakHostileArgs, SoakInnocentsArgs, SoakPeerArgs, SoakRole, SoakServerArgs,
};

/// A completion-port network core for game servers: demo, test servers, load generator.
#[derive(Debug, Parser)]
#[command(name = "wharf", version, after_help = exit::HELP)]
pub(crate) struct Cli {
    /// What to do; without a command, `demo`.
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Demo(DemoArgs),
    Serve(ServeArgs),
    Load(LoadArgs),
    Lab(LabArgs),
    #[command(hide = true)]
    LabServer(LabServerArgs),
    Check(CheckArgs),
    Strands(StrandsArgs),
    Doctor(DoctorArgs),
    #[command(hide = true, subcommand)]
    Soak(SoakRole),
}

/// Check a topology file, and show the threads it comes to and what each network may take at most.
///
/// Everything that is wrong is told at once, a line each, as FILE:LINE:COLUMN: what, and the
/// nearest right spelling; the exit code is 2 then. A right file is shown as it would run on this
/// machine, or on one with --cores: ports and pools with their lanes, networks, and what may
/// surprise.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// Topology file
    #[arg(value_name = "FILE")]
    pub(crate) file: std::path::PathBuf,

    /// Cores of the machine it is meant for [default: those of this one]
    #[arg(long, value_name = "N", value_parser = value_parser!(u16).range(1..=1024))]
    pub(crate) cores: Option<u16>,

    /// Print one JSON object on standard output and nothing else, for a wrong file too
    #[arg(long)]
    pub(crate) json: bool,
}

/// Run one workload under every layout, and say which layout is best for it.
///
/// The same handlers and the same load, in rounds that each run every layout: a port per network,
/// one shared port, selectively shared ports, dispatch to pools, lanes, dedicated ports. Latency
/// runs from the moment a frame was due; every answer is checked byte by byte. Writes report.json
/// and report.html.
#[derive(Debug, Args)]
pub(crate) struct LabArgs {
    /// A built-in workload (argument, blocking, fair, burst, idle_low) or a workload file
    #[arg(
        long,
        short = 'w',
        value_name = "NAME|FILE",
        default_value = "argument"
    )]
    pub(crate) workload: String,

    /// Measured time of each run
    #[arg(long, short = 't', value_name = "N", default_value = "3", value_parser = seconds)]
    pub(crate) seconds: Duration,

    /// Rounds; each runs every layout, with the low class and without it
    #[arg(long, short = 'r', value_name = "N", default_value_t = 5,
          value_parser = value_parser!(u32).range(1..=1000))]
    pub(crate) rounds: u32,

    /// Layouts to compare [default: the six]
    #[arg(long, short = 'l', value_name = "A,B,..", value_delimiter = ',')]
    pub(crate) layouts: Vec<String>,

    /// Folder for report.json, report.html and the topologies
    #[arg(long, short = 'o', value_name = "DIR", default_value = "wharf-lab")]
    pub(crate) out: std::path::PathBuf,

    /// Look for the most frames a second of the high class, instead of its latency at a rate
    #[arg(long)]
    pub(crate) ceiling: bool,

    /// Answer by a model of a whole machine, which must first agree with real runs here
    #[arg(long, conflicts_with = "ceiling")]
    pub(crate) simulate: bool,

    /// Cores of the machine that the model answers for [default: as many as this one has]
    #[arg(long, value_name = "N", requires = "simulate",
          value_parser = value_parser!(u16).range(1..=256))]
    pub(crate) cores: Option<u16>,

    /// Workers of the high class on that machine [default: one a core]
    #[arg(long, value_name = "N", requires = "simulate",
          value_parser = value_parser!(u16).range(1..=256))]
    pub(crate) workers: Option<u16>,

    /// Compare the model with --rounds real rounds of --seconds under --layouts; those that are
    /// there already count
    #[arg(long, requires = "simulate")]
    pub(crate) agree: bool,

    /// Compare the model with the real rounds in this file, of another machine or build
    #[arg(
        long,
        value_name = "FILE",
        requires = "simulate",
        conflicts_with = "agree"
    )]
    pub(crate) exam: Option<std::path::PathBuf>,

    /// Print the report as one JSON object on standard output and nothing else
    #[arg(long)]
    pub(crate) json: bool,
}

/// The process that `wharf lab` measures.
#[derive(Debug, Args)]
pub(crate) struct LabServerArgs {
    /// Topology file
    #[arg(long)]
    pub(crate) topology: std::path::PathBuf,

    /// A built-in workload or a workload file
    #[arg(long)]
    pub(crate) workload: String,

    /// A variant of it
    #[arg(long, default_value = "")]
    pub(crate) variant: String,
}

/// Run a whole game-server process: players, chat link, master link, and their peers.
///
/// A game server, and links to a chat and a master server, in one process on two ports; the chat
/// and master servers and a swarm of bots beside them. The bots check every byte of every reply.
/// The closing tables show each network and each port.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// How long the bots play
    #[arg(long, short = 't', value_name = "N", default_value = "8", value_parser = seconds)]
    pub(crate) seconds: Duration,

    /// Bots
    #[arg(long, short = 'b', value_name = "N", default_value_t = 200,
          value_parser = value_parser!(u32).range(1..=10_000))]
    pub(crate) bots: u32,

    /// Topology file with the networks game (it listens), chat and master (they connect)
    ///
    /// Ports, pools, lanes and limits are the file's. Addresses are the demo's own, on loopback,
    /// and so is the framing; sessions_per_ip_max and proxy_protocol are left out, because all bots
    /// come from one address and without a balancer, and so is flush = "tick", as nothing ticks.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["workers", "shared"])]
    pub(crate) topology: Option<std::path::PathBuf>,

    /// Workers of the game's port [default: one a core]
    #[arg(long, short = 'w', value_name = "N")]
    pub(crate) workers: Option<usize>,

    /// Serve the links on the game's port too, instead of a port of their own with one worker
    #[arg(long)]
    pub(crate) shared: bool,

    /// Print one JSON object on standard output and nothing else
    #[arg(long)]
    pub(crate) json: bool,

    /// Have the game server break one answer to each bot, to see that the bots notice
    #[arg(long, value_enum, hide = true)]
    pub(crate) sabotage: Option<Sabotage>,
}

impl Default for DemoArgs {
    fn default() -> Self {
        Self {
            seconds: Duration::from_secs(8),
            bots: 200,
            topology: None,
            workers: None,
            shared: false,
            json: false,
            sabotage: None,
        }
    }
}

/// How the demo's game server breaks replies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Sabotage {
    /// Leave one out
    Lose,
    /// Send one twice
    Double,
    /// Send one after its successor
    Reorder,
    /// Change a byte of one
    Corrupt,
}

/// Serve frames for load tests, until Ctrl-C or SIGTERM; then drain and exit 0.
///
/// Prints `listening on ADDR` on standard output once it serves.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// What the server does with a frame
    #[arg(value_enum)]
    pub(crate) service: Service,

    /// Address to listen on; port 0 takes a free one [default: 127.0.0.1:7000, or the topology's]
    #[arg(long, short = 'l', value_name = "ADDR")]
    pub(crate) listen: Option<String>,

    /// Topology file: serves its network that listens as the file says, but for flush = "tick"
    #[arg(long, value_name = "FILE",
          conflicts_with_all = ["workers", "pool", "sessions_max", "spin_us", "nap_us"])]
    pub(crate) topology: Option<std::path::PathBuf>,

    /// Which network of the topology, if several listen
    #[arg(long, value_name = "NAME", requires = "topology")]
    pub(crate) network: Option<String>,

    /// Workers [default: one a core]
    #[arg(long, short = 'w', value_name = "N")]
    pub(crate) workers: Option<usize>,

    /// Dispatch: run the callbacks on a pool of N threads; the workers only hand sessions over
    #[arg(long, value_name = "N")]
    pub(crate) pool: Option<usize>,

    /// Backend: auto, or a name that `wharf doctor` lists [default: auto, or WHARF_BACKEND]
    #[arg(long, value_name = "NAME")]
    pub(crate) backend: Option<String>,

    /// Microseconds of computing in each callback
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) handler_us: u64,

    /// Microseconds of sleeping in the callback of a frame below 12 bytes: a handler that blocks.
    /// `wharf load` sends none that short
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) sleep_us: u64,

    /// Most sessions at once
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    pub(crate) sessions_max: usize,

    /// Microseconds that an idle worker looks again before it sleeps
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) spin_us: u64,

    /// Microseconds that a worker may nap while its siblings get on: for cores that are shared
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) nap_us: u64,

    /// Hold frames back and flush them every so many milliseconds, one write a session
    #[arg(long, value_name = "N", conflicts_with = "topology",
          value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) tick_ms: Option<u64>,

    /// Print the counters on standard error at the end
    #[arg(long)]
    pub(crate) stats: bool,
}

/// What `wharf serve` does with a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Service {
    /// Send it back to its session
    Echo,
    /// Send it to every session, its sender too
    Broadcast,
    /// Take it and answer nothing
    Sink,
}

/// Run zones without a socket: strands that tick, and post jobs to each other at each tick.
///
/// Shows how late ticks come, how many overran or were missed, what a job costs, and whether
/// memory grows. Exit 1 if a job that was accepted did not run.
#[derive(Debug, Args)]
pub(crate) struct StrandsArgs {
    /// Strands
    #[arg(long, value_name = "N", default_value_t = 1000,
          value_parser = value_parser!(u32).range(1..=1_000_000))]
    pub(crate) strands: u32,

    /// Ticks of each a second
    #[arg(long, value_name = "N", default_value_t = 20.0, value_parser = rate)]
    pub(crate) hz: f64,

    /// Jobs that each posts to the next one at each tick
    #[arg(long, value_name = "N", default_value_t = 50,
          value_parser = value_parser!(u32).range(0..=100_000))]
    pub(crate) jobs: u32,

    /// Workers of the pool [default: one a core]
    #[arg(long, short = 'w', value_name = "N")]
    pub(crate) workers: Option<usize>,

    /// How long
    #[arg(long, short = 't', value_name = "T", default_value = "10", value_parser = seconds)]
    pub(crate) seconds: Duration,

    /// Print one JSON object on standard output and nothing else
    #[arg(long)]
    pub(crate) json: bool,
}

/// A rate from one in ten seconds to 1,000 a second.
fn rate(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.1..=1000.0).contains(&number) {
        Ok(number)
    } else {
        Err("must be between 0.1 and 1000".to_owned())
    }
}

/// Show which backends work on this machine, and if not, why and what to do.
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Print one JSON object on standard output and nothing else
    #[arg(long)]
    pub(crate) json: bool,
}

/// Put load on a framed server, check every reply byte by byte, and measure latency.
///
/// Closed loop (no --rate): every connection keeps --depth frames in flight. Open loop (--rate):
/// frames are due on a schedule, and latency runs from the moment a frame was due, whether or not
/// it could be sent then, so that a stalled server cannot hide its queue.
///
/// Wire format: u16 little-endian total length (header included), u16 little-endian id, payload.
/// The payload starts with the u32 connection number and the u32 sequence number; a pattern that
/// depends on both fills the rest.
#[derive(Debug, Args)]
#[command(after_long_help = LOAD_HELP)]
pub(crate) struct LoadArgs {
    /// Server to connect to
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7000")]
    pub(crate) connect: String,

    /// What is sent, and what is expected back
    #[arg(long, value_enum, default_value_t = Mode::Echo)]
    pub(crate) mode: Mode,

    /// Connections
    #[arg(long, short = 'c', value_name = "C", default_value_t = 64,
          value_parser = value_parser!(u32).range(1..=1_000_000))]
    pub(crate) connections: u32,

    /// Frames in flight per connection [default: 1, with --rate 1024]
    ///
    /// With --rate this is the cap on unanswered frames of a connection. In sink mode without
    /// --rate it is the number of frames in one write [default there: what fits 64 KiB].
    #[arg(long, short = 'p', value_name = "P", value_parser = value_parser!(u32).range(1..=65_536))]
    pub(crate) depth: Option<u32>,

    /// Bytes of a whole frame, the 4 header bytes included (12 to 65535)
    #[arg(long, short = 's', value_name = "S", default_value_t = 64,
          value_parser = value_parser!(u16).range(12..))]
    pub(crate) size: u16,

    /// How long to send (idle mode: how long to hold the connections)
    #[arg(long, short = 't', value_name = "T", default_value = "10", value_parser = seconds)]
    pub(crate) seconds: Duration,

    /// echo: end before that once each connection has had so many frames answered
    #[arg(long, value_name = "F", conflicts_with = "rate",
          value_parser = value_parser!(u64).range(1..))]
    pub(crate) frames: Option<u64>,

    /// Open loop: frames per second over all connections
    #[arg(long, short = 'r', value_name = "R",
          value_parser = value_parser!(u64).range(1..=100_000_000))]
    pub(crate) rate: Option<u64>,

    /// Seconds to send before measuring starts; checked like the rest, not in rates or latency
    #[arg(long, value_name = "W", default_value = "0", value_parser = seconds_or_zero)]
    pub(crate) warmup_seconds: Duration,

    /// Threads that share the connections
    #[arg(long, value_name = "N", default_value_t = 1,
          value_parser = value_parser!(u32).range(1..=64))]
    pub(crate) threads: u32,

    /// broadcast: connections that send; every connection must receive every frame [default: 1]
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..))]
    pub(crate) senders: Option<u32>,

    /// Local addresses to connect from, used in turn (one address has about 28,000 ports)
    #[arg(long, value_name = "A,B,..", value_delimiter = ',')]
    pub(crate) source_addrs: Vec<IpAddr>,

    /// How long all connects together may take
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub(crate) connect_timeout_seconds: Duration,

    /// Print one JSON object on standard output and nothing else (fields: see --help)
    #[arg(long)]
    pub(crate) json: bool,
}

/// What `wharf load` sends, and what it expects back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mode {
    /// Every frame comes back to its connection, in order
    Echo,
    /// Frames of --senders connections come to every connection, the sender too, in order
    Broadcast,
    /// Only send; nothing comes back
    Sink,
    /// Connect, one frame, its reply, close; over and over
    Churn,
    /// Connect all, one echoed frame each, then hold the connections
    Idle,
}

const LOAD_HELP: &str = "\
JSON fields (--json). Counts cover the whole run, warm-up and drain included; after T seconds
sending stops and outstanding replies are awaited for up to 5 s.
  version                 of this program
  config                  the arguments with their defaults filled in: connect, mode, connections,
                          depth, size, seconds, frames, rate, warmup_seconds, threads, senders,
                          source_addrs, connect_timeout_seconds
  started_unix_ms, ended_unix_ms
                          wall clock at the start of the sending and at the end of the run
  seconds                 length of the measured time (warm-up and drain excluded)
  frames_sent             frames handed to the kernel or queued for it
  frames_expected         replies (broadcast: deliveries) those frames must lead to
  frames_answered         intact frames that came, each counted once
  lost                    expected frames that never came
  doubled                 frames that came again
  reordered               frames that came behind a later one of the same sender
  corrupt                 frames with a wrong byte, or that nobody sent (sink: anything received)
  misrouted               intact frames of another connection
  connects                connections made
  connect_failed          connects that failed in churn mode (other modes end with exit code 3)
  closed_by_peer          connections that the server closed or reset
  bytes_sent, bytes_received
                          bytes that the kernel took and gave
  frames_per_second       frames answered (sink: sent) in the measured time, per second
  bytes_per_second        bytes sent in the measured time, per second
  latency_us              frame due (open loop) or sent (closed loop) until its reply: samples,
                          min, mean, p50, p90, p99, p99_9, max, in microseconds; null if none
  last_receiver_us        the same until the last receiver of a broadcast frame; null otherwise
  connect_us              the same for connects
  open_loop               null without --rate, else: frames_due, frames_unsent (due but never
                          sent, the server or this program was behind), send_late_us (due until
                          sent; what part of latency_us the wait before sending is)
  client_cpu_seconds      CPU this program used in the measured time; null if unknown
  fault                   true if the exit code is 1
  first_fault             the first fault in words, or null";

/// Seconds as a decimal number above 0 and up to a week.
fn seconds(text: &str) -> Result<Duration, String> {
    match seconds_or_zero(text)? {
        Duration::ZERO => Err("must be more than 0".into()),
        duration => Ok(duration),
    }
}

/// Seconds as a decimal number from 0 up to a week.
fn seconds_or_zero(text: &str) -> Result<Duration, String> {
    const MAX: f64 = 7.0 * 24.0 * 3600.0;
    let number: f64 = text
        .parse()
        .map_err(|_| "not a number of seconds".to_string())?;
    if !(0.0..=MAX).contains(&number) {
        return Err(format!("must be between 0 and {MAX}"));
    }
    Duration::try_from_secs_f64(number).map_err(|error| error.to_string())
}
