//! The parts of `cargo xtask windows`: what is run, in which order, and what came of it.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::home::{Home, TRIPLE};
use super::report::Report;
use super::session::Session;
use super::toolchain::{self, Use};
use super::wine::Wine;
use super::{crash, group, packages, serving, suites, talk, wine10};
use crate::process::catch_signals;

/// Build, lint, test and run wharf for Windows, on Linux by Wine
///
/// Installs what is missing (Debian packages, as root), builds Rust's standard library for Windows
/// and a Wine prefix once, and keeps them in the folder that WHARF_WINDOWS_HOME names
/// [default: wharf-windows in the user's cache folder].
#[derive(Args)]
pub(crate) struct WindowsArgs {
    /// Parts to run [default: all of them]
    #[arg(value_enum, value_name = "PART")]
    parts: Vec<Part>,

    /// Seconds of the part stress [default: 60, or 10 if all parts run]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=240))]
    stress_seconds: Option<u32>,

    /// Use the Wine 10 of Debian 13, in a chroot that is made the first time (2 GB; needs root)
    #[arg(long)]
    wine10: bool,

    /// Set by --wine10 for the run in the chroot's namespaces
    #[arg(long, hide = true)]
    inside_wine10: bool,

    /// For the part test: more arguments of `cargo test`
    #[arg(last = true, value_name = "ARG")]
    test: Vec<String>,
}

/// A part, in the order in which they run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
enum Part {
    /// Install what is missing; build std and the Wine prefix if they are not there
    Prepare,
    /// Build the library, the program, examples and tests
    Build,
    /// Lints, a warning is an error
    Clippy,
    /// Crash on purpose, to see that no crash passes for a good end
    Crash,
    /// All tests of the library and of the program
    Test,
    /// `wharf demo` under the default and each sample layout: no frame lost
    Demo,
    /// Programs of the two systems serve each other, every frame accounted for
    Talk,
    /// Checked echo over 200 connections that end in every way; no frame and no handle is lost
    Stress,
}

/// No command of cargo takes longer.
const CARGO_LIMIT: Duration = Duration::from_secs(1200);

/// The part stress by itself, and among all parts.
const STRESS_SECONDS: u32 = 60;
const STRESS_SECONDS_OF_ALL: u32 = 10;

/// What is built and tested.
const PACKAGES: [&str; 5] = ["--locked", "--package", "wharf", "--package", "wharf-cli"];

/// Runs the parts; prints a line for each to `out`, and what they print themselves goes where
/// ours goes.
///
/// # Errors
/// When a part fails, can't be started, or somebody wants to stop.
pub(crate) fn run(root: &Path, args: &WindowsArgs, out: &mut dyn Write) -> Result<(), String> {
    catch_signals()?;
    let home = Home::of(root)?;
    let mut report = Report::new("windows", out);
    if args.inside_wine10 {
        // Who started this holds the lock and has made everything but the prefix.
        let mut wine = None;
        let prepared = report.part("prefix", || {
            let inside = wine.insert(wine10::enter(&home)?);
            inside.prepare(&home)?;
            inside.version()
        })?;
        if let Some(wine) = wine.filter(|_| prepared) {
            run_in_session(&home, wine, args, &mut report)?;
        }
        return report.close();
    }
    let _lock = home.lock()?;
    let wine = Wine::of_this_machine(&home);
    let mut prepared = report.part("prepare", || prepare(&home, &wine))?;
    if args.wine10 && prepared {
        prepared = report.part("chroot", || {
            wine10::prepare(&home).map(|()| home.wine10().display().to_string())
        })?;
    }
    if args.wine10 && prepared {
        wine10::run_inside(&home, &args.again())?;
    } else if prepared {
        run_in_session(&home, wine, args, &mut report)?;
    }
    report.close()
}

impl WindowsArgs {
    /// The arguments for the run inside.
    fn again(&self) -> Vec<String> {
        let parts = self.parts.iter().map(|part| name(*part));
        let stress = format!("--stress-seconds={}", self.stress_seconds());
        let test = self.test.iter().cloned();
        let separator = (!self.test.is_empty()).then(|| "--".to_owned());
        parts.chain([stress]).chain(separator).chain(test).collect()
    }

    fn stress_seconds(&self) -> u32 {
        let usual = if self.parts.is_empty() {
            STRESS_SECONDS_OF_ALL
        } else {
            STRESS_SECONDS
        };
        self.stress_seconds.unwrap_or(usual)
    }
}

/// As it is written on the command line.
fn name(part: Part) -> String {
    part.to_possible_value()
        .map_or_else(String::new, |value| value.get_name().to_owned())
}

/// All that is made once. Returns what there is.
fn prepare(home: &Home, wine: &Wine) -> Result<String, String> {
    packages::install_compiler()?;
    packages::install(packages::WINDOWS)?;
    toolchain::sysroot(home, TRIPLE, Use::Link)?;
    wine.prepare(home)?;
    Ok(format!("{}, in {}", wine.version()?, home.kept.display()))
}

