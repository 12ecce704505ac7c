//! One run: a server process under one topology, the driver beside it, and what both counted.

use std::path::Path;
use std::thread::Builder;
use std::time::Duration;

use core_affinity::CoreId;
use cpu_time::ProcessTime;

use super::child::Server;
use super::driver::{Clock, Drive, Driver, Part, Spread, Tally, Timing, nanos};
use super::layout::TopologyText;
use super::result::{ClassRun, Phase, Run, ServerRun};
use super::rounds::Ground;
use super::server::{Counters, Threads};
use super::workload::{Class, Load, Rank, Workload};
use crate::exit::Failure;
use crate::pause::pause;

/// From the last session up to the first frame.
const SETTLE: Duration = Duration::from_millis(50);
/// Between two looks at the CPU time.
const SAMPLE: Duration = Duration::from_millis(100);
/// Frames on their way, all sessions together, where a ceiling is looked for: more than any worker
/// waits for, and still one a session where sessions are many, as an open loop has it.
const CEILING_OPEN: u32 = 64;

/// What to run.
pub(crate) struct Order<'a> {
    /// The layout's name, for the result.
    pub(crate) layout: &'a str,
    /// What to measure.
    pub(crate) phase: Phase,
    /// Which round it is of; also the seed of its arrivals, so that a round's runs are alike.
    pub(crate) round: u32,
    /// Name or file, for the server process.
    pub(crate) workload_arg: &'a str,
    /// The variant's name, and the workload as it and the phase have it.
    pub(crate) variant: &'a str,
    /// See there.
    pub(crate) workload: &'a Workload,
    /// By class: the one-core ceiling, where it was measured.
    pub(crate) ceilings: &'a [(String, f64)],
    /// Measured time.
    pub(crate) time: Duration,
    /// Before it.
    pub(crate) warmup: Duration,
    /// The folder that the topology is written to.
    pub(crate) out: &'a Path,
    /// Which cores the server and its peers have.
    pub(crate) ground: Ground,
}

/// Runs it. `topology` makes the topology from the addresses of the lab's listeners.
///
/// # Errors
/// What did not start, and what broke; wrong answers are counted, not errors.
pub(crate) fn run(
    order: &Order<'_>,
    topology: impl FnOnce(&[(String, std::net::SocketAddr)]) -> TopologyText + Send,
) -> Result<Run, Failure> {
    if order.ground == Ground::Shared {
        return run_here(order, topology);
    }
    // A thread that was pinned stays so, and what it starts takes after it: one for each run.
    std::thread::scope(|scope| {
        let run = scope.spawn(|| run_here(order, topology)).join();
        run.map_err(|_| Failure::machine("the thread of a run panicked"))?
    })
}

fn run_here(
    order: &Order<'_>,
    topology: impl FnOnce(&[(String, std::net::SocketAddr)]) -> TopologyText,
) -> Result<Run, Failure> {
    let to_the_peers = |at: Ground| {
        if let Some(id) = order.ground.peers_on().filter(|_| order.ground == at) {
            let _ = core_affinity::set_for_current(CoreId { id });
        }
    };
    // The server's workers have their core from the topology, all its other threads leave it.
    to_the_peers(Ground::Apart);
    let parts = order.workload.classes.iter();
    let parts: Vec<Part> = parts.map(|class| part(class, order)).collect();
    let mut driver = Driver::bind(parts)?;
    let topology = topology(&driver.peers()?);
    let file = order.out.join(format!("{}.toml", order.layout));
    std::fs::write(&file, &topology.text).map_err(|error| {
        Failure::machine(format!("could not write {}: {error}", file.display()))
    })?;
    let (mut server, ready) = Server::start(&file, order.workload_arg, order.variant)?;
    // The server has all cores.
    to_the_peers(Ground::Beside);
    driver.connect(&ready.listens_on)?;
    let clock = Clock::new();
    let start = clock.now() + nanos(SETTLE);
    let measure = start + nanos(order.warmup);
    let timing = Timing {
        start,
        measure,
        stop: measure + nanos(order.time),
    };
    let seed = u64::from(order.round);
    let driving = Builder::new()
        .name("lab-driver".into())
        .spawn(move || driver.run(clock, timing, seed))
        .map_err(|error| Failure::machine(format!("no thread for the driver: {error}")))?;
    let watched = watch(&mut server, clock, timing);
    let tallies = driving
        .join()
        .map_err(|_| Failure::machine("the driver panicked"))??;
    let watched = watched?;
    let last = server.finish()?;
    Ok(result(order, &topology, &watched, tallies, &last))
}

fn part(class: &Class, order: &Order<'_>) -> Part {
    let ceiling = order.ceilings.iter().find(|(name, _)| *name == class.name);
    let ceiling = ceiling.map_or(0.0, |(_, per_s)| *per_s);
    Part {
        name: class.name.clone(),
        role: class.role,
        sessions: class.sessions,
        frame_bytes: class.frame_bytes,
        replies: class.replies,
        drive: drive(class, order.phase, ceiling),
    }
}

