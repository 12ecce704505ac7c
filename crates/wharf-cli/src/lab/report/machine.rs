//! Where the lab ran.

use std::fs;
use std::thread::Builder;

use serde::Serialize;

/// A machine, as far as it says.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Machine {
    /// Cores this process may use.
    pub(crate) cores: usize,
    /// The processor's name; empty if the system does not say.
    pub(crate) cpu: String,
    /// The operating system, and its version where it says.
    pub(crate) system: String,
    /// Runnable tasks of the last minute, all of the machine, when the report was made: the lab's
    /// own are in it.
    pub(crate) load_1min: Option<f64>,
    /// Why the driver could not run ahead of the server; none if it did.
    pub(crate) driver_refused: Option<String>,
}

impl Machine {
    /// This one.
    pub(crate) fn this(cores: usize) -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let cpu = read("/proc/cpuinfo");
        let name = cpu.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            (key.trim() == "model name").then(|| value.trim().to_owned())
        });
        let kernel = read("/proc/sys/kernel/osrelease");
        let load = read("/proc/loadavg");
        Self {
            cores,
            cpu: name.unwrap_or_default(),
            system: format!("{} {}", std::env::consts::OS, kernel.trim())
                .trim()
                .to_owned(),
            driver_refused: refused_ahead(),
            load_1min: load.split(' ').next().and_then(|load| load.parse().ok()),
        }
    }

    /// In one line.
    pub(crate) fn in_words(&self) -> String {
        let cores = if self.cores == 1 { "core" } else { "cores" };
        let cpu = if self.cpu.is_empty() {
            std::env::consts::ARCH
        } else {
            &self.cpu
        };
        let driver = if self.driver_refused.is_some() {
            "; the driver is not ahead of the server, which the system refused"
        } else {
            ""
        };
        format!("{} {cores} of {cpu}, {}{driver}", self.cores, self.system)
    }
}

/// Tries on a thread of its own what the driver does.
fn refused_ahead() -> Option<String> {
    let tried = Builder::new()
        .name("lab-ahead".into())
        .spawn(wharf::model::run_ahead);
    let ended = tried.ok()?.join().ok()?;
    ended.err().map(|error| error.to_string())
}
