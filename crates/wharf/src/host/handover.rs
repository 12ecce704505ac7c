//! A restart without loss: the listeners go from the process that runs to the one that replaces it,
//! which says when it serves; the old one then accepts no more and waits until its sessions leave.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;

use super::{Engine, Host, Shared, Stage};
use crate::contain::or_abort;
use crate::error::{Error, ErrorKind, Result};
use crate::network::Declared;
use crate::port::inherit::{Channel, Named, Offer, take_over};
use crate::say::say;

/// Between two looks whether all sessions have left.
const LOOK: Duration = Duration::from_millis(100);

/// What a host knows of its predecessor and successors.
#[derive(Debug)]
pub(super) struct Handover {
    offer: Arc<Offer>,
    drain: Duration,
    /// Waits to hear that this process serves.
    predecessor: Option<Channel>,
    /// What it gave and no network has taken yet.
    inherited: Vec<Named>,
    /// Was given the listeners, and has not said yet that it serves.
    successor: Arc<Mutex<Option<Arc<Channel>>>>,
    thread: Option<JoinHandle<()>>,
}

impl Host {
    /// Takes part in restarts without loss, at a Unix socket of this path: call it before servers
    /// are declared.
    ///
    /// If a process waits there already, an older one of this program, it gives its listeners:
    /// a server of the same name that listens on the same addresses takes them instead of binding
    /// its own. Once this host has started, the older one accepts no more, serves its sessions
    /// until they leave by themselves, at most `drain` long, and stops. From its start on this host
    /// waits at the path for its own successor. No connect is refused meanwhile, as the waiting
    /// connections belong to the listeners; and if the new process does not come to serve, the old
    /// one goes on as if nothing had been.
    ///
    /// Returns whether listeners were taken over. Who may write to the path's directory decides who
    /// may take them: use one of your own, as `/run/NAME`.
    ///
    /// # Errors
    /// A path that no socket can be made at; a process there that is none of wharf's; a system that
    /// is no Unix; a host that has started.
    pub fn hand_over_at(&mut self, path: impl AsRef<Path>, drain: Duration) -> Result<bool> {
        let path = path.as_ref();
        let failed = |error: io::Error| {
            let message = format!("the handover at \"{}\" is not possible", path.display());
            Error::new(ErrorKind::Listen, message).caused_by(error)
        };
        if !matches!(self.shared.inner.lock().stage, Stage::Declaring) {
            let message = "the host runs already: a handover is arranged before the start";
            return Err(Shared::state_error(message));
        }
        if !matches!(self.shared.engine, Engine::Threads) {
            return Err(failed(io::ErrorKind::Unsupported.into()));
        }
        let offer = Arc::new(Offer::bind(path).map_err(failed)?);
        let taken = take_over(path).map_err(failed)?;
        let (inherited, predecessor) = match taken {
            Some((inherited, predecessor)) => (inherited, Some(predecessor)),
            None => (Vec::new(), None),
        };
        let any = !inherited.is_empty();
        *self.shared.handover.lock() = Some(Handover {
            offer,
            drain,
            predecessor,
            inherited,
            successor: Arc::default(),
            thread: None,
        });
        Ok(any)
    }
}

/// What a network's listener is called on the way.
pub(crate) fn name_of(network: &str, index: usize) -> String {
    format!("{network} {index}")
}

impl Shared {
    /// The listener that the predecessor gave for this address of a network. With another address
    /// it stays where it is, and is closed at the start.
    pub(super) fn inherited(
        &self,
        network: &str,
        index: usize,
        wanted: Option<SocketAddr>,
    ) -> Option<TcpListener> {
        let mut handover = self.handover.lock();
        let inherited = &mut handover.as_mut()?.inherited;
        let name = name_of(network, index);
        let at = inherited.iter().position(|(given, listener)| {
            let fits = |wanted: SocketAddr| {
                let local = listener.local_addr();
                local.is_ok_and(|local| local == wanted || same_but_port_0(local, wanted))
            };
            *given == name && wanted.is_none_or(fits)
        })?;
        Some(inherited.remove(at).1)
    }

