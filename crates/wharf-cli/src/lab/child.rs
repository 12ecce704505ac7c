//! The server process: started, asked for its counters, watched, and ended.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;

use super::server::{Counters, Ready};
use crate::exit::Failure;
use crate::pause::pause;

/// How long an answer may take: a machine whose cores are all taken is slow.
const PATIENCE: Duration = Duration::from_secs(20);
/// A look at a process that is to end.
const LOOK: Duration = Duration::from_millis(2);
/// Lines that wait to be read; one is asked for at a time.
const LINES_MAX: usize = 4;

/// A running server process; dropping it ends it.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    /// Closed to end it.
    orders: Option<ChildStdin>,
    lines: Receiver<String>,
    reader: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts this program again as the process under test, and waits until it serves.
    ///
    /// # Errors
    /// A process that does not start; its own words are on standard error.
    pub(crate) fn start(
        topology: &Path,
        workload: &str,
        variant: &str,
    ) -> Result<(Self, Ready), Failure> {
        let machine = |error: std::io::Error| {
            Failure::machine(format!("could not start the server process: {error}"))
        };
        let mut command = Command::new(std::env::current_exe().map_err(machine)?);
        command.arg("lab-server").arg("--topology").arg(topology);
        command.args(["--workload", workload]);
        if !variant.is_empty() {
            command.args(["--variant", variant]);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(machine)?;
        let orders = child.stdin.take();
        let output = child.stdout.take();
        let (sender, lines) = sync_channel(LINES_MAX);
        let reader = Builder::new().name("lab-lines".into()).spawn(move || {
            let read = output
                .into_iter()
                .flat_map(|out| BufReader::new(out).lines());
            for line in read.map_while(Result::ok) {
                // Nobody listens once the run is over.
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let mut server = Self {
            child,
            orders,
            lines,
            reader: None,
        };
        server.reader = Some(reader.map_err(machine)?);
        let ready = server.answer()?;
        Ok((server, ready))
    }

    /// Its counters now.
    ///
    /// # Errors
    /// A process that has ended or does not answer.
    pub(crate) fn mark(&mut self) -> Result<Counters, Failure> {
        let asked = self
            .orders
            .as_mut()
            .map(|orders| orders.write_all(b"mark\n"));
        match asked {
            Some(Ok(())) => self.answer(),
            _ => Err(self.gone()),
        }
    }

    /// Ends it in good order, and returns its last counters.
    ///
    /// # Errors
    /// A process that does not end, or ends with a fault.
    pub(crate) fn finish(mut self) -> Result<Counters, Failure> {
        drop(self.orders.take());
        let last = self.answer()?;
        let until = Instant::now() + PATIENCE;
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) if status.success() => return Ok(last),
                Ok(None) if Instant::now() < until => pause(LOOK),
                Ok(None) => return Err(Failure::fault("the server process does not end")),
                Ok(Some(_)) | Err(_) => return Err(self.gone()),
            }
        }
    }

    /// CPU time of all its threads until now, in seconds, where the system says.
    pub(crate) fn cpu_s(&self) -> Option<f64> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).ok()?;
        let mut nanos = 0.0;
        for task in tasks.flatten() {
            // Its first field is the time on a core, in ns; utime and stime of stat count in
            // hundredths of a second, too coarse for ten looks a second.
            let stat = fs::read_to_string(task.path().join("schedstat")).ok()?;
            nanos += stat.split_whitespace().next()?.parse::<f64>().ok()?;
        }
        Some(nanos / 1e9)
    }

    fn answer<T: DeserializeOwned>(&mut self) -> Result<T, Failure> {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => serde_json::from_str(&line).map_err(|error| {
                Failure::fault(format!("the server process said \"{line}\": {error}"))
            }),
            Err(RecvTimeoutError::Timeout) => {
                Err(Failure::fault("the server process does not answer"))
            }
            Err(RecvTimeoutError::Disconnected) => Err(self.gone()),
        }
    }

    fn gone(&mut self) -> Failure {
        let how = self.child.wait();
        let how = how.map_or_else(|error| error.to_string(), |status| status.to_string());
        Failure::fault(format!(
            "the server process ended before its time ({how}); what it said is above"
        ))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.orders.take());
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            // It had its time in `finish`; here a run has failed.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        while self.lines.recv_timeout(PATIENCE).is_ok() {}
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}
