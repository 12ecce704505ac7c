//! Workers: pick, run one turn, harvest when nothing is left. The loop is that of the library's
//! `port/worker.rs`, a step at a time, with what each step costs.

use std::collections::VecDeque;

use wharf::model::{Backlog, Next};

use super::cores::{Action, ThreadId};
use super::ports::Report;
use super::world::{Frame, Turn, World};
use crate::lab::workload::Work;

/// Frames a turn serves before others have their round (the library's default).
const FRAMES_PER_TURN: usize = 64;
/// Nanoseconds of a turn after which it ends (the library's default).
const TURN_TIME: u64 = 1_000_000;
/// Nanoseconds of a nap at most (`port/nap.rs`), and while nothing can go before what waits.
const NAP: u64 = 50_000;
const NAP_HIGHEST: u64 = 200_000;
/// Bytes that one recv can take.
const RECV_BYTES: usize = 64 * 1024;
/// Frames are told to the machine together until they make so many nanoseconds.
const TOGETHER: u64 = 20_000;

/// What a worker is in the middle of.
#[derive(Debug)]
pub(super) enum Stage {
    /// Between two steps.
    Step,
    /// Has entered the kernel's wait.
    Harvest { max: usize, parked: bool },
    /// Sleeps in it.
    Asleep { max: usize },
    /// Has these reports.
    TakeIn { reports: Vec<Report>, parked: bool },
    /// Has picked a turn.
    Begin,
    /// Has called recv.
    Recv,
    /// Serves the frames it has.
    Frames,
    /// Is about to block in a handler for so long.
    Nap(u64),
    /// Has written the answers.
    Flushed,
}

/// A worker of a port or pool.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) queue: usize,
    pub(super) stage: Stage,
    pub(super) turn: Turn,
    /// The lane of the turn that just ended.
    pub(super) ended: Option<usize>,
    /// Its session, if it wants another.
    pub(super) again: Option<usize>,
    /// Pools that its last harvest handed sessions to.
    pub(super) handed_to: Vec<usize>,
}

impl Worker {
    /// Of this queue.
    pub(super) fn new(queue: usize) -> Self {
        Self {
            queue,
            stage: Stage::Step,
            turn: Turn::default(),
            ended: None,
            again: None,
            handed_to: Vec::new(),
        }
    }
}

impl World {
    /// What worker `w`, which is `thread`, does next.
    pub(super) fn worker(
        &mut self,
        w: usize,
        thread: ThreadId,
        now: u64,
        wakes: &mut Vec<ThreadId>,
    ) -> Action {
        loop {
            let stage = std::mem::replace(&mut self.workers[w].stage, Stage::Step);
            let action = match stage {
                Stage::Step => Some(self.step(w, thread, now, wakes)),
                Stage::Harvest { max, parked } => Some(self.harvest(w, thread, max, parked, wakes)),
                Stage::Asleep { max } => Some(self.harvest(w, thread, max, true, wakes)),
                Stage::TakeIn { reports, parked } => self.take_in(w, &reports, parked, now, wakes),
                Stage::Begin => Some(self.begin(w, now)),
                Stage::Recv => {
                    self.recv(w);
                    self.frames(w, now)
                }
                Stage::Frames => self.frames(w, now),
                Stage::Nap(time) => {
                    self.workers[w].stage = Stage::Frames;
                    Some(Action::Sleep(now + time))
                }
                Stage::Flushed => {
                    self.flushed(w, now, wakes);
                    None
                }
            };
            if let Some(action) = action {
                return action;
            }
        }
    }

    fn step(&mut self, w: usize, thread: ThreadId, now: u64, wakes: &mut Vec<ThreadId>) -> Action {
        let worker = &mut self.workers[w];
        let at = worker.queue;
        let queue = &mut self.queues[at];
        if let Some(lane) = worker.ended.take() {
            queue.turn_ended(lane, now);
        }
        if let Some(session) = worker.again.take() {
            let woken = queue
                .sched
                .push(self.sessions[session].place.lane, session, now);
            debug_assert!(!woken, "the pushing worker searches");
        }
        let (next, wake) = queue.sched.pick(now);
        if queue.sched.backlog() == Backlog::None
            && let Some(guardian) = self.guardians[at]
        {
            wakes.extend(self.queues[guardian].end_naps());
        }
        let mut cost = 0;
        if wake {
            cost += self.costs.post;
            wakes.extend(self.queues[at].report(Report::Wake));
        }
        let worker = &mut self.workers[w];
        let (stage, more) = match next {
            Next::Turn { lane, item } => {
                self.queues[at].turn_began(lane);
                worker.turn.lane = lane;
                worker.turn.session = item;
                (Stage::Begin, 0)
            }
            // Nothing in the model is port work.
            Next::Work(_) => (Stage::Step, 0),
            Next::Poll(max) => (Stage::Harvest { max, parked: false }, self.costs.wait),
            Next::Park(max) => {
                worker.stage = Stage::Harvest { max, parked: true };
                let handed_to = std::mem::take(&mut worker.handed_to);
                if let Some(nap) = self.nap(at, &handed_to) {
                    self.queues[at].nap(thread);
                    return Action::Wait(Some(now + nap));
                }
                return Action::Run(cost + self.costs.wait);
            }
        };
        worker.stage = stage;
        Action::Run(cost + more)
    }

