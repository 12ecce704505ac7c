//! Well-behaved sessions: many of them on one thread, each network's latency by itself.

mod conn;
mod stream;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use fastrand::Rng;
use hdrhistogram::Histogram;
use mio::{Events, Interest, Poll, Token};
use serde::Serialize;

use super::orders::{Order, Orders, tell};
use crate::args::SoakInnocentsArgs;
use crate::exit::Failure;
use conn::{Conn, How};

/// The longest sleep: orders come meanwhile.
const LOOK: Duration = Duration::from_millis(10);
/// A network that can't be reached is tried again after so long.
const RETRY: Duration = Duration::from_millis(100);
/// The longest latency that is told apart, in microseconds.
const US_MAX: u64 = 600_000_000;

/// What is told at the end of a phase.
#[derive(Debug, Serialize)]
struct Told {
    /// Frames that ask for an answer, of all sessions so far, those that are over included.
    sent: u64,
    answered: u64,
    connects: u64,
    connects_failed: u64,
    /// By network: of the phase.
    latency: BTreeMap<String, Latency>,
}

#[derive(Debug, Serialize)]
struct Latency {
    answers: u64,
    p50_us: u64,
    p99_us: u64,
    max_us: u64,
}

/// A place for a session, empty between two of them.
struct Place {
    network: usize,
    conn: Option<Conn>,
    retry_at: Instant,
}

struct Crowd {
    poll: Poll,
    to: Vec<(String, SocketAddr)>,
    places: Vec<Place>,
    period: Duration,
    random: Rng,
    next_number: u64,
    finishing: bool,
    latency: Vec<Histogram<u64>>,
    sent: u64,
    answered: u64,
    connects: u64,
    connects_failed: u64,
}

/// Plays until it is told to finish and everybody has.
///
/// # Errors
/// No poller to be had.
pub(super) fn run(args: &SoakInnocentsArgs) -> Result<(), Failure> {
    let orders = Orders::read()?;
    let mut crowd = Crowd::new(args)?;
    let mut events = Events::with_capacity(1024);
    tell("ready", &crowd.places.len())?;
    loop {
        match orders.look() {
            Order::Line(order) => crowd.obey(&order)?,
            Order::None => {}
            Order::End => return Ok(()),
        }
        crowd.step()?;
        if crowd.finishing && crowd.places.iter().all(|place| place.conn.is_none()) {
            let told = crowd.told();
            return tell("done", &told);
        }
        let now = Instant::now();
        let due = crowd.places.iter().filter_map(|p| p.conn.as_ref()?.due());
        let sleep = due
            .min()
            .map_or(LOOK, |due| LOOK.min(due.saturating_duration_since(now)));
        match crowd.poll.poll(&mut events, Some(sleep)) {
            Err(error) if error.kind() != std::io::ErrorKind::Interrupted => {
                return Err(Failure::machine(format!("the poller failed: {error}")));
            }
            _ => {}
        }
        for event in &events {
            crowd.ready(event.token().0)?;
        }
    }
}

impl Crowd {
    fn new(args: &SoakInnocentsArgs) -> Result<Self, Failure> {
        let machine = |what: &str| Failure::machine(format!("no {what} for the innocents"));
        let histogram = || Histogram::new_with_max(US_MAX, 3).map_err(|_| machine("histogram"));
        let places = (0..args.to.len() * args.sessions).map(|at| Place {
            network: at % args.to.len(),
            conn: None,
            retry_at: Instant::now(),
        });
        Ok(Self {
            poll: Poll::new().map_err(|_| machine("poller"))?,
            to: args.to.clone(),
            places: places.collect(),
            period: Duration::from_secs(1) / args.rate.max(1),
            random: Rng::with_seed(args.seed),
            next_number: 1,
            finishing: false,
            latency: args
                .to
                .iter()
                .map(|_| histogram())
                .collect::<Result<_, _>>()?,
            sent: 0,
            answered: 0,
            connects: 0,
            connects_failed: 0,
        })
    }

    fn obey(&mut self, order: &str) -> Result<(), Failure> {
        match order {
            "phase" => {
                let told = self.told();
                self.latency.iter_mut().for_each(Histogram::reset);
                tell("phase", &told)
            }
            "finish" => {
                self.finishing = true;
                let conns = self
                    .places
                    .iter_mut()
                    .filter_map(|place| place.conn.as_mut());
                conns.for_each(Conn::finish);
                Ok(())
            }
            other => Err(Failure::usage(format!("\"{other}\" is no order"))),
        }
    }

    fn told(&self) -> Told {
        let (mut sent, mut answered) = (self.sent, self.answered);
        for conn in self.places.iter().filter_map(|place| place.conn.as_ref()) {
            let moved = conn.moved();
            sent += moved.0;
            answered += moved.1;
        }
        let latency = |(at, histogram): (usize, &Histogram<u64>)| {
            let latency = Latency {
                answers: histogram.len(),
                p50_us: histogram.value_at_quantile(0.5),
                p99_us: histogram.value_at_quantile(0.99),
                max_us: histogram.max(),
            };
            (self.to[at].0.clone(), latency)
        };
        Told {
            sent,
            answered,
            connects: self.connects,
            connects_failed: self.connects_failed,
            latency: self.latency.iter().enumerate().map(latency).collect(),
        }
    }

    /// Everybody sends what is due; empty places get a new session.
    fn step(&mut self) -> Result<(), Failure> {
        let now = Instant::now();
        for at in 0..self.places.len() {
            let place = &mut self.places[at];
            let how = match &mut place.conn {
                Some(conn) => conn.step(now, &mut self.random),
                None => {
                    if !self.finishing && now >= place.retry_at {
                        self.connect(at);
                    }
                    None
                }
            };
            if let Some(how) = how {
                self.over(at, how)?;
            }
        }
        Ok(())
    }

    fn connect(&mut self, at: usize) {
        let network = self.places[at].network;
        let to = self.to[network].1;
        let number = self.next_number;
        let conn = Conn::connect(to, number, self.period, &mut self.random);
        let registered = conn.and_then(|mut conn| {
            let interest = Interest::READABLE | Interest::WRITABLE;
            let registry = self.poll.registry();
            registry.register(&mut conn.stream, Token(at), interest)?;
            Ok(conn)
        });
        self.connects += 1;
        self.next_number += 1;
        match registered {
            Ok(conn) => self.places[at].conn = Some(conn),
            Err(_) => {
                self.connects_failed += 1;
                self.places[at].retry_at = Instant::now() + RETRY;
            }
        }
    }

    fn ready(&mut self, at: usize) -> Result<(), Failure> {
        let place = &mut self.places[at];
        let Some(conn) = &mut place.conn else {
            return Ok(());
        };
        let histogram = &mut self.latency[place.network];
        let mut answered = |latency: Duration| {
            let us = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
            histogram.saturating_record(us);
        };
        match conn.ready(&mut answered) {
            Some(how) => self.over(at, how),
            None => {
                if self.finishing {
                    conn.finish();
                }
                Ok(())
            }
        }
    }

    fn over(&mut self, at: usize, how: How) -> Result<(), Failure> {
        let place = &mut self.places[at];
        let Some(mut conn) = place.conn.take() else {
            return Ok(());
        };
        // Closed with it in any case.
        let _ = self.poll.registry().deregister(&mut conn.stream);
        let (sent, answered) = conn.moved();
        self.sent += sent;
        self.answered += answered;
        if how != How::Finished {
            place.retry_at = Instant::now() + RETRY;
        }
        let network = self.to[place.network].0.clone();
        tell("ended", &conn.ended(how, network))
    }
}
