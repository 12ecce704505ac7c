//! One Wine session that stays up while programs run in it, and leaves nothing behind.
//!
//! Without it the first program starts Wine's services, which inherit its standard output and keep
//! a pipe to it open, and every program waits until they have started again.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::group::{self, Group};
use super::wine::Wine;
use crate::process::wait_for;

/// How long Wine may take to start or to end.
const LIMIT: Duration = Duration::from_secs(60);

/// How long processes may take to be gone once their server is.
const GONE_LIMIT: Duration = Duration::from_secs(10);

/// A running session. Dropped, it ends, and with it every process of its prefix.
pub(super) struct Session {
    pub(super) wine: Wine,
    /// A command interpreter that waits for a line which never comes; it ends with this process,
    /// even if that is killed, because the other end of its input goes.
    keeper: Option<Group>,
    server: Option<Group>,
}

impl Session {
    /// Starts one; a session that another run has left is ended first.
    ///
    /// # Errors
    /// When Wine does not start.
    pub(super) fn start(wine: Wine) -> Result<Self, String> {
        Self::start_with(wine, None)
    }

    /// The same, and the server writes every request that it gets to `trace`.
    ///
    /// # Errors
    /// The same.
    pub(super) fn start_with(wine: Wine, trace: Option<File>) -> Result<Self, String> {
        let mut session = Self {
            wine,
            keeper: None,
            server: None,
        };
        session.clear()?;
        if let Some(file) = trace {
            let written = file.try_clone().map_err(|e| format!("trace: {e}"))?;
            let mut server = session.wine.server(&["--foreground", "--debug=1"]);
            server
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(file);
            session.server = Some(Group::start("wineserver", &mut server)?);
            // A program that comes before it starts a server of its own, which writes nothing.
            wait_for("the server's first line", LIMIT, || {
                let length = written.metadata().map_err(|e| format!("trace: {e}"))?.len();
                Ok((length > 0).then_some(()))
            })?;
        }
        let mut keeper = session.wine.run(Path::new("cmd"));
        keeper
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        session.keeper = Some(Group::start("Wine session", &mut keeper)?);
        wait_for("Wine session", LIMIT, || {
            let mut probe = session.wine.run(Path::new("cmd"));
            let done = group::run_silently("probe", probe.args(["/c", "exit"]), LIMIT);
            Ok(done.is_ok().then_some(()))
        })?;
        Ok(session)
    }

    /// Ends the session and holds it to leaving no process.
    ///
    /// # Errors
    /// When a process had to be killed: some part does not clean up after itself.
    pub(super) fn end(mut self) -> Result<(), String> {
        self.clear()
    }

    /// Ends all that runs in the prefix.
    fn clear(&mut self) -> Result<(), String> {
        // Its input ends, and so does the interpreter; what hangs is killed with the server.
        if let Some(keeper) = &mut self.keeper {
            drop(keeper.child.stdin.take());
        }
        // Fails if no server runs, which is as good.
        let _ = self.wine.server(&["-k"]).stderr(Stdio::null()).status();
        self.keeper = None;
        self.server = None;
        let processes = || self.wine.processes();
        let gone = wait_for_even_if_interrupted(GONE_LIMIT, || processes().is_empty());
        if gone {
            return Ok(());
        }
        let left: Vec<_> = processes()
            .into_iter()
            .map(|pid| (pid, name(pid)))
            .collect();
        for pid in left.iter().filter_map(|(pid, _)| Pid::from_raw(*pid)) {
            // It may have ended meanwhile.
            let _ = kill_process(pid, Signal::KILL);
        }
        Err(format!(
            "processes outlived their Wine session and were killed: {left:?}"
        ))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Nobody is left to tell; on the good way `end` has told.
        let _ = self.clear();
    }
}

/// [`wait_for`] gives up on Ctrl-C, and then is when this is needed most.
fn wait_for_even_if_interrupted(limit: Duration, done: impl Fn() -> bool) -> bool {
    let period = Duration::from_millis(20);
    let looks = limit.as_millis() / period.as_millis();
    (0..looks).any(|_| {
        let ready = done();
        if !ready {
            std::thread::sleep(period);
        }
        ready
    })
}

fn name(pid: i32) -> String {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&line)
        .replace('\0', " ")
        .trim()
        .to_owned()
}

/// Programs of other systems are run by this one's command line.
pub(super) fn silent(command: &mut Command) -> &mut Command {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
}
