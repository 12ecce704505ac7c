//! `bench-instructions`: what a frame costs in user space, counted and not timed.
//!
//! Both servers run the same number of frames twice, few and many; what the longer run has more is
//! the frames' own. The batches are as large as the load allows, because under callgrind the load
//! is always there first: both sides wait for the kernel equally often.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;

use super::callgrind::{Counts, Profile};
use super::load::{Load, Shape};
use super::{Candidate, Programs, Setup};
use crate::process::catch_signals;

/// Where the recorded counts are.
const RECORD: &str = "benches/instructions.toml";
/// A count this much above the recorded one is a failure.
const GROWTH_MAX: f64 = 1.05;
/// Counts of each side, of which the least is told.
const COUNTS: usize = 3;
/// The shorter run has this part of the frames.
const SHORT_PART: u64 = 5;
/// For the load's own end, if the server never answers.
const SECONDS_MAX: f64 = 240.0;

/// Count the user-space instructions of an echoed frame, with callgrind
///
/// The program's own instructions: the C library's are left out, because the processor decides
/// which of its memcpy runs. Beside them: bus-locking instructions (atomic read-modify-writes).
#[derive(Args)]
pub(crate) struct InstructionsArgs {
    /// Frames in flight per connection
    #[arg(long, value_delimiter = ',', default_values_t = [1, 16])]
    depth: Vec<u32>,

    /// Frames of each of the 64 connections
    #[arg(long, default_value_t = 1000)]
    #[arg(value_parser = clap::value_parser!(u64).range(SHORT_PART..))]
    frames: u64,

    /// Functions to show, those with the most instructions first
    #[arg(long, default_value_t = 12)]
    functions: usize,

    /// Fail if wharf needs over 5 % more than benches/instructions.toml says; count nothing else
    #[arg(long, conflicts_with = "record")]
    check: bool,

    /// Write what wharf needs to benches/instructions.toml
    #[arg(long)]
    record: bool,

    #[command(flatten)]
    programs: Programs,
}

/// What one side needs for a frame.
struct Needs {
    frames: f64,
    profile: Profile,
}

/// Counts, prints to `out`, and compares with the record if told to.
///
/// # Errors
/// When a program cannot be built or started, a frame is lost, the run is interrupted, or (with
/// `--check`) a count has grown.
pub(crate) fn run(root: &Path, args: &InstructionsArgs, out: &mut dyn Write) -> Result<(), String> {
    catch_signals()?;
    let mut setup = args.programs.prepare(root)?;
    // Not what `auto` would take on this kernel: the counts are to mean the same everywhere.
    let backend = ["--backend", "epoll"].map(str::to_owned);
    setup.subject.command.extend(backend);
    let mut print =
        |text: String| writeln!(out, "{text}").map_err(|e| format!("cannot print: {e}"));
    let record = root.join(RECORD);
    let before = if args.check {
        read_record(&record)?
    } else {
        toml::Table::new()
    };
    let (mut counted, mut grown) = (Vec::new(), Vec::new());
    for &depth in &args.depth {
        let needs = count(&setup.subject, &setup, depth, args.frames)?;
        let total = needs.per_frame(needs.profile.total());
        print(format!("depth {depth}"))?;
        print(needs.line(setup.subject.name))?;
        if args.check {
            let allowed = Allowed::of(&before, depth)?;
            print(allowed.line())?;
            grown.extend(allowed.exceeded_by(total, depth));
            continue;
        }
        let base = count(&setup.base, &setup, depth, args.frames)?;
        print(base.line(setup.base.name))?;
        for row in needs.functions(args.functions) {
            print(row)?;
        }
        counted.push((depth, total));
    }
    if args.record {
        std::fs::write(&record, record_text(&counted)?)
            .map_err(|e| format!("{}: {e}", record.display()))?;
        print(format!("recorded in {RECORD}"))?;
    }
    if grown.is_empty() {
        Ok(())
    } else {
        Err(grown.join("\n"))
    }
}

/// The least of some counts: on a busy machine the server waits more often, and serves fewer frames
/// at a time.
fn count(side: &Candidate, setup: &Setup, depth: u32, frames: u64) -> Result<Needs, String> {
    let mut least = count_once(side, setup, depth, frames)?;
    for _ in 1..COUNTS {
        let other = count_once(side, setup, depth, frames)?;
        let of = |needs: &Needs| needs.per_frame(needs.profile.total());
        if of(&other) < of(&least) {
            least = other;
        }
    }
    Ok(least)
}

/// Runs few frames and many, and returns what the many have more.
fn count_once(side: &Candidate, setup: &Setup, depth: u32, frames: u64) -> Result<Needs, String> {
    let one = |frames: u64| {
        let shape = Shape {
            connections: 64,
            depth,
            size: 64,
            seconds: SECONDS_MAX,
        };
        let load = Load {
            program: setup.load.clone(),
            shape,
            frames: Some(frames),
        };
        Profile::of(side, &load)
    };
    let (short, few) = one(frames / SHORT_PART)?;
    let (long, many) = one(frames)?;
    Ok(Needs {
        frames: many - few,
        profile: long.beyond(&short),
    })
}

