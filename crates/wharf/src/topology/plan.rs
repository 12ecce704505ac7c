//! What a topology says, resolved: who is served where.

use std::time::Duration;

use super::work::WorkPlan;
use crate::frame::{ByteOrder, Framing, FramingError};
use crate::limits::{InputRate, MemoryLimit, PerAddress, Rate};
use crate::network::{FlushMode, Options, Reconnect};
use crate::session::deadlines::Timeouts;
use crate::session::queue::SendQueueLimits;

/// The ports, pools and networks of a process: a topology file as a value.
///
/// [`Topology::parse`] and [`Topology::from_file`] give one in which every name is resolved. A tool
/// may also make or change one by hand; what can't work is refused when it is used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topology {
    /// The ports, in the order of the file.
    pub ports: Vec<PortPlan>,
    /// The pools, in the order of the file.
    pub pools: Vec<PoolPlan>,
    /// The networks, in the order of the file.
    pub networks: Vec<NetworkPlan>,
    /// Work that is no network's, in the order of the file.
    pub work: Vec<WorkPlan>,
    /// What is said of the whole process, `[host]`.
    pub host: HostPlan,
}

/// What is said of the whole process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPlan {
    /// The ceiling for what all sessions hold. Default: 1 GiB, and near it those that hold most are
    /// closed.
    pub memory: Option<MemoryLimit>,
}

impl Default for HostPlan {
    fn default() -> Self {
        let memory = Some(MemoryLimit::OF_A_HOST);
        Self { memory }
    }
}

/// A completion port: one kernel queue and its workers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortPlan {
    /// Its name.
    pub name: String,
    /// Its workers and their lanes.
    pub threads: ThreadsPlan,
    /// How long an idle worker looks again before it sleeps (`spin_us`). Default: zero.
    pub spin: Duration,
    /// Linux: how long a worker may nap while its siblings get on (`nap_us`), as in
    /// [`PortBuilder::nap`](crate::PortBuilder::nap). Default: zero, never.
    pub nap: Duration,
    /// Windows: how many of its workers the system lets run at once, as in
    /// [`PortBuilder::concurrency`](crate::PortBuilder::concurrency); 0 is one a core. Default:
    /// `None`, all. Other systems take no notice of it.
    pub concurrency: Option<usize>,
}

/// Threads that serve turns and jobs but own no kernel queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolPlan {
    /// Its name.
    pub name: String,
    /// Its workers and their lanes.
    pub threads: ThreadsPlan,
}

/// The workers of a port or pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThreadsPlan {
    /// How many run from the start. Default: [`Workers::Cores`].
    pub workers: Workers,
    /// How many there may be after a resize (`workers_limit`). Default: `None`, as many as
    /// `workers`.
    pub workers_limit: Option<usize>,
    /// The lanes, highest first; never empty. Default: one, named [`LanePlan::DEFAULT`].
    pub lanes: Vec<LanePlan>,
    /// The threads' nice value, -20 (first) to 19 (last). Default: the system's.
    pub nice: Option<i32>,
    /// The cores that the threads may run on. Default: none named, any core.
    pub cores: Vec<usize>,
}

/// How many workers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Workers {
    /// One for each core of the machine it runs on: `workers = "cores"`.
    #[default]
    Cores,
    /// So many more than cores: `workers = "cores + 1"`. A spare worker steps in while one waits
    /// or computes in a lane with a cap.
    CoresAnd(usize),
    /// So many.
    Count(usize),
}

/// A scheduling class inside a port or pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LanePlan {
    /// Its name.
    pub name: String,
    /// The other names that it answers to, as in [`Lane::also`](crate::Lane::also).
    pub also: Vec<String>,
    /// The most workers it may hold at once. Default: `None`, all.
    pub workers_max: Option<usize>,
    /// Workers kept for it. Default: 0.
    pub workers_min: usize,
    /// After so long without a turn it gets one (`starve_ms_max`). Default: `None`, never.
    pub starve_after: Option<Duration>,
    /// The most frames of one of its turns, if less than the network's. Default: `None`.
    pub frames_per_turn_max: Option<usize>,
    /// How long one of its turns goes on (`turn_us_max`), if less than the network's. Default:
    /// `None`.
    pub turn_time_max: Option<Duration>,
    /// The nice value of a worker during its turns, -20 (first) to 19 (last). Default: `None`, the
    /// port's or pool's.
    pub nice: Option<i32>,
}

