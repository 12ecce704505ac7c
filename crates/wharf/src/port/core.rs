//! What the workers of a port share.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;

use super::contract::{Backend, Token};
use super::current;
use super::jobs::Jobs;
use super::nap::Naps;
use super::parking::Parking;
use super::rescue::{RESCUE_AFTER, Rescue};
use super::served::Served;
use super::table::Table;
use super::timers::Timers;
use crate::sched::{Backlog, Lane, LaneSpec, RunQueue};
use crate::stats::{Counter, Histogram, NetCounters};
use crate::time::Time;

/// Deadlines acted on between two turns.
const TIMERS_PER_STEP: usize = 64;

/// A port, as its workers, sessions and senders see it.
pub(crate) struct PortCore {
    pub(crate) name: String,
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) table: Table<Arc<dyn Served>>,
    pub(crate) queue: Mutex<RunQueue<Arc<dyn Served>>>,
    /// Of its threads: the system prefers those with less.
    pub(crate) nice: i32,
    /// Highest first.
    pub(crate) lanes: Box<[Lane]>,
    /// The plain jobs of this port.
    pub(crate) jobs: Arc<Jobs>,
    timers: Mutex<Timers>,
    /// The earliest deadline: looked at between turns without the lock.
    due: AtomicU64,
    quitting: AtomicBool,
    /// Set once its queue has failed: where its workers sleep then.
    pub(super) broken: OnceLock<Option<Parking>>,
    /// One for each worker there may be, then one for all other threads. Set at start.
    slots: OnceLock<Box<[Arc<WorkerSlot>]>>,
    /// Which slots have a worker.
    taken: Mutex<Vec<bool>>,
    /// Of a pool: the port that looks after its stuck turns, whose workers are others.
    guardian: OnceLock<Arc<PortCore>>,
    /// Of a port: where its workers nap while pools are behind.
    pub(crate) naps: Naps,
    /// Where they nap while their siblings get on.
    pub(crate) rests: Naps,
    /// How long they do at most; zero: never.
    pub(crate) nap: Duration,
    /// Workers whose threads have not ended.
    pub(crate) alive: AtomicUsize,
    /// Who takes dirty lists from stuck workers, here and at the guardian, and whether their
    /// timers are set.
    rescue: OnceLock<Token>,
    guardians_rescue: OnceLock<Token>,
    pub(super) watching: AtomicBool,
}

/// What one worker shows to the others. Aligned so that no two workers write to one cache line.
#[repr(align(128))]
pub(crate) struct WorkerSlot {
    /// Sessions that got frames during the running turn and are not flushed yet (R5).
    pub(crate) dirty: Mutex<Vec<Arc<dyn Served>>>,
    /// Whether the worker has put anything there since it last took it. Its own: only the worker
    /// puts, so that it need not lock to see that there is nothing.
    pub(crate) gathered: AtomicBool,
    /// When the running turn began; 0 between turns.
    pub(crate) turn_since: AtomicU64,
    pub(crate) turn_session: AtomicU64,
    pub(crate) turn_network: AtomicUsize,
    pub(crate) turns: Counter,
    pub(crate) busy_nanos: Counter,
    pub(crate) harvests: Counter,
    pub(crate) parks: Counter,
    pub(crate) naps: Counter,
    pub(crate) port_work: Counter,
    pub(crate) turn_time: Histogram,
    pub(crate) turn_wait: Histogram,
    /// And last those of what is of no network.
    nets: Box<[OnceLock<Box<NetCounters>>]>,
}

impl WorkerSlot {
    fn new(networks: usize) -> Self {
        Self {
            dirty: Mutex::new(Vec::new()),
            gathered: AtomicBool::new(false),
            turn_since: AtomicU64::new(0),
            turn_session: AtomicU64::new(0),
            turn_network: AtomicUsize::new(0),
            turns: Counter::default(),
            busy_nanos: Counter::default(),
            harvests: Counter::default(),
            parks: Counter::default(),
            naps: Counter::default(),
            port_work: Counter::default(),
            turn_time: Histogram::new(),
            turn_wait: Histogram::new(),
            nets: (0..=networks).map(|_| OnceLock::new()).collect(),
        }
    }

