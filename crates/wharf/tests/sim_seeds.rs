//! The whole core under seeds: a host with servers, links and jobs on the simulated network, its
//! peers and handlers doing everything they may, and a judge that knows what must come of it.
//!
//! `WHARF_SEEDS` says how many seeds run (200), `WHARF_FIRST_SEED` which is the first (1), and
//! `WHARF_SEED` replays one and tells what happened in it: the last 200 events, or as many as
//! `WHARF_EVENTS` says. The events of each seed that fails are written to a file of its name in the
//! folder `WHARF_SIM_LOGS`, if that is set.
#![allow(
    clippy::unwrap_used,
    reason = "tests; clippy does not see that in a helper"
)]

#[path = "sim_seeds/crews.rs"]
mod crews;
#[path = "sim_seeds/end.rs"]
mod end;
#[path = "support/errors.rs"]
mod errors;
#[path = "sim_seeds/extras.rs"]
mod extras;
#[path = "sim_seeds/found.rs"]
mod found;
#[path = "sim_seeds/game.rs"]
mod game;
#[path = "sim_seeds/judge.rs"]
mod judge;
#[path = "sim_seeds/link.rs"]
mod link;
#[path = "sim_seeds/peer.rs"]
mod peer;
#[path = "sim_seeds/plan.rs"]
mod plan;
#[path = "sim_seeds/rooms.rs"]
mod rooms;
#[path = "sim_seeds/run.rs"]
mod run;
#[path = "sim_seeds/wire.rs"]
mod wire;

use std::io::Write;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use run::Run;
use wharf::sim::Sim;

/// How much of the log is told.
fn events_shown() -> usize {
    let events = number("WHARF_EVENTS").unwrap_or(200);
    usize::try_from(events).unwrap_or(usize::MAX)
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    let number = text.parse();
    assert!(number.is_ok(), "{variable} is \"{text}\": give a number");
    number.ok()
}

/// What went wrong with a seed, and the log of its simulation.
struct Failure {
    what: String,
    sim: Option<Sim>,
}

fn play(seed: u64) -> Result<Sim, Failure> {
    let mut sim = None;
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let mut run = Run::start(seed);
        run.sim.set_log_max(events_shown().max(4096));
        sim = Some(run.sim.clone());
        run.play()?;
        run.end()
    }));
    let what = match outcome {
        Ok(Ok(())) => return sim.ok_or_else(|| unreachable!("the run has started")),
        Ok(Err(what)) => what,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            format!(
                "panicked: {}",
                text.unwrap_or("with something else than text")
            )
        }
    };
    Err(Failure { what, sim })
}

fn tell(seed: u64, failure: &Failure) -> String {
    let tail = failure
        .sim
        .as_ref()
        .map_or_else(Vec::new, |sim| sim.log_tail(events_shown()));
    format!(
        "seed {seed}: {}\nreplay: WHARF_SEED={seed} cargo test -p wharf --test sim_seeds\n\
         the last events:\n  {}",
        failure.what,
        tail.join("\n  ")
    )
}

/// To the terminal, not into what the test harness keeps of passing tests.
fn say(text: &str) {
    let said = std::io::stderr().write_all(text.as_bytes());
    said.unwrap();
}

#[test]
fn every_seed_keeps_the_guarantees() {
    if let Some(seed) = number("WHARF_SEED") {
        let sim = play(seed).unwrap_or_else(|failure| panic!("{}", tell(seed, &failure)));
        let tail = sim.log_tail(events_shown()).join("\n  ");
        return say(&format!("seed {seed} passes; its last events:\n  {tail}\n"));
    }
    let first = number("WHARF_FIRST_SEED").unwrap_or(1);
    let count = number("WHARF_SEEDS").unwrap_or(200);
    let seeds: Vec<u64> = failed_once().chain(first..first + count).collect();
    let failures = play_all(&seeds);
    let count = failures.len();
    assert!(count == 0, "{count} seeds failed:\n{}", failures.join("\n"));
}

/// The seeds that failed once.
fn failed_once() -> impl Iterator<Item = u64> {
    let lines = include_str!("sim_seeds/seeds.txt").lines();
    let lines = lines.filter(|line| !line.starts_with('#'));
    lines.map(|line| line.parse().unwrap())
}

/// Plays seeds on all cores, each simulation on one thread; tells the first that fails.
fn play_all(seeds: &[u64]) -> Vec<String> {
    let next = AtomicUsize::new(0);
    let failures = Mutex::new(Vec::new());
    let work = || {
        while let Some(&seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)) {
            let Err(failure) = play(seed) else { continue };
            let mut failures = failures.lock().unwrap();
            if failures.is_empty() {
                say(&format!("{}\n", tell(seed, &failure)));
            }
            if let Some(folder) = std::env::var_os("WHARF_SIM_LOGS") {
                let file = Path::new(&folder).join(format!("seed-{seed}.log"));
                std::fs::write(file, tell(seed, &failure)).unwrap();
            }
            let line = failure.what.lines().next().unwrap_or_default();
            failures.push(format!("{seed}: {line}"));
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(work);
        }
    });
    failures.into_inner().unwrap()
}

/// A failure that can't be had again is a story: all of a run comes from its seed.
#[test]
fn a_seed_replays_event_for_event() {
    for seed in 1..=20 {
        let runs = [0, 1].map(|_| play(seed));
        let [first, second] = runs.map(|run| match run {
            Ok(sim) => sim.log(),
            Err(failure) => failure
                .sim
                .map_or_else(|| vec![failure.what], |sim| sim.log()),
        });
        assert!(first.len() > 100, "seed {seed} does nothing");
        let at = first.iter().zip(&second).position(|(a, b)| a != b);
        assert!(
            at.is_none() && first.len() == second.len(),
            "seed {seed}: {:?} became {:?}",
            at.map(|at| &first[at]),
            at.map(|at| &second[at])
        );
    }
}
