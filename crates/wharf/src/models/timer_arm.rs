//! M9, R11: deadlines and the backend's one timer. An armed deadline is never waited for by nobody:
//! the backend's timer is set to it or before it. `PortCore::{arm, run_due, timer_fired}`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize as Plain, Ordering::SeqCst};

use loom::sync::Mutex;
use loom::sync::atomic::{AtomicU64, Ordering};
use loom::thread;

use super::check;
use crate::port::{Timers, Token};
use crate::time::Time;

/// The deadlines of a port.
struct Port {
    timers: Mutex<Timers>,
    due: AtomicU64,
    /// What the backend's timer is set to; it fires once.
    backend: Mutex<Option<Time>>,
    /// Tenants called.
    called: Plain,
}

impl Port {
    fn new() -> Self {
        Self {
            timers: Mutex::default(),
            due: AtomicU64::new(Time::NEVER.as_nanos()),
            backend: Mutex::default(),
            called: Plain::new(0),
        }
    }

    /// `Backend::set_timer`.
    fn set_timer(&self, at: Time) {
        *self.backend.lock().unwrap() = Some(at);
    }

    /// `arm`.
    fn arm(&self, slot: u32, at: u64) {
        let (token, at) = (Token::new(slot, 0), Time::from_nanos(at));
        let mut timers = self.timers.lock().unwrap();
        let change = timers.arm(token, at);
        self.due
            .store(timers.earliest().as_nanos(), Ordering::Relaxed);
        if let Some(at) = change {
            self.set_timer(at);
        }
    }

    /// `run_due`.
    fn run_due(&self, now: Time) {
        if now.as_nanos() < self.due.load(Ordering::Relaxed) {
            return;
        }
        loop {
            let due = {
                let mut timers = self.timers.lock().unwrap();
                let due = timers.take_due(now);
                self.due
                    .store(timers.earliest().as_nanos(), Ordering::Relaxed);
                due
            };
            if due.is_none() {
                return;
            }
            self.called.fetch_add(1, SeqCst);
        }
    }

    /// `timer_fired`.
    fn timer_fired(&self) {
        let mut timers = self.timers.lock().unwrap();
        if let Some(at) = timers.fired() {
            self.set_timer(at);
        }
    }

    /// A worker takes the report of the timer, if there is one: `Worker::take_in`.
    fn harvest(&self, now: u64) {
        let now = Time::from_nanos(now);
        let fired = self.backend.lock().unwrap().take_if(|at| *at <= now);
        if fired.is_some() {
            self.run_due(now);
            self.timer_fired();
        }
    }

    /// Nobody will be late: the timer is set to the earliest deadline or before it.
    fn assert_watched(&self) {
        let earliest = self.timers.lock().unwrap().earliest();
        let backend = self.backend.lock().unwrap().unwrap_or(Time::NEVER);
        assert!(
            backend <= earliest,
            "{backend:?} is set, {earliest:?} is armed"
        );
    }
}

/// The timer fires while deadlines are armed before and behind it.
#[test]
fn a_deadline_armed_while_the_timer_fires_is_watched() {
    check(3, || {
        let port = Arc::new(Port::new());
        port.arm(0, 10);
        let other = Arc::clone(&port);
        let worker = thread::spawn(move || other.harvest(10));
        port.arm(1, 20);
        worker.join().unwrap();
        port.assert_watched();
        port.harvest(20);
        port.harvest(20);
        assert_eq!(port.called.load(SeqCst), 2);
    });
}

/// Two deadlines are armed at once: the backend must end up with the earlier one.
#[test]
fn the_earlier_of_two_deadlines_armed_at_once_is_watched() {
    check(3, || {
        let port = Arc::new(Port::new());
        let other = Arc::clone(&port);
        let early = thread::spawn(move || other.arm(0, 20));
        port.arm(1, 50);
        early.join().unwrap();
        port.assert_watched();
    });
}

/// A deadline is armed while a worker sets the timer to what is next.
#[test]
fn a_deadline_armed_before_the_next_one_is_watched() {
    check(3, || {
        let port = Arc::new(Port::new());
        port.arm(0, 10);
        port.arm(1, 50);
        let other = Arc::clone(&port);
        let worker = thread::spawn(move || other.harvest(10));
        port.arm(2, 20);
        worker.join().unwrap();
        port.assert_watched();
    });
}
