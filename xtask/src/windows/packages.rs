//! What has to be installed, from Debian's own packages.

use std::process::{Command, Stdio};
use std::time::Duration;

use super::group;

const INSTALL_LIMIT: Duration = Duration::from_secs(900);

/// A Rust whose source of std comes along, so that std can be compiled for systems that this
/// machine's rustup need know nothing of; and its lints.
const COMPILER: &[&str] = &["rustc-web", "cargo-web", "rust-web-clippy", "rust-web-src"];

/// A linker and C compiler for Windows, and Wine.
pub(super) const WINDOWS: &[&str] = &["gcc-mingw-w64-x86-64-win32", "wine64"];

/// A Debian in a folder, for the second lane.
pub(super) const CHROOT: &[&str] = &["debootstrap"];

/// Installs what of [`COMPILER`] is missing.
///
/// # Errors
/// As [`install`].
pub(crate) fn install_compiler() -> Result<(), String> {
    install(COMPILER)
}

/// Installs what of these is missing.
///
/// # Errors
/// When something is missing and this is no Debian, or not run by root, or apt fails.
pub(super) fn install(wanted: &[&str]) -> Result<(), String> {
    let missing: Vec<_> = wanted
        .iter()
        .copied()
        .filter(|name| !is_installed(name))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    if !is_there("apt-get") {
        return Err(format!(
            "needed: {list} (Debian's packages); there is no apt-get here"
        ));
    }
    if !rustix::process::geteuid().is_root() {
        return Err(format!(
            "not installed: {list}; run as root: apt-get install {list}"
        ));
    }
    let apt = |args: &[&str]| {
        let mut command = Command::new("apt-get");
        command
            .arg("-qq")
            .args(args)
            .env("DEBIAN_FRONTEND", "noninteractive");
        group::run("apt-get", &mut command, INSTALL_LIMIT)
    };
    apt(&["update"])?;
    apt(&[
        &["install", "-y", "--no-install-recommends"],
        missing.as_slice(),
    ]
    .concat())
}

fn is_installed(package: &str) -> bool {
    let query = Command::new("dpkg-query")
        .args(["-W", "-f", "${db:Status-Status}", package])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output();
    query.is_ok_and(|done| done.stdout == b"installed")
}

fn is_there(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}