    /// This slot's counters of a network; those that nobody reads of what is of none.
    pub(crate) fn net(&self, network: usize) -> &NetCounters {
        let last = self.nets.len() - 1;
        self.nets[network.min(last)].get_or_init(Box::default)
    }

    /// The same, if anything was counted.
    pub(crate) fn net_if_any(&self, network: usize) -> Option<&NetCounters> {
        self.nets
            .get(network)
            .and_then(OnceLock::get)
            .map(|counters| &**counters)
    }
}

impl PortCore {
    /// A port without workers. No lanes given means one.
    pub(crate) fn new(name: String, backend: Arc<dyn Backend>, lanes: Vec<Lane>) -> Self {
        Self::with(name, backend, lanes, RunQueue::new)
    }

    /// A pool without workers: its backend has no sockets.
    pub(crate) fn pool(name: String, backend: Arc<dyn Backend>, lanes: Vec<Lane>) -> Self {
        Self::with(name, backend, lanes, RunQueue::without_kernel)
    }

    fn with(
        name: String,
        backend: Arc<dyn Backend>,
        mut lanes: Vec<Lane>,
        queue: fn(Vec<LaneSpec>) -> RunQueue<Arc<dyn Served>>,
    ) -> Self {
        if lanes.is_empty() {
            lanes.push(Lane::new(Lane::DEFAULT));
        }
        let specs = lanes.iter().map(Lane::spec).collect();
        Self {
            name,
            backend,
            table: Table::new(),
            queue: Mutex::new(queue(specs)),
            nice: 0,
            lanes: lanes.into(),
            jobs: Arc::default(),
            timers: Mutex::default(),
            due: AtomicU64::new(Time::NEVER.as_nanos()),
            quitting: AtomicBool::new(false),
            broken: OnceLock::new(),
            slots: OnceLock::new(),
            taken: Mutex::default(),
            guardian: OnceLock::new(),
            naps: Naps::default(),
            rests: Naps::default(),
            nap: Duration::ZERO,
            alive: AtomicUsize::new(0),
            rescue: OnceLock::new(),
            guardians_rescue: OnceLock::new(),
            watching: AtomicBool::new(false),
        }
    }

    /// The same with threads of this nice value.
    pub(crate) fn with_nice(self, nice: Option<i32>) -> Self {
        // A negative one may be refused.
        let nice = nice.unwrap_or(0).max(0);
        Self { nice, ..self }
    }

    /// The same whose workers nap for so long while their siblings get on.
    pub(crate) fn with_nap(self, nap: Duration) -> Self {
        Self { nap, ..self }
    }

    /// Makes the slots, when the number of networks of the host is known.
    pub(crate) fn prepare(self: &Arc<Self>, workers_limit: usize, networks: usize) {
        self.look_after(self, &self.rescue);
        if let Some(guardian) = self.guardian.get() {
            self.look_after(guardian, &self.guardians_rescue);
        }
        let slots = (0..=workers_limit).map(|_| Arc::new(WorkerSlot::new(networks)));
        let slots = slots.collect();
        *self.taken.lock() = vec![false; workers_limit];
        // A second call would be a second start, which the host refuses.
        let _ = self.slots.set(slots);
    }

    /// The workers' slots, and last the one of all other threads. Empty before the start.
    pub(crate) fn slots(&self) -> &[Arc<WorkerSlot>] {
        self.slots.get().map_or(&[], |slots| slots)
    }

    /// Has `port` look after the stuck turns of this pool; the first port that is named stays.
    pub(crate) fn guard_by(&self, port: &Arc<Self>) {
        let _ = self.guardian.set(Arc::clone(port));
    }

    /// Of a pool: the port that hands over to it.
    pub(crate) fn guard(&self) -> Option<&Self> {
        self.guardian.get().map(|port| &**port)
    }

    /// Has workers of `by` ready to look after stuck turns of this port or pool.
    fn look_after(self: &Arc<Self>, by: &Arc<Self>, rescue: &OnceLock<Token>) {
        let tenant = Rescue {
            of: Arc::downgrade(self),
            by: Arc::downgrade(by),
        };
        by.table.insert(|token| {
            let _ = rescue.set(token);
            Arc::new(tenant)
        });
    }

