//! All tests, in many processes at once.
//!
//! `cargo test` runs one program after the other, and most tests wait for something most of the
//! time. So a program's tests are dealt out to several processes, and some of those run beside each
//! other. In each of them libtest runs its share as ever: what may not run beside others of its
//! process does not. Every test that a program lists has to be told of by one of its processes.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::group::{self, Group};
use super::home::{Home, TRIPLE};
use super::toolchain;
use super::wine::Wine;
use crate::process::interrupted;

/// Tests of one process: a start costs a twentieth of a second, and the last ones to end should
/// have few tests left.
const TESTS_PER_PROCESS: usize = 12;

/// Processes at once for each core.
const PROCESSES_PER_CORE: usize = 2;

/// The package whose integration tests put servers under a load for a second or less, and look at
/// what they got done: beside others that is nothing. So one process of them runs, and by itself.
const LOADS: &str = "wharf-cli";

const BUILD_LIMIT: Duration = Duration::from_secs(1200);
const LIST_LIMIT: Duration = Duration::from_secs(60);

/// More than `timeout` in front of the program allows.
const DEAL_LIMIT: Duration = Duration::from_secs(600);

/// Tells tests which program presses Ctrl-C for those that they start.
pub(super) const OPERATOR: &str = "WHARF_TEST_OPERATOR";

/// What runs programs of tests.
#[derive(Clone, Copy)]
struct Runner<'a> {
    wine: &'a Wine,
    operator: &'a Path,
    /// Where what they print is kept.
    folder: &'a Path,
}

/// A program of tests.
#[derive(Clone, Debug, PartialEq)]
struct Program {
    path: PathBuf,
    /// The folder of its package, in which `cargo test` runs it.
    folder: PathBuf,
    /// It wants the machine for itself.
    alone: bool,
}

/// What one process runs.
#[derive(Clone, Debug, PartialEq)]
struct Deal {
    program: Program,
    number: usize,
    tests: Vec<String>,
}

/// Runs every test of the programs that cargo builds for `packages`; returns how many.
///
/// # Errors
/// When a test fails or was not run, a program can't be built or listed, or somebody wants to stop.
pub(super) fn run(
    home: &Home,
    wine: &Wine,
    packages: &[&str],
    operator: &Path,
) -> Result<String, String> {
    let folder = &home.target.join("test-output");
    std::fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let runner = Runner {
        wine,
        operator,
        folder,
    };
    let mut deals = VecDeque::new();
    for program in built(home, packages)? {
        let tests = listed(&runner.list(&program)?);
        deals.extend(deal(&program, &tests));
    }
    // Each program begins at once: those with the most tests end last.
    deals.make_contiguous().sort_by_key(|deal| deal.number);
    let all: usize = deals.iter().map(|deal| deal.tests.len()).sum();
    let (alone, together): (VecDeque<_>, _) =
        deals.into_iter().partition(|deal| deal.program.alone);
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let mut failed = runner.run_all(Mutex::new(together), cores * PROCESSES_PER_CORE)?;
    failed.extend(runner.run_all(Mutex::new(alone), 1)?);
    match failed.as_slice() {
        [] if interrupted() => Err("interrupted".into()),
        [] => Ok(format!("{all} tests")),
        failed => Err(failed.join("\n   ")),
    }
}

