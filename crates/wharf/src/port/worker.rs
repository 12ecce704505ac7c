//! The worker: pick, run one turn, flush what it sent to others, harvest when nothing is left.
//!
//! The loop is a step (R13). [`run`] drives one worker on a thread of its own; the simulator drives
//! many on one thread.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::MutexGuard;

use super::aside::{Aside, Stepping};
use super::batch::work_all;
use super::contract::{Ready, Token, Wait};
use super::core::{PortCore, WorkerSlot};
use super::current::{self, Here};
use super::drive::{Drive, Step};
use super::nap::Pace;
use super::served::Served;
use super::spare::Spare;
use crate::sched::{Backlog, Lane, Picked, RunQueue};
use crate::stats::NetCounters;
use crate::time::Time;

/// Bytes of a worker's receive buffer: big enough that one recv empties most sockets, small enough
/// to stay in the second-level cache.
pub(crate) const RECV_BYTES: usize = 64 * 1024;
/// Sessions that a turn flushes itself; a longer list is shared with the siblings as port work.
const FLUSHED_INLINE: usize = 32;
/// A callback of so long a turn has waited for something. And the longest that the end of a list
/// may wait for turns in between.
const BLOCKED: Duration = Duration::from_millis(5);
/// So long after the last of them the next is not expected.
const CALM: Duration = Duration::from_secs(1);
/// What a turn works with: all of it belongs to the worker that runs it.
pub(crate) struct TurnCx<'a> {
    /// Bytes land here.
    pub(crate) inbuf: &'a mut [u8],
    /// Buffers for partial frames, so that a steady state allocates none.
    pub(crate) spare: &'a mut Spare,
    /// When the turn began, by the port's clock.
    pub(crate) now: Time,
    /// The port, or the pool.
    pub(crate) port: &'a Arc<PortCore>,
    /// The lane that the turn runs in.
    pub(crate) lane: &'a Lane,
    /// What this worker shows to the others.
    pub(crate) slot: &'a WorkerSlot,
    /// Its counters of the network whose turn it is.
    pub(crate) counters: &'a NetCounters,
    /// The priority that the turn runs at, if it is not the worker's.
    aside: Option<Stepping>,
    /// When the turn ended, if it has asked the clock.
    pub(crate) ended: Option<Time>,
    /// The session itself, if its turn ended with something due: the worker queues it when it
    /// searches again, so that nobody is woken for what this worker will look at next.
    pub(crate) again: Option<Arc<dyn Served>>,
}

impl TurnCx<'_> {
    /// Flushes the sessions that this turn sent to so far.
    pub(crate) fn flush_others(&self, now: Time) {
        if self.slot.gathered.load(Ordering::Relaxed) {
            let _back = self.aside.map(Stepping::back);
            flush_dirty(self.port, self.slot, now, None);
        }
    }
}

/// A worker of a port.
pub(crate) struct Worker {
    port: Arc<PortCore>,
    index: usize,
    slot: Arc<WorkerSlot>,
    name: String,
    inbuf: Box<[u8]>,
    spare: Spare,
    reports: Vec<Ready>,
    /// What the last harvest made due.
    due: Vec<Arc<dyn Served>>,
    /// Of that, the first of each run that was queued elsewhere in one go; dropped when it parks.
    handed: Vec<Arc<dyn Served>>,
    /// Port work that was picked along with other; empty between two steps.
    more: Vec<Arc<dyn Served>>,
    now: Time,
    spin: Duration,
    /// How its siblings get on; `None` if it never naps for that.
    pace: Option<Pace>,
    /// When a turn last took as long as if it had blocked.
    blocked_at: Time,
    /// Which lanes' turns its thread runs at a priority of their own.
    aside: Aside,
    parked: bool,
    /// The lane slot of the turn that just ended, given back at the next pick.
    ended: Option<usize>,
    /// The session of that turn, if it wants another.
    again: Option<Arc<dyn Served>>,
    /// It has never stepped: perhaps it never will, as there is no thread for it.
    fresh: bool,
}

