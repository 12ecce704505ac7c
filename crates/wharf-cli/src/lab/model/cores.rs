//! The machine: N cores, their fair queues, and threads that compute, sleep and wake each other.
//!
//! What a thread does is a [`Program`]: asked when the thread is on a core and has nothing left to
//! do. Everything happens at whole nanoseconds of virtual time, in an order that the seed fixes.

use super::costs::OsCosts;
use super::eevdf::{Fair, Lag, weight_of};
use super::events::Calendar;

/// A thread of the machine.
pub(super) type ThreadId = usize;

/// What a thread does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Computes for so many nanoseconds of CPU time.
    Run(u64),
    /// Is off the core until then, whoever wakes it.
    Sleep(u64),
    /// Is off the core until woken, or until the moment if there is one.
    Wait(Option<u64>),
}

/// What the threads do.
pub(super) trait Program {
    /// The thread is on a core and has done what it was told last. It may wake others.
    fn next(&mut self, thread: ThreadId, now: u64, wakes: &mut Vec<ThreadId>) -> Action;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// On a core or waiting for one.
    Ready,
    /// Off the core; may be woken.
    Waiting,
    /// Off the core; only time ends it.
    Asleep,
}

#[derive(Debug)]
struct Thread {
    state: State,
    weight: u64,
    cores: Vec<bool>,
    /// Where it is, or was last.
    core: usize,
    lag: Lag,
    /// CPU time left of what it was told.
    left: u64,
    /// CPU time of the kernel on its behalf, done before its own.
    debt: u64,
    /// Counts its waits, so that a late timer is known.
    waits: u64,
    cpu: u64,
    switches: u64,
}

#[derive(Debug)]
struct Core {
    fair: Fair,
    /// Until when the current thread's time has been counted; ahead of now while it starts.
    since: u64,
    /// The one before the current.
    last: Option<ThreadId>,
    idle_since: u64,
    /// Counts the changes, so that an event of an older state is known.
    changes: u64,
    ticking: bool,
    busy: u64,
    /// Something changed: it must choose again.
    look: bool,
    /// Another core did it.
    remote: bool,
}

#[derive(Clone, Copy, Debug)]
enum Event {
    /// The current thread has done what it was told.
    Done {
        core: usize,
        change: u64,
    },
    Tick(usize),
    Timer {
        thread: ThreadId,
        wait: u64,
    },
}

/// The machine.
#[derive(Debug)]
pub(super) struct Machine {
    costs: OsCosts,
    cores: Vec<Core>,
    threads: Vec<Thread>,
    calendar: Calendar<Event>,
    now: u64,
    wakes: Vec<ThreadId>,
}

/// What a thread has used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Usage {
    /// CPU time.
    pub(super) cpu: u64,
    /// Times that it came on a core after another thread, or after an idle time.
    pub(super) switches: u64,
}

impl Machine {
    /// A machine with so many cores, all idle.
    pub(super) fn new(cores: usize, costs: OsCosts) -> Self {
        let core = |_| Core {
            fair: Fair::new(costs.slice, costs.tick),
            since: 0,
            last: None,
            idle_since: 0,
            changes: 0,
            ticking: false,
            busy: 0,
            look: false,
            remote: false,
        };
        Self {
            cores: (0..cores.max(1)).map(core).collect(),
            costs,
            threads: Vec::new(),
            calendar: Calendar::new(),
            now: 0,
            wakes: Vec::new(),
        }
    }

    /// A new thread, ready; `on` are the cores that it may use, empty for all.
    pub(super) fn spawn(&mut self, nice: i32, on: &[usize]) -> ThreadId {
        let count = self.cores.len();
        let allowed = |core: usize| on.is_empty() || on.contains(&core);
        let mut cores: Vec<_> = (0..count).map(allowed).collect();
        if !cores.contains(&true) {
            // The kernel refuses such a set: the thread runs anywhere.
            cores.fill(true);
        }
        let id = self.threads.len();
        let first = (0..count).map(|step| (id + step) % count);
        let core = first.into_iter().find(|core| cores[*core]).unwrap_or(0);
        self.threads.push(Thread {
            state: State::Waiting,
            weight: weight_of(nice),
            cores,
            core,
            lag: Lag::default(),
            left: 0,
            debt: 0,
            waits: 0,
            cpu: 0,
            switches: 0,
        });
        self.wake(id, None);
        self.settle();
        id
    }

