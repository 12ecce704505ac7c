//! What this machine's primitives cost: system calls, wakes, switches, timers.
//!
//! The lower third of many short samples, so that a neighbour that takes a core for a moment does
//! not count.

use std::io::{ErrorKind, Read as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, Builder};
use std::time::{Duration, Instant};

use core_affinity::CoreId;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token, Waker};

use crate::exit::Failure;
use crate::lab::driver::nanos;
use crate::lab::model::input::OsCosts;

/// Samples of a system call.
const CALLS: usize = 4000;
/// Samples of a wake, for each idle time.
const WAKES: usize = 60;
/// System calls that are told apart.
const STEPS: usize = 6;
/// Bytes of a frame in the samples, as in most workloads.
const FRAME: usize = 64;
/// Idle times, in microseconds, after which a wake is measured.
const IDLE_US: [u64; 7] = [10, 30, 60, 120, 250, 600, 2500];

/// System calls on a loopback connection, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Calls {
    pub(super) send: u64,
    pub(super) recv: u64,
    pub(super) recv_none: u64,
    /// A look at a poller that has nothing to report.
    pub(super) wait: u64,
    /// What one report makes it longer.
    pub(super) report: u64,
    /// Posting a wake to a poller that nobody waits for.
    pub(super) post: u64,
}

/// Measures the system calls.
///
/// # Errors
/// A machine that refuses a loopback connection.
pub(super) fn calls() -> Result<Calls, Failure> {
    measure_calls().map_err(|error| {
        Failure::machine(format!("the calibration's loopback connection: {error}"))
    })
}

fn measure_calls() -> std::io::Result<Calls> {
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(64);
    let (mut near, mut far) = connected()?;
    near.set_nodelay(true)?;
    let reading = Interest::READABLE | Interest::WRITABLE;
    poll.registry().register(&mut far, Token(0), reading)?;
    let waker = Waker::new(poll.registry(), Token(1))?;
    let (frame, mut buffer) = ([7; FRAME], [0; 4096]);
    let mut samples: [Vec<u64>; STEPS] = std::array::from_fn(|_| Vec::with_capacity(CALLS));
    let mut marks = [Instant::now(); STEPS + 1];
    let now = Some(Duration::ZERO);
    poll.poll(&mut events, now)?;
    for _ in 0..CALLS {
        marks[0] = Instant::now();
        near.write_all(&frame)?;
        marks[1] = Instant::now();
        poll.poll(&mut events, now)?;
        marks[2] = Instant::now();
        read(&mut far, &mut buffer)?;
        marks[3] = Instant::now();
        // It has nothing to read, mostly: one write is one read.
        let _ = far.read(&mut buffer);
        marks[4] = Instant::now();
        poll.poll(&mut events, now)?;
        marks[5] = Instant::now();
        waker.wake()?;
        marks[6] = Instant::now();
        // The answer: it carries the acknowledgement, as it does in a server that answers.
        far.write_all(&frame)?;
        read(&mut near, &mut buffer)?;
        poll.poll(&mut events, now)?;
        for (at, samples) in samples.iter_mut().enumerate() {
            samples.push(nanos(marks[at + 1] - marks[at]));
        }
    }
    let clock = clock_cost();
    let [send, reported, recv, recv_none, wait, post] =
        samples.map(|samples| usual(samples).saturating_sub(clock).max(1));
    Ok(Calls {
        send,
        recv,
        recv_none,
        wait,
        report: reported.saturating_sub(wait).max(1),
        post,
    })
}

/// Reads what is there, or is about to be.
fn read(from: &mut TcpStream, buffer: &mut [u8]) -> std::io::Result<()> {
    loop {
        match from.read(buffer) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            other => return other.map(drop),
        }
    }
}

fn connected() -> std::io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind(([127, 0, 0, 1], 0).into())?;
    let near = TcpStream::connect(listener.local_addr()?)?;
    let until = Instant::now() + Duration::from_secs(5);
    loop {
        match listener.accept() {
            Ok((far, _)) => return Ok((near, far)),
            Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error),
            Err(error) if Instant::now() > until => return Err(error),
            Err(_) => thread::yield_now(),
        }
    }
}

