//! Networks: a server listens, a client keeps links; both have sessions, a handler, and a port.

mod addrs;
mod client;
mod declared;
mod link;
mod names;
mod options;
mod server;

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::error::CloseReason;
use crate::flow::Listener;
use crate::handler::Handler;
use crate::host::Place;
use crate::limits::addresses::{Addresses, Connects};
use crate::limits::memory::Memory;
use crate::port::{PortCore, Sockets};
use crate::session::core::SessionCore;
use crate::session::group::{Group, Members};
use crate::session::held::HeldList;
use crate::session::queue::HighWater;
use crate::session::registry::{Registry, Sessions};

use addrs::Known;
pub use addrs::{Addrs, Target};
pub use client::{ClientBuilder, LinkState};
pub(crate) use declared::{Declared, Holder};
pub(crate) use link::Link;
use names::Names;
pub(crate) use options::Options;
pub use options::{FlushMode, Reconnect};
pub use server::ServerBuilder;

/// Why a connection was refused before it had a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// `sessions_max` is reached.
    SessionsMax,
    /// `sessions_per_ip_max` is reached for its address.
    SessionsPerAddress,
    /// The network is stopping.
    Stopping,
    /// The system could not watch it.
    System,
    /// It was gone before it was taken.
    Aborted,
    /// Its address connects faster than `connects_per_ip`.
    ConnectRate,
    /// The memory ceiling of the network or host is reached.
    Memory,
}

/// Events of a network: rare enough to be counted in one place.
#[derive(Debug, Default)]
pub(crate) struct Events {
    /// Sessions that hold a socket, those being opened or closed included.
    pub(crate) live: AtomicUsize,
    pub(crate) accepted: AtomicU64,
    pub(crate) refused: [AtomicU64; 7],
    pub(crate) refused_by_handler: AtomicU64,
    pub(crate) accept_backoffs: AtomicU64,
    pub(crate) opened: AtomicU64,
    pub(crate) ended: AtomicU64,
    pub(crate) closed: [AtomicU64; CloseReason::NAMES.len()],
    /// Connections that ended without an `on_open` that returned, by reason.
    pub(crate) closed_unopened: [AtomicU64; CloseReason::NAMES.len()],
    pub(crate) open_panicked: AtomicU64,
    pub(crate) panics: AtomicU64,
    pub(crate) mailbox_full: AtomicU64,
    pub(crate) send_queue_full: AtomicU64,
    pub(crate) dropped_new: AtomicU64,
    pub(crate) dropped_old: AtomicU64,
    pub(crate) frames_lost: AtomicU64,
    pub(crate) discarded_bytes: AtomicU64,
    pub(crate) throttled: AtomicU64,
    pub(crate) memory_refused: AtomicU64,
    pub(crate) linger_cut: AtomicU64,
    pub(crate) connects: AtomicU64,
    pub(crate) connects_failed: AtomicU64,
    pub(crate) lookups: AtomicU64,
    pub(crate) lookups_failed: AtomicU64,
}

/// A network, as its sessions see it.
pub(crate) struct NetworkCore<H: Handler> {
    pub(crate) name: String,
    pub(crate) index: usize,
    pub(crate) handler: H,
    pub(crate) options: Options,
    /// With so much waiting, what a turn builds is flushed at once.
    pub(crate) own_high: HighWater,
    /// Reports its readiness; holds its deadlines.
    pub(crate) port: Arc<PortCore>,
    /// The calls on its sockets.
    pub(crate) sockets: Arc<dyn Sockets>,
    /// Runs its callbacks: the port itself, or a pool.
    pub(crate) turns: Arc<PortCore>,
    /// The lane of new sessions.
    pub(crate) lane: usize,
    pub(crate) registry: Registry<H>,
    pub(crate) addresses: Addresses,
    pub(crate) connects: Connects,
    pub(crate) memory: Memory,
    pub(crate) events: Events,
    stopping: AtomicBool,
    /// What a server listens on.
    addrs: Vec<SocketAddr>,
    /// What a client connects to.
    names: Names,
    /// Bound by others, one for each address or none, until it serves.
    adopted: Mutex<Vec<Option<TcpListener>>>,
    listeners: Mutex<Vec<Arc<Listener<H>>>>,
    local_addrs: Mutex<Vec<SocketAddr>>,
    links: Mutex<Vec<Arc<Link<H>>>>,
    groups: Mutex<Vec<Weak<Members<H>>>>,
    /// Sessions whose frames wait for a flush that somebody asks for.
    pub(crate) held: HeldList<H>,
}

impl<H: Handler> NetworkCore<H> {
    /// Takes a place among `sessions_max`; false if there is none.
    pub(crate) fn take_place(&self) -> bool {
        let fits = self.events.live.fetch_add(1, Ordering::AcqRel) < self.options.sessions_max;
        if !fits {
            self.give_place();
        }
        // Before the look whether there is a stop: see `Declared::stop` (model `shutdown`).
        std::sync::atomic::fence(Ordering::SeqCst);
        fits
    }

    /// Gives back a place.
    pub(crate) fn give_place(&self) {
        self.events.live.fetch_sub(1, Ordering::AcqRel);
    }

    /// A group of its sessions was made.
    pub(crate) fn note_group(&self, members: &Arc<Members<H>>) {
        let mut groups = self.groups.lock();
        if groups.len() == groups.capacity() {
            groups.retain(|group| group.strong_count() > 0);
        }
        groups.push(Arc::downgrade(members));
    }

