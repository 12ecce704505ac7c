//! A session as `flow/` drives it, line by line, around the real [`Word`] and [`SendQueue`]: what
//! it is made of, and who sends to it. Its turns are in `serving.rs`, its flushes in `flushing.rs`.
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

use super::kernel::Kernel;
use super::rights::Held;
use crate::error::CloseReason;
use crate::session::lazy::Lazy;
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
    pub(super) partial: usize,
    pub(super) eof: bool,
    pub(super) fin_sent: bool,
    pub(super) out: Vec<u8>,
}

/// `FlushState`.
#[derive(Debug)]
pub(super) struct Flush {
    pub(super) socket: Option<Arc<Descriptor>>,
    pub(super) entries: Lazy<Entry>,
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

    /// A callback ran; returns how many of its kind had run before.
    pub(super) fn called(&self, counter: &Plain) -> u8 {
        Self::count(&self.after_close, self.closes.load(SeqCst));
        u8::try_from(counter.fetch_add(1, SeqCst)).unwrap()
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
    /// Jobs that one turn runs at most.
    pub(super) jobs_max: usize,
    /// What the handler answers to the first frame; one more to each that follows.
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
            jobs_max: 16,
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
    pub(super) gathered_by: AtomicUsize,
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
            entries: Lazy::default(),
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
            gathered_by: AtomicUsize::new(0),
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
        } else if self.pick_turn() {
            self.run_turn();
        } else {
            return false;
        }
        true
    }

    /// Takes it from its lane.
    pub(super) fn pick_turn(&self) -> bool {
        pick(&self.runs)
    }

    /// The workers go on when all other threads have ended; afterwards nothing is queued.
    pub(super) fn settle(&self) {
        let steps = (0..16).take_while(|_| self.work_once()).count();
        assert!(steps < 16, "it is queued again and again");
        assert!(self.word.is_idle(), "queued, and in no queue");
        assert!(!self.word.has(word::DIRTY), "marked, and on no list");
    }

    // flow/enqueue.rs

    /// `queue`: a frame from anywhere; false if it is not accepted.
    pub(super) fn queue(&self, bytes: &[u8]) -> bool {
        if self.word.has(word::SHUT | word::DEAD) {
            return false;
        }
        let entry = Entry {
            bytes: Bytes::copy_from_slice(bytes).into(),
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
    /// calls [`Self::served_work`] at the end of the turn, or has a sibling call it.
    pub(super) fn send_in_turn(&self, list: usize, bytes: &[u8]) -> bool {
        self.queue(bytes) && self.gathered_by.swap(list, Ordering::AcqRel) != list
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
