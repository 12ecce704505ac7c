//! All that the threads of a simulated process and its far end share.

use fastrand::Rng;

use super::cores::{Action, Program, ThreadId};
use super::far::Far;
use super::input::{Costs, FarEnd, Place, Scenario};
use super::ports::{Queue, Report};
use super::workers::{Frames, Worker};
use crate::lab::result::{Latencies, latencies};
use crate::lab::workload::{Class, Load};

/// A frame on its way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    /// When it was to be sent.
    pub(super) due: u64,
    /// What it costs its handler.
    pub(super) time: u64,
}

/// One connection, both ends.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) class: usize,
    pub(super) place: Place,
    /// Queued or in a turn.
    pub(super) busy: bool,
    pub(super) readable: bool,
    /// Stands in the kernel queue of its port.
    pub(super) reported: bool,
    /// Received by the kernel, not read.
    pub(super) inbox: Frames,
    /// Read, not served.
    pub(super) rest: Frames,
    /// Answers that the far end has not read.
    pub(super) answers: Frames,
    /// Stands in the far end's queue.
    pub(super) far_reported: bool,
    /// Sent and not answered.
    pub(super) on_way: u32,
    /// Draws the handler's times.
    pub(super) rng: Rng,
}

/// A turn that runs.
#[derive(Debug, Default)]
pub(super) struct Turn {
    pub(super) session: usize,
    pub(super) lane: usize,
    pub(super) until: u64,
    pub(super) left: usize,
    pub(super) frames: Frames,
    pub(super) done: Vec<Frame>,
}

/// What one class got.
#[derive(Clone, Debug)]
pub(super) struct Tally {
    /// Nanoseconds from due to answered.
    pub(super) latency: Latencies,
    /// Nanoseconds from due to sent.
    pub(super) late: Latencies,
    /// Frames handled in the measured time.
    pub(super) handled: u64,
    /// Answers checked in the measured time.
    pub(super) answered: u64,
    /// Due, and not sent because too many were on their way.
    pub(super) unsent: u64,
}

/// Who a thread is.
#[derive(Clone, Copy, Debug)]
enum Role {
    Worker(usize),
    Far,
    Pacer,
    /// One of the machine's own, which runs for so long next.
    Other(Option<u64>),
}

/// The process, its far end, and what is between them.
#[derive(Debug)]
pub(super) struct World {
    pub(super) costs: Costs,
    pub(super) classes: Vec<Class>,
    pub(super) sessions: Vec<Session>,
    pub(super) queues: Vec<Queue>,
    pub(super) workers: Vec<Worker>,
    /// Of each pool, the port that hands sessions over to it.
    pub(super) guardians: Vec<Option<usize>>,
    pub(super) far: Far,
    pub(super) tallies: Vec<Tally>,
    /// Sessions given from a port to a pool.
    pub(super) hand_offs: u64,
    /// The measured time.
    pub(super) window: std::ops::Range<u64>,
    roles: Vec<Role>,
    /// What is left to chance beside arrivals and handlers.
    rng: Rng,
}

/// Cores of another machine that the far end has to itself: one for its loop, one for its pacer.
pub(super) const FAR_CORES: usize = 2;

/// A thread to start: its nice value, its cores, and whether it runs ahead of the others.
pub(super) type Start = (i32, Vec<usize>, bool);

