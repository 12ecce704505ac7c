//! Servers: what is declared, and the binding of their listeners.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use super::addrs::{self, Addrs};
use super::options::{FlushMode, Options};
use super::{Declaration, Network, NetworkCore};
use crate::error::{Error, ErrorKind, Result};
use crate::flow::Listener;
use crate::frame::Framing;
use crate::handler::Handler;
use crate::host::{Declaring, Pool, Port};
use crate::limits::{InputRate, MemoryLimit, PerAddress, Rate};
use crate::port::{ListenOptions, SocketOptions};
use crate::session::deadlines::Timeouts;
use crate::session::queue::SendQueueLimits;

/// In front of the name of a listener that is inherited.
const INHERIT: &str = "inherit:";

/// Declares a server; [`Self::listen`] ends it. Everything but the address has a default.
#[must_use = "the server is declared by .listen(address)"]
#[derive(Debug)]
pub struct ServerBuilder<'a, H: Handler> {
    declaring: Declaring<'a>,
    handler: H,
    options: Options,
}

/// The options that servers and clients share, as builder methods.
macro_rules! common_options {
    () => {
        /// The port that serves it: give several networks one port and they share its workers.
        pub fn port(mut self, port: &Port) -> Self {
            self.declaring.port = Some(port.clone());
            self
        }

        /// The pool that runs its callbacks; the port only hands its sessions over. Default: none,
        /// the port's workers run them.
        pub fn pool(mut self, pool: &Pool) -> Self {
            self.declaring.pool = Some(pool.clone());
            self
        }

        /// The lane of its sessions, in the port, or the pool if it has one. A port with several
        /// lanes needs it named.
        pub fn lane(mut self, name: &str) -> Self {
            self.declaring.lane = Some(name.to_owned());
            self
        }

        /// A port of its own, named like the network, with so many workers.
        pub fn workers(mut self, workers: usize) -> Self {
            self.declaring.workers = Some(workers);
            self
        }

        /// How the stream is cut into frames. Default: a little-endian u16 length that counts
        /// itself, frames of at most 16 KiB.
        pub fn framing(mut self, framing: Framing) -> Self {
            self.options.framing = framing;
            self
        }

        /// Handshake, idle, write-stall and linger timeouts.
        pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
            self.options.timeouts = timeouts;
            self
        }

        /// Closes a session that sends nothing for so long; `None` never does. Default: 5 min for a
        /// server, never for a client.
        pub fn idle_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
            self.options.timeouts.idle = timeout.into();
            self
        }

        /// How much each session may send us, and what happens beyond. Default: no limit.
        pub fn input_rate(mut self, limits: InputRate) -> Self {
            self.options.input_rate = limits;
            self
        }

        /// A ceiling for what all its sessions hold together; `None` is none of its own. Default:
        /// none, as the host has one for all networks
        /// ([`Host::set_memory`](crate::Host::set_memory)).
        pub fn memory(mut self, limit: impl Into<Option<MemoryLimit>>) -> Self {
            self.options.memory = limit.into();
            self
        }

        /// Limits of each session's send queue, and what happens beyond.
        pub fn send_queue(mut self, limits: SendQueueLimits) -> Self {
            self.options.send_queue = limits;
            self
        }

        /// When frames leave: with the turn that sent them, or when a tick asks for it. Default:
        /// [`FlushMode::Turn`].
        pub fn flush(mut self, mode: FlushMode) -> Self {
            self.options.flush = mode;
            self
        }

        /// Options of each connection's socket.
        pub fn socket(mut self, options: SocketOptions) -> Self {
            self.options.socket = options;
            self
        }

        /// The most jobs that wait in a session's mailbox. Default: 1024.
        pub fn mailbox_max(mut self, jobs: usize) -> Self {
            self.options.mailbox_max = jobs;
            self
        }

        /// The most frames of one session that one turn handles before others come. Default: 64.
        pub fn frames_per_turn_max(mut self, frames: usize) -> Self {
            self.options.frames_per_turn_max = frames;
            self
        }

        /// How long a turn goes on taking frames before others come. Default: 1 ms.
        pub fn turn_time_max(mut self, time: Duration) -> Self {
            self.options.turn_time_max = time;
            self
        }
    };
}
pub(super) use common_options;

