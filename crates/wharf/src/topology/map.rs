//! The thread map: what a topology comes to on a machine, and what may surprise.

use std::time::Duration;

use super::limits_text;
use super::nearest::listed;
use super::plan::{LanePlan, NetworkPlan, Role, ThreadsPlan, Topology};
use super::work::{ServedBy, WorkPlan};

/// What a topology comes to on a machine with so many cores. Its text is the table of
/// `wharf check`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThreadMap {
    /// The cores it was resolved for.
    pub cores: usize,
    /// All workers of all ports and pools.
    pub threads: usize,
    /// The ports, then the pools.
    pub rows: Vec<ThreadRow>,
    /// The networks, in the order of the file.
    pub networks: Vec<NetworkRow>,
    /// Work that is no network's, in the order of the file.
    pub work: Vec<WorkRow>,
    /// The ceiling for what all sessions of all networks hold, in bytes; `None` for none.
    pub memory_bytes_max: Option<usize>,
    /// What works but may surprise, a sentence each.
    pub warnings: Vec<String>,
}

/// A port or pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThreadRow {
    /// Whether it is a pool.
    pub is_pool: bool,
    /// Its name.
    pub name: String,
    /// Its workers from the start.
    pub workers: usize,
    /// The most workers it may be resized to.
    pub workers_limit: usize,
    /// Its lanes, highest first.
    pub lanes: Vec<LaneRow>,
    /// The threads' nice value, if it is set.
    pub nice: Option<i32>,
    /// The cores that the threads may run on; empty means any.
    pub cores: Vec<usize>,
    /// How long an idle worker looks again before it sleeps.
    pub spin: Duration,
    /// How long a worker may nap while its siblings get on.
    pub nap: Duration,
    /// How many of its workers Windows lets run at once, 0 being one a core; `None` is all.
    pub concurrency: Option<usize>,
}

/// A lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneRow {
    /// Its name.
    pub name: String,
    /// The workers kept for it.
    pub workers_least: usize,
    /// The most workers it may hold at once: its cap, and what the other lanes do not keep.
    pub workers_most: usize,
    /// After so long without a turn it gets one.
    pub starve_after: Option<Duration>,
    /// The nice value of a worker during its turns, if it has its own.
    pub nice: Option<i32>,
    /// The other names that it answers to.
    pub also: Vec<String>,
    /// The networks whose sessions begin in it.
    pub networks: Vec<String>,
    /// The work that runs in it.
    pub work: Vec<String>,
}

/// Work that is no network's: strands and jobs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkRow {
    /// Its name.
    pub name: String,
    /// Whose workers run it.
    pub on: ServedBy,
    /// Its lane there.
    pub lane: String,
    /// The most threads that it occupies at once.
    pub workers_most: usize,
}

/// A network and what it may take at most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkRow {
    /// Its name.
    pub name: String,
    /// Whether it listens; else it connects.
    pub is_server: bool,
    /// Its addresses, as in the file.
    pub addrs: Vec<String>,
    /// The port that reports its sockets as ready.
    pub port: String,
    /// The pool that runs its turns.
    pub pool: Option<String>,
    /// Its lane there.
    pub lane: String,
    /// The most sessions at once.
    pub sessions_max: usize,
    /// The most bytes that one session's send queue holds.
    pub send_queue_bytes_max: usize,
    /// The largest frame, and so the most that one session keeps of what it has not handled.
    pub frame_bytes_max: usize,
    /// What all its sessions hold at worst, were there no ceiling: `sessions_max *
    /// (send_queue_bytes_max + frame_bytes_max)`.
    pub memory_bytes_max: u64,
    /// What it does with a peer that is silent, stuck, too many or too fast, in words: what is
    /// limited, and by how much.
    pub limits: Vec<(&'static str, String)>,
    /// The most threads that its handlers occupy at once.
    pub workers_most: usize,
}

impl Topology {
    /// What it comes to on a machine with `cores` cores.
    #[must_use]
    pub fn thread_map(&self, cores: usize) -> ThreadMap {
        let ports = self.ports.iter().map(|port| ThreadRow {
            spin: port.spin,
            nap: port.nap,
            concurrency: port.concurrency,
            ..self.row(&port.name, false, &port.threads, cores)
        });
        let pools = self.pools.iter();
        let pools = pools.map(|pool| self.row(&pool.name, true, &pool.threads, cores));
        let rows: Vec<_> = ports.chain(pools).collect();
        let networks = self.networks.iter();
        let networks = networks
            .map(|network| network_row(network, &rows))
            .collect();
        let work = self.work.iter();
        let work = work.map(|work| work_row(work, &rows)).collect();
        let mut map = ThreadMap {
            cores,
            threads: rows
                .iter()
                .map(|row| row.workers)
                .fold(0, usize::saturating_add),
            rows,
            networks,
            work,
            memory_bytes_max: self.host.memory.map(|limit| limit.bytes_max),
            warnings: Vec::new(),
        };
        map.warn();
        map
    }

