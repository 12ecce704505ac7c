//! `cargo xtask fuzz`: the fuzz targets on this toolchain, one after the other.
//!
//! The instrumentation is a flag that only a nightly compiler takes; `RUSTC_BOOTSTRAP` has the
//! stable one take it too. Each target begins with its corpus of the repository, and keeps what it
//! finds in `target/fuzz/corpus/`.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// Runs fuzz targets; what they found new goes into their corpora with --keep
#[derive(clap::Args)]
pub(crate) struct FuzzArgs {
    /// Only this target
    #[arg(long)]
    target: Option<String>,
    /// Executions of each target
    #[arg(long, default_value_t = 200_000)]
    runs: u64,
    /// End a target after so many seconds, however many executions those are; 0 is never
    #[arg(long, default_value_t = 0)]
    seconds: u64,
    /// For many executions: without the address sanitizer, and without a look at each comparison,
    /// which finds the values that a program compares with and takes half of the time
    #[arg(long)]
    no_sanitizer: bool,
    /// Only minimise what was found before into the corpora of the repository
    #[arg(long)]
    keep: bool,
}

/// The longest input of each: a longer one does nothing new, and costs.
const TARGETS: &[(&str, u32)] = &[
    ("framing", 64),
    ("proxy", 280),
    ("rcon", 64),
    ("resp", 96),
    ("scheduler", 64),
    ("send_queue", 64),
    ("topology", 700),
];

/// # Errors
/// A target failed; the input is in `target/fuzz/artifacts/`.
pub(crate) fn fuzz(root: &Path, args: &FuzzArgs, out: &mut impl Write) -> Result<(), String> {
    let chosen = |name: &str| args.target.as_deref().is_none_or(|only| only == name);
    let targets: Vec<_> = TARGETS.iter().filter(|(name, _)| chosen(name)).collect();
    if targets.is_empty() {
        let names: Vec<_> = TARGETS.iter().map(|(name, _)| *name).collect();
        return Err(format!("no such target: there are {}", names.join(", ")));
    }
    let programs = build(root, args)?;
    let mut failed = Vec::new();
    for &&(name, len_max) in &targets {
        let place = Place::new(root, name)?;
        if args.keep {
            keep(&programs.join(name), &place, len_max)?;
            continue;
        }
        let begun = Instant::now();
        let ran = run(&programs.join(name), &place, args, len_max)?;
        let took = begun.elapsed().as_secs_f64();
        let rate = ran.executions as f64 / took.max(0.001);
        writeln!(
            out,
            "{name:12} {:>11} executions {took:>7.0} s {rate:>8.0}/s  {}",
            ran.executions,
            if ran.ok { "ok" } else { "FAILED" }
        )
        .map_err(|e| e.to_string())?;
        if !ran.ok {
            failed.push(name);
        }
    }
    if failed.is_empty() {
        return Ok(());
    }
    let names = failed.join(", ");
    Err(format!(
        "failed: {names}; the inputs are in target/fuzz/artifacts/"
    ))
}

/// Builds all targets; returns the folder of the programs.
fn build(root: &Path, args: &FuzzArgs) -> Result<PathBuf, String> {
    let (flags, folder): (&[&str], _) = if args.no_sanitizer {
        (&["-s", "none", "--no-trace-compares"], "target/fuzz/plain")
    } else {
        (&["-s", "address"], "target/fuzz/address")
    };
    let folder = root.join(folder);
    let mut build = super::cargo(root, &["fuzz", "build", "--fuzz-dir", "fuzz"]);
    build.args(flags);
    build.arg("--target-dir").arg(&folder);
    build.env("RUSTC_BOOTSTRAP", "1");
    super::run(build, "cargo fuzz build")
        .map_err(|why| format!("{why}: it needs `cargo install --locked cargo-fuzz` and c++"))?;
    Ok(folder.join("x86_64-unknown-linux-gnu/release"))
}

