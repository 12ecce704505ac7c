//! `cargo xtask targets`: library and program type-check for systems that nothing here can link
//! for.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use super::home::Home;
use super::report::Report;
use super::toolchain::{self, Use};
use super::{group, packages};
use crate::process::catch_signals;

const TARGETS: [&str; 3] = [
    "x86_64-pc-windows-msvc",
    "aarch64-apple-darwin",
    "x86_64-apple-darwin",
];

const CHECK_LIMIT: Duration = Duration::from_secs(600);

/// Checks every target; prints a line for each to `out`.
///
/// # Errors
/// When a target does not type-check, a tool is missing, or somebody wants to stop.
pub(crate) fn run(root: &Path, out: &mut dyn Write) -> Result<(), String> {
    catch_signals()?;
    let home = Home::of(root)?;
    let _lock = home.lock()?;
    let mut report = Report::new("targets", out);
    let prepared = report.part("prepare", || {
        packages::install_compiler()?;
        sysroots(&home)?;
        Ok(format!(
            "std of {} targets, in {}",
            TARGETS.len(),
            home.kept.display()
        ))
    })?;
    for triple in TARGETS.iter().filter(|_| prepared) {
        report.part(triple, || {
            check(&home, triple).map(|()| "no warning, not linked")
        })?;
    }
    report.close()
}

/// Std of all targets, at once: each is a chain of crates that leaves the other cores idle.
fn sysroots(home: &Home) -> Result<(), String> {
    std::thread::scope(|scope| {
        let builds = TARGETS.map(|triple| {
            std::thread::Builder::new()
                .name(format!("std for {triple}"))
                .spawn_scoped(scope, || toolchain::sysroot(home, triple, Use::Check))
        });
        builds.into_iter().try_for_each(|build| {
            let build = build.map_err(|e| format!("no thread: {e}"))?;
            build.join().map_err(|_| "a build panicked".to_owned())?
        })
    })
}

/// clippy checks what `cargo check` does, and has warnings as errors without building std again.
fn check(home: &Home, triple: &str) -> Result<(), String> {
    let mut clippy = toolchain::clippy_for(home, triple);
    clippy.args(["--locked", "--package", "wharf", "--package", "wharf-cli"]);
    group::run(
        "cargo clippy",
        clippy.args(["--", "-D", "warnings"]),
        CHECK_LIMIT,
    )
}
