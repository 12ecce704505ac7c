//! The far end: the loop of the lab's driver (`lab/driver/run.rs`) and of its pacer, a step at a
//! time. It sends what is due and measures from the moment a frame was due until its answer came.

use std::collections::VecDeque;

use super::cores::{Action, ThreadId};
use super::input::Scenario;
use super::world::{Frame, World};
use crate::lab::driver::Spread;
use crate::lab::driver::schedule::{Due, Schedule};
use crate::lab::workload::{Class, Load};

/// Frames of a session that may be on their way in an open loop; more are counted as unsent.
const ON_WAY_MAX: u32 = 16_384;
/// What is due within so long is polled for, and the pacer wakes the loop so much early.
const EARLY: u64 = 50_000;
/// Longest wait of the loop.
const WAIT_MAX: u64 = 20_000_000;
/// A poller's timeout counts in these.
const MILLISECOND: u64 = 1_000_000;
/// Frames of the schedule sent in one go.
const DUE_AT_ONCE: usize = 1024;
/// Nanoseconds of polling that are told to the machine together.
const POLLS: u64 = 2_000;

/// What the loop is in the middle of.
#[derive(Debug)]
enum Stage {
    /// Fills the closed loops, from this session on.
    Start(usize),
    /// Sends what is due; so many in this go.
    Send(usize),
    /// Has written this frame of a session, in a go of so many.
    Sent(usize, Frame, usize),
    /// Has asked for events.
    Poll { until: Option<u64> },
    /// Takes the events it was given.
    Handle,
    /// Has read this session's socket.
    Read(usize),
    /// Has checked so many answers of it.
    Checked(usize, usize),
    /// Has written so many more frames of a closed loop.
    Refilled(usize, usize, Next),
}

/// Where the loop goes on.
#[derive(Clone, Copy, Debug)]
enum Next {
    Start(usize),
    Handle,
}

/// What the pacer is in the middle of.
#[derive(Clone, Copy, Debug)]
enum Pace {
    /// Looks when the next frame is due.
    Look,
    /// Has woken the loop, or has seen that it need not.
    Woken,
}

/// The driver's loop and its pacer.
#[derive(Debug)]
pub(super) struct Far {
    /// Of the loop; the pacer's is the next.
    thread: ThreadId,
    schedule: Schedule,
    /// The pacer's own copy.
    paced: Schedule,
    /// When the schedule ends.
    stop: u64,
    /// By class, where its first session is.
    first: Vec<usize>,
    stage: Stage,
    /// Sessions with answers to read.
    ready: VecDeque<usize>,
    /// Those of the present look.
    events: VecDeque<usize>,
    /// The pacer has posted a wake.
    posted: bool,
    /// The loop has told the pacer that it waits.
    wants_pacer: bool,
    /// The loop sleeps in the wait.
    asleep: bool,
    pace: Pace,
}

impl Far {
    /// Everything still to be sent.
    pub(super) fn new(scenario: &Scenario, thread: ThreadId) -> Self {
        let spreads = scenario.classes.iter().zip(&scenario.ceilings_per_s);
        let spreads = spreads.map(|(class, ceiling)| spread(class, *ceiling));
        let streams: Vec<_> = spreads
            .zip(&scenario.classes)
            .enumerate()
            .filter_map(|(at, (spread, class))| Some((at, spread?, class.sessions)))
            .collect();
        let schedule = Schedule::new(streams.into_iter(), scenario.seed);
        let mut next = 0;
        let first = scenario.classes.iter().map(|class| {
            let first = next;
            next += usize::try_from(class.sessions).unwrap_or(0);
            first
        });
        Self {
            thread,
            paced: schedule.clone(),
            schedule,
            stop: scenario.warm_up + scenario.measure,
            first: first.collect(),
            stage: Stage::Start(0),
            ready: VecDeque::new(),
            events: VecDeque::new(),
            posted: false,
            wants_pacer: false,
            asleep: false,
            pace: Pace::Look,
        }
    }

    /// A session has answers to read: wakes the loop if it sleeps.
    pub(super) fn report(&mut self, session: usize) -> Option<ThreadId> {
        self.ready.push_back(session);
        self.rouse()
    }

    fn rouse(&mut self) -> Option<ThreadId> {
        std::mem::take(&mut self.asleep).then_some(self.thread)
    }

    fn due(&self) -> Option<Due> {
        self.schedule.peek().filter(|due| due.at < self.stop)
    }

    /// Until when the loop waits for events; `None`: it only looks.
    fn timeout(&self, now: u64) -> Option<u64> {
        let mut wake = now + WAIT_MAX;
        if let Some(due) = self.due() {
            if due.at <= now + EARLY {
                return None;
            }
            wake = wake.min(due.at);
        }
        Some(now + (wake - now).div_ceil(MILLISECOND) * MILLISECOND)
    }
}

/// How the frames of a class are spread, if by a schedule.
fn spread(class: &Class, ceiling: f64) -> Option<Spread> {
    match class.load {
        Load::Bursts { every_ms, frames } => Some(Spread::Bursts {
            every: every_ms * 1e6,
            frames,
        }),
        Load::Rate { per_s, arrivals } => Some(Spread::Rate { per_s, arrivals }),
        Load::ShareOfCeiling { share, arrivals } => Some(Spread::Rate {
            per_s: (share * ceiling).max(1.0),
            arrivals,
        }),
        Load::Saturate { .. } | Load::Silent => None,
    }
}

