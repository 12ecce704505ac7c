//! Which core a thread goes to: when it is woken, when a core has nothing to do, at the tick.

use super::{Action, Machine, State, ThreadId};

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
