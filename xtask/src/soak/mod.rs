//! `cargo xtask soak`: a real server process and hostile client processes, for minutes or hours,
//! and innocent sessions beside, whose every frame is accounted for.
//!
//! The processes are roles of the program (`crates/wharf-cli/src/soak`); here is who starts,
//! orders, stops and kills them, compares what they say, and judges.

mod abuse;
mod judge;
mod plan;
mod report;
mod role;
mod scene;
mod watch;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use fastrand::Rng;
use serde_json::Value;

use crate::bench;
use crate::process::{catch_signals, interrupted, wait_for};
use abuse::{Deeds, Doing};
use plan::{Phase, QUIET};
use report::{Ends, Report};
use scene::{Crowd, LINKS, Scene};
use watch::Sample;

/// Between two looks at everybody.
const LOOK: Duration = Duration::from_millis(20);
/// The part of a quiet phase that is not over before its samples count.
const SETTLING: f64 = 0.6;
/// How long the last sessions, descriptors and threads may take to go.
const END_LIMIT: Duration = Duration::from_secs(60);

/// Abuse a server for a long time, beside innocent sessions that must not lose a frame
#[derive(Args)]
pub(crate) struct SoakArgs {
    /// How long
    #[arg(long, default_value_t = 2.0)]
    minutes: f64,

    /// The order of the abuses and all that is random [default: by the clock]
    #[arg(long)]
    seed: Option<u64>,

    /// Folder for report.json, report.txt and report.html
    #[arg(long, value_name = "DIR", default_value = "target/soak")]
    out: PathBuf,

    /// Backend of the server [default: the best that works here]
    #[arg(long)]
    backend: Option<String>,

    /// Innocent sessions on each of the four networks
    #[arg(long, default_value_t = 20)]
    innocents: usize,

    /// Frames a second of each innocent session
    #[arg(long, default_value_t = 20)]
    rate: u32,

    /// The program to abuse [default: builds this tree's release binary]
    #[arg(long, value_name = "PATH")]
    wharf: Option<PathBuf>,
}

/// Runs it, writes the reports, and prints the text to `out`.
///
/// # Errors
/// When a program cannot be built or started, and when anything was lost, doubled, reordered,
/// leaked or left behind.
pub(crate) fn run(root: &Path, args: &SoakArgs, out: &mut dyn Write) -> Result<(), String> {
    if !(0.5..=100_000.0).contains(&args.minutes) {
        return Err("--minutes must be between 0.5 and 100000".into());
    }
    catch_signals()?;
    let wharf = match &args.wharf {
        Some(wharf) => wharf.clone(),
        None => bench::build_wharf(root)?,
    };
    let clock = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
    let seed = args.seed.unwrap_or(clock.as_secs());
    let run = format!("{}-{}", std::process::id(), clock.as_nanos());
    let played = play(args, wharf, &run, seed, out);
    // Dropping the roles has killed what was left; the kernel may still be at it.
    let gone = wait_for("processes of the soak", Duration::from_secs(10), || {
        Ok(role::left(&run).is_empty().then_some(()))
    });
    let left = gone.map_or_else(|_| role::left(&run), |()| Vec::new());
    let mut report = played.map_err(|why| match left.as_slice() {
        [] => format!("soak, seed {seed}: {why}"),
        left => format!(
            "soak, seed {seed}: {why}; processes left: {}",
            left.join(", ")
        ),
    })?;
    report.processes_left = left;
    let folder = root.join(&args.out);
    let text = report.write(&folder)?;
    writeln!(out, "{text}").map_err(|e| format!("cannot print: {e}"))?;
    match report.faults().as_slice() {
        [] => Ok(()),
        faults => Err(format!("soak, seed {seed}: {}", faults.join("; "))),
    }
}