    /// A slot that no worker has.
    pub(crate) fn take_slot(&self) -> Option<usize> {
        let mut taken = self.taken.lock();
        let free = taken.iter().position(|taken| !taken)?;
        taken[free] = true;
        Some(free)
    }

    /// The first slot that has a worker.
    pub(crate) fn first_worker(&self) -> Option<usize> {
        self.taken.lock().iter().position(|taken| *taken)
    }

    /// The slot's worker has left it.
    pub(crate) fn free_slot(&self, index: usize) {
        if let Some(taken) = self.taken.lock().get_mut(index) {
            *taken = false;
        }
    }

    /// The index of the lane with this name.
    pub(crate) fn lane_named(&self, name: &str) -> Option<usize> {
        let mut lanes = self.lanes.iter();
        lanes.position(|lane| lane.names().any(|its| its == name))
    }

    /// All names that its lanes answer to, for errors.
    pub(crate) fn lane_names(&self) -> Vec<&str> {
        self.lanes.iter().flat_map(Lane::names).collect()
    }

    /// The moment, by this port's clock.
    pub(crate) fn now(&self) -> Time {
        self.backend.now()
    }

    /// Queues a turn: the caller has just moved the word to queued.
    pub(crate) fn push_turn(&self, item: Arc<dyn Served>, now: Time) {
        let (wake, lower) = {
            let mut queue = self.queue.lock();
            // Under the lock, as `relane` changes it under the lock.
            let lane = item.lane();
            (queue.push(lane, item, now), lane > 0)
        };
        self.call(wake, lower);
    }

    /// Somebody is to come: by a wake, or from a nap, if a turn of a lower lane was queued. Those
    /// who are awake may be kept from taking it by its cap, or by theirs.
    fn call(&self, wake: bool, lower: bool) {
        if wake {
            self.wake();
        }
        if lower {
            self.rests.end();
        }
    }

    /// Queues what one harvest made due, and empties the list: one lock and at most one wake for
    /// each run of items with the same workers. The first of each run for others goes to `handed`.
    pub(crate) fn push_due(
        &self,
        due: &mut Vec<Arc<dyn Served>>,
        handed: &mut Vec<Arc<dyn Served>>,
        now: Time,
    ) {
        handed.clear();
        let mut items = due.drain(..);
        let mut next = items.next();
        while let Some(first) = next.take() {
            // Kept alive while its workers are told.
            let home = Arc::clone(&first);
            let Some(core) = home.turns() else {
                next = items.next();
                continue;
            };
            let mut queue = core.queue.lock();
            let (mut wake, mut lower) = (false, false);
            let mut push = |item: Arc<dyn Served>| {
                let lane = item.lane();
                lower |= lane > 0;
                wake |= queue.push(lane, item, now);
            };
            push(first);
            for item in items.by_ref() {
                if !item.turns().is_some_and(|other| std::ptr::eq(core, other)) {
                    next = Some(item);
                    break;
                }
                push(item);
            }
            drop(queue);
            core.call(wake, lower);
            if std::ptr::eq(core, self) {
                self.naps.own_turn();
            } else {
                handed.push(home);
            }
        }
    }

    /// The least that is to do where these items were handed to.
    pub(crate) fn backlog_of(handed: &[Arc<dyn Served>]) -> Backlog {
        let backlogs = handed
            .iter()
            .filter_map(|item| Some(item.turns()?.queue.lock().backlog()));
        backlogs.min().unwrap_or(Backlog::None)
    }

    /// Has the turns of `item` run in lane `to` from its next one on: `store` notes the lane and
    /// returns the one before, if the item is queued there. Then it moves at once (R7).
    pub(crate) fn relane(&self, item: *const (), to: usize, store: impl FnOnce() -> Option<usize>) {
        let now = self.now();
        let wake = {
            let mut queue = self.queue.lock();
            let from = store().filter(|&from| from != to);
            let is = |queued: &Arc<dyn Served>| Arc::as_ptr(queued).cast::<()>() == item;
            from.is_some_and(|from| queue.relane(from, to, now, is))
        };
        self.call(wake, to > 0);
    }

