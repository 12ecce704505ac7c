//! Listeners, and how a connection comes to be.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::log::{Outcome, What};
use super::net::{Event, Id, World};
use super::pipe::Pipe;
use super::report::Registration;
use super::stream::{Phase, Stream};
use crate::port::contract::{Bits, ListenOptions, SocketOptions};

/// A listening socket.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) addr: SocketAddr,
    pub(super) backlog: usize,
    /// Connections that wait to be accepted: this side's ends.
    pub(super) waiting: VecDeque<Id>,
    /// Connects that wait for room in the backlog.
    held_up: VecDeque<Id>,
    dual_stack: bool,
    options: SocketOptions,
    /// It was disconnected: it accepts nothing any more.
    pub(super) down: bool,
    pub(super) registration: Option<Registration>,
    descriptor: bool,
}

impl Listener {
    /// Whether a connect to `addr` may end here.
    fn covers(&self, addr: SocketAddr) -> bool {
        self.addr == addr || wildcard_covers(self.addr, addr, self.dual_stack)
    }

    /// Whether another listener at `addr` would be in the way.
    fn conflicts(&self, addr: SocketAddr, dual_stack: bool) -> bool {
        self.covers(addr) || wildcard_covers(addr, self.addr, dual_stack)
    }
}

fn wildcard_covers(wildcard: SocketAddr, addr: SocketAddr, dual_stack: bool) -> bool {
    wildcard.port() == addr.port()
        && wildcard.ip().is_unspecified()
        && (wildcard.is_ipv4() == addr.is_ipv4() || (wildcard.is_ipv6() && dual_stack))
}

/// The address as a listener of `family` sees it.
fn seen_by(family: SocketAddr, addr: SocketAddr) -> SocketAddr {
    match addr.ip() {
        IpAddr::V4(ip) if family.is_ipv6() => (ip.to_ipv6_mapped(), addr.port()).into(),
        _ => addr,
    }
}

/// The source address of a connect that does not choose one.
pub(super) fn loopback(to: SocketAddr) -> IpAddr {
    match to {
        SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    }
}

impl World {
    /// Whether a listener at this very address or a wildcard of its port is in the way.
    pub(super) fn listens_at(&self, addr: SocketAddr) -> bool {
        self.listeners
            .values()
            .any(|listener| listener.conflicts(addr, true))
    }

    /// Who takes a connect to `addr`: the exact address before a wildcard.
    fn listener_for(&self, addr: SocketAddr) -> Option<Id> {
        let open = || self.listeners.iter().filter(|(_, listener)| !listener.down);
        let exact = open().find(|(_, listener)| listener.addr == addr);
        exact
            .or_else(|| open().find(|(_, listener)| listener.covers(addr)))
            .map(|(id, _)| *id)
    }

    pub(super) fn listen(
        &mut self,
        addr: SocketAddr,
        options: &ListenOptions,
        descriptor: bool,
    ) -> io::Result<Id> {
        let addr = match addr.port() {
            0 => self.free_addr(addr.ip()).ok_or(ErrorKind::AddrInUse)?,
            _ => addr,
        };
        if self
            .listeners
            .values()
            .any(|other| other.conflicts(addr, options.dual_stack))
        {
            return Err(ErrorKind::AddrInUse.into());
        }
        if descriptor {
            self.take_descriptor()?;
        }
        let id = self.next_id();
        let listener = Listener {
            addr,
            backlog: usize::try_from(options.backlog).unwrap_or(usize::MAX),
            waiting: VecDeque::new(),
            held_up: VecDeque::new(),
            dual_stack: options.dual_stack,
            options: options.socket.clone(),
            down: false,
            registration: None,
            descriptor,
        };
        self.listeners.insert(id, listener);
        self.note(What::Called("listen", id, Outcome::Done));
        Ok(id)
    }

    /// Starts to connect from `ip`.
    pub(super) fn connect(
        &mut self,
        ip: IpAddr,
        to: SocketAddr,
        options: &SocketOptions,
        descriptor: bool,
    ) -> io::Result<Id> {
        let local = self.take_local(ip)?;
        if descriptor && let Err(error) = self.take_descriptor() {
            self.free_local(&local);
            return Err(error);
        }
        let mut stream = Stream::new(local, to, Phase::Connecting);
        stream.options = options.clone();
        stream.descriptor = descriptor;
        stream.own_local = true;
        let id = self.next_id();
        self.streams.insert(id, stream);
        self.note(What::Called("connect", id, Outcome::Done));
        let at = self.now + self.some_time(self.faults.delay_max);
        self.plan(at, Event::Connect(id));
        Ok(id)
    }

    /// The connect of `id` reaches the address it is for.
    pub(super) fn end_connect(&mut self, id: Id) {
        let Some(stream) = self.stream(id) else {
            return;
        };
        if stream.phase != Phase::Connecting {
            return;
        }
        let (from, to) = (stream.local, stream.remote);
        let Some(at) = self.listener_for(to) else {
            return self.fail_connect(id, ErrorKind::ConnectionRefused);
        };
        let Some(listener) = self.listener(at) else {
            return;
        };
        if listener.waiting.len() >= listener.backlog {
            listener.held_up.push_back(id);
            self.forget_closed(at);
            return self.fault("the backlog is full; the connect waits", id);
        }
        let (local, remote) = (seen_by(listener.addr, to), seen_by(listener.addr, from));
        let server = self.next_id();
        self.streams
            .insert(server, Stream::new(local, remote, Phase::Open));
        self.join(id, server, at);
        self.note(What::Connected(id, server));
        self.report(id, Bits::WRITE);
        self.report(at, Bits::READ);
    }

