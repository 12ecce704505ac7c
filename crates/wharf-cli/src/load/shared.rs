//! What the threads of a run share: the clock, the start and the stop, and progress.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::thread::Thread;
use std::time::Instant;

use mio::Waker;

use super::board::Board;
use super::config::Config;
use super::tally::Tally;
use super::wire::Frames;
use crate::args::Mode;

/// A time that is not set yet.
pub(crate) const UNSET: u64 = u64::MAX;

/// What one thread tells the others while it runs.
#[derive(Debug)]
pub(crate) struct Gauge {
    pub(crate) waker: Waker,
    /// It is about to wait for events.
    pub(crate) asleep: AtomicBool,
    /// It has ended.
    pub(crate) done: AtomicBool,
    /// Its counters for the progress line, written once per wake-up.
    pub(crate) frames: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) faults: AtomicU64,
}

impl Gauge {
    /// A thread that has not started, woken by `waker`.
    pub(crate) fn new(waker: Waker) -> Self {
        Self {
            waker,
            asleep: AtomicBool::new(false),
            done: AtomicBool::new(false),
            frames: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            faults: AtomicU64::new(0),
        }
    }

    /// Publishes where the thread is.
    pub(crate) fn publish(&self, tally: &Tally, mode: Mode) {
        let frames = if mode == Mode::Sink {
            tally.frames_sent
        } else {
            tally.frames_answered
        };
        self.frames.store(frames, Ordering::Relaxed);
        self.bytes.store(tally.bytes_sent, Ordering::Relaxed);
        self.faults.store(tally.faults(), Ordering::Relaxed);
    }
}

/// Shared by all threads of a run.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) frames: Frames,
    epoch: Instant,
    /// When sending starts and stops, in ns of this clock; [`UNSET`] until all is ready.
    start: AtomicU64,
    stop: AtomicU64,
    /// End now, without a report.
    pub(crate) abort: AtomicBool,
    /// Connections that are ready for the start.
    ready: AtomicU32,
    /// Threads that will send nothing more.
    pub(crate) stopped: AtomicU32,
    pub(crate) board: Option<Board>,
    pub(crate) gauges: Vec<Gauge>,
    main: Thread,
}

impl Shared {
    /// For a run that `main` (the calling thread) oversees.
    pub(crate) fn new(config: Config, gauges: Vec<Gauge>) -> Self {
        let board = (config.mode == Mode::Broadcast)
            .then(|| Board::new(config.connections, config.senders, config.depth));
        Self {
            frames: Frames::new(config.size),
            config,
            epoch: Instant::now(),
            start: AtomicU64::new(UNSET),
            stop: AtomicU64::new(UNSET),
            abort: AtomicBool::new(false),
            ready: AtomicU32::new(0),
            stopped: AtomicU32::new(0),
            board,
            gauges,
            main: std::thread::current(),
        }
    }

    /// Nanoseconds since the run was set up.
    pub(crate) fn now(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_nanos()).unwrap_or(UNSET - 1)
    }

    /// When sending starts, or [`UNSET`].
    pub(crate) fn start(&self) -> u64 {
        self.start.load(Ordering::Acquire)
    }

    /// When sending stops, or [`UNSET`].
    pub(crate) fn stop(&self) -> u64 {
        self.stop.load(Ordering::Acquire)
    }

    /// Sets start and stop, and wakes every thread.
    pub(crate) fn begin(&self, start: u64, stop: u64) {
        self.stop.store(stop, Ordering::Release);
        self.start.store(start, Ordering::Release);
        self.wake_all();
    }

    /// Ends the run without a report.
    pub(crate) fn give_up(&self) {
        self.abort.store(true, Ordering::Release);
        self.wake_all();
        self.main.unpark();
    }

    fn wake_all(&self) {
        for gauge in &self.gauges {
            // A loop that cannot be woken still looks every 100 ms.
            let _ = gauge.waker.wake();
        }
    }

    /// One more connection is ready for the start.
    pub(crate) fn add_ready(&self) {
        if self.ready.fetch_add(1, Ordering::AcqRel) + 1 == self.config.connections {
            self.main.unpark();
        }
    }

    /// Connections that are ready for the start.
    pub(crate) fn ready(&self) -> u32 {
        self.ready.load(Ordering::Acquire)
    }

    /// A thread has ended.
    pub(crate) fn leave(&self, gauge: &Gauge) {
        gauge.done.store(true, Ordering::Release);
        self.main.unpark();
    }

    /// Every thread has ended.
    pub(crate) fn all_done(&self) -> bool {
        self.gauges
            .iter()
            .all(|gauge| gauge.done.load(Ordering::Acquire))
    }
}
