//! `cargo xtask bench-echo`, `bench-instructions`, `bench-idle`, `bench-blocked`: wharf beside the
//! machine's limit; `bench-peers`: beside other libraries.
//!
//! Linux only: CPU time, context switches and memory are read from `/proc`.

mod abuse;
mod blocked;
mod callgrind;
mod echo;
mod idle;
mod instructions;
mod load;
mod peers;
mod stats;
mod syscalls;
mod usage;

use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;

pub(crate) use abuse::{AbuseArgs, AttackArgs, attack, run as abuse};
pub(crate) use blocked::{BlockedArgs, run as blocked};
pub(crate) use echo::{EchoArgs, run as echo};
pub(crate) use idle::{IdleArgs, run as idle};
pub(crate) use instructions::{InstructionsArgs, run as instructions};
pub(crate) use peers::{PeersArgs, run as peers};

/// Which programs are compared.
#[derive(Args)]
pub(crate) struct Programs {
    /// The wharf to measure [default: builds this tree's release binary]
    #[arg(long, value_name = "PATH")]
    wharf: Option<PathBuf>,

    /// Compare with this other wharf (a build from before a change) instead of bare_epoll
    #[arg(long, value_name = "PATH", conflicts_with = "noise")]
    base: Option<PathBuf>,

    /// Compare wharf with its callbacks on a pool of one thread to wharf without the hand-over
    #[arg(long, conflicts_with_all = ["noise", "base"])]
    dispatch: bool,

    /// Run bare_epoll on both sides: shows what the measurement itself can't tell apart
    #[arg(long)]
    noise: bool,

    /// The wharf whose `load` makes the load for both sides [default: the one to measure]
    #[arg(long, value_name = "PATH")]
    load: Option<PathBuf>,
}

/// A server that can be measured: its name in the tables, and the command that starts it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Candidate {
    name: &'static str,
    command: Vec<String>,
}

/// Both sides of a comparison, and the load generator's path.
struct Setup {
    subject: Candidate,
    base: Candidate,
    load: String,
}

impl Programs {
    /// Builds what is needed and names both sides.
    fn prepare(&self, root: &Path) -> Result<Setup, String> {
        let wharf = |path: &Path, name| Candidate {
            name,
            command: to_command(
                path,
                &["serve", "echo", "--listen", "127.0.0.1:0", "--workers", "1"],
            ),
        };
        let needs_own = (self.wharf.is_none() && !self.noise) || self.load.is_none();
        let own = match &self.wharf {
            Some(path) => path.clone(),
            None if needs_own => build_wharf(root)?,
            None => PathBuf::new(),
        };
        let load = self.load.as_ref().unwrap_or(&own).display().to_string();
        if let Some(old) = &self.base {
            return Ok(Setup {
                subject: wharf(&own, "wharf"),
                base: wharf(old, "base"),
                load,
            });
        }
        if self.dispatch {
            let inline = wharf(&own, "inline");
            let mut pool = wharf(&own, "pool");
            pool.command.extend(["--pool", "1"].map(str::to_owned));
            return Ok(Setup {
                subject: pool,
                base: inline,
                load,
            });
        }
        let bare = build_bare_epoll(root)?;
        let bare = |name| Candidate {
            name,
            command: to_command(&bare, &["--listen", "127.0.0.1:0"]),
        };
        let subject = if self.noise {
            bare("bare again")
        } else {
            wharf(&own, "wharf")
        };
        Ok(Setup {
            subject,
            base: bare("bare"),
            load,
        })
    }
}

fn to_command(program: &Path, args: &[&str]) -> Vec<String> {
    let program = program.display().to_string();
    std::iter::once(program)
        .chain(args.iter().map(ToString::to_string))
        .collect()
}

/// Where cargo puts what is built for this machine.
pub(crate) fn target_folder(root: &Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from)
}

/// Builds this tree's release program for this machine, and selects it as `cargo run` does: by its
/// package, its dependencies would have other features and be built again.
pub(crate) fn build_wharf(root: &Path) -> Result<PathBuf, String> {
    let target = target_folder(root);
    build(root, &target, &["--bin", "wharf"])?;
    Ok(target.join("release/wharf"))
}

/// It has a workspace of its own, and a target folder of its own below ours.
fn build_bare_epoll(root: &Path) -> Result<PathBuf, String> {
    let target = target_folder(root).join("limits");
    build(
        &root.join("benches/limits"),
        &target,
        &["--bin", "bare_epoll"],
    )?;
    Ok(target.join("release/bare_epoll"))
}

fn build(folder: &Path, target: &Path, what: &[&str]) -> Result<(), String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["build", "--release", "--quiet", "--target-dir"])
        .arg(target)
        .args(what)
        .current_dir(folder)
        .status()
        .map_err(|e| format!("cargo build in {}: {e}", folder.display()))?;
    let failed = || {
        format!(
            "cargo build {} failed in {}",
            what.join(" "),
            folder.display()
        )
    };
    status.success().then_some(()).ok_or_else(failed)
}
