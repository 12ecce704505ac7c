//! The rescue of frames that a stuck turn has sent to others.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::core::PortCore;
use super::served::Served;
use crate::time::Time;

/// How long a turn may keep what it sent to others before a sibling flushes it (R5).
pub(super) const RESCUE_AFTER: Duration = Duration::from_millis(1);

/// Takes the dirty list of a worker whose turn is stuck, so that frames sent to others do not wait
/// for it (R5). A tenant of the table like any other, for the sake of its timer.
pub(super) struct Rescue {
    pub(super) of: Weak<PortCore>,
    /// Whose worker comes for it.
    pub(super) by: Weak<PortCore>,
}

impl Served for Rescue {
    fn timer(self: Arc<Self>, now: Time) {
        let (Some(port), Some(by)) = (self.of.upgrade(), self.by.upgrade()) else {
            return;
        };
        // First the flag, then the lists: a turn that gathers in between watches for itself. Read
        // and written in one: whoever left it to this look has its entry seen by it.
        port.watching.swap(false, Ordering::AcqRel);
        let mut waiting = false;
        for slot in port.slots() {
            let since = slot.turn_since.load(Ordering::Relaxed);
            let stuck = since != 0 && now.since(Time::from_nanos(since)) >= RESCUE_AFTER;
            let mut dirty = slot.dirty.lock();
            if stuck {
                let taken = std::mem::take(&mut *dirty);
                drop(dirty);
                let each = taken.into_iter();
                each.for_each(|item| by.push_work(item));
            } else {
                waiting |= !dirty.is_empty();
            }
        }
        if waiting {
            port.watch_dirty();
        }
    }

    fn discard(self: Arc<Self>) {}
}
