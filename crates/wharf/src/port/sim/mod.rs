//! A seeded network in memory, in virtual time, with faults: test a whole server on one thread.
//!
//! A [`Sim`] takes the place of the operating system. Sockets, the clock, the order in which
//! workers run and everything that goes wrong come from it, and all of its choices come from one
//! seed: the same seed and the same calls give the same run, event for event. A failing run is
//! replayed by its seed, and [`Sim::log`] tells what happened.
//!
//! Nothing sleeps. When nothing can happen now, the clock jumps to the next moment at which
//! something is due, so an hour of timeouts takes as long as the steps in it. A handler that blocks
//! is written as [`hold`] or [`hold_until`]: its worker stays occupied in virtual time while the
//! others go on.
//!
//! Your handler runs on it in a [`Host`](crate::Host) that was made for it, and the test scripts
//! the other side with a [`SimPeer`], whose writes and reads take and give what there is room for:
//!
//! ```
//! use wharf::sim::Sim;
//! use wharf::{Frame, Handler, Host, Refuse, Session};
//!
//! struct Echo;
//!
//! impl Handler for Echo {
//!     type State = ();
//!
//!     fn on_open(&self, _: &Session<Self>) -> Result<(), Refuse> {
//!         Ok(())
//!     }
//!
//!     fn on_frame(&self, s: &Session<Self>, _: &mut (), frame: Frame<'_>) -> wharf::Result<()> {
//!         Ok(s.send(frame.payload())?)
//!     }
//! }
//!
//! let sim = Sim::new(7);
//! let mut host = Host::simulated(&sim);
//! host.server("echo", Echo).listen("10.0.0.1:7000")?;
//! host.start()?;
//! let client = sim.connect("10.0.0.1:7000".parse()?);
//! let frame = b"\x04\0hi"; // its length, itself counted, then the payload
//! let (mut sent, mut got) = (0, Vec::new());
//! sim.run_until(|| {
//!     sent += client.write(&frame[sent..]).unwrap_or(0);
//!     let _ = client.read(&mut got);
//!     got.len() == frame.len()
//! })?;
//! assert_eq!(got, frame);
//! host.stop()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! With [`SimListener`] it is the server that is scripted:
//!
//! ```
//! use wharf::sim::{Faults, Sim};
//!
//! let sim = Sim::with_faults(7, Faults::none());
//! let listener = sim.listen("10.0.0.1:80".parse()?)?;
//! let client = sim.connect(listener.local_addr());
//! sim.run_until(|| client.is_connected())?;
//! let server = listener.accept().ok_or("no connection")?;
//!
//! assert_eq!(client.write(b"hello")?, 5);
//! let mut got = Vec::new();
//! sim.run_until(|| server.read(&mut got).is_ok())?;
//! assert_eq!(got, b"hello");
//!
//! drop(listener);
//! let refused = sim.connect("10.0.0.1:80".parse()?);
//! let stuck = sim.run_until(|| refused.is_connected()).unwrap_err();
//! assert_eq!(stuck.seed(), 7);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod driver;
mod failures;
mod faults;
mod hold;
mod listener;
mod log;
mod names;
mod net;
mod peer;
mod pipe;
mod port;
mod report;
mod stream;
mod stuck;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

pub use self::failures::Call;
pub use self::faults::Faults;
pub(crate) use self::hold::held;
pub use self::hold::{Gate, hold, hold_until};
pub use self::peer::{SimListener, SimPeer};
pub use self::stuck::{SimStuck, StuckWhy};

pub(crate) use self::port::SimPort;
pub(super) use self::port::SimSocket;

use self::driver::{Progress, Table};
use self::listener::loopback;
use self::log::{What, seconds};
use self::net::SimNet;
use super::contract::{Backend, Sockets};
use super::drive::{Drive, Supervise};
use crate::time::Time;

/// A simulation: a network, its clock, and the driver of all workers on it. Cloning gives another
/// handle to the same one. Drive it from one thread: two would race, and no seed replays that.
#[derive(Clone)]
pub struct Sim(Arc<Inner>);

struct Inner {
    net: SimNet,
    /// Never locked while a worker, a supervisor or a condition runs: they may call back.
    table: Mutex<Table>,
}

