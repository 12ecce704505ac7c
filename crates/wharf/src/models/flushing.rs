//! The end of the modelled session: `flow/flush.rs` and `flow/close.rs`.

use std::sync::atomic::Ordering::SeqCst;

use bytes::Bytes;

use super::kernel::Io;
use super::session::{Flush, Phase, Seen, Session, Turn};
use crate::session::queue::{CloseHow, Entry, SendQueue};
use crate::session::word::{self, FlushEnd};

/// `Wrote`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wrote {
    All,
    Blocked,
    Enough,
}

// flow/flush.rs
impl Session {
    /// `flush_turn`.
    pub(super) fn flush_turn(&self, turn: &mut Turn) {
        let out = std::mem::take(&mut turn.out);
        if !out.is_empty() {
            self.flush_bytes(turn, &out);
        }
    }

    /// `flush_bytes`.
    fn flush_bytes(&self, turn: &Turn, out: &[u8]) {
        if self.word.has(word::ABORTED | word::DEAD) {
            Seen::count(&self.seen.lost, out.len());
            return;
        }
        if !self.word.begin_flush_direct() {
            self.take_over(Entry {
                bytes: Bytes::copy_from_slice(out).into(),
                frames: u32::try_from(out.len()).unwrap(),
            });
            self.flush_queue();
            return;
        }
        let wrote = self.flush_right.with(|()| self.write_direct(turn, out));
        self.end_flush(wrote);
    }

    /// What the holder of the flush right does: it alone locks what the right guards, apart from
    /// those who only try to.
    fn holding<R>(&self, work: impl FnOnce(&mut Flush) -> R) -> R {
        self.flush_right.with(|()| {
            let mut flush = self.flush.lock().unwrap();
            work(&mut flush)
        })
    }

    /// `write_direct`, with the socket that the turn has: the flush's lock is for the rest.
    fn write_direct(&self, turn: &Turn, out: &[u8]) -> Wrote {
        if turn.socket.is_none() {
            return Wrote::All;
        }
        let mut done = 0;
        while done < out.len() {
            match self.kernel.send(&[&out[done..]]) {
                Io::Bytes(n) => done += n,
                Io::WouldBlock => {
                    let rest = Bytes::copy_from_slice(&out[done..]);
                    let frames = u32::try_from(out.len()).unwrap();
                    let mut flush = self.flush.lock().unwrap();
                    let mut queue = self.out.lock().unwrap();
                    queue.account(rest.len(), frames);
                    flush.entries.push_back(Entry {
                        bytes: rest.into(),
                        frames,
                    });
                    self.mark_pending(&queue);
                    return Wrote::Blocked;
                }
                Io::Broken => {
                    Seen::count(&self.seen.lost, out.len());
                    self.close(CloseHow::Abort);
                    return Wrote::All;
                }
            }
        }
        Wrote::All
    }

    /// `take_over`.
    fn take_over(&self, entry: Entry) {
        let mut queue = self.out.lock().unwrap();
        queue.push_taken(entry);
        self.mark_pending(&queue);
    }

    /// `mark_pending`.
    fn mark_pending(&self, queue: &SendQueue) {
        let high = if queue.bytes() >= self.setup.limits.high_water() {
            word::CHOKED
        } else {
            0
        };
        self.word.mark(word::PENDING | high);
    }

    /// `flush_queue`.
    pub(super) fn flush_queue(&self) {
        if self.word.begin_flush() {
            let mut writes = self.setup.writes_max;
            let wrote = self.holding(|flush| self.write_queue(flush, &mut writes));
            self.end_flush(wrote);
        }
    }

    /// `end_flush`.
    fn end_flush(&self, mut wrote: Wrote) {
        let mut writes = self.setup.writes_max;
        loop {
            let queued = match wrote {
                Wrote::Enough => {
                    let queued = self.word.yield_flush();
                    if self.word.mark(word::DIRTY) == 0 {
                        self.push_work();
                    }
                    queued
                }
                Wrote::All | Wrote::Blocked => match self.word.end_flush(wrote == Wrote::All) {
                    FlushEnd::Done => false,
                    FlushEnd::Queued => true,
                    FlushEnd::Again => {
                        wrote = self.holding(|flush| self.write_queue(flush, &mut writes));
                        continue;
                    }
                },
            };
            if self.word.has(word::ABORTED) {
                self.break_connection();
            }
            if queued {
                self.push_turn();
            }
            return;
        }
    }

