//! Servers of both systems, started and ended as an operator does, and the load that checks them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::group::{self, Group};
use super::home::Home;
use super::toolchain;
use super::wine::Wine;
use crate::process::read_address;

/// How long a server may take to end once it was asked to.
const END_LIMIT: Duration = Duration::from_secs(40);

/// How long a load may take beyond what it was told to.
const LOAD_LIMIT: Duration = Duration::from_secs(60);

/// A server that listens. Dropped, it is killed.
pub(super) struct Server {
    name: &'static str,
    group: Group,
    pub(super) address: String,
}

impl Server {
    /// A program of this system, which ends at SIGTERM.
    ///
    /// # Errors
    /// When it can't be started or does not say where it listens.
    pub(super) fn linux(program: &Path, args: &[&str]) -> Result<Self, String> {
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::null());
        Self::start("the server on Linux", command)
    }

    /// A Windows program, which ends at Ctrl-C.
    ///
    /// # Errors
    /// The same.
    pub(super) fn windows(
        home: &Home,
        wine: &Wine,
        program: &Path,
        args: &[&str],
    ) -> Result<Self, String> {
        let mut command = wine.run(&operator(home)?);
        command.arg(program).args(args).stdin(Stdio::piped());
        Self::start("the server under Wine", command)
    }

    fn start(name: &'static str, mut command: Command) -> Result<Self, String> {
        let mut group = Group::start(name, command.stdout(Stdio::piped()))?;
        let stdout = group.child.stdout.take().ok_or("no pipe")?;
        let address = read_address(name, stdout)?;
        Ok(Self {
            name,
            group,
            address,
        })
    }

    /// Asks the server to end and demands exit code 0.
    ///
    /// # Errors
    /// When it does not end in time, or not well.
    pub(super) fn end(mut self) -> Result<(), String> {
        let child = &mut self.group.child;
        if child.stdin.take().is_none() {
            let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
            let pid = pid.ok_or("no process id")?;
            kill_process(pid, Signal::TERM).map_err(|e| format!("{}: {e}", self.name))?;
        }
        let status = self.group.wait(END_LIMIT)?;
        let failed = || format!("{} ended with {status}", self.name);
        status.success().then_some(()).ok_or_else(failed)
    }
}

/// A program that presses Ctrl-C for the one that it starts.
///
/// # Errors
/// When it can't be compiled.
pub(super) fn operator(home: &Home) -> Result<PathBuf, String> {
    let program = home.target.join("operator.exe");
    let source = home.root.join("xtask/src/windows/operator.c");
    toolchain::compile_c(&source, &program, &[])?;
    Ok(program)
}

/// What `wharf load` counted.
#[derive(Debug, PartialEq)]
pub(super) struct Counted {
    pub(super) frames: u64,
    pub(super) frames_per_second: f64,
}

/// Runs `wharf load` for some seconds and demands exit code 0 and that every frame is accounted
/// for.
///
/// # Errors
/// When a frame is not, or the load can't be run.
pub(super) fn load(
    mut command: Command,
    address: &str,
    seconds: &str,
    args: &[&str],
) -> Result<Counted, String> {
    command
        .args(["load", "--json", "--connect", address, "--seconds", seconds])
        .args(args);
    let name = format!("wharf load {}", args.join(" "));
    let limit = LOAD_LIMIT + Duration::from_secs(seconds.parse().map_err(|_| "seconds")?);
    let text = group::captured(&name, &mut command, limit)?;
    accounted(&text).map_err(|why| format!("{name}: {why}: {text}"))
}

/// Looks at every count itself: a load that forgot a check must not pass.
fn accounted(text: &str) -> Result<Counted, String> {
    let report: serde_json::Value = serde_json::from_str(text).map_err(|e| e.to_string())?;
    let count = |name: &str| {
        report[name]
            .as_u64()
            .ok_or_else(|| format!("no count {name}"))
    };
    for fault in [
        "lost",
        "doubled",
        "reordered",
        "corrupt",
        "misrouted",
        "closed_by_peer",
    ] {
        match count(fault)? {
            0 => {}
            frames => return Err(format!("{frames} {fault}")),
        }
    }
    let (sent, expected) = (count("frames_sent")?, count("frames_expected")?);
    let frames = count("frames_answered")?;
    if frames == 0 || frames != expected || sent != expected || report["fault"] != false {
        return Err(format!(
            "{sent} sent, {expected} expected, {frames} answered"
        ));
    }
    let rate = report["frames_per_second"].as_f64();
    Ok(Counted {
        frames,
        frames_per_second: rate.ok_or("no frames_per_second")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_frame_has_to_be_accounted_for() {
        let text = |faults: u64, expected: u64, answered: u64| {
            format!(
                r#"{{"lost":0,"doubled":0,"reordered":{faults},"corrupt":0,"misrouted":0,
                "closed_by_peer":0,"frames_sent":{expected},"frames_expected":{expected},
                "frames_answered":{answered},"frames_per_second":2.5,"fault":false}}"#
            )
        };
        let good = Counted {
            frames: 9,
            frames_per_second: 2.5,
        };
        assert_eq!(accounted(&text(0, 9, 9)), Ok(good));
        for (faults, expected, answered) in [(1, 9, 9), (0, 9, 8), (0, 9, 10), (0, 0, 0)] {
            let text = text(faults, expected, answered);
            assert!(accounted(&text).is_err(), "{text}");
        }
        assert!(accounted("{}").is_err() && accounted("").is_err());
    }
}
