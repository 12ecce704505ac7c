//! The one kind of socket that the rest of the core holds: closing it is dropping it.

/// A stream socket or a listener of some backend.
#[derive(Debug)]
pub(crate) struct Socket(pub(super) Kind);

/// Which backend made it; only backends look inside.
#[derive(Debug)]
pub(super) enum Kind {
    /// A socket of the operating system.
    Os(socket2::Socket),
    /// A socket of the simulated network.
    #[cfg(feature = "sim")]
    Sim(super::sim::SimSocket),
}

impl Socket {
    /// The operating system's socket; `None` for one of another backend.
    pub(super) fn os(&self) -> Option<&socket2::Socket> {
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