    /// How long a worker naps that has handed sessions to these, if it does.
    fn nap(&self, at: usize, handed_to: &[usize]) -> Option<u64> {
        let backlogs = handed_to.iter().map(|to| self.queues[*to].sched.backlog());
        match backlogs.min()? {
            Backlog::None => None,
            Backlog::Highest if !self.queues[at].own_turns => Some(NAP_HIGHEST),
            Backlog::Mixed | Backlog::Highest => Some(NAP),
        }
    }

    fn harvest(
        &mut self,
        w: usize,
        thread: ThreadId,
        max: usize,
        parked: bool,
        wakes: &mut Vec<ThreadId>,
    ) -> Action {
        let queue = &mut self.queues[self.workers[w].queue];
        queue.napped(thread);
        if parked && !queue.has_reports() {
            queue.sleep(thread);
            self.workers[w].stage = Stage::Asleep { max };
            return Action::Wait(None);
        }
        let sessions = &mut self.sessions;
        let (reports, next) = queue.take(max, |report| match report {
            Report::Wake => false,
            Report::Ready(session) => {
                // Read meanwhile, by a turn that was due already.
                let read = sessions[session].inbox.is_empty();
                sessions[session].reported &= !read;
                read
            }
        });
        wakes.extend(next);
        let cost = self.costs.report * reports.len() as u64;
        self.workers[w].stage = Stage::TakeIn { reports, parked };
        Action::Run(cost)
    }

    fn take_in(
        &mut self,
        w: usize,
        reports: &[Report],
        parked: bool,
        now: u64,
        wakes: &mut Vec<ThreadId>,
    ) -> Option<Action> {
        let at = self.workers[w].queue;
        if parked {
            self.queues[at].sched.unpark();
        }
        let (mut posts, mut handed_to) = (0, Vec::new());
        for report in reports {
            match *report {
                Report::Wake => self.queues[at].sched.woken(),
                Report::Ready(session) => {
                    let session_at = &mut self.sessions[session];
                    session_at.reported = false;
                    session_at.readable = true;
                    if std::mem::replace(&mut session_at.busy, true) {
                        continue;
                    }
                    let place = session_at.place;
                    self.hand_offs += u64::from(place.turns != at);
                    let queue = &mut self.queues[place.turns];
                    if queue.sched.push(place.lane, session, now) {
                        posts += 1;
                        wakes.extend(queue.report(Report::Wake));
                    }
                    handed_to.push(place.turns);
                }
            }
        }
        self.queues[at].own_turns |= handed_to.contains(&at);
        handed_to.retain(|turns| *turns != at);
        self.workers[w].handed_to = handed_to;
        (posts > 0).then(|| Action::Run(posts * self.costs.post))
    }

    fn begin(&mut self, w: usize, now: u64) -> Action {
        let Worker { turn, stage, .. } = &mut self.workers[w];
        turn.until = now + TURN_TIME;
        turn.left = FRAMES_PER_TURN;
        let session = &mut self.sessions[turn.session];
        let cost = if session.rest.is_empty() {
            session.readable = false;
            *stage = Stage::Recv;
            self.costs.turn
        } else {
            // What the last turn left is served before the next recv.
            turn.frames = std::mem::take(&mut session.rest);
            *stage = Stage::Frames;
            self.costs.turn / 2
        };
        let apart = session.place.turns != session.place.port;
        let hand_off = if apart { self.costs.hand_off } else { 0 };
        Action::Run(cost.saturating_add_signed(hand_off))
    }

    fn recv(&mut self, w: usize) {
        let turn = &mut self.workers[w].turn;
        let session = &mut self.sessions[turn.session];
        let bytes = usize::from(self.classes[session.class].frame_bytes).max(1);
        let count = (RECV_BYTES / bytes).min(session.inbox.len());
        turn.frames.extend(session.inbox.drain(..count));
        session.readable |= !session.inbox.is_empty();
    }

    /// Serves frames until something else must happen first.
    fn frames(&mut self, w: usize, now: u64) -> Option<Action> {
        let turn = &mut self.workers[w].turn;
        let session = &mut self.sessions[turn.session];
        let class = &self.classes[session.class];
        let mut sum = 0;
        while turn.left > 0 && now + sum < turn.until || turn.left == FRAMES_PER_TURN {
            let Some(frame) = turn.frames.pop_front() else {
                break;
            };
            turn.left -= 1;
            turn.done.push(frame);
            sum += self.costs.frame;
            match class.handler.kind {
                Work::None => {}
                Work::Spin => sum += frame.time.saturating_add_signed(self.costs.spin_more),
                Work::Sleep => {
                    self.workers[w].stage = Stage::Nap(frame.time);
                    return Some(Action::Run(sum));
                }
            }
            if sum >= TOGETHER {
                self.workers[w].stage = Stage::Frames;
                return Some(Action::Run(sum));
            }
        }
        session.rest = std::mem::take(&mut turn.frames);
        let answers = class.replies && !turn.done.is_empty();
        self.workers[w].stage = Stage::Flushed;
        Some(Action::Run(
            sum + if answers { self.costs.flush } else { 0 },
        ))
    }

    fn flushed(&mut self, w: usize, now: u64, wakes: &mut Vec<ThreadId>) {
        let worker = &mut self.workers[w];
        let done = std::mem::take(&mut worker.turn.done);
        let id = worker.turn.session;
        let session = &mut self.sessions[id];
        let again = session.readable || !session.rest.is_empty();
        session.busy = again;
        worker.again = again.then_some(id);
        worker.ended = Some(worker.turn.lane);
        worker.stage = Stage::Step;
        self.answered(id, done, now, wakes);
    }
}

/// Frames in the order they came.
pub(super) type Frames = VecDeque<Frame>;