fn run_in_session(
    home: &Home,
    wine: Wine,
    args: &WindowsArgs,
    report: &mut Report<'_>,
) -> Result<(), String> {
    let session = Session::start(wine)?;
    for part in Part::value_variants() {
        let is_asked_for = args.parts.is_empty() || args.parts.contains(part);
        if *part != Part::Prepare && is_asked_for {
            let name = part
                .to_possible_value()
                .map_or_else(String::new, |v| v.get_name().into());
            report.part(&name, || run_part(*part, home, &session.wine, args))?;
        }
    }
    report.part("end", || session.end().map(|()| "no process left"))?;
    Ok(())
}

/// Returns a word about what was done.
fn run_part(part: Part, home: &Home, wine: &Wine, args: &WindowsArgs) -> Result<String, String> {
    match part {
        Part::Prepare => Ok(String::new()),
        Part::Build => build(home).map(|()| TRIPLE.into()),
        Part::Clippy => clippy(home).map(|()| "no warning".into()),
        Part::Crash => crash::run(home, wine).map(|n| format!("{n} crashes, none gave 0")),
        Part::Test => test(home, wine, &args.test),
        Part::Demo => demo(home, wine),
        Part::Stress => stress(home, wine, args.stress_seconds()),
        Part::Talk => build(home).and_then(|()| talk::run(home, wine)),
    }
}

fn build(home: &Home) -> Result<(), String> {
    let mut cargo = toolchain::cargo_for(home, TRIPLE, &[]);
    cargo.args(["test", "--no-run"]).args(PACKAGES);
    group::run("cargo test --no-run", &mut cargo, CARGO_LIMIT)
}

/// A lint of Debian's clippy that is wrong where std does not come from rustup: it asks for `const`
/// in front of blocks that have it. Allowed here alone, so that no other compiler is told of it.
const WRONG_LINT: &str = "clippy::missing_const_for_thread_local";

fn clippy(home: &Home) -> Result<(), String> {
    let mut clippy = toolchain::clippy_for(home, TRIPLE);
    clippy.args(["--workspace", "--locked", "--all-targets", "--all-features"]);
    clippy.args(["--", "-D", "warnings", "-A", WRONG_LINT]);
    group::run("cargo clippy", &mut clippy, CARGO_LIMIT)
}

/// All tests in many processes, or what `more` says by cargo's own way.
fn test(home: &Home, wine: &Wine, more: &[String]) -> Result<String, String> {
    let operator = serving::operator(home)?;
    let by_cargo = |args: &[&str], more: &[String]| {
        let mut cargo = toolchain::cargo_for(home, TRIPLE, &wine.runner());
        cargo.args(["test", "--no-fail-fast"]);
        cargo.args(PACKAGES).args(args).args(more);
        wine.set_up(&mut cargo);
        cargo.env(suites::OPERATOR, &operator);
        group::run("cargo test", &mut cargo, CARGO_LIMIT)
    };
    if !more.is_empty() {
        return by_cargo(&[], more).map(|()| String::new());
    }
    let tests = suites::run(home, wine, &PACKAGES, &operator)?;
    by_cargo(&["--doc"], &[])?;
    Ok(format!("{tests}, and those in the docs"))
}

fn stress(home: &Home, wine: &Wine, seconds: u32) -> Result<String, String> {
    let mut cargo = toolchain::cargo_for(home, TRIPLE, &wine.runner());
    // Both packages: one alone has other features, and all would be built again.
    cargo.arg("test").args(PACKAGES);
    cargo
        .args(["--test", "stress", "--", "--nocapture"])
        .env("WHARF_STRESS_SECONDS", seconds.to_string());
    wine.set_up(&mut cargo);
    group::run("the stress test", &mut cargo, CARGO_LIMIT)?;
    Ok(format!("{seconds} s"))
}

/// As long as the demo of `.ci/run` that runs on this system.
const DEMO_SECONDS: &str = "3";
const DEMO_LIMIT: Duration = Duration::from_secs(60);

fn demo(home: &Home, wine: &Wine) -> Result<String, String> {
    build(home)?;
    let program = home.program("debug", "wharf");
    let play = |more: &[&str]| {
        let mut demo = wine.run(&program);
        demo.args(["demo", "--seconds"])
            .args(more)
            .current_dir(&home.root);
        group::run("wharf.exe demo", &mut demo, DEMO_LIMIT)
    };
    play(&[DEMO_SECONDS])?;
    let mut layouts = 0;
    let folder = home.root.join("topologies");
    let files = std::fs::read_dir(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    for file in files {
        let file = file.map_err(|e| e.to_string())?.path();
        play(&["1", "--topology", &file.display().to_string()])
            .map_err(|e| format!("{}: {e}", file.display()))?;
        layouts += 1;
    }
    Ok(format!("the default and {layouts} layouts, no frame lost"))
}
