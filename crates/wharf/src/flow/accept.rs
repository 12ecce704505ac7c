//! Accept: a connection becomes a session, or a refusal with its counter. Port work: no user code.

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;

use crate::error::CloseReason;
use crate::handler::Handler;
use crate::network::{NetworkCore, Refusal};
use crate::port::{Bits, Served, Socket, Token};
use crate::say::say;
use crate::session::core::{Phase, SessionCore};
use crate::session::queue::CloseHow;
use crate::session::word::{self, Word};
use crate::time::Time;

/// Connections taken before other work has its turn.
const ACCEPTS_PER_WORK: usize = 4;
/// Pauses after the system had no descriptor for us, doubled each time.
const BACKOFF_FIRST: Duration = Duration::from_millis(10);
const BACKOFF_MAX: Duration = Duration::from_millis(500);

/// A listening socket. The word gives its right to one worker at a time, as a session's does;
/// `PAUSED` is `pause_accept`, `CHOKED` the wait for descriptors.
pub(crate) struct Listener<H: Handler> {
    pub(crate) token: Token,
    net: Arc<NetworkCore<H>>,
    word: Word,
    /// The socket and the next backoff; locked by the holder of the word's right alone.
    inner: Mutex<Inner>,
}

struct Inner {
    socket: Option<Socket>,
    backoff: Duration,
}

impl<H: Handler> Listener<H> {
    /// Around a listening socket.
    pub(crate) fn new(token: Token, net: Arc<NetworkCore<H>>, socket: Socket) -> Self {
        let inner = Inner {
            socket: Some(socket),
            backoff: BACKOFF_FIRST,
        };
        Self {
            token,
            net,
            word: Word::new(0),
            inner: Mutex::new(inner),
        }
    }

    /// Whether it is closed, and what it accepted counts among the live.
    pub(crate) fn is_closed(&self) -> bool {
        self.word.has(word::DEAD)
    }

    /// Another handle to its socket; `None` once it is closed.
    pub(crate) fn share(&self) -> Option<io::Result<TcpListener>> {
        let inner = self.inner.lock();
        let socket = inner.socket.as_ref()?;
        Some(self.net.sockets.share(socket))
    }

    /// Has it reported from now on.
    pub(crate) fn register(&self) -> io::Result<()> {
        match &self.inner.lock().socket {
            Some(socket) => self.net.sockets.register(self.token, socket),
            None => Ok(()),
        }
    }

    /// `pause_accept` and `resume_accept`. What waits in the kernel meanwhile is served on resume:
    /// no further edge will come for it (R3).
    pub(crate) fn pause(self: &Arc<Self>, pause: bool) {
        if pause {
            self.word.mark(word::PAUSED);
        } else if self.word.lower(word::PAUSED) {
            self.net.port.push_work(self.as_served());
        }
    }

    fn as_served(self: &Arc<Self>) -> Arc<dyn Served> {
        Arc::<Self>::clone(self)
    }

    fn accept_some(self: &Arc<Self>, now: Time) {
        let mut inner = self.inner.lock();
        if self.word.has(word::SHUT) {
            inner.socket = None;
            self.word.mark(word::DEAD);
            self.net.port.disarm(self.token);
            self.net.port.table.remove(self.token);
            return;
        }
        if self.word.has(word::PAUSED | word::CHOKED) || self.word.take(word::READABLE) == 0 {
            return;
        }
        let Inner {
            socket: Some(socket),
            backoff,
        } = &mut *inner
        else {
            return;
        };
        for _ in 0..self.net.accepts() {
            if self.word.has(word::PAUSED | word::SHUT) {
                break;
            }
            match self.net.sockets.accept(socket, &self.net.options.socket) {
                Ok((socket, peer)) => {
                    *backoff = BACKOFF_FIRST;
                    self.net.admit(socket, peer, now);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if is_of_one_connection(&error) => {
                    self.net.count_refusal(Refusal::Aborted);
                }
                Err(error) => {
                    self.back_off(backoff, &error, now);
                    return;
                }
            }
        }
        self.word.mark(word::READABLE);
    }

    /// No descriptors or no memory: the connection stays in the kernel's backlog, and we ask again
    /// in a while instead of at once.
    fn back_off(&self, backoff: &mut Duration, error: &io::Error, now: Time) {
        self.net
            .events
            .accept_backoffs
            .fetch_add(1, Ordering::Relaxed);
        if *backoff == BACKOFF_FIRST {
            say!(warn, network = %self.net.name, %error,
                "accept failed; serving on, and trying again; {}, or lower sessions_max",
                crate::port::system::more_open_files());
        }
        self.word.mark(word::CHOKED | word::READABLE);
        self.net.port.arm(self.token, now + *backoff);
        *backoff = (*backoff * 2).min(BACKOFF_MAX);
    }
}

/// Whether the error says nothing about the next accept: the peer left before it was taken.
/// accept(2) names the network errors that Linux passes on from the new connection.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::NetworkDown
            | io::ErrorKind::PermissionDenied
            | io::ErrorKind::TimedOut
    )
}

impl<H: Handler> NetworkCore<H> {
    /// How many connections to take now. Each queues a turn, before whoever speaks next; so in a
    /// storm they come at the pace of the turns. A pool's turns are others' to run: a worker that
    /// came back for its listener would come in vain.
    fn accepts(&self) -> usize {
        if !Arc::ptr_eq(&self.port, &self.turns) {
            return ACCEPTS_PER_WORK;
        }
        let mut queue = self.port.queue.lock();
        queue.newcomers(self.lane, ACCEPTS_PER_WORK)
    }