    /// `write_queue`.
    fn write_queue(&self, flush: &mut Flush, writes: &mut usize) -> Wrote {
        let Some(_socket) = flush.socket.clone() else {
            self.drop_all(flush);
            return Wrote::All;
        };
        loop {
            let more = || self.word.has(word::PENDING);
            if flush.entries.is_empty() && !(more() && self.refill(flush)) {
                return Wrote::All;
            }
            if self.word.has(word::ABORTED) {
                self.drop_all(flush);
                return Wrote::All;
            }
            if *writes == 0 {
                return Wrote::Enough;
            }
            *writes -= 1;
            match self.send_entries(flush) {
                Io::Bytes(n) => self.wrote(flush, n),
                Io::WouldBlock => return Wrote::Blocked,
                Io::Broken => {
                    self.drop_all(flush);
                    self.close(CloseHow::Abort);
                    return Wrote::All;
                }
            }
        }
    }

    /// `send_entries`.
    fn send_entries(&self, flush: &Flush) -> Io {
        let mut slices: Vec<&[u8]> = flush.entries.iter().map(|e| &e.bytes[..]).collect();
        slices[0] = &slices[0][flush.skip..];
        self.kernel.send(&slices)
    }

    /// `refill`.
    fn refill(&self, flush: &mut Flush) -> bool {
        let mut queue = self.out.lock().unwrap();
        queue.take(&mut flush.entries, crate::port::GATHER_MAX);
        if flush.entries.is_empty() {
            self.word.take(word::PENDING);
            return false;
        }
        true
    }

    /// `wrote`.
    fn wrote(&self, flush: &mut Flush, n: usize) {
        let mut left = n + flush.skip;
        let mut frames = 0;
        while let Some(first) = flush.entries.front() {
            if left < first.bytes.len() {
                break;
            }
            left -= first.bytes.len();
            frames += first.frames;
            flush.entries.pop_front();
        }
        flush.skip = left;
        let drained = flush.entries.is_empty();
        self.less_queued(|queue| {
            queue.written(n, frames);
            if drained && queue.is_empty() {
                self.word.take(word::PENDING);
            }
        });
    }

    /// `drop_all`.
    fn drop_all(&self, flush: &mut Flush) {
        flush.entries.clear();
        flush.skip = 0;
        let mut lost = 0;
        self.less_queued(|queue| lost = queue.clear());
        self.word.take(word::PENDING);
        Seen::count(&self.seen.lost, lost);
    }

    /// `less_queued`.
    fn less_queued(&self, change: impl FnOnce(&mut SendQueue)) {
        let resumed = {
            let mut queue = self.out.lock().unwrap();
            change(&mut queue);
            queue.bytes() <= self.setup.limits.low_water()
                && self.word.has(word::CHOKED)
                && self.word.lower(word::CHOKED)
        };
        if resumed {
            self.push_turn();
        }
    }
}

// flow/close.rs
impl Session {
    /// `end_callbacks`.
    pub(super) fn end_callbacks(&self, turn: &mut Turn) {
        let jobs = {
            let mut mailbox = self.mailbox.lock().unwrap();
            mailbox.closed = true;
            std::mem::take(&mut mailbox.jobs)
        };
        for _ in jobs {
            self.seen.called(&self.seen.jobs);
        }
        self.flush_turn(turn);
        self.flush_held();
        let how = self.out.lock().unwrap().closing().map(|closing| closing.0);
        if turn.state.take().is_some() {
            self.seen.called(&self.seen.closes);
        }
        turn.phase = Phase::Linger;
        self.word.take(word::REMAINDER);
        self.word.mark(word::LINGER);
        if how == Some(CloseHow::Graceful) {
            self.word.mark(word::DRAINING);
        }
    }

    /// `linger`.
    pub(super) fn linger(&self, turn: &mut Turn, had: u32) {
        let bits = self.word.bits();
        if bits & word::ABORTED != 0 || had & word::TIMER != 0 {
            self.word.mark(word::ABORTED);
            self.close_socket(turn);
            return;
        }
        if !turn.fin_sent && bits & (word::PENDING | word::FLUSHING) == 0 {
            self.word.take(word::DRAINING);
            turn.fin_sent = true;
            self.kernel.shutdown_write();
        }
        let ended = self.recv_end(turn);
        if ended && turn.fin_sent {
            self.close_socket(turn);
        }
    }

    /// `close_socket`.
    fn close_socket(&self, turn: &mut Turn) {
        if !self.word.seize_flush() {
            self.word.take(word::READABLE);
            return;
        }
        self.seen.seized.store(true, SeqCst);
        self.holding(|flush| {
            flush.socket = None;
            flush.entries.clear();
        });
        turn.socket = None;
        turn.phase = Phase::Closed;
        let lost = self.out.lock().unwrap().clear();
        Seen::count(&self.seen.lost, lost);
        self.word.mark(word::DEAD);
    }
}
