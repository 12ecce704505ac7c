//! The names among a client's addresses: looked up again as its links come back, once for all of
//! them, and never by a worker. While a lookup fails, what was known last is tried.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;

use super::addrs::{self, Known};
use super::{Link, NetworkCore};
use crate::handler::Handler;
use crate::say::say;
use crate::time::Time;

/// Links that come back within so long of an answer take that one.
const FRESH: Duration = Duration::from_secs(1);

/// What a client's addresses stand for.
pub(crate) struct Names(Mutex<Inner>);

struct Inner {
    known: Vec<Known>,
    /// When the last answer came.
    answered: Time,
    /// A lookup is under way, for all links that wait for one.
    looking: bool,
    /// What the last lookup said of the last name that it did not find.
    error: Option<String>,
}

/// What a link has to go by.
pub(super) struct Answer {
    pub(super) addrs: Vec<SocketAddr>,
    /// Why there are none, or not all.
    pub(super) error: Option<String>,
}

impl Names {
    pub(super) fn new(known: Vec<Known>, now: Time) -> Self {
        Self(Mutex::new(Inner {
            known,
            answered: now,
            looking: false,
            error: None,
        }))
    }

    /// Whether there is a name to look up.
    pub(super) fn are_any(&self) -> bool {
        let inner = self.0.lock();
        inner.known.iter().any(|known| known.name().is_some())
    }

    pub(super) fn answer(&self) -> Answer {
        let inner = self.0.lock();
        let mut addrs = Vec::new();
        for addr in inner.known.iter().flat_map(|known| &known.addrs) {
            if !addrs.contains(addr) {
                addrs.push(*addr);
            }
        }
        Answer {
            addrs,
            error: inner.error.clone(),
        }
    }
}

impl<H: Handler> NetworkCore<H> {
    /// Tells a link that waits for it what its addresses are, now or once a lookup has ended. No
    /// lock of the link's may be held.
    pub(super) fn look_up(self: &Arc<Self>, link: &Arc<Link<H>>, now: Time) {
        let names = {
            let mut inner = self.names.0.lock();
            let is_known = inner.known.iter().all(|known| !known.addrs.is_empty());
            if is_known && inner.error.is_none() && now < inner.answered + FRESH {
                drop(inner);
                link.resolved(now);
                return;
            }
            if inner.looking {
                return;
            }
            inner.looking = true;
            let names = inner.known.iter().filter_map(Known::name);
            names.map(str::to_owned).collect()
        };
        self.events.lookups.fetch_add(1, Ordering::Relaxed);
        let net = Arc::downgrade(self);
        let found = Arc::new(move |answers| {
            if let Some(net) = net.upgrade() {
                net.looked_up(answers);
            }
        });
        self.sockets.look_up(names, found);
    }

    /// The answers, by name.
    fn looked_up(&self, answers: Vec<io::Result<Vec<SocketAddr>>>) {
        let now = self.port.now();
        let mut failed = Vec::new();
        let news = {
            let mut inner = self.names.0.lock();
            let names = inner
                .known
                .iter_mut()
                .filter(|known| known.name().is_some());
            for (known, answer) in names.zip(answers) {
                match addrs::found(answer) {
                    Ok(addrs) => known.addrs = addrs,
                    Err(error) => {
                        let name = known.name().unwrap_or_default();
                        failed.push(addrs::unresolved(name, error).to_string());
                    }
                }
            }
            let news = inner.error.is_none();
            inner.error = failed.last().cloned();
            (inner.answered, inner.looking) = (now, false);
            news
        };
        if !failed.is_empty() {
            self.events.lookups_failed.fetch_add(1, Ordering::Relaxed);
        }
        // Once an outage, and without the lock: whoever takes the log may ask how the links stand.
        for error in failed.iter().filter(|_| news) {
            say!(warn, network = %self.name, %error, "what was known last is tried");
        }
        let links = self.links.lock().clone();
        for link in links {
            link.resolved(now);
        }
    }
}
