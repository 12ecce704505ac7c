//! `cargo xtask bench-wine`: echo servers of wharf, compio and tokio under the same Wine.
//!
//! What counts is the number of requests an echo makes to the Wine server, which stands for its
//! system calls. The load is a Linux program and makes none.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use clap::Args;

use super::group::{self, Group};
use super::home::{Home, TRIPLE};
use super::packages;
use super::serving::{Counted, load};
use super::session::Session;
use super::toolchain::{self, Use};
use super::trace::{Requests, requests_of};
use super::wine::Wine;
use crate::process::{catch_signals, read_address};

/// Compare echo servers of wharf, compio and tokio under Wine: kernel requests of an echo, and rate
#[derive(Args)]
pub(crate) struct WineArgs {
    /// Numbers of connections, each with one frame of 64 bytes in flight
    #[arg(long, value_delimiter = ',', default_values_t = [1, 10, 200])]
    connections: Vec<u32>,

    /// Rounds of the rates; each runs every server
    #[arg(long, default_value_t = 3)]
    rounds: u32,

    /// Seconds of each run of the rates
    #[arg(long, default_value_t = 3)]
    seconds: u32,
}

const BUILD_LIMIT: Duration = Duration::from_secs(1200);

/// Echoes of the two runs whose difference is counted: so what a start, a connect and an end cost
/// falls out.
const COUNTED_ECHOES: [u32; 2] = [1000, 5000];

/// More than such a run takes.
const COUNTED_SECONDS: &str = "60";

/// How many more requests than compio's an echo of wharf may make.
const MORE_MAX: f64 = 2.0;

/// A server to compare: name, program, arguments.
struct Candidate {
    name: &'static str,
    program: PathBuf,
    args: Vec<&'static str>,
}

/// The two that the verdict is about.
const OURS: &str = "wharf";
const NEAREST: &str = "compio";

/// Runs the comparison and prints to `out`.
///
/// # Errors
/// When something can't be built or run, a frame is lost, or somebody wants to stop.
pub(crate) fn run(root: &Path, args: &WineArgs, out: &mut dyn Write) -> Result<(), String> {
    catch_signals()?;
    let home = Home::of(root)?;
    let _lock = home.lock()?;
    packages::install_compiler()?;
    packages::install(packages::WINDOWS)?;
    toolchain::sysroot(&home, TRIPLE, Use::Link)?;
    let wine = Wine::of_this_machine(&home);
    wine.prepare(&home)?;
    let client = crate::bench::build_wharf(root)?;
    let servers = build(&home)?;
    let mut print =
        |text: String| writeln!(out, "{text}").map_err(|e| format!("cannot print: {e}"));
    for &connections in &args.connections {
        let title =
            format!("{connections} connections, 64 bytes: requests to the Wine server an echo");
        print(format!("\n{title}"))?;
        let counted = servers.iter().map(|server| {
            count(&home, &wine, server, &client, connections).map(|counted| (server.name, counted))
        });
        let counted = counted.collect::<Result<Vec<_>, _>>()?;
        table(&counted).into_iter().try_for_each(&mut print)?;
        print(verdict(&counted))?;
        let rates = rates(&wine, &servers, &client, connections, args)?;
        print("echoes a second, median (Wine is not Windows)".into())?;
        rates.into_iter().try_for_each(&mut print)?;
    }
    Ok(())
}

/// Builds all servers alike, for Windows.
fn build(home: &Home) -> Result<Vec<Candidate>, String> {
    let mut wharf = toolchain::cargo_for(home, TRIPLE, &[]);
    wharf.args([
        "build",
        "--release",
        "--locked",
        "--quiet",
        "--package",
        "wharf-cli",
    ]);
    group::run("cargo build of wharf", &mut wharf, BUILD_LIMIT)?;
    let mut others = toolchain::cargo_for(home, TRIPLE, &[]);
    others.args(["build", "--release", "--locked", "--quiet"]);
    others.current_dir(home.root.join("benches/wine"));
    group::run("cargo build of benches/wine", &mut others, BUILD_LIMIT)?;
    let candidate = |name, program, args: &[&'static str]| Candidate {
        name,
        program: home.program("release", program),
        args: args.to_vec(),
    };
    let serve = ["serve", "echo", "--listen", "127.0.0.1:0", "--workers"];
    Ok(vec![
        candidate(OURS, "wharf", &[&serve[..], &["1"]].concat()),
        candidate("wharf, 4 w.", "wharf", &[&serve[..], &["4"]].concat()),
        candidate(NEAREST, "compio_echo", &[]),
        candidate("tokio", "tokio_echo", &[]),
    ])
}

