//! `bench-peers`: wharf beside other libraries and the machine's limits, the same frames for all.
//!
//! Each round runs every server once, fresh, under the same load; the order turns from round to
//! round. What was measured goes into a file that grows ([`store`]), so that a long run can be made
//! in slices of a quiet machine, and tables ([`report`]) and plots ([`plots`]) are made of it.

mod cells;
mod check;
mod counts;
mod plots;
mod report;
mod sample;
mod servers;
mod store;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use self::cells::{Cell, Kind};
use self::servers::Server;
use self::store::Store;
use super::build_wharf;
use crate::process::{catch_signals, open_files_max};

/// Memory differs little from run to run.
const MEMORY_ROUNDS_MAX: u64 = 2;

/// Compare wharf with other libraries and with bare loops, under the same checked load
///
/// Steps: `check` (is every server right?), `rounds` (CPU, rate, latency, memory), `calls` (system
/// calls a frame, by perf), `instructions` (user-space instructions a frame, by callgrind),
/// `report` (tables), `plots` (drawings). Without steps all but plots.
#[derive(Args)]
pub(crate) struct PeersArgs {
    /// What to do [default: check rounds calls instructions report]
    #[arg(value_enum)]
    steps: Vec<Step>,

    /// Cells: quick, full, or names such as echo-64x1-256, broadcast-1x1000-64, churn-64,
    /// idle-10000
    #[arg(long, value_delimiter = ',', default_value = "quick")]
    cells: Vec<String>,

    /// Servers [default: all]
    #[arg(long, value_delimiter = ',')]
    servers: Vec<String>,

    /// The wharf to measure, which makes the load, too [default: builds this tree's release binary]
    #[arg(long, value_name = "PATH")]
    wharf: Option<PathBuf>,

    /// Rounds of each cell; each runs every server once
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u64).range(1..))]
    rounds: u64,

    /// Seconds of a run
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,

    /// Begin no round that would not end within so many seconds; the same command goes on later
    #[arg(long, value_name = "SECONDS")]
    slice_seconds: Option<u64>,

    /// Where what is measured is kept [default: peers in the target folder]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// Where plots go
    #[arg(long, value_name = "DIR", default_value = "docs/performance")]
    plots: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Step {
    Check,
    Rounds,
    Calls,
    Instructions,
    Report,
    Plots,
}

const DEFAULT_STEPS: [Step; 5] = [
    Step::Check,
    Step::Rounds,
    Step::Calls,
    Step::Instructions,
    Step::Report,
];

/// Runs the steps and prints to `out`.
///
/// # Errors
/// When a program cannot be built, a server is wrong, or the run is interrupted.
pub(crate) fn run(root: &Path, args: &PeersArgs, out: &mut dyn Write) -> Result<(), String> {
    catch_signals()?;
    let steps = match args.steps.as_slice() {
        [] => &DEFAULT_STEPS,
        steps => steps,
    };
    let default = super::target_folder(root).join("peers/run");
    let mut store = Store::open(args.out.as_ref().unwrap_or(&default))?;
    let measures = |step: &Step| !matches!(step, Step::Report | Step::Plots);
    if steps.iter().any(measures) {
        let mut bench = Bench::prepare(root, args, &mut store, out)?;
        for step in steps {
            match step {
                Step::Check => bench.check()?,
                Step::Rounds => bench.rounds(args)?,
                Step::Calls => bench.count("calls", counts::system_calls)?,
                Step::Instructions => bench.count("instructions", counts::instructions)?,
                Step::Report | Step::Plots => {}
            }
        }
    }
    for step in steps {
        match step {
            Step::Report => write!(out, "{}", report::markdown(&store)).map_err(print_error)?,
            Step::Plots => plots::draw(&store, &root.join(&args.plots), out)?,
            _ => {}
        }
    }
    Ok(())
}

fn print_error(error: std::io::Error) -> String {
    format!("cannot print: {error}")
}

struct Bench<'a> {
    servers: Vec<Server>,
    cells: Vec<Cell>,
    /// The wharf whose `load` makes the load.
    load: String,
    store: &'a mut Store,
    out: &'a mut dyn Write,
}

impl<'a> Bench<'a> {
    fn prepare(
        root: &Path,
        args: &PeersArgs,
        store: &'a mut Store,
        out: &'a mut dyn Write,
    ) -> Result<Self, String> {
        let wharf = match &args.wharf {
            Some(path) => path.clone(),
            None => build_wharf(root)?,
        };
        let load = wharf.display().to_string();
        let mut skipped = Vec::new();
        let servers = servers::prepare(root, &wharf, &args.servers, |name, why| {
            skipped.push((name.to_owned(), why.to_owned()));
            Ok(())
        })?;
        let mut bench = Self {
            servers,
            cells: Vec::new(),
            load,
            store,
            out,
        };
        for (name, why) in skipped {
            bench.skip(&name, &why)?;
        }
        for cell in cells::chosen(&args.cells)? {
            match open_files_max() {
                Some(limit) if cell.files() > limit => {
                    let files = cell.files();
                    let why = format!(
                        "needs {files} open files a process, and the hard limit is {limit}"
                    );
                    bench.skip(&cell.to_string(), &why)?;
                }
                _ => bench.cells.push(cell),
            }
        }
        bench.leave_out_what_cannot_start()?;
        bench.store.begin(&machine(root), &bench.servers)?;
        Ok(bench)
    }

    fn say(&mut self, text: &str) -> Result<(), String> {
        writeln!(self.out, "{text}").map_err(print_error)
    }

