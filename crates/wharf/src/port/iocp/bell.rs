//! What ends a sleep besides the packets of ops: a posted packet that says "look", and a timer of
//! the system that posts one.
//!
//! What there is to see stands in memory before the post (`shared.rs`): a wake, a due timer,
//! notices. So posts coalesce, a stale one does no harm, and one that the system refuses for want
//! of memory loses nothing: the next worker that waits looks anyway, and for those asleep the
//! timer tries again.
//!
//! The timer is a waitable timer of high resolution, whose ring a thread of the system's pool
//! turns into a post. A timeout of the wait itself is no alternative: it is counted in the
//! system's ticks (15.6 ms unless somebody has asked for less), all sleepers would need it because
//! none can be aimed at, and one that was called away to a long turn would take the deadline with
//! it. Posted, it reaches whichever worker is free.
#![allow(
    unsafe_code,
    reason = "gives the system's timer a pointer to what it rings"
)]

use std::ffi::c_void;
use std::os::windows::io::{AsHandle, OwnedHandle};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use windows_sys::Win32::Foundation::ERROR_INVALID_HANDLE;

use super::op::Port;
use super::sys;
use crate::say::say;

/// How soon a refused post is tried again.
const RETRY: Duration = Duration::from_millis(5);

/// The port, and the ways to have somebody look.
#[derive(Debug)]
pub(super) struct Bell {
    pub(super) port: Port,
    /// Locked while it is set: what is to be posted again must not be put off by a deadline.
    timer: Mutex<()>,
    timer_handle: OwnedHandle,
    /// A post is on its way to a worker.
    hinted: AtomicBool,
    /// A post was refused: look without one.
    missed: AtomicBool,
    /// The timer rang.
    rang: AtomicBool,
    /// So many posts are refused.
    #[cfg(test)]
    pub(super) refuse: std::sync::atomic::AtomicU32,
}

impl Bell {
    fn open(concurrency: u32) -> std::io::Result<Self> {
        Ok(Self {
            port: Port::open(concurrency)?,
            timer: Mutex::new(()),
            timer_handle: sys::create_timer()?,
            hinted: AtomicBool::new(false),
            missed: AtomicBool::new(false),
            rang: AtomicBool::new(false),
            #[cfg(test)]
            refuse: std::sync::atomic::AtomicU32::new(0),
        })
    }

    /// Has a worker look at what stands in memory by now.
    pub(super) fn hint(&self) {
        // A release too: whoever takes the flag down sees what was written before.
        if self.hinted.swap(true, Ordering::AcqRel) {
            return;
        }
        if self.post() {
            return;
        }
        self.missed.store(true, Ordering::Release);
        self.hinted.store(false, Ordering::Release);
        self.ring_after(RETRY);
    }

    fn post(&self) -> bool {
        #[cfg(test)]
        if self
            .refuse
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| {
                left.checked_sub(1)
            })
            .is_ok()
        {
            return false;
        }
        match self.port.post() {
            Ok(()) => true,
            // There is no port any more, and who waits at it is told so.
            Err(ERROR_INVALID_HANDLE) => true,
            Err(code) => {
                say!(
                    warn,
                    code,
                    "the system refused a post to a port: trying again"
                );
                false
            }
        }
    }

    /// Whether to look although no post came.
    pub(super) fn was_missed(&self) -> bool {
        self.missed.load(Ordering::Acquire)
    }

    /// To be called before looking: what is written after this has a post of its own.
    pub(super) fn looking(&self) {
        self.hinted.swap(false, Ordering::AcqRel);
        if self.was_missed() {
            self.missed.swap(false, Ordering::AcqRel);
        }
    }

    /// Whether the timer rang since this was last asked.
    pub(super) fn take_ring(&self) -> bool {
        self.rang.load(Ordering::Acquire) && self.rang.swap(false, Ordering::AcqRel)
    }

    /// Has the timer ring once, so much later, or sooner if a post is to be tried again; replaces
    /// what it was set to. Returns whether it will.
    pub(super) fn ring_after(&self, after: Duration) -> bool {
        let _setting = self.timer.lock();
        let after = if self.was_missed() {
            after.min(RETRY)
        } else {
            after
        };
        // Rounded up, so that it is mostly not early.
        let steps = after.as_nanos().div_ceil(100).max(1);
        let steps = i64::try_from(steps).unwrap_or(i64::MAX);
        let set = sys::set_timer(self.timer_handle.as_handle(), steps);
        if let Err(code) = set {
            say!(
                error,
                code,
                "the port's timer could not be set: deadlines will be late"
            );
        }
        set.is_ok()
    }
}

/// A bell whose timer is connected; dropping it waits for a ring that is under way.
#[derive(Debug)]
pub(super) struct Rung {
    bell: Arc<Bell>,
    wait: Wait,
}

/// The system's number for the connection.
#[derive(Debug)]
struct Wait(windows_sys::Win32::Foundation::HANDLE);

// SAFETY: a number that only `Rung::drop` uses.
unsafe impl Send for Wait {}
// SAFETY: as above.
unsafe impl Sync for Wait {}

impl Rung {
    /// Opens a port with its timer.
    pub(super) fn open(concurrency: u32) -> std::io::Result<Self> {
        let bell = Arc::new(Bell::open(concurrency)?);
        let context = Arc::as_ptr(&bell).cast::<c_void>();
        // SAFETY: bell and timer live until `drop` has unregistered the wait; `rung` posts, which
        // does not block, and does not unwind.
        let wait = unsafe { sys::register_wait(bell.timer_handle.as_handle(), rung, context) }?;
        Ok(Self {
            bell,
            wait: Wait(wait),
        })
    }
}

impl std::ops::Deref for Rung {
    type Target = Bell;

    fn deref(&self) -> &Bell {
        &self.bell
    }
}

impl Drop for Rung {
    fn drop(&mut self) {
        // SAFETY: registered in `open`, and dropped once, by whoever drops the port: `rung` holds
        // no reference that it could drop.
        unsafe { sys::unregister_wait(self.wait.0) };
    }
}

/// The timer rang.
///
/// # Safety
/// `bell` points to a [`Bell`] that stays until the call has returned.
unsafe extern "system" fn rung(bell: *mut c_void, _: bool) {
    // SAFETY: the caller's word; `Rung` holds the bell until no call runs any more.
    let bell = unsafe { &*bell.cast_const().cast::<Bell>() };
    bell.rang.store(true, Ordering::Release);
    bell.hint();
}