fn clock_cost() -> u64 {
    let mut samples = Vec::with_capacity(CALLS);
    for _ in 0..CALLS {
        let began = Instant::now();
        samples.push(nanos(began.elapsed()));
    }
    usual(samples)
}

/// One wake: what it cost the waker, and how long until the other ran.
#[derive(Clone, Copy, Debug)]
struct Wake {
    cost: u64,
    start: u64,
}

/// Measures switches, wakes and timers. A machine with one core, or that does not let threads be
/// pinned, gets the costs of one core for all.
///
/// # Errors
/// A machine that refuses a thread.
pub(super) fn os(cores: usize) -> Result<OsCosts, Failure> {
    // Threads that are pinned stay so: a thread of its own, so that the caller is none of them.
    let measuring = spawn("lab-calibrate", move || measure_os(cores))?;
    let measured = measuring.join();
    measured.unwrap_or_else(|_| Err(Failure::machine("a thread of the calibration panicked")))
}

fn measure_os(cores: usize) -> Result<OsCosts, Failure> {
    let ids = core_affinity::get_core_ids().unwrap_or_default();
    let here = ids.first().copied();
    let other = ids.get(1).copied();
    let same = round_trip(here)? / 2;
    // Of a switch there and back about a third is the wake itself, the rest the two schedules.
    let (wake_local, switch) = (same / 3, same - same / 3);
    let timer_late = timer_late();
    let mut costs = OsCosts {
        switch,
        wake_local,
        wake_near: wake_local,
        wake_far: wake_local,
        start_polling: 0,
        start_halted: 0,
        start_busy: 0,
        poll: 0,
        timer_late,
        slice: OsCosts::slice_of(cores),
        tick: OsCosts::TICK,
    };
    let Some(other) = other else {
        return Ok(costs);
    };
    let mut by_idle = Vec::new();
    for idle in IDLE_US {
        by_idle.push((idle * 1000, wakes(here, other, idle, false)?));
    }
    let busy = wakes(here, other, 1000, true)?;
    let (soon, late) = (by_idle[0].1, by_idle[by_idle.len() - 1].1);
    let middle = u64::midpoint(soon.start, late.start);
    let halted = by_idle.iter().position(|(_, wake)| wake.start > middle);
    costs.wake_near = soon.cost.min(late.cost);
    costs.wake_far = late.cost;
    costs.start_polling = soon.start.saturating_sub(soon.cost);
    costs.start_halted = late
        .start
        .saturating_sub(late.cost)
        .max(costs.start_polling);
    costs.start_busy = busy.start.saturating_sub(busy.cost);
    // Between the last idle time that was polled through and the first that was not.
    costs.poll = match halted {
        Some(0) | None => 0,
        Some(at) => u64::midpoint(by_idle[at - 1].0, by_idle[at].0),
    };
    Ok(costs)
}

/// Two threads on one core that wake each other: nanoseconds there and back.
fn round_trip(core: Option<CoreId>) -> Result<u64, Failure> {
    let turns = Arc::new(AtomicU64::new(0));
    let its = Arc::clone(&turns);
    let main = thread::current();
    let rounds = 500;
    let other = spawn("lab-pong", move || {
        pin(core);
        for round in 0..rounds {
            while its.load(Ordering::SeqCst) != 2 * round + 1 {
                thread::park();
            }
            its.store(2 * round + 2, Ordering::SeqCst);
            main.unpark();
        }
    })?;
    let times = ping(&other, &turns, core, rounds);
    let joined = other.join();
    match joined {
        Ok(()) => Ok(usual(times)),
        Err(_) => Err(Failure::machine("a thread of the calibration panicked")),
    }
}

fn ping(
    other: &thread::JoinHandle<()>,
    turns: &AtomicU64,
    core: Option<CoreId>,
    rounds: u64,
) -> Vec<u64> {
    pin(core);
    let mut times = Vec::new();
    for round in 0..rounds {
        let began = Instant::now();
        turns.store(2 * round + 1, Ordering::SeqCst);
        other.thread().unpark();
        while turns.load(Ordering::SeqCst) != 2 * round + 2 {
            thread::park();
        }
        times.push(nanos(began.elapsed()));
    }
    times
}