impl Sim {
    /// A simulation with the faults of [`Faults::default`]. Its clock starts at one second.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::with_faults(seed, Faults::default())
    }

    /// A simulation with these faults.
    ///
    /// # Panics
    /// If a probability lies outside of 0.0..=1.0, or a value would let no byte ever pass; the
    /// message says which.
    #[must_use]
    pub fn with_faults(seed: u64, faults: Faults) -> Self {
        if let Some(mistake) = faults.mistake() {
            panic!("wharf::sim::Faults: {mistake}");
        }
        let table = Mutex::new(Table::default());
        Self(Arc::new(Inner {
            net: SimNet::new(seed, faults),
            table,
        }))
    }

    /// The seed that all choices come from.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.0.net.lock().seed
    }

    /// The virtual time: how long the clock has run, the second it started with included.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.time().since(Time::ZERO)
    }

    fn time(&self) -> Time {
        self.0.net.lock().now
    }

    /// Does one thing, chosen by the seed among those that may happen now: a worker steps or takes
    /// in reports, something arrives, a connect ends, a supervisor is called. When nothing may,
    /// the clock jumps to the next moment at which something is due. False if nothing will ever
    /// happen unless somebody outside does something.
    pub fn step(&self) -> bool {
        self.progress(Time::NEVER) == Progress::Ran
    }

    /// Steps until `done` says so; it is asked before each step.
    ///
    /// # Errors
    /// If nothing will ever happen, or a limit of [`Self::set_limits`] is passed.
    pub fn run_until(&self, done: impl FnMut() -> bool) -> Result<(), SimStuck> {
        self.drive(done)
    }

    /// Steps until `time` has passed on the virtual clock; a clock on which nothing is due just
    /// moves on.
    ///
    /// # Errors
    /// If that takes more steps than the limit of [`Self::set_limits`].
    pub fn run_for(&self, time: Duration) -> Result<(), SimStuck> {
        self.drive_for(time)
    }

    /// Lets so much time pass in which nothing runs, as when a virtual machine is paused: what fell
    /// due meanwhile is due at once, and not a moment before.
    pub fn suspend(&self, time: Duration) {
        let mut world = self.0.net.lock();
        let until = world.now + time;
        world.advance(until);
        world.note(What::Jumped);
    }

    /// Sets how many steps and how much virtual time one [`Self::run_until`] may take; the number
    /// of steps holds for [`Self::run_for`] too. Default: 2,000,000 steps and 10 minutes.
    pub fn set_limits(&self, steps: u64, time: Duration) {
        self.0.table.lock().set_limits(steps, time);
    }

    /// A client's end that connects to `addr` from the loopback address.
    #[must_use]
    pub fn connect(&self, addr: SocketAddr) -> SimPeer {
        self.connect_from(loopback(addr), addr)
    }

    /// A client's end that connects to `addr` from `ip`.
    #[must_use]
    pub fn connect_from(&self, ip: IpAddr, addr: SocketAddr) -> SimPeer {
        SimPeer::connect(&self.0.net, ip, addr)
    }

    /// Listens at `addr`, with port 0 at a port that is free.
    ///
    /// # Errors
    /// `AddrInUse` if somebody listens there.
    pub fn listen(&self, addr: SocketAddr) -> io::Result<SimListener> {
        SimListener::listen(&self.0.net, addr)
    }

    /// From now on this host name stands for these addresses, where a network listens on or
    /// connects to `"host:port"`; for none, nobody knows it. At first `localhost` alone is known.
    pub fn set_name(&self, host: &str, ips: &[IpAddr]) {
        self.0.net.lock().set_name(host, ips);
    }

    pub(crate) fn resolve(&self, name: &str) -> io::Result<Vec<SocketAddr>> {
        self.0.net.lock().resolve(name)
    }

    /// Limits how many sockets ports may have; [`SimPeer`]s and [`SimListener`]s do not count.
    /// Over it, accept, connect and listen fail as a process without free descriptors does.
    pub fn set_descriptors_max(&self, max: Option<usize>) {
        self.0.net.lock().descriptors_max = max;
    }

    /// How many sockets ports have now.
    #[must_use]
    pub fn descriptors(&self) -> usize {
        self.0.net.lock().descriptors
    }

    /// Changes the faults from now on; the pipes of connections that stand keep their size.
    ///
    /// # Panics
    /// As [`Self::with_faults`].
    pub fn set_faults(&self, faults: Faults) {
        if let Some(mistake) = faults.mistake() {
            panic!("wharf::sim::Faults: {mistake}");
        }
        self.0.net.lock().faults = faults;
    }

    /// What happened, oldest first: the last 4096 events unless [`Self::set_log_max`] says
    /// otherwise.
    #[must_use]
    pub fn log(&self) -> Vec<String> {
        self.log_tail(usize::MAX)
    }

    /// The last `count` events, oldest first.
    #[must_use]
    pub fn log_tail(&self, count: usize) -> Vec<String> {
        self.0.net.lock().log.tail(count)
    }

    /// Sets how many events are kept; 0 keeps none, which is faster.
    pub fn set_log_max(&self, events: usize) {
        self.0.net.lock().log.keep(events);
    }

    /// The backend of a new port of this network.
    pub(crate) fn backend(&self) -> Arc<dyn Sockets> {
        let port = SimPort::new(self.0.net.clone());
        let index = port.index();
        let backend = Arc::new(port);
        let known = Arc::clone(&backend) as _;
        self.0.table.lock().add_port(index, &known);
        backend
    }

    /// Drives `worker` from now on; it harvests from `port`, one of [`Self::backend`].
    ///
    /// # Panics
    /// If `port` belongs to another backend or simulation.
    pub(crate) fn adopt(&self, worker: Box<dyn Drive>, port: &Arc<impl Backend + ?Sized>) {
        self.take_in(worker, port);
    }

    /// Calls `supervise` now and whenever it said. One that says [`Time::NEVER`] is dropped; one
    /// that names a moment that has passed is called again a microsecond later, so that the clock
    /// moves.
    pub(crate) fn adopt_supervisor(&self, supervise: Supervise) {
        let now = self.time();
        self.0.table.lock().add_supervisor(now, supervise);
    }

    /// How many workers of `port` have not quit.
    #[cfg(test)]
    pub(crate) fn workers(&self, port: &Arc<impl Backend + ?Sized>) -> usize {
        self.0.table.lock().workers_of(port)
    }

    /// Drops the workers of `port` as they stand, without another step; one that is just being
    /// stepped is dropped after it. It breaks the ring of a host that holds the simulation that
    /// holds its workers.
    pub(crate) fn dismiss(&self, port: &Arc<impl Backend + ?Sized>) {
        let workers = self.0.table.lock().dismiss(port);
        // They may close sockets and drop users' values, so never under the lock.
        drop(workers);
    }
}

impl fmt::Debug for Sim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let world = self.0.net.lock();
        f.debug_struct("Sim")
            .field("seed", &world.seed)
            .field("now", &seconds(world.now))
            .field("sockets", &(world.streams.len() + world.listeners.len()))
            .finish_non_exhaustive()
    }
}
