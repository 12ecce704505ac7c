//! Streams: bytes, their end, and resets.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice};
use std::net::SocketAddr;

use super::log::{Outcome, What};
use super::net::{Id, World};
use super::pipe::{Item, Landed, Pipe};
use super::report::Registration;
use crate::port::contract::{Bits, SocketOptions};

/// What a stream that is broken or failed reports, as Linux does.
pub(super) const BROKEN: Bits = Bits(31);
/// What an end of stream reports.
const ENDED: Bits = Bits::READ.with(Bits::READ_HANGUP);

/// How far a stream is with being connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Connecting,
    Open,
    Failed(ErrorKind),
}

/// One end of a connection.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
    pub(super) phase: Phase,
    /// What comes in. What goes out is in the other end's pipe.
    pub(super) rx: Pipe,
    /// The other end, as long as it is open and the connection whole.
    pub(super) peer: Option<Id>,
    /// We have ended our direction.
    pub(super) write_shut: bool,
    /// A send found no space and waits for a report.
    pub(super) wants_space: bool,
    pub(super) reset_on_close: bool,
    /// The failure that the next call reports.
    pub(super) failure: Option<ErrorKind>,
    pub(super) options: SocketOptions,
    pub(super) registration: Option<Registration>,
    /// It is a socket of a port, so it counts as a descriptor.
    pub(super) descriptor: bool,
    /// Its local address was taken for it.
    pub(super) own_local: bool,
}

impl Stream {
    pub(super) fn new(local: SocketAddr, remote: SocketAddr, phase: Phase) -> Self {
        Self {
            local,
            remote,
            phase,
            rx: Pipe::new(1),
            peer: None,
            write_shut: false,
            wants_space: false,
            reset_on_close: false,
            failure: None,
            options: SocketOptions::default(),
            registration: None,
            descriptor: false,
            own_local: false,
        }
    }

    /// What reading gives when there are no bytes.
    fn nothing_to_read(&mut self) -> io::Result<usize> {
        match self.phase {
            Phase::Connecting => Err(ErrorKind::WouldBlock.into()),
            Phase::Failed(_) => Err(ErrorKind::NotConnected.into()),
            Phase::Open if self.rx.fin => Ok(0),
            Phase::Open if self.rx.rst => {
                self.failure = None;
                Err(ErrorKind::ConnectionReset.into())
            }
            Phase::Open => Err(ErrorKind::WouldBlock.into()),
        }
    }

    /// Why nothing can be sent, if so.
    fn check_writable(&mut self) -> io::Result<()> {
        match self.phase {
            Phase::Connecting => Err(ErrorKind::WouldBlock.into()),
            Phase::Failed(_) => Err(ErrorKind::NotConnected.into()),
            Phase::Open if self.rx.rst => {
                Err(self.failure.take().unwrap_or(ErrorKind::BrokenPipe).into())
            }
            Phase::Open if self.write_shut => Err(ErrorKind::BrokenPipe.into()),
            Phase::Open => Ok(()),
        }
    }
}

impl World {
    /// What holds for the stream right now. `space`: whether its peer's pipe takes a byte.
    pub(super) fn stream_level(stream: &Stream, space: bool) -> Bits {
        match stream.phase {
            Phase::Connecting => Bits::default(),
            Phase::Failed(_) => BROKEN,
            Phase::Open if stream.rx.rst => BROKEN,
            Phase::Open => {
                let mut bits = Bits::default();
                if stream.rx.readable() > 0 {
                    bits = bits.with(Bits::READ);
                }
                if stream.rx.fin {
                    bits = bits.with(ENDED);
                }
                if stream.rx.fin && stream.write_shut {
                    bits = bits.with(Bits::HANGUP);
                }
                if space || stream.write_shut {
                    bits = bits.with(Bits::WRITE);
                }
                bits
            }
        }
    }

    /// Reads without faults.
    pub(super) fn read(&mut self, id: Id, into: &mut [u8]) -> io::Result<usize> {
        let stream = self.stream(id).ok_or(ErrorKind::NotConnected)?;
        if stream.rx.readable() == 0 {
            return stream.nothing_to_read();
        }
        let count = stream.rx.read(into);
        if let Some(peer) = stream.peer
            && let Some(writer) = self.stream(peer)
            && std::mem::take(&mut writer.wants_space)
        {
            self.report(peer, Bits::WRITE);
        }
        Ok(count)
    }

