//! What the process under test counts about itself.

use std::fs;

use cpu_time::ProcessTime;
use serde::{Deserialize, Serialize};
use wharf::stats::HostSnapshot;

use super::handler::Gauges;

/// Counters since the process started.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Counters {
    /// CPU time, user and system, in seconds.
    pub(crate) cpu_s: f64,
    /// Threads and their context switches; `None` where the system does not say.
    pub(crate) threads: Option<Threads>,
    /// Most handlers of low classes at once.
    pub(crate) low_at_once_max: u64,
    /// In the order of the topology.
    pub(crate) networks: Vec<NetworkCounters>,
    /// Ports, then pools.
    pub(crate) ports: Vec<PortCounters>,
}

/// The threads of a process.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Threads {
    /// Now.
    pub(crate) count: u64,
    /// Waits, all together.
    pub(crate) switches_voluntary: u64,
    /// Preemptions, all together.
    pub(crate) switches_involuntary: u64,
}

/// A network's part.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct NetworkCounters {
    pub(crate) name: String,
    /// The pool that runs its callbacks, if it is not the port.
    pub(crate) pool: Option<String>,
    pub(crate) sessions: usize,
    pub(crate) frames_in: u64,
    pub(crate) frames_out: u64,
    pub(crate) turns: u64,
    /// Sessions cut, by any reason.
    pub(crate) ended: u64,
}

/// A port's or a pool's part.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct PortCounters {
    pub(crate) name: String,
    pub(crate) workers: usize,
    pub(crate) turns: u64,
    /// Time in turns, in seconds.
    pub(crate) busy_s: f64,
    pub(crate) parks: u64,
    pub(crate) harvests: u64,
}

impl Counters {
    /// Reads everything.
    pub(crate) fn read(stats: &HostSnapshot, gauges: &Gauges) -> Self {
        let network = |network: &wharf::stats::NetworkSnapshot| NetworkCounters {
            name: network.name.clone(),
            pool: network.pool.clone(),
            sessions: network.sessions,
            frames_in: network.frames_in,
            frames_out: network.frames_out,
            turns: network.turns,
            ended: network.ended,
        };
        let port = |port: &wharf::stats::PortSnapshot| PortCounters {
            name: port.name.clone(),
            workers: port.workers.len(),
            turns: port.workers.iter().map(|worker| worker.turns).sum(),
            busy_s: port
                .workers
                .iter()
                .map(|worker| worker.busy.as_secs_f64())
                .sum(),
            parks: port.workers.iter().map(|worker| worker.parks).sum(),
            harvests: port.workers.iter().map(|worker| worker.harvests).sum(),
        };
        Self {
            cpu_s: ProcessTime::now().as_duration().as_secs_f64(),
            threads: threads(),
            low_at_once_max: gauges.low_at_once_max(),
            networks: stats.networks.iter().map(network).collect(),
            ports: stats.ports.iter().chain(&stats.pools).map(port).collect(),
        }
    }

    /// The network with this name.
    pub(crate) fn network(&self, name: &str) -> Option<&NetworkCounters> {
        self.networks.iter().find(|network| network.name == name)
    }

    /// Frames handled, all networks together.
    pub(crate) fn frames(&self) -> u64 {
        self.networks.iter().map(|network| network.frames_in).sum()
    }
}

/// What the kernel keeps under `task`. The threads of a run live as long as the process, so none is
/// missed.
fn threads() -> Option<Threads> {
    let mut all = Threads::default();
    for thread in fs::read_dir("/proc/self/task").ok()?.flatten() {
        let Ok(status) = fs::read_to_string(thread.path().join("status")) else {
            continue;
        };
        all.count += 1;
        all.switches_voluntary += number(&status, "voluntary_ctxt_switches:");
        all.switches_involuntary += number(&status, "nonvoluntary_ctxt_switches:");
    }
    Some(all)
}

fn number(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|value| value.trim().parse().ok())
        .unwrap_or(0)
}
