//! The driver: one thing at a time, chosen by the seed.

use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::MutexGuard;

use super::hold::{self, Gate, Holds};
use super::log::{What, seconds};
use super::net::World;
use super::stuck::{Report, SHOWN, SimStuck, StuckWhy};
use super::{Faults, Sim};
use crate::port::contract::{Backend, Wait};
use crate::port::drive::{Drive, Step, Supervise};
use crate::time::Time;

const STEPS_MAX: u64 = 2_000_000;
const TIME_MAX: Duration = Duration::from_secs(600);

/// How soon a supervisor may be called again at the earliest.
const SUPERVISOR_PAUSE: Duration = Duration::from_micros(1);

/// What came of an attempt to do one thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    Ran,
    /// Nothing is due up to the limit.
    Limit,
    /// Nothing will ever happen.
    Idle,
}

/// Whom the driver drives.
pub(super) struct Table {
    /// Held weakly, to know a port again by its address while its memory can't be reused.
    ports: Vec<(usize, Weak<dyn Backend>)>,
    workers: Vec<Slot>,
    supervisors: Vec<Supervisor>,
    last: u64,
    steps_max: u64,
    time_max: Duration,
}

struct Slot {
    id: u64,
    name: Arc<str>,
    port: usize,
    state: State,
    /// None while it is being stepped.
    worker: Option<Box<dyn Drive>>,
}

enum State {
    /// Its last step said this.
    Said(Step),
    /// Occupied by a handler that holds it, or taken off its core.
    Held {
        until: Time,
        gates: Vec<Gate>,
        then: Step,
        preempted: bool,
    },
    /// Being stepped, by a driver further up this stack if it is seen at all.
    Stepping,
}

struct Supervisor {
    id: u64,
    next: Time,
    /// None while it is being called.
    supervise: Option<Supervise>,
}

/// One thing to do.
enum Choice {
    Worker(usize),
    Supervisor(usize),
    /// A due event of the network.
    Network(usize),
    /// The answer to a lookup of names.
    Answer(usize),
}

impl Default for Table {
    fn default() -> Self {
        Self {
            ports: Vec::new(),
            workers: Vec::new(),
            supervisors: Vec::new(),
            last: 0,
            steps_max: STEPS_MAX,
            time_max: TIME_MAX,
        }
    }
}

impl Table {
    pub(super) fn set_limits(&mut self, steps: u64, time: Duration) {
        (self.steps_max, self.time_max) = (steps, time);
    }

    pub(super) fn add_port(&mut self, index: usize, port: &Arc<dyn Backend>) {
        self.ports.retain(|(_, port)| port.strong_count() > 0);
        self.ports.push((index, Arc::downgrade(port)));
    }

    fn port(&self, port: &Arc<impl Backend + ?Sized>) -> Option<usize> {
        let wanted = Arc::as_ptr(port).cast::<()>();
        let mut known = self.ports.iter();
        known
            .find(|(_, known)| known.as_ptr().cast::<()>() == wanted)
            .map(|(index, _)| *index)
    }

