//! Where the lab ran.

use std::fs;

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
        format!("{} {cores} of {cpu}, {}", self.cores, self.system)
    }
}
