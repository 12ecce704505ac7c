//! Starts the threads of a run, waits for the start, watches, and adds up.

use std::sync::atomic::Ordering;
use std::thread::{self, Builder, Scope, ScopedJoinHandle};
use std::time::{Duration, SystemTime};

use cpu_time::ProcessTime;
use mio::{Poll, Waker};

use super::config::Config;
use super::pace::{SECOND, Schedule, keep_pace};
use super::progress::{Progress, Snapshot};
use super::runner::{Runner, WAKE, nanos};
use super::shared::{Gauge, Shared};
use super::tally::Tally;
use crate::args::Mode;
use crate::exit::Failure;

/// What came out of a run.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) tally: Tally,
    /// Length of the measured time.
    pub(crate) measured: Duration,
    pub(crate) started: SystemTime,
    pub(crate) ended: SystemTime,
    /// CPU of this process in the measured time.
    pub(crate) cpu: Option<Duration>,
    /// Open loop: frames that were due.
    pub(crate) frames_due: Option<u64>,
}

/// Runs the load that `config` describes.
///
/// # Errors
/// Could not connect, the server does not do what the mode needs, the machine refused a thread or a
/// poller, or the reader of the progress lines went away.
pub(crate) fn run(config: Config, progress: &mut Progress) -> Result<Outcome, Failure> {
    config.reserve_files()?;
    let mut polls = Vec::new();
    let mut gauges = Vec::new();
    for _ in 0..config.threads {
        let poll = Poll::new().map_err(|error| refused("a poller", &error))?;
        let waker = Waker::new(poll.registry(), WAKE);
        gauges.push(Gauge::new(
            waker.map_err(|error| refused("a waker", &error))?,
        ));
        polls.push(poll);
    }
    let shared = Shared::new(config, gauges);
    thread::scope(|scope| oversee(scope, &shared, polls, progress))
}

fn refused(what: &str, error: &std::io::Error) -> Failure {
    Failure::machine(format!("this machine refused {what}: {error}"))
}

/// Tells the others when a thread ends, however it ends.
struct Leaving<'a> {
    shared: &'a Shared,
    gauge: &'a Gauge,
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.shared.give_up();
        }
        self.shared.leave(self.gauge);
    }
}

fn oversee<'scope, 'env>(
    scope: &'scope Scope<'scope, 'env>,
    shared: &'env Shared,
    polls: Vec<Poll>,
    progress: &mut Progress,
) -> Result<Outcome, Failure> {
    let mut handles = Vec::new();
    for (thread, poll) in (0..).zip(polls) {
        match start_runner(scope, shared, thread, poll) {
            Ok(handle) => handles.push(handle),
            Err(failure) => {
                shared.give_up();
                return Err(failure);
            }
        }
    }
    let watched = wait_ready(shared).and_then(|ready| {
        if !ready {
            return Ok(None);
        }
        let times = Times::start(shared);
        start_pacers(scope, shared)?;
        if shared.config.mode == Mode::Idle {
            progress.holding(shared.config.connections)?;
        }
        watch(shared, progress, times).map(Some)
    });
    if watched.is_err() {
        shared.give_up();
    }
    let ended = SystemTime::now();
    let mut total = Tally::new()?;
    for handle in handles {
        match handle.join() {
            Ok(tally) => total.add(&tally?),
            Err(_) => return Err(Failure::machine("a thread of the generator panicked")),
        }
    }
    let Some(times) = watched? else {
        return Err(Failure::machine("the run ended before it started"));
    };
    Ok(Outcome {
        tally: total,
        measured: Duration::from_nanos(times.end.saturating_sub(times.measure)),
        started: times.started,
        ended,
        cpu: times.cpu,
        frames_due: frames_due(&shared.config),
    })
}

fn start_runner<'scope>(
    scope: &'scope Scope<'scope, '_>,
    shared: &'scope Shared,
    thread: u32,
    poll: Poll,
) -> Result<ScopedJoinHandle<'scope, Result<Tally, Failure>>, Failure> {
    let body = move || {
        let _leaving = Leaving {
            shared,
            gauge: &shared.gauges[thread as usize],
        };
        let result = Runner::new(shared, thread, poll).and_then(Runner::run);
        if result.is_err() {
            shared.give_up();
        }
        result
    };
    Builder::new()
        .name(format!("load-{thread}"))
        .spawn_scoped(scope, body)
        .map_err(|error| refused("a thread", &error))
}

