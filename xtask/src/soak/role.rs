//! A process of the soak: orders go in, lines of JSON come out.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::process::{Running, bound, wait_for};

/// Lines that wait to be read; they are read many times a second.
const LINES_MAX: usize = 10_000;
const START_LIMIT: Duration = Duration::from_secs(30);

/// The environment variable that all processes of one run have, by which any that is left is found.
pub(super) const RUN: &str = "WHARF_SOAK_RUN";

/// A line of a role: what it is, and the rest.
pub(super) type Told = (String, Value);

/// The process.
pub(super) struct Role {
    pub(super) name: String,
    running: Running,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    told: VecDeque<Told>,
}

impl Role {
    /// Starts `wharf soak ARGS`, and returns with what it says when it is ready.
    ///
    /// # Errors
    /// It does not start, or is not ready in time.
    pub(super) fn start(
        (wharf, run): (&Path, &str),
        args: &[String],
        nice: bool,
    ) -> Result<(Self, Value), String> {
        let mut line = Vec::new();
        if nice {
            // Real attackers have cores of their own.
            line.extend(["nice", "-n", "10"].map(str::to_owned));
        }
        line.extend([wharf.display().to_string(), "soak".to_owned()]);
        line.extend_from_slice(args);
        let mut command = bound(&line);
        command.env(RUN, run);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let name = args.iter().take(2).cloned().collect::<Vec<_>>().join(" ");
        let mut running = Running::start(&name, command)?;
        let (stdin, stdout) = running.take_pipes();
        let (sender, lines) = sync_channel(LINES_MAX);
        let read = move || {
            let lines = stdout
                .into_iter()
                .flat_map(|out| BufReader::new(out).lines());
            for line in lines.map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        };
        let reader = std::thread::Builder::new().name("soak-lines".into());
        reader.spawn(read).map_err(|e| e.to_string())?;
        let mut role = Self {
            name,
            running,
            stdin,
            lines,
            told: VecDeque::new(),
        };
        let what = format!("{} ready", role.name);
        let ready = wait_for(&what, START_LIMIT, || {
            role.look()?;
            role.must_run()?;
            Ok(role.take("ready"))
        })?;
        Ok((role, ready))
    }

    pub(super) fn pid(&self) -> i32 {
        self.running.pid
    }

    /// Reads the lines that have come.
    pub(super) fn look(&mut self) -> Result<(), String> {
        while let Ok(line) = self.lines.try_recv() {
            let wrong = || format!("{} said \"{line}\"", self.name);
            let value: Value = serde_json::from_str(&line).map_err(|_| wrong())?;
            let Value::Object(told) = value else {
                return Err(wrong());
            };
            self.told.extend(told);
        }
        Ok(())
    }

    /// The first line of this kind that came.
    pub(super) fn take(&mut self, kind: &str) -> Option<Value> {
        let at = self.told.iter().position(|(told, _)| told == kind)?;
        Some(self.told.remove(at)?.1)
    }

    /// # Errors
    /// It has ended.
    pub(super) fn must_run(&mut self) -> Result<(), String> {
        match self.running.status()? {
            None => Ok(()),
            Some(status) => Err(format!("{} ended before its time: {status}", self.name)),
        }
    }

    /// # Errors
    /// It does not read any more.
    pub(super) fn order(&mut self, order: &str) -> Result<(), String> {
        let name = &self.name;
        let stdin = self.stdin.as_mut().ok_or("its orders have ended")?;
        writeln!(stdin, "{order}").map_err(|e| format!("{name}: {e}"))
    }

    pub(super) fn signal(&self, signal: Signal) {
        self.running.signal(signal);
    }

    /// Ends its orders and waits until it has ended by itself, in good order.
    ///
    /// # Errors
    /// It does not, or with an exit code that is not 0.
    pub(super) fn finish(&mut self, limit: Duration) -> Result<(), String> {
        drop(self.stdin.take());
        let begun = Instant::now();
        loop {
            // A full pipe must not hold it up.
            self.look()?;
            match self.running.status()? {
                Some(status) if status.success() => break,
                Some(status) => return Err(format!("{}: {status}", self.name)),
                None if begun.elapsed() > limit => {
                    let name = &self.name;
                    self.running.signal(Signal::KILL);
                    return Err(format!(
                        "{name} did not end {} s after it should",
                        limit.as_secs()
                    ));
                }
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        }
        // The reader ends with the pipe: then all lines have come.
        while let Ok(line) = self.lines.recv_timeout(Duration::from_secs(5)) {
            if let Ok(Value::Object(told)) = serde_json::from_str(&line) {
                self.told.extend(told);
            }
        }
        Ok(())
    }

    /// Kills it, stopped or not.
    pub(super) fn kill(&mut self) -> Result<(), String> {
        self.running.signal(Signal::KILL);
        let running = &mut self.running;
        wait_for("a killed process", Duration::from_secs(10), || {
            running.status()
        })?;
        Ok(())
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        // What is still there then was in nobody's plan: at once, for a stopped one hears nothing
        // else.
        self.running.signal(Signal::KILL);
    }
}

/// Processes of this run that are still there.
pub(super) fn left(run: &str) -> Vec<String> {
    let own = std::process::id().to_string();
    let mut left = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let pid = entry.file_name().to_string_lossy().into_owned();
        if pid == own || !pid.bytes().all(|b| b.is_ascii_digit()) {
            continue;
        }
        // One that has ended since, or is not ours to read, is none of these.
        let Ok(environ) = std::fs::read(entry.path().join("environ")) else {
            continue;
        };
        let mark = format!("{RUN}={run}");
        if environ.split(|b| *b == 0).any(|v| v == mark.as_bytes()) {
            left.push(pid);
        }
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program that is ready at once and ends with its orders. The shell itself waits for them:
    /// for a moment of an exec, a process has no environment to be found by.
    fn fake(name: &str) -> std::path::PathBuf {
        use std::os::unix::fs::PermissionsExt as _;
        let path = std::env::temp_dir().join(format!("wharf-soak-{name}-{}", std::process::id()));
        let script = "#!/bin/sh\necho '{\"ready\":7}'\nwhile read -r _; do :; done\n";
        std::fs::write(&path, script).expect("writable");
        let all = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(&path, all).expect("ours");
        path
    }

    fn start(path: &Path, run: &str) -> Role {
        let args = ["some", "role"].map(str::to_owned);
        let (role, ready) = Role::start((path, run), &args, true).expect("starts");
        assert_eq!(ready, 7);
        assert_eq!(left(run), [role.pid().to_string()]);
        role
    }

    #[test]
    fn none_is_left_whether_it_ends_is_dropped_or_is_stopped_and_dropped() {
        let path = fake("left");
        let run = format!("test-{}", std::process::id());
        let mut ends = start(&path, &run);
        ends.finish(START_LIMIT).expect("by itself");
        assert!(left(&run).is_empty());
        drop(start(&path, &run));
        assert!(left(&run).is_empty());
        let stopped = start(&path, &run);
        stopped.signal(Signal::STOP);
        drop(stopped);
        assert!(left(&run).is_empty());
        std::fs::remove_file(path).expect("it is there");
    }
}
