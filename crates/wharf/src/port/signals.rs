//! The signals that ask a process to stop.

#[cfg(unix)]
use std::io;

/// Calls `on_signal` on a thread of its own for each request to stop: SIGINT and SIGTERM. What the
/// process did with them before is still done; SIGHUP is left alone, so `nohup` works.
#[cfg(unix)]
pub(crate) fn on_stop_signal(mut on_signal: impl FnMut() + Send + 'static) -> io::Result<()> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM])?;
    std::thread::Builder::new()
        .name("wharf-signal".to_owned())
        .spawn(move || {
            for _ in signals.forever() {
                on_signal();
            }
        })?;
    Ok(())
}

/// Calls `on_signal` on a thread of its own for each request to stop: Ctrl-C, Ctrl-Break, the
/// console's close, and the system's shutdown. A user's log-off is none: a service outlives it.
#[cfg(windows)]
pub(crate) use windows::on_stop_signal;

#[cfg(windows)]
mod windows;
