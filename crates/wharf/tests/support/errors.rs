//! System errors by the names that they have on Linux, as the system of the tests tells them.
#![allow(dead_code, reason = "each suite uses its part")]

use std::io::{self, ErrorKind};

/// A name, and how the error is made.
pub(crate) type Named = (&'static str, fn() -> io::Error);

pub(crate) const EINTR: Named = ("EINTR", || known(4, ErrorKind::Interrupted));
pub(crate) const EBADF: Named = ("EBADF", || numbered(9, 6));
pub(crate) const EAGAIN: Named = ("EAGAIN", || known(11, ErrorKind::WouldBlock));
pub(crate) const ENOMEM: Named = ("ENOMEM", || known(12, ErrorKind::OutOfMemory));
pub(crate) const ENFILE: Named = ("ENFILE", || numbered(23, 10_024));
pub(crate) const EMFILE: Named = ("EMFILE", || numbered(24, 10_024));
pub(crate) const ENOSPC: Named = ("ENOSPC", || known(28, ErrorKind::StorageFull));
pub(crate) const EPIPE: Named = ("EPIPE", || known(32, ErrorKind::BrokenPipe));
pub(crate) const EPROTO: Named = ("EPROTO", || numbered(71, 10_041));
pub(crate) const EADDRINUSE: Named = ("EADDRINUSE", || known(98, ErrorKind::AddrInUse));
pub(crate) const ENETUNREACH: Named = ("ENETUNREACH", || known(101, ErrorKind::NetworkUnreachable));
pub(crate) const ECONNABORTED: Named =
    ("ECONNABORTED", || known(103, ErrorKind::ConnectionAborted));
pub(crate) const ECONNRESET: Named = ("ECONNRESET", || known(104, ErrorKind::ConnectionReset));
pub(crate) const ENOBUFS: Named = ("ENOBUFS", || numbered(105, 10_055));

/// One that std has a kind for, which is all that a backend of Windows tells of some.
fn known(linux: i32, kind: ErrorKind) -> io::Error {
    if cfg!(windows) {
        kind.into()
    } else {
        io::Error::from_raw_os_error(linux)
    }
}

/// One that only its number tells.
fn numbered(linux: i32, windows: i32) -> io::Error {
    io::Error::from_raw_os_error(if cfg!(windows) { windows } else { linux })
}