    fn row(&self, name: &str, is_pool: bool, plan: &ThreadsPlan, cores: usize) -> ThreadRow {
        let workers = plan.workers_on(cores);
        let kept = plan.kept();
        let lane = |lane: &LanePlan| {
            let free = workers.saturating_sub(kept.saturating_sub(lane.workers_min));
            let here = |network: &&NetworkPlan| {
                let on = match &network.pool {
                    Some(pool) => is_pool && pool == name,
                    None => !is_pool && network.port == name,
                };
                on && lane.answers_to(&network.lane)
            };
            let networks = self.networks.iter().filter(here);
            let here = |work: &&WorkPlan| work.on.is(is_pool, name) && lane.answers_to(&work.lane);
            let work = self.work.iter().filter(here);
            LaneRow {
                name: lane.name.clone(),
                workers_least: lane.workers_min,
                workers_most: lane.workers_max.map_or(free, |most| most.min(free)),
                starve_after: lane.starve_after,
                nice: lane.nice,
                also: lane.also.clone(),
                networks: networks.map(|network| network.name.clone()).collect(),
                work: work.map(|work| work.name.clone()).collect(),
            }
        };
        ThreadRow {
            is_pool,
            name: name.to_owned(),
            workers,
            workers_limit: plan.workers_limit.unwrap_or(workers),
            lanes: plan.lanes.iter().map(lane).collect(),
            nice: plan.nice,
            cores: plan.cores.clone(),
            spin: Duration::ZERO,
            nap: Duration::ZERO,
            concurrency: None,
        }
    }
}

fn network_row(plan: &NetworkPlan, rows: &[ThreadRow]) -> NetworkRow {
    let serves = rows.iter().find(|row| match &plan.pool {
        Some(pool) => row.is_pool && row.name == *pool,
        None => !row.is_pool && row.name == plan.port,
    });
    let lanes = serves.map_or(&[][..], |row| &row.lanes);
    let lane = lanes.iter().find(|lane| lane.networks.contains(&plan.name));
    let sessions_max = plan.sessions_max();
    let queue = plan.send_queue.bytes_max;
    let frame = plan.framing.frame_bytes_max;
    let wide = |bytes: usize| u64::try_from(bytes).unwrap_or(u64::MAX);
    NetworkRow {
        name: plan.name.clone(),
        is_server: matches!(plan.role, Role::Listen(_)),
        addrs: plan.role.addrs().to_vec(),
        port: plan.port.clone(),
        pool: plan.pool.clone(),
        lane: plan.lane.clone(),
        sessions_max,
        send_queue_bytes_max: queue,
        frame_bytes_max: frame,
        memory_bytes_max: wide(queue)
            .saturating_add(wide(frame))
            .saturating_mul(wide(sessions_max)),
        limits: limits_text::of(plan),
        workers_most: lane.map_or(0, |lane| lane.workers_most),
    }
}

fn work_row(plan: &WorkPlan, rows: &[ThreadRow]) -> WorkRow {
    let mut lanes = rows.iter().flat_map(|row| &row.lanes);
    let lane = lanes.find(|lane| lane.work.contains(&plan.name));
    WorkRow {
        name: plan.name.clone(),
        on: plan.on.clone(),
        lane: plan.lane.clone(),
        workers_most: lane.map_or(0, |lane| lane.workers_most),
    }
}

impl ThreadRow {
    /// `port "front"`.
    fn what(&self) -> String {
        let kind = if self.is_pool { "pool" } else { "port" };
        format!("{kind} \"{}\"", self.name)
    }
}

/// `1 worker`, `4 workers`.
pub(super) fn count(number: usize, of: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {of}{plural}")
}

impl ThreadMap {
    fn warn(&mut self) {
        let mut warnings = Vec::new();
        if self.threads > self.cores {
            warnings.push(format!(
                "{} on {}: when all are busy the system decides who waits, not the lanes",
                count(self.threads, "worker"),
                count(self.cores, "core")
            ));
        }
        for row in &self.rows {
            self.warn_of_row(row, &mut warnings);
            for (index, lane) in row.lanes.iter().enumerate() {
                warn_of_lane(row, index, lane, &mut warnings);
            }
        }
        for network in &self.networks {
            let (queue, frame) = (network.send_queue_bytes_max, network.frame_bytes_max);
            if queue < frame {
                warnings.push(format!(
                    "network \"{}\": its send queue holds {queue} bytes and a frame may have \
                     {frame}: frames between the two can be received but never sent",
                    network.name
                ));
            }
        }
        self.warnings = warnings;
    }

