//! The contract that every backend signs: what it provides, when it is called, what holds after.
//!
//! It is about *readiness*. A backend says which registered thing may make progress, and offers
//! non-blocking calls that make it. It never calls user code, keeps no session state, and knows
//! nothing of lanes or turns: `port/worker.rs` turns what it reports into turns.
//!
//! One instance belongs to one port and is shared by all of its workers and by every thread that
//! sends, so each method takes `&self`. `port/conformance.rs` holds every backend to the clauses
//! below; a backend passes it unchanged or it is not one.
//!
//! 1. **Edges.** After [`Sockets::register`], each transition to readable, writable, hung up or
//!    failed is reported at least once by some worker's [`Backend::wait`]; what already holds when
//!    the token is registered is reported too. Reports may be late, doubled or spurious, never
//!    missing: a `recv` or `send` that said `WouldBlock` is followed by a report when it would
//!    work, and so is a `recv` that filled less than its buffer, for whatever it left or comes
//!    later. Nothing is ever re-armed.
//! 2. **Any worker.** A report goes to exactly one waiting worker, whichever is free.
//! 3. **Tokens.** A report carries the token of its registration. After the socket is closed a
//!    late report may still arrive: the port's table tells by the generation that it is old.
//! 4. **Bytes.** In order, no loss, no invention. `recv` returns 0 only at the peer's end of
//!    stream and for an empty buffer; a reset is an error of kind `ConnectionReset`, never 0.
//! 5. **Send.** Takes a prefix of the bytes, perhaps all; once the peer is gone it fails with
//!    `BrokenPipe`, `ConnectionReset` or `NotConnected`, and no signal is raised.
//! 6. **Close** is dropping the [`Socket`]. Bytes taken by `send` are still delivered, unless
//!    [`Sockets::reset_on_close`] was called, which makes the peer see a reset.
//! 7. **Wake.** After [`Backend::wake`], some worker's `wait` returns with [`Token::WAKE`], soon.
//!    Wakes coalesce; each wake after a harvested one is seen again.
//! 8. **Timer.** One per backend; after [`Backend::set_timer`], some `wait` returns with
//!    [`Token::TIMER`] once `now` has reached the moment, not before. Setting it again replaces it.
//! 9. **Batch.** [`Sockets::send_batch`] is so many sends, perhaps in fewer system calls: each ends
//!    as clause 5 says, and the kernel has let go of all buffers when the call returns.
//! 10. **Retire.** [`Backend::retire`] is called when no worker will wait any more. Soon after the
//!     moment that it is given it returns, and nothing of a closed socket is open or in the hands
//!     of the system, whoever keeps the backend; what is closed later is closed at once.

use std::io::{self, IoSlice};
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use super::names::Found;
use super::socket::Socket;
use crate::time::Time;

/// What a registered socket reports under: a slot of the port's table and the slot's generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Token(u64);

impl Token {
    /// The report of [`Backend::wake`].
    pub(crate) const WAKE: Self = Self(u64::MAX);
    /// The report of [`Backend::set_timer`].
    pub(crate) const TIMER: Self = Self(u64::MAX - 1);

    /// The token of a slot in its `generation`-th use.
    #[must_use]
    pub(crate) const fn new(slot: u32, generation: u32) -> Self {
        Self((generation as u64) << 32 | slot as u64)
    }

    /// The token with these bits, as [`Self::bits`] gave them.
    #[must_use]
    pub(crate) const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// All 64 bits: what a kernel queue carries for us.
    #[must_use]
    pub(crate) const fn bits(self) -> u64 {
        self.0
    }

    /// The slot.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "the low half is the slot")]
    pub(crate) const fn slot(self) -> u32 {
        self.0 as u32
    }

    /// Which use of the slot it is.
    #[must_use]
    pub(crate) const fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

/// What a report says may now be possible. A set of the five bits below.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bits(pub(crate) u8);

impl Bits {
    /// Bytes, an end of stream or an error may be read; a listener may accept.
    pub(crate) const READ: Self = Self(1);
    /// The socket may take bytes; a connect has ended.
    pub(crate) const WRITE: Self = Self(2);
    /// The peer has ended its stream.
    pub(crate) const READ_HANGUP: Self = Self(4);
    /// Both directions have ended.
    pub(crate) const HANGUP: Self = Self(8);
    /// The socket has failed; the next call on it says how.
    pub(crate) const ERROR: Self = Self(16);

