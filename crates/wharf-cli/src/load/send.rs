//! What a thread sends, and when it may.

use std::io::{ErrorKind, Write};

use super::conn::Expect;
use super::runner::Runner;
use super::shared::UNSET;
use super::track::wire_seq;
use super::wire::{GREETING, Label};
use crate::args::Mode;

/// Writes of one connection in one go, before the others get their turn.
const WRITES_AT_ONCE: usize = 16;
/// Pause between two greetings of broadcast mode.
const GREETING_GAP: u64 = 20_000_000;

impl Runner<'_> {
    /// Admits the frames that may be sent now, and writes what the socket takes.
    pub(crate) fn pump(&mut self, index: usize, now: u64) {
        for _ in 0..WRITES_AT_ONCE {
            if !self.conns[index].is_open() {
                return;
            }
            self.admit(index, now);
            if !self.write_some(index, now) {
                return;
            }
        }
        self.go_on_later(index);
    }

    /// Puts the connection on the list to go on with, once.
    pub(crate) fn go_on_later(&mut self, index: usize) {
        if !std::mem::replace(&mut self.conns[index].queued, true) {
            self.again.push_back(index);
        }
    }

    fn admit(&mut self, index: usize, now: u64) {
        if !self.sending(now) {
            return;
        }
        let start = self.shared.start();
        while let Some(due) = self.next_due(index, now, start)
            && self.enter(index, due)
        {
            let conn = &mut self.conns[index];
            conn.admitted += 1;
            conn.quota -= 1;
            if !matches!(conn.expect, Expect::Nothing) {
                self.tally.frames_sent += 1;
            }
            if matches!(conn.expect, Expect::Own(_)) {
                self.tally.frames_expected += 1;
            }
            if self.schedule.is_some() && self.measured(due) {
                self.tally.send_late.saturating_record(now - due);
            }
        }
    }

    /// When the next frame of this connection is or was due, if that is not in the future.
    fn next_due(&self, index: usize, now: u64, start: u64) -> Option<u64> {
        let conn = &self.conns[index];
        if conn.quota == 0 {
            return None;
        }
        let Some(schedule) = &self.schedule else {
            return Some(now);
        };
        let due = start + schedule.due(conn.number, conn.admitted);
        (due <= now).then_some(due)
    }

    /// Notes a frame as in flight; false if the connection has as many as it may, or sends nothing.
    fn enter(&mut self, index: usize, due: u64) -> bool {
        let depth = u64::from(self.shared.config.depth);
        let conn = &mut self.conns[index];
        match (&mut conn.expect, &self.shared.board) {
            (Expect::Own(window), _) => {
                let free = window.outstanding() < depth;
                if free {
                    window.send(due);
                }
                free
            }
            (Expect::All(_), Some(board)) => {
                conn.number < board.senders()
                    && board.outstanding(conn.number) < depth
                    && board.send(conn.number, due)
            }
            _ => conn.admitted - conn.written < depth,
        }
    }

    /// One gathered write of admitted frames; true if there may be more to write.
    fn write_some(&mut self, index: usize, now: u64) -> bool {
        let size = self.shared.frames.size();
        let conn = &mut self.conns[index];
        let pending = conn.admitted - conn.written;
        if pending == 0 || conn.blocked {
            return false;
        }
        let room = self.outbox.len() / size;
        let count = usize::try_from(pending).unwrap_or(room).min(room);
        for (seq, out) in (conn.written..)
            .zip(self.outbox.chunks_exact_mut(size))
            .take(count)
        {
            self.shared.frames.write(
                Label {
                    conn: conn.number,
                    seq: wire_seq(seq),
                },
                out,
            );
        }
        let offset = conn.offset;
        let Some(stream) = conn.stream() else {
            return false;
        };
        match stream.write(&self.outbox[offset..count * size]) {
            Ok(wrote) => {
                self.wrote(index, wrote, now);
                true
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                conn.blocked = true;
                false
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => true,
            Err(error) => {
                self.peer_closed(index, &error.to_string());
                false
            }
        }
    }

    fn wrote(&mut self, index: usize, bytes: usize, now: u64) {
        let size = self.shared.frames.size();
        let conn = &mut self.conns[index];
        let total = conn.offset + bytes;
        let frames = (total / size) as u64;
        conn.written += frames;
        conn.offset = total % size;
        let sink = matches!(conn.expect, Expect::Nothing);
        self.tally.bytes_sent += bytes as u64;
        if sink {
            self.tally.frames_sent += frames;
        }
        if self.measuring(now) {
            self.tally.bytes_measured += bytes as u64;
            self.tally.frames_measured += if sink { frames } else { 0 };
        }
    }

    /// A frame due at this time counts in latencies.
    pub(crate) fn measured(&self, due: u64) -> bool {
        // Idle mode sends its frames before its time starts.
        self.shared.config.mode == Mode::Idle || due >= self.measure_from()
    }

    /// What happens now counts in rates.
    pub(crate) fn measuring(&self, now: u64) -> bool {
        now >= self.measure_from() && now < self.shared.stop()
    }

    fn measure_from(&self) -> u64 {
        self.shared.start().saturating_add(self.warmup)
    }

    /// Broadcast, before the start: a connect that succeeded does not mean that the server already
    /// counts the connection among its receivers. So connection 0 sends greetings until every
    /// connection has received one, and only then does the run start.
    pub(crate) fn greet(&mut self, now: u64) {
        if now < self.greet_at {
            return;
        }
        let size = self.shared.frames.size();
        self.shared.frames.write(
            Label {
                conn: GREETING,
                seq: 0,
            },
            &mut self.outbox[..size],
        );
        let Some(stream) = self.conns[0].stream() else {
            return;
        };
        match stream.write(&self.outbox[..size]) {
            Ok(wrote) if wrote == size => self.greet_at = UNSET,
            Ok(_) => self.peer_closed(0, "it does not read"),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.greet_at = now + GREETING_GAP;
            }
            Err(error) => self.peer_closed(0, &error.to_string()),
        }
    }

    /// A greeting came.
    pub(crate) fn greeted(&mut self, index: usize, now: u64) {
        self.set_ready(index);
        if self.thread == 0 && index == 0 {
            self.greet_at = now + GREETING_GAP;
        }
    }
}
