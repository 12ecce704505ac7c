//! What a port is told: reports of its sockets, wakes and its timer.

use std::io::{self, ErrorKind};

use super::log::What;
use super::net::{Event, Id, World};
use crate::port::contract::{Bits, Ready, Token};
use crate::time::Time;

/// The most reports that faults may add to a port's queue: they must not feed on themselves.
const EXTRAS_MAX: usize = 256;

/// Where a socket's reports go.
#[derive(Debug)]
pub(super) struct Registration {
    port: usize,
    token: Token,
    /// What was noted since the last report was taken.
    bits: Bits,
    /// A report is queued or on its way; further transitions join it.
    queued: bool,
}

/// A report that is queued.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    id: Id,
    token: Token,
    /// None: the bits that the registration has gathered when it is taken. Some: a fault's own.
    extra: Option<Bits>,
}

/// What the kernel would keep for a port.
#[derive(Debug, Default)]
pub(super) struct PortState {
    closed: bool,
    queue: Vec<Entry>,
    registered: Vec<Id>,
    extras: usize,
    wake: bool,
    timer: Option<Time>,
}

impl World {
    pub(super) fn add_port(&mut self) -> usize {
        self.ports.push(PortState::default());
        self.ports.len() - 1
    }

    /// The port is gone: what its sockets report goes nowhere.
    pub(super) fn close_port(&mut self, port: usize) {
        if let Some(port) = self.ports.get_mut(port) {
            *port = PortState {
                closed: true,
                ..PortState::default()
            };
        }
    }

    pub(super) fn wake(&mut self, port: usize) {
        if let Some(port) = self.ports.get_mut(port) {
            port.wake = true;
        }
    }

    pub(super) fn set_timer(&mut self, port: usize, at: Option<Time>) {
        if let Some(port) = self.ports.get_mut(port) {
            port.timer = at;
        }
    }

    /// Whether a harvest would find something.
    pub(super) fn port_ready(&self, port: usize) -> bool {
        self.ports.get(port).is_some_and(|state| {
            !state.queue.is_empty() || state.wake || state.timer.is_some_and(|at| at <= self.now)
        })
    }

    /// The next moment at which a timer expires.
    pub(super) fn next_timer(&self) -> Option<Time> {
        let timers = self.ports.iter().filter_map(|port| port.timer);
        timers
            .filter(|at| *at > self.now && *at < Time::NEVER)
            .min()
    }

    fn registration_slot(&mut self, id: Id) -> Option<&mut Option<Registration>> {
        match self.streams.get_mut(&id) {
            Some(stream) => Some(&mut stream.registration),
            None => self
                .listeners
                .get_mut(&id)
                .map(|listener| &mut listener.registration),
        }
    }

    fn registration(&mut self, id: Id) -> Option<&mut Registration> {
        self.registration_slot(id)?.as_mut()
    }

    pub(super) fn register(&mut self, port: usize, token: Token, id: Id) -> io::Result<()> {
        let registration = self.registration_slot(id).ok_or(ErrorKind::NotFound)?;
        if registration.is_some() {
            return Err(ErrorKind::AlreadyExists.into());
        }
        *registration = Some(Registration {
            port,
            token,
            bits: Bits::default(),
            queued: false,
        });
        if let Some(state) = self.ports.get_mut(port) {
            state.registered.push(id);
        }
        let level = self.level(id);
        if level != Bits::default() {
            self.report(id, level);
        }
        Ok(())
    }

    /// What holds for a socket right now.
    fn level(&self, id: Id) -> Bits {
        if let Some(stream) = self.streams.get(&id) {
            let peer = stream.peer.and_then(|peer| self.streams.get(&peer));
            return Self::stream_level(stream, peer.is_none_or(|peer| peer.rx.space() > 0));
        }
        match self.listeners.get(&id) {
            Some(listener) if listener.down => Bits::READ.with(Bits::HANGUP),
            Some(listener) if !listener.waiting.is_empty() => Bits::READ,
            _ => Bits::default(),
        }
    }

