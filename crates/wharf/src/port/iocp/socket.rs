//! Sockets as this backend makes them.

use std::io;
use std::net::SocketAddr;
use std::os::windows::io::AsSocket;

use socket2::{Domain, Protocol, SockRef, Type};

use super::listener::OwnedListener;
use super::stream::OwnedStream;
use crate::port::contract::SocketOptions;

/// A socket of this backend; dropping it closes it.
#[derive(Debug)]
pub(in crate::port) struct IocpSocket(pub(super) Kind);

#[derive(Debug)]
pub(super) enum Kind {
    Stream(OwnedStream),
    Listener(OwnedListener),
}

/// A new stream socket for addresses of this family: overlapped, so that it can serve a port, and
/// non-blocking for the calls that are not.
pub(super) fn new_socket(addr: SocketAddr) -> io::Result<socket2::Socket> {
    #[cfg(test)]
    if super::trace::is_refused() {
        return Err(io::Error::from_raw_os_error(10024));
    }
    let socket =
        socket2::Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Sets what the user asked for.
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

/// The address of our end.
pub(super) fn local_addr(socket: &impl AsSocket) -> io::Result<SocketAddr> {
    let local = SockRef::from(socket).local_addr()?;
    local
        .as_socket()
        .ok_or_else(|| io::ErrorKind::Unsupported.into())
}