    /// The host serves: the predecessor may go, and a successor may come.
    pub(super) fn begin_handover(self: &Arc<Self>) -> Result<()> {
        let mut handover = self.handover.lock();
        let Some(handover) = handover.as_mut() else {
            return Ok(());
        };
        handover.inherited.clear();
        handover.offer.publish().map_err(|error| {
            let message = "the socket for a handover can't be put in its place";
            Error::new(ErrorKind::Listen, message).caused_by(error)
        })?;
        if let Some(predecessor) = handover.predecessor.take() {
            // If it is gone, there is nobody to tell.
            let _ = predecessor.say_ready();
        }
        let (shared, offer) = (Arc::downgrade(self), Arc::clone(&handover.offer));
        let (successor, drain) = (Arc::clone(&handover.successor), handover.drain);
        let thread = std::thread::Builder::new()
            .name("wharf-handover".to_owned())
            .spawn(move || or_abort(|| wait_for_successors(&shared, &offer, &successor, drain)))?;
        handover.thread = Some(thread);
        Ok(())
    }

    /// The host has stopped: nobody waits any more.
    pub(super) fn end_handover(&self) {
        let Some(mut handover) = self.handover.lock().take() else {
            return;
        };
        handover.offer.end();
        if let Some(successor) = handover.successor.lock().take() {
            successor.end();
        }
        if let Some(thread) = handover.thread.take() {
            // It does not panic: that would have ended the process.
            let _ = thread.join();
        }
    }

    /// Gives the listeners of all servers; nothing if a stop has begun.
    fn give(&self, to: &Channel) -> io::Result<()> {
        let networks = {
            let inner = self.inner.lock();
            match inner.stage {
                Stage::Running => inner.networks.clone(),
                _ => return Err(io::ErrorKind::NotConnected.into()),
            }
        };
        let mut listeners = Vec::new();
        for network in &networks {
            listeners.extend(network.share_listeners()?);
        }
        to.send(&listeners)
    }

    /// Accepts no more, waits until all sessions of servers have left, or `drain`, and stops.
    fn retire(self: &Arc<Self>, drain: Duration) {
        let (servers, clock) = {
            let inner = self.inner.lock();
            let servers = inner.networks.iter().filter(|network| network.is_server());
            let servers: Vec<Arc<dyn Declared>> = servers.cloned().collect();
            (servers, inner.each_crew().next().cloned())
        };
        servers.iter().for_each(|server| server.stop_accepting());
        if let Some(clock) = clock {
            let until = clock.core.now() + drain;
            let mut inner = self.inner.lock();
            while matches!(inner.stage, Stage::Running) && clock.core.now() < until {
                // In this order: what a listener accepted last is counted before it is closed.
                let left = |server: &Arc<dyn Declared>| {
                    server.has_stopped_accepting()
                        && server.events().live.load(Ordering::Acquire) == 0
                };
                if servers.iter().all(left) {
                    break;
                }
                self.changed.wait_for(&mut inner, LOOK);
            }
        }
        self.request_stop();
    }
}

fn same_but_port_0(local: SocketAddr, wanted: SocketAddr) -> bool {
    wanted.port() == 0 && local.ip() == wanted.ip()
}

/// One successor after the other, until one serves.
fn wait_for_successors(
    shared: &Weak<Shared>,
    offer: &Offer,
    asking: &Mutex<Option<Arc<Channel>>>,
    drain: Duration,
) {
    while let Ok(successor) = offer.wait() {
        let successor = Arc::new(successor);
        *asking.lock() = Some(Arc::clone(&successor));
        let Some(host) = shared.upgrade() else { return };
        if let Err(error) = host.give(&successor) {
            say!(warn, %error, "a successor asked for the listeners and did not get them");
            continue;
        }
        drop(host);
        say!(info, "a successor has the listeners");
        if successor.is_ready() {
            say!(info, ?drain, "the successor serves; this process drains");
            if let Some(host) = shared.upgrade() {
                host.retire(drain);
            }
            return;
        }
        say!(
            warn,
            "the successor is gone before it served; this process goes on"
        );
    }
    // The wait was ended, and nobody took over.
    offer.withdraw();
}