    fn next_id(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    pub(super) fn add_supervisor(&mut self, now: Time, supervise: Supervise) {
        let id = self.next_id();
        self.supervisors.push(Supervisor {
            id,
            next: now,
            supervise: Some(supervise),
        });
    }

    #[cfg(test)]
    pub(super) fn workers_of(&self, port: &Arc<impl Backend + ?Sized>) -> usize {
        let port = self.port(port);
        self.workers
            .iter()
            .filter(|slot| Some(slot.port) == port)
            .count()
    }

    pub(super) fn dismiss(&mut self, port: &Arc<impl Backend + ?Sized>) -> Vec<Box<dyn Drive>> {
        let port = self.port(port);
        let (gone, stay) = self
            .workers
            .drain(..)
            .partition(|slot| Some(slot.port) == port);
        self.workers = stay;
        let gone: Vec<Slot> = gone;
        gone.into_iter().filter_map(|slot| slot.worker).collect()
    }

    /// Chooses what to do now, by its place in its list; None if there is nothing.
    fn choose(&mut self, world: &mut World) -> Option<Choice> {
        let mut workers = Vec::new();
        for (place, slot) in self.workers.iter_mut().enumerate() {
            if slot.can_run(world) {
                workers.push(place);
            }
        }
        let callable = |(place, supervisor): (usize, &Supervisor)| {
            (supervisor.next <= world.now && supervisor.supervise.is_some()).then_some(place)
        };
        let supervisors: Vec<usize> = self
            .supervisors
            .iter()
            .enumerate()
            .filter_map(callable)
            .collect();
        let counts = [
            workers.len(),
            supervisors.len(),
            world.due(),
            world.lookups_due(),
        ];
        // By kind first: a thousand bytes on the way must not keep two workers from running.
        let kinds = counts.iter().filter(|count| **count > 0).count();
        if kinds == 0 {
            return None;
        }
        let nth = world.rng.usize(0..kinds);
        let mut able = (0..counts.len()).filter(|kind| counts[*kind] > 0);
        let kind = able.nth(nth)?;
        let place = world.rng.usize(0..counts[kind]);
        Some(match kind {
            0 => Choice::Worker(workers[place]),
            1 => Choice::Supervisor(supervisors[place]),
            2 => Choice::Network(place),
            _ => Choice::Answer(place),
        })
    }

    /// The next moment at which something may happen that can't happen now.
    fn next_moment(&self, world: &World) -> Option<Time> {
        let now = world.now;
        let held = self.workers.iter().filter_map(|slot| match &slot.state {
            State::Held { until, gates, .. } if gates.iter().all(Gate::is_open) => Some(*until),
            _ => None,
        });
        let calls = self.supervisors.iter().map(|supervisor| supervisor.next);
        let network = world.next_moment().into_iter().chain(world.next_timer());
        let network = network.chain(world.next_lookup());
        held.chain(calls)
            .chain(network)
            .filter(|at| *at > now && *at < Time::NEVER)
            .min()
    }

    fn describe(&self, now: Time) -> Vec<String> {
        let describe = |slot: &Slot| {
            let doing = match &slot.state {
                State::Said(Step::Ran) => "ready to step".to_owned(),
                State::Said(Step::Harvest {
                    how: Wait::Block, ..
                }) => "parked".to_owned(),
                State::Said(Step::Harvest {
                    how: Wait::Poll, ..
                }) => "about to poll".to_owned(),
                State::Said(Step::Nap(_)) => "at the end of a nap".to_owned(),
                State::Said(Step::Quit) => "about to leave".to_owned(),
                State::Stepping => "in a step that has not returned".to_owned(),
                State::Held {
                    until,
                    preempted: true,
                    ..
                } => {
                    format!("preempted until {}", seconds(*until))
                }
                State::Held {
                    until,
                    then: Step::Nap(_),
                    ..
                } => format!("napping until {}", seconds(*until)),
                State::Held { gates, .. } if gates.iter().any(|gate| !gate.is_open()) => {
                    "held by a handler that waits for a gate".to_owned()
                }
                State::Held { until, .. } if *until <= now => "just let go".to_owned(),
                State::Held { until, .. } => {
                    format!("held by a handler until {}", seconds(*until))
                }
            };
            format!("worker {} of port {}: {doing}", slot.name, slot.port)
        };
        self.workers.iter().map(describe).collect()
    }
}

impl Slot {
    /// Whether it can do something now; ends a hold that is over.
    fn can_run(&mut self, world: &World) -> bool {
        if let State::Held {
            until, gates, then, ..
        } = &self.state
            && *until <= world.now
            && gates.iter().all(Gate::is_open)
        {
            self.state = State::Said(*then);
        }
        match self.state {
            State::Said(Step::Harvest {
                how: Wait::Block, ..
            }) => world.port_ready(self.port),
            State::Said(_) => true,
            State::Held { .. } | State::Stepping => false,
        }
    }
}

impl Sim {
    pub(super) fn take_in(&self, worker: Box<dyn Drive>, port: &Arc<impl Backend + ?Sized>) {
        let name: Arc<str> = worker.name().into();
        let mut table = self.0.table.lock();
        let Some(port) = table.port(port) else {
            panic!("worker {name}: its port is not of this simulation; make it with Sim::backend");
        };
        let id = table.next_id();
        self.0.net.lock().note(What::Adopted(name.clone(), port));
        let state = State::Said(Step::Ran);
        table.workers.push(Slot {
            id,
            name,
            port,
            state,
            worker: Some(worker),
        });
    }

    /// Does one thing, not later than `limit`.
    pub(super) fn progress(&self, limit: Time) -> Progress {
        let mut table = self.0.table.lock();
        let mut world = self.0.net.lock();
        match table.choose(&mut world) {
            Some(Choice::Network(place)) => world.happen(place),
            Some(Choice::Answer(place)) => {
                let answer = world.answer(place);
                drop((world, table));
                if let Some(answer) = answer {
                    answer();
                }
            }
            Some(Choice::Worker(place)) => {
                drop(world);
                self.run_worker(table, place);
            }
            Some(Choice::Supervisor(place)) => {
                drop(world);
                self.call_supervisor(table, place);
            }
            None => {
                let Some(next) = table.next_moment(&world) else {
                    return Progress::Idle;
                };
                if next > limit {
                    return Progress::Limit;
                }
                world.advance(next);
                world.note(What::Jumped);
            }
        }
        Progress::Ran
    }

