//! Child processes that never outlive the benchmark.
//!
//! Three nets: dropping a child ends it (errors and panics come by here), Ctrl-C and SIGTERM only
//! set a flag that every wait looks at, and `setpriv --pdeathsig` lets the kernel end a child
//! whose parent was killed outright.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Signal, getrlimit, kill_process};
use rustix::thread::{CpuSet, sched_getaffinity};

/// How long a server may take to print its address: under valgrind, beside builds, half a minute.
const START_LIMIT: Duration = Duration::from_secs(120);

/// How long a server may take to end after SIGTERM, before it is killed.
const END_LIMIT: Duration = Duration::from_secs(5);

const POLL_PERIOD: Duration = Duration::from_millis(10);

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// From now on Ctrl-C and SIGTERM make the next wait fail, instead of ending this process at once.
pub(crate) fn catch_signals() -> Result<(), String> {
    ctrlc::set_handler(|| INTERRUPTED.store(true, Ordering::Relaxed))
        .map_err(|e| format!("cannot catch Ctrl-C: {e}"))
}

/// Waits until `done` returns something, the limit is over, or somebody wants to stop.
pub(crate) fn wait_for<T>(
    what: &str,
    limit: Duration,
    mut done: impl FnMut() -> Result<Option<T>, String>,
) -> Result<T, String> {
    let start = Instant::now();
    loop {
        if let Some(result) = done()? {
            return Ok(result);
        }
        if interrupted() {
            return Err("interrupted".into());
        }
        if start.elapsed() > limit {
            return Err(format!("{what}: not done after {} s", limit.as_secs()));
        }
        std::thread::sleep(POLL_PERIOD);
    }
}

/// Who gets which of the cores that this process may use: the server the first, the load the
/// second.
#[derive(Clone, Copy)]
pub(crate) enum Core {
    Server,
    Load,
}

impl Core {
    fn number(self) -> Result<usize, String> {
        let allowed = sched_getaffinity(None).map_err(|e| format!("sched_getaffinity: {e}"))?;
        let mut numbers = (0..CpuSet::MAX_CPU).filter(|&core| allowed.is_set(core));
        let nth = match self {
            Self::Server => 0,
            Self::Load => 1,
        };
        let missing = "the server and the load need a core each, and this process may use only one";
        numbers.nth(nth).ok_or_else(|| missing.into())
    }
}

/// `command`, bound to one core and to the life of this process.
pub(crate) fn bound_to(core: Core, command: &[String]) -> Result<Command, String> {
    let core = core.number()?.to_string();
    let mut words: Vec<String> = ["taskset", "-c", &core].map(Into::into).into();
    words.extend_from_slice(command);
    Ok(tied(&words))
}

/// `command`, bound to the life of this process alone.
pub(crate) fn tied(command: &[String]) -> Command {
    let mut tied = Command::new("setpriv");
    tied.args(["--pdeathsig", "KILL", "--"]).args(command);
    tied.stdin(Stdio::null()).stdout(Stdio::piped());
    tied
}

/// The most files that a process here may open; `None` if there is no limit.
pub(crate) fn open_files_max() -> Option<u64> {
    getrlimit(Resource::Nofile).maximum
}

/// `command`, bound to the life of this process alone. The kernel means the thread that starts it.
pub(crate) fn bound(command: &[String]) -> Command {
    let mut bound = Command::new("setpriv");
    bound.args(["--pdeathsig", "KILL", "--"]).args(command);
    bound
}

/// Whether somebody wants to stop.
pub(crate) fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// Waits until `name` prints the line `listening on ADDR`, and returns the address.
pub(crate) fn read_address(name: &str, stdout: ChildStdout) -> Result<String, String> {
    let (sender, receiver) = mpsc::sync_channel(1);
    // A read has no time limit, so it gets a thread; it ends with the child.
    std::thread::Builder::new()
        .name("server-output".into())
        .spawn(move || {
            let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
            let address =
                lines.find_map(|line| Some(line.split_once("listening on ")?.1.to_owned()));
            // Nobody may be waiting any more; the rest is read so that the child never blocks.
            let _ = sender.send(address);
            lines.for_each(drop);
        })
        .map_err(|e| e.to_string())?;
    let line = wait_for(
        &format!("{name} listening"),
        START_LIMIT,
        || match receiver.try_recv() {
            Ok(line) => Ok(Some(line)),
            Err(mpsc::TryRecvError::Empty) => Ok(None),
            Err(mpsc::TryRecvError::Disconnected) => Ok(Some(None)),
        },
    )?;
    let address = line.ok_or_else(|| format!("{name} ended without `listening on ADDR`"))?;
    Ok(address.trim().to_owned())
}

/// A child process that ends when this value does.
pub(crate) struct Running {
    name: String,
    child: Child,
    /// The process to measure and to end: the child itself, or what a tracer runs.
    pub(crate) pid: i32,
    /// How long it may take to end when it is asked to.
    pub(crate) end_limit: Duration,
}

