//! The other side of a connection, as a test scripts it.

use std::net::{SocketAddr, TcpStream};

use socket2::Socket;

use super::{World, sockets};

/// How a peer's stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Fin,
    Reset,
}

/// What one look brought.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Got {
    Bytes,
    Nothing,
    End(End),
}

pub(super) enum Wire {
    Socket(TcpStream),
    #[cfg(feature = "sim")]
    Sim(wharf::sim::SimPeer),
}

/// An address of the test, at which nobody listens yet.
pub(crate) struct Nobody {
    world: World,
    /// What keeps others from it; in the simulation there are none.
    socket: Option<Socket>,
    addr: SocketAddr,
}

impl Nobody {
    pub(super) fn new(world: &World, socket: Option<Socket>, addr: SocketAddr) -> Self {
        let world = world.clone();
        Self {
            world,
            socket,
            addr,
        }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Now somebody does.
    pub(crate) fn listen(self) -> Listener {
        match self.socket {
            Some(socket) => Listener::new(&self.world, Listening::Socket(sockets::listen(socket))),
            None => self.world.listen(self.addr),
        }
    }
}

/// A listening socket of the test, for clients under test.
pub(crate) struct Listener {
    world: World,
    socket: Listening,
}

pub(super) enum Listening {
    Socket(std::net::TcpListener),
    #[cfg(feature = "sim")]
    Sim(wharf::sim::SimListener),
}

impl Listener {
    pub(super) fn new(world: &World, socket: Listening) -> Self {
        let world = world.clone();
        Self { world, socket }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        match &self.socket {
            Listening::Socket(socket) => socket.local_addr().unwrap(),
            #[cfg(feature = "sim")]
            Listening::Sim(listener) => listener.local_addr(),
        }
    }

    /// Takes a connection, if one waits.
    pub(crate) fn try_accept(&self) -> Option<Peer> {
        let wire = match &self.socket {
            Listening::Socket(socket) => Wire::Socket(sockets::accept(socket)?),
            #[cfg(feature = "sim")]
            Listening::Sim(listener) => Wire::Sim(listener.accept()?),
        };
        Some(Peer::new(&self.world, wire))
    }

    /// Waits for a connection and takes it.
    pub(crate) fn accept(&self) -> Peer {
        let mut peer = None;
        self.world.until("somebody connects", || {
            peer = self.try_accept();
            peer.is_some()
        });
        peer.unwrap()
    }
}

/// A peer. It reads only when it is told to; dropping it closes it.
pub(crate) struct Peer {
    world: World,
    wire: Wire,
    /// Read and not taken yet.
    pub(crate) inbox: Vec<u8>,
    /// How reading ended.
    pub(crate) end: Option<End>,
    /// Writing failed.
    pub(crate) broken: bool,
    /// This end has ended its direction.
    half_closed: bool,
}

impl Peer {
    pub(super) fn new(world: &World, wire: Wire) -> Self {
        Self {
            world: world.clone(),
            wire,
            inbox: Vec::new(),
            end: None,
            broken: false,
            half_closed: false,
        }
    }

    pub(crate) fn is_connected(&mut self) -> bool {
        match &self.wire {
            Wire::Socket(_) => true,
            #[cfg(feature = "sim")]
            Wire::Sim(peer) => peer.is_connected(),
        }
    }

    /// Whether its connect failed. On sockets that is an error of the connect itself.
    pub(crate) fn is_refused(&self) -> bool {
        match &self.wire {
            Wire::Socket(_) => false,
            #[cfg(feature = "sim")]
            Wire::Sim(peer) => {
                let refused = peer.write(&[]).map_err(|error| error.kind());
                refused == Err(std::io::ErrorKind::ConnectionRefused)
            }
        }
    }

    /// Its own address.
    pub(crate) fn addr(&self) -> SocketAddr {
        match &self.wire {
            Wire::Socket(stream) => stream.local_addr().unwrap(),
            #[cfg(feature = "sim")]
            Wire::Sim(peer) => peer.local_addr().unwrap(),
        }
    }

    /// Reads what is there; true if that was something.
    pub(crate) fn look(&mut self) -> bool {
        self.look_at_most(usize::MAX)
    }

    /// Reads what is there, at most so many bytes; true if that was something.
    pub(crate) fn look_at_most(&mut self, max: usize) -> bool {
        if self.end.is_some() {
            return false;
        }
        let got = match &self.wire {
            Wire::Socket(stream) => sockets::read(stream, &mut self.inbox, max),
            #[cfg(feature = "sim")]
            Wire::Sim(peer) => simulated::read(peer, &mut self.inbox, max),
        };
        if let Got::End(end) = got {
            let reset = match &self.wire {
                Wire::Socket(stream) => !self.half_closed && sockets::was_reset(stream),
                #[cfg(feature = "sim")]
                Wire::Sim(_) => false,
            };
            self.end = Some(if reset { End::Reset } else { end });
        }
        got != Got::Nothing
    }

    /// Writes what fits, and says how much that was; [`Self::broken`] if it failed.
    pub(crate) fn write_some(&mut self, bytes: &[u8]) -> usize {
        if self.broken || bytes.is_empty() {
            return 0;
        }
        let wrote = match &self.wire {
            Wire::Socket(stream) => sockets::write(stream, bytes),
            #[cfg(feature = "sim")]
            Wire::Sim(peer) => simulated::write(peer, bytes),
        };
        wrote.unwrap_or_else(|end| {
            self.broken = true;
            // A socket tells a reset to one call only: the next read would take it for an end.
            if matches!(self.wire, Wire::Socket(_)) && end == End::Reset {
                self.end.get_or_insert(end);
            }
            0
        })
    }

