//! `cargo xtask sim`: the whole core under many seeds, on all cores.

use std::io::Write;
use std::path::Path;
use std::time::Instant;

/// Plays seeds of the whole core in the simulated network (tests/sim_seeds.rs)
#[derive(clap::Args)]
pub(crate) struct SimArgs {
    /// How many seeds
    #[arg(long, default_value_t = 5000)]
    seeds: u64,
    /// The first of them
    #[arg(long, default_value_t = 1)]
    first_seed: u64,
}

/// Seeds between two lines of progress.
const PART: u64 = 20_000;

/// # Errors
/// A seed failed: its events are in `target/sim-logs/`.
pub(crate) fn sim(root: &Path, args: &SimArgs, out: &mut impl Write) -> Result<(), String> {
    let logs = root.join("target/sim-logs");
    std::fs::create_dir_all(&logs).map_err(|e| format!("{}: {e}", logs.display()))?;
    let test = [
        "test",
        "--profile",
        "sim",
        "-p",
        "wharf",
        "--test",
        "sim_seeds",
    ];
    let mut build = super::cargo(root, &test);
    build.arg("--no-run");
    super::run(build, "the build of the seeds' test")?;
    let (began, end) = (Instant::now(), args.first_seed.saturating_add(args.seeds));
    let mut first = args.first_seed;
    while first < end {
        let count = PART.min(end - first);
        let mut part = super::cargo(root, &test);
        part.args([
            "--",
            "--exact",
            "every_seed_keeps_the_guarantees",
            "--nocapture",
        ]);
        part.env("WHARF_FIRST_SEED", first.to_string())
            .env("WHARF_SEEDS", count.to_string())
            .env("WHARF_SIM_LOGS", &logs);
        let log = logs.display();
        super::run(part, "a part of the seeds").map_err(|why| {
            format!(
                "{why}: the events of each seed that failed are in {log}; add the seed to \
                 crates/wharf/tests/sim_seeds/seeds.txt"
            )
        })?;
        first += count;
        let (done, took) = (first - args.first_seed, began.elapsed().as_secs_f64());
        writeln!(out, "{done} of {} seeds pass, {took:.0} s", args.seeds)
            .map_err(|e| e.to_string())?;
    }
    Ok(())
}