    /// Both sets together.
    #[must_use]
    pub(crate) const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether any bit of `other` is in this set.
    #[must_use]
    pub(crate) const fn any(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// One report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ready {
    /// Who.
    pub(crate) token: Token,
    /// What may be possible now.
    pub(crate) bits: Bits,
}

/// Options set on every stream socket before it serves; `None` leaves the system's default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketOptions {
    /// Send small segments at once (`TCP_NODELAY`). Default: true.
    pub nodelay: bool,
    /// Probe a silent peer after this long (`SO_KEEPALIVE`). Default: none.
    pub keepalive: Option<Duration>,
    /// Kernel send buffer in bytes. Default: the system's, which tunes itself.
    pub send_buffer_bytes: Option<usize>,
    /// Kernel receive buffer in bytes. Default: the system's, which tunes itself.
    pub recv_buffer_bytes: Option<usize>,
}

impl Default for SocketOptions {
    fn default() -> Self {
        Self {
            nodelay: true,
            keepalive: None,
            send_buffer_bytes: None,
            recv_buffer_bytes: None,
        }
    }
}

/// How a listening socket is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenOptions {
    /// Connections the kernel may hold before they are accepted. Default: 1024.
    pub backlog: u32,
    /// For an IPv6 wildcard: accept IPv4 peers too, as v4-mapped addresses. Default: true.
    pub dual_stack: bool,
    /// Set on the listener and so inherited by what it accepts.
    pub socket: SocketOptions,
    /// Windows: accepts that are kept under way, from 1 to 1024, each with a socket of its own. As
    /// many connections may arrive at once without waiting for a worker. Default: 32. Other
    /// systems have no such thing, and no use for the number.
    pub accepts_outstanding: u32,
}

impl Default for ListenOptions {
    fn default() -> Self {
        Self {
            backlog: 1024,
            dual_stack: true,
            socket: SocketOptions::default(),
            accepts_outstanding: 32,
        }
    }
}

/// How long [`Backend::wait`] may sleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Not at all: report what is there.
    Poll,
    /// Until something is reported.
    Block,
}

/// A place where a port's workers sleep until there is something to do, and what belongs to it. A
/// pool needs no more. The module's documentation numbers the clauses that hold for all of it.
pub(crate) trait Backend: Send + Sync + 'static {
    /// Its name in `WHARF_BACKEND`, logs and `wharf doctor`.
    fn name(&self) -> &'static str;

    /// The clock of this port and of all others that it shares a host with.
    fn now(&self) -> Time;

    /// Appends at most `max` reports to `out` (clauses 1 to 3, 7, 8). An interrupted sleep is an
    /// empty harvest, not an error.
    ///
    /// # Errors
    /// Only a queue that is broken beyond use; what hangs on it ends then (`port/broken.rs`).
    fn wait(&self, out: &mut Vec<Ready>, max: usize, how: Wait) -> io::Result<()>;

    /// Ends some worker's sleep (clause 7). Callable from any thread.
    fn wake(&self);

    /// Sets, replaces (`Some`) or clears (`None`) the timer (clause 8).
    fn set_timer(&self, at: Option<Time>);

    /// Nobody waits any more (clause 10); what `send` has taken may still go out until then.
    fn retire(&self, until: Time) {
        // Where the system itself sees to what was closed, nothing is left to do.
        let _ = until;
    }

    /// Whether time passes by itself: a simulation's thread must not sleep.
    fn is_real_time(&self) -> bool {
        true
    }

    /// Whether the kernel wakes a sleeping worker for what comes while others work, and short naps
    /// are possible: then a worker without work naps while its siblings get on.
    fn wakes_for_each(&self) -> bool {
        false
    }

    /// A number to seed a source of randomness with: another each time and in each process, but in
    /// the simulation the same for the same seed.
    fn entropy(&self) -> u64;
}

/// One write of a batch.
pub(crate) struct Write<'a> {
    /// Where to.
    pub(crate) socket: &'a Socket,
    /// What: at most [`GATHER_MAX`] buffers.
    pub(crate) from: &'a [IoSlice<'a>],
    /// How it ended, once it was made.
    pub(crate) wrote: io::Result<usize>,
}

