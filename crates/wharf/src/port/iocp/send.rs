//! The writable side of a stream: without blocking while the socket has room, then one overlapped
//! send of a copy. While that is under way nothing more is taken; its packet is the report WRITE.
//!
//! Bytes that were taken are sent even if the stream is closed meanwhile: the op then holds the
//! socket, until its packet comes or the port's patience ends.

use std::io::{self, IoSlice};
use std::os::windows::io::AsSocket;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use socket2::SockRef;

use super::handle::{Entered, Handle};
use super::op::{Body, Completion, Op};
use super::shared::Shared;
use super::status;
use super::stream::{FAILED, OwnedStream, Stream};
use crate::port::contract::{Bits, Ready, SocketOptions};

/// The most that one overlapped send takes: bounds what a stream without room pins.
const TAKEN_MAX: usize = 64 * 1024;
/// Less is not worth a packet.
const TAKEN_MIN: usize = 4096;

/// The most that one overlapped send of a socket takes. What was taken has left the send queue and
/// counts as sent, like what is in the system's buffer: who wants that small wants this small.
pub(super) fn taken_max(options: &SocketOptions) -> usize {
    let buffer = options.send_buffer_bytes.unwrap_or(TAKEN_MAX);
    buffer.clamp(TAKEN_MIN, TAKEN_MAX)
}

/// The overlapped send of a stream.
#[derive(Debug, Default)]
pub(super) struct Sending {
    /// One is under way.
    is_pending: bool,
    /// Its owner has closed the stream: open until the packet comes.
    lingers: Option<Arc<Handle>>,
}

impl Sending {
    /// Whether one is under way.
    #[cfg(test)]
    pub(super) fn is_pending(&self) -> bool {
        self.is_pending
    }

    /// Whether a close waits for it.
    pub(super) fn is_lingering(&self) -> bool {
        self.lingers.is_some()
    }

    /// Takes the socket of a close that has waited long enough. Bytes that were taken are lost: the
    /// peer is not to see a good end behind them.
    pub(super) fn end_linger(&mut self) -> Option<Arc<Handle>> {
        let handle = self.lingers.take()?;
        handle.reset_on_close();
        Some(handle)
    }
}

impl OwnedStream {
    /// Clause 5.
    pub(super) fn send(&self, from: &[IoSlice<'_>]) -> io::Result<usize> {
        let stream = &self.stream;
        let entered = self.enter()?;
        if let Some(failure) = stream.failure() {
            return Err(failure);
        }
        if stream.write_shut.load(Ordering::Acquire) {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if from.iter().all(|buffer| buffer.is_empty()) {
            return Ok(0);
        }
        let mut sending = stream.sending.lock();
        if sending.is_pending {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let socket = SockRef::from(&entered);
        let sent = match from {
            [one] => socket.send(one),
            many => socket.send_vectored(many),
        };
        match sent {
            Ok(n) => Ok(n),
            Err(error) if status::is_shortage(code_of(&error)) => {
                self.send_overlapped(&mut sending, from, &entered)
            }
            Err(error) => Err(stream.fail(code_of(&error))),
        }
    }

    /// Takes what it may of the bytes, for the socket to send when it has room.
    fn send_overlapped(
        &self,
        sending: &mut Sending,
        from: &[IoSlice<'_>],
        entered: &Entered<'_>,
    ) -> io::Result<usize> {
        let mut bytes = Vec::new();
        for buffer in from {
            let room = self.taken_max - bytes.len();
            bytes.extend_from_slice(&buffer[..buffer.len().min(room)]);
        }
        let taken = bytes.len();
        let body = Body::Send(Arc::clone(&self.stream), bytes.into());
        let op = Op::new(body, &self.shared().ops);
        // Before the call: the packet may be taken before it returns. That worker waits for the
        // lock that is held here, and finds what it ends.
        sending.is_pending = true;
        match op.issue(entered.as_socket(), None) {
            Ok(()) => Ok(taken),
            Err(code) => {
                sending.is_pending = false;
                if status::is_shortage(code) {
                    let shared = self.shared();
                    shared
                        .watch
                        .owe_write(shared, &self.recv_op(), &self.stream);
                    return Err(io::ErrorKind::WouldBlock.into());
                }
                Err(self.stream.fail(code))
            }
        }
    }

    /// Ends our direction, behind what was taken.
    pub(super) fn shutdown_write(&self) {
        self.stream.write_shut.store(true, Ordering::Release);
        if let Some(entered) = self.handle.enter() {
            // Fails only when the connection is gone.
            let _ = SockRef::from(&entered).shutdown(std::net::Shutdown::Write);
        }
    }

    /// Has a send that is under way keep the socket open for a while; if it can't, the close is a
    /// reset.
    pub(super) fn linger(&self) {
        let shared = self.shared();
        let mut sending = self.stream.sending.lock();
        if !sending.is_pending || self.handle.is_shut() {
            return;
        }
        if shared.gone.load(Ordering::SeqCst) || self.stream.failure().is_some() {
            return self.handle.reset_on_close();
        }
        sending.lingers = Some(Arc::clone(&self.handle));
        drop(sending);
        shared.watch.lingers(shared, &self.stream);
    }
}

/// An overlapped send has ended.
pub(super) fn sent(
    shared: &Shared,
    stream: &Arc<Stream>,
    bytes: &[u8],
    completion: &Completion,
    out: &mut Vec<Ready>,
) {
    let mut sending = stream.sending.lock();
    let rest = bytes.get(completion.bytes..).unwrap_or_default();
    // A stream's overlapped send is whole or fails, in both systems; nobody promises it.
    if completion.code == 0 && !rest.is_empty() {
        let handle = stream.handle.upgrade();
        let entered = handle.as_ref().and_then(|handle| handle.enter());
        let op = Op::new(Body::Send(Arc::clone(stream), rest.into()), &shared.ops);
        let issued = entered.map(|entered| op.issue(entered.as_socket(), None));
        if let Some(Ok(())) = issued {
            return;
        }
        let _ = stream.fail(status::RESET);
    }
    sending.is_pending = false;
    let lingered = sending.lingers.take();
    drop(sending);
    // Perhaps the last user: this closes the socket.
    drop(lingered);
    if stream.whom.is_closed() {
        return;
    }
    if completion.code != 0 {
        let _ = stream.fail(completion.code);
    }
    let bits = if stream.failure().is_some() {
        FAILED
    } else {
        Bits::WRITE
    };
    out.extend(stream.whom.report(bits));
}

/// The number of an error that came by way of socket2.
pub(super) fn code_of(error: &io::Error) -> super::sys::Code {
    error
        .raw_os_error()
        .map_or(status::RESET, i32::cast_unsigned)
}
