//! Running a body: on sockets once, in the simulation once a seed.

use std::io::Write;
use std::sync::{PoisonError, RwLock};

use super::World;
use super::backends::MAY_BE_REFUSED;

/// Whether other tests of this process may run meanwhile.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Access {
    Shared,
    Exclusive,
}

static ALONE: RwLock<()> = RwLock::new(());

/// Runs it with or without other tests of this process.
pub(crate) fn with_access(access: Access, run: impl FnOnce()) {
    // A test that failed has poisoned nothing that the next one needs.
    match access {
        Access::Shared => {
            let _guard = ALONE.read().unwrap_or_else(PoisonError::into_inner);
            run();
        }
        Access::Exclusive => {
            let _guard = ALONE.write().unwrap_or_else(PoisonError::into_inner);
            run();
        }
    }
}

/// Says that the running test can't be run here, and why. What a test that passes prints by
/// `eprintln!` is not shown.
pub(crate) fn skipped(why: &str) {
    let test = std::thread::current().name().unwrap_or("").to_owned();
    let line = format!("skipped: {test}: {why}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}

/// Runs the body on this backend's sockets.
pub(crate) fn on_sockets(backend: &'static str, access: Access, body: impl Fn(&World)) {
    with_access(access, || {
        // Inside: each backend is opened to try it out.
        let report = wharf::backends().into_iter().find(|b| b.name == backend);
        let report = report.unwrap_or_else(|| panic!("this build has no backend \"{backend}\""));
        if let Some(problem) = &report.problem
            && MAY_BE_REFUSED.contains(&backend)
        {
            return skipped(&format!("backend {backend} does not work here: {problem}"));
        }
        assert_eq!(report.problem, None, "the backend does not work here");
        let world = World::on_sockets(backend);
        body(&world);
        world.close();
    });
}

#[cfg(feature = "sim")]
pub(crate) use simulated::{in_sim, seeds};

#[cfg(feature = "sim")]
mod simulated {
    use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

    use super::{Access, with_access};
    use crate::support::World;

    /// The seeds to run: those that the environment names, or the first `default` ones.
    pub(crate) fn seeds(default: u64) -> std::ops::Range<u64> {
        let read = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
        let parse = |text: &str| {
            text.trim()
                .parse::<u64>()
                .unwrap_or_else(|error| panic!("WHARF_SEED(S): {text:?}: {error}"))
        };
        if let Some(one) = read("WHARF_SEED") {
            let one = parse(&one);
            return one..one + 1;
        }
        match read("WHARF_SEEDS") {
            Some(text) => match text.split_once("..") {
                Some((from, to)) => parse(from)..parse(to),
                None => 0..parse(&text),
            },
            None => 0..default,
        }
    }

    /// Runs the body in a simulation a seed; a failing one is told with the line that replays it.
    pub(crate) fn in_sim(default: u64, body: impl Fn(&World)) {
        // Its sockets are its own, so it minds nobody; but others count descriptors meanwhile.
        with_access(Access::Shared, || {
            for seed in seeds(default) {
                let world = World::simulated(seed);
                let run = catch_unwind(AssertUnwindSafe(|| {
                    body(&world);
                    world.close();
                }));
                if let Err(panic) = run {
                    tell(&world, seed);
                    resume_unwind(panic);
                }
            }
        });
    }

    #[expect(clippy::print_stderr, reason = "libtest shows it with the failed test")]
    fn tell(world: &World, seed: u64) {
        let test = std::thread::current().name().unwrap_or("").to_owned();
        let suite = env!("CARGO_CRATE_NAME");
        eprintln!("--- seed {seed} failed; the last events:");
        if let Some(sim) = world.sim() {
            // The host that was dropped on the way out has waited: that says nothing.
            let mut lines = sim.log();
            let noise = ["time passed", "supervisor:", "peer reads -> WouldBlock"];
            lines.retain(|line| !noise.iter().any(|noise| line.contains(noise)));
            for line in &lines[lines.len().saturating_sub(120)..] {
                eprintln!("  {line}");
            }
        }
        eprintln!(
            "--- replay: WHARF_SEED={seed} cargo test -p wharf --features sim --test {suite} \
             {test} -- --exact"
        );
    }
}