/// Open loop: one pacer for each thread that sends.
fn start_pacers<'scope>(
    scope: &'scope Scope<'scope, '_>,
    shared: &'scope Shared,
) -> Result<(), Failure> {
    let config = &shared.config;
    let Some(rate) = config.rate else {
        return Ok(());
    };
    let schedule = Schedule::new(rate, config.senders);
    for (thread, gauge) in (0..).zip(&shared.gauges) {
        let turns = schedule.turns(thread, config.threads);
        let since_start = || shared.now().saturating_sub(shared.start());
        Builder::new()
            .name(format!("load-pace-{thread}"))
            .spawn_scoped(scope, move || {
                keep_pace(turns, since_start, &gauge.asleep, &gauge.waker, &gauge.done);
            })
            .map_err(|error| refused("a thread", &error))?;
    }
    Ok(())
}

/// Waits until every connection is ready for the start; false if a thread gave up, which then has
/// the reason.
fn wait_ready(shared: &Shared) -> Result<bool, Failure> {
    // The threads bound their connects themselves; this bounds what comes after.
    let timeout = shared.config.connect_timeout;
    let deadline = shared.now() + 2 * nanos(timeout);
    while shared.ready() < shared.config.connections {
        if shared.abort.load(Ordering::Acquire) || shared.all_done() {
            return Ok(false);
        }
        if shared.now() >= deadline {
            return Err(not_ready(shared, 2 * timeout));
        }
        thread::park_timeout(Duration::from_millis(50));
    }
    Ok(true)
}

fn not_ready(shared: &Shared, waited: Duration) -> Failure {
    let config = &shared.config;
    let what = match config.mode {
        Mode::Broadcast => "had received the greeting that connection 0 sends to all",
        _ => "had their one frame answered",
    };
    Failure::fault(format!(
        "only {} of {} connections to {} {what} after {} s; {}",
        shared.ready(),
        config.connections,
        config.connect,
        waited.as_secs_f64(),
        config.server_hint()
    ))
}

/// The points in time of a run, in ns of the shared clock.
#[derive(Debug)]
struct Times {
    started: SystemTime,
    start: u64,
    measure: u64,
    /// The stop, or earlier if every connection was gone before.
    end: u64,
    cpu: Option<Duration>,
}

impl Times {
    fn start(shared: &Shared) -> Self {
        let start = shared.now();
        let measure = start + nanos(shared.config.warmup);
        let end = measure + nanos(shared.config.seconds);
        shared.begin(start, end);
        Self {
            started: SystemTime::now(),
            start,
            measure,
            end,
            cpu: None,
        }
    }
}

/// Shows the progress and takes the CPU time, until every thread has ended.
fn watch(shared: &Shared, progress: &mut Progress, mut times: Times) -> Result<Times, Failure> {
    let mut cpu_before = None;
    let mut shown = times.start;
    loop {
        let now = shared.now();
        if cpu_before.is_none() && now >= times.measure {
            cpu_before = ProcessTime::try_now().ok();
        }
        if times.cpu.is_none() && now >= times.end {
            times.cpu = cpu_before.and_then(|before| before.try_elapsed().ok());
        }
        if shared.all_done() {
            times.end = times.end.min(now);
            times.cpu = times
                .cpu
                .or_else(|| cpu_before.and_then(|before| before.try_elapsed().ok()));
            return Ok(times);
        }
        if now >= shown + SECOND {
            let elapsed = Duration::from_nanos(now - times.start);
            progress.tick(elapsed, Duration::from_nanos(now - shown), snapshot(shared))?;
            shown = now;
        }
        let mut next = shown + SECOND;
        for at in [times.measure, times.end] {
            next = if at > now { next.min(at) } else { next };
        }
        thread::park_timeout(Duration::from_nanos(next - now));
    }
}

fn snapshot(shared: &Shared) -> Snapshot {
    let mut sum = Snapshot::default();
    for gauge in &shared.gauges {
        sum.frames += gauge.frames.load(Ordering::Relaxed);
        sum.bytes += gauge.bytes.load(Ordering::Relaxed);
        sum.faults += gauge.faults.load(Ordering::Relaxed);
    }
    sum
}

fn frames_due(config: &Config) -> Option<u64> {
    let schedule = Schedule::new(config.rate?, config.senders);
    let at = nanos(config.warmup + config.seconds);
    Some(
        (0..config.senders)
            .map(|sender| schedule.due_before(sender, at))
            .sum(),
    )
}
