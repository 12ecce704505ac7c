//! An open socket, and who is inside a system call with it.
//!
//! Closing a socket gives its number away, and another thread's call that still uses the number
//! would reach a stranger. So a call is made inside the gate, and whoever closes early (a
//! disconnect, which must make the peer see a reset while the owner still holds its `Socket`)
//! shuts the gate; the last one out closes. Nobody waits for anybody.
#![allow(
    unsafe_code,
    reason = "borrows a socket for as long as the gate keeps it open"
)]

use std::os::windows::io::{AsRawSocket, AsSocket, BorrowedSocket, RawSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use socket2::SockRef;

use super::shared::Shared;
use super::sys;

/// No one may enter any more.
const SHUT: u32 = 1 << 31;

/// An open socket. Dropping it cancels what is under way on it and closes it.
#[derive(Debug)]
pub(super) struct Handle {
    raw: RawSocket,
    /// How many are inside, and [`SHUT`].
    gate: AtomicU32,
    socket: Mutex<Option<socket2::Socket>>,
    /// The port stays as long as a socket may bring packets to it.
    pub(super) shared: Arc<Shared>,
}

impl Handle {
    /// Takes the socket.
    pub(super) fn new(socket: socket2::Socket, shared: Arc<Shared>) -> Self {
        Self {
            raw: socket.as_raw_socket(),
            gate: AtomicU32::new(0),
            socket: Mutex::new(Some(socket)),
            shared,
        }
    }

    /// Keeps the socket open for a call; `None` once it was shut.
    pub(super) fn enter(&self) -> Option<Entered<'_>> {
        let before = self.gate.fetch_add(1, Ordering::Acquire);
        let entered = Entered(self);
        // Dropping it leaves again.
        (before & SHUT == 0).then_some(entered)
    }

    /// Makes the close a reset.
    pub(super) fn reset_on_close(&self) {
        if let Some(entered) = self.enter() {
            // Fails only when the connection is gone.
            let _ = SockRef::from(&entered).set_linger(Some(Duration::ZERO));
        }
    }

    /// Closes the socket as soon as nobody is inside.
    pub(super) fn shut(&self) {
        if self.gate.fetch_or(SHUT, Ordering::AcqRel) == 0 {
            self.close();
        }
    }

    /// Whether it was shut.
    pub(super) fn is_shut(&self) -> bool {
        self.gate.load(Ordering::Acquire) & SHUT != 0
    }

    fn close(&self) {
        let socket = self.socket.lock().take();
        if let Some(socket) = socket {
            // In this order: a close alone leaves sends pending under Wine, and gives receives
            // another number in each system.
            sys::cancel_all(socket.as_socket());
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.close();
    }
}

/// The right to call the system with an open socket.
#[derive(Debug)]
pub(super) struct Entered<'a>(&'a Handle);

impl AsSocket for Entered<'_> {
    fn as_socket(&self) -> BorrowedSocket<'_> {
        // SAFETY: the socket is taken out by `close` alone, which is called with the gate shut and
        // empty, or when the handle has no user left. `enter` gives no `Entered` away when shut.
        unsafe { BorrowedSocket::borrow_raw(self.0.raw) }
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        if self.0.gate.fetch_sub(1, Ordering::AcqRel) == SHUT | 1 {
            self.0.close();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handle() -> Handle {
        let shared = Shared::open(0).unwrap();
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        Handle::new(socket.unwrap(), shared)
    }

    #[test]
    fn the_last_one_out_closes() {
        let handle = handle();
        let (first, second) = (handle.enter().unwrap(), handle.enter().unwrap());
        handle.shut();
        assert!(handle.enter().is_none(), "shut");
        drop(first);
        assert!(handle.socket.lock().is_some(), "one is inside");
        drop(second);
        assert!(handle.socket.lock().is_none());
        assert!(handle.enter().is_none() && handle.is_shut());
    }

    #[test]
    fn with_nobody_inside_it_closes_at_once() {
        let handle = handle();
        drop(handle.enter().unwrap());
        handle.shut();
        assert!(handle.socket.lock().is_none());
        handle.shut();
    }
}
