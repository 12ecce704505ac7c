//! `cargo xtask mutants`: breaks key lines, one at a time, in a copy of the tree, and shows that
//! the model, the seeds or the soak which are there for them fail.

mod table;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};

use table::{Check, Mutant};

/// Breaks key lines of the core one by one, and shows that a check fails for each
#[derive(clap::Args)]
pub(crate) struct MutantsArgs {
    /// Only those whose name has this in it
    #[arg(long)]
    only: Option<String>,
    /// Only those from the one of this name on
    #[arg(long)]
    from: Option<String>,
    /// Folder for the copy of the tree and what is built of it: one for each run at a time
    #[arg(long, value_name = "DIR", default_value = "target/mutants")]
    folder: PathBuf,
    /// Only run the checks on the unbroken tree
    #[arg(long)]
    unbroken: bool,
}

/// A check that takes longer hangs, and hanging is failing.
const SECONDS_MAX: &str = "600";

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Passes,
    Fails,
    Hangs,
    /// The mutant does not even compile: the table is wrong.
    NoBuild,
}

/// # Errors
/// A mutant was not caught, or its line is not there any more.
pub(crate) fn mutants(root: &Path, args: &MutantsArgs, out: &mut impl Write) -> Result<(), String> {
    let tree = root.join(&args.folder).join("tree");
    copy(root, &tree)?;
    if args.unbroken {
        return unbroken(&tree, args, out);
    }
    let mut missed = Vec::new();
    for mutant in chosen(args)? {
        let began = Instant::now();
        let (verdict, by) = one(&tree, &mutant)?;
        let caught = matches!(verdict, Verdict::Fails | Verdict::Hangs);
        let (name, took) = (mutant.name, began.elapsed().as_secs());
        let check = mutant.check.to_string();
        say(out, &format!("{name:46} {check:34} {verdict:?}, {took} s"))?;
        if !by.is_empty() {
            say(out, &format!("    {by}"))?;
        }
        if !caught {
            missed.push(name);
        }
    }
    if missed.is_empty() {
        return Ok(());
    }
    Err(format!("not caught: {}", missed.join(", ")))
}

fn say(out: &mut impl Write, line: &str) -> Result<(), String> {
    writeln!(out, "{line}")
        .and_then(|()| out.flush())
        .map_err(|e| e.to_string())
}

fn chosen(args: &MutantsArgs) -> Result<Vec<Mutant>, String> {
    let mut mutants = table::mutants()?;
    let only = args.only.as_deref().unwrap_or_default();
    mutants.retain(|mutant| mutant.name.contains(only));
    if let Some(from) = &args.from {
        let first = mutants.iter().position(|mutant| mutant.name == from);
        mutants.drain(..first.ok_or_else(|| format!("no mutant is named {from:?}"))?);
    }
    Ok(mutants)
}

fn unbroken(tree: &Path, args: &MutantsArgs, out: &mut impl Write) -> Result<(), String> {
    let mut checks: Vec<_> = chosen(args)?.iter().map(|mutant| mutant.check).collect();
    checks.sort_by_key(ToString::to_string);
    checks.dedup_by_key(|check| check.to_string());
    for check in checks {
        let (verdict, by) = run(tree, check)?;
        say(out, &format!("unbroken: {check}: {verdict:?} {by}"))?;
        if verdict != Verdict::Passes {
            return Err(format!("{check} fails on the unbroken tree"));
        }
    }
    Ok(())
}

/// What is committed or changed here; what git does not know is not copied.
fn copy(root: &Path, tree: &Path) -> Result<(), String> {
    fs::create_dir_all(tree).map_err(|e| format!("{}: {e}", tree.display()))?;
    let list = Command::new("git")
        .current_dir(root)
        .args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ])
        .output()
        .map_err(|e| format!("git: {e}"))?;
    let names = String::from_utf8_lossy(&list.stdout).into_owned();
    for name in names.split('\0').filter(|name| !name.is_empty()) {
        let (from, to) = (root.join(name), tree.join(name));
        let Ok(text) = fs::read(&from) else { continue };
        // A file that is as it was keeps its time, so that nothing is built again for it.
        if fs::read(&to).is_ok_and(|old| old == text) {
            continue;
        }
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder).map_err(|e| e.to_string())?;
        }
        fs::write(&to, text).map_err(|e| format!("{}: {e}", to.display()))?;
    }
    Ok(())
}

/// Breaks the line, runs the check, mends the line.
fn one(tree: &Path, mutant: &Mutant) -> Result<Ended, String> {
    let path = tree.join("crates/wharf/src").join(mutant.file);
    let text = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    let count = text.matches(&mutant.line).count();
    if count != 1 {
        return Err(format!(
            "{}: its line stands {count} times in {}: change the table",
            mutant.name, mutant.file
        ));
    }
    let broken = text.replacen(&mutant.line, &mutant.broken, 1);
    fs::write(&path, broken).map_err(|e| e.to_string())?;
    let ended = run(tree, mutant.check);
    fs::write(&path, text).map_err(|e| e.to_string())?;
    if matches!(ended, Ok((Verdict::NoBuild, _))) {
        return Err(format!(
            "{}: does not compile: change the table",
            mutant.name
        ));
    }
    ended
}

