//! A client link: keeps one connection up, trying its addresses in turn, with growing pauses.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;

use super::NetworkCore;
use super::client::LinkState;
use crate::error::CloseReason;
use crate::handler::Handler;
use crate::port::{Served, Token};
use crate::say::say;
use crate::session::{Session, SessionId};
use crate::time::Time;

/// A link. All it does is port work: no user code, no waiting.
pub(crate) struct Link<H: Handler> {
    token: Token,
    net: Arc<NetworkCore<H>>,
    inner: Mutex<Inner>,
}

struct Inner {
    state: State,
    /// What its targets stand for in this round.
    addrs: Vec<SocketAddr>,
    /// The names were looked up in this round.
    looked: bool,
    /// The address to try next.
    next_addr: usize,
    /// Attempts since the last pause: a round ends when all addresses were tried.
    tried: usize,
    /// Rounds without a stable connection.
    round: u32,
    last_error: String,
    /// Failed connects that the log has been told of since it was last open.
    told: usize,
    random: fastrand::Rng,
    stopped: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Until the answer, or until it takes too long.
    Resolving,
    Connecting(SocketAddr, SessionId),
    Connected(SessionId, Time),
    Waiting(Time),
}

impl<H: Handler> Link<H> {
    pub(super) fn new(token: Token, net: Arc<NetworkCore<H>>) -> Self {
        // A source of its own for each link of each process, so that their pauses spread.
        let seed = net.port.backend.entropy();
        let inner = Inner {
            state: State::Waiting(Time::ZERO),
            addrs: net.names.answer().addrs,
            looked: false,
            next_addr: 0,
            tried: 0,
            round: 0,
            last_error: String::new(),
            told: 0,
            random: fastrand::Rng::with_seed(seed),
            stopped: false,
        };
        Self {
            token,
            net,
            inner: Mutex::new(inner),
        }
    }

    /// The first connect, at the next look at the timers.
    pub(super) fn start(&self, now: Time) {
        self.net.port.arm(self.token, now);
    }

    /// How it stands.
    pub(super) fn state(&self, now: Time) -> LinkState {
        let inner = self.inner.lock();
        match inner.state {
            State::Connected(session, _) => LinkState::Connected(session),
            _ if inner.stopped => LinkState::Stopped,
            State::Resolving => LinkState::Resolving,
            State::Connecting(addr, _) => LinkState::Connecting(addr),
            State::Waiting(until) => LinkState::Waiting {
                retry_in: until.since(now),
                last_error: inner.last_error.clone(),
            },
        }
    }

    /// Its time has come: the next address; in a new round first what its names stand for.
    fn go_on(self: &Arc<Self>, now: Time) {
        let looks = {
            let mut inner = self.inner.lock();
            let looks = match inner.state {
                State::Waiting(until) if until <= now => {
                    inner.tried == 0 && !inner.looked && self.net.names.are_any()
                }
                // The answer takes too long: on with what is known, if anything is.
                State::Resolving if !inner.addrs.is_empty() => false,
                _ => return,
            };
            if inner.stopped {
                return;
            }
            inner.state = if looks {
                State::Resolving
            } else {
                State::Waiting(now)
            };
            inner.looked |= looks;
            looks
        };
        if looks {
            self.net
                .port
                .arm(self.token, now + self.net.options.connect_timeout);
            self.net.look_up(self, now);
        } else {
            self.connect(now);
        }
    }

    /// A lookup has ended. Who did not wait for it takes notice in the next round.
    pub(super) fn resolved(&self, now: Time) {
        {
            let mut inner = self.inner.lock();
            if inner.state != State::Resolving {
                return;
            }
            let answer = self.net.names.answer();
            let next = inner.addrs.get(inner.next_addr).copied();
            let next = answer.addrs.iter().position(|addr| Some(*addr) == next);
            inner.next_addr = next.unwrap_or(0);
            if answer.addrs.is_empty() {
                inner.last_error = answer.error.unwrap_or_default();
            }
            inner.addrs = answer.addrs;
            inner.state = State::Waiting(now);
        }
        self.net.port.arm(self.token, now);
    }