impl<'a, H: Handler> ServerBuilder<'a, H> {
    pub(crate) fn new(declaring: Declaring<'a>, handler: H) -> Self {
        let options = Options {
            links: 0,
            ..Options::default()
        };
        Self {
            declaring,
            handler,
            options,
        }
    }

    common_options!();

    /// Closes a connection without a whole frame after so long. Default: 10 s.
    pub fn handshake_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.options.timeouts.handshake = timeout;
        self
    }

    /// The most sessions at once; further connections are closed and counted. Default: 16,384.
    pub fn sessions_max(mut self, sessions: usize) -> Self {
        self.options.sessions_max = sessions;
        self
    }

    /// The most sessions from one address (an IPv6 address counts as its /64); `None` is no limit.
    /// Default: 256 for an address of the public internet, no limit for others
    /// ([`PerAddress::Public`]). What you set is for every address.
    pub fn sessions_per_ip_max(mut self, sessions: impl Into<Option<usize>>) -> Self {
        self.options.sessions_per_ip_max = PerAddress::every(sessions.into());
        self
    }

    /// How fast one address may connect (an IPv6 address counts as its /64); `None` is no limit.
    /// What comes faster is closed and counted. Default: 32 a second and 256 at once for an address
    /// of the public internet, no limit for others ([`PerAddress::Public`]). What you set is for
    /// every address.
    pub fn connects_per_ip(mut self, rate: impl Into<Option<Rate>>) -> Self {
        self.options.connects_per_ip = PerAddress::every(rate.into());
        self
    }

    /// The limits of an address, as a topology has them.
    pub(crate) fn per_address(
        mut self,
        sessions: PerAddress<usize>,
        connects: PerAddress<Rate>,
    ) -> Self {
        self.options.sessions_per_ip_max = sessions;
        self.options.connects_per_ip = connects;
        self
    }

    /// How many leading bits of an IPv6 address make one client. Default: 64.
    pub fn ipv6_prefix_bits(mut self, bits: u8) -> Self {
        self.options.ipv6_prefix_bits = bits;
        self
    }

    /// Every connection begins with a PROXY protocol v2 header, from a balancer in front: the
    /// client's address is taken from it. Without one the connection is closed. Default: off.
    pub fn proxy_protocol(mut self, on: bool) -> Self {
        self.options.proxy_protocol = on;
        self
    }

    /// Backlog and dual stack of the listeners.
    pub fn listen_options(mut self, options: ListenOptions) -> Self {
        self.options.listen = options;
        self
    }

    /// Ends the declaration: listens on these addresses once the host starts.
    ///
    /// # Errors
    /// An address that can't be understood or resolved; an option that can't work; a name or an
    /// address that another network has.
    pub fn listen(self, addrs: impl Addrs) -> Result<Network<H>> {
        let addrs = addrs::resolve(&self.declaring, addrs)?;
        let bind = addrs.into_iter().map(|addr| (addr, None)).collect();
        self.declare(bind)
    }

    /// Ends the declaration: serves a listener that was bound elsewhere. The backlog is as whoever
    /// bound it has set it.
    ///
    /// # Errors
    /// As [`Self::listen`]. At the start: a system where a listener can't be taken over.
    pub fn listen_on(self, listener: TcpListener) -> Result<Network<H>> {
        let addr = listener.local_addr().map_err(Error::from);
        let addr = self.declaring.name_it(addr)?;
        self.declare(vec![(addr, Some(listener))])
    }

    /// Ends the declaration: serves the listener of this name that the service manager has passed
    /// to this process (systemd socket activation: `LISTEN_FDS`, `LISTEN_PID`, `LISTEN_FDNAMES`),
    /// or the one that a predecessor gives ([`Host::hand_over_at`](crate::Host::hand_over_at)).
    /// In a topology: `listen = "inherit:NAME"`.
    ///
    /// # Errors
    /// No such listener; as [`Self::listen`].
    pub fn listen_inherited(self, name: &str) -> Result<Network<H>> {
        self.listen_planned(&[format!("{INHERIT}{name}")])
    }

    /// Addresses as a topology has them.
    pub(crate) fn listen_planned(self, addrs: &[String]) -> Result<Network<H>> {
        if addrs.is_empty() {
            // Which says what is missing.
            return self.listen(Vec::<String>::new());
        }
        let mut places = Vec::new();
        for text in addrs {
            if let Some(name) = text.strip_prefix(INHERIT) {
                let listener = self.declaring.inherited(places.len(), name)?;
                let addr = self
                    .declaring
                    .name_it(listener.local_addr().map_err(Error::from))?;
                places.push((addr, Some(listener)));
            } else {
                let addrs = addrs::resolve(&self.declaring, text)?;
                places.extend(addrs.into_iter().map(|addr| (addr, None)));
            }
        }
        self.declare(places)
    }

    fn declare(mut self, places: Vec<(SocketAddr, Option<TcpListener>)>) -> Result<Network<H>> {
        let addrs: Vec<_> = places.iter().map(|(addr, _)| *addr).collect();
        self.declaring.refuse_taken(&addrs)?;
        // What is set on the listener is inherited by what it accepts.
        self.options.listen.socket = self.options.socket.clone();
        super::options::check(&self.declaring.name, &self.options)?;
        let (name, index, place) = self.declaring.settle()?;
        let adopted = self.declaring.adopted(places);
        let network = Declaration {
            name,
            index,
            handler: self.handler,
            options: self.options,
            place,
            addrs,
            known: Vec::new(),
            adopted,
        }
        .resolve();
        self.declaring.declared(Arc::new(Arc::clone(&network.0)));
        Ok(network)
    }
}