/// A network: its addresses, who serves it, its options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkPlan {
    /// Its name.
    pub name: String,
    /// Server or client, with the options of that role.
    pub role: Role,
    /// The port that reports its sockets as ready.
    pub port: String,
    /// The pool that runs its turns. Default: `None`, the port's own workers.
    pub pool: Option<String>,
    /// The lane, of the pool if there is one, else of the port.
    pub lane: String,
    /// How its stream is cut into frames.
    pub framing: FramingPlan,
    /// The limits of each session's send queue.
    pub send_queue: SendQueueLimits,
    /// How much each session may send.
    pub input_rate: InputRate,
    /// The ceiling for what its sessions hold together. Default: `None`, that of the host alone.
    pub memory: Option<MemoryLimit>,
    /// When its frames leave. With [`FlushMode::Tick`] the program has to flush.
    pub flush: FlushMode,
    /// Handshake, idle, write-stall and linger timeouts.
    pub timeouts: Timeouts,
    /// The most frames that one turn handles; the lane may say fewer. Default: `None`, the
    /// library's.
    pub frames_per_turn_max: Option<usize>,
    /// How long a turn goes on (`turn_us_max`); the lane may say less. Default: `None`, the
    /// library's.
    pub turn_time_max: Option<Duration>,
    /// The most jobs that wait in a session's mailbox.
    pub mailbox_max: usize,
    /// Send small segments at once.
    pub nodelay: bool,
    /// Probe a silent peer after so long (`keepalive_s`). Default: `None`, never.
    pub keepalive: Option<Duration>,
}

/// Whether a network listens or connects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// A server.
    Listen(ListenPlan),
    /// A client.
    Connect(ConnectPlan),
}

/// The options of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenPlan {
    /// The addresses it listens on, as `host:port`; at least one.
    pub addrs: Vec<String>,
    /// The most sessions at once.
    pub sessions_max: usize,
    /// The most sessions from one address.
    pub sessions_per_ip_max: PerAddress<usize>,
    /// How fast one address may connect.
    pub connects_per_ip: PerAddress<Rate>,
    /// Whether each connection begins with a PROXY protocol v2 header.
    pub proxy_protocol: bool,
}

/// The options of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectPlan {
    /// The addresses it connects to in turn, as `host:port`; at least one.
    pub addrs: Vec<String>,
    /// How many parallel links it keeps.
    pub links: usize,
    /// How long one connect may take.
    pub connect_timeout: Duration,
    /// How a link comes back.
    pub reconnect: Reconnect,
    /// Whether its names may be unknown at the start.
    pub late_names: bool,
}

/// How a stream is cut into frames: [`Framing`] as data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FramingPlan {
    /// The kind, with what belongs to it.
    pub kind: FramingKind,
    /// The largest frame in bytes on the wire, header and delimiter included.
    pub frame_bytes_max: usize,
}

/// The kinds of framing. The fields are those of [`LengthFraming`](crate::frame::LengthFraming).
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the builder of the same name documents each")]
pub enum FramingKind {
    /// `kind = "length"`: the length in front, as a number of 1, 2, 4 or 8 bytes.
    Length {
        prefix_bytes: usize,
        byte_order: ByteOrder,
        includes_prefix: bool,
        includes_header: bool,
        length_counts_from: Option<usize>,
        header_bytes: Option<usize>,
        prefix_offset: usize,
    },
    /// `kind = "varint"`: the length in front, as an unsigned LEB128 number.
    Varint,
    /// `kind = "delimiter"`: this text behind each frame.
    Delimiter(String),
    /// `kind = "lines"`: lines of text that end with `"\n"` or `"\r\n"`.
    Lines,
    /// `kind = "raw"`: bytes as they come.
    Raw,
}

impl PortPlan {
    /// A port with one lane.
    #[must_use]
    pub fn new(name: impl Into<String>, workers: Workers) -> Self {
        Self {
            name: name.into(),
            threads: ThreadsPlan::new(workers),
            spin: Duration::ZERO,
            nap: Duration::ZERO,
            concurrency: None,
        }
    }
}

impl PoolPlan {
    /// A pool with one lane.
    #[must_use]
    pub fn new(name: impl Into<String>, workers: Workers) -> Self {
        Self {
            name: name.into(),
            threads: ThreadsPlan::new(workers),
        }
    }
}

impl ThreadsPlan {
    /// So many workers, one lane, no further settings.
    #[must_use]
    pub fn new(workers: Workers) -> Self {
        Self {
            workers,
            workers_limit: None,
            lanes: vec![LanePlan::new(LanePlan::DEFAULT)],
            nice: None,
            cores: Vec::new(),
        }
    }

    /// How many workers run from the start on a machine with so many cores. "One a core" never
    /// means fewer than the lanes have kept for them, nor more than `workers_limit`.
    #[must_use]
    pub fn workers_on(&self, cores: usize) -> usize {
        let wanted = match self.workers {
            Workers::Count(workers) => return workers,
            Workers::Cores => cores,
            Workers::CoresAnd(more) => cores.saturating_add(more),
        };
        // A lane below those that keep workers must find one too.
        let others = self.lanes.iter().any(|lane| lane.workers_min == 0);
        let least = self.kept().saturating_add(usize::from(others)).max(1);
        wanted
            .max(least)
            .min(self.workers_limit.unwrap_or(usize::MAX))
    }
}

impl ThreadsPlan {
    /// The workers that the lanes keep.
    pub(super) fn kept(&self) -> usize {
        let kept = self.lanes.iter().map(|lane| lane.workers_min);
        kept.fold(0, usize::saturating_add)
    }
}

