//! M14: the end of a repeating job against its tick: `Every` in `strand/timer.rs`. Whoever comes
//! second of the two drops the job, so that what it holds is not kept by a handle that nobody uses.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize as Plain, Ordering::SeqCst};

use loom::sync::Mutex;
use loom::sync::atomic::{AtomicBool, Ordering, fence};
use loom::thread;

use super::check;

/// `Every`, and what it did.
struct Every {
    over: AtomicBool,
    running: Mutex<Option<()>>,
    ticks: Plain,
    dropped: Plain,
    /// Ticks that began after somebody had been told that it had ended.
    late: Plain,
    told: AtomicBool,
}

impl Every {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            over: AtomicBool::new(false),
            running: Mutex::new(Some(())),
            ticks: Plain::new(0),
            dropped: Plain::new(0),
            late: Plain::new(0),
            told: AtomicBool::new(false),
        })
    }

    /// `Due::run` and `tick`; whether it was armed again.
    fn run(&self) -> bool {
        let told = self.told.load(Ordering::Acquire);
        if self.over.load(Ordering::SeqCst) {
            return false;
        }
        {
            let running = self.running.lock().unwrap();
            if running.is_none() {
                return false;
            }
            self.ticks.fetch_add(1, SeqCst);
            self.late.fetch_add(usize::from(told), SeqCst);
        }
        fence(Ordering::SeqCst);
        if self.over.load(Ordering::SeqCst) {
            self.sweep();
            return false;
        }
        true
    }

    /// `end`, and its caller goes on.
    fn end(&self) -> bool {
        let first = !self.over.swap(true, Ordering::SeqCst);
        self.sweep();
        self.told.store(true, Ordering::Release);
        first
    }

    /// `sweep`.
    fn sweep(&self) {
        fence(Ordering::SeqCst);
        if let Ok(mut running) = self.running.try_lock() {
            let job = running.take();
            self.dropped.fetch_add(usize::from(job.is_some()), SeqCst);
        }
    }

    fn is_swept(&self) {
        assert!(self.running.lock().unwrap().is_none(), "its job is kept");
        assert_eq!(self.dropped.load(SeqCst), 1);
        assert_eq!(self.late.load(SeqCst), 0, "it ran after its end was told");
    }
}

#[test]
fn a_cancel_meets_a_tick() {
    check(3, || {
        let every = Every::new();
        let other = Arc::clone(&every);
        let worker = thread::spawn(move || while other.run() && other.ticks.load(SeqCst) < 2 {});
        assert!(every.end());
        worker.join().unwrap();
        every.is_swept();
    });
}

#[test]
fn two_cancels_meet_a_tick() {
    check(2, || {
        let every = Every::new();
        let ends = [1, 2].map(|_| {
            let other = Arc::clone(&every);
            thread::spawn(move || other.end())
        });
        every.run();
        let first = ends.map(|end| usize::from(end.join().unwrap()));
        assert_eq!(first[0] + first[1], 1, "one of them ended it");
        every.is_swept();
    });
}
