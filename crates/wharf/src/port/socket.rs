//! The one kind of socket that the rest of the core holds: closing it is dropping it.

use std::sync::atomic::AtomicBool;

/// A stream socket or a listener of some backend.
#[derive(Debug)]
pub(crate) struct Socket(pub(super) Kind);

/// Which backend made it; only backends look inside.
#[derive(Debug)]
pub(super) enum Kind {
    /// A socket of the operating system.
    Os(OsSocket),
    /// A socket of the simulated network.
    #[cfg(feature = "sim")]
    Sim(super::sim::SimSocket),
}

/// A socket of the operating system, and what it does not tell about itself.
#[derive(Debug)]
pub(super) struct OsSocket {
    pub(super) socket: socket2::Socket,
    /// Our direction of the stream was ended.
    pub(super) write_shut: AtomicBool,
}

impl From<socket2::Socket> for Socket {
    fn from(socket: socket2::Socket) -> Self {
        Self(Kind::Os(OsSocket {
            socket,
            write_shut: AtomicBool::new(false),
        }))
    }
}

impl Socket {
    /// The operating system's socket; `None` for one of another backend.
    pub(super) fn os(&self) -> Option<&OsSocket> {
        match &self.0 {
            Kind::Os(socket) => Some(socket),
            #[cfg(feature = "sim")]
            Kind::Sim(_) => None,
        }
    }

    /// The simulated network's socket; `None` for one of another backend.
    #[cfg(feature = "sim")]
    pub(super) fn sim(&self) -> Option<&super::sim::SimSocket> {
        match &self.0 {
            Kind::Sim(socket) => Some(socket),
            Kind::Os(_) => None,
        }
    }
}
