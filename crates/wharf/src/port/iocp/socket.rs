//! Sockets as this backend makes them.

use std::io;
use std::net::SocketAddr;
use std::os::windows::io::AsSocket;

use socket2::SockRef;

use super::listener::OwnedListener;
use super::stream::OwnedStream;
use crate::port::socket::stream_socket;

/// A socket of this backend; dropping it closes it.
#[derive(Debug)]
pub(in crate::port) struct IocpSocket(pub(super) Kind);

#[derive(Debug)]
pub(super) enum Kind {
    Stream(OwnedStream),
    Listener(OwnedListener),
}

/// A new stream socket, which tests may refuse.
pub(super) fn new_socket(addr: SocketAddr) -> io::Result<socket2::Socket> {
    #[cfg(test)]
    if super::trace::is_refused() {
        return Err(io::Error::from_raw_os_error(10024));
    }
    stream_socket(addr)
}

/// The address of our end.
pub(super) fn local_addr(socket: &impl AsSocket) -> io::Result<SocketAddr> {
    let local = SockRef::from(socket).local_addr()?;
    local
        .as_socket()
        .ok_or_else(|| io::ErrorKind::Unsupported.into())
}