    fn warn_of_row(&self, row: &ThreadRow, warnings: &mut Vec<String>) {
        let what = row.what();
        let beyond: Vec<_> = row
            .cores
            .iter()
            .filter(|core| **core >= self.cores)
            .collect();
        if let Some(core) = beyond.first() {
            warnings.push(format!(
                "{what} names core {core}, and this machine has {}, numbered from 0: the system \
                 will refuse it",
                count(self.cores, "core")
            ));
        }
        if !row.cores.is_empty() && row.cores.len() < row.workers {
            warnings.push(format!(
                "{what} has {} on {}: some always wait for another",
                count(row.workers, "worker"),
                count(row.cores.len(), "core")
            ));
        }
        for lane in row.lanes.iter().filter(|lane| lane.nice.is_some()) {
            warnings.push(format!(
                "lane \"{}\" of {what} has a priority of its own, from which workers come back \
                 after each turn: on Linux that needs CAP_SYS_NICE or RLIMIT_NICE; without it the \
                 lane runs as the {} does and the log says so",
                lane.name,
                if row.is_pool { "pool" } else { "port" }
            ));
        }
        if row.nice.is_some_and(|nice| nice < 0) {
            warnings.push(format!(
                "{what} asks for a raised priority, which needs a privilege (on Linux CAP_SYS_NICE \
                 or RLIMIT_NICE); without it the threads run as usual and the log says so"
            ));
        }
        let at_once = row.concurrency.map(|most| match most {
            0 => ("one a core".to_owned(), self.cores),
            most => (format!("only {most}"), most),
        });
        if let Some((most, _)) = at_once.filter(|(_, most)| *most < row.workers) {
            warnings.push(format!(
                "{what}: Windows lets {most} of its {} run at once (concurrency): handlers that \
                 compute for long keep the others from serving, those that block do not; other \
                 systems take no notice of it",
                count(row.workers, "worker")
            ));
        }
        if !row.is_pool {
            let on_it = |network: &&NetworkRow| network.port == row.name;
            let (mut all, mut inline) = (0, 0);
            for network in self.networks.iter().filter(on_it) {
                all += 1;
                inline += usize::from(network.pool.is_none());
            }
            let works = row.lanes.iter().any(|lane| !lane.work.is_empty());
            if all == 0 && !works {
                warnings.push(format!(
                    "{what} serves no network: its workers have nothing to do"
                ));
            } else if inline == 0 && !works && row.lanes.len() > 1 {
                warnings.push(format!(
                    "{what} has lanes, but all its networks run their turns on pools: only the \
                     pools' lanes count"
                ));
            }
        }
    }
}

/// Whose handler stops whom, and who may wait for ever.
fn warn_of_lane(row: &ThreadRow, index: usize, lane: &LaneRow, warnings: &mut Vec<String>) {
    let what = row.what();
    let names: Vec<_> = lane.networks.iter().map(String::as_str).collect();
    let capped = lane.workers_most < row.workers;
    if !names.is_empty() && (capped || lane.workers_most == 1) {
        let whose = if names.len() == 1 {
            format!("all sessions of {}", listed(&names))
        } else {
            format!("the sessions of {} alike", listed(&names))
        };
        let stuck = match lane.workers_most {
            1 => "a handler that blocks".to_owned(),
            most => format!("{most} handlers that block"),
        };
        let of = match row.lanes.len() {
            1 => format!("{what} has 1 worker"),
            _ => format!(
                "lane \"{}\" of {what} holds at most {} of {}",
                lane.name,
                lane.workers_most,
                count(row.workers, "worker")
            ),
        };
        let stop = if lane.workers_most == 1 {
            "stops"
        } else {
            "stop"
        };
        warnings.push(format!("{of}: {stuck} {stop} {whose}"));
    }
    if names.len() > 1 && !capped && lane.workers_most > 1 {
        warnings.push(format!(
            "{what} serves {} in one lane: {} handlers of any of them that block stop all; a lane \
             with workers_max for each keeps them apart",
            listed(&names),
            lane.workers_most
        ));
    }
    // A higher lane that can hold every worker leaves none.
    let above = row.lanes[..index]
        .iter()
        .find(|above| above.workers_most >= row.workers);
    if let Some(above) = above
        && lane.workers_least == 0
        && lane.starve_after.is_none()
    {
        warnings.push(format!(
            "lane \"{}\" of {what} waits for as long as lane \"{}\" has work for all workers: give \
             it starve_ms_max or workers_min if it must not",
            lane.name, above.name
        ));
    }
}