impl Worker {
    /// Worker `index` of the port, which counts it from now on.
    pub(crate) fn new(port: Arc<PortCore>, index: usize, spin: Duration) -> Self {
        port.queue.lock().join();
        port.alive.fetch_add(1, Ordering::AcqRel);
        Self {
            name: format!("{}-{index}", port.name),
            now: port.now(),
            slot: Arc::clone(&port.slots()[index]),
            index,
            inbuf: vec![0; RECV_BYTES].into(),
            spare: Spare::default(),
            reports: Vec::with_capacity(64),
            due: Vec::with_capacity(64),
            handed: Vec::new(),
            more: Vec::new(),
            spin,
            pace: Pace::on(&port),
            blocked_at: port.now(),
            aside: Aside::default(),
            parked: false,
            ended: None,
            again: None,
            fresh: true,
            port,
        }
    }

    /// The name of the thread that is to run it: what the kernel keeps is its first 15 bytes.
    pub(crate) fn thread_name(&self) -> String {
        self.name.clone()
    }

    /// Has its thread, which is the calling one, take on the lanes' priorities. Returns what the
    /// system refuses, in words.
    pub(crate) fn step_aside(&mut self) -> Vec<String> {
        let (aside, refused) = Aside::of(&self.port.lanes);
        self.aside = aside;
        refused
    }

    /// What is next, and who is to know of it; else how the worker leaves or naps.
    #[inline]
    fn next(&mut self) -> Result<Picked<Arc<dyn Served>>, Step> {
        let guardian = self.port.guard();
        let mut queue = self.port.queue.lock();
        if let Some(lane) = self.ended.take() {
            queue.turn_ended(lane, self.now);
        }
        if let Some(item) = self.again.take() {
            // A searcher is here, so nobody is to be woken.
            let woken = queue.push(item.lane(), item, self.now);
            debug_assert!(!woken, "the pushing worker searches");
        }
        let quitting = self.port.is_quitting();
        if quitting || queue.surplus() {
            return Err(self.leave(queue, quitting));
        }
        let (picked, wake) = queue.pick(self.now);
        match (&picked, &mut self.pace) {
            (Picked::Work(_), _) => {
                self.more.extend(std::iter::from_fn(|| queue.more_work()));
            }
            (Picked::Park(_), Some(pace)) => {
                if let Some(limit) = pace.nap(&self.port, &mut queue, self.now) {
                    // Nobody is woken by who finds nothing, and pools have no naps.
                    return Err(Step::Nap(limit));
                }
            }
            _ => {}
        }
        let idle_soon = guardian.is_some() && queue.backlog() == Backlog::None;
        drop(queue);
        if idle_soon && let Some(guardian) = guardian {
            guardian.naps.end();
        }
        if wake {
            self.port.wake();
        }
        Ok(picked)
    }

    #[cold]
    fn leave(&self, mut queue: MutexGuard<'_, RunQueue<Arc<dyn Served>>>, quitting: bool) -> Step {
        // Before it is counted out: who counts on a free slot must find it.
        self.port.free_slot(self.index);
        let wake = queue.leave() || quitting;
        drop(queue);
        if wake {
            // With the last worker gone the wake is for nobody, and harmless.
            self.port.wake();
        }
        Step::Quit
    }

    fn turn(&mut self, lane: usize, item: Arc<dyn Served>, queued_at: Time) {
        if let Some(pace) = &mut self.pace {
            pace.own_turn();
            if lane > 0 || self.now.since(queued_at) >= pace.limit {
                // It may take its time, and what comes meanwhile may go before it. Or there is more
                // to do than those do who are awake.
                self.port.rests.end();
            }
        }
        let slot = &*self.slot;
        let (session, network) = item.identity();
        slot.turn_session.store(session, Ordering::Relaxed);
        slot.turn_network.store(network, Ordering::Relaxed);
        slot.turn_since
            .store(self.now.as_nanos(), Ordering::Release);
        let began = self.now;
        let mut cx = TurnCx {
            inbuf: &mut self.inbuf,
            spare: &mut self.spare,
            now: began,
            port: &self.port,
            lane: &self.port.lanes[lane],
            slot,
            counters: slot.net(network),
            aside: self.aside.lane(lane),
            ended: None,
            again: None,
        };
        let aside = cx.aside.map(Stepping::aside);
        item.turn(&mut cx);
        drop(aside);
        self.again = cx.again;
        self.now = cx.ended.unwrap_or_else(|| self.port.now());
        if self.now.since(began) >= BLOCKED {
            self.blocked_at = self.now;
        }
        if slot.gathered.load(Ordering::Relaxed) {
            let calm = self.now.since(self.blocked_at) >= CALM;
            let pace = calm.then(|| self.now.since(began));
            flush_dirty(&self.port, slot, began, pace);
            self.now = self.port.now();
        }
        slot.turn_since.store(0, Ordering::Release);
        let took = self.now.nanos_since(began);
        slot.turns.add_own(1);
        slot.busy_nanos.add_own(took);
        slot.turn_time.record_own(took);
        slot.turn_wait.record_own(began.nanos_since(queued_at));
        self.ended = Some(lane);
    }

