//! `bench-abuse`: what innocent sessions notice of an attack, beside a bare echo loop under the
//! same attack.
//!
//! The server and the innocent clients share the first core, the attackers have the second, so that
//! an attack can be as heavy as a core makes it. Each round runs every server without an attack and
//! under each; only runs of one round are compared.

mod attack;

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum as _};
use serde_json::Value;

pub(crate) use attack::{AttackArgs, run as attack};

use super::stats::{bootstrap, median};
use super::usage::{Memory, Usage, descriptors};
use super::{build_bare_epoll, build_wharf, target_folder, to_command};
use crate::process::{Core, Running, bound_to, catch_signals};
use attack::Kind;

/// Measure what innocent sessions notice of slowloris, a storm of connects, and a flood
///
/// The server and 50 innocent sessions, 20 frames a second each, on the first core; the attackers
/// on the second. A fresh server for each run.
#[derive(Args)]
pub(crate) struct AbuseArgs {
    /// Rounds; each runs every server under every attack once
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,

    /// Seconds of a run
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,

    /// Only these attacks: slowloris, storm, flood
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,

    /// The wharf to measure [default: builds this tree's release binary]
    #[arg(long, value_name = "PATH")]
    wharf: Option<std::path::PathBuf>,
}

/// The innocent sessions.
const INNOCENTS: &[&str] = &["--connections", "50", "--rate", "1000"];
/// What an attack goes on beyond the innocents' run.
const LONGER: f64 = 1.0;
/// An attack has begun by then.
const HEAD_START: Duration = Duration::from_millis(1000);
const SLACK: Duration = Duration::from_secs(60);

/// A server under test.
struct Server {
    name: &'static str,
    command: Vec<String>,
}

/// What a run showed.
#[derive(Clone, Debug)]
struct Run {
    server: &'static str,
    attack: Option<Kind>,
    p50: f64,
    p99: f64,
    cpu_share: f64,
    resident: f64,
    descriptors: usize,
    told: String,
}

/// Runs the measurement and prints to `out`.
///
/// # Errors
/// When a program cannot be built or started, or an innocent session loses a frame.
pub(crate) fn run(root: &Path, args: &AbuseArgs, out: &mut dyn Write) -> Result<(), String> {
    catch_signals()?;
    let wharf = match &args.wharf {
        Some(path) => path.clone(),
        None => build_wharf(root)?,
    };
    let bare = build_bare_epoll(root)?;
    let limits = target_folder(root).join("bench-abuse.toml");
    std::fs::write(&limits, LIMITS).map_err(|e| format!("{}: {e}", limits.display()))?;
    let limits = limits.display().to_string();
    let listen = ["--listen", "127.0.0.1:0"];
    let serve = ["serve", "echo", "--workers", "1"];
    let servers = [
        Server {
            name: "bare",
            command: to_command(&bare, &listen),
        },
        Server {
            name: "wharf",
            command: to_command(&wharf, &[&serve[..], &listen].concat()),
        },
        Server {
            name: "limited",
            command: to_command(
                &wharf,
                &[&["serve", "echo", "--topology", &limits][..], &listen].concat(),
            ),
        },
    ];
    let mut attacks = Kind::value_variants().to_vec();
    let name = |kind: Kind| format!("{kind:?}").to_lowercase();
    attacks.retain(|kind| args.only.is_empty() || args.only.contains(&name(*kind)));
    let mut print =
        |text: String| writeln!(out, "{text}").map_err(|e| format!("cannot print: {e}"));
    print(format!(
        "{:<18} {:>9} {:>9} {:>7} {:>9} {:>6}  the attackers say",
        "us", "p50", "p99", "cpu %", "RSS MiB", "fds"
    ))?;
    let mut runs = Vec::new();
    for round in 0..args.rounds {
        for nth in 0..servers.len() {
            // Another order each round: what drifts within a round hits all alike.
            let server = &servers[(nth + round as usize) % servers.len()];
            for attack in std::iter::once(None).chain(attacks.iter().copied().map(Some)) {
                let run = measure(&wharf, server, attack, args.seconds)?;
                print(row(&run))?;
                runs.push(run);
            }
        }
    }
    for attack in attacks {
        print(verdict(attack, &runs))?;
    }
    Ok(())
}

/// What a studio would set for such a game: 20 frames a second each.
const LIMITS: &str = r#"
[port.main]
workers = 1
[network.game]
listen = "127.0.0.1:0"
framing = { kind = "length", prefix_bytes = 2, includes_prefix = true, frame_bytes_max = 65535 }
handshake_timeout_ms = 2000
sessions_max = 20000
connects_per_ip = { per_s = 200, burst = 200 }
input_rate = { frames_per_s = 100, when_over = "pause" }
"#;

