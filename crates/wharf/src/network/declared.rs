//! A network as its host sees it, whatever its handler.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use super::{Events, NetworkCore};
use crate::error::{Error, ErrorKind, Result};
use crate::handler::Handler;
use crate::host::name_of;
use crate::limits::memory::Memory;
use crate::port::inherit::Named;
use crate::port::{PortCore, Served};
use crate::session::word;

/// A session and what it holds.
pub(crate) struct Holder {
    pub(crate) grains: usize,
    /// It is being closed already.
    pub(crate) closing: bool,
    pub(crate) session: Arc<dyn Served>,
}

/// What the host does with a network, whatever its handler.
pub(crate) trait Declared: Send + Sync {
    fn name(&self) -> &str;
    fn index(&self) -> usize;
    fn port(&self) -> &Arc<PortCore>;
    /// Whose workers run its callbacks.
    fn turns(&self) -> &Arc<PortCore>;
    /// The lane of its new sessions.
    fn lane(&self) -> usize;
    fn events(&self) -> &Events;
    fn sessions(&self) -> usize;
    /// The most there may be.
    fn sessions_max(&self) -> usize;
    /// Bytes in all send queues, and how many sessions are above their high-water mark.
    fn send_queues(&self) -> (usize, usize);
    /// What its sessions hold, and may hold.
    fn memory(&self) -> &Memory;
    /// Adds its sessions that hold something.
    fn holders(&self, into: &mut Vec<Holder>);
    fn is_server(&self) -> bool;
    /// Addresses it listens on: bound ones once started, declared ones before.
    fn listens_on(&self) -> Vec<SocketAddr>;
    /// Binds its listeners; nothing is served yet.
    fn bind(&self) -> Result<()>;
    /// Serves: listeners report, links connect.
    fn go(&self) -> Result<()>;
    /// Takes no new session from now on and ends the others, in good order or at once.
    fn stop(&self, abort: bool);
    /// Takes no new connection from now on; sessions go on.
    fn stop_accepting(&self);
    /// Whether nobody new can come any more, and all who came are counted.
    fn has_stopped_accepting(&self) -> bool;
    /// Handles to its listeners, each with a name, for another process.
    fn share_listeners(&self) -> io::Result<Vec<Named>>;
    /// Lets go of listeners and links, so that nothing refers in a circle.
    fn forget(&self);
    /// The start failed: it listens nowhere.
    fn unbind(&self);
}

impl<H: Handler> Declared for Arc<NetworkCore<H>> {
    fn name(&self) -> &str {
        &self.name
    }

    fn index(&self) -> usize {
        self.index
    }

    fn port(&self) -> &Arc<PortCore> {
        &self.port
    }

    fn turns(&self) -> &Arc<PortCore> {
        &self.turns
    }

    fn lane(&self) -> usize {
        self.lane
    }

    fn events(&self) -> &Events {
        &self.events
    }

    fn sessions(&self) -> usize {
        self.registry.count()
    }

    fn sessions_max(&self) -> usize {
        match self.options.links {
            0 => self.options.sessions_max,
            links => links,
        }
    }

    fn send_queues(&self) -> (usize, usize) {
        let (mut bytes, mut behind) = (0, 0);
        self.registry.for_each(|session| {
            let queue = session.send_queue();
            bytes += queue.bytes;
            behind += usize::from(queue.behind);
        });
        (bytes, behind)
    }

    fn memory(&self) -> &Memory {
        &self.memory
    }

    fn holders(&self, into: &mut Vec<Holder>) {
        self.registry.for_each(|session| {
            let grains = session.0.held_grains();
            if grains > 0 {
                into.push(Holder {
                    grains,
                    closing: session.0.word.has(word::SHUT),
                    session: session.0.as_served(),
                });
            }
        });
    }

    fn is_server(&self) -> bool {
        self.options.links == 0
    }

    fn listens_on(&self) -> Vec<SocketAddr> {
        let bound = self.local_addrs.lock().clone();
        if !self.is_server() {
            Vec::new()
        } else if bound.is_empty() {
            self.addrs.clone()
        } else {
            bound
        }
    }

    fn bind(&self) -> Result<()> {
        if self.is_server() {
            self.bind_listeners()
        } else {
            self.make_links()
        }
    }

    fn go(&self) -> Result<()> {
        for listener in self.listeners.lock().iter() {
            listener.register().map_err(|error| {
                let message = format!("network \"{}\": its listener can't be watched", self.name);
                Error::new(ErrorKind::System, message).caused_by(error)
            })?;
        }
        // From now on only what listens keeps them open.
        self.adopted.lock().clear();
        for link in self.links.lock().iter() {
            link.start(self.port.now());
        }
        Ok(())
    }

    fn stop(&self, abort: bool) {
        self.stopping.store(true, Ordering::Release);
        // Before places are counted: who has taken one and saw no stop is counted.
        std::sync::atomic::fence(Ordering::SeqCst);
        for tenant in self.port.table.tenants() {
            if tenant.network() == Some(self.index) {
                tenant.shutdown(abort);
            }
        }
    }

    fn stop_accepting(&self) {
        for listener in self.listeners.lock().iter() {
            Arc::clone(listener).shutdown(false);
        }
    }

    fn has_stopped_accepting(&self) -> bool {
        self.listeners
            .lock()
            .iter()
            .all(|listener| listener.is_closed())
    }

    fn share_listeners(&self) -> io::Result<Vec<Named>> {
        let listeners = self.listeners.lock();
        let shared = listeners
            .iter()
            .enumerate()
            .filter_map(|(index, listener)| {
                let shared = listener.share()?;
                Some(shared.map(|shared| (name_of(&self.name, index), shared)))
            });
        shared.collect()
    }

    fn forget(&self) {
        self.listeners.lock().clear();
        self.links.lock().clear();
        drop(self.held.take());
        let groups = std::mem::take(&mut *self.groups.lock());
        for group in groups.iter().filter_map(Weak::upgrade) {
            // Dropped outside the lock: a session may take a user's value with it.
            drop(std::mem::take(&mut *group.lock()));
        }
    }

    fn unbind(&self) {
        self.forget();
        self.local_addrs.lock().clear();
    }
}