    fn connect(self: &Arc<Self>, now: Time) {
        let addr = {
            let mut inner = self.inner.lock();
            let waiting = matches!(inner.state, State::Waiting(until) if until <= now);
            if inner.stopped || !waiting {
                return;
            }
            let addr = inner.addrs.get(inner.next_addr).copied();
            inner.next_addr = (inner.next_addr + 1) % inner.addrs.len().max(1);
            inner.tried += 1;
            addr
        };
        let Some(addr) = addr else {
            // Nobody knows its names.
            self.wait(now);
            return;
        };
        self.net.events.connects.fetch_add(1, Ordering::Relaxed);
        match self.net.connect(self, addr, now) {
            Ok(session) => {
                let mut inner = self.inner.lock();
                // The connect may have ended on another worker already.
                if matches!(inner.state, State::Waiting(until) if until <= now)
                    && !session.word.has(crate::session::word::DEAD)
                {
                    inner.state = State::Connecting(addr, session.id);
                }
            }
            Err(error) => {
                self.connect_failed(addr, &error);
                self.wait(now);
            }
        }
    }

    /// A session of this link is open.
    pub(crate) fn opened(&self, session: &Session<H>) {
        {
            let mut inner = self.inner.lock();
            inner.state = State::Connected(session.id(), self.net.port.now());
            inner.tried = 0;
            inner.told = 0;
        }
        say!(info, network = %self.net.name, session = %session.id(), peer = %session.0.peer(),
            "a link is open");
    }

    /// A connect failed: for the log (once an outage for each address), the counters and the state.
    pub(crate) fn connect_failed(&self, addr: SocketAddr, error: &io::Error) {
        self.net
            .events
            .connects_failed
            .fetch_add(1, Ordering::Relaxed);
        let news = {
            let mut inner = self.inner.lock();
            inner.last_error = format!("{addr}: {error}");
            let news = inner.told < inner.addrs.len();
            inner.told += usize::from(news);
            news
        };
        // Without the lock: whoever takes the log may ask how the links stand.
        if news {
            say!(warn, network = %self.net.name, %addr, %error, "a link could not connect");
        }
    }

    /// The link's session has let go of its socket.
    pub(crate) fn ended(self: &Arc<Self>, session: SessionId, why: &CloseReason) {
        let now = self.net.port.now();
        let lost = {
            let mut inner = self.inner.lock();
            let was = inner.state;
            if let State::Connected(_, since) = was {
                if now.since(since) >= self.net.options.reconnect.stable {
                    inner.round = 0;
                    // Back to the address that served: the one that was tried last.
                    let addrs = inner.addrs.len().max(1);
                    inner.next_addr = (inner.next_addr + addrs - 1) % addrs;
                } else {
                    // Accepted and cut at once: as good as a refusal, so the pause grows.
                    inner.tried = inner.addrs.len();
                }
                inner.last_error = format!("session {session} ended: {why}");
            }
            inner.state = State::Waiting(Time::NEVER);
            matches!(was, State::Connected(..))
        };
        let ours = matches!(
            why,
            CloseReason::Closed | CloseReason::Aborted | CloseReason::Shutdown
        );
        if lost && !ours {
            say!(warn, network = %self.net.name, %session, %why, "a link was lost");
        }
        self.wait(now);
    }

    /// Sets the moment of the next attempt: at once while a round lasts, then after a pause.
    fn wait(&self, now: Time) {
        let reconnect = &self.net.options.reconnect;
        let at = {
            let mut inner = self.inner.lock();
            if !reconnect.enabled || self.net.is_stopping() {
                inner.stopped = true;
                return;
            }
            // `tried` is 0 after a connection that lived: that one's address comes again first.
            let pause = if (1..inner.addrs.len()).contains(&inner.tried) {
                Duration::ZERO
            } else {
                let random = inner.random.f64();
                let pause = reconnect.pause(inner.round, random);
                inner.round += 1;
                inner.tried = 0;
                inner.looked = false;
                pause
            };
            let at = now + pause;
            inner.state = State::Waiting(at);
            at
        };
        self.net.port.arm(self.token, at);
    }
}

impl<H: Handler> Served for Link<H> {
    fn work(self: Arc<Self>, now: Time) {
        self.go_on(now);
    }

    fn timer(self: Arc<Self>, now: Time) {
        self.go_on(now);
    }

    fn identity(&self) -> (u64, usize) {
        (0, self.net.index)
    }

    fn shutdown(self: Arc<Self>, _: bool) {
        self.inner.lock().stopped = true;
        self.net.port.disarm(self.token);
        self.net.port.table.remove(self.token);
    }

    fn unreported(self: Arc<Self>, _: io::ErrorKind) {
        self.shutdown(true);
    }

    fn discard(self: Arc<Self>) {}
}
