//! The other end of every session: the lab's own network code, so that it shares no bug with what
//! it measures.
//!
//! One thread, one poller; players and the peers of links side by side. An open loop sends what its
//! schedule says, and a latency runs from the moment a frame was due, whether or not it could be
//! sent then (coordinated omission). Every answer is checked byte by byte.

mod clock;
mod conn;
mod io;
mod pacer;
mod run;
pub(crate) mod schedule;
mod tally;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use mio::{Interest, Poll, Token};

pub(crate) use clock::{Clock, nanos};
pub(crate) use schedule::Spread;
pub(crate) use tally::Tally;

use conn::Conn;

use super::workload::Role;
use crate::exit::Failure;
use crate::load::Frames;
use crate::pause::pause;

/// How long all connections together may take to come up.
const CONNECT_TIME: Duration = Duration::from_secs(10);
/// A look at a listener whose links have not all come.
const LOOK: Duration = Duration::from_millis(1);
/// The token of the waker; connections use their index.
const WAKE: Token = Token(usize::MAX);
/// Bytes read at once, and gathered in one write.
const BUFFER: usize = 64 * 1024;

/// One class as the driver plays it.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    /// Its name.
    pub(crate) name: String,
    /// What the process under test is in it.
    pub(crate) role: Role,
    /// Sessions.
    pub(crate) sessions: u32,
    /// Bytes of a frame.
    pub(crate) frame_bytes: u16,
    /// Whether answers come.
    pub(crate) replies: bool,
    /// What is sent.
    pub(crate) drive: Drive,
}

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Drive {
    /// By a schedule.
    Open(Spread),
    /// So many frames on their way, each session.
    Closed(u32),
    /// Nothing.
    Silent,
}

/// When things happen, in ns of the clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    /// The first frame.
    pub(crate) start: u64,
    /// The first frame that is measured.
    pub(crate) measure: u64,
    /// The end of sending and measuring.
    pub(crate) stop: u64,
}

/// The far ends of all classes.
#[derive(Debug)]
pub(crate) struct Driver {
    parts: Vec<Part>,
    listeners: Vec<Option<TcpListener>>,
    /// Index of the first connection of each class; they are in the order of the classes.
    first: Vec<usize>,
    conns: Vec<Conn>,
    /// Builds and checks the frames, one size a class.
    frames: Vec<Frames>,
    tallies: Vec<Tally>,
    poll: Poll,
    inbox: Vec<u8>,
    outbox: Vec<u8>,
    /// Connections with more to do than fits one go; each at most once.
    again: VecDeque<usize>,
    timing: Timing,
    /// When an answer came last.
    heard: u64,
}

impl Driver {
    /// Listens for the links of the client classes.
    ///
    /// # Errors
    /// A machine that refuses a socket or a poller.
    pub(crate) fn bind(parts: Vec<Part>) -> Result<Self, Failure> {
        let refused = |error| Failure::machine(format!("the lab could not listen: {error}"));
        let mut listeners = Vec::new();
        for part in &parts {
            listeners.push(match part.role {
                Role::Server => None,
                Role::Client => {
                    let listener = TcpListener::bind("127.0.0.1:0").map_err(refused)?;
                    listener.set_nonblocking(true).map_err(refused)?;
                    Some(listener)
                }
            });
        }
        let poll = Poll::new()
            .map_err(|error| Failure::machine(format!("the lab could not poll: {error}")))?;
        let frames = parts.iter().map(|part| Frames::new(part.frame_bytes));
        Ok(Self {
            frames: frames.collect(),
            tallies: parts.iter().map(|_| Tally::default()).collect(),
            parts,
            listeners,
            first: Vec::new(),
            conns: Vec::new(),
            poll,
            inbox: vec![0; 2 * BUFFER],
            outbox: vec![0; BUFFER],
            again: VecDeque::new(),
            timing: Timing {
                start: u64::MAX,
                measure: u64::MAX,
                stop: u64::MAX,
            },
            heard: 0,
        })
    }

    /// Where the links of each client class must connect to.
    ///
    /// # Errors
    /// A machine that does not know where it listens.
    pub(crate) fn peers(&self) -> Result<Vec<(String, SocketAddr)>, Failure> {
        let listening = self.parts.iter().zip(&self.listeners);
        let addr = |(part, listener): (&Part, &Option<TcpListener>)| {
            let addr = listener.as_ref()?.local_addr();
            Some(addr.map(|addr| (part.name.clone(), addr)))
        };
        let all = listening.filter_map(addr).collect::<Result<_, _>>();
        all.map_err(|error| Failure::machine(format!("a listener has no address: {error}")))
    }

    /// Opens every session: connects to the servers, waits for the links.
    ///
    /// # Errors
    /// A session that does not come up in ten seconds.
    pub(crate) fn connect(
        &mut self,
        servers: &BTreeMap<String, SocketAddr>,
    ) -> Result<(), Failure> {
        let clock = Clock::new();
        for class in 0..self.parts.len() {
            self.first.push(self.conns.len());
            for session in 0..self.parts[class].sessions {
                let stream = match &self.listeners[class] {
                    Some(listener) => accept(listener, clock),
                    None => dial(servers.get(&self.parts[class].name)),
                };
                stream
                    .and_then(|stream| self.add(class, stream))
                    .map_err(|error| self.not_up(class, session, &error))?;
            }
        }
        Ok(())
    }

    fn add(&mut self, class: usize, stream: TcpStream) -> std::io::Result<()> {
        stream.set_nonblocking(true)?;
        // Frames are gathered by us; Nagle's algorithm would only delay the last one.
        stream.set_nodelay(true)?;
        let mut stream = mio::net::TcpStream::from_std(stream);
        let index = self.conns.len();
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll
            .registry()
            .register(&mut stream, Token(index), interest)?;
        let number = u32::try_from(index).unwrap_or(u32::MAX);
        self.conns.push(Conn::new(class, number, stream));
        Ok(())
    }

    fn not_up(&self, class: usize, session: u32, error: &std::io::Error) -> Failure {
        let Part { name, sessions, .. } = &self.parts[class];
        Failure::fault(format!(
            "class {name}: session {} of {sessions} did not come up: {error}",
            session + 1
        ))
    }
}

fn dial(server: Option<&SocketAddr>) -> std::io::Result<TcpStream> {
    let none = || std::io::Error::new(ErrorKind::NotFound, "the server does not say where it is");
    TcpStream::connect_timeout(server.ok_or_else(none)?, CONNECT_TIME)
}

fn accept(listener: &TcpListener, clock: Clock) -> std::io::Result<TcpStream> {
    loop {
        match listener.accept() {
            Ok((stream, _)) => return Ok(stream),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                if clock.now() > nanos(CONNECT_TIME) {
                    return Err(std::io::Error::new(
                        ErrorKind::TimedOut,
                        "the link has not come",
                    ));
                }
                pause(LOOK);
            }
            Err(error) => return Err(error),
        }
    }
}
