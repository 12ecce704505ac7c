//! The ports and pools of a run: their lanes, who is served where, and what is done to them.

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use wharf::sim::Sim;
use wharf::{ErrorKind, Handler, Host, Lane, Pool, Port, Session, Strand, StrandOptions};

use crate::judge::{Judge, Record};

/// Many more than a stop takes, so that a session that is served in circles is found.
pub(crate) const STEPS_MAX: u64 = 60_000;
pub(crate) const TIME_MAX: Duration = Duration::from_secs(60);

/// A lane.
#[derive(Clone, Debug)]
pub(crate) struct LanePlan {
    name: String,
    workers_max: Option<usize>,
    workers_min: usize,
    lane: Lane,
}

/// The workers and lanes of a port or pool.
#[derive(Clone, Debug)]
pub(crate) struct CrewPlan {
    workers: usize,
    limit: usize,
    lanes: Vec<LanePlan>,
}

/// Where a network is served: indices into what the plan declares.
#[derive(Clone, Debug)]
pub(crate) struct Seat {
    pub(crate) port: usize,
    pub(crate) pool: Option<usize>,
    pub(crate) lane: Option<String>,
}

fn pick<T: Clone>(rng: &mut fastrand::Rng, from: &[T]) -> T {
    from[rng.usize(0..from.len())].clone()
}

impl CrewPlan {
    pub(crate) fn new(rng: &mut fastrand::Rng, workers_max: usize) -> Self {
        let workers = rng.usize(1..=workers_max);
        let limit = workers + rng.usize(0..=3);
        let count = pick(rng, &[1, 1, 2, 3]);
        // One worker is promised to nobody, so that no lane is left without.
        let mut free = workers - 1;
        let lanes = (0..count).map(|index| {
            let name = format!("l{index}");
            let workers_max = rng.bool().then(|| rng.usize(1..=limit));
            let most = free.min(workers_max.unwrap_or(usize::MAX));
            let workers_min = if rng.bool() { 0 } else { rng.usize(0..=most) };
            free -= workers_min;
            let mut lane = Lane::new(&name).workers_min(workers_min);
            if let Some(most) = workers_max {
                lane = lane.workers_max(most);
            }
            if rng.u32(0..3) == 0 {
                lane = lane.starve_after(Duration::from_micros(rng.u64(1..20_000)));
            }
            if rng.u32(0..4) == 0 {
                lane = lane.frames_per_turn_max(rng.usize(1..4));
            }
            if rng.u32(0..4) == 0 {
                lane = lane.turn_time_max(Duration::from_micros(rng.u64(0..200)));
            }
            LanePlan {
                name,
                workers_max,
                workers_min,
                lane,
            }
        });
        let lanes = lanes.collect();
        Self {
            workers,
            limit,
            lanes,
        }
    }

    /// One of its lanes; perhaps unsaid if there is one only.
    pub(crate) fn some_lane(&self, rng: &mut fastrand::Rng) -> Option<String> {
        let unsaid = self.lanes.len() == 1 && rng.bool();
        (!unsaid).then(|| pick(rng, &self.lanes).name)
    }

    /// Whether so many workers keep all promises and leave no lane without.
    fn allows(&self, workers: usize) -> bool {
        let kept: usize = self.lanes.iter().map(|lane| lane.workers_min).sum();
        let all_kept = self.lanes.iter().all(|lane| lane.workers_min > 0);
        let enough = kept < workers || (kept == workers && all_kept);
        (1..=self.limit).contains(&workers) && enough
    }
}

/// A handle of either kind.
enum Handle {
    Port(Port),
    Pool(Pool),
}

/// A port or pool, and what it was declared with.
pub(crate) struct Crew {
    handle: Handle,
    plan: CrewPlan,
}

/// All of them; first the ports.
pub(crate) struct Crews {
    all: Vec<Crew>,
    /// Whose workers run the callbacks of each network.
    of_network: Vec<usize>,
}

impl Crew {
    fn name(&self) -> &str {
        match &self.handle {
            Handle::Port(port) => port.name(),
            Handle::Pool(pool) => pool.name(),
        }
    }

    fn workers(&self) -> usize {
        match &self.handle {
            Handle::Port(port) => port.workers(),
            Handle::Pool(pool) => pool.workers(),
        }
    }