/// The folders of a target.
struct Place {
    kept: PathBuf,
    found: PathBuf,
    artifacts: PathBuf,
    dictionary: PathBuf,
}

impl Place {
    fn new(root: &Path, name: &str) -> Result<Self, String> {
        let place = Self {
            kept: root.join("fuzz/corpus").join(name),
            found: root.join("target/fuzz/corpus").join(name),
            artifacts: root.join("target/fuzz/artifacts").join(name),
            dictionary: root.join("fuzz").join(format!("{name}.dict")),
        };
        for folder in [&place.kept, &place.found, &place.artifacts] {
            fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        }
        Ok(place)
    }
}

struct Ran {
    executions: u64,
    ok: bool,
}

fn run(program: &Path, place: &Place, args: &FuzzArgs, len_max: u32) -> Result<Ran, String> {
    let mut command = Command::new(program);
    command
        .arg(format!("-runs={}", args.runs))
        .arg(format!("-max_total_time={}", args.seconds))
        .arg(format!("-max_len={len_max}"))
        .arg(format!("-artifact_prefix={}/", place.artifacts.display()))
        .args(["-print_final_stats=1", "-reload=0", "-verbosity=1"]);
    if place.dictionary.exists() {
        command.arg(format!("-dict={}", place.dictionary.display()));
    }
    command.arg(&place.found).arg(&place.kept);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let mut child = command
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| format!("{}: {e}", program.display()))?;
    let mut executions = 0;
    let mut said = Vec::new();
    for line in child
        .stderr
        .take()
        .into_iter()
        .flat_map(|e| BufReader::new(e).lines())
    {
        let line = line.unwrap_or_default();
        if let Some(count) = line.strip_prefix("stat::number_of_executed_units:") {
            executions = count.trim().parse().unwrap_or(0);
        }
        if !line.starts_with('#') {
            said.push(line);
        }
    }
    let status = child.wait().map_err(|e| e.to_string())?;
    if !status.success() {
        let mut err = std::io::stderr();
        // What it says stands first; the last lines are its own.
        for line in &said {
            let _ = writeln!(err, "{line}");
        }
    }
    let ok = status.success();
    Ok(Ran { executions, ok })
}

/// What a corpus of the repository may weigh, in files and bytes: `cargo test` runs all of it.
const KEPT_FILES_MAX: usize = 400;
const KEPT_BYTES_MAX: u64 = 48 * 1024;

/// Minimises what was found and what is kept into one small corpus.
fn keep(program: &Path, place: &Place, len_max: u32) -> Result<(), String> {
    let merged = place.found.with_extension("merged");
    let _ = fs::remove_dir_all(&merged);
    fs::create_dir_all(&merged).map_err(|e| format!("{}: {e}", merged.display()))?;
    let mut merge = Command::new(program);
    merge.args(["-merge=1", "-use_value_profile=0"]);
    merge.arg(format!("-max_len={len_max}"));
    merge.arg(&merged).arg(&place.kept).arg(&place.found);
    merge.stdout(Stdio::null()).stderr(Stdio::null());
    super::run(merge, "the merge of a corpus")?;
    let entries = fs::read_dir(&merged).map_err(|e| e.to_string())?;
    let mut files: Vec<_> = entries
        .flatten()
        .filter_map(|entry| Some((entry.metadata().ok()?.len(), entry.path())))
        .collect();
    // The short ones first: most of what is to see for the least.
    files.sort();
    fs::remove_dir_all(&place.kept).map_err(|e| e.to_string())?;
    fs::create_dir_all(&place.kept).map_err(|e| e.to_string())?;
    let mut bytes = 0;
    for (len, file) in files.into_iter().take(KEPT_FILES_MAX) {
        bytes += len;
        if bytes > KEPT_BYTES_MAX {
            break;
        }
        let name = file.file_name().unwrap_or_default();
        fs::copy(&file, place.kept.join(name)).map_err(|e| e.to_string())?;
    }
    Ok(())
}