    pub(crate) fn count_refusal(&self, refusal: Refusal) {
        self.events.refused[refusal as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Whether new sessions are refused for good.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }
}

impl<H: Handler> SessionCore<H> {
    /// Gives back what the session counted for.
    pub(crate) fn release_address(&self, admitted: bool) {
        if admitted {
            self.net.addresses.release(self.peer().ip());
        }
    }
}

/// A handle to a network. Cheap to clone; usable once the host has started. A handler may hold the
/// networks it uses: declaring and starting are two steps.
pub struct Network<H: Handler>(pub(crate) Arc<NetworkCore<H>>);

impl<H: Handler> Clone for Network<H> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<H: Handler> std::fmt::Debug for Network<H> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Network")
            .field("name", &self.0.name)
            .finish_non_exhaustive()
    }
}

impl<H: Handler> Network<H> {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Its handler.
    #[must_use]
    pub fn handler(&self) -> &H {
        &self.0.handler
    }

    /// A handle that does not keep it alive.
    #[must_use]
    pub fn downgrade(&self) -> WeakNetwork<H> {
        WeakNetwork(Arc::downgrade(&self.0))
    }

    /// Its open sessions.
    #[must_use]
    pub fn sessions(&self) -> Sessions<H> {
        Sessions::new(Arc::clone(&self.0))
    }

    /// A new, empty group of its sessions.
    #[must_use]
    pub fn group(&self) -> Group<H> {
        Group::new(&self.0)
    }

    /// Flushes all that its sessions hold under [`FlushMode::Tick`]: what a tick does at its end.
    /// Each session's frames leave in one gathered write, some of them on the port's workers.
    /// Returns how many sessions held something. From any thread; what was sent before the call,
    /// by whomever, leaves with it. Under [`FlushMode::Turn`] nothing is held, and it does nothing.
    pub fn flush(&self) -> usize {
        self.0.flush_all()
    }

    /// The addresses a server listens on, port numbers filled in; empty before the start.
    #[must_use]
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        self.0.local_addrs.lock().clone()
    }

    /// The first of [`Self::local_addrs`].
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.0.local_addrs.lock().first().copied()
    }

    /// Takes no new connections for a while; they wait in the kernel's backlog. Sessions go on.
    pub fn pause_accept(&self) {
        self.0
            .listeners
            .lock()
            .iter()
            .for_each(|listener| listener.pause(true));
    }

    /// Takes connections again, those that waited first.
    pub fn resume_accept(&self) {
        self.0
            .listeners
            .lock()
            .iter()
            .for_each(|listener| listener.pause(false));
    }

    /// How each link of a client stands; empty for a server and before the start.
    #[must_use]
    pub fn links(&self) -> Vec<LinkState> {
        let now = self.0.port.now();
        self.0
            .links
            .lock()
            .iter()
            .map(|link| link.state(now))
            .collect()
    }

    /// Stops this network for good: no new sessions or connects; open sessions are flushed and
    /// closed with [`CloseReason::Shutdown`](crate::CloseReason::Shutdown). Returns at once.
    pub fn stop(&self) {
        Declared::stop(&self.0, false);
    }

    /// Whether [`Self::stop`] was called, or its host is stopping.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.0.is_stopping()
    }
}

/// A handle that does not keep the network's handler alive: for two networks whose handlers know
/// each other, so that they do not keep each other for ever.
pub struct WeakNetwork<H: Handler>(Weak<NetworkCore<H>>);

impl<H: Handler> Clone for WeakNetwork<H> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<H: Handler> std::fmt::Debug for WeakNetwork<H> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WeakNetwork")
    }
}

impl<H: Handler> WeakNetwork<H> {
    /// The network, unless its host and all other handles are gone.
    #[must_use]
    pub fn upgrade(&self) -> Option<Network<H>> {
        self.0.upgrade().map(Network)
    }
}

/// A turn's own replies leave before they outgrow this, wherever the turn stands.
const OUT_BYTES_MAX: usize = 64 * 1024;

/// What both builders resolve to.
struct Declaration<H> {
    name: String,
    index: usize,
    handler: H,
    options: Options,
    place: Place,
    /// What a server listens on.
    addrs: Vec<SocketAddr>,
    /// What a client connects to.
    known: Vec<Known>,
    adopted: Vec<Option<TcpListener>>,
}

impl<H: Handler> Declaration<H> {
    fn resolve(self) -> Network<H> {
        let Self {
            name,
            index,
            handler,
            options,
            place,
            addrs,
            known,
            adopted,
        } = self;
        let Place {
            port,
            sockets,
            turns,
            lane,
            memory,
        } = place;
        Network(Arc::new(NetworkCore {
            name,
            index,
            handler,
            addresses: Addresses::new(options.sessions_per_ip_max, options.ipv6_prefix_bits),
            memory: Memory::new(options.memory, options.sessions_max, Some(memory)),
            connects: Connects::new(options.connects_per_ip, options.ipv6_prefix_bits),
            own_high: options.send_queue.high().or_bytes(OUT_BYTES_MAX),
            options,
            names: Names::new(known, port.now()),
            port,
            sockets,
            turns,
            lane,
            registry: Registry::new(),
            events: Events::default(),
            stopping: AtomicBool::new(false),
            addrs,
            adopted: Mutex::new(adopted),
            listeners: Mutex::default(),
            local_addrs: Mutex::default(),
            links: Mutex::default(),
            groups: Mutex::default(),
            held: HeldList::new(),
        }))
    }
}
