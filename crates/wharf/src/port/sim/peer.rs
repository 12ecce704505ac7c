//! The other side: clients and servers that a test scripts, free of faults of their own.

use std::io::{self, ErrorKind, IoSlice};
use std::net::SocketAddr;

use super::net::{Id, SimNet, World};
use super::stream::Phase;
use crate::port::contract::{ListenOptions, SocketOptions};

/// One end of a simulated connection, held by a test. No call blocks; dropping it closes it: the
/// other end sees the end of the stream, or a reset if bytes were left unread, as on Linux.
///
/// What it writes arrives, and what others do to it is seen, only while the
/// [`Sim`](super::Sim) is driven.
#[derive(Debug)]
pub struct SimPeer {
    net: SimNet,
    end: Result<Id, ErrorKind>,
    remote: SocketAddr,
}

impl SimPeer {
    pub(super) fn connect(net: &SimNet, from: std::net::IpAddr, to: SocketAddr) -> Self {
        let end = net
            .lock()
            .connect(from, to, &SocketOptions::default(), false);
        let end = end.map_err(|error| error.kind());
        Self {
            net: net.clone(),
            end,
            remote: to,
        }
    }

    fn with<R>(&self, work: impl FnOnce(&mut World, Id) -> io::Result<R>) -> io::Result<R> {
        let id = self.end.map_err(io::Error::from)?;
        let mut world = self.net.lock();
        match world.streams.get(&id).map(|stream| stream.phase) {
            Some(Phase::Failed(kind)) => Err(kind.into()),
            _ => work(&mut world, id),
        }
    }

    /// Whether the connection stands: the connect has ended well and no reset was seen.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        let standing = self.with(|world, id| {
            let stream = world.streams.get(&id);
            Ok(stream.is_some_and(|stream| stream.phase == Phase::Open && !stream.rx.rst))
        });
        standing.unwrap_or(false)
    }

    /// Sends as many of the bytes as fit into the connection and says how many they are.
    ///
    /// # Errors
    /// `WouldBlock` while the connect has not ended or nothing fits; why the connect failed;
    /// `ConnectionReset` once and `BrokenPipe` later when the connection is broken; `BrokenPipe`
    /// after [`Self::shutdown_write`].
    pub fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.with(|world, id| {
            let result = world.send(id, &[IoSlice::new(bytes)], false);
            world.called("peer writes", id, result)
        })
    }

    /// Appends all bytes that have arrived to `into` and says how many they are; 0 is the end of
    /// the stream.
    ///
    /// # Errors
    /// `WouldBlock` when there is nothing yet; `ConnectionReset` when the connection is broken;
    /// why the connect failed.
    pub fn read(&self, into: &mut Vec<u8>) -> io::Result<usize> {
        self.read_some(into, usize::MAX)
    }

    /// As [`Self::read`], but at most `max` bytes: a peer that reads slowly. A `max` of 0 reads
    /// nothing and is not the end of the stream.
    ///
    /// # Errors
    /// Those of [`Self::read`].
    pub fn read_some(&self, into: &mut Vec<u8>, max: usize) -> io::Result<usize> {
        self.with(|world, id| {
            let there = world.stream(id).map_or(0, |stream| stream.rx.readable());
            let from = into.len();
            into.resize(from + there.min(max), 0);
            let result = world.read(id, &mut into[from..]);
            world.called("peer reads", id, result)
        })
    }

    /// Ends this direction of the stream; reading goes on.
    pub fn shutdown_write(&self) {
        let _ = self.with(|world, id| {
            world.shutdown_write(id);
            Ok(())
        });
    }

    /// Breaks the connection: this end sees a reset at once, the other when it arrives. Some or all
    /// of the bytes on the way are lost.
    pub fn reset(&self) {
        let _ = self.with(|world, id| {
            world.disconnect(id);
            Ok(())
        });
    }

    /// The address of this end.
    ///
    /// # Errors
    /// `AddrNotAvailable` if all 64,000 ports of its IP address were taken when it was made.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        let id = self.end.map_err(io::Error::from)?;
        self.net.lock().local_addr(id)
    }

    /// The address of the other end, connected or not.
    #[must_use]
    pub fn peer_addr(&self) -> SocketAddr {
        self.remote
    }
}

impl Drop for SimPeer {
    fn drop(&mut self) {
        if let Ok(id) = self.end {
            self.net.lock().close(id);
        }
    }
}

/// A listening socket held by a test, for clients under test. Dropping it closes it: connects are
/// refused from then on, and connections not yet accepted are reset.
#[derive(Debug)]
pub struct SimListener {
    net: SimNet,
    id: Id,
    addr: SocketAddr,
}

impl SimListener {
    pub(super) fn listen(net: &SimNet, addr: SocketAddr) -> io::Result<Self> {
        let mut world = net.lock();
        let id = world.listen(addr, &ListenOptions::default(), false)?;
        let addr = world.local_addr(id)?;
        drop(world);
        Ok(Self {
            net: net.clone(),
            id,
            addr,
        })
    }

    /// Takes the connection that has waited longest, if any waits.
    #[must_use]
    pub fn accept(&self) -> Option<SimPeer> {
        let mut world = self.net.lock();
        let id = world.take_waiting(self.id)?;
        let remote = world.stream(id).map(|stream| stream.remote)?;
        drop(world);
        Some(SimPeer {
            net: self.net.clone(),
            end: Ok(id),
            remote,
        })
    }

    /// Sets how many connections may wait to be accepted (1024 at first). A connect that finds no
    /// room neither ends nor fails until there is some; with 0 it hangs, as one to a host that
    /// does not answer.
    pub fn set_backlog(&self, connections: usize) {
        self.net.lock().set_backlog(self.id, connections);
    }

    /// The address it listens at, its port chosen.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Drop for SimListener {
    fn drop(&mut self) {
        self.net.lock().close(self.id);
    }
}
