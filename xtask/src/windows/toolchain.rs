//! The standard library of Debian's Rust, built for other systems.
//!
//! The library is built once into a folder that a compiler takes for a sysroot. After that plain
//! cargo works for the target, in any target folder, without a nightly option.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::debian;

use super::group;
use super::home::{Home, Stamp, TRIPLE};

/// Changed whenever a sysroot is made in another way, so that old ones are not used any more.
const RECIPE: u32 = 1;

const BUILD_LIMIT: Duration = Duration::from_secs(900);

/// What a standard library is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// Programs that are linked and run.
    Link,
    /// Types and lints only: no code, a third of the time.
    Check,
}

/// cargo for a target whose sysroot is there; what it runs, it runs by `runner`.
pub(super) fn cargo_for(home: &Home, triple: &str, runner: &[String]) -> Command {
    let mut cargo = debian::cargo();
    configure(&mut cargo, home, triple, runner);
    cargo
}

/// cargo clippy for a target.
pub(super) fn clippy_for(home: &Home, triple: &str) -> Command {
    let mut clippy = debian::clippy();
    configure(&mut clippy, home, triple, &[]);
    clippy
}

fn configure(command: &mut Command, home: &Home, triple: &str, runner: &[String]) {
    let sysroot = format!("--sysroot={}", home.sysroot(triple).display());
    let list = |items: &[String]| toml::Value::from(items.to_vec()).to_string();
    let flags = list(std::slice::from_ref(&sysroot));
    command
        .args([
            "--config",
            &format!("build.target={}", toml::Value::from(triple)),
        ])
        .args(["--config", &format!("build.rustdocflags={flags}")])
        .args(["--config", &format!("target.{triple}.rustflags={flags}")])
        .env("CARGO_TARGET_DIR", &home.target)
        .current_dir(&home.root);
    if !runner.is_empty() {
        command.args([
            "--config",
            &format!("target.{triple}.runner={}", list(runner)),
        ]);
    }
}

/// Builds the standard library for a target, unless this compiler has done so before.
///
/// # Errors
/// When it can't be built.
pub(super) fn sysroot(home: &Home, triple: &str, purpose: Use) -> Result<(), String> {
    let version = group::output("rustc", Command::new(debian::RUSTC).arg("-vV"))?;
    let made = home.sysroot(triple);
    let stamp = Stamp::new(&made, format!("recipe {RECIPE}, {purpose:?}\n{version}\n"));
    if stamp.is_current() {
        return Ok(());
    }
    stamp.begin()?;
    let scratch = home.kept.join("sysroot").join(format!("{triple}.build"));
    remove(&scratch)?;
    remove(&made)?;
    let built = build_std(&scratch, triple, purpose)?;
    let libraries = made.join("lib/rustlib").join(triple).join("lib");
    copy_libraries(&built, &libraries, purpose)?;
    remove(&scratch)?;
    stamp.finish()
}

/// An empty package, because cargo builds std only for one.
const MANIFEST: &str = "[package]\nname = \"nothing\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\
    [profile.release]\nopt-level = 3\ndebug = 0\n[workspace]\n";

/// In front of each call of the compiler. `panic_abort` has to be compiled for aborting itself, or
/// a program with `panic = "abort"` is refused.
const WRAPPER: &str = "#!/bin/sh\ncase \" $* \" in\n\
    *' --crate-name panic_abort '*) set -- \"$@\" -Cpanic=abort ;;\nesac\nexec \"$@\"\n";

/// Returns the folder with the libraries.
fn build_std(scratch: &Path, triple: &str, purpose: Use) -> Result<PathBuf, String> {
    let wrapper = scratch.join("rustc-wrapper");
    write(&scratch.join("Cargo.toml"), MANIFEST)?;
    write(&scratch.join("src/lib.rs"), "")?;
    write(&wrapper, WRAPPER)?;
    let mut cargo = debian::cargo();
    // Bitcode, so that programs can be built with link-time optimisation over std.
    cargo
        .args([
            if purpose == Use::Link {
                "build"
            } else {
                "check"
            },
            "--quiet",
            "--release",
        ])
        .args([
            "-Zbuild-std=std,panic_unwind,panic_abort,proc_macro,test",
            "--target",
            triple,
        ])
        .args([
            "--config",
            &format!("target.{triple}.rustflags=[\"-Cembed-bitcode=yes\"]"),
        ])
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTC_WRAPPER", &wrapper)
        .env("CARGO_TARGET_DIR", scratch.join("target"))
        .current_dir(scratch);
    group::run(&format!("std for {triple}"), &mut cargo, BUILD_LIMIT)?;
    Ok(scratch.join("target").join(triple).join("release/deps"))
}

fn copy_libraries(from: &Path, to: &Path, purpose: Use) -> Result<(), String> {
    let wanted = if purpose == Use::Link {
        "rlib"
    } else {
        "rmeta"
    };
    let failed = |error: std::io::Error| format!("{}: {error}", to.display());
    std::fs::create_dir_all(to).map_err(failed)?;
    for entry in std::fs::read_dir(from).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().unwrap_or_default();
        let is_std = !name.to_string_lossy().starts_with("libnothing-");
        if is_std && path.extension().is_some_and(|ending| ending == wanted) {
            std::fs::copy(&path, to.join(name)).map_err(failed)?;
        }
    }
    Ok(())
}

/// Compiles one Rust file, which needs nothing but std, to a Windows program.
///
/// # Errors
/// When it does not compile.
pub(super) fn compile_rust(home: &Home, source: &Path, program: &Path) -> Result<(), String> {
    let mut rustc = debian::rustc();
    rustc
        .args([
            "--edition=2024",
            "-Copt-level=3",
            "--target",
            TRIPLE,
            "--sysroot",
        ])
        .arg(home.sysroot(TRIPLE))
        .arg(source)
        .arg("-o")
        .arg(program);
    group::run("rustc", &mut rustc, BUILD_LIMIT)
}

/// Compiles one C file to a Windows program, or to a library with `-shared`.
///
/// # Errors
/// When it does not compile.
pub(super) fn compile_c(source: &Path, made: &Path, options: &[&str]) -> Result<(), String> {
    let mut gcc = Command::new("x86_64-w64-mingw32-gcc");
    gcc.args(["-O2", "-s", "-Wall", "-Werror", "-o"])
        .arg(made)
        .arg(source)
        .args(options);
    group::run("gcc for Windows", &mut gcc, BUILD_LIMIT)
}

pub(super) fn remove(folder: &Path) -> Result<(), String> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(format!("{}: {error}", folder.display()))
        }
        _ => Ok(()),
    }
}

/// Writes a file that may be run, and the folder it lies in.
fn write(path: &Path, text: &str) -> Result<(), String> {
    use std::os::unix::fs::PermissionsExt;
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    std::fs::create_dir_all(path.parent().unwrap_or(path)).map_err(failed)?;
    std::fs::write(path, text).map_err(failed)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).map_err(failed)
}