impl Running {
    pub(crate) fn start(name: &str, mut command: Command) -> Result<Self, String> {
        let missing = "(needed: taskset and setpriv of util-linux, strace for --syscalls, \
                       valgrind for bench-instructions)";
        let child = command
            .spawn()
            .map_err(|e| format!("{name}: {e} {missing}"))?;
        let pid = i32::try_from(child.id()).map_err(|e| e.to_string())?;
        Ok(Self {
            name: name.to_owned(),
            child,
            pid,
            end_limit: END_LIMIT,
        })
    }

    /// What its standard input and output are, if they were piped: the first time.
    pub(crate) fn take_pipes(&mut self) -> (Option<ChildStdin>, Option<ChildStdout>) {
        (self.child.stdin.take(), self.child.stdout.take())
    }

    /// Sends a signal; one that has ended gets none.
    pub(crate) fn signal(&self, signal: Signal) {
        if let Some(pid) = Pid::from_raw(self.pid) {
            let _ = kill_process(pid, signal);
        }
    }

    /// How it has ended, if it has.
    pub(crate) fn status(&mut self) -> Result<Option<ExitStatus>, String> {
        self.child.try_wait().map_err(|e| e.to_string())
    }

    /// Waits for the line `listening on ADDR` and returns the address.
    pub(crate) fn listening_on(&mut self) -> Result<String, String> {
        let stdout = self
            .child
            .stdout
            .take()
            .ok_or("the output was taken before")?;
        read_address(&self.name, stdout)
    }

    /// Waits for the end and returns what was printed; an exit code other than 0 is an error.
    pub(crate) fn output(&mut self, limit: Duration) -> Result<String, String> {
        let child = &mut self.child;
        let status = wait_for(&self.name, limit, || {
            child.try_wait().map_err(|e| e.to_string())
        })?;
        let mut text = String::new();
        if let Some(mut stdout) = child.stdout.take() {
            stdout
                .read_to_string(&mut text)
                .map_err(|e| e.to_string())?;
        }
        if status.success() {
            Ok(text)
        } else {
            Err(format!("{}: {status}\n{text}", self.name))
        }
    }

    pub(crate) fn has_ended(&mut self) -> Result<bool, String> {
        Ok(self.child.try_wait().map_err(|e| e.to_string())?.is_some())
    }

    /// Asks the process to end and waits until the child has.
    pub(crate) fn end(&mut self) -> Result<(), String> {
        if let Some(pid) = Pid::from_raw(self.pid) {
            // It may have ended by itself.
            let _ = kill_process(pid, Signal::TERM);
        }
        let start = Instant::now();
        while start.elapsed() < self.end_limit {
            if self.child.try_wait().map_err(|e| e.to_string())?.is_some() {
                return Ok(());
            }
            std::thread::sleep(POLL_PERIOD);
        }
        Err(format!(
            "{} did not end {} s after SIGTERM",
            self.name,
            self.end_limit.as_secs()
        ))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let own = i32::try_from(self.child.id()).ok();
        if matches!(self.child.try_wait(), Ok(Some(_))) || self.end().is_ok() {
            return;
        }
        for pid in [Some(self.pid), own]
            .into_iter()
            .flatten()
            .filter_map(Pid::from_raw)
        {
            // Killed already is as good.
            let _ = kill_process(pid, Signal::KILL);
        }
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Vec<String> {
        ["sh", "-c", script].map(Into::into).into()
    }

    fn start(name: &str, script: &str) -> Running {
        let command = bound_to(Core::Server, &shell(script)).expect("a core");
        Running::start(name, command).expect("starts")
    }

    fn is_alive(pid: i32) -> bool {
        std::path::Path::new(&format!("/proc/{pid}")).exists()
    }

    #[test]
    fn the_address_is_read_and_the_child_ends_with_the_value() {
        let script = "echo hello; echo listening on 127.0.0.1:9; exec tail -f /dev/null";
        let mut server = start("server", script);
        assert_eq!(server.listening_on().as_deref(), Ok("127.0.0.1:9"));
        let pid = server.pid;
        assert!(is_alive(pid));
        drop(server);
        assert!(!is_alive(pid));
    }

    #[test]
    fn a_child_that_ignores_sigterm_is_killed() {
        let script = "trap '' TERM; echo listening on x; exec tail -f /dev/null";
        let mut server = start("deaf", script);
        assert_eq!(server.listening_on().as_deref(), Ok("x"));
        server.end_limit = Duration::from_millis(100);
        let pid = server.pid;
        drop(server);
        assert!(!is_alive(pid));
    }

    #[test]
    fn a_child_that_fails_is_an_error_with_its_output() {
        let mut load = start("load", "echo why; exit 3");
        let error = load.output(START_LIMIT).expect_err("exit code 3");
        assert!(error.contains("load") && error.contains("why"), "{error}");
        let mut silent = start("silent", "true");
        let error = silent.listening_on().expect_err("no address");
        assert!(error.contains("silent ended without"), "{error}");
    }
}
