//! `cargo xtask sanitize`: tests under the address and the thread sanitizer.
//!
//! The address sanitizer works with the toolchain as it is; that the standard library comes without
//! instrumentation only makes it see less. The thread sanitizer would take for races what such a
//! library orders, so Debian's compiler builds its own with instrumentation (`debian.rs`), and the
//! sanitizer's runtime is this toolchain's: Debian ships none for Rust.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::debian;
use crate::windows::install_compiler;

/// Runs tests of real sockets and threads under a sanitizer
#[derive(clap::Args)]
pub(crate) struct SanitizeArgs {
    /// Which: address, thread
    #[arg(default_value = "address")]
    sanitizer: String,
    /// Only these tests: passed on to cargo test
    #[arg(last = true)]
    rest: Vec<String>,
}

const TARGET: &str = "x86_64-unknown-linux-gnu";
/// The contract on real sockets, the guarantees on real threads, and the stress.
const TESTS: &[&str] = &["--lib", "--test", "guarantees", "--test", "stress"];

/// # Errors
/// A test fails, or the sanitizer found something.
pub(crate) fn sanitize(root: &Path, args: &SanitizeArgs) -> Result<(), String> {
    let folder = root.join("target/sanitize").join(&args.sanitizer);
    let mut test = match args.sanitizer.as_str() {
        "address" => address(root),
        "thread" => thread(&folder)?,
        other => return Err(format!("{other}: there are address and thread")),
    };
    test.args(["test", "-p", "wharf", "--target", TARGET]);
    if args.rest.is_empty() {
        test.args(TESTS);
    } else {
        test.args(&args.rest);
    }
    test.env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_TARGET_DIR", folder)
        .env("WHARF_SEEDS", "3")
        .current_dir(root);
    super::run(test, "the tests under the sanitizer")
}

fn address(root: &Path) -> Command {
    let mut cargo = super::cargo(root, &[]);
    cargo.env("RUSTFLAGS", "-Zsanitizer=address");
    cargo
}

fn thread(folder: &Path) -> Result<Command, String> {
    install_compiler()?;
    let linker = linker(folder)?;
    let flags = format!(
        "-Zsanitizer=thread -Zexternal-clangrt -Clinker={}",
        linker.display()
    );
    let mut cargo = debian::cargo();
    cargo
        .arg("-Zbuild-std=std,panic_unwind,proc_macro,test")
        .env("RUSTFLAGS", flags);
    Ok(cargo)
}

/// A linker that puts the runtime in front, where its interceptors have to stand. Its name tells
/// the compiler what it understands.
fn linker(folder: &Path) -> Result<PathBuf, String> {
    let mut rustc = Command::new("rustc");
    let sysroot = rustc.args(["--print", "sysroot"]).output();
    let sysroot = sysroot.map_err(|e| format!("rustc: {e}"))?.stdout;
    let runtime = Path::new(String::from_utf8_lossy(&sysroot).trim())
        .join("lib/rustlib")
        .join(TARGET)
        .join("lib/librustc-stable_rt.tsan.a");
    if !runtime.is_file() {
        return Err(format!(
            "{}: not there; it comes with a stable toolchain of rustup",
            runtime.display()
        ));
    }
    let path = folder.join("linker/gcc");
    let text = format!(
        "#!/bin/sh\nexec /usr/bin/gcc -Wl,--whole-archive '{}' -Wl,--no-whole-archive \
         -Wl,--export-dynamic \"$@\" -lstdc++ -lm -lpthread -lc\n",
        runtime.display()
    );
    let failed = |e: std::io::Error| format!("{}: {e}", path.display());
    fs::create_dir_all(folder.join("linker")).map_err(failed)?;
    fs::write(&path, text).map_err(failed)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).map_err(failed)?;
    Ok(path)
}