impl Runner<'_> {
    /// Runs all, so many at once; returns what went wrong.
    fn run_all(self, deals: Mutex<VecDeque<Deal>>, at_once: usize) -> Result<Vec<String>, String> {
        let failed = Mutex::new(Vec::new());
        let next = || {
            let mut deals = deals.lock().unwrap_or_else(PoisonError::into_inner);
            deals.pop_front().filter(|_| !interrupted())
        };
        let run = || {
            while let Some(deal) = next() {
                if let Err(why) = self.run(&deal) {
                    let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
                    failed.push(why);
                }
            }
        };
        std::thread::scope(|scope| {
            for number in 0..at_once {
                let thread = std::thread::Builder::new().name(format!("tests-{number}"));
                thread.spawn_scoped(scope, run).map_err(|e| e.to_string())?;
            }
            Ok::<_, String>(())
        })?;
        Ok(failed.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    /// A command that runs the program as cargo would.
    fn command(self, program: &Program) -> Command {
        let line = self.wine.runner();
        let mut command = Command::new(&line[0]);
        command
            .args(&line[1..])
            .arg(&program.path)
            .env("CARGO_MANIFEST_DIR", &program.folder)
            .env(OPERATOR, self.operator)
            .current_dir(&program.folder);
        self.wine.set_up(&mut command);
        command
    }

    /// What the program says it has.
    fn list(self, program: &Program) -> Result<String, String> {
        let path = self.folder.join("list.txt");
        let failed = |error: std::io::Error| format!("{}: {error}", path.display());
        let mut command = self.command(program);
        command
            .args(["--list", "--format", "terse"])
            .stdout(File::create(&path).map_err(failed)?);
        let name = format!("{} --list", program.path.display());
        group::run(&name, &mut command, LIST_LIMIT)?;
        std::fs::read_to_string(&path).map_err(failed)
    }

    /// Runs a deal and shows what it printed.
    ///
    /// # Errors
    /// When a test of it fails or was not run.
    fn run(self, deal: &Deal) -> Result<(), String> {
        let stem = deal.program.path.file_stem().unwrap_or_default();
        let name = format!("{}, {}", stem.to_string_lossy(), deal.number);
        let path = self
            .folder
            .join(format!("{}-{}.txt", stem.to_string_lossy(), deal.number));
        let failed = |error: std::io::Error| format!("{}: {error}", path.display());
        let file = File::create(&path).map_err(failed)?;
        let mut command = self.command(&deal.program);
        command
            .arg("--exact")
            .args(&deal.tests)
            .stdin(std::process::Stdio::null())
            .stderr(file.try_clone().map_err(failed)?)
            .stdout(file);
        let status = Group::start(&name, &mut command)?.wait(DEAL_LIMIT);
        let text = std::fs::read(&path).map_err(failed)?;
        let text = String::from_utf8_lossy(&text);
        let shown = write!(std::io::stdout().lock(), "\n-- {name}{text}");
        shown.map_err(|e| format!("cannot print: {e}"))?;
        let status = status?;
        let why = |what: String| format!("{name}: {what}; {}", path.display());
        if !status.success() {
            let all: Vec<_> = bad(&text).collect();
            return Err(why(format!("{status} {}", all.join(", "))));
        }
        match ran(&text) {
            Some(count) if count == deal.tests.len() => Ok(()),
            count => Err(why(format!("{count:?} of {} tests ran", deal.tests.len()))),
        }
    }
}

/// Builds the programs and says where they are.
fn built(home: &Home, packages: &[&str]) -> Result<Vec<Program>, String> {
    let list = home.target.join("test-programs.json");
    let failed = |error: std::io::Error| format!("{}: {error}", list.display());
    let mut cargo = toolchain::cargo_for(home, TRIPLE, &[]);
    cargo
        .args([
            "test",
            "--no-run",
            "--message-format=json-render-diagnostics",
        ])
        .args(packages)
        .stdout(File::create(&list).map_err(failed)?);
    group::run("cargo test --no-run", &mut cargo, BUILD_LIMIT)?;
    let programs = programs(&std::fs::read_to_string(&list).map_err(failed)?)?;
    if programs.is_empty() {
        return Err("cargo built no program of tests".into());
    }
    Ok(programs)
}

/// The programs of tests that cargo tells of.
fn programs(messages: &str) -> Result<Vec<Program>, String> {
    let mut programs = Vec::new();
    for line in messages.lines() {
        let message: serde_json::Value = serde_json::from_str(line).map_err(|e| e.to_string())?;
        let is_test = message["profile"]["test"] == true;
        let path = message["executable"].as_str().filter(|_| is_test);
        let Some((path, manifest)) = path.zip(message["manifest_path"].as_str()) else {
            continue;
        };
        let folder = Path::new(manifest)
            .parent()
            .ok_or("a manifest in no folder")?;
        let kinds = message["target"]["kind"].as_array();
        let is_apart = kinds.is_some_and(|kinds| kinds.iter().any(|kind| kind == "test"));
        programs.push(Program {
            path: path.into(),
            folder: folder.into(),
            alone: is_apart && folder.ends_with(LOADS),
        });
    }
    Ok(programs)
}

/// The names in such a list.
fn listed(text: &str) -> Vec<String> {
    let names = text
        .lines()
        .filter_map(|line| line.trim_end().strip_suffix(": test"));
    names.map(str::to_owned).collect()
}

/// Deals tests out like cards: those that stand together, and take as long, go to several.
fn deal(program: &Program, tests: &[String]) -> Vec<Deal> {
    let count = tests.len().div_ceil(TESTS_PER_PROCESS);
    let share = |number| tests.iter().skip(number).step_by(count).cloned().collect();
    let deal = |number| Deal {
        program: program.clone(),
        number,
        tests: share(number),
    };
    (0..count).map(deal).collect()
}

/// The tests that failed, in what a process printed.
fn bad(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| {
        line.trim_end()
            .strip_suffix(" ... FAILED")?
            .strip_prefix("test ")
    })
}

