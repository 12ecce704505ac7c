//! The world: what a test body needs from its surroundings, whichever they are.

use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use wharf::Host;

use super::hold::Hold;
use super::peer::{Listener, Listening, Nobody, Peer, Wire};
use super::process::Open;
use super::sockets;

/// Sockets of this machine, or a simulation. Cloning gives another handle to the same one.
#[derive(Clone)]
pub(crate) struct World(Rc<Inner>);

struct Inner {
    kind: Kind,
    holds: RefCell<Vec<Hold>>,
    random: RefCell<fastrand::Rng>,
}

enum Kind {
    Sockets(&'static str),
    #[cfg(feature = "sim")]
    Sim(wharf::sim::Sim),
}

impl World {
    pub(super) fn on_sockets(backend: &'static str) -> Self {
        Self::new(Kind::Sockets(backend), fastrand::u64(..))
    }

    #[cfg(feature = "sim")]
    pub(super) fn simulated(seed: u64) -> Self {
        Self::new(Kind::Sim(wharf::sim::Sim::new(seed)), seed)
    }

    fn new(kind: Kind, seed: u64) -> Self {
        Self(Rc::new(Inner {
            kind,
            holds: RefCell::default(),
            random: RefCell::new(fastrand::Rng::with_seed(seed)),
        }))
    }

    /// The simulation, if it is one.
    #[cfg(feature = "sim")]
    pub(crate) fn sim(&self) -> Option<&wharf::sim::Sim> {
        match &self.0.kind {
            Kind::Sim(sim) => Some(sim),
            Kind::Sockets(_) => None,
        }
    }

    /// The simulation of a body that runs in none else.
    #[cfg(feature = "sim")]
    pub(crate) fn the_sim(&self) -> &wharf::sim::Sim {
        self.sim().expect("this body is for the simulation")
    }

    pub(crate) fn is_sim(&self) -> bool {
        !matches!(self.0.kind, Kind::Sockets(_))
    }

    /// `on_sockets` there, `simulated` here: for counts that real time limits.
    pub(crate) fn pick<T>(&self, on_sockets: T, simulated: T) -> T {
        if self.is_sim() { simulated } else { on_sockets }
    }

    /// A host of this world.
    pub(crate) fn host(&self) -> Host {
        let mut host = match &self.0.kind {
            Kind::Sockets(backend) => Host::new().with_backend(backend),
            #[cfg(feature = "sim")]
            Kind::Sim(sim) => Host::simulated(sim),
        };
        // A peer that a failed test leaves open must not cost the default's five seconds.
        host.set_drain_deadline(Duration::from_secs(3));
        host
    }

    /// An address to listen on.
    pub(crate) fn any_addr(&self) -> &'static str {
        "127.0.0.1:0"
    }

    /// No pipes of a few bytes from now on: for bodies that move more than some kilobytes.
    pub(crate) fn move_much(&self) {
        #[cfg(feature = "sim")]
        if let Some(sim) = self.sim() {
            sim.set_faults(wharf::sim::Faults {
                small_pipes: 0.0,
                ..wharf::sim::Faults::default()
            });
        }
    }

    /// No faults from now on: for bodies that tell the order in which sessions become ready.
    pub(crate) fn be_exact(&self) {
        #[cfg(feature = "sim")]
        if let Some(sim) = self.sim() {
            sim.set_faults(wharf::sim::Faults::none());
        }
    }

    /// A time in which this system does what must be done in it, if `usual` is one on most: under
    /// Wine a connect takes fifty times as long.
    pub(crate) fn unhurried(&self, usual: Duration) -> Duration {
        usual
            * if cfg!(windows) && !self.is_sim() {
                10
            } else {
                1
            }
    }

    /// A number from the seed; on sockets from nowhere in particular.
    pub(crate) fn below(&self, end: usize) -> usize {
        self.0.random.borrow_mut().usize(0..end)
    }