impl LanePlan {
    /// The name of the lane of a port or pool that declares none.
    pub const DEFAULT: &str = "main";

    /// A lane without limits.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            also: Vec::new(),
            workers_max: None,
            workers_min: 0,
            starve_after: None,
            frames_per_turn_max: None,
            turn_time_max: None,
            nice: None,
        }
    }

    /// Its own name, then the others.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.name)
            .chain(&self.also)
            .map(String::as_str)
    }

    pub(super) fn answers_to(&self, name: &str) -> bool {
        self.names().any(|its| its == name)
    }
}

impl NetworkPlan {
    /// A network on this port, in the lane of a port that declares none, all else by default.
    #[must_use]
    pub fn new(name: impl Into<String>, role: Role, port: impl Into<String>) -> Self {
        let options = Options::default();
        let (handshake, idle) = match role {
            Role::Listen(_) => (options.timeouts.handshake, options.timeouts.idle),
            Role::Connect(_) => (None, None),
        };
        Self {
            name: name.into(),
            role,
            port: port.into(),
            pool: None,
            lane: LanePlan::DEFAULT.to_owned(),
            framing: FramingPlan::default(),
            send_queue: options.send_queue,
            input_rate: options.input_rate,
            memory: options.memory,
            flush: options.flush,
            timeouts: Timeouts {
                handshake,
                idle,
                ..options.timeouts
            },
            frames_per_turn_max: None,
            turn_time_max: None,
            mailbox_max: options.mailbox_max,
            nodelay: options.socket.nodelay,
            keepalive: options.socket.keepalive,
        }
    }

    /// The most sessions it has at once.
    #[must_use]
    pub fn sessions_max(&self) -> usize {
        match &self.role {
            Role::Listen(server) => server.sessions_max,
            Role::Connect(client) => client.links,
        }
    }
}

impl Role {
    /// The addresses, as `host:port`.
    #[must_use]
    pub fn addrs(&self) -> &[String] {
        match self {
            Self::Listen(server) => &server.addrs,
            Self::Connect(client) => &client.addrs,
        }
    }
}

impl ListenPlan {
    /// A server on these addresses, all else by default.
    #[must_use]
    pub fn new(addrs: Vec<String>) -> Self {
        let options = Options::default();
        Self {
            addrs,
            sessions_max: options.sessions_max,
            sessions_per_ip_max: options.sessions_per_ip_max,
            connects_per_ip: options.connects_per_ip,
            proxy_protocol: options.proxy_protocol,
        }
    }
}

impl ConnectPlan {
    /// A client of these addresses, all else by default.
    #[must_use]
    pub fn new(addrs: Vec<String>) -> Self {
        let options = Options::default();
        Self {
            addrs,
            links: options.links,
            connect_timeout: options.connect_timeout,
            reconnect: options.reconnect,
            late_names: options.late_names,
        }
    }
}

/// That of [`Framing::default`].
impl Default for FramingPlan {
    fn default() -> Self {
        Self {
            kind: FramingKind::Length {
                prefix_bytes: 2,
                byte_order: ByteOrder::Little,
                includes_prefix: true,
                includes_header: false,
                length_counts_from: None,
                header_bytes: None,
                prefix_offset: 0,
            },
            frame_bytes_max: Framing::default().frame_bytes_max(),
        }
    }
}

impl FramingPlan {
    /// The framing that it describes.
    ///
    /// # Errors
    /// [`FramingError`] names the first setting that can't be.
    pub fn build(&self) -> Result<Framing, FramingError> {
        let max = self.frame_bytes_max;
        match &self.kind {
            FramingKind::Length {
                prefix_bytes,
                byte_order,
                includes_prefix,
                includes_header,
                length_counts_from,
                header_bytes,
                prefix_offset,
            } => {
                let mut framing = Framing::length(*prefix_bytes)
                    .byte_order(*byte_order)
                    .prefix_offset(*prefix_offset)
                    .frame_bytes_max(max);
                // Saying that the length does not count them is what the builder does by itself;
                // saying it beside `length_counts_from` is refused.
                if *includes_prefix {
                    framing = framing.includes_prefix(true);
                }
                if *includes_header {
                    framing = framing.includes_header(true);
                }
                if let Some(byte) = length_counts_from {
                    framing = framing.length_counts_from(*byte);
                }
                if let Some(bytes) = header_bytes {
                    framing = framing.header_bytes(*bytes);
                }
                framing.build()
            }
            FramingKind::Varint => Framing::varint().with_frame_bytes_max(max),
            FramingKind::Delimiter(delimiter) => {
                Framing::delimiter(delimiter.as_str())?.with_frame_bytes_max(max)
            }
            FramingKind::Lines => Framing::lines().with_frame_bytes_max(max),
            FramingKind::Raw => Framing::raw().with_frame_bytes_max(max),
        }
    }
}
