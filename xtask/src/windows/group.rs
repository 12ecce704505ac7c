//! A child and all that it starts, ended together.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

use crate::process::wait_for;

/// A process group. Dropped, it is killed: Ctrl-C, a time limit and an error all come by here.
pub(super) struct Group {
    name: String,
    pub(super) child: Child,
}

impl Group {
    /// Starts the command as the first of a group of its own. It reads nothing, unless the caller
    /// set up its standard input.
    pub(super) fn start(name: &str, command: &mut Command) -> Result<Self, String> {
        let child = command.process_group(0).spawn();
        let program = command.get_program().display().to_string();
        Ok(Self {
            name: name.to_owned(),
            child: child.map_err(|e| format!("{name}: {program}: {e}"))?,
        })
    }

    /// Waits for the end of the first one.
    ///
    /// # Errors
    /// When it takes too long, or somebody wants to stop.
    pub(super) fn wait(&mut self, limit: Duration) -> Result<ExitStatus, String> {
        let child = &mut self.child;
        wait_for(&self.name, limit, || {
            child.try_wait().map_err(|e| e.to_string())
        })
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Once the first one was waited for, its number may belong to somebody else.
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // Ended meanwhile is as good.
            let _ = kill_process_group(pid, Signal::KILL);
        }
        let _ = self.child.wait();
    }
}

/// Runs a command to a good end; what it prints goes where ours goes.
///
/// # Errors
/// When it can't be started, ends badly, takes too long, or somebody wants to stop.
pub(super) fn run(name: &str, command: &mut Command, limit: Duration) -> Result<(), String> {
    let status = Group::start(name, command.stdin(Stdio::null()))?.wait(limit)?;
    status
        .success()
        .then_some(())
        .ok_or_else(|| format!("{name}: {status}"))
}

/// The same, and nothing of its output is seen.
///
/// # Errors
/// The same.
pub(super) fn run_silently(
    name: &str,
    command: &mut Command,
    limit: Duration,
) -> Result<(), String> {
    run(
        name,
        command.stdout(Stdio::null()).stderr(Stdio::null()),
        limit,
    )
}

/// The same, and returns what it prints on standard output, which has to fit a pipe.
///
/// # Errors
/// The same; then with the output.
pub(super) fn captured(
    name: &str,
    command: &mut Command,
    limit: Duration,
) -> Result<String, String> {
    let command = command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut group = Group::start(name, command)?;
    let status = group.wait(limit)?;
    let mut text = String::new();
    if let Some(mut stdout) = group.child.stdout.take() {
        stdout
            .read_to_string(&mut text)
            .map_err(|e| format!("{name}: {e}"))?;
    }
    let failed = || format!("{name}: {status}: {text}");
    if status.success() {
        Ok(text)
    } else {
        Err(failed())
    }
}

/// What a short command prints.
///
/// # Errors
/// When it can't be started or ends badly.
pub(super) fn output(name: &str, command: &mut Command) -> Result<String, String> {
    let done = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output();
    let done = done.map_err(|e| format!("{name}: {e}"))?;
    if !done.status.success() {
        return Err(format!("{name}: {}", done.status));
    }
    Ok(String::from_utf8_lossy(&done.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_dropped_group_takes_the_children_of_its_child_with_it() {
        let script = "tail -f /dev/null & echo $!; wait";
        let mut command = shell(script);
        let mut group = Group::start("group", command.stdout(Stdio::piped())).expect("starts");
        let stdout = group.child.stdout.take().expect("piped");
        let mut line = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line)
            .expect("a line");
        let below = format!("/proc/{}/stat", line.trim());
        assert!(std::path::Path::new(&below).exists());
        drop(group);
        // Killed, but not always waited for by whoever inherits it yet: `Z` is dead too.
        wait_for("the end of the grandchild", Duration::from_secs(10), || {
            let stat = std::fs::read_to_string(&below).unwrap_or_default();
            Ok((stat.is_empty() || stat.contains(") Z")).then_some(()))
        })
        .expect("it ended");
    }

    #[test]
    fn an_exit_code_and_a_time_limit_are_errors_with_the_name() {
        let error = run("part", &mut shell("exit 3"), Duration::from_secs(10));
        assert!(
            error
                .as_ref()
                .is_err_and(|e| e.contains("part") && e.contains('3')),
            "{error:?}"
        );
        let error = run(
            "slow",
            &mut shell("exec tail -f /dev/null"),
            Duration::from_millis(10),
        );
        assert!(
            error.as_ref().is_err_and(|e| e.contains("slow")),
            "{error:?}"
        );
        assert_eq!(
            run("good", &mut shell("true"), Duration::from_secs(10)),
            Ok(())
        );
    }
}
