//! The loop: one thread, one edge-triggered epoll, one hot receive buffer, one hot out buffer.

use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use limits::frames::{self, FRAME_BYTES_MAX};
use limits::options::Service;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{self, RecvFlags, SendFlags, SocketFlags};

/// Bytes of one recv. 64 KiB stays in the L2 cache and takes a whole burst of small frames.
const RECV_BYTES: usize = 64 * 1024;

/// Events of one wait: as many as the usual 64 connections can have at once.
const EVENTS_MAX: usize = 64;

/// Bytes that a member of the room may be behind before it is closed.
const UNSENT_BYTES_MAX: usize = 8 * 1024 * 1024;

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

/// What a recv brought.
enum Received {
    /// Whole frames may be in the out buffer; `more` if there may be more to read.
    Bytes {
        more: bool,
    },
    Nothing,
    End,
}

/// The hot buffers, shared by all connections.
struct Buffers {
    recv: Box<[u8]>,
    out: Vec<u8>,
}

pub struct Server {
    service: Service,
    epoll: OwnedFd,
    listener: TcpListener,
    /// Of [`ended`]; kept open by being owned here.
    _signal: UnixStream,
    connections: Vec<Option<Connection>>,
    free_slots: Vec<usize>,
    buffers: Buffers,
}

/// Becomes readable when SIGTERM or SIGINT arrives.
pub fn ended() -> io::Result<UnixStream> {
    let (signal, writer) = UnixStream::pair()?;
    for number in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
        signal_hook::low_level::pipe::register(number, writer.try_clone()?)?;
    }
    Ok(signal)
}

impl Server {
    pub fn new(listener: TcpListener, service: Service, signal: UnixStream) -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let readable_edge = EventFlags::IN | EventFlags::ET;
        let listening = EventData::new_u64(LISTENER);
        epoll::add(&epoll, &listener, listening, readable_edge)?;
        epoll::add(&epoll, &signal, EventData::new_u64(SIGNAL), EventFlags::IN)?;
        Ok(Self {
            service,
            epoll,
            listener,
            _signal: signal,
            connections: Vec::new(),
            free_slots: Vec::new(),
            buffers: Buffers {
                recv: vec![0; FRAME_BYTES_MAX + RECV_BYTES].into_boxed_slice(),
                out: Vec::with_capacity(FRAME_BYTES_MAX + RECV_BYTES),
            },
        })
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
                    slot => {
                        if let Ok(slot) = usize::try_from(slot) {
                            self.serve(slot, event.flags);
                        }
                    }
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

    /// One recv, its frames answered, one send; again only while the recv filled the buffer or
    /// the peer has hung up, because no further edge would come.
    fn serve(&mut self, slot: usize, flags: EventFlags) {
        let ending = flags.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR);
        loop {
            let Some(Some(connection)) = self.connections.get_mut(slot) else {
                return;
            };
            let after = match connection.receive(&mut self.buffers, ending) {
                Received::Nothing => return,
                Received::End => After::Close,
                Received::Bytes { more } => {
                    let after = match self.service {
                        _ if self.buffers.out.is_empty() => After::Keep,
                        Service::Echo => connection.send(&self.buffers.out),
                        Service::Broadcast => self.send_to_all(),
                    };
                    if after == After::Keep && !more {
                        return;
                    }
                    after
                }
            };
            if after == After::Close {
                return self.close(slot);
            }
        }
    }

    fn close(&mut self, slot: usize) {
        // Dropping the socket closes it and takes it out of the epoll: nothing else holds it.
        if let Some(place) = self.connections.get_mut(slot)
            && place.take().is_some()
        {
            self.free_slots.push(slot);
        }
    }

    /// The room: a send to every connection, one after the other. The sender may be among those
    /// that are closed.
    fn send_to_all(&mut self) -> After {
        for slot in 0..self.connections.len() {
            let Some(Some(member)) = self.connections.get_mut(slot) else {
                continue;
            };
            let after = if member.unsent.is_empty() {
                member.send(&self.buffers.out)
            } else if member.unsent.len() > UNSENT_BYTES_MAX {
                After::Close
            } else {
                member.unsent.extend_from_slice(&self.buffers.out);
                After::Keep
            };
            if after == After::Close {
                self.close(slot);
            }
        }
        After::Keep
    }
}

impl Connection {
    /// What was left over, then one recv, cut into whole frames in the out buffer.
    fn receive(&mut self, buffers: &mut Buffers, ending: bool) -> Received {
        buffers.out.clear();
        if !self.unsent.is_empty() {
            match self.send_rest() {
                // A peer that does not read is not read either: TCP pushes back.
                After::Keep if !self.unsent.is_empty() => return Received::Nothing,
                After::Keep => {}
                After::Close => return Received::End,
            }
        }
        let kept = self.partial.len();
        buffers.recv[..kept].copy_from_slice(&self.partial);
        let space = &mut buffers.recv[kept..kept + RECV_BYTES];
        let received = loop {
            match net::recv(&self.socket, &mut *space, RecvFlags::empty()) {
                Ok((0, _)) => return Received::End,
                Ok((received, _)) => break received,
                Err(Errno::AGAIN) => return Received::Nothing,
                Err(Errno::INTR) => {}
                Err(_) => return Received::End,
            }
        };
        let bytes = &buffers.recv[..kept + received];
        let Ok(whole) = frames::echo(bytes, &mut buffers.out) else {
            return Received::End;
        };
        if kept > 0 || whole < bytes.len() {
            self.partial.clear();
            self.partial.extend_from_slice(&bytes[whole..]);
        }
        Received::Bytes {
            more: received == RECV_BYTES || ending,
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
