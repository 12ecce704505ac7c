//! Ctrl-C, SIGTERM and console close as a request to stop.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::Shared;
use crate::contain::or_abort;
use crate::error::{Error, ErrorKind, Result};

/// The hosts that wait for a signal. A process has one handler for all of them.
static WAITING: Mutex<Vec<Weak<Shared>>> = Mutex::new(Vec::new());
static SIGNALS: AtomicUsize = AtomicUsize::new(0);

/// Has the host stopped by a signal; by a second one in a hurry.
pub(super) fn watch(shared: &Arc<Shared>) -> Result<()> {
    let mut waiting = WAITING.lock();
    waiting.retain(|host| host.strong_count() > 0);
    let new = Arc::downgrade(shared);
    if !waiting.iter().any(|host| host.ptr_eq(&new)) {
        waiting.push(new);
    }
    static INSTALLED: Mutex<bool> = Mutex::new(false);
    let mut installed = INSTALLED.lock();
    if !*installed {
        crate::port::on_stop_signal(|| or_abort(on_signal)).map_err(|error| {
            let message = "Ctrl-C and SIGTERM can't be watched; call start() and stop() instead of \
                           run_until_signal()";
            Error::new(ErrorKind::System, message).caused_by(error)
        })?;
        *installed = true;
    }
    Ok(())
}

fn on_signal() {
    let again = SIGNALS.fetch_add(1, Ordering::Relaxed) > 0;
    let hosts: Vec<_> = WAITING.lock().iter().filter_map(Weak::upgrade).collect();
    for host in hosts {
        if again {
            host.hurry_stop();
        }
        host.request_stop();
    }
}