    fn set_workers(&self, workers: usize) -> wharf::Result<()> {
        match &self.handle {
            Handle::Port(port) => port.set_workers(workers),
            Handle::Pool(pool) => pool.set_workers(workers),
        }
    }
}

/// Declares the ports and pools.
pub(crate) fn declare(
    host: &mut Host,
    ports: &[CrewPlan],
    pools: &[CrewPlan],
    seats: &[Seat],
) -> (Vec<Port>, Vec<Pool>, Crews) {
    let mut all = Vec::new();
    let mut made_ports = Vec::new();
    for (index, plan) in ports.iter().enumerate() {
        let port = host.port(&format!("port{index}")).workers(plan.workers);
        let lanes = plan.lanes.iter().map(|lane| lane.lane.clone());
        let port = lanes.fold(port, wharf::PortBuilder::lane);
        // As good a choice as another, and it leaves the plans of all seeds as they are.
        let nap = Duration::from_micros(if plan.workers.is_multiple_of(2) {
            500
        } else {
            0
        });
        let port = port.workers_limit(plan.limit).nap(nap).build().unwrap();
        made_ports.push(port.clone());
        let (handle, plan) = (Handle::Port(port), plan.clone());
        all.push(Crew { handle, plan });
    }
    let mut made_pools = Vec::new();
    for (index, plan) in pools.iter().enumerate() {
        let pool = host.pool(&format!("pool{index}")).workers(plan.workers);
        let lanes = plan.lanes.iter().map(|lane| lane.lane.clone());
        let pool = lanes.fold(pool, wharf::PoolBuilder::lane);
        let pool = pool.workers_limit(plan.limit).build().unwrap();
        made_pools.push(pool.clone());
        let (handle, plan) = (Handle::Pool(pool), plan.clone());
        all.push(Crew { handle, plan });
    }
    let crew_of = |seat: &Seat| seat.pool.map_or(seat.port, |pool| ports.len() + pool);
    let of_network = seats.iter().map(crew_of).collect();
    (made_ports, made_pools, Crews { all, of_network })
}

impl Crews {
    /// A strand somewhere.
    pub(crate) fn strand<T: Send + 'static>(
        &self,
        nth: usize,
        value: T,
        options: StrandOptions,
    ) -> Strand<T> {
        let made = match &self.all[nth % self.all.len()].handle {
            Handle::Port(port) => port.strand_with(value, options),
            Handle::Pool(pool) => pool.strand_with(value, options),
        };
        made.unwrap()
    }
}

/// The names of the workers that have not left: the simulator says so when it is stuck.
fn workers(sim: &Sim) -> Vec<String> {
    sim.set_limits(0, TIME_MAX);
    let state = sim.run_until(|| false).unwrap_err().to_string();
    sim.set_limits(STEPS_MAX, TIME_MAX);
    let lines = state.lines().map(str::trim);
    let named = lines.filter_map(|line| line.strip_prefix("worker "));
    let first = named.filter_map(|line| line.split_whitespace().next());
    first.map(str::to_owned).collect()
}

/// A session that keeps its worker busy for a while.
pub(crate) struct Holding {
    crew: usize,
    lane: String,
    serial: u32,
    until: Duration,
}

impl Judge {
    /// Re-classes a session; what comes of it must be what was declared.
    pub(crate) fn relane<H: Handler>(&self, s: &Session<H>, record: &Record) {
        let Some(crews) = self.crews.lock().clone() else {
            return;
        };
        let lanes = &crews.all[crews.of_network[record.net]].plan.lanes;
        let name = format!("l{}", self.below(4));
        let known = lanes.iter().any(|lane| lane.name == name);
        let moved = s.set_lane(&name);
        if moved.is_ok() != known || (known && s.lane() != name) {
            self.blame(format!(
                "set_lane {name} where lanes are {lanes:?}: {moved:?}"
            ));
        }
    }

    /// The same, by a callback of that session.
    pub(crate) fn relane_itself<H: Handler>(&self, s: &Session<H>, record: &Record) {
        // The slot that this turn took is not of the session's lane any more.
        *record.relaned_at.lock() = Some(self.sim.now());
        self.relane(s, record);
    }

