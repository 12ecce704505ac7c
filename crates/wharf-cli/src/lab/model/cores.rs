//! The machine: N cores, their fair queues, and threads that compute, sleep and wake each other.
//!
//! What a thread does is a [`Program`]: asked when the thread is on a core and has nothing left to
//! do. Everything happens at whole nanoseconds of virtual time, in an order that the seed fixes.

mod balance;

use std::collections::VecDeque;

use fastrand::Rng;

use super::costs::OsCosts;
use super::eevdf::{Fair, Lag, weight_of};
use super::events::Calendar;

/// A thread of the machine.
pub(super) type ThreadId = usize;

/// Least time between two looks at a slice.
const LOOK: u64 = 2_000;

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
    /// Runs before every thread that does not, and until it waits.
    ahead: bool,
    cores: Vec<bool>,
    /// Where it is, or was last.
    core: usize,
    lag: Lag,
    /// CPU time left of what it was told.
    left: u64,
    /// CPU time of the kernel on its behalf, done before its own.
    debt: u64,
    /// CPU time that it needs before it waits.
    rest: u64,
    /// How it waits once it had that.
    wait: Option<Action>,
    /// Woken before it waited.
    woken: bool,
    /// Counts its waits, so that a late timer is known.
    waits: u64,
    cpu: u64,
    switches: u64,
}

#[derive(Debug)]
struct Core {
    fair: Fair,
    /// A thread that runs ahead of the fair ones, and others of its kind that wait for it.
    first: Option<ThreadId>,
    ahead: VecDeque<ThreadId>,
    /// Until when the current thread's time has been counted; ahead of now while it starts.
    since: u64,
    /// The one before the current.
    last: Option<ThreadId>,
    idle_since: u64,
    /// How long it is idle at a time, on average: see [`balance`].
    idle_usually: u64,
    /// Counts the changes, so that an event of an older state is known.
    changes: u64,
    ticking: bool,
    busy: u64,
    /// Something changed: it must choose again.
    look: bool,
    /// Another core did it: this one.
    remote: Option<usize>,
    /// Until then it is taken from whoever runs on it.
    taken_until: u64,
}

impl Core {
    /// Who runs.
    fn current(&self) -> Option<ThreadId> {
        self.first.or(self.fair.current())
    }

    /// Threads that run or wait here.
    fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.ahead.len() + self.fair.len()
    }
}