    /// True once in so many times.
    pub(crate) fn one_in(&self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// A peer that connects and waits until it is connected.
    pub(crate) fn connect(&self, to: SocketAddr) -> Peer {
        let mut peer = self.begin_connect(None, to).unwrap();
        self.until("a peer is connected", || peer.is_connected());
        peer
    }

    /// The same from this address of its own.
    pub(crate) fn connect_from(&self, ip: IpAddr, to: SocketAddr) -> Peer {
        let mut peer = self.begin_connect(Some(ip), to).unwrap();
        self.until("a peer is connected", || peer.is_connected());
        peer
    }

    /// A peer that connects; on sockets it is connected when this returns.
    pub(crate) fn begin_connect(&self, from: Option<IpAddr>, to: SocketAddr) -> io::Result<Peer> {
        let wire = match &self.0.kind {
            Kind::Sockets(_) => Wire::Socket(sockets::connect(from, to, None)?),
            #[cfg(feature = "sim")]
            Kind::Sim(sim) => Wire::Sim(match from {
                Some(ip) => sim.connect_from(ip, to),
                None => sim.connect(to),
            }),
        };
        Ok(Peer::new(self, wire))
    }

    /// An address at which nobody listens, and nobody else can, as long as this is kept.
    pub(crate) fn nobody(&self) -> Nobody {
        let any = self.any_addr().parse().unwrap();
        match &self.0.kind {
            Kind::Sockets(_) => {
                let (socket, addr) = sockets::bound(any);
                Nobody::new(self, Some(socket), addr)
            }
            #[cfg(feature = "sim")]
            Kind::Sim(_) => Nobody::new(self, None, self.listen(any).addr()),
        }
    }

    /// A listener at this address, with port 0 at any.
    pub(crate) fn listen(&self, addr: SocketAddr) -> Listener {
        let socket = match &self.0.kind {
            Kind::Sockets(_) => {
                let socket = std::net::TcpListener::bind(addr).unwrap();
                socket.set_nonblocking(true).unwrap();
                Listening::Socket(socket)
            }
            #[cfg(feature = "sim")]
            Kind::Sim(sim) => Listening::Sim(sim.listen(addr).unwrap()),
        };
        Listener::new(self, socket)
    }

    /// A peer into which few bytes fit while it does not read.
    pub(crate) fn connect_narrow(&self, to: SocketAddr) -> Peer {
        let wire = match &self.0.kind {
            Kind::Sockets(_) => Wire::Socket(sockets::connect(None, to, Some(4096)).unwrap()),
            #[cfg(feature = "sim")]
            Kind::Sim(sim) => {
                // Pipes are made when the connect ends, by the faults of that moment.
                sim.set_faults(wharf::sim::Faults {
                    pipe_bytes: 500 + self.below(8000),
                    small_pipes: 0.0,
                    ..wharf::sim::Faults::default()
                });
                Wire::Sim(sim.connect(to))
            }
        };
        let mut peer = Peer::new(self, wire);
        self.until("a peer is connected", || peer.is_connected());
        peer
    }

    /// Waits until it holds; fails, saying what was waited for, when that takes too long.
    pub(crate) fn until(&self, what: &str, mut holds: impl FnMut() -> bool) {
        match &self.0.kind {
            Kind::Sockets(_) => sockets::until(what, &mut holds),
            #[cfg(feature = "sim")]
            Kind::Sim(sim) => super::simulated::until(sim, what, &mut holds),
        }
    }

    /// Lets this much time pass, in which things go on. Only for what must *not* happen.
    pub(crate) fn pass(&self, time: Duration) {
        match &self.0.kind {
            Kind::Sockets(_) => std::thread::sleep(time),
            #[cfg(feature = "sim")]
            Kind::Sim(sim) => sim.run_for(time).unwrap(),
        }
    }

    /// A few steps of the simulation; on sockets things go on by themselves.
    pub(crate) fn nudge(&self) {
        match &self.0.kind {
            Kind::Sockets(_) => std::thread::yield_now(),
            #[cfg(feature = "sim")]
            Kind::Sim(sim) => {
                for _ in 0..self.below(6) {
                    sim.step();
                }
            }
        }
    }

    /// What a handler can be held in.
    pub(crate) fn hold(&self) -> Hold {
        let hold = Hold::new(self.is_sim());
        self.0.holds.borrow_mut().push(hold.clone());
        hold
    }

    /// Runs callers at once: each is called again and again until it says that it is done. On
    /// sockets each has a thread; in the simulation the seed mixes them with everything else.
    pub(crate) fn at_once(&self, callers: Vec<Box<dyn FnMut() -> bool + Send>>) {
        if self.is_sim() {
            let mut callers = callers;
            while !callers.is_empty() {
                let chosen = self.below(callers.len());
                if callers[chosen]() {
                    drop(callers.swap_remove(chosen));
                }
                self.nudge();
            }
            return;
        }
        std::thread::scope(|scope| {
            for mut caller in callers {
                let thread = std::thread::Builder::new().name("caller".to_owned());
                thread
                    .spawn_scoped(scope, move || while !caller() {})
                    .unwrap();
            }
        });
    }

    /// Descriptors and threads that are open now, as far as this world can tell.
    pub(crate) fn open_now(&self) -> Open {
        match &self.0.kind {
            // A thread gives itself its name, and is gone a little after it was joined.
            Kind::Sockets(_) => {
                sockets::warm_up();
                sockets::settled(super::open_now)
            }
            #[cfg(feature = "sim")]
            Kind::Sim(sim) => Open {
                descriptors: sim.descriptors(),
                threads: 0,
            },
        }
    }

    /// Lets go of whom the body still holds.
    pub(super) fn close(&self) {
        for hold in self.0.holds.take() {
            hold.release();
        }
    }
}
