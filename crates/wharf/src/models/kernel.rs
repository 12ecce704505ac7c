//! One socket, as the kernel keeps it: as little as the backend contract promises, and no more.
//!
//! An arrival is reported only if there was nothing to read before, room only if a send was told
//! `WouldBlock` (contract, clause 1); a report carries all that holds at that moment, as an edge of
//! epoll does. Its lock stands for the kernel's: calls on a socket and its events are ordered.

use loom::sync::Mutex;

use crate::port::Bits;

#[derive(Debug, Default)]
struct State {
    established: bool,
    unread: usize,
    fin: bool,
    room: usize,
    send_max: usize,
    /// A send was told `WouldBlock` and nobody was told of room since.
    full: bool,
    broken: bool,
    /// Our end of the stream was sent: a write fails from then on.
    ended: bool,
    sent: Vec<u8>,
}

/// What a call came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Io {
    /// So many bytes; at a recv, 0 is the end of the stream.
    Bytes(usize),
    WouldBlock,
    Broken,
}

/// The socket.
#[derive(Debug)]
pub(super) struct Kernel(Mutex<State>);

impl Kernel {
    /// A connected socket whose peer has room for so many bytes; one send takes so many at most.
    pub(super) fn new(room: usize, send_max: usize) -> Self {
        Self(Mutex::new(State {
            room,
            send_max,
            ..State::default()
        }))
    }

    fn with<R>(&self, work: impl FnOnce(&mut State) -> R) -> R {
        work(&mut self.0.lock().unwrap())
    }

    /// The connect ends well.
    pub(super) fn establish(&self) -> Bits {
        self.with(|state| {
            state.established = true;
            state.report(true)
        })
    }

    /// `Sockets::connect_result`: whether the connect has ended.
    pub(super) fn is_established(&self) -> bool {
        self.with(|state| state.established)
    }

    /// The peer sends; what is reported of it.
    pub(super) fn arrive(&self, bytes: usize) -> Bits {
        self.with(|state| {
            let edge = state.unread == 0 && !state.fin && !state.broken;
            state.unread += bytes;
            state.report(edge)
        })
    }

    /// The peer ends its stream.
    pub(super) fn finish(&self) -> Bits {
        self.with(|state| {
            state.fin = true;
            state.report(true)
        })
    }

    /// The peer reads.
    pub(super) fn drain(&self, bytes: usize) -> Bits {
        self.with(|state| {
            state.room += bytes;
            let edge = std::mem::take(&mut state.full);
            state.report(edge)
        })
    }

    /// `Sockets::recv`.
    pub(super) fn recv(&self, into: usize) -> Io {
        self.with(|state| {
            let n = state.unread.min(into);
            state.unread -= n;
            if state.broken {
                Io::Broken
            } else if n > 0 || state.fin {
                Io::Bytes(n)
            } else {
                Io::WouldBlock
            }
        })
    }

    /// `Sockets::send`.
    pub(super) fn send(&self, slices: &[&[u8]]) -> Io {
        self.with(|state| {
            if state.broken || state.ended {
                return Io::Broken;
            }
            let bytes: Vec<u8> = slices.concat();
            let n = bytes.len().min(state.room).min(state.send_max);
            if n == 0 {
                state.full = true;
                return Io::WouldBlock;
            }
            state.room -= n;
            state.sent.extend_from_slice(&bytes[..n]);
            Io::Bytes(n)
        })
    }

    /// `Sockets::shutdown_write`.
    pub(super) fn shutdown_write(&self) {
        self.with(|state| state.ended = true);
    }

    /// `Sockets::disconnect`: the kernel reports the break as well, which the models leave out, so
    /// that nothing depends on it.
    pub(super) fn disconnect(&self) {
        self.with(|state| state.broken = true);
    }

    /// What the peer has received.
    pub(super) fn sent(&self) -> Vec<u8> {
        self.with(|state| state.sent.clone())
    }

    /// Bytes that nobody has read.
    pub(super) fn unread(&self) -> usize {
        self.with(|state| state.unread)
    }

    /// Whether the connection is broken.
    pub(super) fn is_broken(&self) -> bool {
        self.with(|state| state.broken)
    }
}

impl State {
    fn report(&self, edge: bool) -> Bits {
        let mut bits = Bits::default();
        if !edge {
            return bits;
        }
        if self.unread > 0 || self.fin {
            bits = bits.with(Bits::READ);
        }
        if self.fin {
            bits = bits.with(Bits::READ_HANGUP);
        }
        if self.room > 0 && !self.full {
            bits = bits.with(Bits::WRITE);
        }
        bits
    }
}
