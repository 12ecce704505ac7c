//! A session without its handler's type, for registries that hold sessions of several networks.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;

use super::{Session, SessionId};
use crate::error::SendError;
use crate::handler::Handler;

/// A handle to a session of any network.
#[derive(Clone)]
pub struct AnySession(Arc<dyn Erased>);

trait Erased: Send + Sync {
    fn id(&self) -> SessionId;
    fn network(&self) -> &str;
    fn peer_addr(&self) -> SocketAddr;
    fn is_open(&self) -> bool;
    fn send(&self, payload: &[u8]) -> Result<(), SendError>;
    fn send_wire(&self, wire: Bytes) -> Result<(), SendError>;
    fn close(&self);
    fn abort(&self);
}

impl<H: Handler> Erased for Session<H> {
    fn id(&self) -> SessionId {
        self.id()
    }

    fn network(&self) -> &str {
        &self.0.net.name
    }

    fn peer_addr(&self) -> SocketAddr {
        self.peer_addr()
    }

    fn is_open(&self) -> bool {
        self.is_open()
    }

    fn send(&self, payload: &[u8]) -> Result<(), SendError> {
        self.send(payload)
    }

    fn send_wire(&self, wire: Bytes) -> Result<(), SendError> {
        self.send_wire(wire)
    }

    fn close(&self) {
        self.close();
    }

    fn abort(&self) {
        self.abort();
    }
}

impl AnySession {
    pub(super) fn new<H: Handler>(session: Session<H>) -> Self {
        Self(Arc::new(session))
    }

    /// Its number.
    #[must_use]
    pub fn id(&self) -> SessionId {
        self.0.id()
    }

    /// The name of its network.
    #[must_use]
    pub fn network(&self) -> &str {
        self.0.network()
    }

    /// The peer's address.
    #[must_use]
    pub fn peer_addr(&self) -> SocketAddr {
        self.0.peer_addr()
    }

    /// Whether frames are still accepted for it.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.0.is_open()
    }

    /// As [`Session::send`], with its own network's framing.
    ///
    /// # Errors
    /// As [`Session::send`].
    pub fn send(&self, payload: &[u8]) -> Result<(), SendError> {
        self.0.send(payload)
    }

    /// As [`Session::send_wire`].
    ///
    /// # Errors
    /// As [`Session::send`].
    pub fn send_wire(&self, wire: Bytes) -> Result<(), SendError> {
        self.0.send_wire(wire)
    }

    /// As [`Session::close`].
    pub fn close(&self) {
        self.0.close();
    }

    /// As [`Session::abort`].
    pub fn abort(&self) {
        self.0.abort();
    }
}

impl fmt::Debug for AnySession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AnySession({} of {})", self.id(), self.network())
    }
}
