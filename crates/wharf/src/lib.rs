//! A completion-port network core for game servers: plain synchronous handlers, IOCP-style control
//! of threads, on Linux (epoll) and Windows (IOCP).

mod contain;
mod error;
mod flow;
pub mod frame;
mod handler;
mod host;
mod job;
mod limits;
#[cfg(feature = "model")]
#[doc(hidden)]
pub mod model;
#[cfg(all(test, loom))]
mod models;
mod network;
mod port;
mod requests;
mod say;
mod sched;
mod session;
mod stage;
pub mod stats;
mod strand;
mod sync;
mod time;
pub mod topology;

pub use error::{CloseReason, Error, ErrorKind, Refuse, Result, SendError};
pub use frame::{Frame, Framing};
pub use handler::Handler;
pub use host::{
    Host, HostHandle, Pool, PoolBuilder, Port, PortBuilder, StuckTurn, TopologyHost, Work,
};
pub use limits::{InputRate, MemoryLimit, PerAddress, Rate, WhenMemoryFull, WhenOver};
pub use network::{
    Addrs, ClientBuilder, FlushMode, LinkState, Network, Reconnect, ServerBuilder, Target,
    WeakNetwork,
};
#[cfg(feature = "sim")]
pub use port::sim;
pub use port::{BackendReport, JobStats, ListenOptions, SocketOptions, backends, system};
pub use requests::{Answer, RequestError, RequestStats, Requests, Waiting};
pub use sched::Lane;
pub use session::any::AnySession;
pub use session::deadlines::Timeouts;
pub use session::group::Group;
pub use session::queue::{SendQueueLimits, WhenFull};
pub use session::registry::{SentToMany, Sessions};
pub use session::{PauseGuard, SendQueueState, Session, SessionId, SessionStats};
pub use stage::{CurrentStage, Next, Stage, Staged};
pub use strand::tick::Tick;
pub use strand::timer::{TickStats, Timer};
pub use strand::{OnPanic, Strand, StrandOptions, StrandStats, WeakStrand};
pub use topology::{ThreadMap, Topology, TopologyError};

/// The bytes that frames are shared as: [`bytes::Bytes`].
pub use bytes::Bytes;

/// The README's code compiles.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
