//! The supervisor: names turns that are stuck while they are, and carries out the stop.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{Engine, Shared};
use crate::contain::or_abort;
use crate::network::Declared;
use crate::port::PortCore;
use crate::say::say;
use crate::session::SessionId;
use crate::time::Time;

/// A turn that has lasted long and still runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StuckTurn {
    /// The port, or the pool.
    pub port: String,
    /// The worker's index in it.
    pub worker: usize,
    /// The network; empty if it is no session's turn.
    pub network: String,
    /// What it is, if it is no session's turn: `strand "zone 7"`, `a job`.
    pub what: Option<String>,
    /// The session.
    pub session: Option<SessionId>,
    /// How long it has lasted so far.
    pub lasted: Duration,
}

impl StuckTurn {
    /// A worker that did not end and is in no turn: what a timer let go of does not let go.
    pub(super) fn outside_of_turns(port: &str, worker: usize) -> Self {
        Self {
            port: port.to_owned(),
            worker,
            network: String::new(),
            what: Some("the drop of something that was posted".to_owned()),
            session: None,
            lasted: Duration::ZERO,
        }
    }
}

impl fmt::Display for StuckTurn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            port,
            worker,
            network,
            what,
            session,
            lasted,
        } = self;
        write!(f, "port \"{port}\" worker {worker}, ")?;
        match what {
            Some(what) => f.write_str(what)?,
            None => write!(f, "network \"{network}\"")?,
        }
        if let Some(session) = session {
            write!(f, ", session {session}")?;
        }
        write!(f, ", for {lasted:.1?}")
    }
}

/// The turns of a port that have lasted longer than `limit`.
pub(super) fn stuck_on(
    core: &PortCore,
    networks: &[Arc<dyn Declared>],
    limit: Duration,
) -> Vec<StuckTurn> {
    let now = core.now();
    let slots = core.slots();
    let workers = slots[..slots.len().saturating_sub(1)].iter().enumerate();
    workers
        .filter_map(|(worker, slot)| {
            let since = slot.turn_since.load(Ordering::Acquire);
            let lasted = now.since(Time::from_nanos(since));
            if since == 0 || lasted < limit {
                return None;
            }
            let index = slot.turn_network.load(Ordering::Relaxed);
            let network = networks
                .get(index)
                .map_or_else(String::new, |n| n.name().to_owned());
            let what = core.what_runs(slot);
            let session = slot.turn_session.load(Ordering::Relaxed);
            let session = SessionId::from_u64(session).filter(|_| what.is_none());
            Some(StuckTurn {
                port: core.name.clone(),
                worker,
                network,
                what,
                session,
                lasted,
            })
        })
        .collect()
}

/// Between two looks for stuck turns.
const LOOK: Duration = Duration::from_millis(100);

/// Starts the supervisor: a thread, or a call of the simulator's driver.
pub(super) fn spawn(shared: &Arc<Shared>) -> std::io::Result<()> {
    let mut supervisor = Supervisor {
        shared: Arc::clone(shared),
        warned: Vec::new(),
    };
    match &shared.engine {
        Engine::Threads => {
            let thread = std::thread::Builder::new()
                .name("wharf-watch".to_owned())
                .spawn(move || or_abort(|| supervisor.run()))?;
            shared.inner.lock().supervisor = Some(thread);
        }
        #[cfg(feature = "sim")]
        Engine::Sim(sim) => {
            let step: crate::port::Supervise = Box::new(move |now| supervisor.look(now));
            sim.adopt_supervisor(step);
        }
    }
    Ok(())
}

struct Supervisor {
    shared: Arc<Shared>,
    /// Turns already named: port, worker, session.
    warned: Vec<(String, usize, Option<SessionId>)>,
}

impl Supervisor {
    fn run(&mut self) {
        loop {
            let now = {
                let mut inner = self.shared.inner.lock();
                for hired in std::mem::take(&mut inner.hired) {
                    hired.start(&mut inner);
                }
                let first = inner.each_crew().next();
                first.map_or(Time::ZERO, |crew| crew.core.now())
            };
            let next = self.look(now);
            let mut inner = self.shared.inner.lock();
            if matches!(inner.stage, super::Stage::Stopped(_)) {
                return;
            }
            let looked_at_the_stop = next < now + LOOK;
            if !inner.hired.is_empty() {
                // Asked for meanwhile.
            } else if !matches!(inner.stage, super::Stage::Stopping(_)) {
                self.shared.attention.wait_for(&mut inner, LOOK);
            } else if looked_at_the_stop && next > now {
                self.shared.attention.wait_for(&mut inner, next.since(now));
            }
            // Else it was asked to stop meanwhile, and `attention` came before the wait.
        }
    }

    /// One look; says when to look next.
    fn look(&mut self, now: Time) -> Time {
        if self.shared.is_stopped() {
            return Time::NEVER;
        }
        self.name_stuck_turns();
        self.shared.shed();
        if self.shared.is_stopping() {
            return self.shared.step_stop(now);
        }
        now + LOOK
    }

    fn name_stuck_turns(&mut self) {
        let limit = {
            let mut inner = self.shared.inner.lock();
            // Those that left a crew: the system keeps a thread's stack until somebody lets go.
            inner.workers.retain(|thread| !thread.is_finished());
            inner.stuck_after
        };
        let stuck = self.shared.stuck_turns(limit);
        let key = |turn: &StuckTurn| (turn.port.clone(), turn.worker, turn.session);
        for turn in stuck
            .iter()
            .filter(|turn| !self.warned.contains(&key(turn)))
        {
            say!(warn, port = turn.port, worker = turn.worker, network = turn.network,
                what = turn.what, session = turn.session.map(SessionId::get), lasted = ?turn.lasted,
                "a turn is stuck in a callback");
        }
        self.warned = stuck.iter().map(key).collect();
    }
}