#[derive(Clone, Copy, Debug)]
enum Event {
    /// The current thread has done what it was told.
    Done {
        core: usize,
        change: u64,
    },
    /// The current thread's slice is over, if it is still the one of this change.
    Slice {
        core: usize,
        change: u64,
    },
    /// Something takes the core for so long.
    Interrupt {
        core: usize,
        length: u64,
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
    rng: Rng,
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
    /// A machine with so many cores, all idle; the seed fixes what is left to chance.
    pub(super) fn new(cores: usize, costs: OsCosts, seed: u64) -> Self {
        let core = |_| Core {
            fair: Fair::new(costs.slice, costs.tick),
            first: None,
            ahead: VecDeque::new(),
            since: 0,
            last: None,
            idle_since: 0,
            idle_usually: balance::IDLE_USUALLY_MAX,
            changes: 0,
            ticking: false,
            busy: 0,
            look: false,
            remote: None,
            taken_until: 0,
        };
        let mut machine = Self {
            cores: (0..cores.max(1)).map(core).collect(),
            costs,
            threads: Vec::new(),
            calendar: Calendar::new(),
            now: 0,
            wakes: Vec::new(),
            rng: Rng::with_seed(seed),
        };
        (0..machine.cores.len()).for_each(|core| machine.next_interrupt(core));
        machine
    }

    /// A new thread, ready; `on` are the cores that it may use, empty for all. `ahead`: it runs
    /// before every thread that is not, where the machine lets it.
    pub(super) fn spawn(&mut self, nice: i32, on: &[usize], ahead: bool) -> ThreadId {
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
            ahead: ahead && self.costs.ahead,
            cores,
            core,
            lag: Lag::default(),
            left: 0,
            debt: 0,
            rest: 0,
            wait: None,
            woken: false,
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
                Event::Slice { core, change } if self.cores[core].changes == change => {
                    self.account(core);
                    if self.cores[core].fair.slice_over() {
                        self.choose(core);
                    }
                }
                Event::Interrupt { core, length } => self.interrupt(core, length),
                Event::Tick(core) => self.tick(core),
                Event::Timer { thread, wait } if self.threads[thread].waits == wait => {
                    self.threads[thread].state = State::Waiting;
                    self.wake(thread, None);
                }
                Event::Done { .. } | Event::Slice { .. } | Event::Timer { .. } => {}
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
        let at = &mut self.cores[core];
        let Some(current) = at.current() else {
            return;
        };
        let ran = self.now.saturating_sub(at.since);
        if ran > 0 {
            at.since = self.now;
            at.busy += ran;
            if at.first.is_none() {
                at.fair.ran(ran);
            }
            let thread = &mut self.threads[current];
            thread.cpu += ran;
            thread.left = thread.left.saturating_sub(ran);
        }
    }

    /// The current thread has nothing left to do: asks it.
    fn ask(&mut self, core: usize, program: &mut impl Program) {
        self.account(core);
        let Some(current) = self.cores[core].current() else {
            return;
        };
        let thread = &mut self.threads[current];
        let (wait, woken) = (thread.wait.take(), std::mem::take(&mut thread.woken));
        let action = wait.filter(|_| !woken);
        let action = action.unwrap_or_else(|| {
            let mut wakes = std::mem::take(&mut self.wakes);
            let action = program.next(current, self.now, &mut wakes);
            for thread in wakes.drain(..) {
                self.wake(thread, Some(core));
            }
            self.wakes = wakes;
            action
        });
        let thread = &mut self.threads[current];
        match action {
            Action::Sleep(_) | Action::Wait(_) if thread.rest > 0 => {
                thread.left = std::mem::take(&mut thread.rest) + std::mem::take(&mut thread.debt);
                thread.wait = Some(action);
                self.expect(core);
            }
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
        let Some(current) = at.current() else {
            return;
        };
        let change = at.changes;
        let done = at.since.max(self.now) + self.threads[current].left;
        self.calendar.at(done, Event::Done { core, change });
        self.arm_slice(core);
    }

    /// Enters when the slice of the current thread ends, if others wait for it.
    fn arm_slice(&mut self, core: usize) {
        let at = &self.cores[core];
        if self.costs.slice_exact
            && at.first.is_none()
            && at.fair.len() > 1
            && let Some(left) = at.fair.slice_left()
        {
            // One that goes on although its slice is over is looked at again soon.
            let (over, change) = (at.since.max(self.now) + left.max(LOOK), at.changes);
            self.calendar.at(over, Event::Slice { core, change });
        }
    }

    fn next_interrupt(&mut self, core: usize) {
        if let Some((gap, length)) = self.costs.interrupts.draw(&mut self.rng) {
            let at = self.now + gap;
            self.calendar.at(at, Event::Interrupt { core, length });
        }
    }

    /// Something takes the core: the current thread goes on afterwards.
    fn interrupt(&mut self, core: usize, length: u64) {
        self.account(core);
        self.cores[core].taken_until = self.now + length;
        if self.cores[core].current().is_some() {
            let at = &mut self.cores[core];
            at.since = at.since.max(self.now) + length;
            self.expect(core);
        }
        self.next_interrupt(core);
    }

    /// The current thread leaves the core.
    fn off(&mut self, core: usize, state: State, until: Option<u64>) {
        let at = &mut self.cores[core];
        let Some(current) = at.current() else {
            return;
        };
        let ahead = at.first.take().is_some();
        let lag = if ahead {
            Lag::default()
        } else {
            at.fair.leave()
        };
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
            let late = if ahead {
                self.costs.timer_late_ahead
            } else {
                self.costs.timer_late
            };
            let at = until.max(self.now) + late;
            let event = Event::Timer {
                thread: current,
                wait,
            };
            self.calendar.at(at, event);
        }
    }

    /// Has the cores that something changed on choose again.
    fn settle(&mut self) {
        for core in 0..self.cores.len() {
            if std::mem::take(&mut self.cores[core].look) {
                self.choose(core);
            }
        }
    }

    /// Puts the best thread on the core; with nobody here, one that waits elsewhere.
    fn choose(&mut self, core: usize) {
        self.account(core);
        let remote = self.cores[core].remote.take();
        if self.cores[core].len() == 0 {
            self.pull(core);
        }
        let at = &mut self.cores[core];
        let best = match at.first {
            // It runs until it waits.
            Some(_) => None,
            None => at.ahead.pop_front().or_else(|| at.fair.best()),
        };
        let Some(best) = best.filter(|best| at.current() != Some(*best)) else {
            self.arm_slice(core);
            return;
        };
        let mut start = 0;
        // Another core's wake has to interrupt this one; its own does not.
        if let Some(from) = remote.filter(|_| at.current().is_some()) {
            start = self.costs.wake_busy.draw(&mut self.rng);
            if let Some(waker) = self.cores[from].current() {
                self.threads[waker].debt += self.costs.wake_busy.cost;
            }
        }
        self.switch(core, best, start);
    }

    fn switch(&mut self, core: usize, thread: ThreadId, start: u64) {
        let at = &mut self.cores[core];
        let before = at.current();
        if before.is_none() {
            at.was_idle(self.now);
        }
        let cost = match before.or(at.last) {
            Some(before) if before == thread => 0,
            _ => self.costs.switch,
        };
        let (cold, rest) = match before {
            Some(_) => (0, 0),
            None => self
                .costs
                .cold_after(self.now - at.idle_since, &mut self.rng),
        };
        at.last = before;
        if self.threads[thread].ahead {
            at.fair.put_back();
            at.first = Some(thread);
        } else {
            at.fair.run(thread);
        }
        at.since = self.now.max(at.taken_until) + start;
        // Its own time: cold caches are what most of it is.
        self.threads[thread].left += cost + cold;
        self.threads[thread].rest += rest;
        self.threads[thread].switches += 1;
        self.threads[thread].core = core;
        self.expect(core);
        self.arm_tick(core);
    }

    fn arm_tick(&mut self, core: usize) {
        let at = &mut self.cores[core];
        if !at.ticking && at.len() > 1 {
            at.ticking = true;
            let next = (self.now / self.costs.tick + 1) * self.costs.tick;
            self.calendar.at(next, Event::Tick(core));
        }
    }
}

#[cfg(test)]
#[path = "cores_tests.rs"]
mod tests;
