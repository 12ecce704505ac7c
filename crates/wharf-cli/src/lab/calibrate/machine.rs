//! What this machine's primitives cost: system calls, wakes, switches, timers.
//!
//! The lower third of many short samples, so that a neighbour that takes a core for a moment does
//! not count.

use std::io::{ErrorKind, Read as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, Builder};
use std::time::{Duration, Instant};

use core_affinity::CoreId;
use cpu_time::ThreadTime;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token, Waker};
use serde::{Deserialize, Serialize};

use super::wakes::wakes;
use crate::exit::Failure;
use crate::lab::driver::nanos;
use crate::lab::model::costs::{CUTS, IDLE, Interrupts, LENGTHS, OsCosts, Wake};
use crate::pause::pause;

/// Samples of a system call.
const CALLS: usize = 4000;
/// Samples of a timed wait.
const TIMERS: usize = 400;
/// Idle time after which half of what a core had in its caches is cold.
const COLD_HALF: u64 = 100_000;
/// How long two threads take turns on a core.
const HOGS_TIME: Duration = Duration::from_millis(400);
/// How long all cores are watched for interruptions, at a stretch: a system that lets threads run
/// ahead takes a core from them that they do not leave now and then.
const WATCH_TIME: Duration = Duration::from_millis(200);
/// Between two stretches.
const WATCH_PAUSE: Duration = Duration::from_millis(60);
/// Such stretches.
const WATCHES: u32 = 20;
/// System calls that are told apart.
const STEPS: usize = 6;
/// Bytes of a frame in the samples, as in most workloads.
const FRAME: usize = 64;

/// System calls on a loopback connection, in nanoseconds.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
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
    let (ahead, timer_late_ahead) = timer_late_ahead()?;
    let slice = OsCosts::slice_of(cores);
    let local = Wake {
        cost: wake_local,
        start: [0; CUTS.len()],
    };
    let interrupts = watched(&ids, true)?;
    let mut others = watched(&ids, false)?;
    let both = others.longer_per_s.iter_mut().zip(interrupts.longer_per_s);
    both.for_each(|(others, not_they)| *others = (*others - not_they).max(0.0));
    let mut costs = OsCosts {
        switch,
        wake_local,
        wake_idle: [local; IDLE.len()],
        wake_busy: local,
        cold: 0,
        cold_half: COLD_HALF,
        cold_first: 0.5,
        start_more: 0,
        timer_late: timer_late(),
        timer_late_ahead,
        ahead,
        slice,
        slice_exact: turns_taken(here)? < slice + slice / 2,
        tick: OsCosts::TICK,
        interrupts,
        others,
    };
    if let Some(other) = other {
        (costs.wake_idle, costs.wake_busy) = wakes(here, other)?;
    }
    Ok(costs)
}

/// How long one of two threads that compute on one core does so until the other has its turn:
/// they look at their own CPU time, as the handlers do that are measured, and in doing so have the
/// kernel look at theirs.
fn turns_taken(core: Option<CoreId>) -> Result<u64, Failure> {
    let hog = move || {
        pin(core);
        let (began, mut last) = (Instant::now(), Instant::now());
        let (mut turn, mut turns) = (last, Vec::new());
        while began.elapsed() < HOGS_TIME {
            let mine = ThreadTime::now();
            while mine.elapsed() < Duration::from_micros(20) {
                std::hint::spin_loop();
            }
            let now = Instant::now();
            if now - last > Duration::from_micros(400) {
                turns.push(nanos(last - turn));
                turn = now;
            }
            last = now;
        }
        turns
    };
    let other = spawn("lab-hog", hog)?;
    let mut turns = hog();
    turns.extend(other.join().unwrap_or_default());
    turns.sort_unstable();
    Ok(turns.get(turns.len() / 2).copied().unwrap_or(OsCosts::TICK))
}