    /// Some more of a long list that the last turn has left; true if more of it is left.
    fn flush_more(&self) -> bool {
        let gathered = || self.slot.gathered.load(Ordering::Relaxed);
        if gathered() {
            flush_dirty(&self.port, &self.slot, self.now, Some(Duration::ZERO));
        }
        gathered()
    }

    /// All of it, as the worker leaves.
    fn flush_rest(&self) {
        // With siblings nothing is left of a list, and the slot may be another's by now.
        if self.port.slots().len() <= 2 {
            flush_dirty(&self.port, &self.slot, self.now, None);
        }
    }

    fn take_in(&mut self) {
        self.now = self.port.now();
        let mut timer = false;
        for ready in self.reports.drain(..) {
            match ready.token {
                Token::WAKE => self.port.queue.lock().woken(),
                Token::TIMER => timer = true,
                token => {
                    if let Some(tenant) = self.port.table.find(token) {
                        tenant.ready(ready.bits, self.now, &mut self.due);
                    }
                }
            }
        }
        self.port
            .push_due(&mut self.due, &mut self.handed, self.now);
        if timer {
            self.port.run_due(self.now);
            self.port.timer_fired();
        }
    }

    /// Looks at the kernel without sleeping for as long as the port's `spin` says.
    fn spin(&mut self, max: usize) {
        let until = self.port.now() + self.spin;
        while self.reports.is_empty() && self.port.now() < until {
            self.port.wait(&mut self.reports, max, Wait::Poll);
        }
    }
}

/// Flushes the worker's dirty list: a short one here; a long one, or one whose sessions' port has
/// threads that the system prefers to this one, as work of that port (R9).
///
/// Between two turns some of a port's work is done, and whom several turns send to meanwhile is
/// written to once. A worker without siblings leaves the end of a long list where it is instead,
/// for the end of its next turn: there `session.flush()` and a long turn find it (R5). `pace` says
/// how long its turns take, if none has blocked for a while: nobody else writes meanwhile.
fn flush_dirty(port: &PortCore, slot: &WorkerSlot, now: Time, pace: Option<Duration>) {
    slot.gathered.store(false, Ordering::Relaxed);
    let mut taken = std::mem::take(&mut *slot.dirty.lock());
    if taken.is_empty() {
        return;
    }
    let alone = port.slots().len() <= 2;
    let is_others = |home: &&Arc<PortCore>| !std::ptr::eq(&raw const ***home, port);
    let mine = |(index, item): (usize, Arc<dyn Served>)| {
        let home = item.home().filter(is_others);
        let preferred = home.is_some_and(|home| home.nice < port.nice);
        let long = index >= FLUSHED_INLINE && (home.is_some() || !alone);
        if !preferred && !long {
            Some(item)
        } else if let Some(home) = home.map(Arc::clone) {
            // All of its workers may be in handlers that take long (R5).
            home.offer_work(item)
        } else {
            port.push_work(item);
            None
        }
    };
    let first = if alone {
        let rest = pace.map_or(0, |pace| FLUSHED_INLINE * turns_within(BLOCKED, pace));
        let first = taken.len().saturating_sub(rest).max(FLUSHED_INLINE);
        first.min(taken.len())
    } else {
        taken.len()
    };
    work_all(taken.drain(..first).enumerate().filter_map(mine), now);
    let others = taken.extract_if(.., |item| item.home().as_ref().is_some_and(is_others));
    work_all((FLUSHED_INLINE..).zip(others).filter_map(mine), now);
    let left = !taken.is_empty();
    if left {
        slot.gathered.store(true, Ordering::Relaxed);
    }
    let mut dirty = slot.dirty.lock();
    if left {
        taken.append(&mut dirty);
        *dirty = taken;
    } else if dirty.is_empty() && dirty.capacity() < taken.capacity() && taken.capacity() <= 4096 {
        // The list keeps its room, unless it was a rare giant.
        *dirty = taken;
    }
}

