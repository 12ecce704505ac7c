//! One connection of the generator: its socket, its place in the stream, and how it is made.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use socket2::{Domain, Protocol, Socket, Type};

use super::config::Config;
use super::track::{Seen, Window};
use crate::args::Mode;
use crate::exit::Failure;

/// A connect in progress, as each system says it: EINPROGRESS of Linux, the BSDs and macOS,
/// WSAEWOULDBLOCK. std has no stable `ErrorKind` for the first two.
const IN_PROGRESS: [i32; 3] = [115, 36, 10035];

/// What a connection is doing.
#[derive(Debug)]
pub(crate) enum State {
    /// Nothing: not connected yet, closed, or waiting for the next try.
    None,
    /// Connecting since this time, in ns.
    Connecting(TcpStream, u64),
    /// Connected.
    Open(TcpStream),
}

/// What a connection expects to receive.
#[derive(Debug)]
pub(crate) enum Expect {
    /// Its own frames.
    Own(Window),
    /// The frames of every sender.
    All(Box<[Seen]>),
    /// Nothing.
    Nothing,
}

/// One connection (in churn mode: one slot that is connected again and again).
#[derive(Debug)]
pub(crate) struct Conn {
    /// Its number over all threads; it is in every frame it sends.
    pub(crate) number: u32,
    pub(crate) state: State,
    pub(crate) expect: Expect,
    /// Frames decided to be sent; those not yet written are built again when the socket takes them,
    /// so no connection has an output buffer.
    pub(crate) admitted: u64,
    /// Frames written whole.
    pub(crate) written: u64,
    /// Bytes written of the one after them.
    pub(crate) offset: usize,
    /// Frames it may still admit (churn, idle: one a connection; echo: `--frames`).
    pub(crate) quota: u64,
    /// The socket took less than offered; wait for it to be writable.
    pub(crate) blocked: bool,
    /// In the list of connections to go on with.
    pub(crate) queued: bool,
    /// broadcast: the greeting came. idle: the one reply came.
    pub(crate) ready: bool,
    /// The start of a frame whose rest has not come.
    pub(crate) tail: Vec<u8>,
}

impl Conn {
    /// A connection that is not connected yet.
    pub(crate) fn new(number: u32, config: &Config) -> Self {
        let one_frame = matches!(config.mode, Mode::Churn | Mode::Idle);
        Self {
            number,
            state: State::None,
            expect: match config.mode {
                Mode::Echo | Mode::Churn | Mode::Idle => Expect::Own(Window::new()),
                Mode::Broadcast => {
                    Expect::All(vec![Seen::default(); config.senders as usize].into())
                }
                Mode::Sink => Expect::Nothing,
            },
            admitted: 0,
            written: 0,
            offset: 0,
            quota: if one_frame {
                1
            } else {
                config.frames.unwrap_or(u64::MAX)
            },
            blocked: false,
            queued: false,
            ready: false,
            tail: Vec::new(),
        }
    }

    /// The socket, if connected.
    pub(crate) fn stream(&mut self) -> Option<&mut TcpStream> {
        match &mut self.state {
            State::Open(stream) => Some(stream),
            _ => None,
        }
    }

    /// Connected.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.state, State::Open(_))
    }

    /// Starts to connect and registers for every event, once.
    pub(crate) fn begin(
        &mut self,
        config: &Config,
        registry: &Registry,
        token: Token,
        now: u64,
    ) -> io::Result<()> {
        let sources = &config.source_addrs;
        let source = sources
            .get(self.number as usize % sources.len().max(1))
            .copied();
        let mut stream = dial(config.target, source)?;
        registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        self.state = State::Connecting(stream, now);
        self.blocked = false;
        self.written = self.admitted;
        self.offset = 0;
        self.tail.clear();
        Ok(())
    }

    /// After an event: connected (with the time the connect started), still connecting (`None`), or
    /// failed.
    pub(crate) fn finish(&mut self) -> io::Result<Option<u64>> {
        match std::mem::replace(&mut self.state, State::None) {
            State::Connecting(stream, since) => {
                if let Some(error) = stream.take_error()? {
                    return Err(error);
                }
                match stream.peer_addr() {
                    Ok(_) => {
                        self.state = State::Open(stream);
                        Ok(Some(since))
                    }
                    Err(error) if still_connecting(&error) => {
                        self.state = State::Connecting(stream, since);
                        Ok(None)
                    }
                    Err(error) => Err(error),
                }
            }
            other => {
                self.state = other;
                Ok(None)
            }
        }
    }
}

fn dial(target: SocketAddr, source: Option<IpAddr>) -> io::Result<TcpStream> {
    let socket = Socket::new(
        Domain::for_address(target),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_nonblocking(true)?;
    // Frames are gathered by us; Nagle's algorithm would only delay the last one.
    socket.set_tcp_nodelay(true)?;
    if let Some(source) = source {
        socket.bind(&SocketAddr::new(source, 0).into())?;
    }
    match socket.connect(&target.into()) {
        Ok(()) => {}
        Err(error) if still_connecting(&error) => {}
        Err(error) => return Err(error),
    }
    Ok(TcpStream::from_std(socket.into()))
}

fn still_connecting(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::NotConnected | ErrorKind::WouldBlock
    ) || error
        .raw_os_error()
        .is_some_and(|code| IN_PROGRESS.contains(&code))
}

/// What to tell the user about a failed connect: what, where, and how to mend it.
pub(crate) fn connect_failure(error: &io::Error, conn: &Conn, config: &Config) -> Failure {
    let at = &config.connect;
    if wharf::system::is_out_of_files(error) {
        return Failure::machine(format!(
            "could not open connection {} of {}: too many open files: {}, or lower \
             --connections, each of which needs one",
            conn.number + 1,
            config.connections,
            wharf::system::more_open_files()
        ));
    }
    match error.kind() {
        ErrorKind::ConnectionRefused => Failure::unreachable(format!(
            "could not connect to {at}: connection refused; {}",
            config.server_hint()
        )),
        ErrorKind::AddrNotAvailable => Failure::unreachable(format!(
            "could not connect to {at}: no local address and port left for connection {} of {}; \
             give more local addresses, such as --source-addrs 127.0.0.1,127.0.0.2",
            conn.number + 1,
            config.connections
        )),
        _ => Failure::unreachable(format!("could not connect to {at}: {error}")),
    }
}
