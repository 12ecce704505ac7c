//! Wakes the loop when a frame is due: a poller's own timeout counts in whole milliseconds, which
//! would add up to one to every latency.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Builder, JoinHandle};
use std::time::Duration;

use mio::Waker;

use super::clock::Clock;
use super::schedule::Schedule;

/// A thread's timed wait ends this late on Linux unless told otherwise (the timer slack of
/// prctl(2), 50 µs), so it is asked to end this early; the loop polls what is left of it.
pub(super) const EARLY: u64 = 50_000;
/// Longest wait, so that it sees the end soon.
const WAIT_MAX: u64 = 50_000_000;

/// The pacer's thread; dropping it ends and joins it.
#[derive(Debug)]
pub(super) struct Pacer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    /// The loop waits for events, and wants to be woken.
    asleep: AtomicBool,
    done: AtomicBool,
    waker: Waker,
}

impl Pacer {
    /// Starts the thread; `start` is when the schedule starts, in ns of the clock.
    ///
    /// # Errors
    /// A system that has no thread left.
    pub(super) fn start(
        schedule: Schedule,
        start: u64,
        clock: Clock,
        waker: Waker,
    ) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            asleep: AtomicBool::new(false),
            done: AtomicBool::new(false),
            waker,
        });
        let its = Arc::clone(&shared);
        let thread = Builder::new()
            .name("lab-pacer".into())
            .spawn(move || pace(&its, schedule, start, clock))?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// The loop is about to wait, or has waited.
    pub(super) fn asleep(&self, asleep: bool) {
        self.shared.asleep.store(asleep, Ordering::SeqCst);
    }
}

impl Drop for Pacer {
    fn drop(&mut self) {
        self.shared.done.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // It ends by itself; a panic there has been told by its message.
            let _ = thread.join();
        }
    }
}

fn pace(shared: &Shared, mut schedule: Schedule, start: u64, clock: Clock) {
    // As the loop that it wakes.
    let _ = wharf::model::run_ahead();
    while let Some(due) = schedule.peek() {
        let wake_at = (start + due.at).saturating_sub(EARLY);
        loop {
            if shared.done.load(Ordering::SeqCst) {
                return;
            }
            let now = clock.now();
            if now >= wake_at {
                break;
            }
            thread::park_timeout(Duration::from_nanos((wake_at - now).min(WAIT_MAX)));
        }
        if shared.asleep.swap(false, Ordering::SeqCst) && shared.waker.wake().is_err() {
            // The loop has its own timeout: frames go out late, and that is reported.
            return;
        }
        // What is due by the same wake-up needs no other.
        let woken = clock.now() + EARLY;
        while schedule.peek().is_some_and(|due| start + due.at <= woken) {
            schedule.advance();
        }
    }
}
