//! The nap of a worker that only hands over, while those it hands to have enough to do.
//!
//! A port whose sessions run on a pool would be woken by the kernel for each frame, and take the
//! core from the pool's worker each time: two thread switches a frame. Instead, when all that it
//! has just handed over waits behind other turns anyway, it looks again as soon as some worker of
//! the pool might find nothing more to do, and after a while in any case: the sooner, the more
//! may have come that would go before what waits.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::sched::Backlog;

/// While lower lanes wait: as in R10, the kernel is asked again after so long.
const NAP: Duration = Duration::from_micros(50);
/// While nothing can go before what waits. Long enough for about 30 short turns, which is what a
/// worker without a pool finds in one harvest; short enough for a port's own work.
const NAP_HIGHEST: Duration = Duration::from_micros(200);

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

    fn nap_for(&self, limit: impl FnOnce() -> Option<Duration>) {
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