/// How many turns of this length fit; so many that more makes no difference, if it is short.
fn turns_within(time: Duration, length: Duration) -> usize {
    let turns = time.as_nanos() / length.as_nanos().max(1);
    usize::try_from(turns).unwrap_or(usize::MAX).min(1 << 16)
}

impl Drive for Worker {
    fn enter(&self) -> Option<Here> {
        current::enter(&self.port, &self.slot)
    }

    fn step(&mut self) -> Step {
        self.fresh = false;
        match self.next() {
            Err(step) => {
                if step == Step::Quit {
                    self.flush_rest();
                    // Perhaps only they are left.
                    self.port.rests.end();
                }
                step
            }
            Ok(Picked::Work(item)) => {
                let pieces = 1 + self.more.len() as u64;
                self.slot.port_work.add_own(pieces);
                let all = std::iter::once(item).chain(self.more.drain(..));
                work_all(all, self.now);
                // What it took is no part of the next turn.
                self.now = self.port.now();
                Step::Ran
            }
            Ok(Picked::Turn(lane, item, queued_at)) => {
                self.turn(lane, item, queued_at);
                self.port.run_due(self.now);
                Step::Ran
            }
            Ok(Picked::Poll(max)) => {
                self.flush_more();
                let how = Wait::Poll;
                Step::Harvest { max, how }
            }
            Ok(Picked::Park(max)) => {
                self.parked = true;
                let more = self.flush_more();
                let how = if more { Wait::Poll } else { Wait::Block };
                Step::Harvest { max, how }
            }
        }
    }

    fn harvest(&mut self, max: usize, how: Wait) {
        let slot = &*self.slot;
        slot.harvests.add_own(1);
        let blocking = how == Wait::Block;
        if blocking {
            slot.parks.add_own(1);
            if !self.handed.is_empty() {
                if self.port.backend.is_real_time() {
                    self.port.naps.nap(|| PortCore::backlog_of(&self.handed));
                }
                self.handed.clear();
            }
            if self.spin > Duration::ZERO && self.port.backend.is_real_time() {
                self.spin(max);
            }
        }
        if self.reports.is_empty() {
            self.port.wait(&mut self.reports, max, how);
        }
        if std::mem::take(&mut self.parked) {
            self.port.queue.lock().unpark();
        }
        self.take_in();
    }

    fn nap(&mut self, limit: Duration) {
        self.slot.naps.add_own(1);
        self.handed.clear();
        let port = &self.port;
        if port.backend.is_real_time() {
            port.rests.nap_for(|| {
                let naps = port.queue.lock().may_nap_on() && !port.is_quitting();
                naps.then_some(limit)
            });
        }
        port.queue.lock().nap_over();
        self.now = port.now();
    }

    #[cfg(feature = "sim")]
    fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if self.fresh {
            // Counted as a searcher who comes for what is pushed, it would keep others asleep.
            let wake = {
                let mut queue = self.port.queue.lock();
                self.port.free_slot(self.index);
                queue.leave()
            };
            if wake {
                self.port.wake();
            }
        }
        self.port.alive.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Drives a worker on the calling thread until its port quits.
pub(crate) fn run(mut worker: Worker) {
    let was = worker.enter();
    loop {
        match worker.step() {
            Step::Ran => {}
            Step::Harvest { max, how } => worker.harvest(max, how),
            Step::Nap(limit) => worker.nap(limit),
            Step::Quit => break,
        }
    }
    current::back_to(was);
}

#[cfg(test)]
mod tests;