    /// What a thread has used so far.
    pub(super) fn usage(&self, thread: ThreadId) -> Usage {
        let thread = &self.threads[thread];
        Usage {
            cpu: thread.cpu,
            switches: thread.switches,
        }
    }

    /// CPU time of threads over all cores.
    #[cfg(test)]
    pub(super) fn busy(&self) -> u64 {
        self.cores.iter().map(|core| core.busy).sum()
    }

    /// Runs the program until `end`.
    pub(super) fn run(&mut self, program: &mut impl Program, end: u64) {
        while let Some((at, event)) = self.calendar.next(end) {
            debug_assert!(at >= self.now, "time does not go back");
            self.now = at;
            match event {
                Event::Done { core, change } if self.cores[core].changes == change => {
                    self.ask(core, program);
                }
                Event::Tick(core) => self.tick(core),
                Event::Timer { thread, wait } if self.threads[thread].waits == wait => {
                    self.threads[thread].state = State::Waiting;
                    self.wake(thread, None);
                }
                Event::Done { .. } | Event::Timer { .. } => {}
            }
            self.settle();
        }
        self.now = end;
        for core in 0..self.cores.len() {
            self.account(core);
        }
    }

    /// Counts what the core's current thread has run until now.
    fn account(&mut self, core: usize) {
        let Core {
            fair, since, busy, ..
        } = &mut self.cores[core];
        let Some(current) = fair.current() else {
            return;
        };
        let ran = self.now.saturating_sub(*since);
        if ran > 0 {
            *since = self.now;
            *busy += ran;
            fair.ran(ran);
            let thread = &mut self.threads[current];
            thread.cpu += ran;
            thread.left = thread.left.saturating_sub(ran);
        }
    }

    /// The current thread has nothing left to do: asks it.
    fn ask(&mut self, core: usize, program: &mut impl Program) {
        self.account(core);
        let Some(current) = self.cores[core].fair.current() else {
            return;
        };
        let mut wakes = std::mem::take(&mut self.wakes);
        let action = program.next(current, self.now, &mut wakes);
        for thread in wakes.drain(..) {
            self.wake(thread, Some(core));
        }
        self.wakes = wakes;
        let thread = &mut self.threads[current];
        match action {
            Action::Run(nanos) => {
                thread.left = nanos + std::mem::take(&mut thread.debt);
                self.expect(core);
            }
            Action::Sleep(until) => self.off(core, State::Asleep, Some(until)),
            Action::Wait(until) => self.off(core, State::Waiting, until),
        }
    }

    /// Enters when the current thread will be done.
    fn expect(&mut self, core: usize) {
        let at = &mut self.cores[core];
        at.changes += 1;
        let Some(current) = at.fair.current() else {
            return;
        };
        let change = at.changes;
        let done = at.since.max(self.now) + self.threads[current].left;
        self.calendar.at(done, Event::Done { core, change });
    }

    /// The current thread leaves the core.
    fn off(&mut self, core: usize, state: State, until: Option<u64>) {
        let at = &mut self.cores[core];
        let Some(current) = at.fair.current() else {
            return;
        };
        let lag = at.fair.leave();
        at.changes += 1;
        at.last = Some(current);
        at.look = true;
        at.idle_since = self.now;
        let thread = &mut self.threads[current];
        thread.lag = lag;
        thread.state = state;
        thread.waits += 1;
        if let Some(until) = until {
            let wait = thread.waits;
            let at = until.max(self.now) + self.costs.timer_late;
            let event = Event::Timer {
                thread: current,
                wait,
            };
            self.calendar.at(at, event);
        }
    }

