//! Which core a thread goes to: when it is woken, when a core has nothing to do, at the tick.

use super::{Action, Core, Machine, State, ThreadId};

/// A core that is usually idle for less takes no thread from another as it falls idle: to look for
/// one would take longer (`avg_idle` and `max_newidle_lb_cost` in `sched_balance_newidle`). The
/// kernel measures what it takes, and shows it nowhere by default; on the machine of
/// `docs/layouts.md` anything from 50 to 500 us gives nearly the same.
const LOOK_COST: u64 = 100_000;
/// The most that is noted of an idle time: twice `sysctl_sched_migration_cost`.
pub(super) const IDLE_USUALLY_MAX: u64 = 1_000_000;

impl Core {
    /// Whether it looks for a thread as it falls idle.
    pub(super) fn looks(&self) -> bool {
        self.idle_usually >= LOOK_COST
    }

    /// It is idle no more: an average over the last eight times or so, as `update_avg` has it. A
    /// thread that it took itself ends no idle time.
    pub(super) fn was_idle(&mut self, now: u64) {
        let idle = now - self.idle_since;
        if idle > 0 {
            self.idle_usually = (self.idle_usually * 7 + idle) / 8;
            self.idle_usually = self.idle_usually.min(IDLE_USUALLY_MAX);
        }
    }
}

impl Machine {
    /// Makes a waiting thread ready; `from` is the core of the thread that does it.
    pub(super) fn wake(&mut self, id: ThreadId, from: Option<usize>) {
        let thread = &mut self.threads[id];
        if thread.state != State::Waiting {
            thread.woken |= matches!(thread.wait, Some(Action::Wait(_)));
            return;
        }
        let core = if self.threads[id].ahead {
            self.core_ahead(id)
        } else {
            self.core_for(id, from)
        };
        let idle = self
            .is_idle(core)
            .then(|| self.now - self.cores[core].idle_since);
        if let Some(from) = from
            && let Some(waker) = self.cores[from].current()
        {
            self.threads[waker].debt += match idle {
                Some(idle) if from != core => self.costs.wake_after(idle).cost,
                // What interrupting a busy core costs is known once it is done.
                _ => self.costs.wake_local,
            };
        }
        self.account(core);
        self.enter(id, core);
        self.cores[core].look = true;
        if let Some(idle) = idle {
            let start = match from {
                // A timer's lateness is all there is.
                None => 0,
                Some(from) if from == core => 0,
                Some(_) => {
                    let start = self.costs.wake_after(idle).draw(&mut self.rng);
                    start.saturating_add_signed(self.costs.start_more)
                }
            };
            self.cores[core].ahead.retain(|waiting| *waiting != id);
            self.switch(core, id, start);
        } else {
            self.cores[core].remote = from.filter(|from| *from != core);
            self.arm_tick(core);
        }
    }

    /// Queues a thread on this core.
    fn enter(&mut self, id: ThreadId, core: usize) {
        let thread = &mut self.threads[id];
        if thread.core != core {
            // Of what it was owed elsewhere it keeps the amount; a debt is settled by moving.
            thread.lag.idles = u64::MAX;
        }
        thread.state = State::Ready;
        thread.waits += 1;
        thread.core = core;
        thread.left = 0;
        if thread.ahead {
            self.cores[core].ahead.push_back(id);
        } else {
            self.cores[core].fair.enter(id, thread.weight, thread.lag);
        }
    }

    /// The core of a waking thread that runs ahead: where it was, unless another of its kind runs
    /// there; then an idle one, or one without such a thread (select_task_rq_rt).
    fn core_ahead(&self, id: ThreadId) -> usize {
        let thread = &self.threads[id];
        let allowed = || (0..self.cores.len()).filter(|core| thread.cores[*core]);
        let free = |core: &usize| self.cores[*core].first.is_none();
        if free(&thread.core) {
            return thread.core;
        }
        let idle = allowed().find(|core| self.is_idle(*core));
        idle.or_else(|| allowed().find(free)).unwrap_or(thread.core)
    }

    /// The core that a waking thread goes to: where it was if that is idle, another idle one, or
    /// the less loaded of its own and the waker's (select_task_rq_fair, wake_affine).
    fn core_for(&self, id: ThreadId, from: Option<usize>) -> usize {
        let thread = &self.threads[id];
        let count = self.cores.len();
        let around = (0..count).map(|step| (thread.core + step) % count);
        let mut idle = around.filter(|core| thread.cores[*core] && self.is_idle(*core));
        if let Some(core) = idle.next() {
            return core;
        }
        match from {
            // The waker is about to wait, mostly: its core counts for one thread less.
            Some(from)
                if thread.cores[from]
                    && self.len(from).saturating_sub(1) < self.len(thread.core) =>
            {
                from
            }
            _ => thread.core,
        }
    }

    pub(super) fn is_idle(&self, core: usize) -> bool {
        self.cores[core].len() == 0
    }

    fn len(&self, core: usize) -> usize {
        self.cores[core].len()
    }

    /// An idle core takes a thread that waits for the busiest one (newidle balance).
    pub(super) fn pull(&mut self, core: usize) {
        if !self.cores[core].looks() {
            return;
        }
        let busiest = (0..self.cores.len())
            .filter(|other| self.movable(*other, core).is_some())
            .max_by_key(|other| (self.len(*other), usize::MAX - other));
        if let Some(busiest) = busiest {
            self.pull_from(core, busiest);
        }
    }

    fn movable(&self, from: usize, to: usize) -> Option<ThreadId> {
        let mut waiting = self.cores[from].fair.waiting();
        waiting.find(|thread| self.threads[*thread].cores[to])
    }

    fn pull_from(&mut self, core: usize, from: usize) {
        let Some(id) = self.movable(from, core) else {
            return;
        };
        self.account(from);
        let mut lag = self.cores[from].fair.take(id);
        lag.idles = u64::MAX;
        let weight = self.threads[id].weight;
        self.account(core);
        self.cores[core].fair.enter(id, weight, lag);
        self.threads[id].core = core;
    }

    /// The tick: the end of a slice is seen, and a crowded core gives a thread away.
    pub(super) fn tick(&mut self, core: usize) {
        self.cores[core].ticking = false;
        self.account(core);
        if self.len(core) > 1 {
            let emptiest = (0..self.cores.len())
                .filter(|other| self.movable(core, *other).is_some())
                .min_by_key(|other| (self.len(*other), *other));
            if let Some(other) = emptiest
                && self.len(other) + 2 <= self.len(core)
            {
                self.pull_from(other, core);
                self.cores[other].look = true;
            }
        }
        if self.cores[core].fair.slice_over() {
            self.choose(core);
        }
        self.arm_tick(core);
    }
}