    /// Notes a transition of a socket, if it is registered.
    pub(super) fn report(&mut self, id: Id, bits: Bits) {
        let Some(registration) = self.registration(id) else {
            return;
        };
        let (port, token) = (registration.port, registration.token);
        registration.bits = registration.bits.with(bits);
        if !std::mem::replace(&mut registration.queued, true) {
            self.send_report(
                port,
                Entry {
                    id,
                    token,
                    extra: None,
                },
            );
        }
        if self.coin(self.faults.doubled_reports) {
            self.fault("doubled report", id);
            self.add_extra(
                port,
                Entry {
                    id,
                    token,
                    extra: Some(bits),
                },
            );
        }
        if self.coin(self.faults.spurious_reports) {
            self.spurious_report(port);
        }
    }

    fn spurious_report(&mut self, port: usize) {
        let Some(state) = self.ports.get(port) else {
            return;
        };
        if state.registered.is_empty() {
            return;
        }
        let place = self.rng.usize(0..state.registered.len());
        let id = state.registered[place];
        let bits = Bits(self.rng.u8(1..=3));
        if let Some(token) = self.registration(id).map(|registration| registration.token) {
            self.fault("spurious report", id);
            self.add_extra(
                port,
                Entry {
                    id,
                    token,
                    extra: Some(bits),
                },
            );
        }
    }

    /// The socket is about to close: perhaps its token is seen once more.
    pub(super) fn stale_report(&mut self, id: Id) {
        let Some(registration) = self.registration(id) else {
            return;
        };
        let (port, token) = (registration.port, registration.token);
        if let Some(state) = self.ports.get_mut(port)
            && let Some(place) = state.registered.iter().position(|other| *other == id)
        {
            state.registered.swap_remove(place);
        }
        if self.coin(self.faults.stale_reports) {
            self.fault("report after the close", id);
            let bits = Bits(self.rng.u8(1..=31));
            self.add_extra(
                port,
                Entry {
                    id,
                    token,
                    extra: Some(bits),
                },
            );
        }
    }

    fn add_extra(&mut self, port: usize, entry: Entry) {
        if let Some(state) = self.ports.get_mut(port)
            && state.extras < EXTRAS_MAX
        {
            state.extras += 1;
            self.send_report(port, entry);
        }
    }

    /// Queues a report, now or late.
    fn send_report(&mut self, port: usize, entry: Entry) {
        let mut at = self.now;
        if self.coin(self.faults.late_reports) {
            at = at + self.some_time(self.faults.late_max);
        }
        self.plan(at, Event::Report(port, entry));
    }

    pub(super) fn queue_report(&mut self, port: usize, entry: Entry) {
        if let Some(state) = self.ports.get_mut(port)
            && !state.closed
        {
            state.queue.push(entry);
        }
    }

    /// Moves what is there for `port` to `out`, at most `max` reports, in a seeded order.
    pub(super) fn wait(&mut self, port: usize, out: &mut Vec<Ready>, max: usize) {
        let mut left = max;
        while left > 0 {
            let Some(ready) = self.next_report(port) else {
                return;
            };
            let Some(ready) = ready else { continue };
            self.note(What::Reported(port, ready));
            out.push(ready);
            left -= 1;
        }
    }

    /// Takes one thing that is there for `port`; `Some(None)` is a report of a closed socket that
    /// nobody needs to see.
    fn next_report(&mut self, port: usize) -> Option<Option<Ready>> {
        let now = self.now;
        let state = self.ports.get_mut(port)?;
        let (queued, woken) = (state.queue.len(), usize::from(state.wake));
        let expired = usize::from(state.timer.is_some_and(|at| at <= now));
        if queued + woken + expired == 0 {
            return None;
        }
        let choice = self.rng.usize(0..queued + woken + expired);
        if choice < queued {
            let entry = state.queue.swap_remove(choice);
            return Some(self.take_report(port, entry));
        }
        let token = if choice < queued + woken {
            state.wake = false;
            Token::WAKE
        } else {
            state.timer = None;
            Token::TIMER
        };
        Some(Some(Ready {
            token,
            bits: Bits::default(),
        }))
    }

    fn take_report(&mut self, port: usize, entry: Entry) -> Option<Ready> {
        let token = entry.token;
        if let Some(bits) = entry.extra {
            if let Some(state) = self.ports.get_mut(port) {
                state.extras = state.extras.saturating_sub(1);
            }
            return Some(Ready { token, bits });
        }
        let registration = self.registration(entry.id)?;
        registration.queued = false;
        let mut bits = std::mem::take(&mut registration.bits);
        // An epoll says all that holds now, a completion port only what happened: be either.
        if self.rng.bool() {
            bits = bits.with(self.level(entry.id));
        }
        Some(Ready { token, bits })
    }
}
