//! A session as `flow/` drives it, line by line, around the real [`Word`] and [`SendQueue`].
//!
//! One byte is one frame, the handler notes it and may answer it, and a turn has no budget of time:
//! what is left out touches no protocol. Each function names the one it mirrors; where the order of
//! two lines matters, it is the order of the original.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize as Plain, Ordering::SeqCst};

use bytes::Bytes;
use loom::sync::Mutex;
use loom::sync::atomic::{AtomicUsize, Ordering};

use super::kernel::{Io, Kernel};
use super::rights::Held;
use crate::error::CloseReason;
use crate::port::Bits;
use crate::session::queue::{CloseHow, Entry, SendQueue, SendQueueLimits};
use crate::session::word::{self, Word};

/// `Phase`; `on_open` is no part of the models.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Connecting,
    Open,
    Linger,
    Closed,
}

/// `TurnState`, and the turn's out buffer.
#[derive(Debug)]
pub(super) struct Turn {
    pub(super) phase: Phase,
    pub(super) socket: Option<Arc<Descriptor>>,
    /// The user's state: there until `on_close`.
    pub(super) state: Option<()>,
    /// Bytes saved in mid-decode.
    partial: usize,
    pub(super) eof: bool,
    pub(super) fin_sent: bool,
    pub(super) out: Vec<u8>,
}

/// `FlushState`.
#[derive(Debug)]
pub(super) struct Flush {
    pub(super) socket: Option<Arc<Descriptor>>,
    pub(super) entries: VecDeque<Entry>,
    pub(super) skip: usize,
}

/// `Mailbox`.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    pub(super) jobs: VecDeque<u8>,
    pub(super) closed: bool,
}

/// `Socket`: closed when the last reference is dropped.
#[derive(Debug)]
pub(super) struct Descriptor(Arc<Seen>);

impl Drop for Descriptor {
    fn drop(&mut self) {
        self.0.freed.fetch_add(1, SeqCst);
        if !self.0.seized.load(SeqCst) {
            self.0.freed_early.store(true, SeqCst);
        }
    }
}

/// What happened, for the checks at the end; no part of the model.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) frames: Plain,
    pub(super) jobs: Plain,
    pub(super) closes: Plain,
    pub(super) after_close: Plain,
    pub(super) lost: Plain,
    pub(super) turns: Plain,
    pub(super) freed: Plain,
    /// The owner holds both rights for good.
    pub(super) seized: AtomicBool,
    pub(super) freed_early: AtomicBool,
}

impl Seen {
    pub(super) fn count(counter: &Plain, n: usize) {
        counter.fetch_add(n, SeqCst);
    }

    /// A callback ran.
    pub(super) fn called(&self, counter: &Plain) {
        Self::count(&self.after_close, self.closes.load(SeqCst));
        Self::count(counter, 1);
    }
}

/// What differs between the models.
#[derive(Clone, Debug)]
pub(super) struct Setup {
    /// The word's first bits, START left out.
    pub(super) bits: u32,
    /// Bytes that one recv takes at most.
    pub(super) recv_max: usize,
    /// Bytes that the peer takes before it reads.
    pub(super) room: usize,
    /// Bytes that one send takes at most, and sends of one flush.
    pub(super) send_max: usize,
    pub(super) writes_max: usize,
    /// What the handler answers to each frame.
    pub(super) reply: Option<u8>,
    pub(super) limits: SendQueueLimits,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            bits: word::WRITABLE,
            recv_max: 2,
            room: 100,
            send_max: 100,
            writes_max: 16,
            reply: None,
            limits: SendQueueLimits::default(),
        }
    }
}

/// `SessionCore`.
pub(super) struct Session {
    pub(super) word: Word,
    pub(super) kernel: Kernel,
    pub(super) turn: Held<Turn>,
    pub(super) flush: Mutex<Flush>,
    pub(super) flush_right: Held<()>,
    pub(super) out: Mutex<SendQueue>,
    pub(super) mailbox: Mutex<Mailbox>,
    /// The run queue, of one session: how often it stands in its lane, and among the port work.
    runs: AtomicUsize,
    works: AtomicUsize,
    pub(super) seen: Arc<Seen>,
    pub(super) setup: Setup,
}

