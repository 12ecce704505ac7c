//! What a thread receives: every byte of every frame is checked.

use std::io::{ErrorKind, Read};

use super::conn::{Expect, State};
use super::runner::Runner;
use super::track::{Arrival, wire_seq};
use super::wire::{Frames, GREETING, Label};
use crate::args::Mode;
use crate::exit::Failure;

/// Reads of one connection in one go, before the others get their turn.
const READS_AT_ONCE: usize = 4;

impl Runner<'_> {
    /// Reads what the socket has, checks it, and answers by sending what may be sent now.
    ///
    /// Reads until the socket would block: mio promises further events only then.
    pub(crate) fn read(&mut self, index: usize) {
        let mut inbox = std::mem::take(&mut self.inbox);
        let mut more = true;
        for _ in 0..READS_AT_ONCE {
            more = self.read_once(index, &mut inbox);
            if !more {
                break;
            }
        }
        self.inbox = inbox;
        if more {
            self.go_on_later(index);
        }
    }

    /// True if there may be more to read.
    fn read_once(&mut self, index: usize, inbox: &mut [u8]) -> bool {
        let conn = &mut self.conns[index];
        let kept = conn.tail.len();
        let Some(stream) = conn.stream() else {
            return false;
        };
        match stream.read(&mut inbox[kept..]) {
            Ok(0) => self.peer_closed(index, "end of stream"),
            Ok(bytes) => {
                let now = self.shared.now();
                inbox[..kept].copy_from_slice(&conn.tail);
                conn.tail.clear();
                self.tally.bytes_received += bytes as u64;
                self.take_frames(index, &inbox[..kept + bytes], now);
                self.received(index, now);
                return true;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => return true,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => self.peer_closed(index, &error.to_string()),
        }
        false
    }

    fn take_frames(&mut self, index: usize, bytes: &[u8], now: u64) {
        // All frames of a run have one size. A wrong length is a corrupt frame, and reading goes on
        // at the next multiple of the size: a server that lost its place shows as corrupt from
        // there on.
        let mut frames = bytes.chunks_exact(self.shared.frames.size());
        for frame in &mut frames {
            self.take_frame(index, frame, now);
        }
        self.conns[index].tail.extend_from_slice(frames.remainder());
    }

    fn take_frame(&mut self, index: usize, frame: &[u8], now: u64) {
        let label = self.shared.frames.check(frame);
        match (label, &self.conns[index].expect) {
            (Some(label), Expect::Own(_)) if label.conn == self.conns[index].number => {
                self.take_own(index, label, now);
            }
            (Some(label), Expect::Own(_)) => {
                self.tally.misrouted += 1;
                let number = self.conns[index].number;
                self.tally.fault(now, || {
                    format!(
                        "connection {number} got frame {} of connection {}",
                        label.seq, label.conn
                    )
                });
            }
            (Some(label), Expect::All(_)) if label.conn == GREETING => self.greeted(index, now),
            (Some(label), Expect::All(seen)) if (label.conn as usize) < seen.len() => {
                self.take_broadcast(index, label, now);
            }
            (_, Expect::Nothing) => {
                self.tally.corrupt += 1;
                let number = self.conns[index].number;
                self.tally.fault(now, || {
                    format!("connection {number}: a frame came back; a sink must not answer")
                });
            }
            _ => self.take_corrupt(index, frame, now),
        }
    }

    fn take_own(&mut self, index: usize, label: Label, now: u64) {
        let Expect::Own(window) = &mut self.conns[index].expect else {
            return;
        };
        let (arrival, due) = window.receive(label.seq);
        self.count(index, label, arrival, now);
        self.skipped(index, label, arrival);
        if let Some(due) = due
            && self.measured(due)
        {
            self.tally.latency.saturating_record(now - due);
        }
    }

    fn take_broadcast(&mut self, index: usize, label: Label, now: u64) {
        let Some(board) = &self.shared.board else {
            return;
        };
        let Expect::All(seen) = &mut self.conns[index].expect else {
            return;
        };
        let seen = &mut seen[label.conn as usize];
        let from = seen.expected();
        let arrival = seen.receive(label.seq, board.sent(label.conn));
        self.count(index, label, arrival, now);
        self.skipped(index, label, arrival);
        if let Arrival::InOrder { skipped } = arrival {
            (from..from + skipped).for_each(|seq| self.settle_one(label.conn, seq, now, false));
            self.settle_one(label.conn, from + skipped, now, true);
        }
    }

    /// Keeps the count of lost frames: skipped ones are lost until they come after all.
    fn skipped(&mut self, index: usize, label: Label, arrival: Arrival) {
        match arrival {
            Arrival::InOrder { skipped } => {
                let number = self.conns[index].number;
                let Label { conn, seq } = label;
                self.lose(skipped, || {
                    format!(
                        "connection {number}: frame {seq} of connection {conn} came, but not the \
                         {skipped} before it"
                    )
                });
            }
            Arrival::Late => self.tally.lost -= 1,
            Arrival::Doubled | Arrival::Unknown => {}
        }
    }

    /// One receiver is done with a frame, having received it or not.
    fn settle_one(&mut self, sender: u32, seq: u64, now: u64, came: bool) {
        let Some(board) = &self.shared.board else {
            return;
        };
        let delivery = board.settle(sender, seq);
        let measured = came && self.measured(delivery.due);
        if measured {
            self.tally.latency.saturating_record(now - delivery.due);
        }
        if !delivery.last {
            return;
        }
        if measured {
            self.tally
                .last_receiver
                .saturating_record(now - delivery.due);
        }
        let owner = sender % self.shared.config.threads;
        if owner == self.thread {
            self.credit = true;
        } else {
            // A loop that cannot be woken still looks every 100 ms.
            let _ = self.shared.gauges[owner as usize].waker.wake();
        }
    }

    /// Counts an intact frame by what it turned out to be.
    fn count(&mut self, index: usize, label: Label, arrival: Arrival, now: u64) {
        let number = self.conns[index].number;
        let Label { conn, seq } = label;
        match arrival {
            Arrival::InOrder { .. } => {
                self.answered(index, now);
                return;
            }
            Arrival::Late => {
                self.answered(index, now);
                self.tally.reordered += 1;
            }
            Arrival::Doubled => self.tally.doubled += 1,
            Arrival::Unknown => self.tally.corrupt += 1,
        }
        self.tally.fault(now, || {
            let what = match arrival {
                Arrival::Late => "came behind a later one",
                Arrival::Doubled => "came twice",
                _ => "came but was never sent",
            };
            format!("connection {number}: frame {seq} of connection {conn} {what}")
        });
    }

    fn answered(&mut self, index: usize, now: u64) {
        self.tally.frames_answered += 1;
        if self.measuring(now) {
            self.tally.frames_measured += 1;
        }
        if self.shared.config.mode == Mode::Idle {
            self.set_ready(index);
        }
    }

    /// A frame with wrong bytes takes the place of the expected frame it is most like, so that one
    /// corrupt frame is not also a lost one.
    fn take_corrupt(&mut self, index: usize, frame: &[u8], now: u64) {
        self.tally.corrupt += 1;
        let number = self.conns[index].number;
        let likely = self.likely(index, frame);
        self.tally.fault(now, || match likely {
            Some(Label { conn, seq }) => format!(
                "connection {number}: {} wrong bytes in what should be frame {seq} of connection \
                 {conn}",
                self.shared.frames.difference(frame, Label { conn, seq })
            ),
            None => format!("connection {number}: a corrupt frame while none was expected"),
        });
        let Some(label) = likely else { return };
        match (&mut self.conns[index].expect, &self.shared.board) {
            (Expect::Own(window), _) => {
                let (arrival, _) = window.receive(label.seq);
                self.skipped(index, label, arrival);
            }
            (Expect::All(seen), Some(board)) => {
                let seen = &mut seen[label.conn as usize];
                let from = seen.expected();
                let arrival = seen.receive(label.seq, board.sent(label.conn));
                self.skipped(index, label, arrival);
                if let Arrival::InOrder { skipped } = arrival {
                    (from..=from + skipped)
                        .for_each(|seq| self.settle_one(label.conn, seq, now, false));
                }
            }
            _ => {}
        }
    }

    /// The awaited frame that a corrupt one is most like; the oldest of equals.
    fn likely(&self, index: usize, frame: &[u8]) -> Option<Label> {
        let claimed = Frames::claimed(frame);
        let number = self.conns[index].number;
        let mut candidates = Vec::new();
        match (&self.conns[index].expect, &self.shared.board) {
            (Expect::Own(window), _) => {
                let oldest = window.oldest()?;
                candidates.push(Label {
                    conn: number,
                    seq: wire_seq(oldest),
                });
                if window.awaits(claimed.seq) {
                    candidates.push(Label {
                        conn: number,
                        seq: claimed.seq,
                    });
                }
            }
            (Expect::All(seen), Some(board)) => {
                for (conn, seen) in (0..).zip(seen) {
                    if seen.expected() < board.sent(conn) {
                        candidates.push(Label {
                            conn,
                            seq: wire_seq(seen.expected()),
                        });
                        if conn == claimed.conn && seen.awaits(claimed.seq, board.sent(conn)) {
                            candidates.push(claimed);
                        }
                    }
                }
            }
            _ => {}
        }
        candidates
            .into_iter()
            .min_by_key(|&label| self.shared.frames.difference(frame, label))
    }

    /// After a read: what it allows to send.
    fn received(&mut self, index: usize, now: u64) {
        if self.shared.config.mode != Mode::Churn {
            self.pump(index, now);
            return;
        }
        let conn = &mut self.conns[index];
        let answered = match &conn.expect {
            Expect::Own(window) => conn.quota == 0 && window.outstanding() == 0,
            _ => false,
        };
        if answered {
            conn.state = State::None;
            self.live -= 1;
            self.reconnect(index);
        }
    }

    /// The server closed or reset the connection, which no mode wants.
    pub(crate) fn peer_closed(&mut self, index: usize, why: &str) {
        let now = self.shared.now();
        let conn = &mut self.conns[index];
        let number = conn.number;
        conn.state = State::None;
        self.live -= 1;
        self.tally.closed_by_peer += 1;
        self.tally.fault(now, || {
            format!("connection {number}: closed by the server: {why}")
        });
        let lost = match &mut conn.expect {
            Expect::Own(window) => window.abandon(),
            Expect::All(_) => self.leave_board(index),
            Expect::Nothing => 0,
        };
        self.tally.lost += lost;
        match self.shared.config.mode {
            Mode::Churn => self.reconnect(index),
            _ if !self.conns[index].ready => {
                let hint = self.shared.config.server_hint();
                self.failure = Some(Failure::fault(format!(
                    "connection {number}: closed by the server before the run could start: {why}; \
                     {hint}"
                )));
            }
            _ => {}
        }
    }

    /// Broadcast: this receiver gets nothing more. Returns how many sent frames it still lacks;
    /// those it skipped before are counted already.
    pub(crate) fn leave_board(&mut self, index: usize) -> u64 {
        let Some(board) = &self.shared.board else {
            return 0;
        };
        let sent = board.leave();
        self.tally.frames_expected += sent.iter().sum::<u64>();
        let Expect::All(seen) = &self.conns[index].expect else {
            return 0;
        };
        let from: Vec<u64> = seen.iter().map(super::track::Seen::expected).collect();
        let now = self.shared.now();
        let mut lost = 0;
        for ((sender, sent), from) in (0..).zip(sent).zip(from) {
            (from..sent).for_each(|seq| self.settle_one(sender, seq, now, false));
            lost += sent - from;
        }
        lost
    }
}