    /// Keeps the list of held up connects bounded by the streams that there are: a client that
    /// gives up and tries again for ever leaves its closed ones in it.
    fn forget_closed(&mut self, listener: Id) {
        let streams = &self.streams;
        if let Some(listener) = self.listeners.get_mut(&listener)
            && listener.held_up.len() > 2 * streams.len()
        {
            listener.held_up.retain(|id| streams.contains_key(id));
        }
    }

    /// Makes the two streams the ends of one connection that waits at `listener`.
    fn join(&mut self, client: Id, server: Id, listener: Id) {
        let (to_client, to_server) = (self.pipe_bytes(), self.pipe_bytes());
        let Some(listener) = self.listener(listener) else {
            return;
        };
        listener.waiting.push_back(server);
        let options = listener.options.clone();
        if let Some(stream) = self.stream(client) {
            stream.phase = Phase::Open;
            stream.peer = Some(server);
            stream.rx = Pipe::new(to_client);
        }
        if let Some(stream) = self.stream(server) {
            stream.peer = Some(client);
            stream.rx = Pipe::new(to_server);
            stream.options = options;
        }
        self.limit_pipes(client);
        self.limit_pipes(server);
    }

    /// How many bytes a pipe of a new connection holds.
    fn pipe_bytes(&mut self) -> usize {
        if self.coin(self.faults.small_pipes) {
            let magnitude = 1_usize << self.rng.u32(0..=16);
            return self.rng.usize(magnitude.div_ceil(2)..=magnitude);
        }
        self.faults.pipe_bytes
    }

    /// Applies the buffer sizes that the options of `id` ask for.
    fn limit_pipes(&mut self, id: Id) {
        let Some(stream) = self.stream(id) else {
            return;
        };
        if let Some(bytes) = stream.options.recv_buffer_bytes {
            stream.rx.limit(bytes);
        }
        let (peer, out) = (stream.peer, stream.options.send_buffer_bytes);
        if let Some(bytes) = out
            && let Some(peer) = peer.and_then(|peer| self.stream(peer))
        {
            peer.rx.limit(bytes);
        }
    }

    /// Takes a waiting connection as a port does; gives its peer's address too.
    pub(super) fn accept_noted(
        &mut self,
        id: Id,
        options: &SocketOptions,
    ) -> io::Result<(Id, SocketAddr)> {
        let result = self.accept(id, options);
        let outcome = match &result {
            Ok(stream) => Outcome::Id(*stream),
            Err(error) => Outcome::Failed(error.kind()),
        };
        self.note(What::Called("accept", id, outcome));
        let stream = result?;
        let remote = self.stream(stream).map(|stream| stream.remote);
        Ok((stream, remote.ok_or(ErrorKind::ConnectionAborted)?))
    }

    fn accept(&mut self, id: Id, options: &SocketOptions) -> io::Result<Id> {
        let listener = self.listener(id).ok_or(ErrorKind::InvalidInput)?;
        if listener.down {
            return Err(ErrorKind::InvalidInput.into());
        }
        let waits = !listener.waiting.is_empty();
        // As Linux: the descriptor is asked for before anyone looks whether something waits.
        self.take_descriptor()?;
        if waits && self.coin(self.faults.would_block) {
            self.descriptors -= 1;
            self.fault("spurious WouldBlock of accept", id);
            self.report(id, Bits::READ);
            return Err(ErrorKind::WouldBlock.into());
        }
        if waits && self.coin(self.faults.accept_aborts) {
            // Of a connection that only the backlog knew: those of the test stay whole.
            self.descriptors -= 1;
            self.fault("a stranger left before its accept", id);
            return Err(ErrorKind::ConnectionAborted.into());
        }
        let Some(stream) = self.take_waiting(id) else {
            self.descriptors -= 1;
            return Err(ErrorKind::WouldBlock.into());
        };
        if let Some(stream) = self.stream(stream) {
            stream.descriptor = true;
            stream.options = options.clone();
        }
        self.limit_pipes(stream);
        Ok(stream)
    }

    /// Takes a waiting connection, and lets a connect in that waited for its place.
    pub(super) fn take_waiting(&mut self, id: Id) -> Option<Id> {
        let listener = self.listener(id)?;
        let stream = listener.waiting.pop_front()?;
        self.let_in(id);
        Some(stream)
    }

    /// Sets how many connections may wait, and lets those in that waited for room.
    pub(super) fn set_backlog(&mut self, id: Id, backlog: usize) {
        if let Some(listener) = self.listener(id) {
            listener.backlog = backlog;
            self.let_in(id);
        }
    }

    /// Plans the connects for which there is room now.
    fn let_in(&mut self, id: Id) {
        let Some(listener) = self.listener(id) else {
            return;
        };
        // All of them: some may be closed by now, and one that finds no room just waits again.
        let held_up = std::mem::take(&mut listener.held_up);
        for connect in held_up {
            self.plan(self.now, Event::Connect(connect));
        }
    }

    fn drop_waiting(&mut self, stream: Id) {
        self.reset_on_close(stream);
        self.close_stream(stream);
    }

    /// Stops listening: who waits sees a reset, who is on the way is refused.
    pub(super) fn disconnect_listener(&mut self, id: Id) {
        let Some(listener) = self.listener(id) else {
            return;
        };
        listener.down = true;
        for stream in std::mem::take(&mut listener.waiting) {
            self.drop_waiting(stream);
        }
        self.let_in(id);
        self.report(id, Bits::READ.with(Bits::HANGUP));
    }

    /// The owner of the listener is gone.
    pub(super) fn close_listener(&mut self, id: Id) {
        self.disconnect_listener(id);
        self.stale_report(id);
        if let Some(listener) = self.listeners.remove(&id)
            && listener.descriptor
        {
            self.descriptors -= 1;
        }
    }
}