/// A verdict, and which test failed, or of what the soak complains.
type Ended = (Verdict, String);

/// Builds the check, then runs it until its first test fails.
fn run(tree: &Path, check: Check) -> Result<Ended, String> {
    let timed = cargo_test(tree, check, &["timeout", SECONDS_MAX]);
    let (Some(mut build), Some(mut test)) = (cargo_test(tree, check, &[]), timed) else {
        return soak(tree, check);
    };
    build.arg("--no-run").stderr(Stdio::null());
    if !build.status().map_err(|e| format!("cargo: {e}"))?.success() {
        return Ok((Verdict::NoBuild, String::new()));
    }
    test.stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = test.spawn().map_err(|e| format!("cargo: {e}"))?;
    let lines = child.stdout.take().into_iter();
    let mut ran = false;
    for line in lines.flat_map(|out| BufReader::new(out).lines()) {
        let line = line.unwrap_or_default();
        ran |= line.starts_with("running ") && !line.starts_with("running 0 ");
        let failed = line.strip_prefix("test ");
        if let Some(name) = failed.and_then(|line| line.strip_suffix(" ... FAILED")) {
            // The other models of its file may take minutes yet. The signal goes on to all of them.
            let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
            let _ = pid.map(|pid| kill_process(pid, Signal::TERM));
            child.wait().map_err(|e| format!("cargo: {e}"))?;
            return Ok((Verdict::Fails, name.to_owned()));
        }
    }
    let status = child.wait().map_err(|e| format!("cargo: {e}"))?;
    let verdict = match status.code() {
        _ if !ran => Verdict::NoBuild,
        Some(0) => Verdict::Passes,
        Some(124) => Verdict::Hangs,
        _ => Verdict::Fails,
    };
    Ok((verdict, String::new()))
}

/// `cargo test` of the check, behind these words; `None` if it is no test.
fn cargo_test(tree: &Path, check: Check, before: &[&str]) -> Option<Command> {
    let words = [before, &["cargo", "test", "-p", "wharf"]].concat();
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).current_dir(tree);
    let folder = match check {
        Check::Model(model) => {
            command.args(["--lib", model]);
            command.env("RUSTFLAGS", "--cfg loom");
            command.env("LOOM_MAX_PREEMPTIONS", "2");
            "../loom"
        }
        Check::Seeds(count) => {
            command.args(["--test", "sim_seeds", "every_seed"]);
            command.env("WHARF_SEEDS", count);
            "../plain"
        }
        Check::Test(target, name) => {
            match target {
                "lib" => command.args(["--lib", name]),
                target => command.args(["--test", target, name]),
            };
            "../plain"
        }
        Check::Soak(_) => return None,
    };
    command.env("CARGO_TARGET_DIR", tree.join(folder));
    quickly(&mut command);
    Some(command)
}

/// A mutant is built once and run once: incremental and not optimised. What it breaks is found
/// among the first interleavings.
fn quickly(command: &mut Command) {
    command
        .env("CARGO_INCREMENTAL", "1")
        .env_remove("RUST_BACKTRACE")
        .stdin(Stdio::null());
}

/// Builds the program of the tree and has the soak of this one, which is not broken, abuse it.
fn soak(tree: &Path, check: Check) -> Result<Ended, String> {
    let Check::Soak(minutes) = check else {
        return Err(format!("{check} is no soak"));
    };
    let folder = tree.join("../plain");
    let mut build = super::cargo(tree, &["build", "-p", "wharf-cli"]);
    build.env("CARGO_TARGET_DIR", &folder).stderr(Stdio::null());
    quickly(&mut build);
    if !build.status().map_err(|e| format!("cargo: {e}"))?.success() {
        return Ok((Verdict::NoBuild, String::new()));
    }
    let this = std::env::current_exe().map_err(|e| format!("this program: {e}"))?;
    let mut soak = Command::new(this);
    soak.args(["soak", "--seed", "1", "--minutes", minutes, "--wharf"])
        .arg(folder.join("debug/wharf"))
        .arg("--out")
        .arg(tree.join("../soak"));
    soak.stdin(Stdio::null()).stdout(Stdio::null());
    let output = soak.output().map_err(|e| format!("the soak: {e}"))?;
    let verdict = if output.status.success() {
        Verdict::Passes
    } else {
        Verdict::Fails
    };
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().last().unwrap_or_default();
    Ok((verdict, last.to_owned()))
}
