//! The stop, in named steps (G8), carried out by the supervisor:
//!
//! 1. **request** (any thread, a handler too): networks take nothing new, every session is asked to
//!    close in good order; returns at once.
//! 2. **drain**: until no session is left and no job waits or runs, or the drain deadline. Ticks
//!    have ended; once the last session is gone, threads that are no workers can't post any more.
//! 3. **cut**: what is left is aborted; a short grace.
//! 4. **quit**: the workers end after the turn they are in; a short grace.
//! 5. **join**: ended threads are joined; a worker that is still in a callback is named and left.
//!    What is left in the system's hands comes back, whoever keeps a handle.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::MutexGuard;

use super::{Inner, Shared, Stage, StuckTurn};
use crate::error::{Error, ErrorKind, Result};
use crate::port;
use crate::time::Time;

/// How far the stop has come.
#[derive(Debug)]
pub(super) struct Stopping {
    step: Step,
    /// When the step ends whether or not it is done; set at the supervisor's first look.
    until: Option<Time>,
    /// The supervisor's last look.
    looked_at: Option<Time>,
    /// Every network was told: until then "no session is left" means nothing.
    told: bool,
    /// A second signal came: no more waiting for good order.
    hurry: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Drain,
    Cut,
    Quit,
}

/// How long cut sessions and quitting workers may take: they only have work of our own to do.
const GRACE: Duration = Duration::from_millis(500);
/// Between two looks at a stop under way.
const LOOK: Duration = Duration::from_millis(2);
/// As much of the time before a look counts as grace. A later look says that nobody has run: the
/// process was stopped, or its machine asleep. Or this thread gets no core while others run: then
/// the grace ends after some such looks all the same.
const LOOK_MAX: Duration = Duration::from_millis(50);

impl Shared {
    /// Step 1, from any thread. A second call changes nothing.
    pub(super) fn request_stop(self: &Arc<Self>) {
        let (networks, crews) = {
            let mut inner = self.inner.lock();
            match &inner.stage {
                Stage::Running => {}
                Stage::Starting(_) => {
                    inner.stage = Stage::Starting(true);
                    return;
                }
                Stage::Declaring => {
                    inner.stage = Stage::Stopped(Vec::new());
                    inner.networks.iter().for_each(|network| network.forget());
                    let crews = inner.crews();
                    drop(inner);
                    // Strands and jobs that waited for a start.
                    crews.iter().for_each(|crew| crew.core.discard_all());
                    self.changed.notify_all();
                    return;
                }
                Stage::Stopping(_) | Stage::Stopped(_) => return,
            }
            inner.stage = Stage::Stopping(Stopping {
                step: Step::Drain,
                until: None,
                looked_at: None,
                told: false,
                hurry: false,
            });
            (inner.networks.clone(), inner.crews())
        };
        crews.iter().for_each(|crew| crew.core.jobs.end_ticks());
        networks.iter().for_each(|network| network.stop(false));
        if let Stage::Stopping(stopping) = &mut self.inner.lock().stage {
            stopping.told = true;
        }
        self.attention.notify_all();
    }

    /// A second signal: no more waiting for good order.
    pub(super) fn hurry_stop(&self) {
        if let Stage::Stopping(stopping) = &mut self.inner.lock().stage {
            stopping.hurry = true;
        }
        self.attention.notify_all();
    }

    pub(super) fn stop_and_wait(self: &Arc<Self>) -> Result<()> {
        self.request_stop();
        if port::current::is_worker() {
            // A handler can't wait for its own turn to end.
            return Ok(());
        }
        self.wait_until_stopped()
    }

    pub(super) fn wait_until_stopped(self: &Arc<Self>) -> Result<()> {
        #[cfg(feature = "sim")]
        if let super::Engine::Sim(sim) = &self.engine {
            let stopped = || matches!(self.inner.lock().stage, Stage::Stopped(_));
            sim.run_until(stopped).map_err(|stuck| {
                Error::new(ErrorKind::Stuck, "the simulation stopped moving").caused_by(stuck)
            })?;
        }
        let (stuck, supervisor) = {
            let mut inner = self.inner.lock();
            while !matches!(inner.stage, Stage::Stopped(_)) {
                self.changed.wait(&mut inner);
            }
            let Stage::Stopped(stuck) = &inner.stage else {
                return Ok(());
            };
            let stuck = stuck.clone();
            (stuck, inner.supervisor.take())
        };
        if let Some(supervisor) = supervisor {
            // It does not panic: that would have ended the process.
            let _ = supervisor.join();
        }
        if stuck.is_empty() {
            return Ok(());
        }
        let names: Vec<_> = stuck.iter().map(ToString::to_string).collect();
        let message = format!(
            "stopped, but a callback never returned and its thread was left behind: {}",
            names.join("; ")
        );
        Err(Error::new(ErrorKind::Stuck, message))
    }

