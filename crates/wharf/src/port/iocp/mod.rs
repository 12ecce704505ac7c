//! Windows: one I/O completion port, shared by all workers of the port.
//!
//! A port is one completion port. Its workers wait in `GetQueuedCompletionStatusEx`; every socket
//! is associated with it for life; what comes out are packets of our operations (`op.rs`) and posts
//! that say "look" (`bell.rs`). The contract is about readiness, so each operation is one that ends
//! when something is possible:
//!
//! | contract | operation | its packet reports |
//! |---|---|---|
//! | readable | `WSARecv` of no bytes, pending while idle (`stream.rs`) | READ |
//! | writable | `WSASend` of what the socket had no room for (`send.rs`) | WRITE |
//! | connect | `ConnectEx` (`connect.rs`) | WRITE, or the failure |
//! | listener | several `AcceptEx` (`listener.rs`) | READ |
//! | wake, timer, `register` | a post (`bell.rs`) | what stands in memory (`shared.rs`) |
//!
//! What happens to a stream that was reported readable and that nobody reads has no packet: it is
//! looked at ten times a second, then more rarely (`watch.rs`).
//!
//! # Who owns what
//!
//! An operation in the system's hands is an [`op::Op`] in an `Arc`, with all memory that the system
//! may touch. The system holds one of its references, and gives it back with the packet.
//!
//! | state | op and its buffers | socket | writes the OVERLAPPED |
//! |---|---|---|---|
//! | made | issuer | owner | nobody |
//! | being issued | issuer, system | owner; the gate keeps it open | issuer, then system |
//! | refused at once | issuer, both references | owner | next issuer |
//! | in flight | system | owner | system |
//! | packet taken | the worker that took it | owner | next issuer |
//! | in flight, closed | system | nobody: closed | system |
//! | send in flight, closed | system | the send, until its packet | system |
//!
//! A receive is issued again and again, so its stream's owner has a reference of it in each state;
//! all others are issued once. A packet may be taken before the issuing call has returned.
//!
//! The issuing call changes the op after the system's call only if that refused it. So a packet
//! that another worker takes first finds nothing half done: what its handler needs is set before
//! the call (`in_flight`, `Sending::is_pending` under its lock).
//!
//! A packet's pointer is to the op itself, and the op to the stream that it belongs to, never to a
//! number: a packet of a closed socket can't be taken for one of the socket that has its number
//! now. What it reports carries the generation of its token besides, as everywhere.
//!
//! # Closing
//!
//! Dropping a `Socket` cancels what is under way, then closes it (`handle.rs`: in this order, and
//! never while a thread is inside a call with the number), and the packets free the ops as they
//! come. A send in flight keeps its socket open until its packet, at most half a minute, because a
//! close would lose its bytes; a reset keeps nothing. That *we* ended something is told by our own
//! flags: `Whom::is_closed`, and the failure that `disconnect` notes before it closes.
//!
//! When the last worker has left, somebody must still take packets, or a socket that waits for its
//! send, and those of accepts, would stay open for as long as anybody keeps a handle: `retire`
//! does, gives such sends until a deadline, then cancels them. So does dropping the backend, for
//! a second. The port itself is closed by the last of backend and sockets, after the last packet;
//! ops that never end would be leaked, not freed. A worker is never woken by closing the port: a
//! quitting worker wakes the next.
//!
//! # Choices
//!
//! - *No skip of the port on success.* What is done at once brings a packet like all else, and that
//!   packet is the report; with the skip we would post one in its place. It is also unsafe under
//!   some layered providers.
//! - *A reset needs a close.* Windows has no call that resets a connection and keeps its socket.
//!   [`Sockets::disconnect`] closes it behind the gate of `handle.rs`; to the owner it stays a
//!   socket on which every call fails.
//! - *The system's concurrency* ([`Iocp::open`]) is no limit by default: at its limit a port holds
//!   packets back from a free worker, also while all others compute in handlers (G3).
//! - *Error numbers* are read from the OVERLAPPED's NTSTATUS and mapped in one place (`status.rs`).
//! - *`DisconnectEx` and reused sockets* are not used: they hang, or fail, or wait out TIME_WAIT.
//!
//! # What was shown
//!
//! The contract's suite and the tests beside this file, under Wine 8 and not on Windows itself.
//! What Wine takes and Windows would refuse is held by a trace of the arguments
//! (`tests/arguments.rs`); what the concurrency does, and how fast any of it is, is not shown.

mod bell;
mod connect;
mod handle;
mod listener;
mod op;
mod send;
mod shared;
mod socket;
mod status;
mod stream;
mod sys;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod trace;
mod watch;
mod whom;

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use listener::OwnedListener;
use shared::Shared;
pub(super) use socket::IocpSocket;
use socket::Kind;
use stream::OwnedStream;

use super::clock;
use super::contract::{Backend, ListenOptions, Ready, SocketOptions, Sockets, Token, Wait};
use super::socket::Socket;
use crate::time::Time;

/// How long a dropped backend lets sends that were taken go on.
const LINGER_AT_DROP: Duration = Duration::from_secs(1);
/// Packets of what was cancelled come without delay: after so long without one, none is to come.
const SILENT: Duration = Duration::from_millis(50);
/// How long they may take in all.
const CANCELLED_MAX: Duration = Duration::from_secs(1);

