//! The loop: one thread, one edge-triggered epoll, one hot receive buffer, one hot out buffer.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{self, AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::frames::{self, FRAME_BYTES_MAX};

/// Bytes of one recv. 64 KiB stays in the L2 cache and takes a whole burst of small frames.
const RECV_BYTES: usize = 64 * 1024;

/// Events of one wait: as many as the usual 64 connections can have at once.
const EVENTS_MAX: usize = 64;

/// `listen` backlog: thousands of connections may arrive at once when a load test starts.
const BACKLOG: i32 = 4096;

// Slots number the connections from 0; these two stand for the other sources.
const LISTENER: u64 = u64::MAX;
const SIGNAL: u64 = u64::MAX - 1;

/// What a connection keeps between two events. Both buffers are empty, and unallocated, while
/// whole frames come in and replies fit the socket.
struct Connection {
    socket: OwnedFd,
    partial: Vec<u8>,
    unsent: Vec<u8>,
}

#[derive(PartialEq, Eq)]
enum After {
    Keep,
    Close,
}

/// The hot buffers, shared by all connections.
struct Buffers {
    recv: Box<[u8]>,
    out: Vec<u8>,
}

pub struct Server {
    epoll: OwnedFd,
    listener: OwnedFd,
    address: SocketAddr,
    /// Becomes readable when SIGTERM or SIGINT arrives; kept open by being owned here.
    _signal: UnixStream,
    connections: Vec<Option<Connection>>,
    free_slots: Vec<usize>,
    buffers: Buffers,
}

impl Server {
    pub fn bind(listen: SocketAddr) -> io::Result<Self> {
        raise_descriptor_limit()?;
        let listener = net::socket_with(
            family(listen),
            SocketType::STREAM,
            SocketFlags::NONBLOCK | SocketFlags::CLOEXEC,
            None,
        )?;
        net::sockopt::set_socket_reuseaddr(&listener, true)?;
        net::bind(&listener, &listen)?;
        net::listen(&listener, BACKLOG)?;
        let address = net::getsockname(&listener)?.try_into()?;

        let (signal, signal_writer) = UnixStream::pair()?;
        for number in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
            signal_hook::low_level::pipe::register(number, signal_writer.try_clone()?)?;
        }

        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let readable_edge = EventFlags::IN | EventFlags::ET;
        epoll::add(
            &epoll,
            &listener,
            EventData::new_u64(LISTENER),
            readable_edge,
        )?;
        epoll::add(&epoll, &signal, EventData::new_u64(SIGNAL), EventFlags::IN)?;
        Ok(Self {
            epoll,
            listener,
            address,
            _signal: signal,
            connections: Vec::new(),
            free_slots: Vec::new(),
            buffers: Buffers {
                recv: vec![0; FRAME_BYTES_MAX + RECV_BYTES].into_boxed_slice(),
                out: Vec::with_capacity(FRAME_BYTES_MAX + RECV_BYTES),
            },
        })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn run_until_signal(&mut self) -> io::Result<()> {
        let nothing = Event {
            flags: EventFlags::empty(),
            data: EventData::new_u64(0),
        };
        let mut events = [nothing; EVENTS_MAX];
        loop {
            let ready = match epoll::wait(&self.epoll, &mut events, None) {
                Ok(ready) => ready,
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
            for event in &events[..ready] {
                match event.data.u64() {
                    LISTENER => self.accept_all()?,
                    SIGNAL => return Ok(()),
                    slot => self.serve(slot, event.flags),
                }
            }
        }
    }

    fn accept_all(&mut self) -> io::Result<()> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        loop {
            let socket = match net::accept_with(&self.listener, flags) {
                Ok(socket) => socket,
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR | Errno::CONNABORTED) => continue,
                Err(error) => return Err(error.into()),
            };
            net::sockopt::set_tcp_nodelay(&socket, true)?;
            let slot = self.free_slots.pop().unwrap_or_else(|| {
                self.connections.push(None);
                self.connections.len() - 1
            });
            // Registered once for everything: edge-triggered OUT costs nothing until a send fails.
            let interest = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
            epoll::add(
                &self.epoll,
                &socket,
                EventData::new_u64(slot as u64),
                interest,
            )?;
            let connection = Connection {
                socket,
                partial: Vec::new(),
                unsent: Vec::new(),
            };
            self.connections[slot] = Some(connection);
        }
    }

    fn serve(&mut self, slot: u64, flags: EventFlags) {
        let Some(place) = usize::try_from(slot)
            .ok()
            .and_then(|s| self.connections.get_mut(s))
        else {
            return;
        };
        let Some(connection) = place else { return };
        if connection.turn(flags, &mut self.buffers) == After::Close {
            // Dropping the socket closes it and takes it out of the epoll: nothing else holds it.
            *place = None;
            self.free_slots.extend(usize::try_from(slot));
        }
    }
}

impl Connection {
    /// One recv, its frames answered, one send; again only while the recv filled the buffer or
    /// the peer has hung up, because no further edge would come.
    fn turn(&mut self, flags: EventFlags, buffers: &mut Buffers) -> After {
        let ending = flags.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR);
        loop {
            if !self.unsent.is_empty() {
                match self.send_rest() {
                    // A peer that does not read is not read either: TCP pushes back.
                    After::Keep if !self.unsent.is_empty() => return After::Keep,
                    After::Keep => {}
                    After::Close => return After::Close,
                }
            }
            let kept = self.partial.len();
            buffers.recv[..kept].copy_from_slice(&self.partial);
            let space = &mut buffers.recv[kept..kept + RECV_BYTES];
            let received = match net::recv(&self.socket, space, RecvFlags::empty()) {
                Ok((0, _)) => return After::Close,
                Ok((received, _)) => received,
                Err(Errno::AGAIN) => return After::Keep,
                Err(Errno::INTR) => continue,
                Err(_) => return After::Close,
            };
            let bytes = &buffers.recv[..kept + received];
            buffers.out.clear();
            let Ok(whole) = frames::echo(bytes, &mut buffers.out) else {
                return After::Close;
            };
            if kept > 0 || whole < bytes.len() {
                self.partial.clear();
                self.partial.extend_from_slice(&bytes[whole..]);
            }
            if !buffers.out.is_empty() && self.send(&buffers.out) == After::Close {
                return After::Close;
            }
            if received < RECV_BYTES && !ending {
                return After::Keep;
            }
        }
    }

    /// Sends `replies` and keeps what the socket did not take.
    fn send(&mut self, replies: &[u8]) -> After {
        let sent = match net::send(&self.socket, replies, SendFlags::NOSIGNAL) {
            Ok(sent) => sent,
            Err(Errno::AGAIN) => 0,
            Err(_) => return After::Close,
        };
        self.unsent.extend_from_slice(&replies[sent..]);
        After::Keep
    }

    fn send_rest(&mut self) -> After {
        match net::send(&self.socket, &self.unsent, SendFlags::NOSIGNAL) {
            Ok(sent) if sent == self.unsent.len() => self.unsent = Vec::new(),
            Ok(sent) => drop(self.unsent.drain(..sent)),
            Err(Errno::AGAIN) => {}
            Err(_) => return After::Close,
        }
        After::Keep
    }
}

fn family(address: SocketAddr) -> AddressFamily {
    match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    }
}

/// Ten thousand idle connections need more descriptors than the usual soft limit of 1024.
fn raise_descriptor_limit() -> io::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    Ok(setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        },
    )?)
}
