//! The nap of a worker that only hands over, while those it hands to have enough to do.
//!
//! A port whose sessions run on a pool would be woken by the kernel for each frame, and take the
//! core from the pool's worker each time: two thread switches a frame. Instead, when all that it
//! has just handed over waits behind other turns anyway, it looks again after a while (R10), or as
//! soon as somebody has nothing left to do.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// As in R10: the kernel is asked again after so long.
const NAP: Duration = Duration::from_micros(50);

/// Where the workers of one port nap.
#[derive(Debug, Default)]
pub(crate) struct Naps {
    napping: AtomicUsize,
    /// Locked between the look and the sleep, so that no call falls in between.
    asleep: Mutex<()>,
    called: Condvar,
}

impl Naps {
    /// Sleeps a little, or until [`Self::end`].
    pub(crate) fn nap(&self) {
        let mut asleep = self.asleep.lock();
        self.napping.fetch_add(1, Ordering::SeqCst);
        // One wait is enough: an early return is an early look, which is always allowed.
        self.called.wait_for(&mut asleep, NAP);
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
