//! `cargo xtask mutants`: breaks key lines, one at a time, in a copy of the tree, and shows that
//! the model or the seeds which are there for them fail.

mod table;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use table::{Check, Mutant};

/// Breaks key lines of the core one by one, and shows that a check fails for each
#[derive(clap::Args)]
pub(crate) struct MutantsArgs {
    /// Only those whose name has this in it
    #[arg(long)]
    only: Option<String>,
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
    let tree = root.join("target/mutants/tree");
    copy(root, &tree)?;
    if args.unbroken {
        return unbroken(&tree, args, out);
    }
    let mut missed = Vec::new();
    for mutant in chosen(args)? {
        let began = Instant::now();
        let verdict = one(&tree, &mutant)?;
        let caught = matches!(verdict, Verdict::Fails | Verdict::Hangs);
        let (name, took) = (mutant.name, began.elapsed().as_secs());
        let check = mutant.check.to_string();
        say(out, &format!("{name:46} {check:34} {verdict:?}, {took} s"))?;
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
    Ok(mutants)
}

fn unbroken(tree: &Path, args: &MutantsArgs, out: &mut impl Write) -> Result<(), String> {
    let mut checks: Vec<_> = chosen(args)?.iter().map(|mutant| mutant.check).collect();
    checks.sort_by_key(ToString::to_string);
    checks.dedup_by_key(|check| check.to_string());
    for check in checks {
        let verdict = run(tree, check)?;
        say(out, &format!("unbroken: {check}: {verdict:?}"))?;
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
fn one(tree: &Path, mutant: &Mutant) -> Result<Verdict, String> {
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
    let verdict = run(tree, mutant.check);
    fs::write(&path, text).map_err(|e| e.to_string())?;
    if verdict == Ok(Verdict::NoBuild) {
        return Err(format!(
            "{}: does not compile: change the table",
            mutant.name
        ));
    }
    verdict
}

fn run(tree: &Path, check: Check) -> Result<Verdict, String> {
    let mut command = Command::new("timeout");
    command
        .args([SECONDS_MAX, "cargo", "test", "-p", "wharf"])
        .current_dir(tree);
    match check {
        Check::Model(model) => {
            command.args(["--lib", model]);
            // Incremental and not optimised: what a mutant breaks is found among the first
            // interleavings.
            command
                .env("RUSTFLAGS", "--cfg loom")
                .env("CARGO_TARGET_DIR", tree.join("../loom"));
            command
                .env("LOOM_MAX_PREEMPTIONS", "2")
                .env("CARGO_INCREMENTAL", "1");
        }
        Check::Seeds(count) => {
            command.args(["--test", "sim_seeds", "every_seed"]);
            command.env("WHARF_SEEDS", count);
            command
                .env("CARGO_TARGET_DIR", tree.join("../plain"))
                .env("CARGO_INCREMENTAL", "1");
        }
        Check::Test(target, name) => {
            command.args(["--test", target, name]);
            command
                .env("CARGO_TARGET_DIR", tree.join("../plain"))
                .env("CARGO_INCREMENTAL", "1");
        }
    }
    command.env_remove("RUST_BACKTRACE").stdin(Stdio::null());
    let output = command.output().map_err(|e| format!("cargo: {e}"))?;
    let said = String::from_utf8_lossy(&output.stdout);
    let ran = said.contains("running ");
    let none = said.contains("running 0 tests");
    Ok(match output.status.code() {
        Some(0) if none => Verdict::NoBuild,
        Some(0) => Verdict::Passes,
        Some(124) if ran => Verdict::Hangs,
        _ if ran => Verdict::Fails,
        _ => Verdict::NoBuild,
    })
}
