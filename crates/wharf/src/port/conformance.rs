//! The clauses of [`contract`](super::contract) as one suite, which every backend passes unchanged.
//!
//! A new backend adds one line at the end of this file. What a backend needs to be tested is a
//! [`World`]: the simulated network moves only when it is driven, a real one by itself.

mod connections;
mod edges;
mod streams;
mod waiting;

use std::cell::RefCell;
use std::io::{self, ErrorKind, IoSlice};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::contract::{Bits, ListenOptions, Ready, SocketOptions, Sockets, Token, Wait, Write};
use super::core::PortCore;
use super::current;
use super::parking::Parking;
use super::sim::{Faults, Sim};
use super::socket::Socket;

/// What is around a backend under test.
trait World {
    /// Lets what is under way arrive, as far as it does without anybody's help.
    fn settle(&self);

    /// Lets this much of the backend's time pass.
    fn pass(&self, time: Duration);

    /// Whether a wait sleeps; the simulated one is called only when there is something.
    fn sleeps(&self) -> bool;

    /// Whether reports may be doubled or come for nothing.
    fn is_faulty(&self) -> bool;
}

/// The machine's own network.
struct Machine;

impl World for Machine {
    fn settle(&self) {
        std::thread::park_timeout(Duration::from_millis(1));
    }

    fn pass(&self, time: Duration) {
        let end = Instant::now() + time;
        while let Some(left) = end.checked_duration_since(Instant::now()) {
            std::thread::park_timeout(left);
        }
    }

    fn sleeps(&self) -> bool {
        true
    }

    fn is_faulty(&self) -> bool {
        false
    }
}

struct Simulated {
    sim: Sim,
    is_faulty: bool,
}

impl World for Simulated {
    fn settle(&self) {
        // Not to the end: that would make every timer fire.
        self.sim.run_for(Duration::from_micros(200)).unwrap();
    }

    fn pass(&self, time: Duration) {
        self.sim.run_for(time).unwrap();
    }

    fn sleeps(&self) -> bool {
        false
    }

    fn is_faulty(&self) -> bool {
        self.is_faulty
    }
}

/// How long a test waits for what the contract promises.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long it looks whether something happens that must not.
const SILENCE: Duration = Duration::from_millis(30);

const CLIENT: Token = Token::new(1, 7);
const SERVER: Token = Token::new(2, 9);
const LISTENER: Token = Token::new(3, 11);

const IPV4: &str = "127.0.0.1:0";
const IPV6: &str = "[::1]:0";

/// A backend and its world.
struct Rig {
    port: Arc<dyn Sockets>,
    /// Another one in the same world.
    open: Box<dyn Fn() -> Arc<dyn Sockets>>,
    world: Box<dyn World>,
    /// Reported and not asked for yet.
    seen: RefCell<Vec<Ready>>,
}

/// Both ends of a connection, registered as [`CLIENT`] and [`SERVER`].
struct Pair {
    client: Socket,
    server: Socket,
}

impl Rig {
    fn new(open: impl Fn() -> Arc<dyn Sockets> + 'static, world: impl World + 'static) -> Self {
        Self {
            port: open(),
            open: Box::new(open),
            world: Box::new(world),
            seen: RefCell::default(),
        }
    }

    #[cfg(target_os = "linux")]
    fn epoll() -> Self {
        Self::new(|| Arc::new(super::epoll::Epoll::open().unwrap()), Machine)
    }

    #[cfg(target_os = "linux")]
    fn uring() -> Option<Self> {
        match super::uring::Uring::open() {
            Ok(_) => Some(Self::new(
                || Arc::new(super::uring::Uring::open().unwrap()),
                Machine,
            )),
            // What a kernel or a container may refuse.
            Err(error) => {
                skipped(&error);
                None
            }
        }
    }

    #[cfg(target_os = "macos")]
    fn kqueue() -> Self {
        Self::new(|| Arc::new(super::kqueue::Kqueue::open().unwrap()), Machine)
    }

    #[cfg(windows)]
    fn iocp() -> Self {
        Self::new(|| Arc::new(super::iocp::Iocp::open(0).unwrap()), Machine)
    }