    fn run_worker(&self, mut table: MutexGuard<'_, Table>, place: usize) {
        let slot = &mut table.workers[place];
        let (id, name) = (slot.id, slot.name.clone());
        let State::Said(said) = slot.state else {
            return;
        };
        let Some(mut worker) = slot.worker.take() else {
            return;
        };
        if said == Step::Quit {
            table.workers.remove(place);
            drop(table);
            self.0.net.lock().note(What::Left(name));
            return;
        }
        slot.state = State::Stepping;
        drop(table);
        let was = worker.enter();
        let ((then, what), holds) = hold::during(|| match said {
            Step::Harvest { max, how } => {
                worker.harvest(max, how);
                (Step::Ran, What::Harvested(Arc::clone(&name)))
            }
            Step::Nap(limit) => {
                worker.nap(limit);
                (Step::Ran, What::Napped(Arc::clone(&name)))
            }
            Step::Ran | Step::Quit => {
                let step = worker.step();
                (step, What::Stepped(Arc::clone(&name), step))
            }
        });
        // Between steps it is the test's own thread, or that of a worker who drives others.
        crate::port::current::back_to(was);
        let state = self.after_step(name, then, what, holds);
        let mut table = self.0.table.lock();
        if let Some(slot) = table.workers.iter_mut().find(|slot| slot.id == id) {
            slot.state = state;
            slot.worker = Some(worker);
        }
        // Dismissed meanwhile: then it is dropped here, after the table was unlocked.
        drop(table);
    }

    /// What the worker is in after it did `what`, which says what is `then`.
    fn after_step(&self, name: Arc<str>, then: Step, what: What, holds: Holds) -> State {
        let mut world = self.0.net.lock();
        let Faults {
            preempts,
            preempt_max,
            step_max,
            ..
        } = world.faults;
        let to = world.now + world.some_time(step_max);
        world.advance(to);
        world.note(what);
        if !holds.is_empty() {
            world.note(What::Held(name, holds.time, holds.gates.len()));
            let until = world.now + holds.time;
            return State::Held {
                until,
                gates: holds.gates,
                then,
                preempted: false,
            };
        }
        if let Step::Nap(limit) = then {
            return State::Held {
                until: world.now + limit,
                gates: Vec::new(),
                then,
                preempted: false,
            };
        }
        if world.coin(preempts) {
            let time = world.some_time(preempt_max);
            world.note(What::Preempted(name, time));
            let until = world.now + time;
            return State::Held {
                until,
                gates: Vec::new(),
                then,
                preempted: true,
            };
        }
        State::Said(then)
    }

    fn call_supervisor(&self, mut table: MutexGuard<'_, Table>, place: usize) {
        let supervisor = &mut table.supervisors[place];
        let id = supervisor.id;
        let Some(mut supervise) = supervisor.supervise.take() else {
            return;
        };
        drop(table);
        let now = self.time();
        let next = supervise(now);
        let mut world = self.0.net.lock();
        let next = next.max(world.now + SUPERVISOR_PAUSE);
        world.note(What::Supervised(next));
        drop(world);
        let mut table = self.0.table.lock();
        if next == Time::NEVER {
            table.supervisors.retain(|supervisor| supervisor.id != id);
        } else if let Some(slot) = table.supervisors.iter_mut().find(|slot| slot.id == id) {
            slot.next = next;
            slot.supervise = Some(supervise);
        }
        drop(table);
    }

    pub(super) fn drive(&self, mut done: impl FnMut() -> bool) -> Result<(), SimStuck> {
        let (steps_max, limit) = self.limits();
        let mut steps = 0;
        while !done() {
            if steps >= steps_max {
                return Err(self.stuck(StuckWhy::Steps, steps));
            }
            if self.time() >= limit {
                return Err(self.stuck(StuckWhy::Time, steps));
            }
            match self.progress(limit) {
                Progress::Ran => steps += 1,
                Progress::Limit => return Err(self.stuck(StuckWhy::Time, steps)),
                Progress::Idle => return Err(self.stuck(StuckWhy::Idle, steps)),
            }
        }
        Ok(())
    }

    pub(super) fn drive_for(&self, time: Duration) -> Result<(), SimStuck> {
        let (steps_max, _) = self.limits();
        let end = self.time() + time;
        let mut steps = 0;
        while self.time() < end {
            if steps >= steps_max {
                return Err(self.stuck(StuckWhy::Steps, steps));
            }
            match self.progress(end) {
                Progress::Ran => steps += 1,
                Progress::Limit | Progress::Idle => self.0.net.lock().advance(end),
            }
        }
        Ok(())
    }

    fn limits(&self) -> (u64, Time) {
        let (steps_max, time_max) = {
            let table = self.0.table.lock();
            (table.steps_max, table.time_max)
        };
        (steps_max, self.time() + time_max)
    }

    fn stuck(&self, why: StuckWhy, steps: u64) -> SimStuck {
        let table = self.0.table.lock();
        let world = self.0.net.lock();
        SimStuck::new(Report {
            why,
            seed: world.seed,
            now: world.now.since(Time::ZERO),
            steps,
            workers: table.describe(world.now),
            log: world.log.tail(SHOWN),
        })
    }
}
