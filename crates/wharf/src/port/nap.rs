//! Naps: a worker sleeps for a moment, and then looks again by itself, where the kernel would wake
//! it for each of many reports, and others see to what is there.
//!
//! *While the siblings get on*, if the port is told to (`PortBuilder::nap`). Workers that all wait
//! in one kernel queue are woken for each frame that comes while one of them works. Where there is
//! a core for each, that is what they are for. Where other processes want the cores too, each wake
//! takes one from somebody: three threads for the work of one. So who finds nothing to do, while
//! its siblings begin turn after turn, does not go back to the kernel at once ([`Pace`]). It is
//! called when something has waited for as long as a nap takes, and when a turn of a lower lane is
//! queued or begins. Whoever waits because a turn gets stuck meanwhile waits for about a nap and a
//! bit: the look at its end finds a long turn, or that nobody gets on.
//!
//! *While those who are handed to are behind.* A port whose sessions run on a pool would be woken
//! by the kernel for each frame, and take the core from the pool's worker each time: two thread
//! switches a frame. Instead, when all that it has just handed over waits behind other turns
//! anyway, it looks again as soon as some worker of the pool might find nothing more to do, and
//! after a while in any case: the sooner, the more may have come that would go before what waits.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::core::PortCore;
use crate::sched::{Backlog, RunQueue};
use crate::time::Time;

/// While lower lanes wait: as in R10, the kernel is asked again after so long.
const NAP: Duration = Duration::from_micros(50);
/// While nothing can go before what waits. Long enough for about 30 short turns, which is what a
/// worker without a pool finds in one harvest; short enough for a port's own work.
const NAP_HIGHEST: Duration = Duration::from_micros(200);
/// Siblings get on if they begin a turn in each such time.
const TURN: Duration = Duration::from_micros(25);
/// A turn of so long may be one that gets stuck.
const LONG: Duration = Duration::from_micros(100);

/// How fast the siblings of a worker get on, from one of its looks to the next.
#[derive(Debug)]
pub(crate) struct Pace {
    /// Of a nap.
    pub(crate) limit: Duration,
    /// Turns of its own.
    own: u64,
    /// Turns of its siblings, at the last look.
    others: u64,
    looked_at: Time,
}

impl Pace {
    /// Of a worker of this port; `None` if its workers never nap.
    pub(crate) fn on(port: &PortCore) -> Option<Self> {
        let naps = port.backend.wakes_for_each() && !port.nap.is_zero();
        naps.then(|| Self::new(port.nap))
    }

    fn new(limit: Duration) -> Self {
        Self {
            limit,
            own: 0,
            others: 0,
            looked_at: Time::ZERO,
        }
    }

    /// The worker begins a turn.
    pub(crate) fn own_turn(&mut self) {
        self.own += 1;
    }

    /// The worker has nothing to do, and was just told to park: for how long it naps instead.
    pub(crate) fn nap<T>(
        &mut self,
        port: &PortCore,
        queue: &mut RunQueue<T>,
        now: Time,
    ) -> Option<Duration> {
        let naps = self.they_get_on(queue.turns(), now)
            && queue.may_nap()
            && !has_long_turn(port)
            && queue.nap();
        naps.then_some(self.limit)
    }

    /// Whether the siblings get on, with as many turns as are worth a nap, if so many `turns` have
    /// begun on the port so far.
    fn they_get_on(&mut self, turns: u64, now: Time) -> bool {
        let others = turns.saturating_sub(self.own);
        let begun = others - std::mem::replace(&mut self.others, others);
        let took = now.since(std::mem::replace(&mut self.looked_at, now));
        u128::from(begun) * TURN.as_nanos() >= took.max(self.limit).as_nanos()
    }
}

/// Whether a turn that runs on the port is a long one.
fn has_long_turn(port: &PortCore) -> bool {
    let now = port.now();
    port.slots().iter().any(|slot| {
        let since = slot.turn_since.load(Ordering::Relaxed);
        since != 0 && now.since(Time::from_nanos(since)) >= LONG
    })
}

