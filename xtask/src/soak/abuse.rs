//! Abuses under way: what each starts, does from time to time, and leaves behind.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use fastrand::Rng;
use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit};

use super::plan::Abuse;
use super::role::Role;
use super::scene::Scene;

/// How long a hostile process may take to end in good order.
const END_LIMIT: Duration = Duration::from_secs(20);
/// What hostile clients that are stopped and killed do until then.
const STOPPED: [&str; 3] = ["flood", "slow-readers", "one-byte"];
/// Descriptors above those in use that a lowered limit leaves.
const SPARE: u64 = 3;

/// What was done, added up over the phases of an abuse.
pub(super) type Deeds = BTreeMap<String, f64>;

/// An abuse under way.
pub(super) struct Doing {
    abuse: Abuse,
    hostile: Vec<Role>,
    next: Instant,
    /// The other half of what it does: continued or stopped, raised or lowered.
    other: bool,
    deeds: Deeds,
}

fn add(deeds: &mut Deeds, name: &str, count: f64) {
    *deeds.entry(name.to_owned()).or_default() += count;
}

impl Doing {
    /// # Errors
    /// A process does not start.
    pub(super) fn begin(abuse: Abuse, scene: &mut Scene, random: &mut Rng) -> Result<Self, String> {
        let mut doing = Self {
            abuse,
            hostile: Vec::new(),
            next: Instant::now(),
            other: false,
            deeds: Deeds::new(),
        };
        match abuse {
            Abuse::Hostile(kind) => {
                // The storm and the few ports come from several addresses, as from a botnet.
                let processes = if matches!(kind, "storm" | "ports") {
                    2
                } else {
                    1
                };
                for _ in 0..processes {
                    doing.hostile.push(scene.hostile(kind, random)?);
                }
            }
            Abuse::Stopped | Abuse::Killed => {
                for kind in STOPPED {
                    doing.hostile.push(scene.hostile(kind, random)?);
                }
            }
            Abuse::Operator => scene.server.order("operate")?,
            // Somebody must want descriptors.
            Abuse::Descriptors => doing.hostile.push(scene.hostile("cuts", random)?),
            Abuse::Restarts | Abuse::Peers => {}
        }
        Ok(doing)
    }

    /// Does what is due.
    ///
    /// # Errors
    /// Something that should run does not.
    pub(super) fn step(&mut self, scene: &mut Scene, random: &mut Rng) -> Result<(), String> {
        if Instant::now() < self.next {
            return Ok(());
        }
        let mut pause = |from, to| Instant::now() + Duration::from_millis(random.u64(from..to));
        match self.abuse {
            Abuse::Hostile(_) => {
                for role in &mut self.hostile {
                    role.look()?;
                    role.must_run()?;
                }
                self.next = pause(50, 51);
            }
            Abuse::Stopped => {
                let signal = if self.other {
                    Signal::CONT
                } else {
                    Signal::STOP
                };
                self.hostile.iter().for_each(|role| role.signal(signal));
                add(
                    &mut self.deeds,
                    if self.other { "continued" } else { "stopped" },
                    1.0,
                );
                self.other = !self.other;
                self.next = pause(100, 1500);
            }
            Abuse::Killed => {
                self.next = pause(100, 800);
                if let Some(mut role) = self.hostile.pop() {
                    role.kill()?;
                    add(&mut self.deeds, "killed", 1.0);
                } else {
                    for kind in STOPPED {
                        self.hostile.push(scene.hostile(kind, random)?);
                    }
                }
            }
            Abuse::Descriptors => {
                self.next = pause(200, 900);
                self.other = !self.other;
                limit(scene.server.pid(), self.other.then_some(SPARE))?;
                add(
                    &mut self.deeds,
                    if self.other { "lowered" } else { "raised" },
                    1.0,
                );
            }
            Abuse::Operator => self.next = pause(50, 51),
            Abuse::Restarts => {
                scene.server.order("restart")?;
                add(&mut self.deeds, "restarts", 1.0);
                self.next = pause(1200, 3000);
            }
            Abuse::Peers => {
                self.next = pause(200, 900);
                if self.other {
                    scene.start_peer()?;
                } else if let Some(mut peer) = scene.peer.take() {
                    peer.kill()?;
                    add(&mut self.deeds, "killed", 1.0);
                }
                self.other = !self.other;
            }
        }
        Ok(())
    }

    /// Ends it: afterwards the server is alone with the innocents.
    ///
    /// # Errors
    /// A hostile process does not end by itself: it would not have been left to itself.
    pub(super) fn end(mut self, scene: &mut Scene) -> Result<Deeds, String> {
        match self.abuse {
            Abuse::Operator => scene.server.order("rest")?,
            Abuse::Descriptors => limit(scene.server.pid(), None)?,
            Abuse::Peers => scene.start_peer()?,
            Abuse::Stopped => self
                .hostile
                .iter()
                .for_each(|role| role.signal(Signal::CONT)),
            Abuse::Hostile(_) | Abuse::Killed | Abuse::Restarts => {}
        }
        for mut role in self.hostile {
            role.finish(END_LIMIT)?;
            let told = role
                .take("deeds")
                .ok_or("a hostile process told no deeds")?;
            for (name, count) in told.as_object().into_iter().flatten() {
                add(&mut self.deeds, name, count.as_f64().unwrap_or(0.0));
            }
        }
        Ok(self.deeds)
    }
}

/// Lowers the soft limit of open files of a process to a few more than it has open, or raises it to
/// the hard one.
pub(super) fn limit(pid: i32, spare: Option<u64>) -> Result<(), String> {
    let failed = |error: rustix::io::Errno| format!("limit of open files of {pid}: {error}");
    let process = Pid::from_raw(pid).ok_or("no process")?;
    let hard = rustix::process::getrlimit(Resource::Nofile).maximum;
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).map_err(|e| e.to_string())?;
    let lowered = spare.map(|spare| open.count() as u64 + spare);
    let wanted = Rlimit {
        current: lowered.or(hard),
        maximum: hard,
    };
    prlimit(Some(process), Resource::Nofile, wanted)
        .map(drop)
        .map_err(failed)
}
