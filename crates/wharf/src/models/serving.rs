//! The middle of the modelled session: a turn, as `flow/turn.rs` orders it, with the connect, the
//! reading and the jobs.

use loom::sync::atomic::Ordering;

use super::kernel::Io;
use super::session::{Phase, Seen, Session, Turn};
use crate::port::Bits;
use crate::session::queue::CloseHow;
use crate::session::word;

impl Session {
    /// A turn begins, and its callback never returns.
    pub(super) fn begin_and_stick(&self) {
        assert!(self.pick_turn());
        self.word.begin_turn();
    }

    // flow/turn.rs

    /// `Served::ready`.
    pub(super) fn ready(&self, bits: Bits) {
        if bits == Bits::default() {
            return;
        }
        let failed = Bits::HANGUP.with(Bits::ERROR);
        let hangup = failed.with(Bits::READ_HANGUP);
        let mut reasons = 0;
        if bits.any(Bits::READ.with(hangup)) {
            reasons |= word::READABLE;
        }
        if bits.any(hangup) {
            reasons |= word::HANGUP;
        }
        if bits.any(failed) {
            reasons |= word::FAILED;
        }
        if bits.any(Bits::WRITE) {
            reasons |= word::WRITABLE;
        }
        let queued = self.word.raise(reasons);
        if reasons & word::WRITABLE != 0 && self.word.has(word::PENDING) {
            self.flush_queue();
        }
        if queued {
            self.push_turn();
        }
    }

    /// `Served::turn`.
    pub(super) fn run_turn(&self) {
        Seen::count(&self.seen.turns, 1);
        let had = self.word.begin_turn();
        self.turn.with(|turn| self.serve(turn, had));
        if self.word.end_turn() {
            self.push_turn();
        }
    }

    /// `Served::work`.
    pub(super) fn served_work(&self) {
        if self.word.has(word::DIRTY) {
            self.word.take(word::DIRTY);
        }
        self.gathered_by.swap(0, Ordering::AcqRel);
        self.flush_queue();
    }

    /// `serve`.
    fn serve(&self, turn: &mut Turn, had: u32) {
        if turn.phase == Phase::Connecting && !self.connect_ended(turn) {
            return;
        }
        if turn.phase == Phase::Open {
            if had & word::POSTED != 0 && !self.word.has(word::SHUT) {
                self.run_jobs();
            }
            self.recv(turn);
            self.flush_turn(turn);
        }
        if !matches!(turn.phase, Phase::Linger | Phase::Closed) && self.word.has(word::SHUT) {
            self.end_callbacks(turn);
        }
        if turn.phase == Phase::Linger {
            self.linger(turn, had);
        }
    }

    // flow/connect.rs

    /// `connect_ended`, before the connect takes too long.
    fn connect_ended(&self, turn: &mut Turn) -> bool {
        if self.word.has(word::SHUT) {
            self.close(CloseHow::Abort);
            return true;
        }
        self.word.take(word::WRITABLE);
        if !self.kernel.is_established() {
            return false;
        }
        self.word.mark(word::WRITABLE);
        self.word.take(word::CONNECTING);
        turn.phase = Phase::Open;
        true
    }

    // flow/recv.rs and flow/decode.rs

    /// `recv`.
    fn recv(&self, turn: &mut Turn) {
        loop {
            let bits = self.word.bits();
            if bits & (word::SHUT | word::PAUSED | word::CHOKED) != 0 {
                return;
            }
            let stopped = if bits & word::REMAINDER != 0 {
                self.word.take(word::REMAINDER);
                let kept = std::mem::take(&mut turn.partial);
                self.decode(turn, kept)
            } else if bits & word::READABLE != 0 {
                match self.recv_into(turn) {
                    Some(new) => self.decode(turn, new),
                    None => return,
                }
            } else {
                return;
            };
            if stopped || !self.word.has(word::READABLE | word::REMAINDER) {
                return;
            }
        }
    }

    /// `recv_into`.
    fn recv_into(&self, turn: &mut Turn) -> Option<usize> {
        turn.socket.as_ref()?;
        self.word.take(word::READABLE);
        match self.kernel.recv(self.setup.recv_max) {
            Io::Bytes(0) => {
                turn.eof = true;
                self.close(CloseHow::Graceful);
                None
            }
            Io::Bytes(n) => {
                if n == self.setup.recv_max || self.word.has(word::HANGUP) {
                    self.word.mark(word::READABLE);
                }
                Some(n)
            }
            Io::WouldBlock => None,
            Io::Broken => {
                turn.eof = true;
                self.close(CloseHow::Abort);
                None
            }
        }
    }

    /// `decode` and `must_stop`; true if it stopped with bytes left.
    fn decode(&self, turn: &mut Turn, bytes: usize) -> bool {
        for decoded in 1..=bytes {
            let frame = self.seen.called(&self.seen.frames);
            turn.out.extend(self.setup.reply.map(|reply| reply + frame));
            if self.word.has(word::SHUT | word::PAUSED | word::CHOKED) {
                turn.partial = bytes - decoded;
                if turn.partial > 0 {
                    self.word.mark(word::REMAINDER);
                }
                return true;
            }
        }
        false
    }

    /// `recv_end`.
    pub(super) fn recv_end(&self, turn: &mut Turn) -> bool {
        while self.word.has(word::READABLE) {
            if turn.socket.is_none() {
                return true;
            }
            self.word.take(word::READABLE);
            match self.kernel.recv(self.setup.recv_max) {
                Io::Bytes(0) | Io::Broken => turn.eof = true,
                Io::Bytes(_) => {
                    self.word.mark(word::READABLE);
                }
                Io::WouldBlock => {}
            }
        }
        turn.eof
    }

    // flow/handle.rs

    /// `post`.
    pub(super) fn post(&self, job: u8) -> bool {
        {
            let mut mailbox = self.mailbox.lock().unwrap();
            if mailbox.closed || self.word.has(word::SHUT) {
                return false;
            }
            mailbox.jobs.push_back(job);
        }
        self.raise(word::POSTED);
        true
    }

    /// `run_jobs`.
    fn run_jobs(&self) {
        let mut budget = self.setup.jobs_max;
        let mut waiting = self.mailbox.lock().unwrap().jobs.len();
        while waiting > 0 {
            let job = self.mailbox.lock().unwrap().jobs.pop_front();
            if job.is_none() {
                return;
            }
            waiting -= 1;
            self.seen.called(&self.seen.jobs);
            if self.word.has(word::SHUT) {
                return;
            }
            budget -= 1;
            if waiting > 0 && budget == 0 {
                self.word.mark(word::POSTED);
                return;
            }
        }
    }
}