    /// Makes a session of an accepted socket, or refuses it.
    fn admit(self: &Arc<Self>, socket: Socket, peer: std::net::SocketAddr, now: Time) {
        self.events.accepted.fetch_add(1, Ordering::Relaxed);
        // Behind a balancer the address is another's.
        if !self.options.proxy_protocol && !self.connects.admit(peer.ip(), now) {
            return self.count_refusal(Refusal::ConnectRate);
        }
        if self.memory.refuses_sessions() {
            return self.count_refusal(Refusal::Memory);
        }
        if !self.take_place() {
            return self.count_refusal(Refusal::SessionsMax);
        }
        // After the place is taken: a stop that saw none taken must be seen here.
        if self.is_stopping() {
            self.give_place();
            return self.count_refusal(Refusal::Stopping);
        }
        let phase = if self.options.proxy_protocol {
            Phase::Preamble
        } else {
            Phase::Opening
        };
        if phase == Phase::Opening && !self.addresses.admit(peer.ip()) {
            self.give_place();
            return self.count_refusal(Refusal::SessionsPerAddress);
        }
        let handshake = self.options.timeouts.handshake.map(|timeout| now + timeout);
        if let Some(session) = self.insert_session(None, socket, peer, phase, handshake) {
            session.raise(word::START, now);
        }
    }

    /// Puts a session into the table and has its socket reported; its connect, if it has a link, or
    /// else its handshake must end by `by`. The caller holds a place.
    pub(super) fn insert_session(
        self: &Arc<Self>,
        link: Option<Arc<crate::network::Link<H>>>,
        socket: Socket,
        peer: std::net::SocketAddr,
        phase: Phase,
        by: Option<Time>,
    ) -> Option<Arc<SessionCore<H>>> {
        let mut made = None;
        let inserted = self.port.table.insert(|token| {
            let net = Arc::clone(self);
            let core = Arc::new(SessionCore::new(token, net, link, socket, peer, phase));
            made = Some(Arc::clone(&core));
            core
        });
        let session = made.filter(|_| inserted.is_some());
        let registered = session.as_ref().map(|session| {
            // Before the first report: a turn may follow it on another worker at once, and what it
            // sets must not be overwritten.
            session.deadlines.begin(phase == Phase::Connecting, by);
            if let Some(at) = by {
                self.port.arm(session.token, at);
            }
            let flush = session.flush.lock();
            let socket = flush.socket.as_ref().ok_or(io::ErrorKind::NotConnected)?;
            self.sockets.register(session.token, socket)
        });
        match registered {
            Some(Ok(())) => {
                // A stop that looked through the table before this session was in it.
                if let Some(session) = session.as_ref().filter(|_| self.is_stopping()) {
                    session.close(CloseHow::Graceful, CloseReason::Shutdown);
                }
                // The same of a queue that failed meanwhile.
                if let Some(session) = session.as_ref().filter(|_| self.port.is_broken()) {
                    session.close(CloseHow::Abort, CloseReason::Io(io::ErrorKind::Other));
                }
                session
            }
            failed => {
                match session {
                    Some(session) => session.unmake(),
                    None => {
                        self.give_place();
                        if phase == Phase::Opening {
                            self.addresses.release(peer.ip());
                        }
                    }
                }
                if let Some(Err(error)) = failed {
                    say!(warn, network = %self.name, %error, "a socket could not be watched");
                }
                self.count_refusal(Refusal::System);
                None
            }
        }
    }
}

impl<H: Handler> SessionCore<H> {
    /// It could not be watched: gives back what it counts for, unless a stop has found it in the
    /// table meanwhile and did.
    fn unmake(&self) {
        self.word.mark(word::DEAD | word::SHUT);
        self.net.port.disarm(self.token);
        self.net.port.table.remove(self.token);
        let mut turn = self.turn.lock();
        turn.socket = None;
        if std::mem::replace(&mut turn.phase, Phase::Closed) != Phase::Closed {
            self.release_address(turn.admitted);
            self.net.give_place();
        }
    }

    /// Behind a balancer the client's address is known only now: counts it, or refuses.
    pub(super) fn admit_address(&self, now: Time) -> bool {
        let ip = self.peer().ip();
        let refusal = if !self.net.connects.admit(ip, now) {
            Refusal::ConnectRate
        } else if !self.net.addresses.admit(ip) {
            Refusal::SessionsPerAddress
        } else {
            return true;
        };
        self.net.count_refusal(refusal);
        false
    }
}

impl<H: Handler> Served for Listener<H> {
    fn ready(self: Arc<Self>, bits: Bits, _: Time, _: &mut Vec<Arc<dyn Served>>) {
        if bits.any(Bits::READ.with(Bits::ERROR)) && self.word.raise(word::READABLE) {
            let port = Arc::clone(&self.net.port);
            port.push_work(self);
        }
    }

    fn work(self: Arc<Self>, now: Time) {
        self.word.begin_turn();
        self.accept_some(now);
        if self.word.end_turn() {
            let port = Arc::clone(&self.net.port);
            port.push_work(self);
        }
    }

    fn timer(self: Arc<Self>, _: Time) {
        if self.word.lower(word::CHOKED) {
            let port = Arc::clone(&self.net.port);
            port.push_work(self);
        }
    }

    fn identity(&self) -> (u64, usize) {
        (0, self.net.index)
    }

    fn shutdown(self: Arc<Self>, _: bool) {
        self.word.mark(word::SHUT);
        if self.word.raise(word::CLOSING) {
            let port = Arc::clone(&self.net.port);
            port.push_work(self);
        }
    }

    fn unreported(self: Arc<Self>, _: io::ErrorKind) {
        self.shutdown(true);
    }

    fn discard(self: Arc<Self>) {
        if let Some(mut inner) = self.inner.try_lock() {
            inner.socket = None;
        }
    }
}