    /// Resizes some port or pool; what comes of it must be what was declared.
    pub(crate) fn resize(&self) {
        let Some(crews) = self.crews.lock().clone() else {
            return;
        };
        let nth = self.below(u32::try_from(crews.all.len()).unwrap());
        let crew = &crews.all[nth as usize];
        let limit = u32::try_from(crew.plan.limit).unwrap();
        let wanted = self.below(limit + 2) as usize;
        let allowed = crew.plan.allows(wanted);
        let stopping = self.stop_at.lock().is_some();
        match crew.set_workers(wanted) {
            Ok(()) if allowed && crew.workers() == wanted => {
                self.resizes.fetch_add(1, SeqCst);
            }
            Err(error) if error.kind() == ErrorKind::Config && !allowed => {}
            Err(error) if error.kind() == ErrorKind::State && stopping => {}
            other => self.blame(format!(
                "{wanted} workers for {}, which has {} of {:?}: {other:?}",
                crew.name(),
                crew.workers(),
                crew.plan
            )),
        }
    }

    /// G6, by what callbacks see: those that hold a worker of this lane are below its cap, so that
    /// this callback may run.
    pub(crate) fn in_lane<H: Handler>(&self, s: &Session<H>, record: &Record) {
        let now = self.sim.now();
        let Some(crews) = self.crews.lock().clone() else {
            return;
        };
        if *record.relaned_at.lock() == Some(now) {
            return;
        }
        let (crew, lane) = (crews.of_network[record.net], s.lane());
        let mut holding = self.holding.lock();
        holding.retain(|holding| holding.until > now);
        let others = holding.iter().filter(|other| {
            other.crew == crew && other.lane == lane && other.serial != record.serial
        });
        let running = 1 + others.count();
        let crew = &crews.all[crew];
        let plan = crew.plan.lanes.iter().find(|plan| plan.name == lane);
        let most = plan.and_then(|plan| plan.workers_max);
        if most.is_some_and(|most| running > most) {
            self.blame(format!(
                "G6: {running} turns in lane {lane} of {}, at most {most:?} were allowed",
                crew.name()
            ));
        }
    }

    /// Keeps the worker busy, and notes it.
    pub(crate) fn hold<H: Handler>(&self, s: &Session<H>, record: &Record) {
        let time = Duration::from_micros(self.below(3000).into());
        let now = self.sim.now();
        let crews = self.crews.lock().clone();
        if let Some(crews) = crews.filter(|_| *record.relaned_at.lock() != Some(now)) {
            let mut holding = self.holding.lock();
            // Two frames of one turn hold one worker.
            holding.retain(|other| other.until > now && other.serial != record.serial);
            holding.push(Holding {
                crew: crews.of_network[record.net],
                lane: s.lane().to_owned(),
                serial: record.serial,
                until: now + time,
            });
        }
        wharf::sim::hold(time);
    }

    /// G6, by the host's own count.
    pub(crate) fn check_lanes(&self, host: &Host) {
        let stats = host.stats();
        for crew in stats.ports.iter().chain(&stats.pools) {
            for lane in &crew.lanes {
                let most = lane.workers_max.unwrap_or(crew.workers.len());
                if lane.running > most || lane.running_peak > most {
                    self.blame(format!("G6: {}, at most {most}: {lane:?}", crew.name));
                }
            }
        }
    }

    /// Whether no lane holds anything now.
    pub(crate) fn lanes_are_idle(&self, host: &Host) -> bool {
        let stats = host.stats();
        let mut crews = stats.ports.iter().chain(&stats.pools);
        crews.all(|crew| {
            let mut lanes = crew.lanes.iter();
            lanes.all(|lane| (lane.queued, lane.running) == (0, 0))
        })
    }

    /// Everything is quiet: no lane holds anything, and as many workers are there as were asked
    /// for.
    pub(crate) fn check_crews(&self, host: &Host, sim: &Sim) {
        if !self.lanes_are_idle(host) {
            let stats = host.stats();
            self.blame(format!("everything is quiet, but: {stats:?}"));
        }
        let crews = self.crews.lock().clone();
        // A handler may have stopped the host.
        let stopped = self.stop_at.lock().is_some();
        let Some(crews) = crews.filter(|_| !stopped) else {
            return;
        };
        let workers = workers(sim);
        for crew in &crews.all {
            let own = |name: &&String| {
                let rest = name.strip_prefix(crew.name());
                rest.is_some_and(|rest| rest.starts_with('-'))
            };
            let there = workers.iter().filter(own).count();
            if there != crew.workers() {
                self.blame(format!(
                    "{} has {there} workers, and {} were asked for: {workers:?}",
                    crew.name(),
                    crew.workers()
                ));
            }
        }
    }
}
