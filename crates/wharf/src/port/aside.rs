//! Stepping aside: the priority of a worker's thread while it runs a turn of a lane that has one of
//! its own (`Lane::nice`).
//!
//! It is the thread's for that turn only. Before the worker flushes what others were sent, or looks
//! for its next turn, it is back, so that nobody waits for a lock or a flush right behind a thread
//! that the system keeps from running.

use std::io;

use super::current;
use super::threads::Priority;
use crate::say::say;
use crate::sched::Lane;

/// What a worker's thread changes to, by lane.
#[derive(Debug, Default)]
pub(crate) struct Aside(Vec<Option<Stepping>>);

impl Aside {
    /// For the calling thread as it is now; and what the system refuses of it, in words. What a
    /// thread could not come back from is refused.
    pub(crate) fn of(lanes: &[Lane]) -> (Self, Vec<String>) {
        let mut refused = Vec::new();
        let mut step = |lane: &Lane| {
            let nice = lane.nice?;
            let stepping = Priority::own().and_then(|base| Stepping { base, nice }.tried());
            let why = match stepping {
                Ok(stepping) => return Some(stepping),
                Err(error) => error,
            };
            refused.push(format!(
                "nice {nice} of lane \"{}\": {why} (a worker comes back from it after each turn, \
                 which on Linux wants CAP_SYS_NICE or a limit: LimitNICE= of systemd, ulimit -e)",
                lane.name
            ));
            None
        };
        let steps = lanes.iter().map(&mut step).collect();
        (Self(steps), refused)
    }

    /// What a turn of this lane does, if anything.
    pub(crate) fn lane(&self, lane: usize) -> Option<Stepping> {
        self.0.get(lane).copied().flatten()
    }
}

/// There and back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stepping {
    base: Priority,
    nice: i32,
}

impl Stepping {
    /// Steps aside until the returned value is dropped.
    pub(crate) fn aside(self) -> Until {
        Until::now(self.there(), self.home())
    }

    /// Comes back until the returned value is dropped.
    pub(crate) fn back(self) -> Until {
        Until::now(self.home(), self.there())
    }

    fn there(self) -> State {
        State {
            priority: Priority::of_nice(self.nice),
            turn: Some(self.nice),
        }
    }

    fn home(self) -> State {
        State {
            priority: self.base,
            turn: None,
        }
    }

    /// Itself, if a thread that has nothing to lose has been there and back.
    fn tried(self) -> io::Result<Self> {
        let there_and_back = move || {
            self.there().priority.take()?;
            self.base.take()
        };
        let probe = std::thread::Builder::new().name("priority".into());
        let tried = probe.spawn(there_and_back)?.join();
        tried.unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))?;
        Ok(self)
    }
}

/// What the system runs the thread at, and what the thread knows of it.
#[derive(Clone, Copy, Debug)]
struct State {
    priority: Priority,
    turn: Option<i32>,
}

impl State {
    fn set(self) {
        // What was tried once is not refused later, unless somebody changes the process's limits.
        if let Err(error) = self.priority.take() {
            say!(warn, ?self, %error, "a worker's priority could not be changed");
        }
        current::set_turn_nice(self.turn);
    }
}

/// A priority for a while: ends by being dropped.
#[derive(Debug)]
#[must_use = "it ends when it is dropped"]
pub(crate) struct Until(State);

impl Until {
    fn now(now: State, then: State) -> Self {
        now.set();
        Self(then)
    }
}

impl Drop for Until {
    fn drop(&mut self) {
        self.0.set();
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_turn_of_the_lane_is_niced_and_what_comes_after_is_not() {
        let thread = std::thread::Builder::new().name("aside".into());
        let steps = || {
            let lanes = [Lane::new("players"), Lane::new("links").nice(7)];
            let (aside, refused) = Aside::of(&lanes);
            let own = || Priority::own().unwrap();
            assert!(aside.lane(0).is_none());
            let Some(stepping) = aside.lane(1) else {
                // Not privileged: it says so, and stays what it was.
                assert_eq!(refused.len(), 1, "{refused:?}");
                assert!(refused[0].contains("lane \"links\""), "{refused:?}");
                return None;
            };
            let before = own();
            let turn = stepping.aside();
            let during = own();
            let flushing = stepping.back();
            let flushed = own();
            drop(flushing);
            let again = own();
            drop(turn);
            Some((before, during, flushed, again, own()))
        };
        let seen = thread.spawn(steps).unwrap().join().unwrap();
        let Some((before, during, flushed, again, after)) = seen else {
            return;
        };
        let links = Priority::of_nice(7);
        assert_ne!(before, links);
        assert_eq!((during, again), (links, links));
        assert_eq!((flushed, after), (before, before));
    }
}
