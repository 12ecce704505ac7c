//! Windows: what a console's control handler is told.
#![allow(
    unsafe_code,
    reason = "a handler that outlives its call, which no safe crate offers"
)]

use std::io;
use std::sync::Mutex;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use windows_sys::Win32::System::Console::{
    CTRL_BREAK_EVENT, CTRL_C_EVENT, CTRL_CLOSE_EVENT, CTRL_LOGOFF_EVENT, CTRL_SHUTDOWN_EVENT,
    SetConsoleCtrlHandler,
};
use windows_sys::core::BOOL;

/// Who is told, each once an event.
static LISTENERS: Mutex<Vec<SyncSender<()>>> = Mutex::new(Vec::new());

/// Calls `on_signal` on a thread of its own for each request to stop.
pub(crate) fn on_stop_signal(mut on_signal: impl FnMut() + Send + 'static) -> io::Result<()> {
    // Two that come before the first was handled are one.
    let (tell, told) = sync_channel(1);
    std::thread::Builder::new()
        .name("wharf-signal".to_owned())
        .spawn(move || {
            while let Ok(()) = told.recv() {
                on_signal();
            }
        })?;
    let mut listeners = lock();
    if listeners.is_empty() {
        // SAFETY: `handle` is a function of this program, so it is there as long as it runs.
        if unsafe { SetConsoleCtrlHandler(Some(handle), 1) } == 0 {
            return Err(io::Error::last_os_error());
        }
    }
    listeners.push(tell);
    Ok(())
}

fn lock() -> std::sync::MutexGuard<'static, Vec<SyncSender<()>>> {
    let locked = LISTENERS.lock();
    locked.unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// What an event asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asks {
    /// To stop.
    Stop,
    /// To stop, before this handler returns: the system ends the process then, and after some
    /// seconds in any case.
    StopNow,
    /// Nothing: somebody logs off, and a service stays. Other processes have been closed before.
    Nothing,
    Unknown,
}

fn asks(event: u32) -> Asks {
    match event {
        CTRL_C_EVENT | CTRL_BREAK_EVENT => Asks::Stop,
        CTRL_CLOSE_EVENT | CTRL_SHUTDOWN_EVENT => Asks::StopNow,
        CTRL_LOGOFF_EVENT => Asks::Nothing,
        _ => Asks::Unknown,
    }
}

/// Runs on a thread that the system starts for the event, so it may lock and wait.
///
/// # Safety
/// None to keep: only its type is unsafe, as the system wants it.
unsafe extern "system" fn handle(event: u32) -> BOOL {
    let asked = asks(event);
    if matches!(asked, Asks::Stop | Asks::StopNow) {
        for listener in &*lock() {
            // Full: it has one to handle already.
            let _ = listener.try_send(());
        }
    }
    match asked {
        Asks::Stop | Asks::Nothing => 1,
        Asks::Unknown => 0,
        Asks::StopNow => loop {
            // The process ends by returning from `main`, which ends this thread.
            std::thread::park_timeout(Duration::from_secs(60));
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_off_stops_nothing_and_a_close_waits_for_the_end() {
        assert_eq!(asks(CTRL_C_EVENT), Asks::Stop);
        assert_eq!(asks(CTRL_BREAK_EVENT), Asks::Stop);
        assert_eq!(asks(CTRL_CLOSE_EVENT), Asks::StopNow);
        assert_eq!(asks(CTRL_SHUTDOWN_EVENT), Asks::StopNow);
        assert_eq!(asks(CTRL_LOGOFF_EVENT), Asks::Nothing);
        assert_eq!(asks(77), Asks::Unknown);
    }

    #[test]
    fn each_listener_is_told_and_a_second_host_may_listen() {
        let (tell, told) = sync_channel(2);
        for who in 0..2 {
            let tell = tell.clone();
            on_stop_signal(move || tell.send(who).unwrap()).unwrap();
        }
        // SAFETY: it takes a number; Ctrl-C makes it return at once.
        assert_eq!(unsafe { handle(CTRL_C_EVENT) }, 1);
        let wait = Duration::from_secs(20);
        let mut who = [
            told.recv_timeout(wait).unwrap(),
            told.recv_timeout(wait).unwrap(),
        ];
        who.sort_unstable();
        assert_eq!(who, [0, 1]);
        // SAFETY: as above; nobody is told of these.
        unsafe {
            assert_eq!(handle(CTRL_LOGOFF_EVENT), 1);
        }
        // SAFETY: as above.
        unsafe {
            assert_eq!(handle(77), 0);
        }
        assert!(told.try_recv().is_err());
    }
}