    /// Makes a waiting thread ready; `from` is the core of the thread that does it.
    fn wake(&mut self, id: ThreadId, from: Option<usize>) {
        if self.threads[id].state != State::Waiting {
            return;
        }
        let core = self.core_for(id, from);
        let idle = self.cores[core].fair.len() == 0;
        let halted = self.now - self.cores[core].idle_since >= self.costs.poll;
        if let Some(from) = from
            && let Some(waker) = self.cores[from].fair.current()
        {
            // A core that polls sees the wake by itself; any other must be interrupted.
            self.threads[waker].debt += if from == core {
                self.costs.wake_local
            } else if idle && !halted {
                self.costs.wake_near
            } else {
                self.costs.wake_far
            };
        }
        self.account(core);
        let thread = &mut self.threads[id];
        if thread.core != core {
            // Of what it was owed elsewhere it keeps the amount; a debt is settled by moving.
            thread.lag.idles = u64::MAX;
        }
        thread.state = State::Ready;
        thread.waits += 1;
        thread.core = core;
        thread.left = 0;
        let (weight, lag) = (thread.weight, thread.lag);
        self.cores[core].fair.enter(id, weight, lag);
        self.cores[core].look = true;
        self.cores[core].remote |= from.is_some_and(|from| from != core);
        if idle {
            let start = match (from, halted) {
                (None, _) => 0,
                (Some(_), true) => self.costs.start_halted,
                (Some(_), false) => self.costs.start_polling,
            };
            self.switch(core, id, start);
        } else {
            self.arm_tick(core);
        }
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

    fn is_idle(&self, core: usize) -> bool {
        self.cores[core].fair.len() == 0
    }

    fn len(&self, core: usize) -> usize {
        self.cores[core].fair.len()
    }

    /// Has the cores that something changed on choose again.
    fn settle(&mut self) {
        for core in 0..self.cores.len() {
            if std::mem::take(&mut self.cores[core].look) {
                let remote = std::mem::take(&mut self.cores[core].remote);
                self.choose(core, remote);
            }
        }
    }

    /// Puts the best thread on the core; with nobody here, one that waits elsewhere.
    fn choose(&mut self, core: usize, remote: bool) {
        self.account(core);
        if self.is_idle(core) {
            self.pull(core);
        }
        let fair = &self.cores[core].fair;
        if let Some(best) = fair.best()
            && fair.current() != Some(best)
        {
            // Another core's wake has to interrupt this one; its own does not.
            let start = if remote && fair.current().is_some() {
                self.costs.start_busy
            } else {
                0
            };
            self.switch(core, best, start);
        }
    }

    fn switch(&mut self, core: usize, thread: ThreadId, start: u64) {
        let at = &mut self.cores[core];
        let before = at.fair.current().or(at.last);
        at.last = at.fair.current();
        at.fair.run(thread);
        let cost = if before == Some(thread) {
            0
        } else {
            self.costs.switch
        };
        at.since = self.now + start;
        // Its own time: cold caches are what most of it is.
        self.threads[thread].left += cost;
        self.threads[thread].switches += 1;
        self.threads[thread].core = core;
        self.expect(core);
        self.arm_tick(core);
    }

    /// An idle core takes a thread that waits for the busiest one (newidle balance).
    fn pull(&mut self, core: usize) {
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

    fn arm_tick(&mut self, core: usize) {
        let at = &mut self.cores[core];
        if !at.ticking && at.fair.len() > 1 {
            at.ticking = true;
            let next = (self.now / self.costs.tick + 1) * self.costs.tick;
            self.calendar.at(next, Event::Tick(core));
        }
    }

    /// The tick: the end of a slice is seen, and a crowded core gives a thread away.
    fn tick(&mut self, core: usize) {
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
            self.choose(core, false);
        }
        self.arm_tick(core);
    }
}

#[cfg(test)]
#[path = "cores_tests.rs"]
mod tests;
