//! The simulated network: its clock, its randomness, its sockets, and what is under way.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};

use super::failures::Failing;
use super::faults::Faults;
use super::listener::Listener;
use super::log::{Log, Outcome, What};
use super::names::Names;
use super::pipe::Item;
use super::report::{Entry, PortState};
use super::stream::Stream;
use crate::time::{Time, nanos};

/// Names a socket of the network; never used twice.
pub(super) type Id = u64;

/// The clock starts here, so that "one second ago" exists.
const START: Time = Time::from_nanos(1_000_000_000);

/// The first port of those given to whoever does not choose one.
const EPHEMERAL_FIRST: u16 = 32_768;
/// Where they go on after 65535.
const EPHEMERAL_LOWEST: u16 = 1_024;

/// "Too many open files" of the system that the tests run on (`EMFILE`, `WSAEMFILE`), because that
/// is the number that the rest of the core looks for there.
const NO_DESCRIPTORS: i32 = if cfg!(windows) { 10_024 } else { 24 };

/// The network that all ports, sockets and peers of one simulation share.
#[derive(Clone, Debug)]
pub(super) struct SimNet(Arc<Mutex<World>>);

impl SimNet {
    pub(super) fn new(seed: u64, faults: Faults) -> Self {
        Self(Arc::new(Mutex::new(World::new(seed, faults))))
    }

    /// Never hold this while a worker, a supervisor or a test's closure runs: they call back.
    pub(super) fn lock(&self) -> MutexGuard<'_, World> {
        self.0.lock()
    }
}

/// Something that happens at a moment.
#[derive(Debug)]
pub(super) enum Event {
    /// The first item of this stream's pipe arrives.
    Arrive(Id),
    /// This stream's connect ends.
    Connect(Id),
    /// A late report reaches its port.
    Report(usize, Entry),
}

#[derive(Debug)]
pub(super) struct World {
    pub(super) now: Time,
    pub(super) seed: u64,
    pub(super) rng: fastrand::Rng,
    pub(super) faults: Faults,
    pub(super) log: Log,
    pub(super) ports: Vec<PortState>,
    pub(super) streams: BTreeMap<Id, Stream>,
    /// In order of identity: iterating it must depend on nothing but the seed.
    pub(super) listeners: BTreeMap<Id, Listener>,
    id_last: Id,
    /// What comes later, by moment and then by order of planning.
    agenda: BTreeMap<(Time, u64), Event>,
    planned: u64,
    /// Arrivals and connects whose moment has come; the driver picks among them.
    due: Vec<Event>,
    /// Sockets of ports, not of peers.
    pub(super) descriptors: usize,
    pub(super) descriptors_max: Option<usize>,
    /// Calls that are to fail.
    pub(super) failing: Vec<Failing>,
    /// Addresses of connecting ends.
    locals: BTreeSet<SocketAddr>,
    ephemeral: u16,
    pub(super) names: Names,
}

impl World {
    fn new(seed: u64, faults: Faults) -> Self {
        Self {
            now: START,
            seed,
            rng: fastrand::Rng::with_seed(seed),
            faults,
            log: Log::new(),
            ports: Vec::new(),
            streams: BTreeMap::new(),
            listeners: BTreeMap::new(),
            id_last: 0,
            agenda: BTreeMap::new(),
            planned: 0,
            due: Vec::new(),
            descriptors: 0,
            descriptors_max: None,
            failing: Vec::new(),
            locals: BTreeSet::new(),
            ephemeral: EPHEMERAL_FIRST,
            names: Names::default(),
        }
    }

    pub(super) fn note(&mut self, what: What) {
        self.log.push(self.now, what);
    }

    pub(super) fn fault(&mut self, fault: &'static str, id: Id) {
        self.note(What::Fault(fault, id));
    }

    /// Notes how a call ended and hands its result on.
    pub(super) fn called(
        &mut self,
        call: &'static str,
        id: Id,
        result: io::Result<usize>,
    ) -> io::Result<usize> {
        let outcome = match &result {
            Ok(bytes) => Outcome::Bytes(*bytes),
            Err(error) => Outcome::Failed(error.kind()),
        };
        self.note(What::Called(call, id, outcome));
        result
    }

    /// True with this probability.
    pub(super) fn coin(&mut self, probability: f64) -> bool {
        probability > 0.0 && self.rng.f64() < probability
    }

    /// A duration from zero to `max`, both included.
    pub(super) fn some_time(&mut self, max: Duration) -> Duration {
        if max.is_zero() {
            return max;
        }
        Duration::from_nanos(self.rng.u64(0..=nanos(max)))
    }