fn play(
    args: &SoakArgs,
    wharf: PathBuf,
    run: &str,
    seed: u64,
    out: &mut dyn Write,
) -> Result<Report, String> {
    let time = Duration::from_secs_f64(args.minutes * 60.0);
    let crowd = Crowd {
        sessions: args.innocents,
        rate: args.rate,
        time,
    };
    let backend = args.backend.as_deref();
    let mut scene = Scene::set(wharf, run.to_owned(), seed, backend, crowd)?;
    let mut random = Rng::with_seed(seed);
    let phases = plan::phases(time, seed);
    let mut report = Report::new(seed, args.minutes, backend, scene.before);
    for (number, phase) in phases.iter().enumerate() {
        let begun = scene.begun.elapsed();
        let deeds = perform(phase, &mut scene, &mut random)?;
        let told = scene.phase()?;
        report.phase(phase, begun, &told, deeds)?;
        let progress = format!("{}/{} {}", number + 1, phases.len(), phase.name);
        writeln!(out, "{progress}").map_err(|e| format!("cannot print: {e}"))?;
    }
    end(scene, report)
}

/// One phase. Returns what was done, by abuse.
fn perform(
    phase: &Phase,
    scene: &mut Scene,
    random: &mut Rng,
) -> Result<BTreeMap<&'static str, Deeds>, String> {
    let until = Instant::now() + phase.time;
    let settled = phase.time.mul_f64(SETTLING);
    scene.quiet(phase.name == QUIET);
    let mut doing = Vec::new();
    for abuse in &phase.abuses {
        doing.push((abuse.name(), Doing::begin(*abuse, scene, random)?));
    }
    while Instant::now() < until {
        if interrupted() {
            return Err("interrupted".into());
        }
        for (_, doing) in &mut doing {
            doing.step(scene, random)?;
        }
        scene.look(settled)?;
        std::thread::sleep(LOOK);
    }
    let mut deeds = BTreeMap::new();
    for (name, doing) in doing {
        deeds.insert(name, doing.end(scene)?);
        scene.look(settled)?;
    }
    // The accounts of sessions that are over.
    let mark = scene.mark()?;
    scene.look(settled)?;
    if let Some(deeds) = deeds.get_mut("descriptors") {
        let backoffs = mark["accept_backoffs"].as_f64().unwrap_or(0.0);
        deeds.insert("accept pauses so far".into(), backoffs);
    }
    Ok(deeds)
}

/// Everybody goes, the innocents first, and what the server holds must be what it held.
fn end(mut scene: Scene, mut report: Report) -> Result<Report, String> {
    scene.quiet(false);
    scene.innocents.order("finish")?;
    let done = wait_for("innocents finish", END_LIMIT, || {
        scene.look(Duration::ZERO)?;
        Ok(scene.innocents.take("done"))
    });
    report.ends = Ends {
        innocents: done.is_ok(),
        ..Ends::default()
    };
    scene.look(Duration::ZERO)?;
    // Every link is back, and nothing is left of any session.
    let before = scene.before;
    let mut links = 0;
    let settled = wait_for("the server at rest", END_LIMIT, || {
        let mark = scene.mark()?;
        scene.look(Duration::ZERO)?;
        links = mark["links_open"].as_u64().unwrap_or(0);
        let now = Sample::of(scene.server.pid(), scene.begun.elapsed(), false)?;
        report.ends.after = Some(now);
        let same = now.fds <= before.fds && now.threads <= before.threads;
        Ok((same && links == LINKS).then_some(()))
    });
    report.ends.at_rest = settled.is_ok();
    report.ends.links_open = links;
    let stopped = scene.server.finish(END_LIMIT);
    report.ends.server = stopped.err();
    while let Some(line) = scene.server.take("closed") {
        scene.account.closed(line)?;
    }
    report.ends.mark = scene.server.take("mark").unwrap_or(Value::Null);
    if done.is_ok() {
        report.ends.innocents = scene.innocents.finish(END_LIMIT).is_ok();
    }
    if let Some(peer) = &mut scene.peer {
        report.ends.peer = peer.finish(END_LIMIT).is_ok();
    }
    scene.account.settle(true);
    report.account = std::mem::take(&mut scene.account);
    report.samples = std::mem::take(&mut scene.samples);
    Ok(report)
}