    fn skip(&mut self, what: &str, why: &str) -> Result<(), String> {
        self.say(&format!("skipped: {what}: {why}"))?;
        self.store.skip(what, why)
    }

    /// A kernel or a filter may have no ring: said, and left out.
    fn leave_out_what_cannot_start(&mut self) -> Result<(), String> {
        let cell = Cell::parse("echo-1x1-64").ok_or("a cell")?;
        for server in std::mem::take(&mut self.servers) {
            match sample::start(&server, &cell) {
                Ok(_) => self.servers.push(server),
                Err(why) if server.may_be_missing() => self.skip(server.name, &why)?,
                Err(why) => return Err(why),
            }
        }
        Ok(())
    }

    fn check(&mut self) -> Result<(), String> {
        for at in 0..self.servers.len() {
            let server = self.servers[at].clone();
            check::check(&server, &self.load).map_err(|why| format!("{}: {why}", server.name))?;
            self.say(&format!("checked: {}", server.name))?;
        }
        Ok(())
    }

    fn rounds(&mut self, args: &PeersArgs) -> Result<(), String> {
        let start = Instant::now();
        let mut longest = Duration::ZERO;
        for at in 0..self.cells.len() {
            let cell = self.cells[at];
            let rounds = match cell.kind {
                Kind::Idle => args.rounds.min(MEMORY_ROUNDS_MAX),
                _ => args.rounds,
            };
            for round in 0..rounds {
                let missing = self.missing(&cell, round);
                if missing.is_empty() {
                    continue;
                }
                let end = start.elapsed() + longest;
                if args
                    .slice_seconds
                    .is_some_and(|limit| end.as_secs() >= limit)
                {
                    let text = format!(
                        "stopped before round {} of {cell}: go on with the same \
                                        command",
                        round + 1
                    );
                    return self.say(&text);
                }
                let began = Instant::now();
                for server in &missing {
                    self.measure(server, &cell, round, args.seconds)?;
                }
                longest = longest.max(began.elapsed());
            }
        }
        self.say("all rounds are done")
    }

    /// Who has not run in this round, in the order of the round: it begins with another server
    /// each time, and goes the other way every second time.
    fn missing(&self, cell: &Cell, round: u64) -> Vec<Server> {
        let mut order: Vec<Server> = self.servers.clone();
        let turn = usize::try_from(round).unwrap_or(0) % order.len().max(1);
        order.rotate_left(turn);
        if round % 2 == 1 {
            order.reverse();
        }
        order.retain(|server| {
            let known = self.store.known(cell, server);
            let done = known.is_some_and(|of| of.rounds.contains_key(&round));
            server.takes_part_in(cell) && !done
        });
        order
    }

    fn measure(
        &mut self,
        server: &Server,
        cell: &Cell,
        round: u64,
        seconds: f64,
    ) -> Result<(), String> {
        let head = format!("{cell:<22} {:>2} {:<14}", round + 1, server.name);
        match sample::take(server, cell, &self.load, seconds) {
            Ok(sample) => {
                let figures = sample.figures.iter().take(7);
                let shown: Vec<String> = figures.map(|(n, v)| format!("{n} {v:.3}")).collect();
                self.say(&format!("{head} {}", shown.join("  ")))?;
                self.store.round(cell, server, round, &sample)
            }
            Err(why) if why.contains("interrupted") => Err(why),
            Err(why) => {
                self.say(&format!("{head} failed: {why}"))?;
                self.store.failed(cell, server, &why)
            }
        }
    }

    /// A pass over all cells that counts something once.
    fn count(&mut self, what: &str, count: Counting) -> Result<(), String> {
        for at in 0..self.cells.len() {
            let cell = self.cells[at];
            for server in self.servers.clone() {
                let known = self.store.known(&cell, &server);
                let done = known.is_some_and(|of| of.counts.contains_key(what));
                if done || cell.kind == Kind::Idle || !server.takes_part_in(&cell) {
                    continue;
                }
                match count(&server, &cell, &self.load) {
                    Ok(counts) => {
                        let shown = counts.iter().map(|(n, v)| format!("{n} {v:.3}"));
                        let shown = shown.collect::<Vec<_>>().join("  ");
                        self.say(&format!("{cell:<22} {:<14} {shown}", server.name))?;
                        self.store.counts(&cell, &server, &counts)?;
                    }
                    Err(why) if why.contains("interrupted") => return Err(why),
                    // No such tool, no right to use it, or a server that it can't run.
                    Err(why) => self.skip(&format!("{what} of {} in {cell}", server.name), &why)?,
                }
            }
        }
        Ok(())
    }
}

/// Counts something of a frame, by name.
type Counting = fn(&Server, &Cell, &str) -> Result<BTreeMap<String, f64>, String>;

/// What a reader wants to know of the machine and the programs.
fn machine(root: &Path) -> Value {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let said = |program: &str, args: &[&str]| {
        let mut command = std::process::Command::new(program);
        let output = command.args(args).current_dir(root).output();
        output.map_or(String::new(), |o| {
            String::from_utf8_lossy(&o.stdout).trim().to_owned()
        })
    };
    let cpus = read("/proc/cpuinfo");
    let model = cpus
        .lines()
        .find_map(|line| line.split_once("model name")?.1.split_once(": "));
    json!({
        "cpu": model.map(|(_, name)| name),
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "kernel": read("/proc/sys/kernel/osrelease").trim(),
        "congestion": read("/proc/sys/net/ipv4/tcp_congestion_control").trim(),
        "rustc": said("rustc", &["--version"]),
        "cc": said("cc", &["--version"]).lines().next(),
        "commit": said("git", &["rev-parse", "--short", "HEAD"]),
    })
}
