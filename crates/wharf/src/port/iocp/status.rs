//! What the system's numbers mean. One event has several: a reset is 0xC000020D in a packet, 64 by
//! way of Win32 and 10054 by way of Winsock. Here each becomes one Winsock number, and that one
//! `io::Error`. Whether *we* ended an operation is never read from a number: too many mean it.

use std::io;

use windows_sys::Win32::Foundation as win;
use windows_sys::Win32::Networking::WinSock as ws;

use super::sys::{self, Code};

/// The peer, or a host between, broke the connection.
pub(super) const RESET: Code = ws::WSAECONNRESET.cast_unsigned();
/// Nothing now.
pub(super) const WOULD_BLOCK: Code = ws::WSAEWOULDBLOCK.cast_unsigned();
/// `dequeue` ran into its timeout.
pub(super) const TIMEOUT: Code = win::WAIT_TIMEOUT;

/// The Winsock number of a packet's status; 0 is success.
pub(super) fn code_of(status: win::NTSTATUS) -> Code {
    let code = match status {
        0.. => return 0,
        win::STATUS_CONNECTION_RESET
        | win::STATUS_CONNECTION_DISCONNECTED
        | win::STATUS_REMOTE_DISCONNECT => ws::WSAECONNRESET,
        win::STATUS_CONNECTION_ABORTED => ws::WSAECONNABORTED,
        win::STATUS_CONNECTION_REFUSED
        | win::STATUS_REMOTE_NOT_LISTENING
        | win::STATUS_PORT_UNREACHABLE => ws::WSAECONNREFUSED,
        win::STATUS_IO_TIMEOUT | win::STATUS_LINK_TIMEOUT => ws::WSAETIMEDOUT,
        win::STATUS_NETWORK_UNREACHABLE => ws::WSAENETUNREACH,
        win::STATUS_HOST_UNREACHABLE | win::STATUS_HOST_DOWN => ws::WSAEHOSTUNREACH,
        win::STATUS_PIPE_DISCONNECTED => ws::WSAESHUTDOWN,
        win::STATUS_INVALID_CONNECTION => ws::WSAENOTCONN,
        win::STATUS_ADDRESS_ALREADY_EXISTS => ws::WSAEADDRINUSE,
        win::STATUS_ACCESS_DENIED => ws::WSAEACCES,
        win::STATUS_TOO_MANY_OPENED_FILES => ws::WSAEMFILE,
        win::STATUS_INSUFFICIENT_RESOURCES | win::STATUS_NO_MEMORY => ws::WSAENOBUFS,
        win::STATUS_CANCELLED | win::STATUS_HANDLES_CLOSED | win::STATUS_LOCAL_DISCONNECT => {
            return win::ERROR_OPERATION_ABORTED;
        }
        other => return winsock(sys::code_of_status(other)),
    };
    code.cast_unsigned()
}

/// The Winsock number of a Win32 one that comes up in its stead.
pub(super) fn winsock(code: Code) -> Code {
    let code = match code {
        win::ERROR_NETNAME_DELETED | win::ERROR_CONNECTION_ABORTED => ws::WSAECONNRESET,
        win::ERROR_CONNECTION_REFUSED | win::ERROR_PORT_UNREACHABLE => ws::WSAECONNREFUSED,
        win::ERROR_SEM_TIMEOUT => ws::WSAETIMEDOUT,
        win::ERROR_NETWORK_UNREACHABLE => ws::WSAENETUNREACH,
        win::ERROR_HOST_UNREACHABLE | win::ERROR_HOST_DOWN => ws::WSAEHOSTUNREACH,
        win::ERROR_NO_SYSTEM_RESOURCES | win::ERROR_NOT_ENOUGH_MEMORY => ws::WSAENOBUFS,
        other => return other,
    };
    code.cast_unsigned()
}

/// The error of a number, with the kinds of the contract. What std has no kind for keeps its
/// number, and so its text.
pub(super) fn error(code: Code) -> io::Error {
    let code = winsock(code);
    let number = io::Error::from_raw_os_error(code.cast_signed());
    match code.cast_signed() {
        ws::WSAESHUTDOWN => io::Error::new(io::ErrorKind::BrokenPipe, number),
        // Winsock gives up on a silent peer with this one; for a stream that is a reset.
        ws::WSAECONNABORTED => io::Error::new(io::ErrorKind::ConnectionReset, number),
        ws::WSAENOBUFS => io::Error::new(io::ErrorKind::OutOfMemory, number),
        _ => number,
    }
}

/// Whether the system lacks something now that it may have later.
pub(super) fn is_shortage(code: Code) -> bool {
    let code = winsock(code).cast_signed();
    matches!(code, ws::WSAENOBUFS | ws::WSAEMFILE | ws::WSAEWOULDBLOCK)
}

/// Whether an accept failed because the one connection went away.
pub(super) fn is_of_one_connection(code: Code) -> bool {
    matches!(
        winsock(code).cast_signed(),
        ws::WSAECONNRESET
            | ws::WSAECONNABORTED
            | ws::WSAENOTCONN
            | ws::WSAETIMEDOUT
            | ws::WSAENETUNREACH
            | ws::WSAEHOSTUNREACH
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The three views of one event.
    #[test]
    fn a_reset_is_a_reset_by_all_its_numbers() {
        assert_eq!(code_of(0xC000_020D_u32.cast_signed()), RESET);
        for code in [64, 1236, 10054, 10053] {
            assert_eq!(error(code).kind(), io::ErrorKind::ConnectionReset, "{code}");
        }
    }

    #[test]
    fn refused_is_refused_by_all_its_numbers() {
        let code = code_of(0xC000_0236_u32.cast_signed());
        for code in [code, 1225, 10061] {
            assert_eq!(
                error(code).kind(),
                io::ErrorKind::ConnectionRefused,
                "{code}"
            );
        }
    }

    #[test]
    fn an_unknown_status_keeps_the_systems_number() {
        // STATUS_OBJECT_NAME_NOT_FOUND is ERROR_FILE_NOT_FOUND.
        assert_eq!(code_of(0xC000_0034_u32.cast_signed()), 2);
        assert_eq!(code_of(0), 0);
        assert_eq!(error(10058).kind(), io::ErrorKind::BrokenPipe);
        assert!(is_shortage(1450) && is_shortage(10024) && !is_shortage(10054));
    }
}
