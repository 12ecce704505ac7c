//! `bench-echo`: two servers under the same echo load, in interleaved rounds.
//!
//! A machine's speed drifts by more than the differences of interest, so only the two runs of one
//! round are compared, their order changes from round to round (A B, B A, ..), and the result is
//! the median of the rounds' ratios.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use super::load::{Load, LoadReport, Shape};
use super::stats::{bootstrap, median};
use super::usage::Usage;
use super::{Candidate, Programs, syscalls};
use crate::process::{Core, Running, bound_to, catch_signals};

/// Compare the server CPU of a wharf frame with that of a bare epoll loop
///
/// One worker on the first core, `wharf load` on the second, a fresh server for each run.
#[derive(Args)]
pub(crate) struct EchoArgs {
    /// Rounds; each runs both servers once
    #[arg(long, default_value_t = 11, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,

    #[command(flatten)]
    shape: Shape,

    /// Count system calls a frame with strace (one short run each) instead of measuring time
    #[arg(long)]
    syscalls: bool,

    /// Write the rounds as JSON to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    #[command(flatten)]
    programs: Programs,
}

/// One run of one server.
#[derive(Clone, Copy, Debug)]
struct Run {
    load: LoadReport,
    used: Usage,
}

/// A number that is printed for each run, and compared.
struct Column {
    name: &'static str,
    decimals: usize,
    /// The number is this ..
    of: fn(&Run) -> f64,
    /// .. divided by this.
    per: fn(&Run) -> f64,
    /// All rounds are added up before dividing, instead of taking the median of the rounds: for
    /// what the kernel only samples, and one round is too short for.
    pooled: bool,
}

const fn column(
    name: &'static str,
    decimals: usize,
    of: fn(&Run) -> f64,
    per: fn(&Run) -> f64,
) -> Column {
    Column {
        name,
        decimals,
        of,
        per,
        pooled: false,
    }
}

const FRAMES: fn(&Run) -> f64 = |r| r.load.frames;
const ONE: fn(&Run) -> f64 = |_| 1.0;

const COLUMNS: &[Column] = &[
    column("cpu us/frame", 3, |r| r.used.cpu_us, FRAMES),
    Column {
        pooled: true,
        ..column("user us/frame", 3, |r| r.used.user_us, FRAMES)
    },
    column("frames/s", 0, |r| r.load.frames_per_second, ONE),
    column("p50 us", 1, |r| r.load.p50_us, ONE),
    column("p99 us", 1, |r| r.load.p99_us, ONE),
    column("vol sw/frame", 4, |r| r.used.voluntary_switches, FRAMES),
    column("invol sw/frame", 4, |r| r.used.involuntary_switches, FRAMES),
];

impl Column {
    fn value(&self, run: &Run) -> f64 {
        (self.of)(run) / (self.per)(run)
    }

    /// The number for one side over these rounds.
    fn middle<'a>(&self, runs: impl Iterator<Item = &'a Run>) -> f64 {
        if self.pooled {
            let (of, per) = runs.fold((0.0, 0.0), |(a, b), r| {
                (a + (self.of)(r), b + (self.per)(r))
            });
            return of / per;
        }
        median(&runs.map(|run| self.value(run)).collect::<Vec<_>>())
    }

    /// The first side's number divided by the second's over these rounds, paired.
    fn ratio(&self, rounds: &[&[Run; 2]]) -> f64 {
        if self.pooled {
            let side = |n: usize| self.middle(rounds.iter().map(|pair| &pair[n]));
            return side(0) / side(1);
        }
        let ratios = rounds.iter().map(|[a, b]| self.value(a) / self.value(b));
        median(&ratios.collect::<Vec<_>>())
    }
}

/// Runs the comparison and prints to `out`.
///
/// # Errors
/// When a program cannot be built or started, loses a frame, or the run is interrupted.
pub(crate) fn run(root: &Path, args: &EchoArgs, out: &mut dyn Write) -> Result<(), String> {
    catch_signals()?;
    let setup = args.programs.prepare(root)?;
    let load = Load {
        program: setup.load.clone(),
        shape: args.shape.clone(),
        frames: None,
    };
    let sides = [&setup.subject, &setup.base];
    if args.syscalls {
        for side in sides {
            line(out, &syscalls::count(side, &load)?)?;
        }
        return Ok(());
    }
    line(out, &load.describe())?;
    line(out, &heading())?;
    let mut rounds = Vec::new();
    for round in 0..args.rounds {
        let mut runs = [None, None];
        for turn in 0..2 {
            // A B, then B A: what drifts within a round hits both sides alike.
            let side = usize::from((round + turn) % 2 == 1);
            let run = measure(sides[side], &load)?;
            line(
                out,
                &row(&format!("{:>3}  {}", round + 1, sides[side].name), |c| {
                    c.value(&run)
                }),
            )?;
            runs[side] = Some(run);
        }
        let [Some(subject), Some(base)] = runs else {
            continue;
        };
        rounds.push([subject, base]);
    }
    line(out, &summary(sides, &rounds))?;
    if let Some(file) = &args.json {
        let text = raw(sides, &load, &rounds).to_string();
        std::fs::write(file, text).map_err(|e| format!("{}: {e}", file.display()))?;
    }
    Ok(())
}

fn line(out: &mut dyn Write, text: &str) -> Result<(), String> {
    writeln!(out, "{text}").map_err(|e| format!("cannot print: {e}"))
}

