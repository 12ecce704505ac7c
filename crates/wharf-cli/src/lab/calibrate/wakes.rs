//! Wakes across cores: what they cost the waker, and how long until the other runs, by how long
//! its core had been idle.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use core_affinity::CoreId;
use mio::{Events, Poll, Token, Waker};

use super::machine::{pin, spawn, spin, usual};
use crate::exit::Failure;
use crate::lab::driver::nanos;
use crate::lab::model::costs::{CUTS, IDLE, Wake};

/// Samples of each kind in one go: kinds take turns, so that what drifts hits all of them.
const AT_ONCE: usize = 20;
/// Such goes.
const GOES: usize = 15;
/// Longest wait for a wake.
const PATIENCE: Duration = Duration::from_millis(50);

/// Wakes on a core that has been idle, by the times of [`IDLE`], and on one that computes.
///
/// # Errors
/// A machine that refuses a thread or a poller.
pub(super) fn wakes(
    here: Option<CoreId>,
    there: CoreId,
) -> Result<([Wake; IDLE.len()], Wake), Failure> {
    pin(here);
    let sleeper = Sleeper::start(there)?;
    let mut found: [Samples; IDLE.len()] = std::array::from_fn(|_| Samples::default());
    for _ in 0..GOES {
        for (samples, idle) in found.iter_mut().zip(IDLE) {
            sleeper.wake(idle, samples);
        }
    }
    let mut busy = Samples::default();
    let done = Arc::clone(&sleeper.shared);
    let hog = spawn("lab-hog", move || {
        pin(Some(there));
        while !done.done.load(Ordering::Relaxed) {
            std::hint::spin_loop();
        }
    })?;
    (0..GOES).for_each(|_| sleeper.wake(1_000_000, &mut busy));
    sleeper.end()?;
    hog.join()
        .map_err(|_| Failure::machine("a thread of the calibration panicked"))?;
    Ok((found.map(Samples::cut), busy.cut()))
}

/// What was found of one kind of wake.
#[derive(Default)]
struct Samples {
    cost: Vec<u64>,
    start: Vec<u64>,
}

impl Samples {
    fn cut(mut self) -> Wake {
        self.start.sort_unstable();
        // The longest are interruptions, which are counted apart, and waits for a slice to end.
        let most = 2 * self.start.get(self.start.len() / 2).copied().unwrap_or(0);
        let last = self.start.partition_point(|start| *start <= most);
        let last = last.saturating_sub(1);
        let at = |cut: f64| {
            let at = Duration::from_secs(last as u64).mul_f64(cut).as_secs();
            let at = usize::try_from(at).unwrap_or(last);
            self.start.get(at).copied().unwrap_or(0)
        };
        Wake {
            cost: usual(self.cost),
            start: CUTS.map(at),
        }
    }
}

/// A thread that waits in a poller, as workers do, and says when it runs.
struct Sleeper {
    shared: Arc<Shared>,
    waker: Waker,
    began: Instant,
    thread: JoinHandle<()>,
}

struct Shared {
    done: AtomicBool,
    woken_at: AtomicU64,
}

impl Sleeper {
    fn start(on: CoreId) -> Result<Self, Failure> {
        let refused = |error| Failure::machine(format!("no poller for the calibration: {error}"));
        let mut poll = Poll::new().map_err(refused)?;
        let waker = Waker::new(poll.registry(), Token(0)).map_err(refused)?;
        let began = Instant::now();
        let shared = Arc::new(Shared {
            done: AtomicBool::new(false),
            woken_at: AtomicU64::new(0),
        });
        let its = Arc::clone(&shared);
        let thread = spawn("lab-sleeper", move || {
            pin(Some(on));
            let mut events = Events::with_capacity(4);
            while !its.done.load(Ordering::SeqCst) {
                let woken = poll.poll(&mut events, Some(PATIENCE)).is_ok() && !events.is_empty();
                if woken {
                    its.woken_at.store(nanos(began.elapsed()), Ordering::SeqCst);
                }
            }
        })?;
        Ok(Self {
            shared,
            waker,
            began,
            thread,
        })
    }

    /// Wakes it a few times, each time after it has slept for so long.
    fn wake(&self, idle: u64, samples: &mut Samples) {
        for _ in 0..AT_ONCE {
            spin(Duration::from_nanos(idle));
            self.shared.woken_at.store(0, Ordering::SeqCst);
            let at = nanos(self.began.elapsed());
            if self.waker.wake().is_err() {
                return;
            }
            samples.cost.push(nanos(self.began.elapsed()) - at);
            let limit = Instant::now() + PATIENCE;
            while self.shared.woken_at.load(Ordering::SeqCst) == 0 && Instant::now() < limit {
                std::hint::spin_loop();
            }
            let woken = self.shared.woken_at.load(Ordering::SeqCst);
            if woken > at {
                samples.start.push(woken - at);
            }
        }
    }

    fn end(self) -> Result<(), Failure> {
        self.shared.done.store(true, Ordering::SeqCst);
        // It looks by itself, if later.
        let _ = self.waker.wake();
        let joined = self.thread.join();
        joined.map_err(|_| Failure::machine("a thread of the calibration panicked"))
    }
}
