//! The loop: one enter carries all sends of a round and waits for the next completions.

use std::io;
use std::net::TcpListener;
use std::os::fd::AsFd;

use limits::options::Service;
use rustix::io::Errno;
use rustix::net::{self, SendFlags, Shutdown};

use crate::connection::Connection;
use crate::ring::{Completion, Kind, Ring, accepted};

/// Replies up to here are copied and sent by the ring; larger ones at once, from the one hot
/// buffer they were built in. At 1,000 connections a ring's sends were the cheaper by 7 % at depth
/// 1, the others by 13 % at depth 16.
const BY_RING_BYTES_MAX: usize = 512;

/// A peer that is behind by more is not read until it has caught up.
const UNSENT_BYTES_HIGH: usize = 256 * 1024;

/// A member of the room that is behind by more is closed.
const UNSENT_BYTES_MAX: usize = 8 * 1024 * 1024;

pub fn serve(listener: &TcpListener, service: Service) -> io::Result<()> {
    let mut server = Server {
        ring: Ring::new()?,
        service,
        connections: Vec::new(),
        free_slots: Vec::new(),
        out: Vec::new(),
    };
    server.ring.accept(listener.as_fd())?;
    let mut done = Vec::new();
    loop {
        server.ring.enter(&mut done)?;
        for completion in done.drain(..) {
            match completion.kind {
                Kind::Accept => server.open(&completion, listener)?,
                Kind::Recv => server.received(&completion)?,
                Kind::Send => server.sent(&completion)?,
                Kind::Cancel => {}
            }
        }
    }
}

struct Server {
    ring: Ring,
    service: Service,
    connections: Vec<Option<Connection>>,
    free_slots: Vec<usize>,
    /// Replies are built here.
    out: Vec<u8>,
}

impl Server {
    fn open(&mut self, completion: &Completion, listener: &TcpListener) -> io::Result<()> {
        if !completion.more {
            self.ring.accept(listener.as_fd())?;
        }
        let Ok(socket) = accepted(completion) else {
            // The peer gave up, or descriptors are short: the next accept tells.
            return Ok(());
        };
        let slot = self.free_slots.pop().unwrap_or_else(|| {
            self.connections.push(None);
            self.connections.len() - 1
        });
        self.ring.recv(slot, socket.as_fd())?;
        self.connections[slot] = Some(Connection::new(socket));
        Ok(())
    }

    fn received(&mut self, completion: &Completion) -> io::Result<()> {
        let slot = completion.slot;
        let Some(Some(connection)) = self.connections.get_mut(slot) else {
            return Ok(());
        };
        connection.armed = completion.more;
        let ended = Errno::from_io_error(&io::Error::from_raw_os_error(-completion.result));
        match usize::try_from(completion.result) {
            Ok(0) => connection.closing = true,
            Ok(count) => {
                let Some(buffer) = completion.buffer else {
                    return Err(io::Error::other("a recv without a buffer of the pool"));
                };
                let bytes = self.ring.received(buffer, count);
                let good =
                    !connection.closing && connection.cutter.take(bytes, &mut self.out).is_ok();
                self.ring.give_back(buffer);
                if good && !self.out.is_empty() {
                    self.answer(slot)?;
                } else if !good {
                    self.fail(slot);
                }
            }
            // No buffer was free, or it was paused: it is armed again below, or after the sends.
            Err(_) if matches!(ended, Some(Errno::NOBUFS | Errno::CANCELED)) => {}
            Err(_) => self.fail(slot),
        }
        self.settle(slot)
    }

    fn sent(&mut self, completion: &Completion) -> io::Result<()> {
        let slot = completion.slot;
        let mut buffer = self.ring.sent(slot);
        let Some(Some(connection)) = self.connections.get_mut(slot) else {
            return Ok(());
        };
        connection.sending = false;
        match usize::try_from(completion.result) {
            Ok(count) => {
                buffer.drain(..count);
                buffer.append(&mut connection.pending);
            }
            Err(_) => {
                buffer.clear();
                self.fail(slot);
            }
        }
        self.send(slot, buffer)?;
        self.settle(slot)
    }

    fn answer(&mut self, slot: usize) -> io::Result<()> {
        let out = std::mem::take(&mut self.out);
        match self.service {
            Service::Echo => self.reply(slot, &out)?,
            Service::Broadcast => {
                for member in 0..self.connections.len() {
                    self.reply(member, &out)?;
                }
            }
        }
        self.out = out;
        Ok(())
    }

    /// Sends `out`, behind what is on its way.
    fn reply(&mut self, slot: usize, out: &[u8]) -> io::Result<()> {
        let Some(Some(connection)) = self.connections.get_mut(slot) else {
            return Ok(());
        };
        if connection.closing && self.service == Service::Broadcast {
            return Ok(());
        }
        if connection.sending {
            connection.pending.extend_from_slice(out);
            if connection.pending.len() > UNSENT_BYTES_MAX {
                self.fail(slot);
            } else if connection.pending.len() > UNSENT_BYTES_HIGH && connection.armed {
                self.ring.cancel_recv(slot)?;
            }
            return Ok(());
        }
        let mut rest = out;
        if out.len() > BY_RING_BYTES_MAX {
            let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
            match net::send(&connection.socket, out, flags) {
                Ok(count) => rest = &out[count..],
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(_) => {
                    self.fail(slot);
                    return Ok(());
                }
            }
        }
        if rest.is_empty() {
            return Ok(());
        }
        let mut buffer = std::mem::take(&mut connection.spare);
        buffer.extend_from_slice(rest);
        self.send(slot, buffer)
    }

    /// Gives `buffer` to the ring, or keeps it for later if there is nothing in it.
    fn send(&mut self, slot: usize, buffer: Vec<u8>) -> io::Result<()> {
        let Some(Some(connection)) = self.connections.get_mut(slot) else {
            return Ok(());
        };
        if buffer.is_empty() {
            connection.spare = buffer;
            return Ok(());
        }
        connection.sending = true;
        self.ring.send(slot, connection.socket.as_fd(), buffer)
    }

    /// Ends the connection: what is in the kernel's hands comes back soon.
    fn fail(&mut self, slot: usize) {
        if let Some(Some(connection)) = self.connections.get_mut(slot) {
            connection.closing = true;
            connection.pending.clear();
            // It may have ended by itself.
            let _ = net::shutdown(&connection.socket, Shutdown::Both);
        }
    }

    /// Arms the recv again if it is due, frees the slot if all is over.
    fn settle(&mut self, slot: usize) -> io::Result<()> {
        let Some(Some(connection)) = self.connections.get_mut(slot) else {
            return Ok(());
        };
        if connection.is_over() {
            self.connections[slot] = None;
            self.free_slots.push(slot);
        } else if !connection.armed
            && !connection.closing
            && connection.pending.len() <= UNSENT_BYTES_HIGH
        {
            connection.armed = true;
            self.ring.recv(slot, connection.socket.as_fd())?;
        }
        Ok(())
    }
}