fn drive(class: &Class, phase: Phase, ceiling: f64) -> Drive {
    if phase == Phase::Ceiling && class.class == Rank::High {
        return Drive::Closed(ceiling_depth(class.sessions));
    }
    match class.load {
        Load::Saturate { depth } => Drive::Closed(depth),
        Load::Silent => Drive::Silent,
        Load::Bursts { every_ms, frames } => Drive::Open(Spread::Bursts {
            every: every_ms * 1e6,
            frames,
        }),
        Load::Rate { per_s, arrivals } => Drive::Open(Spread::Rate { per_s, arrivals }),
        Load::ShareOfCeiling { share, arrivals } => Drive::Open(Spread::Rate {
            per_s: (share * ceiling).max(1.0),
            arrivals,
        }),
    }
}

/// The depth at which so many sessions saturate a server.
pub(crate) fn ceiling_depth(sessions: u32) -> u32 {
    (CEILING_OPEN / sessions.max(1)).max(1)
}

/// What the server and this process used in the measured time.
struct Watched {
    before: Counters,
    after: Counters,
    seconds: f64,
    client_cpu_s: f64,
    cpu_over_time: Vec<(f64, f64)>,
}

fn watch(server: &mut Server, clock: Clock, timing: Timing) -> Result<Watched, Failure> {
    let until = |at: u64| Duration::from_nanos(at.saturating_sub(clock.now()));
    let seconds = |from: u64, to: u64| Duration::from_nanos(to.saturating_sub(from)).as_secs_f64();
    pause(until(timing.measure));
    let began = clock.now();
    let before = server.mark()?;
    let client = ProcessTime::now();
    let mut cpu_over_time = Vec::new();
    let mut last = (clock.now(), server.cpu_s());
    while clock.now() < timing.stop {
        pause(SAMPLE.min(until(timing.stop)));
        let now = (clock.now(), server.cpu_s());
        let elapsed = seconds(last.0, now.0);
        // A remainder too short for the clock of the system would be noise.
        if let ((_, Some(used_before)), (at, Some(used))) = (last, now)
            && elapsed > SAMPLE.as_secs_f64() / 2.0
        {
            cpu_over_time.push((seconds(began, at), (used - used_before) / elapsed));
            last = now;
        }
    }
    let after = server.mark()?;
    Ok(Watched {
        before,
        after,
        seconds: seconds(began, clock.now()),
        client_cpu_s: client.elapsed().as_secs_f64(),
        cpu_over_time,
    })
}

fn result(
    order: &Order<'_>,
    topology: &TopologyText,
    watched: &Watched,
    tallies: Vec<Tally>,
    last: &Counters,
) -> Run {
    let seconds = order.time.as_secs_f64();
    let classes = order.workload.classes.iter().zip(tallies);
    let Watched { before, after, .. } = watched;
    let handled = |class: &str| {
        let frames = |at: &Counters| at.network(class).map_or(0, |network| network.frames_in);
        frames(after).saturating_sub(frames(before))
    };
    let class_run = |(class, tally): (&Class, Tally)| ClassRun {
        name: class.name.clone(),
        class: class.class,
        offered_per_s: match part(class, order).drive {
            Drive::Open(_) => Some(float(tally.due) / seconds),
            Drive::Silent => Some(0.0),
            Drive::Closed(_) => None,
        },
        frames_per_s: if class.replies {
            float(tally.measured) / seconds
        } else {
            float(handled(&class.name)) / watched.seconds
        },
        latency: tally.latency,
        late: tally.late,
        unsent: tally.unsent,
        verified: tally.verified,
        faults: tally.faults,
    };
    Run {
        layout: order.layout.to_owned(),
        round: order.round,
        variant: order.variant.to_owned(),
        phase: order.phase,
        seconds,
        classes: classes.map(class_run).collect(),
        server: server_run(topology, before, after, last),
        client_cpu_s: watched.client_cpu_s,
        cpu_over_time: watched.cpu_over_time.clone(),
    }
}

fn server_run(
    topology: &TopologyText,
    before: &Counters,
    after: &Counters,
    last: &Counters,
) -> ServerRun {
    // Under a pool each turn is a session that a port's worker handed over.
    let hand_offs = |at: &Counters| {
        let networks = at.networks.iter().filter(|network| network.pool.is_some());
        networks.map(|network| network.turns).sum::<u64>()
    };
    let switches = |of: fn(&Threads) -> u64| {
        let before = before.threads.as_ref().map(of)?;
        Some(after.threads.as_ref().map(of)?.saturating_sub(before))
    };
    ServerRun {
        cpu_s: after.cpu_s - before.cpu_s,
        frames: after.frames().saturating_sub(before.frames()),
        switches_voluntary: switches(|threads| threads.switches_voluntary),
        switches_involuntary: switches(|threads| threads.switches_involuntary),
        hand_offs: hand_offs(after).saturating_sub(hand_offs(before)),
        threads: after.threads.map(|threads| threads.count),
        low_at_once_max: last.low_at_once_max,
        low_cap: Some(topology.low_cap),
        topology_lines: topology.lines(),
        workers: topology.workers,
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts of a run are far below 2^53"
)]
fn float(count: u64) -> f64 {
    count as f64
}