    fn simulated() -> Self {
        let sim = Sim::with_faults(1, Faults::none());
        Self::in_simulation(sim, false)
    }

    fn simulated_with_faults() -> Self {
        // Room enough for what a clause sends before anybody reads.
        let faults = Faults {
            small_pipes: 0.0,
            ..Faults::default()
        };
        let sim = Sim::with_faults(7, faults);
        Self::in_simulation(sim, true)
    }

    fn in_simulation(sim: Sim, is_faulty: bool) -> Self {
        let other = sim.clone();
        Self::new(move || other.backend(), Simulated { sim, is_faulty })
    }

    /// Takes in what is reported now.
    fn look(&self) {
        self.world.settle();
        let mut seen = self.seen.borrow_mut();
        self.port.wait(&mut seen, 64, Wait::Poll).unwrap();
    }

    /// Forgets what was reported, after all of it has come.
    fn forget(&self) {
        for _ in 0..20 {
            self.look();
        }
        self.seen.borrow_mut().clear();
    }

    /// Waits until one of `bits` is reported under `token`, and takes all of the token's reports.
    fn until(&self, token: Token, bits: Bits) -> Bits {
        let mut all = Bits::default();
        let begin = Instant::now();
        while begin.elapsed() < PATIENCE {
            self.look();
            self.seen.borrow_mut().retain(|ready| {
                let own = ready.token == token;
                if own {
                    all = all.with(ready.bits);
                }
                !own
            });
            if all.any(bits) {
                return all;
            }
        }
        panic!("of {bits:?} under {token:?}, only {all:?} was reported");
    }

    /// Waits until `token` is reported, whatever its bits: for [`Token::WAKE`], [`Token::TIMER`].
    fn until_seen(&self, token: Token) {
        let begin = Instant::now();
        while begin.elapsed() < PATIENCE {
            self.look();
            if self.take(token) > 0 {
                return;
            }
        }
        panic!("{token:?} was never reported");
    }

    /// How often `token` was reported since it was last asked for.
    fn take(&self, token: Token) -> usize {
        let mut seen = self.seen.borrow_mut();
        let before = seen.len();
        seen.retain(|ready| ready.token != token);
        before - seen.len()
    }

    /// Whether `token` is reported in a while in which it should not be.
    fn is_reported(&self, token: Token) -> bool {
        for _ in 0..5 {
            self.world.pass(SILENCE / 5);
            self.look();
        }
        self.take(token) > 0
    }

    fn listen(&self, at: &str) -> io::Result<(Socket, SocketAddr)> {
        let addr = at.parse().unwrap();
        let listener = self.port.listen(addr, &ListenOptions::default())?;
        let addr = self.port.local_addr(&listener)?;
        Ok((listener, addr))
    }

    fn connect(&self, to: SocketAddr) -> Socket {
        self.port.connect(to, &SocketOptions::default()).unwrap()
    }

    /// Accepts what waits or comes; faults may say that there is nothing yet.
    fn accept(&self, listener: &Socket) -> (Socket, SocketAddr) {
        let begin = Instant::now();
        loop {
            match self.port.accept(listener, &SocketOptions::default()) {
                Ok(accepted) => return accepted,
                Err(error) => assert!(
                    matches!(
                        error.kind(),
                        ErrorKind::WouldBlock | ErrorKind::ConnectionAborted
                    ),
                    "accept: {error}"
                ),
            }
            assert!(begin.elapsed() < PATIENCE, "nothing to accept");
            self.look();
        }
    }

    /// A connection whose ends are not registered yet, and that stands at both.
    fn unregistered(&self) -> Pair {
        let (listener, addr) = self.listen(IPV4).unwrap();
        let client = self.connect(addr);
        let (server, _) = self.accept(&listener);
        Pair { client, server }
    }

    /// A connection; what was reported about it so far is forgotten.
    fn pair(&self) -> Pair {
        let pair = self.unregistered();
        self.port.register(CLIENT, &pair.client).unwrap();
        self.port.register(SERVER, &pair.server).unwrap();
        self.until(CLIENT, Bits::WRITE);
        self.forget();
        pair
    }

    fn send(&self, socket: &Socket, bytes: &[u8]) -> io::Result<usize> {
        self.port.send(socket, &[IoSlice::new(bytes)])
    }