/// How many tests a process tells of, one line a test: passed, failed and ignored ones.
fn ran(text: &str) -> Option<usize> {
    let line = text
        .lines()
        .find(|line| line.starts_with("test result: "))?;
    let words: Vec<_> = line.split_whitespace().collect();
    let count = |what: &str| {
        let mut pairs = words
            .windows(2)
            .filter(|pair| pair[1].trim_end_matches(';') == what);
        pairs.next()?[0].parse::<usize>().ok()
    };
    Some(count("passed")? + count("failed")? + count("ignored")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program() -> Program {
        Program {
            path: "/target/deps/abuse-1.exe".into(),
            folder: "/wharf".into(),
            alone: false,
        }
    }

    #[test]
    fn every_test_is_dealt_once() {
        for count in [0, 1, TESTS_PER_PROCESS, TESTS_PER_PROCESS + 1, 250] {
            let tests: Vec<_> = (0..count).map(|n| format!("{n:03}")).collect();
            let deals = deal(&program(), &tests);
            assert_eq!(deals.len(), count.div_ceil(TESTS_PER_PROCESS));
            let mut dealt: Vec<_> = deals.iter().flat_map(|deal| deal.tests.clone()).collect();
            assert!(
                deals
                    .iter()
                    .all(|deal| deal.tests.len() <= TESTS_PER_PROCESS)
            );
            dealt.sort();
            assert_eq!(dealt, tests);
        }
    }

    #[test]
    fn programs_of_tests_are_found_and_others_are_not() {
        let line = |test: bool, folder: &str, executable: &str| {
            format!(
                r#"{{"reason":"compiler-artifact","manifest_path":"{folder}/Cargo.toml",
                "profile":{{"test":{test}}},"target":{{"kind":["test"]}},
                "executable":{executable}}}"#
            )
            .replace('\n', "")
        };
        let abuse = r#""/target/deps/abuse-1.exe""#;
        let messages = [
            line(true, "/wharf", abuse),
            line(false, "/wharf", r#""/target/wharf.exe""#),
            line(true, "/wharf", "null"),
            line(true, "/wharf-cli", abuse),
            r#"{"reason":"build-finished","success":true}"#.to_owned(),
        ];
        let of_the_program = Program {
            folder: "/wharf-cli".into(),
            alone: true,
            ..program()
        };
        assert_eq!(
            programs(&messages.join("\n")),
            Ok(vec![program(), of_the_program])
        );
        assert!(programs("no JSON").is_err());
        let list = "any::epoll: test\r\nb: benchmark\nother: test\n\n1 test, 1 benchmark\n";
        assert_eq!(listed(list), ["any::epoll", "other"]);
    }

    #[test]
    fn a_process_that_says_less_than_it_was_dealt_is_noticed() {
        let text = "running 4 tests\ntest a ... ok\ntest b ... FAILED\ntest c ... ignored, why\n\
            test result: FAILED. 2 passed; 1 failed; 1 ignored; 0 measured; 7 filtered out; \
            finished in 0.12s\n";
        assert_eq!(ran(text), Some(4));
        assert_eq!(bad(text).collect::<Vec<_>>(), ["b"]);
        assert_eq!(ran("running 4 tests\ntest a ... ok\n"), None);
    }
}
