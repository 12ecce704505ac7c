//! Somebody who changes the server while it runs, and threads' posts to sessions.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use fastrand::Rng;
use wharf::{Network, PauseGuard, Pool, Port, SendError};

use super::super::wire::{Label, Op};
use super::accounts::{Accounts, Member, count};
use super::handler::Players;
use super::link::Links;
use crate::exit::Failure;
use crate::pause::pause;

/// Between two acts.
const STEP: Duration = Duration::from_millis(10);
/// Sessions that are paused at once, at most; the oldest is resumed first.
const PAUSED_MAX: usize = 4;
const BODY: usize = 50;

/// What the operator acts on.
pub(super) struct Reach {
    pub(super) accounts: Arc<Accounts>,
    pub(super) front: Port,
    pub(super) logic: Pool,
    pub(super) networks: Vec<Network<Players>>,
    pub(super) chat: Network<Links>,
    pub(super) master: Network<Links>,
}

/// The thread.
pub(super) struct Operator {
    acts: Arc<AtomicBool>,
    ends: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Operator {
    /// It posts from now on, and changes nothing yet.
    ///
    /// # Errors
    /// No thread to be had.
    pub(super) fn start(reach: Reach, seed: u64) -> Result<Self, Failure> {
        let mut operator = Self {
            acts: Arc::default(),
            ends: Arc::default(),
            done: Arc::default(),
            thread: None,
        };
        let (acts, ends) = (Arc::clone(&operator.acts), Arc::clone(&operator.ends));
        let done = Arc::clone(&operator.done);
        let run = move || {
            let mut shift = Shift {
                reach,
                random: Rng::with_seed(seed),
                paused: Vec::new(),
            };
            while !ends.load(Ordering::Relaxed) {
                shift.post();
                if acts.load(Ordering::Relaxed) {
                    shift.act();
                    count(&done);
                } else {
                    shift.set_right();
                }
                pause(STEP);
            }
            shift.set_right();
        };
        let thread = Builder::new().name("soak-operator".into()).spawn(run);
        operator.thread = Some(
            thread.map_err(|error| Failure::machine(format!("no thread to operate: {error}")))?,
        );
        Ok(operator)
    }

    /// From now on it changes things, or not.
    pub(super) fn act(&self, on: bool) {
        self.acts.store(on, Ordering::Relaxed);
    }

    /// What it has changed so far; counts on.
    pub(super) fn acts_done(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.done)
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic of it was told on standard error.
            let _ = thread.join();
        }
    }
}

struct Shift {
    reach: Reach,
    random: Rng,
    paused: Vec<PauseGuard<Players>>,
}

impl Shift {
    /// A numbered frame to somebody from this thread, another from within its session; and a
    /// request on each link.
    fn post(&mut self) {
        let members = self.reach.accounts.members();
        if let Some(member) = self.random.choice(&members) {
            posted(member);
        }
        if let Some(member) = self.random.choice(&members) {
            // One that is over takes none.
            let _ = member.session.post(|session, account| {
                let counted = account.job.load(Ordering::Relaxed);
                let label = Label {
                    op: Op::Job,
                    conn: account.number(),
                    seq: u32::try_from(counted).unwrap_or(u32::MAX),
                };
                let sent = session.send_with(|out| {
                    label.payload(BODY, out);
                    Ok::<(), SendError>(())
                });
                if sent.is_ok() {
                    count(&account.job);
                }
            });
        }
        Links::ask(&self.reach.chat);
        Links::ask(&self.reach.master);
    }

    fn act(&mut self) {
        let random = &mut self.random;
        let reach = &self.reach;
        // Each is tried where it may be refused: then nothing has changed.
        match random.u8(..6) {
            0 => drop(
                reach
                    .front
                    .set_workers(random.usize(1..=reach.front.workers_limit())),
            ),
            1 => drop(
                reach
                    .logic
                    .set_workers(random.usize(1..=reach.logic.workers_limit())),
            ),
            2 | 3 => {
                let members = reach.accounts.members();
                let lane = ["players", "guests"][random.usize(..2)];
                if let Some(member) = random.choice(&members) {
                    // The annex has no such lanes.
                    drop(member.session.set_lane(lane));
                }
            }
            4 => {
                let members = reach.accounts.members();
                let pausing = random.choice(&members).map(|m| m.session.pause_reading());
                self.paused.extend(pausing);
                if self.paused.len() > PAUSED_MAX {
                    self.paused.remove(0);
                }
            }
            _ => {
                if let Some(network) = random.choice(&reach.networks) {
                    network.pause_accept();
                    pause(STEP);
                    network.resume_accept();
                }
            }
        }
    }

    /// As the topology has it.
    fn set_right(&mut self) {
        self.paused.clear();
        if self.reach.front.workers() != 3 {
            drop(self.reach.front.set_workers(3));
        }
        if self.reach.logic.workers() != 2 {
            drop(self.reach.logic.set_workers(2));
        }
    }
}

/// Only this thread sends these, so they are in order.
fn posted(member: &Member) {
    let counted = member.account.posted.load(Ordering::Relaxed);
    let label = Label {
        op: Op::Posted,
        conn: member.account.number(),
        seq: u32::try_from(counted).unwrap_or(u32::MAX),
    };
    let sent = member.session.send_with(|out| {
        label.payload(BODY, out);
        Ok::<(), SendError>(())
    });
    if sent.is_ok() {
        count(&member.account.posted);
    }
}