    /// Makes the writes as a worker does: other threads may have less.
    fn send_batch(&self, writes: &mut [Write<'_>]) {
        let worker = Arc::new(PortCore::pool(
            "worker".to_owned(),
            Arc::new(Parking::default()),
            Vec::new(),
        ));
        worker.prepare(1, 0);
        let was = current::enter(&worker, &worker.slots()[0]);
        self.port.send_batch(writes);
        current::back_to(was);
    }

    /// Sends all of it, waiting for room by the socket's own reports.
    fn send_all(&self, socket: &Socket, token: Token, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            match self.send(socket, bytes) {
                Ok(sent) => bytes = &bytes[sent..],
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::WouldBlock, "send: {error}");
                    self.until(token, Bits::WRITE);
                }
            }
        }
    }

    /// Receives until so many bytes have come, waiting by the socket's own reports.
    fn recv_exactly(&self, socket: &Socket, token: Token, count: usize) -> Vec<u8> {
        let mut got = Vec::new();
        while got.len() < count {
            let mut into = vec![0; (count - got.len()).min(4096)];
            match self.port.recv(socket, &mut into) {
                Ok(0) => panic!("the stream ended after {} of {count} bytes", got.len()),
                Ok(n) => got.extend(&into[..n]),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::WouldBlock, "recv: {error}");
                    self.until(token, Bits::READ);
                }
            }
        }
        got
    }

    /// Receives until the stream ends, one way or the other.
    fn recv_to_end(&self, socket: &Socket, token: Token) -> (Vec<u8>, io::Result<()>) {
        let mut got = Vec::new();
        let mut into = [0; 4096];
        loop {
            match self.port.recv(socket, &mut into) {
                Ok(0) => return (got, Ok(())),
                Ok(n) => got.extend(&into[..n]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.until(token, Bits::READ.with(Bits::ERROR).with(Bits::HANGUP));
                }
                Err(error) => return (got, Err(error)),
            }
        }
    }
}

/// Bytes that tell when one is missing, doubled or out of order.
fn pattern(len: usize) -> Vec<u8> {
    (0..len)
        .map(|at| ((at % 251) ^ (at / 251 % 256)).to_le_bytes()[0])
        .collect()
}

/// Says so where libtest does not hide it.
#[cfg(target_os = "linux")]
fn skipped(error: &io::Error) {
    let test = std::thread::current().name().unwrap_or("").to_owned();
    let line = format!("skipped: {test}: {error}\n");
    io::Write::write_all(&mut io::stderr(), line.as_bytes()).unwrap();
}

macro_rules! conformance {
    ($backend:ident, $rig:expr) => {
        conformance! { $backend, $rig,
            edges: registration every_arrival a_partial_read room_after_would_block end_of_stream
                a_reset both_ends listeners tokens;
            streams: volume_both_ways gathered_buffers nothing_is_no_end half_close_both_ways
                a_reset_is_no_end sends_to_the_gone_fail close_delivers reset_on_close
                disconnect_from_another_thread a_batch_is_so_many_sends
                nothing_is_left_when_retired;
            waiting: any_worker harvests_are_limited wakes_coalesce a_wake_ends_a_sleep
                timer_not_early timer_replaced timer_cleared;
            connections: success addresses_ipv4 addresses_ipv6 refused pending taken_address
                nothing_to_accept errors_are_taken_once
        }
    };
    ($backend:ident, $rig:expr, $($part:ident: $($clause:ident)*);*) => {
        mod $backend {
            $($(
                #[test]
                fn $clause() {
                    if let Some(rig) = $rig.into() {
                        super::$part::$clause(&rig);
                    }
                }
            )*)*
        }
    };
}

#[cfg(target_os = "linux")]
conformance!(epoll, super::Rig::epoll());
#[cfg(target_os = "linux")]
conformance!(uring, super::Rig::uring());
#[cfg(target_os = "macos")]
conformance!(kqueue, super::Rig::kqueue());
#[cfg(windows)]
conformance!(iocp, super::Rig::iocp());
conformance!(sim, super::Rig::simulated());
conformance!(sim_with_faults, super::Rig::simulated_with_faults());