/// A backend that reports sockets, and the calls on them.
pub(crate) trait Sockets: Backend {
    /// A socket bound to `addr` and listening, not registered yet.
    ///
    /// # Errors
    /// What the system said: address in use, not available, permission, no descriptors.
    fn listen(&self, addr: SocketAddr, options: &ListenOptions) -> io::Result<Socket>;

    /// A listener that somebody else has bound, as if [`Self::listen`] had made it.
    ///
    /// # Errors
    /// What the system said; `Unsupported` where no listener comes from elsewhere.
    fn adopt(&self, listener: TcpListener, options: &ListenOptions) -> io::Result<Socket> {
        let _ = (listener, options);
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Another handle to the listener's socket, to be passed on.
    ///
    /// # Errors
    /// As of [`Self::adopt`].
    fn share(&self, listener: &Socket) -> io::Result<TcpListener> {
        let _ = listener;
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Starts to connect. The end of it is reported as writable, hung up or failed after
    /// [`Self::register`]; then [`Self::connect_result`] says which.
    ///
    /// # Errors
    /// What failed at once: no descriptors, no route.
    fn connect(&self, addr: SocketAddr, options: &SocketOptions) -> io::Result<Socket>;

    /// Has the socket reported under `token` from now on (clause 1). Once a socket.
    ///
    /// # Errors
    /// No memory, or too many watches for this user.
    fn register(&self, token: Token, socket: &Socket) -> io::Result<()>;

    /// Takes one waiting connection and its peer's address.
    ///
    /// # Errors
    /// `WouldBlock` when none waits; otherwise what the system said. An error that belongs to the
    /// one connection (`ConnectionAborted`) says nothing about the next.
    fn accept(
        &self,
        listener: &Socket,
        options: &SocketOptions,
    ) -> io::Result<(Socket, SocketAddr)>;

    /// How the connect ended.
    ///
    /// # Errors
    /// Why it failed; `WouldBlock` if it has not ended yet.
    fn connect_result(&self, socket: &Socket) -> io::Result<()>;

    /// Reads into `into` (clause 4).
    ///
    /// # Errors
    /// `WouldBlock`, or how the stream failed.
    fn recv(&self, socket: &Socket, into: &mut [u8]) -> io::Result<usize>;

    /// Writes the buffers, gathered (clause 5). At most [`GATHER_MAX`] of them.
    ///
    /// # Errors
    /// `WouldBlock`, or how the stream failed.
    fn send(&self, socket: &Socket, from: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Whether [`Self::send_batch`] saves anything over as many sends.
    fn sends_together(&self) -> bool {
        false
    }

    /// Makes all of these writes, each to another socket, and notes how each ended (clause 9). At
    /// most [`BATCH_MAX`] of them.
    fn send_batch(&self, writes: &mut [Write<'_>]) {
        for write in writes {
            write.wrote = self.send(write.socket, write.from);
        }
    }

    /// Ends our direction of the stream; the peer reads to the end of it.
    fn shutdown_write(&self, socket: &Socket);

    /// Breaks the connection now, in both directions, the peer seeing a reset where the system can
    /// do so. The socket stays open: only its owner closes it (R8). Callable from any thread.
    fn disconnect(&self, socket: &Socket);

    /// Makes the coming close a reset instead of an end of stream (clause 6).
    fn reset_on_close(&self, socket: &Socket);

    /// The failure that the system noted on the socket, if any, taken from it.
    fn take_error(&self, socket: &Socket) -> Option<io::Error>;

    /// The address of our end.
    ///
    /// # Errors
    /// What the system said.
    fn local_addr(&self, socket: &Socket) -> io::Result<SocketAddr>;

    /// Asks what each of these `host:port` stands for, without waiting: `found` is told later, from
    /// a thread that is no worker.
    fn look_up(&self, names: Vec<String>, found: Found) {
        super::names::look_up(names, found);
    }
}

/// The most buffers one [`Sockets::send`] takes. 64 is far past the point where another buffer
/// still lowers the cost of a call, and every system takes it (Linux and Wine 1024, Windows more).
pub(crate) const GATHER_MAX: usize = 64;

/// The most writes one [`Sockets::send_batch`] takes.
pub(crate) const BATCH_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_keeps_slot_and_generation_apart() {
        let token = Token::new(7, 0x8000_0001);
        assert_eq!((token.slot(), token.generation()), (7, 0x8000_0001));
        assert_eq!(Token::from_bits(token.bits()), token);
    }
}