/// What takes a core from a thread that computes on it: all cores at once, and their mean. Other
/// threads do not count if the watching ones run ahead, where the system lets them.
fn watched(cores: &[CoreId], ahead: bool) -> Result<Interrupts, Failure> {
    let watching = cores.iter().map(|core| {
        let core = *core;
        spawn("lab-watch", move || {
            pin(Some(core));
            if ahead {
                let _ = wharf::model::run_ahead();
            }
            let mut longer = [0u32; LENGTHS.len()];
            for _ in 0..WATCHES {
                watch(&mut longer);
                pause(WATCH_PAUSE);
            }
            longer
        })
    });
    let watching = watching.collect::<Result<Vec<_>, _>>()?;
    let watchers = f64::from(u32::try_from(cores.len()).unwrap_or(1));
    let seconds = WATCH_TIME.as_secs_f64() * f64::from(WATCHES) * watchers;
    let mut interrupts = Interrupts::default();
    for watcher in watching {
        let longer = watcher.join();
        let longer =
            longer.map_err(|_| Failure::machine("a thread of the calibration panicked"))?;
        for (per_s, count) in interrupts.longer_per_s.iter_mut().zip(longer) {
            *per_s += f64::from(count) / seconds;
        }
    }
    Ok(interrupts)
}

/// Looks at the clock for a while, and counts the gaps.
fn watch(longer: &mut [u32; LENGTHS.len()]) {
    let (began, mut last) = (Instant::now(), Instant::now());
    while began.elapsed() < WATCH_TIME {
        let now = Instant::now();
        let gap = nanos(now - last);
        let lengths = LENGTHS.iter().take_while(|length| gap > **length);
        longer
            .iter_mut()
            .zip(lengths)
            .for_each(|(count, _)| *count += 1);
        last = now;
    }
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

/// How much later than asked a timed wait ends.
fn timer_late() -> u64 {
    let asked = Duration::from_micros(200);
    let sample = |_| {
        let began = Instant::now();
        thread::park_timeout(asked);
        nanos(began.elapsed().saturating_sub(asked))
    };
    usual((0..TIMERS).map(sample).collect())
}

/// Whether a thread may run ahead, as the driver does, and how late its timed waits end.
fn timer_late_ahead() -> Result<(bool, u64), Failure> {
    let ahead = spawn("lab-ahead", || {
        (wharf::model::run_ahead().is_ok(), timer_late())
    })?;
    let joined = ahead.join();
    joined.map_err(|_| Failure::machine("a thread of the calibration panicked"))
}

pub(super) fn spawn<T: Send + 'static>(
    name: &str,
    body: impl FnOnce() -> T + Send + 'static,
) -> Result<thread::JoinHandle<T>, Failure> {
    let thread = Builder::new().name(name.into()).spawn(body);
    thread.map_err(|error| Failure::machine(format!("no thread for the calibration: {error}")))
}

pub(super) fn pin(core: Option<CoreId>) {
    // A machine that refuses has its threads where it likes: the samples hold for that, then.
    let _ = core.map(core_affinity::set_for_current);
}

pub(super) fn spin(time: Duration) {
    let until = Instant::now() + time;
    while Instant::now() < until {
        std::hint::spin_loop();
    }
}

/// What a sample takes that nothing disturbs: of the sorted samples, the one a third up.
pub(super) fn usual(mut samples: Vec<u64>) -> u64 {
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
        // Under Wine each call is a message to its server, and takes about as long as any other.
        assert!(cfg!(windows) || calls.send > calls.recv_none, "{calls:?}");
        let os = os(2).unwrap();
        assert!(
            (1..1_000_000).contains(&(os.switch + os.wake_local)),
            "{os:?}"
        );
        assert!(
            os.wake_idle
                .iter()
                .all(|wake| wake.start.is_sorted() && wake.cost < 1_000_000),
            "{os:?}"
        );
        assert!(os.timer_late < 20_000_000, "{os:?}");
    }
}
