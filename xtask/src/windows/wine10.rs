//! `--wine10`: the same parts under a newer Wine, that of Debian 13, in a folder of its own.
//!
//! It behaves like Windows in some points where Debian 12's Wine does not (docs/windows.md has the
//! list). Costs 2 GB and a minute the first time, so it is run by hand.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::home::{Home, Stamp};
use super::wine::Wine;
use super::{group, packages, toolchain};

/// The Debian that has Wine 10.
const RELEASE: &str = "trixie";

const INSTALL_LIMIT: Duration = Duration::from_secs(1200);

/// All parts together, inside.
const INSIDE_LIMIT: Duration = Duration::from_secs(3600);

/// Makes the folder, unless that was done before.
///
/// # Errors
/// When not run by root, or a step fails.
pub(super) fn prepare(home: &Home) -> Result<(), String> {
    if !rustix::process::geteuid().is_root() {
        return Err("--wine10 needs root: it installs a Debian in a folder and enters it".into());
    }
    packages::install(packages::CHROOT)?;
    let chroot = home.wine10();
    let stamp = Stamp::new(&chroot, format!("Debian {RELEASE}, recipe 1\n"));
    if stamp.is_current() {
        return Ok(());
    }
    stamp.begin()?;
    toolchain::remove(&chroot)?;
    let mut debootstrap = Command::new("debootstrap");
    debootstrap
        .args(["--variant=minbase", RELEASE])
        .arg(&chroot);
    group::run("debootstrap", &mut debootstrap, INSTALL_LIMIT)?;
    let mut apt = Command::new("chroot");
    apt.arg(&chroot)
        .args(["apt-get", "-qq", "install", "-y", "--no-install-recommends"]);
    apt.args(["wine", "wine64"])
        .env("DEBIAN_FRONTEND", "noninteractive");
    group::run("apt-get in the chroot", &mut apt, INSTALL_LIMIT)?;
    let hosts = chroot.join("etc/hosts");
    std::fs::write(&hosts, "127.0.0.1 localhost\n::1 localhost\n")
        .map_err(|e| format!("{}: {e}", hosts.display()))?;
    stamp.finish()
}

/// Runs this program again where mounts and processes are its own: whatever happens inside, the
/// kernel ends all of it with the first process.
///
/// # Errors
/// When a part fails inside, or there is no going inside.
pub(super) fn run_inside(home: &Home, args: &[String]) -> Result<(), String> {
    let this = std::env::current_exe().map_err(|e| format!("own path: {e}"))?;
    let mut inside = Command::new("unshare");
    inside
        .args([
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
            "--",
        ])
        .arg(this)
        .args(["windows", "--inside-wine10"])
        .args(args)
        .current_dir(&home.root);
    group::run("the run inside", &mut inside, INSIDE_LIMIT)
}

/// Inside: gives the chroot what programs need of this machine. The mounts go with this process.
///
/// # Errors
/// When something can't be mounted.
pub(super) fn enter(home: &Home) -> Result<Wine, String> {
    let chroot = home.wine10();
    mount(&["-t", "proc", "proc"], &chroot.join("proc"))?;
    for folder in ["/dev", "/sys"] {
        mount(&["--rbind", folder], &within(&chroot, Path::new(folder)))?;
    }
    for folder in [&home.root, &home.target] {
        let there = within(&chroot, folder);
        std::fs::create_dir_all(&there).map_err(|e| format!("{}: {e}", there.display()))?;
        mount(&["--bind", &folder.display().to_string()], &there)?;
    }
    Ok(Wine::of_chroot(&chroot))
}

/// The same path, in the chroot.
fn within(chroot: &Path, path: &Path) -> PathBuf {
    chroot.join(path.strip_prefix("/").unwrap_or(path))
}

fn mount(options: &[&str], place: &Path) -> Result<(), String> {
    let mut mount = Command::new("mount");
    mount.args(options).arg(place);
    group::run(
        &format!("mount {}", place.display()),
        &mut mount,
        INSTALL_LIMIT,
    )
}