/// A server, under the Wine of a session that is up.
fn start(wine: &Wine, server: &Candidate) -> Result<(Group, String), String> {
    let mut command = wine.run(&server.program);
    command
        .args(&server.args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let mut group = Group::start(server.name, &mut command)?;
    let stdout = group.child.stdout.take().ok_or("no pipe")?;
    let address = read_address(server.name, stdout)?;
    Ok((group, address))
}

fn echo(
    client: &Path,
    address: &str,
    connections: u32,
    seconds: &str,
    more: &[&str],
) -> Result<Counted, String> {
    let connections = connections.to_string();
    let args = ["--size", "64", "--connections", &connections];
    load(
        Command::new(client),
        address,
        seconds,
        &[&args, more].concat(),
    )
}

/// Requests an echo, by name.
fn count(
    home: &Home,
    wine: &Wine,
    server: &Candidate,
    client: &Path,
    connections: u32,
) -> Result<Vec<(String, f64)>, String> {
    let path = home.target.join("wineserver-trace.txt");
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    let trace = File::create(&path).map_err(failed)?;
    let session = Session::start_with(wine.clone(), Some(trace))?;
    let (group, address) = start(wine, server)?;
    let size = || {
        std::fs::metadata(&path)
            .map(|file| file.len())
            .map_err(failed)
    };
    let mut runs = Vec::new();
    for echoes in COUNTED_ECHOES {
        let begin = size()?;
        let each = (echoes / connections).max(1).to_string();
        let more = ["--frames", &each];
        let counted = echo(client, &address, connections, COUNTED_SECONDS, &more)?;
        runs.push((begin, size()?, counted.frames));
    }
    let pid = group.child.id();
    drop(group);
    session.end()?;
    let bytes = std::fs::read(&path).map_err(failed)?;
    let text = String::from_utf8_lossy(&bytes);
    let of = |(begin, end, _): (u64, u64, u64)| -> Result<Requests, String> {
        let [begin, end] = [begin, end].map(usize::try_from);
        let (begin, end) = (
            begin.map_err(|e| e.to_string())?,
            end.map_err(|e| e.to_string())?,
        );
        Ok(requests_of(text.get(..end).unwrap_or(&text), pid, begin))
    };
    let (short, long) = (of(runs[0])?, of(runs[1])?);
    if long.is_empty() {
        return Err(format!("{}: the trace tells of no request", server.name));
    }
    let frames = runs[1].2.saturating_sub(runs[0].2);
    if frames == 0 {
        return Err(format!(
            "{}: the longer run had no more echoes",
            server.name
        ));
    }
    let requests = |run: &Requests, name: &str| run.get(name).copied().unwrap_or(0) as f64;
    let each = long.keys().map(|name| {
        (
            name.clone(),
            (requests(&long, name) - requests(&short, name)) / frames as f64,
        )
    });
    std::fs::remove_file(&path).map_err(failed)?;
    Ok(each.collect())
}

type CountedServer = (&'static str, Vec<(String, f64)>);

fn total(calls: &[(String, f64)]) -> f64 {
    calls.iter().map(|(_, each)| each).sum()
}

/// A request that is made less often than once in so many echoes is not shown.
const SHOWN_FROM: f64 = 0.005;

fn table(counted: &[CountedServer]) -> Vec<String> {
    let line = |name: &str, cells: Vec<String>| {
        let cells = cells
            .iter()
            .map(|cell| format!(" {cell:>11}"))
            .collect::<String>();
        format!("  {name:<24}{cells}")
    };
    let all = counted.iter().flat_map(|(_, calls)| calls);
    let names: BTreeSet<_> = all
        .filter(|(_, each)| *each >= SHOWN_FROM)
        .map(|(name, _)| name)
        .collect();
    let mut lines = vec![line(
        "",
        counted.iter().map(|(name, _)| (*name).to_owned()).collect(),
    )];
    for name in names {
        let cell = |calls: &[(String, f64)]| {
            let found = calls.iter().find(|(known, _)| known == name);
            found.map_or_else(|| "-".to_owned(), |(_, each)| format!("{each:.2}"))
        };
        lines.push(line(
            name,
            counted.iter().map(|(_, calls)| cell(calls)).collect(),
        ));
    }
    let totals = counted
        .iter()
        .map(|(_, calls)| format!("{:.2}", total(calls)));
    lines.push(line("all", totals.collect()));
    lines
}

fn verdict(counted: &[CountedServer]) -> String {
    let of = |name: &str| {
        let found = counted.iter().find(|(known, _)| *known == name);
        found.map_or(f64::NAN, |(_, calls)| total(calls))
    };
    let (ours, nearest) = (of(OURS), of(NEAREST));
    let word = if ours <= nearest + MORE_MAX {
        "within"
    } else {
        "NOT within"
    };
    format!("  {OURS} {ours:.2}, {NEAREST} {nearest:.2}: {word} {MORE_MAX} of it")
}

/// Rates in rounds that each run every server, so that a slow minute hits all.
fn rates(
    wine: &Wine,
    servers: &[Candidate],
    client: &Path,
    connections: u32,
    args: &WineArgs,
) -> Result<Vec<String>, String> {
    let session = Session::start(wine.clone())?;
    let mut rates = vec![Vec::new(); servers.len()];
    for _ in 0..args.rounds {
        for (server, rates) in servers.iter().zip(&mut rates) {
            let (_group, address) = start(wine, server)?;
            let counted = echo(
                client,
                &address,
                connections,
                &args.seconds.to_string(),
                &[],
            )?;
            rates.push(counted.frames_per_second);
        }
    }
    session.end()?;
    let line = |(server, rates): (&Candidate, &mut Vec<f64>)| {
        rates.sort_by(f64::total_cmp);
        let (least, most) = (rates.first(), rates.last());
        let median = rates.get(rates.len() / 2);
        let [least, median, most] = [least, median, most].map(|rate| rate.copied().unwrap_or(0.0));
        format!(
            "  {:<12} {median:>7.0}   [{least:.0} .. {most:.0}]",
            server.name
        )
    };
    Ok(servers.iter().zip(&mut rates).map(line).collect())
}