/// Starts the server, puts the load on it, and reads what it used in between.
fn measure(candidate: &Candidate, load: &Load) -> Result<Run, String> {
    let command = bound_to(Core::Server, &candidate.command)?;
    let mut server = Running::start(candidate.name, command)?;
    let address = server.listening_on()?;
    let before = Usage::of(server.pid)?;
    let report = load.run(&address)?;
    let used = Usage::of(server.pid)?.since(&before);
    server.end()?;
    Ok(Run { load: report, used })
}

const NAME_WIDTH: usize = 16;

fn heading() -> String {
    let columns: Vec<String> = COLUMNS.iter().map(|c| format!("{:>14}", c.name)).collect();
    format!("{:<NAME_WIDTH$}{}", "round", columns.join(" "))
}

/// One line of the table: the number that `of` gives for each column.
fn row(name: &str, of: impl Fn(&Column) -> f64) -> String {
    let cell = |c: &Column| format!("{:>14}", format!("{:.1$}", of(c), c.decimals));
    let cells: Vec<String> = COLUMNS.iter().map(cell).collect();
    format!("{name:<NAME_WIDTH$}{}", cells.join(" "))
}

/// The numbers of both sides over all rounds, then the paired ratios with their intervals.
fn summary(sides: [&Candidate; 2], rounds: &[[Run; 2]]) -> String {
    let count = rounds.len();
    let mut lines = vec![format!(
        "median of {count} rounds (user us/frame: all rounds together)"
    )];
    for (side, candidate) in sides.iter().enumerate() {
        let middle = |c: &Column| c.middle(rounds.iter().map(|pair| &pair[side]));
        lines.push(row(&format!("     {}", candidate.name), middle));
    }
    let [subject, base] = sides.map(|side| side.name);
    lines.push(format!(
        "paired ratio {subject} / {base} [95 % bootstrap interval]"
    ));
    for column in COLUMNS {
        let pick = |drawn: &[usize]| drawn.iter().map(|&n| &rounds[n]).collect::<Vec<_>>();
        let ratio = bootstrap(count, |drawn| column.ratio(&pick(drawn)));
        let text = ratio.map_or_else(
            || "none: the other side is 0".into(),
            |r| {
                format!(
                    "{} [{} .. {}]",
                    known(r.middle),
                    known(r.low),
                    known(r.high)
                )
            },
        );
        lines.push(format!("     {:<15} {text}", column.name));
    }
    lines.join("\n")
}

/// A ratio with three decimals. Where some rounds of the other side are 0, an end of the interval
/// may be no number.
fn known(ratio: f64) -> String {
    if ratio.is_finite() {
        format!("{ratio:.3}")
    } else {
        "?".into()
    }
}

fn raw(sides: [&Candidate; 2], load: &Load, rounds: &[[Run; 2]]) -> Value {
    let run = |run: &Run| {
        json!({
            "frames": run.load.frames,
            "frames_per_second": run.load.frames_per_second,
            "p50_us": run.load.p50_us,
            "p99_us": run.load.p99_us,
            "server_cpu_us": run.used.cpu_us,
            "server_user_us": run.used.user_us,
            "server_voluntary_switches": run.used.voluntary_switches,
            "server_involuntary_switches": run.used.involuntary_switches,
        })
    };
    let rounds: Vec<Value> = rounds
        .iter()
        .map(|[subject, base]| json!([run(subject), run(base)]))
        .collect();
    json!({
        "sides": sides.map(|side| json!({ "name": side.name, "command": side.command })),
        "load": load.shape_args(),
        "rounds": rounds,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(name: &'static str) -> Candidate {
        Candidate {
            name,
            command: vec![name.into()],
        }
    }

    fn made_up(cpu_us: f64) -> Run {
        let load = LoadReport {
            frames: 1000.0,
            frames_per_second: 500.0,
            p50_us: 1.5,
            p99_us: 9.0,
        };
        Run {
            load,
            used: Usage {
                cpu_us,
                ..Usage::default()
            },
        }
    }

    #[test]
    fn the_summary_has_medians_and_paired_ratios() {
        // The machine gets slower, the ratio stays: pairs must not be mixed.
        let rounds: Vec<[Run; 2]> = (1..=9)
            .map(|n| {
                [
                    made_up(3000.0 * f64::from(n)),
                    made_up(2000.0 * f64::from(n)),
                ]
            })
            .collect();
        let (wharf, bare) = (candidate("wharf"), candidate("bare"));
        let text = summary([&wharf, &bare], &rounds);
        assert!(
            text.contains("cpu us/frame    1.500 [1.500 .. 1.500]"),
            "{text}"
        );
        assert!(text.contains("wharf") && text.contains("15.000"), "{text}");
        assert!(text.contains("user us/frame   none"), "{text}");
        assert_eq!(known(f64::INFINITY) + &known(f64::NAN), "??");
    }

    #[test]
    fn raw_rounds_hold_both_sides() {
        let shape = Shape {
            connections: 2,
            depth: 1,
            size: 64,
            seconds: 0.5,
        };
        let load = Load {
            program: "wharf".into(),
            shape,
            frames: None,
        };
        let (wharf, bare) = (candidate("wharf"), candidate("bare"));
        let value = raw([&wharf, &bare], &load, &[[made_up(3.0), made_up(2.0)]]);
        assert_eq!(value["rounds"][0][0]["server_cpu_us"], 3.0);
        assert_eq!(value["sides"][1]["name"], "bare");
        assert_eq!(value["load"][7], "0.5");
    }
}
