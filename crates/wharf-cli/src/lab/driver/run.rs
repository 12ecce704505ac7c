//! The loop of a run: send what is due, take what came.

use std::io::ErrorKind;
use std::time::Duration;

use mio::event::Event;
use mio::{Events, Waker};

use super::pacer::{EARLY, Pacer};
use super::schedule::Schedule;
use super::{Clock, Drive, Driver, Part, Tally, Timing, WAKE};
use crate::exit::Failure;

/// How long the next answer is awaited after the sending stopped: a slow machine loses nothing.
const DRAIN: u64 = 10_000_000_000;
/// And how long all of them are.
const DRAIN_ALL: u64 = 60_000_000_000;
/// Longest wait for events.
const WAIT_MAX: u64 = 20_000_000;
/// Events taken at once.
const EVENTS: usize = 1024;
/// Frames of the schedule sent in one go, so that a run far behind still reads.
const DUE_AT_ONCE: usize = 1024;

impl Driver {
    /// Plays every class by `timing`, and returns what was counted, in the order of the classes.
    ///
    /// # Errors
    /// A machine that refuses to poll or a thread.
    pub(crate) fn run(
        mut self,
        clock: Clock,
        timing: Timing,
        seed: u64,
    ) -> Result<Vec<Tally>, Failure> {
        let machine =
            |error: std::io::Error| Failure::machine(format!("the lab's driver: {error}"));
        self.timing = timing;
        let scheduled = |(class, part): (usize, &Part)| match part.drive {
            Drive::Open(spread) => Some((class, spread, part.sessions)),
            _ => None,
        };
        if self.is_paced() {
            // What the system refuses is in the report: see `report/machine.rs`.
            let _ = wharf::model::run_ahead();
        }
        let mut schedule = Schedule::new(self.parts.iter().enumerate().filter_map(scheduled), seed);
        let waker = Waker::new(self.poll.registry(), WAKE).map_err(machine)?;
        let pacer = Pacer::start(schedule.clone(), timing.start, clock, waker).map_err(machine)?;
        let mut events = Events::with_capacity(EVENTS);
        let mut started = false;
        while !self.ended(clock.now()) {
            let now = clock.now();
            if !started && now >= timing.start {
                started = true;
                (0..self.conns.len()).for_each(|index| {
                    self.refill(index, now);
                    self.push(index);
                });
            }
            self.send_due(&mut schedule, clock);
            pacer.asleep(true);
            let timeout = self.timeout(&schedule, clock.now(), started);
            let waited = self
                .poll
                .poll(&mut events, Some(Duration::from_nanos(timeout)));
            pacer.asleep(false);
            match waited {
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(machine(error)),
                _ => {}
            }
            events.iter().for_each(|event| self.handle(event, clock));
            for _ in 0..self.again.len() {
                if let Some(index) = self.again.pop_front() {
                    self.conns[index].queued = false;
                    self.pull(index, clock);
                }
            }
        }
        drop(pacer);
        Ok(self.settle())
    }

    /// Whether any class has a schedule. Real peers have machines of their own: a driver that waits
    /// for a core behind the handlers it measures is late, and its lateness is in every latency. So
    /// it runs ahead of them; but not where it keeps a core busy by itself, which ceilings ask for.
    fn is_paced(&self) -> bool {
        let open = |part: &Part| matches!(part.drive, Drive::Open(_));
        self.parts.iter().any(open)
    }

    /// Sends what is due until now, at most until the end of the sending.
    fn send_due(&mut self, schedule: &mut Schedule, clock: Clock) {
        for _ in 0..DUE_AT_ONCE {
            let now = clock.now();
            let Some(due) = schedule.peek() else { return };
            let at = self.timing.start.saturating_add(due.at);
            if at > now || at >= self.timing.stop {
                return;
            }
            schedule.advance();
            let index = self.first[due.class] + due.session as usize;
            self.admit(index, at, now);
            self.push(index);
        }
    }

    /// How long to wait for events at most, in ns. The pacer ends a wait for a frame that is due
    /// later than its early wake-up; what is due sooner is polled for.
    fn timeout(&self, schedule: &Schedule, now: u64, started: bool) -> u64 {
        if !self.again.is_empty() {
            return 0;
        }
        let mut wake = now + WAIT_MAX;
        if !started {
            wake = wake.min(self.timing.start);
        } else if now < self.timing.stop {
            wake = wake.min(self.timing.stop);
            if let Some(due) = schedule.peek() {
                let due = self.timing.start + due.at;
                if due <= now + EARLY {
                    return 0;
                }
                wake = wake.min(due);
            }
        }
        wake.saturating_sub(now)
    }

    fn handle(&mut self, event: &Event, clock: Clock) {
        if event.token() == WAKE {
            return;
        }
        let index = event.token().0;
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            self.pull(index, clock);
        }
        if event.is_writable() && std::mem::take(&mut self.conns[index].blocked) {
            self.push(index);
        }
    }

    fn ended(&self, now: u64) -> bool {
        if now < self.timing.stop {
            return false;
        }
        // Without answers nothing tells when the server has taken all; its counters do.
        let waits = |conn: &super::conn::Conn| conn.window.outstanding() > 0;
        let stop = self.timing.stop;
        now >= stop.max(self.heard).saturating_add(DRAIN)
            || now >= stop.saturating_add(DRAIN_ALL)
            || !self.conns.iter().any(waits)
    }

    /// The end: what is still missing is lost.
    fn settle(mut self) -> Vec<Tally> {
        for conn in &mut self.conns {
            self.tallies[conn.class].faults.lost += conn.window.abandon();
        }
        self.tallies
    }
}