fn measure(
    wharf: &Path,
    server: &Server,
    attack: Option<Kind>,
    seconds: f64,
) -> Result<Run, String> {
    let command = bound_to(Core::Server, &server.command)?;
    let mut running = Running::start(server.name, command)?;
    let address = running.listening_on()?;
    let load = [
        "load",
        "--connect",
        &address,
        "--json",
        "--warmup-seconds",
        "1",
    ];
    let time = seconds.to_string();
    let load = [&load[..], INNOCENTS, &["--seconds", &time]].concat();
    let mut load = Running::start(
        "wharf load",
        bound_to(Core::Server, &to_command(wharf, &load))?,
    )?;
    std::thread::sleep(HEAD_START);
    let longer = (seconds + LONGER).to_string();
    let mut attackers = match attack {
        Some(kind) => {
            let own = std::env::current_exe().map_err(|e| e.to_string())?;
            let kind = format!("{kind:?}").to_lowercase();
            let words = ["attack", &kind, "--connect", &address, "--seconds", &longer];
            let command = bound_to(Core::Load, &to_command(&own, &words))?;
            Some(Running::start("the attackers", command)?)
        }
        None => None,
    };
    let (began, before) = (Instant::now(), Usage::of(running.pid)?);
    let report = load.output(Duration::from_secs_f64(seconds) + SLACK)?;
    let used = Usage::of(running.pid)?.since(&before);
    let elapsed = began.elapsed().as_secs_f64() * 1e6;
    let (memory, descriptors) = (Memory::of(running.pid)?, descriptors(running.pid)?);
    let told = match &mut attackers {
        Some(attackers) => attackers.output(Duration::from_secs_f64(LONGER) + SLACK)?,
        None => String::new(),
    };
    running.end()?;
    let report: Value =
        serde_json::from_str(&report).map_err(|e| format!("wharf load printed no JSON: {e}"))?;
    if report["fault"] != false {
        return Err(format!(
            "an innocent session lost: {}",
            report["first_fault"]
        ));
    }
    let latency = |name: &str| {
        let number = report["latency_us"][name].as_f64();
        number.ok_or_else(|| format!("no {name} in the report"))
    };
    Ok(Run {
        server: server.name,
        attack,
        p50: latency("p50")?,
        p99: latency("p99")?,
        cpu_share: used.cpu_us / elapsed,
        resident: memory.resident / f64::from(1 << 20),
        descriptors,
        told: told.trim().to_owned(),
    })
}

fn row(run: &Run) -> String {
    let what = run.attack.map_or("quiet".to_owned(), |kind| {
        format!("{kind:?}").to_lowercase()
    });
    format!(
        "{:<8}{:<10} {:>9.0} {:>9.0} {:>7.0} {:>9.1} {:>6}  {}",
        run.server,
        what,
        run.p50,
        run.p99,
        run.cpu_share * 100.0,
        run.resident,
        run.descriptors,
        run.told
    )
}

/// The p99 of the innocents: attacked against quiet, and against the bare loop under the same.
fn verdict(attack: Kind, runs: &[Run]) -> String {
    let p99 = |server: &str, attack: Option<Kind>| -> Vec<f64> {
        let of = runs
            .iter()
            .filter(|run| run.server == server && run.attack == attack);
        of.map(|run| run.p99).collect()
    };
    let bare = p99("bare", Some(attack));
    let mut lines = vec![format!(
        "{attack:?}: p99 of the innocents, median of the rounds"
    )];
    for server in ["bare", "wharf", "limited"] {
        let (quiet, attacked) = (p99(server, None), p99(server, Some(attack)));
        let ratio = |to: &[f64]| {
            let of = |drawn: &[usize]| {
                median(
                    &drawn
                        .iter()
                        .map(|&n| attacked[n] / to[n])
                        .collect::<Vec<_>>(),
                )
            };
            bootstrap(attacked.len(), of).map_or("none".to_owned(), |ratio| {
                format!(
                    "{:.2} [{:.2} .. {:.2}]",
                    ratio.middle, ratio.low, ratio.high
                )
            })
        };
        lines.push(format!(
            "  {server:<8} {:>7.0} us, quiet {:>6.0}: {} times; of bare's: {} times",
            median(&attacked),
            median(&quiet),
            ratio(&quiet),
            ratio(&bare)
        ));
    }
    lines.join("\n")
}
