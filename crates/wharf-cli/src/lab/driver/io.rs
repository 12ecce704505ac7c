//! Bytes out and in: frames are built when the socket takes them, and checked when they come.

use std::io::{ErrorKind, Read, Write};

use super::{BUFFER, Clock, Drive, Driver};
use crate::load::{Arrival, Label, wire_seq};

/// Reads and writes of one connection in one go, before the others get their turn.
const AT_ONCE: usize = 8;
/// Most frames of a session on their way in an open loop: a server this far behind has lost.
const OPEN_MAX: u64 = 16_384;

impl Driver {
    /// A frame of this connection is due; it goes out with the next [`Self::push`].
    pub(super) fn admit(&mut self, index: usize, due: u64, now: u64) {
        let conn = &mut self.conns[index];
        let part = &self.parts[conn.class];
        let tally = &mut self.tallies[conn.class];
        let measured = due >= self.timing.measure;
        if measured {
            tally.due += 1;
        }
        let on_their_way = if part.replies {
            conn.window.outstanding()
        } else {
            conn.admitted - conn.written
        };
        if conn.stream.is_none() || on_their_way >= OPEN_MAX {
            tally.unsent += 1;
            return;
        }
        if measured && matches!(part.drive, Drive::Open(_)) {
            tally.late.saturating_record((now - due).max(1));
        }
        if part.replies {
            conn.window.send(due);
        }
        conn.admitted += 1;
        tally.sent += 1;
    }

    /// Closed loop: what its depth leaves room for.
    pub(super) fn refill(&mut self, index: usize, now: u64) {
        let Drive::Closed(depth) = self.parts[self.conns[index].class].drive else {
            return;
        };
        if now < self.timing.start || now >= self.timing.stop {
            return;
        }
        while self.conns[index].stream.is_some()
            && self.conns[index].window.outstanding() < u64::from(depth)
        {
            self.admit(index, now, now);
        }
    }

    /// Writes what the socket takes of what is admitted.
    pub(super) fn push(&mut self, index: usize) {
        for _ in 0..AT_ONCE {
            if !self.write_some(index) {
                return;
            }
        }
        self.go_on_later(index);
    }

    /// One gathered write; true if there may be more to write.
    fn write_some(&mut self, index: usize) -> bool {
        let conn = &mut self.conns[index];
        let frames = &self.frames[conn.class];
        let size = frames.size();
        let pending = conn.admitted - conn.written;
        let Some(stream) = conn
            .stream
            .as_mut()
            .filter(|_| pending > 0 && !conn.blocked)
        else {
            return false;
        };
        let room = (BUFFER / size).max(1);
        let count = usize::try_from(pending).unwrap_or(room).min(room);
        let outs = self.outbox.chunks_exact_mut(size).take(count);
        for (seq, out) in (conn.written..).zip(outs) {
            let label = Label {
                conn: conn.number,
                seq: wire_seq(seq),
            };
            frames.write(label, out);
        }
        match stream.write(&self.outbox[conn.offset..count * size]) {
            Ok(bytes) => {
                let total = conn.offset + bytes;
                conn.written += (total / size) as u64;
                conn.offset = total % size;
                conn.admitted > conn.written
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                conn.blocked = true;
                false
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => true,
            Err(_) => {
                self.cut(index);
                false
            }
        }
    }

    /// Reads what the socket has, checks it, and sends what that allows.
    ///
    /// Reads until the socket would block: mio promises further events only then.
    pub(super) fn pull(&mut self, index: usize, clock: Clock) {
        let mut inbox = std::mem::take(&mut self.inbox);
        let mut more = true;
        for _ in 0..AT_ONCE {
            more = self.read_once(index, &mut inbox, clock);
            if !more {
                break;
            }
        }
        self.inbox = inbox;
        if more {
            self.go_on_later(index);
        }
        self.push(index);
    }

    /// True if there may be more to read.
    fn read_once(&mut self, index: usize, inbox: &mut [u8], clock: Clock) -> bool {
        let conn = &mut self.conns[index];
        let kept = conn.tail.len();
        let Some(stream) = &mut conn.stream else {
            return false;
        };
        match stream.read(&mut inbox[kept..]) {
            Ok(0) => {
                self.cut(index);
                false
            }
            Ok(bytes) => {
                let now = clock.now();
                inbox[..kept].copy_from_slice(&conn.tail);
                conn.tail.clear();
                self.take(index, &inbox[..kept + bytes], now);
                self.refill(index, now);
                true
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => true,
            Err(error) if error.kind() == ErrorKind::WouldBlock => false,
            Err(_) => {
                self.cut(index);
                false
            }
        }
    }

    fn take(&mut self, index: usize, bytes: &[u8], now: u64) {
        let conn = &mut self.conns[index];
        let frames = &self.frames[conn.class];
        let tally = &mut self.tallies[conn.class];
        let measuring = now >= self.timing.measure && now < self.timing.stop;
        let mut whole = bytes.chunks_exact(frames.size());
        for frame in &mut whole {
            // Of another session is as wrong as with another byte.
            let label = frames
                .check(frame)
                .filter(|label| label.conn == conn.number);
            let Some(label) = label else {
                tally.faults.corrupt += 1;
                continue;
            };
            let (arrival, due) = conn.window.receive(label.seq);
            match arrival {
                Arrival::InOrder { skipped } => tally.faults.lost += skipped,
                Arrival::Late => {
                    tally.faults.lost = tally.faults.lost.saturating_sub(1);
                    tally.faults.reordered += 1;
                }
                Arrival::Doubled => tally.faults.doubled += 1,
                Arrival::Unknown => tally.faults.corrupt += 1,
            }
            let Some(due) = due else { continue };
            self.heard = now;
            tally.verified += 1;
            tally.measured += u64::from(measuring);
            if due >= self.timing.measure && due < self.timing.stop {
                tally.latency.saturating_record((now - due).max(1));
            }
        }
        conn.tail.extend_from_slice(whole.remainder());
    }

    /// The server closed or reset a session, which no workload wants.
    fn cut(&mut self, index: usize) {
        let conn = &mut self.conns[index];
        conn.stream = None;
        let faults = &mut self.tallies[conn.class].faults;
        faults.cut += 1;
        faults.lost += conn.window.abandon();
    }

    /// Puts the connection on the list to go on with, once.
    fn go_on_later(&mut self, index: usize) {
        if !std::mem::replace(&mut self.conns[index].queued, true) {
            self.again.push_back(index);
        }
    }
}
