//! The sockets of Unix systems, for every queue that can watch a descriptor.

use std::io::{self, IoSlice};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, SocketAddrAny};

use super::contract::{Backend, ListenOptions, SocketOptions, Sockets, Token, Write};
use super::socket::{OsSocket, Socket, apply, stream_socket};

/// A kernel's queue of readiness, and what else differs between the kernels.
pub(super) trait Kernel: Backend {
    /// Flags of each send: a broken connection raises no signal.
    const SEND_FLAGS: SendFlags;

    /// As [`Sockets::sends_together`].
    const SENDS_TOGETHER: bool = false;

    /// Has the descriptor's edges reported under `token` until it is closed.
    ///
    /// # Errors
    /// No memory, or too many watches for this user.
    fn watch(&self, token: Token, fd: BorrowedFd<'_>) -> io::Result<()>;

    /// Takes one waiting connection: non-blocking, closed on exec, with `options` set or inherited.
    ///
    /// # Errors
    /// As of [`Sockets::accept`].
    fn take_waiting(
        listener: BorrowedFd<'_>,
        options: &SocketOptions,
    ) -> io::Result<(OwnedFd, Option<SocketAddrAny>)>;

    /// Breaks the connection as [`Sockets::disconnect`] says.
    ///
    /// # Errors
    /// What the system said; then the connection is as it was.
    fn break_off(socket: &socket2::Socket) -> io::Result<()>;

    /// Whether the peer's address was refused because the connection is no more.
    fn is_gone(error: &io::Error) -> bool;

    /// Whether a send was refused because the connect goes on, other than by `EAGAIN`.
    fn is_connecting(_error: Errno) -> bool {
        false
    }

    /// As [`Sockets::send_batch`].
    fn send_batch(&self, writes: &mut [Write<'_>])
    where
        Self: Sized,
    {
        for write in writes {
            write.wrote = self.send(write.socket, write.from);
        }
    }
}

impl<K: Kernel> Sockets for K {
    fn listen(&self, addr: SocketAddr, options: &ListenOptions) -> io::Result<Socket> {
        let socket = stream_socket(addr)?;
        if addr.is_ipv6() {
            socket.set_only_v6(!options.dual_stack)?;
        }
        // A restarted server must not wait out its former connections' TIME_WAIT.
        socket.set_reuse_address(true)?;
        apply(&socket, &options.socket)?;
        socket.bind(&addr.into())?;
        socket.listen(i32::try_from(options.backlog).unwrap_or(i32::MAX))?;
        Ok(socket.into())
    }

    fn adopt(&self, listener: TcpListener, options: &ListenOptions) -> io::Result<Socket> {
        let socket = socket2::Socket::from(listener);
        socket.set_nonblocking(true)?;
        apply(&socket, &options.socket)?;
        Ok(socket.into())
    }

    fn share(&self, listener: &Socket) -> io::Result<TcpListener> {
        Ok(os(listener)?.socket.try_clone()?.into())
    }

    fn connect(&self, addr: SocketAddr, options: &SocketOptions) -> io::Result<Socket> {
        let socket = stream_socket(addr)?;
        apply(&socket, options)?;
        match socket.connect(&addr.into()) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(IN_PROGRESS) => {}
            Err(error) => return Err(error),
        }
        Ok(socket.into())
    }

    fn register(&self, token: Token, socket: &Socket) -> io::Result<()> {
        self.watch(token, fd(socket)?)
    }

    fn accept(
        &self,
        listener: &Socket,
        options: &SocketOptions,
    ) -> io::Result<(Socket, SocketAddr)> {
        let (socket, peer) = K::take_waiting(fd(listener)?, options)?;
        let socket = socket2::Socket::from(socket);
        let peer = peer.and_then(|peer| SocketAddr::try_from(peer).ok());
        let peer = peer.ok_or(io::ErrorKind::ConnectionAborted)?;
        Ok((socket.into(), peer))
    }

    fn connect_result(&self, socket: &Socket) -> io::Result<()> {
        let socket = &os(socket)?.socket;
        if let Some(error) = socket.take_error()? {
            return Err(error);
        }
        match socket.peer_addr() {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotConnected => {
                Err(io::ErrorKind::WouldBlock.into())
            }
            Err(error) => Err(error),
        }
    }

    fn recv(&self, socket: &Socket, into: &mut [u8]) -> io::Result<usize> {
        loop {
            match rustix::net::recv(fd(socket)?, &mut *into, RecvFlags::empty()) {
                Ok((_, 0)) if !into.is_empty() && is_reset::<K>(os(socket)?) => {
                    return Err(io::ErrorKind::ConnectionReset.into());
                }
                Ok((_, n)) => return Ok(n),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn send(&self, socket: &Socket, from: &[IoSlice<'_>]) -> io::Result<usize> {
        let fd = fd(socket)?;
        loop {
            let sent = match from {
                [one] => rustix::net::send(fd, one, K::SEND_FLAGS),
                many => {
                    let mut control = rustix::net::SendAncillaryBuffer::default();
                    rustix::net::sendmsg(fd, many, &mut control, K::SEND_FLAGS)
                }
            };
            match sent {
                Err(Errno::INTR) => {}
                Err(error) if K::is_connecting(error) => {
                    return Err(io::ErrorKind::WouldBlock.into());
                }
                sent => return Ok(sent?),
            }
        }
    }

    fn sends_together(&self) -> bool {
        K::SENDS_TOGETHER
    }

    fn send_batch(&self, writes: &mut [Write<'_>]) {
        Kernel::send_batch(self, writes);
    }

    fn shutdown_write(&self, socket: &Socket) {
        // Fails only when the connection is gone.
        let _ = os(socket).and_then(|os| {
            os.write_shut.store(true, Ordering::Release);
            os.socket.shutdown(std::net::Shutdown::Write)
        });
    }

    fn disconnect(&self, socket: &Socket) {
        if let Ok(os) = os(socket)
            && K::break_off(&os.socket).is_err()
        {
            let _ = os.socket.shutdown(std::net::Shutdown::Both);
        }
    }

    fn reset_on_close(&self, socket: &Socket) {
        let _ = os(socket).and_then(|os| os.socket.set_linger(Some(Duration::ZERO)));
    }

    fn take_error(&self, socket: &Socket) -> Option<io::Error> {
        os(socket)
            .and_then(|os| os.socket.take_error())
            .unwrap_or_else(Some)
    }

    fn local_addr(&self, socket: &Socket) -> io::Result<SocketAddr> {
        os(socket)?
            .socket
            .local_addr()?
            .as_socket()
            .ok_or_else(|| io::ErrorKind::Unsupported.into())
    }
}

/// `EINPROGRESS`: std has no kind for it.
const IN_PROGRESS: i32 = Errno::INPROGRESS.raw_os_error();

fn os(socket: &Socket) -> io::Result<&OsSocket> {
    socket
        .os()
        .ok_or_else(|| io::ErrorKind::InvalidInput.into())
}

fn fd(socket: &Socket) -> io::Result<BorrowedFd<'_>> {
    Ok(os(socket)?.socket.as_fd())
}

/// Whether an end of stream is none: the kernel tells a reset to one call only, and to all that
/// come later, perhaps on another thread, it shows an end of stream. A connection that is gone
/// although we have not ended our direction was reset.
fn is_reset<K: Kernel>(os: &OsSocket) -> bool {
    // First the flag: it is set before our end of stream can end the connection.
    !os.write_shut.load(Ordering::Acquire)
        && os.socket.peer_addr().is_err_and(|error| K::is_gone(&error))
}
