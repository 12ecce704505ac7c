//! The whole core under seeds: a host with servers, links and jobs on the simulated network, its
//! peers and handlers doing everything they may, and a judge that knows what must come of it.
//!
//! `WHARF_SEEDS` says how many seeds run (200), `WHARF_FIRST_SEED` which is the first (1), and
//! `WHARF_SEED` replays one and tells what happened in it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::Write as _;

#[path = "sim_seeds/end.rs"]
mod end;
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
#[path = "sim_seeds/run.rs"]
mod run;
#[path = "sim_seeds/wire.rs"]
mod wire;

use std::panic::{AssertUnwindSafe, catch_unwind};

use run::Run;
use wharf::sim::Sim;

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
        .map_or_else(Vec::new, |sim| sim.log_tail(200));
    format!(
        "seed {seed}: {}\nreplay: WHARF_SEED={seed} cargo test -p wharf --test sim_seeds\n\
         the last events:\n  {}",
        failure.what,
        tail.join("\n  ")
    )
}

#[test]
fn every_seed_keeps_the_guarantees() {
    if let Some(seed) = number("WHARF_SEED") {
        match play(seed) {
            Ok(sim) => {
                let events = sim.log_tail(200).join("\n  ");
                let told = writeln!(
                    std::io::stderr(),
                    "seed {seed} passes; its last events:\n  {events}"
                );
                told.expect("the test's own output");
            }
            Err(failure) => panic!("{}", tell(seed, &failure)),
        }
        return;
    }
    let first = number("WHARF_FIRST_SEED").unwrap_or(1);
    let seeds = first..first + number("WHARF_SEEDS").unwrap_or(200);
    let failures: Vec<_> = seeds
        .filter_map(|seed| Some((seed, play(seed).err()?)))
        .collect();
    if let Some((seed, failure)) = failures.first() {
        let all: Vec<_> = failures
            .iter()
            .map(|(seed, failure)| {
                format!(
                    "{seed}: {}",
                    failure.what.lines().next().unwrap_or_default()
                )
            })
            .collect();
        panic!(
            "{}\n{} seeds failed:\n{}",
            tell(*seed, failure),
            all.len(),
            all.join("\n")
        );
    }
}

#[test]
fn a_seed_replays_event_for_event() {
    for seed in [3, 11, 19] {
        let logs = [0, 1].map(|_| {
            play(seed)
                .map(|sim| sim.log())
                .map_err(|failure| failure.what)
        });
        let [first, second] = logs.map(|log| log.unwrap_or_else(|what| vec![what]));
        let same = first
            .iter()
            .zip(&second)
            .take_while(|(a, b)| a == b)
            .count();
        assert!(
            first == second,
            "seed {seed}: {:?} and {:?}",
            first.get(same),
            second.get(same)
        );
    }
}