    /// Queues port work: the caller has just set the item's mark.
    pub(crate) fn push_work(&self, item: Arc<dyn Served>) {
        if self.queue.lock().push_work(item) {
            self.wake();
            self.naps.end();
        }
    }

    /// The same, if a worker is free to come for it; else the item again.
    pub(crate) fn offer_work(&self, item: Arc<dyn Served>) -> Option<Arc<dyn Served>> {
        let wake = {
            let mut queue = self.queue.lock();
            if !queue.has_free_worker() {
                return Some(item);
            }
            queue.push_work(item)
        };
        if wake {
            self.wake();
            self.naps.end();
        }
        None
    }

    /// Has `timer` called on the token's tenant no later than `at`.
    pub(crate) fn arm(&self, token: Token, at: Time) {
        let mut timers = self.timers.lock();
        let change = timers.arm(token, at);
        self.due
            .store(timers.earliest().as_nanos(), Ordering::Relaxed);
        // Under the lock: of two changes the backend must hear the later one last.
        if let Some(at) = change {
            self.set_timer(at);
        }
    }

    /// Forgets the token's deadline.
    pub(crate) fn disarm(&self, token: Token) {
        self.timers.lock().disarm(token);
    }

    /// Acts on deadlines that have passed, a bounded number.
    #[inline]
    pub(crate) fn run_due(&self, now: Time) {
        if now.as_nanos() >= self.due.load(Ordering::Relaxed) {
            self.run_passed(now);
        }
    }

    #[cold]
    fn run_passed(&self, now: Time) {
        for _ in 0..TIMERS_PER_STEP {
            let due = {
                let mut timers = self.timers.lock();
                let due = timers.take_due(now);
                self.due
                    .store(timers.earliest().as_nanos(), Ordering::Relaxed);
                due
            };
            let Some(token) = due else { break };
            if let Some(tenant) = self.table.find(token) {
                tenant.timer(now);
            }
        }
    }

    /// The backend's timer fired: sets it to what is next.
    pub(crate) fn timer_fired(&self) {
        let mut timers = self.timers.lock();
        // Under the lock, as in `arm`.
        if let Some(at) = timers.fired() {
            self.set_timer(at);
        }
    }

    /// A worker's dirty list has its first entry: makes sure that a sibling looks if the turn gets
    /// stuck (R5). A port with one worker has no sibling; a pool has its port as well, whose
    /// workers may be stuck themselves.
    pub(crate) fn watch_dirty(&self) {
        let siblings = self.slots().len() > 2;
        let guardian = self.guardian.get();
        if (!siblings && guardian.is_none()) || self.watching.swap(true, Ordering::AcqRel) {
            return;
        }
        let at = self.now() + RESCUE_AFTER * 2;
        if let Some(token) = self.rescue.get().filter(|_| siblings) {
            self.arm(*token, at);
        }
        if let (Some(guardian), Some(token)) = (guardian, self.guardians_rescue.get()) {
            guardian.arm(*token, at);
        }
    }

    /// The counters of the calling thread for a network.
    /// The flag says whether it is their only writer.
    pub(crate) fn count_as_caller(&self, network: usize, count: impl FnOnce(&NetCounters, bool)) {
        current::with_slot_of(self, |own| {
            let others = || self.slots().last().map(|slot| &**slot);
            if let Some(slot) = own.or_else(others) {
                count(slot.net(network), own.is_some());
            }
        });
    }

    /// Whether no turn runs or waits.
    pub(crate) fn is_idle(&self) -> bool {
        let runs = |slot: &Arc<WorkerSlot>| slot.turn_since.load(Ordering::Acquire) != 0;
        // The queue first: what leaves it is in a turn before the next look.
        self.queue.lock().is_idle() && !self.slots().iter().any(runs)
    }

    /// Tells the workers to end after the turn they are in.
    pub(crate) fn quit(&self) {
        self.quitting.store(true, Ordering::Release);
        self.wake();
        self.naps.end();
        self.rests.end();
    }

    /// Whether [`Self::quit`] was called.
    pub(crate) fn is_quitting(&self) -> bool {
        self.quitting.load(Ordering::Acquire)
    }
}

impl std::fmt::Debug for PortCore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Port")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