/// The backend.
#[derive(Debug)]
pub(crate) struct Iocp {
    shared: Arc<Shared>,
}

impl Iocp {
    /// A new port that lets `concurrency` threads run at once; 0 is one a processor.
    pub(crate) fn open(concurrency: u32) -> io::Result<Self> {
        let shared = Shared::open(concurrency)?;
        Ok(Self { shared })
    }
}

impl Drop for Iocp {
    fn drop(&mut self) {
        let shared = &self.shared;
        shared.gone.store(true, Ordering::SeqCst);
        shared.drain(LINGER_AT_DROP, |_| shared.watch.is_quiet());
        shared.watch.end_lingering();
    }
}

fn stream(socket: &Socket) -> io::Result<&OwnedStream> {
    match socket.iocp().map(|socket| &socket.0) {
        Some(Kind::Stream(stream)) => Ok(stream),
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
}

impl Backend for Iocp {
    fn name(&self) -> &'static str {
        "iocp"
    }

    fn now(&self) -> Time {
        clock::now()
    }

    fn wait(&self, out: &mut Vec<Ready>, max: usize, how: Wait) -> io::Result<()> {
        let before = out.len();
        loop {
            match how {
                Wait::Poll => {
                    self.shared.harvest(out, max, 0)?;
                    return Ok(());
                }
                Wait::Block => self.shared.harvest(out, max, u32::MAX)?,
            };
            // A stale packet is no reason to come back.
            if out.len() > before {
                return Ok(());
            }
        }
    }

    fn wake(&self) {
        self.shared.wake();
    }

    fn set_timer(&self, at: Option<Time>) {
        self.shared.set_timer(at);
    }

    fn retire(&self, until: Time) {
        let shared = &self.shared;
        shared.gone.store(true, Ordering::SeqCst);
        // What was cancelled brings its packets at once; ops of sockets that are still open, in a
        // callback that never returns, would be waited for in vain.
        let all = || shared.ops.load(Ordering::Acquire) == 0;
        let left = until.since(clock::now());
        shared.drain(left, |silent| {
            all() || silent >= SILENT && shared.watch.is_quiet()
        });
        shared.watch.end_lingering();
        shared.drain(CANCELLED_MAX, |silent| all() || silent >= SILENT);
    }

    fn entropy(&self) -> u64 {
        // The moment sets processes of one image apart, the number those of one moment.
        fastrand::u64(..) ^ u64::from(std::process::id()) << 32
    }
}

impl Sockets for Iocp {
    fn listen(&self, addr: SocketAddr, options: &ListenOptions) -> io::Result<Socket> {
        let listener = OwnedListener::listen(&self.shared, addr, options)?;
        Ok(IocpSocket(Kind::Listener(listener)).into())
    }

    fn connect(&self, addr: SocketAddr, options: &SocketOptions) -> io::Result<Socket> {
        let stream = connect::start(&self.shared, addr, options)?;
        Ok(IocpSocket(Kind::Stream(stream)).into())
    }

    fn register(&self, token: Token, socket: &Socket) -> io::Result<()> {
        match socket.iocp().map(|socket| &socket.0) {
            Some(Kind::Stream(stream)) => stream.register(token),
            Some(Kind::Listener(listener)) => listener.register(token),
            None => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    fn accept(
        &self,
        listener: &Socket,
        options: &SocketOptions,
    ) -> io::Result<(Socket, SocketAddr)> {
        let Some(Kind::Listener(listener)) = listener.iocp().map(|socket| &socket.0) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let (stream, peer) = listener.accept(options)?;
        Ok((IocpSocket(Kind::Stream(stream)).into(), peer))
    }

    fn connect_result(&self, socket: &Socket) -> io::Result<()> {
        connect::result(stream(socket)?)
    }

    fn recv(&self, socket: &Socket, into: &mut [u8]) -> io::Result<usize> {
        stream(socket)?.recv(into)
    }

    fn send(&self, socket: &Socket, from: &[IoSlice<'_>]) -> io::Result<usize> {
        stream(socket)?.send(from)
    }

    fn shutdown_write(&self, socket: &Socket) {
        if let Ok(stream) = stream(socket) {
            stream.shutdown_write();
        }
    }

    fn disconnect(&self, socket: &Socket) {
        if let Ok(stream) = stream(socket) {
            stream.disconnect();
        }
    }

    fn reset_on_close(&self, socket: &Socket) {
        if let Ok(stream) = stream(socket) {
            stream.reset_on_close();
        }
    }

    fn take_error(&self, socket: &Socket) -> Option<io::Error> {
        stream(socket).ok()?.take_error()
    }

    fn local_addr(&self, socket: &Socket) -> io::Result<SocketAddr> {
        match socket.iocp().map(|socket| &socket.0) {
            Some(Kind::Stream(stream)) => connect::local_addr(stream),
            Some(Kind::Listener(listener)) => {
                let entered = listener.handle.enter().ok_or(io::ErrorKind::NotConnected)?;
                socket::local_addr(&entered)
            }
            None => Err(io::ErrorKind::InvalidInput.into()),
        }
    }
}