/// Where the workers of one port nap.
#[derive(Debug, Default)]
pub(crate) struct Naps {
    napping: AtomicUsize,
    /// Turns of this port's own have been due: they are not to wait behind those of a pool.
    own_turns: AtomicBool,
    /// Locked between the look and the sleep, so that no call falls in between.
    asleep: Mutex<()>,
    called: Condvar,
}

impl Naps {
    /// A turn of the port's own is due.
    pub(crate) fn own_turn(&self) {
        if !self.own_turns.load(Ordering::Relaxed) {
            self.own_turns.store(true, Ordering::Relaxed);
        }
    }

    /// Sleeps a little, or until [`Self::end`], if there is a backlog.
    pub(crate) fn nap(&self, backlog: impl FnOnce() -> Backlog) {
        self.nap_for(|| match backlog() {
            Backlog::None => None,
            Backlog::Highest if !self.own_turns.load(Ordering::Relaxed) => Some(NAP_HIGHEST),
            Backlog::Mixed | Backlog::Highest => Some(NAP),
        });
    }

    /// Sleeps for as long as `limit` says, or until [`Self::end`].
    pub(crate) fn nap_for(&self, limit: impl FnOnce() -> Option<Duration>) {
        let mut asleep = self.asleep.lock();
        // Before the look: a worker that takes the last of the backlog after it calls `end` after
        // this, as both look under the pool's lock.
        self.napping.fetch_add(1, Ordering::SeqCst);
        if let Some(limit) = limit() {
            // One wait is enough: an early return is an early look, which is always allowed.
            self.called.wait_for(&mut asleep, limit);
        }
        self.napping.fetch_sub(1, Ordering::SeqCst);
    }

    /// Whether somebody naps.
    #[cfg(test)]
    pub(crate) fn has_any(&self) -> bool {
        self.napping.load(Ordering::SeqCst) > 0
    }

    /// Ends the naps. Costs a load where nobody naps.
    pub(crate) fn end(&self) {
        if self.napping.load(Ordering::SeqCst) > 0 {
            drop(self.asleep.lock());
            self.called.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::thread::Builder;
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_worker_naps_while_its_siblings_begin_turn_after_turn() {
        let at = |micros| Time::ZERO + Duration::from_micros(micros);
        let mut pace = Pace::new(Duration::from_micros(500));
        assert!(pace.they_get_on(20, at(100)));
        assert!(!pace.they_get_on(39, at(200)), "fewer are not worth a nap");
        assert!(!pace.they_get_on(78, at(1200)), "two naps have passed");
        assert!(pace.they_get_on(118, at(2200)));
        assert!(!pace.they_get_on(118, at(2210)), "one is stuck");
        (0..20).for_each(|_| pace.own_turn());
        assert!(
            !pace.they_get_on(138, at(2300)),
            "its own are none of theirs"
        );
    }

    #[test]
    fn nobody_naps_while_a_worker_may_find_nothing() {
        let naps = Naps::default();
        naps.nap(|| Backlog::None);
        assert_eq!(naps.napping.load(Ordering::SeqCst), 0);
    }

    /// The pool's worker takes the last of the backlog at any moment around the look: the nap ends
    /// by its call, or does not begin. Naps that a lost call leaves to their limit would sum up.
    #[test]
    fn a_call_between_the_look_and_the_sleep_is_not_lost() {
        const ROUNDS: u32 = 2_000;
        let naps = Arc::new(Naps::default());
        let backlog = Arc::new(Mutex::new(0_u32));
        let (taking, of_taker) = (Arc::clone(&naps), Arc::clone(&backlog));
        let over = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&over);
        let taker = Builder::new().name("taker".into()).spawn(move || {
            while !until.load(Ordering::SeqCst) {
                let taken = std::mem::take(&mut *of_taker.lock());
                if taken > 0 {
                    taking.end();
                }
                std::thread::yield_now();
            }
        });
        let taker = taker.unwrap();
        let mut lost = 0;
        for _ in 0..ROUNDS {
            *backlog.lock() = 1;
            let began = Instant::now();
            // So long that only a call ends it.
            naps.nap_for(|| (*backlog.lock() > 0).then_some(Duration::from_secs(20)));
            lost += u32::from(began.elapsed() > Duration::from_secs(19));
        }
        over.store(true, Ordering::SeqCst);
        taker.join().unwrap();
        assert_eq!(lost, 0);
    }
}
