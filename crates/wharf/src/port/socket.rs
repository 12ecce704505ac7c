//! The one kind of socket that the rest of the core holds: closing it is dropping it.

use std::io;
use std::net::SocketAddr;
#[cfg(unix)]
use std::sync::atomic::AtomicBool;

use socket2::{Domain, Protocol, Type};

use super::contract::SocketOptions;

/// A stream socket or a listener of some backend.
#[derive(Debug)]
pub(crate) struct Socket(pub(super) Kind);

/// Which backend made it; only backends look inside.
#[derive(Debug)]
pub(super) enum Kind {
    /// A socket of the operating system.
    #[cfg(unix)]
    Os(OsSocket),
    /// A socket of a completion port.
    #[cfg(windows)]
    Iocp(super::iocp::IocpSocket),
    /// A socket of the simulated network.
    #[cfg(feature = "sim")]
    Sim(super::sim::SimSocket),
}

/// A socket of the operating system, and what it does not tell about itself.
#[cfg(unix)]
#[derive(Debug)]
pub(super) struct OsSocket {
    pub(super) socket: socket2::Socket,
    /// Our direction of the stream was ended.
    pub(super) write_shut: AtomicBool,
}

#[cfg(unix)]
impl From<socket2::Socket> for Socket {
    fn from(socket: socket2::Socket) -> Self {
        Self(Kind::Os(OsSocket {
            socket,
            write_shut: AtomicBool::new(false),
        }))
    }
}

#[cfg(windows)]
impl From<super::iocp::IocpSocket> for Socket {
    fn from(socket: super::iocp::IocpSocket) -> Self {
        Self(Kind::Iocp(socket))
    }
}

impl Socket {
    /// The completion port's socket; `None` for one of another backend.
    #[cfg(windows)]
    pub(super) fn iocp(&self) -> Option<&super::iocp::IocpSocket> {
        match &self.0 {
            Kind::Iocp(socket) => Some(socket),
            #[cfg(feature = "sim")]
            Kind::Sim(_) => None,
        }
    }

    /// The operating system's socket; `None` for one of another backend.
    #[cfg(unix)]
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
            #[cfg(unix)]
            Kind::Os(_) => None,
            #[cfg(windows)]
            Kind::Iocp(_) => None,
        }
    }
}

/// A new stream socket of the operating system for addresses of this family: not blocking, and on
/// Windows overlapped, so that it can serve a port.
pub(super) fn stream_socket(addr: SocketAddr) -> io::Result<socket2::Socket> {
    let socket =
        socket2::Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Sets the options of a stream.
pub(super) fn apply(socket: &socket2::Socket, options: &SocketOptions) -> io::Result<()> {
    socket.set_tcp_nodelay(options.nodelay)?;
    if let Some(after) = options.keepalive {
        socket.set_tcp_keepalive(&socket2::TcpKeepalive::new().with_time(after))?;
    }
    if let Some(bytes) = options.send_buffer_bytes {
        socket.set_send_buffer_size(bytes)?;
    }
    if let Some(bytes) = options.recv_buffer_bytes {
        socket.set_recv_buffer_size(bytes)?;
    }
    Ok(())
}