impl World {
    /// What the driver's loop does next.
    pub(super) fn far(&mut self, now: u64, wakes: &mut Vec<ThreadId>) -> Action {
        loop {
            let action = match std::mem::replace(&mut self.far.stage, Stage::Handle) {
                Stage::Start(session) => self.far_start(session),
                Stage::Send(count) => self.far_send(count, now),
                Stage::Sent(session, frame, count) => {
                    self.arrived(session, frame, wakes);
                    self.far.stage = Stage::Send(count);
                    None
                }
                Stage::Poll { until } => self.far_poll(until, now),
                Stage::Handle => self.far_handle(),
                Stage::Read(session) => Some(self.far_read(session, now)),
                Stage::Checked(session, answers) => self.far_checked(session, answers),
                Stage::Refilled(id, frames, next) => {
                    for _ in 0..frames {
                        self.sessions[id].on_way += 1;
                        let frame = self.frame(id, now);
                        self.arrived(id, frame, wakes);
                    }
                    self.far.stage = match next {
                        Next::Start(session) => Stage::Start(session),
                        Next::Handle => Stage::Handle,
                    };
                    None
                }
            };
            if let Some(action) = action {
                return action;
            }
        }
    }

    /// Fills the closed loop of this session, if it has one.
    fn far_start(&mut self, id: usize) -> Option<Action> {
        let Some(session) = self.sessions.get(id) else {
            self.far.stage = Stage::Send(0);
            return None;
        };
        let Load::Saturate { depth } = self.classes[session.class].load else {
            self.far.stage = Stage::Start(id + 1);
            return None;
        };
        let frames = usize::try_from(depth).unwrap_or(1);
        self.far.stage = Stage::Refilled(id, frames, Next::Start(id + 1));
        Some(Action::Run(self.costs.far_send))
    }

    /// The next frame that is due; with none, the wait for events begins.
    fn far_send(&mut self, count: usize, now: u64) -> Option<Action> {
        let due = self
            .far
            .due()
            .filter(|due| due.at <= now && count < DUE_AT_ONCE);
        let Some(due) = due else {
            self.far.wants_pacer = true;
            let until = self.far.timeout(now);
            self.far.stage = Stage::Poll { until };
            let polls = until.is_none() && self.far.ready.is_empty();
            let cost = self.costs.far_wait;
            return Some(Action::Run(if polls { cost.max(POLLS) } else { cost }));
        };
        self.far.schedule.advance();
        self.far.stage = Stage::Send(count + 1);
        let id = self.far.first[due.class] + usize::try_from(due.session).unwrap_or(0);
        let tally = &mut self.tallies[due.class];
        if self.sessions[id].on_way >= ON_WAY_MAX {
            tally.unsent += 1;
            return None;
        }
        if self.window.contains(&due.at) {
            tally.late.saturating_record((now - due.at).max(1));
        }
        self.sessions[id].on_way += 1;
        let frame = self.frame(id, due.at);
        self.far.stage = Stage::Sent(id, frame, count + 1);
        Some(Action::Run(self.costs.far_send))
    }

    /// In the wait for events.
    fn far_poll(&mut self, until: Option<u64>, now: u64) -> Option<Action> {
        let idle = self.far.ready.is_empty() && !self.far.posted;
        if let Some(until) = until.filter(|until| idle && *until > now) {
            self.far.asleep = true;
            self.far.stage = Stage::Poll { until: Some(until) };
            return Some(Action::Wait(Some(until)));
        }
        self.far.asleep = false;
        self.far.wants_pacer = false;
        self.far.posted = false;
        self.far.events = std::mem::take(&mut self.far.ready);
        None
    }

    /// The next event; after the last, what is due.
    fn far_handle(&mut self) -> Option<Action> {
        let Some(session) = self.far.events.pop_front() else {
            self.far.stage = Stage::Send(0);
            return None;
        };
        self.far.stage = Stage::Read(session);
        Some(Action::Run(self.costs.far_recv))
    }

    /// Has read a session's socket: the answers' time is now.
    fn far_read(&mut self, id: usize, now: u64) -> Action {
        let session = &mut self.sessions[id];
        session.far_reported = false;
        let count = session.answers.len();
        session.on_way -= u32::try_from(count).unwrap_or(session.on_way);
        let tally = &mut self.tallies[session.class];
        if self.window.contains(&now) {
            tally.answered += count as u64;
        }
        for frame in session.answers.drain(..) {
            if self.window.contains(&frame.due) {
                tally.latency.saturating_record((now - frame.due).max(1));
            }
        }
        self.far.stage = Stage::Checked(id, count);
        // The second read finds nothing.
        Action::Run(self.costs.far_frame * count as u64 + self.costs.far_recv_none)
    }

    /// Has checked the answers: a closed loop sends as many again.
    fn far_checked(&mut self, id: usize, answers: usize) -> Option<Action> {
        let class = &self.classes[self.sessions[id].class];
        if answers == 0 || !matches!(class.load, Load::Saturate { .. }) {
            return None;
        }
        self.far.stage = Stage::Refilled(id, answers, Next::Handle);
        Some(Action::Run(self.costs.far_send))
    }

    /// What the pacer does next: it wakes the loop a little before a frame is due.
    pub(super) fn pacer(&mut self, now: u64, wakes: &mut Vec<ThreadId>) -> Action {
        let far = &mut self.far;
        if matches!(far.pace, Pace::Woken) {
            while far.paced.peek().is_some_and(|due| due.at <= now + EARLY) {
                far.paced.advance();
            }
            far.pace = Pace::Look;
        }
        let Some(due) = far.paced.peek().filter(|due| due.at < far.stop) else {
            return Action::Wait(None);
        };
        let wake_at = due.at.saturating_sub(EARLY);
        if now < wake_at {
            return Action::Wait(Some(wake_at));
        }
        far.pace = Pace::Woken;
        if std::mem::take(&mut far.wants_pacer) {
            far.posted = true;
            wakes.extend(far.rouse());
            return Action::Run(self.costs.far_post);
        }
        Action::Run(self.costs.far_pace)
    }
}