impl<H: Handler> NetworkCore<H> {
    /// Binds all listeners.
    pub(super) fn bind_listeners(self: &Arc<Self>) -> Result<()> {
        for (index, &addr) in self.addrs.iter().enumerate() {
            let failed = |error: std::io::Error| {
                let mend = match error.kind() {
                    std::io::ErrorKind::AddrInUse => {
                        "another program, or another network, listens there; stop it or take \
                         another port"
                    }
                    std::io::ErrorKind::AddrNotAvailable => "this machine has no such address",
                    std::io::ErrorKind::PermissionDenied => {
                        "ports below 1024 need a privilege; take a higher one"
                    }
                    std::io::ErrorKind::Unsupported => {
                        "this backend can't take a listener from elsewhere; listen on an address"
                    }
                    _ => "see the system's message",
                };
                let message = format!("network \"{}\" can't listen on {addr}: {mend}", self.name);
                Error::new(ErrorKind::Listen, message).caused_by(error)
            };
            let sockets = &self.sockets;
            let adopted = self.adopted.lock().get_mut(index).and_then(|at| {
                // Another handle: a start that fails may be tried again.
                Some(at.as_ref()?.try_clone())
            });
            let socket = match adopted {
                Some(listener) => listener.and_then(|l| sockets.adopt(l, &self.options.listen)),
                None => sockets.listen(addr, &self.options.listen),
            };
            let socket = socket.map_err(failed)?;
            let local = sockets.local_addr(&socket).map_err(failed)?;
            let mut made = None;
            self.port.table.insert(|token| {
                let listener = Arc::new(Listener::new(token, Arc::clone(self), socket));
                made = Some(Arc::clone(&listener));
                listener
            });
            self.listeners.lock().extend(made);
            self.local_addrs.lock().push(local);
        }
        Ok(())
    }
}