    /// A name for a new socket.
    pub(super) fn next_id(&mut self) -> Id {
        self.id_last += 1;
        self.id_last
    }

    pub(super) fn stream(&mut self, id: Id) -> Option<&mut Stream> {
        self.streams.get_mut(&id)
    }

    pub(super) fn listener(&mut self, id: Id) -> Option<&mut Listener> {
        self.listeners.get_mut(&id)
    }

    /// Counts one more socket of a port.
    pub(super) fn take_descriptor(&mut self) -> io::Result<()> {
        if self
            .descriptors_max
            .is_some_and(|max| self.descriptors >= max)
        {
            return Err(io::Error::from_raw_os_error(NO_DESCRIPTORS));
        }
        self.descriptors += 1;
        Ok(())
    }

    /// An unused address of a connecting end at `ip`.
    pub(super) fn take_local(&mut self, ip: IpAddr) -> io::Result<SocketAddr> {
        let addr = self.free_addr(ip).ok_or(io::ErrorKind::AddrNotAvailable)?;
        self.locals.insert(addr);
        Ok(addr)
    }

    pub(super) fn free_local(&mut self, addr: &SocketAddr) {
        self.locals.remove(addr);
    }

    /// An address at `ip` that nobody uses.
    pub(super) fn free_addr(&mut self, ip: IpAddr) -> Option<SocketAddr> {
        for _ in EPHEMERAL_LOWEST..=u16::MAX {
            let addr = SocketAddr::new(ip, self.ephemeral);
            self.ephemeral = self.ephemeral.checked_add(1).unwrap_or(EPHEMERAL_LOWEST);
            if !self.locals.contains(&addr) && !self.listens_at(addr) {
                return Some(addr);
            }
        }
        None
    }

    /// Has `event` happen at `at`; if that is not later than now, it is due.
    pub(super) fn plan(&mut self, at: Time, event: Event) {
        if at > self.now {
            self.planned += 1;
            self.agenda.insert((at, self.planned), event);
            return;
        }
        match event {
            Event::Report(port, entry) => self.queue_report(port, entry),
            event => self.due.push(event),
        }
    }

    /// The moment of the next event that is not due yet.
    pub(super) fn next_moment(&self) -> Option<Time> {
        self.agenda.keys().next().map(|(at, _)| *at)
    }

    /// Moves the clock on to `to`, unless it is there already.
    pub(super) fn advance(&mut self, to: Time) {
        self.now = self.now.max(to);
        while let Some(first) = self.agenda.first_entry() {
            if first.key().0 > self.now {
                break;
            }
            let event = first.remove();
            self.plan(self.now, event);
        }
    }

    /// How many arrivals and connects may happen now.
    pub(super) fn due(&self) -> usize {
        self.due.len()
    }

    /// Lets the due event at this place happen.
    pub(super) fn happen(&mut self, place: usize) {
        match self.due.swap_remove(place) {
            Event::Arrive(id) => self.arrive(id),
            Event::Connect(id) => self.end_connect(id),
            Event::Report(port, entry) => self.queue_report(port, entry),
        }
    }

    /// Sends `item` to the stream `to`.
    pub(super) fn fly(&mut self, to: Id, item: Item) {
        let at = self.now + self.some_time(self.faults.delay_max);
        if let Some(stream) = self.stream(to) {
            stream.rx.push(at, item);
            self.plan_arrival(to);
        }
    }

    /// Plans the arrival of what is first in the pipe to `id`, unless that is planned already.
    pub(super) fn plan_arrival(&mut self, id: Id) {
        let Some(stream) = self.stream(id) else {
            return;
        };
        if let Some((at, _)) = stream.rx.first()
            && !std::mem::replace(&mut stream.rx.planned, true)
        {
            self.plan(at, Event::Arrive(id));
        }
    }

    /// Closes a socket of either kind: its owner is gone.
    pub(super) fn close(&mut self, id: Id) {
        self.note(What::Called("close", id, Outcome::Done));
        if self.listeners.contains_key(&id) {
            self.close_listener(id);
        } else {
            self.close_stream(id);
        }
    }

    pub(super) fn disconnect(&mut self, id: Id) {
        self.note(What::Called("disconnect", id, Outcome::Done));
        self.disconnect_listener(id);
        self.disconnect_stream(id);
    }

    pub(super) fn local_addr(&self, id: Id) -> io::Result<SocketAddr> {
        let stream = self.streams.get(&id).map(|stream| stream.local);
        let addr = stream.or_else(|| self.listeners.get(&id).map(|listener| listener.addr));
        addr.ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}