/// Instructions, locked ones and calls of a frame.
type PerFrame = [f64; 3];

impl Needs {
    fn per_frame(&self, counts: Counts) -> PerFrame {
        [counts.instructions, counts.locked, counts.calls].map(|n| n as f64 / self.frames)
    }

    fn line(&self, name: &str) -> String {
        let [instructions, locked, _] = self.per_frame(self.profile.total());
        format!("{name:>8}: {instructions:8.1} instructions a frame, {locked:6.2} of them locked")
    }

    /// The functions with the most instructions, a line each.
    fn functions(&self, most: usize) -> Vec<String> {
        let mut all: Vec<_> = self.profile.0.iter().collect();
        all.sort_by_key(|(_, counts)| std::cmp::Reverse(counts.instructions));
        let lines = all.into_iter().take(most).map(|(name, counts)| {
            let [instructions, locked, calls] = self.per_frame(*counts);
            format!("{instructions:>10.1} {locked:>7.2} locked {calls:>6.2} calls  {name}")
        });
        lines.collect()
    }
}

/// What the record allows.
struct Allowed {
    instructions: f64,
    locked: f64,
}

impl Allowed {
    fn of(record: &toml::Table, depth: u32) -> Result<Self, String> {
        let name = format!("depth_{depth}");
        let number = |key: &str| {
            let value = record.get(&name).and_then(|table| table.get(key));
            let missing = || format!("{RECORD} has no number `{name}.{key}`: run with --record");
            value.and_then(toml::Value::as_float).ok_or_else(missing)
        };
        Ok(Self {
            instructions: number("instructions")?,
            locked: number("locked")?,
        })
    }

    fn line(&self) -> String {
        let Self {
            instructions,
            locked,
        } = self;
        format!("recorded: {instructions:8.1} instructions a frame, {locked:6.2} of them locked")
    }

    /// What has grown, in words.
    fn exceeded_by(&self, [instructions, locked, _]: PerFrame, depth: u32) -> Vec<String> {
        let pairs = [
            ("instructions", self.instructions, instructions),
            ("locked instructions", self.locked, locked),
        ];
        let grown = pairs
            .into_iter()
            .filter(|(_, was, is)| *is > was * GROWTH_MAX);
        grown
            .map(|(what, was, is)| {
                format!(
                    "depth {depth}: {is:.2} {what} a frame, recorded {was:.2}: over {GROWTH_MAX} \
                     times; make it cheaper, or say why in the commit and run with --record"
                )
            })
            .collect()
    }
}

fn read_record(file: &PathBuf) -> Result<toml::Table, String> {
    let text = std::fs::read_to_string(file).map_err(|e| format!("{}: {e}", file.display()))?;
    text.parse().map_err(|e| format!("{}: {e}", file.display()))
}

fn record_text(counted: &[(u32, PerFrame)]) -> Result<String, String> {
    let rustc = std::process::Command::new("rustc")
        .arg("--version")
        .output()
        .map_err(|e| format!("rustc: {e}"))?;
    let rustc = String::from_utf8_lossy(&rustc.stdout);
    let mut text = format!(
        "# User-space instructions of an echoed frame (64 connections, 64 bytes, one worker), and\n\
         # how many of them lock the bus. Written by `cargo xtask bench-instructions --record`;\n\
         # CI fails above 1.05 times these.\n\
         rustc = \"{}\"\n",
        rustc.trim()
    );
    for (depth, [instructions, locked, _]) in counted {
        text +=
            &format!("\n[depth_{depth}]\ninstructions = {instructions:.1}\nlocked = {locked:.2}\n");
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_above_a_twentieth_is_told() {
        let text = record_text(&[(1, [400.04, 10.0, 3.0])]).expect("there is a rustc");
        let record: toml::Table = text.parse().expect("what was written can be read");
        let allowed = Allowed::of(&record, 1).expect("depth 1 is in it");
        assert!(allowed.exceeded_by([419.0, 10.4, 0.0], 1).is_empty());
        let grown = allowed.exceeded_by([421.0, 10.6, 0.0], 1);
        assert_eq!(grown.len(), 2, "{grown:?}");
        assert!(grown[0].contains("421.00 instructions"), "{grown:?}");
        let missing = Allowed::of(&record, 16).err().expect("depth 16 is not");
        assert!(missing.contains("depth_16"), "{missing}");
    }

    #[test]
    fn the_most_expensive_functions_come_first() {
        let counts = |instructions| Counts {
            instructions,
            locked: 20,
            calls: 5,
        };
        let named = [("a", 10), ("b", 300), ("c", 20)];
        let profile = Profile(named.map(|(name, n)| (name.to_owned(), counts(n))).into());
        let needs = Needs {
            frames: 10.0,
            profile,
        };
        let rows = needs.functions(2);
        assert_eq!(rows.len(), 2);
        assert!(
            rows[0].contains("30.0") && rows[0].ends_with("b"),
            "{rows:?}"
        );
        assert!(
            needs
                .line("x")
                .contains("33.0 instructions a frame,   6.00")
        );
    }
}
