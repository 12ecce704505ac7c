//! Completion ports: the only code that knows an operating system.
//!
//! Read [`contract`] first: what every backend provides. Then [`worker`], the loop that turns what
//! a backend reports into turns, and [`core`], what the workers of one port share.

#[cfg(feature = "model")]
mod ahead;
mod aside;
mod backends;
mod batch;
mod broken;
mod clock;
#[cfg(test)]
mod conformance;
mod contract;
mod core;
pub(crate) mod current;
mod drive;
#[cfg(target_os = "linux")]
mod epoll;
pub(crate) mod inherit;
#[cfg(windows)]
mod iocp;
mod jobs;
#[cfg(target_os = "macos")]
mod kqueue;
mod names;
mod nap;
mod parking;
mod rescue;
mod served;
mod signals;
#[cfg(feature = "sim")]
pub mod sim;
mod socket;
mod spare;
pub mod system;
mod table;
mod threads;
mod timers;
#[cfg(any(target_os = "linux", target_os = "macos"))]
mod unix_socket;
#[cfg(target_os = "linux")]
mod uring;
mod worker;

pub(crate) use self::core::{PortCore, WorkerSlot};
#[cfg(feature = "model")]
pub use ahead::run_ahead;
pub use backends::{BackendReport, backends};
pub(crate) use backends::{PortOptions, open as open_backend};
pub(crate) use batch::{Outgoing, work_all};
pub(crate) use contract::{Backend, Bits, GATHER_MAX, Sockets, Token};
pub use contract::{ListenOptions, SocketOptions};
#[cfg(feature = "sim")]
pub(crate) use drive::Supervise;
pub use jobs::JobStats;
pub(crate) use jobs::Place;
pub(crate) use names::resolve;
pub(crate) use parking::Parking;
pub(crate) use served::{STRAND, Served};
pub(crate) use signals::on_stop_signal;
pub(crate) use socket::Socket;
pub(crate) use threads::{ThreadSettings, apply as apply_thread_settings, cores};
#[cfg(all(test, loom))]
pub(crate) use timers::Timers;
pub(crate) use worker::{RECV_BYTES, TurnCx, Worker, run as run_worker};

/// How long the simulated callback on this thread has lasted by its holds, which the simulator's
/// clock shows only once the turn is over. Zero where clocks are real.
pub(crate) fn held() -> std::time::Duration {
    #[cfg(feature = "sim")]
    return sim::held();
    #[cfg(not(feature = "sim"))]
    std::time::Duration::ZERO
}
