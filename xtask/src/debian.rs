//! Debian's Rust: a compiler whose source of the standard library comes along, so that it can be
//! built for other systems and with other options.

use std::process::Command;

const CARGO: &str = "/usr/bin/cargo";
const CLIPPY: &str = "/usr/bin/cargo-clippy";
pub(crate) const RUSTC: &str = "/usr/bin/rustc";
const RUSTDOC: &str = "/usr/bin/rustdoc";

/// cargo of Debian, free of what the cargo that runs us has set.
pub(crate) fn cargo() -> Command {
    command(CARGO)
}

/// The compiler itself.
pub(crate) fn rustc() -> Command {
    command(RUSTC)
}

/// Its lints. Not by way of cargo, which prefers a clippy of rustup.
pub(crate) fn clippy() -> Command {
    let mut clippy = command(CLIPPY);
    clippy.arg("clippy");
    clippy
}

fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        let is_of_cargo = name.starts_with("CARGO") && name != "CARGO_HOME";
        if is_of_cargo && !name.starts_with("CARGO_TERM") && !name.starts_with("CARGO_INCREMENTAL")
            || name.starts_with("RUSTUP")
            || name.starts_with("RUSTC")
            || name.starts_with("RUSTDOC")
            || name == "RUSTFLAGS"
        {
            command.env_remove(name.as_ref());
        }
    }
    command
        .env("CARGO", CARGO)
        .env("RUSTC", RUSTC)
        .env("RUSTDOC", RUSTDOC);
    command
}