/// Wakes a thread on another core that has been idle for so long, or that computes besides.
fn wakes(here: Option<CoreId>, there: CoreId, idle_us: u64, busy: bool) -> Result<Wake, Failure> {
    let began = Instant::now();
    let done = Arc::new(AtomicBool::new(false));
    let woken_at = Arc::new(AtomicU64::new(0));
    let round = Arc::new(AtomicU64::new(0));
    let (its_done, its_at, its_round) = (done.clone(), woken_at.clone(), round.clone());
    let sleeper = spawn("lab-sleeper", move || {
        pin(Some(there));
        let mut seen = 0;
        while !its_done.load(Ordering::SeqCst) {
            thread::park();
            let now = its_round.load(Ordering::SeqCst);
            if now != seen {
                seen = now;
                its_at.store(nanos(began.elapsed()), Ordering::SeqCst);
            }
        }
    })?;
    let hog_done = Arc::clone(&done);
    let hog = busy.then(|| {
        spawn("lab-hog", move || {
            pin(Some(there));
            while !hog_done.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
        })
    });
    pin(here);
    let mut found = (Vec::new(), Vec::new());
    for number in 1..=WAKES as u64 {
        spin(Duration::from_micros(idle_us));
        woken_at.store(0, Ordering::SeqCst);
        let at = nanos(began.elapsed());
        round.store(number, Ordering::SeqCst);
        sleeper.thread().unpark();
        found.0.push(nanos(began.elapsed()) - at);
        let limit = Instant::now() + Duration::from_millis(50);
        while woken_at.load(Ordering::SeqCst) == 0 && Instant::now() < limit {
            std::hint::spin_loop();
        }
        let woken = woken_at.load(Ordering::SeqCst);
        if woken > at {
            found.1.push(woken - at);
        }
    }
    done.store(true, Ordering::SeqCst);
    sleeper.thread().unpark();
    let joined = sleeper.join().is_ok() && hog.transpose()?.is_none_or(|hog| hog.join().is_ok());
    if !joined {
        return Err(Failure::machine("a thread of the calibration panicked"));
    }
    Ok(Wake {
        cost: usual(found.0),
        start: usual(found.1),
    })
}

/// How much later than asked a timed wait ends.
fn timer_late() -> u64 {
    let asked = Duration::from_millis(1);
    let sample = |_| {
        let began = Instant::now();
        thread::park_timeout(asked);
        nanos(began.elapsed().saturating_sub(asked))
    };
    usual((0..WAKES).map(sample).collect())
}

fn spawn<T: Send + 'static>(
    name: &str,
    body: impl FnOnce() -> T + Send + 'static,
) -> Result<thread::JoinHandle<T>, Failure> {
    let thread = Builder::new().name(name.into()).spawn(body);
    thread.map_err(|error| Failure::machine(format!("no thread for the calibration: {error}")))
}

fn pin(core: Option<CoreId>) {
    // A machine that refuses has its threads where it likes: the samples hold for that, then.
    let _ = core.map(core_affinity::set_for_current);
}

fn spin(time: Duration) {
    let until = Instant::now() + time;
    while Instant::now() < until {
        std::hint::spin_loop();
    }
}

/// What a sample takes that nothing disturbs: of the sorted samples, the one a third up.
fn usual(mut samples: Vec<u64>) -> u64 {
    samples.sort_unstable();
    samples.get(samples.len() / 3).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_measured_is_of_the_order_of_a_machine() {
        let calls = calls().unwrap();
        for cost in [
            calls.send,
            calls.recv,
            calls.recv_none,
            calls.wait,
            calls.report,
            calls.post,
        ] {
            assert!((1..1_000_000).contains(&cost), "{calls:?}");
        }
        assert!(calls.send > calls.recv_none, "{calls:?}");
        let os = os(2).unwrap();
        assert!(
            (1..1_000_000).contains(&(os.switch + os.wake_local)),
            "{os:?}"
        );
        assert!(
            os.start_halted >= os.start_polling && os.wake_far < 1_000_000,
            "{os:?}"
        );
        assert!(os.timer_late < 20_000_000, "{os:?}");
    }
}