impl Session {
    #[expect(
        clippy::arc_with_non_send_sync,
        reason = "loom's threads are coroutines of one thread"
    )]
    pub(super) fn new(setup: Setup) -> Arc<Self> {
        let seen = Arc::<Seen>::default();
        let socket = Arc::new(Descriptor(Arc::clone(&seen)));
        let turn = Turn {
            phase: if setup.bits & word::CONNECTING == 0 {
                Phase::Open
            } else {
                Phase::Connecting
            },
            socket: Some(Arc::clone(&socket)),
            state: Some(()),
            partial: 0,
            eof: false,
            fin_sent: false,
            out: Vec::new(),
        };
        let flush = Flush {
            socket: Some(socket),
            entries: VecDeque::new(),
            skip: 0,
        };
        Arc::new(Self {
            word: Word::new(setup.bits),
            kernel: Kernel::new(setup.room, setup.send_max),
            turn: Held::new(turn),
            flush: Mutex::new(flush),
            flush_right: Held::new(()),
            out: Mutex::default(),
            mailbox: Mutex::default(),
            runs: AtomicUsize::new(0),
            works: AtomicUsize::new(0),
            seen,
            setup,
        })
    }

    /// `PortCore::push_turn`. A session stands in a lane once at most (G5).
    pub(super) fn push_turn(&self) {
        assert_eq!(self.runs.fetch_add(1, Ordering::AcqRel), 0, "pushed twice");
    }

    /// `PortCore::push_work`. The mark sees to it that it stands there once at most.
    pub(super) fn push_work(&self) {
        assert_eq!(self.works.fetch_add(1, Ordering::AcqRel), 0, "pushed twice");
    }

    /// A worker that runs what is queued until nothing is.
    pub(super) fn work(&self) {
        while self.work_once() {}
    }

    /// One step of a worker.
    fn work_once(&self) -> bool {
        if pick(&self.works) {
            self.served_work();
        } else if pick(&self.runs) {
            self.run_turn();
        } else {
            return false;
        }
        true
    }

    /// The workers go on when all other threads have ended; afterwards nothing is queued.
    pub(super) fn settle(&self) {
        let steps = (0..16).take_while(|_| self.work_once()).count();
        assert!(steps < 16, "it is queued again and again");
        assert!(self.word.is_idle(), "queued, and in no queue");
        assert!(!self.word.has(word::DIRTY), "marked, and on no list");
    }

    /// A turn begins, and its callback never returns.
    pub(super) fn begin_and_stick(&self) {
        assert!(pick(&self.runs));
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
    fn run_turn(&self) {
        Seen::count(&self.seen.turns, 1);
        let had = self.word.begin_turn();
        self.turn.with(|turn| self.serve(turn, had));
        if self.word.end_turn() {
            self.push_turn();
        }
    }

    /// `Served::work`.
    pub(super) fn served_work(&self) {
        self.word.take(word::DIRTY);
        self.flush_queue();
    }

    /// `serve`.
    fn serve(&self, turn: &mut Turn, had: u32) {
        if turn.phase == Phase::Connecting {
            self.connect_ended(turn);
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
    fn connect_ended(&self, turn: &mut Turn) {
        if self.word.has(word::SHUT) {
            self.word.take(word::CONNECTING);
            self.word.mark(word::ABORTED);
            return;
        }
        self.word.take(word::WRITABLE);
        if self.kernel.is_established() {
            self.word.mark(word::WRITABLE);
            self.word.take(word::CONNECTING);
            turn.phase = Phase::Open;
        }
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
            if stopped {
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
            self.seen.called(&self.seen.frames);
            turn.out.extend(self.setup.reply);
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
        let waiting = self.mailbox.lock().unwrap().jobs.len();
        for _ in 0..waiting {
            let job = self.mailbox.lock().unwrap().jobs.pop_front();
            if job.is_none() {
                return;
            }
            self.seen.called(&self.seen.jobs);
            if self.word.has(word::SHUT) {
                return;
            }
        }
    }

    // flow/enqueue.rs

    /// `queue`: a frame from anywhere; false if it is not accepted.
    pub(super) fn queue(&self, bytes: &[u8]) -> bool {
        if self.word.has(word::SHUT | word::DEAD) {
            return false;
        }
        let entry = Entry {
            bytes: Bytes::copy_from_slice(bytes),
            frames: 1,
        };
        let mut out = self.out.lock().unwrap();
        let pushed = out.push(entry, &self.setup.limits, 0);
        if let Ok(pushed) = &pushed {
            let high = if pushed.high { word::CHOKED } else { 0 };
            self.word.mark(word::PENDING | high);
            Seen::count(&self.seen.lost, pushed.dropped as usize);
        }
        pushed.is_ok()
    }

    /// `send_wire` and `flush_soon` of a thread that gathers nothing.
    pub(super) fn send(&self, bytes: &[u8]) -> bool {
        let accepted = self.queue(bytes);
        if accepted {
            self.flush_queue();
        }
        accepted
    }

    /// The same in the turn of another session: true if it joins that turn's dirty list, which
    /// calls [`Self::served_work`] at the end of the turn.
    pub(super) fn send_in_turn(&self, bytes: &[u8]) -> bool {
        self.queue(bytes) && self.word.mark(word::DIRTY) == 0
    }

    // session/core.rs

    /// `raise`.
    pub(super) fn raise(&self, reasons: u32) {
        if self.word.raise(reasons) {
            self.push_turn();
        }
    }

    /// `close`.
    pub(super) fn close(&self, how: CloseHow) {
        let mut bits = word::CLOSING;
        {
            let mut out = self.out.lock().unwrap();
            if !out.close(how, CloseReason::Closed) {
                return;
            }
            self.word.mark(word::SHUT);
            if how == CloseHow::Abort {
                self.word.mark(word::ABORTED);
                bits |= word::TIMER;
            }
        }
        if how == CloseHow::Abort {
            self.break_connection();
        }
        self.raise(bits);
    }

    /// `break_connection`.
    pub(super) fn break_connection(&self) {
        if let Ok(flush) = self.flush.try_lock()
            && flush.socket.is_some()
        {
            self.kernel.disconnect();
        }
    }

    /// `pause`.
    pub(super) fn pause(&self, more: bool) {
        let resumed = {
            let mut out = self.out.lock().unwrap();
            if more {
                out.pauses += 1;
                self.word.mark(word::PAUSED);
                false
            } else {
                out.pauses -= 1;
                out.pauses == 0 && self.word.lower(word::PAUSED)
            }
        };
        if resumed {
            self.push_turn();
        }
    }
}

/// Takes it off a list, if it is there.
fn pick(list: &AtomicUsize) -> bool {
    let picked = list.compare_exchange(1, 0, Ordering::AcqRel, Ordering::Acquire);
    picked.is_ok()
}