    /// Writes all, without reading.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        let (world, mut done) = (self.world.clone(), 0);
        world.until("a peer has written all", || {
            done += self.write_some(&bytes[done..]);
            assert!(!self.broken, "the connection broke while the peer wrote");
            done == bytes.len()
        });
    }

    /// Writes all or until the connection breaks, reading meanwhile.
    pub(crate) fn write_or_break(&mut self, bytes: &[u8]) {
        let (world, mut done) = (self.world.clone(), 0);
        world.until("a peer has written all or is cut off", || {
            self.look();
            done += self.write_some(&bytes[done..]);
            done == bytes.len() || self.broken || self.end == Some(End::Reset)
        });
    }

    /// Writes in random pieces, with time between them.
    pub(crate) fn write_in_pieces(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let count = 1 + self.world.below(rest.len());
            self.write(&rest[..count]);
            rest = &rest[count..];
            self.world.clone().nudge();
        }
    }

    /// One frame of the default framing.
    pub(crate) fn send(&mut self, payload: &[u8]) {
        self.write(&super::frame(payload));
    }

    /// Waits for so many bytes and takes them.
    pub(crate) fn read(&mut self, count: usize) -> Vec<u8> {
        let world = self.world.clone();
        world.until("a peer has read enough", || {
            self.look();
            let there = self.inbox.len();
            assert!(
                there >= count || self.end.is_none(),
                "the stream ended ({:?}) after {there} of {count} bytes",
                self.end
            );
            there >= count
        });
        self.inbox.drain(..count).collect()
    }

    /// Waits for a frame of the default framing and takes its payload.
    pub(crate) fn recv(&mut self) -> Vec<u8> {
        let head = self.read(2);
        let len = usize::from(u16::from_le_bytes([head[0], head[1]]));
        self.read(len - 2)
    }

    /// Takes the whole frames that were read so far.
    pub(crate) fn take_frames(&mut self) -> Vec<Vec<u8>> {
        let (mut frames, mut at) = (Vec::new(), 0);
        while let Some(head) = self.inbox.get(at..at + 2) {
            let len = usize::from(u16::from_le_bytes([head[0], head[1]]));
            let Some(frame) = self.inbox.get(at + 2..at + len) else {
                break;
            };
            frames.push(frame.to_vec());
            at += len;
        }
        self.inbox.drain(..at);
        frames
    }

    /// Sends a payload and waits for a frame.
    pub(crate) fn ask(&mut self, payload: &[u8]) -> Vec<u8> {
        self.send(payload);
        self.recv()
    }

    /// Reads to the end and says how that came; the bytes are in [`Self::inbox`].
    pub(crate) fn read_to_end(&mut self) -> End {
        let world = self.world.clone();
        world.until("a peer's stream has ended", || {
            while self.look() {}
            self.end.is_some()
        });
        self.end.unwrap()
    }

    /// The stream ends in good order.
    pub(crate) fn expect_fin(&mut self) {
        assert_eq!(self.read_to_end(), End::Fin, "the peer expected a FIN");
    }

    /// The stream ends with a reset.
    pub(crate) fn expect_reset(&mut self) {
        assert_eq!(self.read_to_end(), End::Reset, "the peer expected a reset");
    }

    /// Ends this direction; reading goes on.
    pub(crate) fn half_close(&mut self) {
        self.half_closed = true;
        match &self.wire {
            // Fails when the connection is gone.
            Wire::Socket(stream) => drop(stream.shutdown(std::net::Shutdown::Write)),
            #[cfg(feature = "sim")]
            Wire::Sim(peer) => peer.shutdown_write(),
        }
    }

    /// Breaks the connection with a reset.
    pub(crate) fn reset(self) {
        match &self.wire {
            Wire::Socket(stream) => sockets::reset_on_close(stream),
            #[cfg(feature = "sim")]
            Wire::Sim(peer) => peer.reset(),
        }
    }
}

#[cfg(feature = "sim")]
mod simulated {
    use std::io::{self, ErrorKind};

    use wharf::sim::SimPeer;

    use super::{End, Got};

    pub(super) fn read(peer: &SimPeer, into: &mut Vec<u8>, max: usize) -> Got {
        match peer.read_some(into, max) {
            Ok(0) if max > 0 => Got::End(End::Fin),
            Ok(_) => Got::Bytes,
            Err(error) => failed(&error),
        }
    }

    pub(super) fn write(peer: &SimPeer, bytes: &[u8]) -> Result<usize, End> {
        match peer.write(bytes) {
            Ok(count) => Ok(count),
            Err(error) => match failed(&error) {
                Got::End(end) => Err(end),
                _ => Ok(0),
            },
        }
    }

    fn failed(error: &io::Error) -> Got {
        match error.kind() {
            ErrorKind::WouldBlock => Got::Nothing,
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => Got::End(End::Reset),
            // Its connect has failed: there is nothing to read, now or ever.
            ErrorKind::ConnectionRefused => Got::Nothing,
            kind => panic!("a simulated peer failed: {kind:?}"),
        }
    }
}