    /// Steps 2 to 5, one look. Returns when to look again; [`Time::NEVER`] when stopped.
    pub(super) fn step_stop(self: &Arc<Self>, now: Time) -> Time {
        let mut inner = self.inner.lock();
        let empty = inner
            .networks
            .iter()
            .all(|n| n.events().live.load(Ordering::Acquire) == 0);
        let ended = inner
            .each_crew()
            .all(|crew| crew.core.alive.load(Ordering::Acquire) == 0);
        // What `on_close` has posted to strands, and their jobs, come to their end too.
        let idle = empty && inner.each_crew().all(|crew| crew.core.is_idle());
        let drain = inner.drain_deadline;
        let Stage::Stopping(stopping) = &mut inner.stage else {
            return Time::NEVER;
        };
        let grace = if stopping.step == Step::Drain {
            drain
        } else {
            GRACE
        };
        let until = stopping.until.get_or_insert(now + grace);
        let away = now.since(stopping.looked_at.replace(now).unwrap_or(now));
        if stopping.step != Step::Drain {
            // No part of the grace: what was cut has not had its turn, nor have workers left.
            *until = *until + away.saturating_sub(LOOK_MAX);
        }
        let until = *until;
        let late = now >= until;
        match stopping.step {
            Step::Drain if empty && stopping.told => {
                if !idle && !late && !stopping.hurry {
                    let crews = inner.each_crew();
                    crews.for_each(|crew| crew.core.jobs.end_posts());
                    return now + LOOK;
                }
                stopping.next(Step::Quit);
                // A job that runs has as long as a session would have had.
                stopping.until = Some(until.max(now + GRACE));
            }
            Step::Drain if late || stopping.hurry => stopping.next(Step::Cut),
            Step::Cut if empty || late => stopping.next(Step::Quit),
            Step::Quit if ended || late => {
                self.join(inner, ended);
                return Time::NEVER;
            }
            _ => return now + LOOK,
        }
        let step = stopping.step;
        let (networks, crews) = (inner.networks.clone(), inner.crews());
        drop(inner);
        match step {
            Step::Cut => networks.iter().for_each(|network| network.stop(true)),
            Step::Quit => crews.iter().for_each(|crew| crew.core.quit()),
            Step::Drain => {}
        }
        now
    }

    /// Step 5: every worker has ended, or is named. Without the lock: threads that end and states
    /// that are dropped run user code, which may ask the host something.
    fn join(self: &Arc<Self>, mut inner: MutexGuard<'_, Inner>, ended: bool) {
        let (crews, networks) = (inner.crews(), inner.networks.clone());
        let workers = std::mem::take(&mut inner.workers);
        drop(inner);
        let mut stuck = Vec::new();
        for crew in &crews {
            stuck.extend(super::watch::stuck_on(
                &crew.core,
                &networks,
                Duration::ZERO,
            ));
        }
        if stuck.is_empty() && !ended && workers.iter().any(|worker| !worker.is_finished()) {
            let left = crews.iter().filter_map(|crew| {
                let worker = crew.core.first_worker()?;
                Some(StuckTurn::outside_of_turns(&crew.core.name, worker))
            });
            stuck.extend(left);
        }
        for worker in workers {
            if worker.is_finished() || stuck.is_empty() {
                // As the supervisor, it does not panic.
                let _ = worker.join();
            }
        }
        for crew in &crews {
            let core = &crew.core;
            #[cfg(feature = "sim")]
            if let super::Engine::Sim(sim) = &self.engine {
                sim.dismiss(&core.backend);
            }
            core.discard_all();
        }
        networks.iter().for_each(|network| network.forget());
        if let Some(first) = crews.first() {
            let until = first.core.now() + GRACE;
            crews
                .iter()
                .for_each(|crew| crew.core.backend.retire(until));
        }
        self.end_handover();
        self.inner.lock().stage = Stage::Stopped(stuck);
        self.changed.notify_all();
    }
}

impl Stopping {
    fn next(&mut self, step: Step) {
        *self = Self {
            step,
            until: None,
            looked_at: self.looked_at,
            told: self.told,
            hurry: self.hurry,
        };
    }
}

impl Shared {
    pub(super) fn is_stopping(&self) -> bool {
        matches!(self.inner.lock().stage, Stage::Stopping(_))
    }

    pub(super) fn is_stopped(&self) -> bool {
        matches!(self.inner.lock().stage, Stage::Stopped(_))
    }

    pub(super) fn stuck_turns(&self, limit: Duration) -> Vec<StuckTurn> {
        let inner = self.inner.lock();
        let each = inner.each_crew();
        each.flat_map(|crew| super::watch::stuck_on(&crew.core, &inner.networks, limit))
            .collect()
    }
}