    /// Reads as a port does, with faults.
    pub(super) fn recv(&mut self, id: Id, into: &mut [u8]) -> io::Result<usize> {
        if into.is_empty() {
            return Ok(0);
        }
        let there = self.stream(id).map_or(0, |stream| stream.rx.readable());
        if there > 0 && self.coin(self.faults.would_block) {
            self.fault("spurious WouldBlock of recv", id);
            self.report(id, Bits::READ);
            return Err(ErrorKind::WouldBlock.into());
        }
        let mut wanted = into.len().min(there);
        if wanted > 1 && self.coin(self.faults.short_reads) {
            wanted = self.rng.usize(1..wanted);
            self.fault("short read", id);
            // A short read tells an edge-triggered reader that there is no more (R3).
            self.report(id, Bits::READ);
        }
        self.read(id, &mut into[..wanted])
    }

    /// Writes; `faulty` as a port does, else as a peer.
    pub(super) fn send(&mut self, id: Id, from: &[IoSlice<'_>], faulty: bool) -> io::Result<usize> {
        let stream = self.stream(id).ok_or(ErrorKind::NotConnected)?;
        stream.check_writable()?;
        let total = from.iter().map(|slice| slice.len()).sum::<usize>();
        if total == 0 {
            return Ok(0);
        }
        let Some(peer) = stream.peer else {
            // Nobody is there any more; the sender learns it by the answer.
            if !stream.rx.rst_sent {
                self.fly(id, Item::Rst);
            }
            return Ok(total);
        };
        let space = self.stream(peer).map_or(0, |reader| reader.rx.space());
        if space == 0 {
            if let Some(stream) = self.stream(id) {
                stream.wants_space = true;
            }
            return Err(ErrorKind::WouldBlock.into());
        }
        if faulty && self.coin(self.faults.would_block) {
            self.fault("spurious WouldBlock of send", id);
            self.report(id, Bits::WRITE);
            return Err(ErrorKind::WouldBlock.into());
        }
        let mut count = total.min(space);
        if faulty && count > 1 && self.coin(self.faults.partial_writes) {
            count = self.rng.usize(1..count);
            self.fault("partial write", id);
        }
        let all = from.iter().flat_map(|slice| slice.iter());
        let bytes = all.take(count).copied().collect::<VecDeque<u8>>();
        self.fly(peer, Item::Bytes(bytes));
        Ok(count)
    }

    /// The first item of the pipe to `id` arrives.
    pub(super) fn arrive(&mut self, id: Id) {
        let now = self.now;
        let Some(stream) = self.stream(id) else {
            return;
        };
        stream.rx.planned = false;
        let Some((at, bytes)) = stream.rx.first() else {
            return;
        };
        if at > now {
            // What was planned has been cut off, and this came after it.
            return self.plan_arrival(id);
        }
        if bytes.is_some() && self.coin(self.faults.resets) {
            self.fault("connection broken on the way", id);
            return self.break_connection(id);
        }
        let mut bytes_max = usize::MAX;
        if let Some(bytes) = bytes
            && bytes > 1
            && self.coin(self.faults.short_reads)
        {
            bytes_max = self.rng.usize(1..bytes);
        }
        let Some(stream) = self.stream(id) else {
            return;
        };
        match stream.rx.land(bytes_max) {
            Some(Landed::Bytes(count)) => {
                self.note(What::Arrived(id, count));
                self.report(id, Bits::READ);
            }
            Some(Landed::Fin) => {
                let hangup = if stream.write_shut {
                    Bits::HANGUP
                } else {
                    Bits::default()
                };
                self.note(What::Ended(id));
                self.report(id, ENDED.with(hangup));
            }
            Some(Landed::Rst) => self.reset_arrived(id),
            None => {}
        }
        self.plan_arrival(id);
    }

    /// The stream learns that its connection is broken.
    fn reset_arrived(&mut self, id: Id) {
        self.note(What::Reset(id));
        let lose = self.coin(self.faults.lost_at_reset);
        let Some(stream) = self.stream(id) else {
            return;
        };
        stream.rx.rst = true;
        stream.rx.rst_sent = true;
        stream.rx.cut(0);
        stream.peer = None;
        stream.wants_space = false;
        let mut lost = 0;
        if lose {
            lost = stream.rx.lose_readable();
            if lost > 0 {
                // An end of stream after lost bytes would be a lie.
                stream.rx.fin = false;
            }
        }
        if !stream.rx.fin {
            stream.failure = Some(ErrorKind::ConnectionReset);
        }
        if lost > 0 {
            self.fault("unread bytes lost at the reset", id);
        }
        self.report(id, BROKEN);
    }

    /// Has the stream see a reset after some of what is on its way to it.
    pub(super) fn send_reset(&mut self, to: Id) {
        let Some(stream) = self.stream(to) else {
            return;
        };
        stream.peer = None;
        if stream.rx.rst_sent {
            return;
        }
        let items = stream.rx.items();
        let kept = self.rng.usize(0..=items);
        if let Some(stream) = self.stream(to) {
            stream.rx.cut(kept);
        }
        self.fly(to, Item::Rst);
    }

    /// Breaks the connection at this end now; the other sees a reset.
    fn break_connection(&mut self, id: Id) {
        let peer = self.stream(id).and_then(|stream| stream.peer.take());
        if let Some(peer) = peer {
            self.send_reset(peer);
        }
        self.reset_arrived(id);
    }

    /// Breaks the connection, or gives up connecting; the socket stays open.
    pub(super) fn disconnect_stream(&mut self, id: Id) {
        let Some(stream) = self.stream(id) else {
            return;
        };
        match stream.phase {
            Phase::Connecting => self.fail_connect(id, ErrorKind::ConnectionAborted),
            Phase::Failed(_) => {}
            Phase::Open => {
                stream.rx.lose_readable();
                stream.rx.fin = false;
                stream.write_shut = true;
                self.break_connection(id);
            }
        }
    }

    /// Ends the connect of `id` with a failure.
    pub(super) fn fail_connect(&mut self, id: Id, kind: ErrorKind) {
        self.note(What::Refused(id));
        if let Some(stream) = self.stream(id) {
            stream.phase = Phase::Failed(kind);
            stream.failure = Some(kind);
            self.report(id, BROKEN);
        }
    }

    pub(super) fn shutdown_write(&mut self, id: Id) {
        self.note(What::Called("shutdown_write", id, Outcome::Done));
        let Some(stream) = self.stream(id) else {
            return;
        };
        if stream.phase != Phase::Open || std::mem::replace(&mut stream.write_shut, true) {
            return;
        }
        let (peer, ended) = (stream.peer, stream.rx.fin);
        if let Some(peer) = peer {
            self.fly(peer, Item::Fin);
        }
        if ended {
            self.report(id, ENDED.with(Bits::WRITE).with(Bits::HANGUP));
        }
    }

    pub(super) fn reset_on_close(&mut self, id: Id) {
        if let Some(stream) = self.stream(id) {
            stream.reset_on_close = true;
        }
    }

    /// How the connect of `id` ended.
    pub(super) fn connect_result(&mut self, id: Id) -> io::Result<()> {
        let stream = self.stream(id).ok_or(ErrorKind::NotConnected)?;
        match stream.phase {
            Phase::Connecting => Err(ErrorKind::WouldBlock.into()),
            Phase::Open => Ok(()),
            Phase::Failed(kind) => {
                stream.failure = None;
                Err(kind.into())
            }
        }
    }

    /// The owner of the stream is gone.
    pub(super) fn close_stream(&mut self, id: Id) {
        self.stale_report(id);
        let Some(stream) = self.streams.remove(&id) else {
            return;
        };
        if stream.descriptor {
            self.descriptors -= 1;
        }
        if stream.own_local {
            self.free_local(&stream.local);
        }
        let Some(peer) = stream.peer else { return };
        if stream.reset_on_close {
            return self.send_reset(peer);
        }
        let unread = stream.rx.readable() > 0;
        if !unread && !stream.write_shut {
            self.fly(peer, Item::Fin);
        }
        // Bytes that nobody will read are answered with a reset: now, or when they arrive.
        if unread || stream.rx.flying_bytes() > 0 {
            self.fly(peer, Item::Rst);
        }
        if let Some(other) = self.stream(peer) {
            other.peer = None;
        }
    }
}