impl World {
    /// Everything connected and silent, and the threads in the order of their numbers.
    pub(super) fn new(scenario: &Scenario) -> (Self, Vec<Start>) {
        let placement = &scenario.placement;
        let (mut roles, mut starts, mut workers) = (Vec::new(), Vec::new(), Vec::new());
        let here: Vec<_> = (0..scenario.cores).collect();
        for (queue, spec) in placement.queues.iter().enumerate() {
            for _ in 0..spec.workers {
                roles.push(Role::Worker(workers.len()));
                workers.push(Worker::new(queue));
                let on = if spec.cores.is_empty() {
                    &here
                } else {
                    &spec.cores
                };
                starts.push((spec.nice, on.clone(), false));
            }
        }
        let far_thread = roles.len();
        let anywhere = here.clone();
        let far_on = match scenario.far_end {
            FarEnd::Here => here,
            FarEnd::Core(core) => vec![core],
            FarEnd::Apart => (0..FAR_CORES).map(|core| scenario.cores + core).collect(),
        };
        // As the driver does it: a closed loop alone keeps a core busy by itself.
        let closed = |class: &Class| matches!(class.load, Load::Saturate { .. } | Load::Silent);
        let paced = !scenario.classes.iter().all(closed);
        for role in [Role::Far, Role::Pacer] {
            roles.push(role);
            starts.push((0, far_on.clone(), paced));
        }
        for _ in 0..scenario.cores {
            roles.push(Role::Other(None));
            starts.push((0, anywhere.clone(), false));
        }
        let mut guardians = vec![None; placement.queues.len()];
        for place in placement
            .places
            .iter()
            .filter(|place| place.port != place.turns)
        {
            guardians[place.turns] = Some(place.port);
        }
        let world = Self {
            guardians,
            costs: scenario.costs,
            classes: scenario.classes.clone(),
            sessions: sessions(scenario),
            queues: placement.queues.iter().map(Queue::new).collect(),
            workers,
            far: Far::new(scenario, far_thread),
            tallies: scenario.classes.iter().map(|_| Tally::new()).collect(),
            hand_offs: 0,
            window: scenario.warm_up..scenario.warm_up + scenario.measure,
            roles,
            rng: Rng::with_seed(scenario.seed),
        };
        (world, starts)
    }

    /// A frame of this session, due then.
    pub(super) fn frame(&mut self, session: usize, due: u64) -> Frame {
        let at = &mut self.sessions[session];
        let time = self.classes[at.class].handler.time(at.rng.f64());
        Frame {
            due,
            time: u64::try_from(time.as_nanos()).unwrap_or(u64::MAX),
        }
    }

    /// Frames have come to the server's socket.
    pub(super) fn arrived(&mut self, id: usize, frame: Frame, wakes: &mut Vec<ThreadId>) {
        let session = &mut self.sessions[id];
        session.inbox.push_back(frame);
        if !std::mem::replace(&mut session.reported, true) {
            wakes.extend(self.queues[session.place.port].report(Report::Ready(id)));
        }
    }

    /// A turn has served these frames and written the answers.
    pub(super) fn answered(
        &mut self,
        id: usize,
        done: Vec<Frame>,
        now: u64,
        wakes: &mut Vec<ThreadId>,
    ) {
        let session = &mut self.sessions[id];
        let class = session.class;
        if self.window.contains(&now) {
            self.tallies[class].handled += done.len() as u64;
        }
        if !self.classes[class].replies {
            session.on_way -= u32::try_from(done.len()).unwrap_or(session.on_way);
            return;
        }
        if done.is_empty() {
            return;
        }
        session.answers.extend(done);
        if !std::mem::replace(&mut session.far_reported, true) {
            wakes.extend(self.far.report(id));
        }
    }
}

impl World {
    /// What a thread does that has nothing to do with the process.
    fn other(&mut self, thread: ThreadId, length: Option<u64>, now: u64) -> Action {
        if let Some(length) = length {
            self.roles[thread] = Role::Other(None);
            return Action::Run(length);
        }
        let Some((gap, length)) = self.costs.os.others.draw(&mut self.rng) else {
            return Action::Sleep(u64::MAX / 2);
        };
        self.roles[thread] = Role::Other(Some(length));
        Action::Sleep(now + gap)
    }
}

impl Program for World {
    fn next(&mut self, thread: ThreadId, now: u64, wakes: &mut Vec<ThreadId>) -> Action {
        match self.roles[thread] {
            Role::Worker(w) => self.worker(w, thread, now, wakes),
            Role::Far => self.far(now, wakes),
            Role::Pacer => self.pacer(now, wakes),
            Role::Other(length) => self.other(thread, length, now),
        }
    }
}

impl Tally {
    fn new() -> Self {
        Self {
            latency: latencies(),
            late: latencies(),
            handled: 0,
            answered: 0,
            unsent: 0,
        }
    }
}

fn sessions(scenario: &Scenario) -> Vec<Session> {
    let places = scenario.placement.places.iter();
    let of_class = |(class, place): (usize, &Place)| {
        let count = scenario.classes[class].sessions;
        let place = *place;
        (0..count).map(move |number| Session {
            class,
            place,
            busy: false,
            readable: false,
            reported: false,
            inbox: Frames::new(),
            rest: Frames::new(),
            answers: Frames::new(),
            far_reported: false,
            on_way: 0,
            // As in the server that is measured: the same sessions draw the same times.
            rng: Rng::with_seed(u64::from(number)),
        })
    };
    places.enumerate().flat_map(of_class).collect()
}
