//! The system calls, one thin wrapper each: safe where the types carry what the call needs, else
//! an `unsafe fn` that says what the caller must hold. A code is a Win32 or Winsock error number
//! as the system gave it; `status.rs` gives it a meaning.
#![allow(unsafe_code, reason = "the system's calls are reached no other way")]

use std::ffi::c_void;
use std::io;
use std::net::SocketAddr;
use std::os::windows::io::{AsRawHandle, AsRawSocket, BorrowedHandle, BorrowedSocket};
use std::os::windows::io::{FromRawHandle, OwnedHandle};

use windows_sys::Win32::Foundation::{FALSE, GetLastError, HANDLE, INVALID_HANDLE_VALUE};
use windows_sys::Win32::Networking::WinSock::{self as ws, SOCKADDR, SOCKET, WSABUF};
use windows_sys::Win32::System::IO::{self as sio, OVERLAPPED, OVERLAPPED_ENTRY};
use windows_sys::Win32::System::Threading as thr;

#[cfg(test)]
use super::trace::{self, Call};

/// A Win32 or Winsock error number.
pub(super) type Code = u32;

/// Room for one address in AcceptEx's buffer: the call wants 16 bytes more than the address.
pub(super) const ADDRESS_BYTES: usize = size_of::<ws::SOCKADDR_STORAGE>() + 16;
/// AcceptEx's buffer: our end and the peer's. No first data: a connection counts from its accept.
pub(super) const ADDRESSES_BYTES: usize = 2 * ADDRESS_BYTES;

fn socket(socket: BorrowedSocket<'_>) -> SOCKET {
    // The same number by another name: std's is u64 on 64 bits, windows-sys' is usize.
    SOCKET::try_from(socket.as_raw_socket()).unwrap_or(ws::INVALID_SOCKET)
}

/// A length as the system counts; ours are small.
fn len(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

fn last_error() -> Code {
    // SAFETY: reads a number of this thread.
    unsafe { GetLastError() }
}

fn last_socket_error() -> Code {
    // SAFETY: reads a number of this thread.
    unsafe { ws::WSAGetLastError() }.cast_unsigned()
}

/// Of a call that returns a BOOL.
fn done(ok: i32) -> Result<(), Code> {
    if ok == FALSE {
        Err(last_error())
    } else {
        Ok(())
    }
}

/// Of an overlapped call: under way or done already, which are one here, or refused. Only the
/// last brings no packet.
fn issued(ok: bool) -> Result<(), Code> {
    match if ok { 0 } else { last_socket_error() } {
        0 => Ok(()),
        code if code == ws::WSA_IO_PENDING.cast_unsigned() => Ok(()),
        code => Err(code),
    }
}

/// A new completion port that lets so many threads run at once; 0 is one a processor.
pub(super) fn create_port(concurrency: u32) -> io::Result<OwnedHandle> {
    #[cfg(test)]
    trace::note(Call::Port { concurrency });
    let none = std::ptr::null_mut();
    // SAFETY: takes no pointer to memory of ours.
    let port = unsafe { sio::CreateIoCompletionPort(INVALID_HANDLE_VALUE, none, 0, concurrency) };
    if port.is_null() {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: just made, open, and nobody else's.
    Ok(unsafe { OwnedHandle::from_raw_handle(port) })
}

/// Has the socket's packets come to this port, for good.
pub(super) fn associate(port: BorrowedHandle<'_>, of: BorrowedSocket<'_>) -> io::Result<()> {
    let file = socket(of) as HANDLE;
    // SAFETY: both are open, by their borrows.
    let same = unsafe { sio::CreateIoCompletionPort(file, port.as_raw_handle(), 0, 0) };
    if same.is_null() {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Queues a packet without an OVERLAPPED.
pub(super) fn post(port: BorrowedHandle<'_>) -> Result<(), Code> {
    // SAFETY: the port is open, by its borrow.
    done(unsafe { sio::PostQueuedCompletionStatus(port.as_raw_handle(), 0, 0, std::ptr::null()) })
}

/// Takes packets; none after `timeout_ms`. `u32::MAX` waits for ever.
pub(super) fn dequeue(
    port: BorrowedHandle<'_>,
    entries: &mut [OVERLAPPED_ENTRY],
    timeout_ms: u32,
) -> Result<usize, Code> {
    let room = len(entries.len());
    let (port, first) = (port.as_raw_handle(), entries.as_mut_ptr());
    let mut taken = 0;
    // SAFETY: the port is open, by its borrow; `first` has room for `room` entries.
    done(unsafe {
        sio::GetQueuedCompletionStatusEx(port, first, room, &raw mut taken, timeout_ms, FALSE)
    })?;
    Ok(taken as usize)
}

/// Cancels all that is under way on the socket; each of it still brings its packet.
pub(super) fn cancel_all(of: BorrowedSocket<'_>) {
    // Refuses when nothing is under way.
    // SAFETY: the socket is open, by its borrow; without an OVERLAPPED all are meant.
    let _ = unsafe { sio::CancelIoEx(socket(of) as HANDLE, std::ptr::null()) };
}

/// A non-blocking receive. `peek` leaves the bytes where they are.
pub(super) fn recv(of: BorrowedSocket<'_>, into: &mut [u8], peek: bool) -> Result<usize, Code> {
    let len = i32::try_from(into.len()).unwrap_or(i32::MAX);
    let flags = if peek { ws::MSG_PEEK } else { 0 };
    // SAFETY: the socket is open, by its borrow; `into` has room for `len` bytes.
    let got = unsafe { ws::recv(socket(of), into.as_mut_ptr(), len, flags) };
    usize::try_from(got).map_err(|_| last_socket_error())
}

/// How many bytes wait to be read.
pub(super) fn unread(of: BorrowedSocket<'_>) -> Result<u32, Code> {
    let mut bytes = 0;
    // SAFETY: the socket is open, by its borrow; FIONREAD writes one number.
    match unsafe { ws::ioctlsocket(socket(of), ws::FIONREAD, &raw mut bytes) } {
        0 => Ok(bytes),
        _ => Err(last_socket_error()),
    }
}

/// An overlapped receive of no bytes: it ends when there is something to read.
///
/// # Safety
/// `overlapped` and `flags` are ours alone and stay where they are until the packet was taken: of
/// the flags no documentation says so, but Wine keeps their address until the receive ends.
pub(super) unsafe fn recv_zero(
    of: BorrowedSocket<'_>,
    flags: *mut u32,
    overlapped: *mut OVERLAPPED,
) -> Result<(), Code> {
    // The array is read during the call; its buffer is empty and never written.
    let none = WSABUF {
        len: 0,
        buf: flags.cast(),
    };
    let count = std::ptr::null_mut();
    // SAFETY: the socket is open, by its borrow; the rest is the caller's word.
    let got = unsafe {
        ws::WSARecv(
            socket(of),
            &raw const none,
            1,
            count,
            flags,
            overlapped,
            None,
        )
    };
    issued(got == 0)
}

/// An overlapped send.
///
/// # Safety
/// `overlapped` is ours alone, and it and `bytes` stay where they are until its packet was taken.
pub(super) unsafe fn send(
    of: BorrowedSocket<'_>,
    bytes: &[u8],
    overlapped: *mut OVERLAPPED,
) -> Result<(), Code> {
    let buffer = WSABUF {
        len: len(bytes.len()),
        // A send only reads it; the type serves receives too.
        buf: bytes.as_ptr().cast_mut(),
    };
    let count = std::ptr::null_mut();
    // SAFETY: the socket is open, by its borrow; the rest is the caller's word.
    let sent = unsafe { ws::WSASend(socket(of), &raw const buffer, 1, count, 0, overlapped, None) };
    issued(sent == 0)
}

/// An overlapped accept of one connection into `accepted`.
///
/// # Safety
/// `overlapped` is ours alone, `addresses` has room for [`ADDRESSES_BYTES`], and both and
/// `accepted` stay until its packet was taken.
pub(super) unsafe fn accept_ex(
    listener: BorrowedSocket<'_>,
    accepted: BorrowedSocket<'_>,
    addresses: *mut u8,
    overlapped: *mut OVERLAPPED,
) -> Result<(), Code> {
    let each = len(ADDRESS_BYTES);
    #[cfg(test)]
    trace::note(Call::AcceptEx {
        listens: listens(listener),
        first_data: 0,
        local: each,
        remote: each,
    });
    let (listener, accepted) = (socket(listener), socket(accepted));
    let mut bytes = 0;
    // SAFETY: both sockets are open, by their borrows; the rest is the caller's word.
    let ok = unsafe {
        let into = addresses.cast::<c_void>();
        ws::AcceptEx(
            listener,
            accepted,
            into,
            0,
            each,
            each,
            &raw mut bytes,
            overlapped,
        )
    };
    issued(ok != FALSE)
}

/// The peer's address in the buffer of an AcceptEx that worked.
pub(super) fn accepted_peer(addresses: &[u8; ADDRESSES_BYTES]) -> Option<SocketAddr> {
    let each = len(ADDRESS_BYTES);
    let from = addresses.as_ptr().cast::<c_void>();
    let (mut local, mut remote) = (std::ptr::null_mut(), std::ptr::null_mut());
    let (mut local_len, mut remote_len) = (0, 0);
    // SAFETY: the buffer has the lengths that AcceptEx was given; the rest is written to locals.
    unsafe {
        ws::GetAcceptExSockaddrs(
            from,
            0,
            each,
            each,
            &raw mut local,
            &raw mut local_len,
            &raw mut remote,
            &raw mut remote_len,
        );
    }
    let len = usize::try_from(remote_len).ok()?;
    if remote.is_null() || len > size_of::<ws::SOCKADDR_STORAGE>() {
        return None;
    }
    let fill = |storage: *mut socket2::SockAddrStorage, room: *mut i32| {
        let (from, into) = (remote.cast::<u8>().cast_const(), storage.cast::<u8>());
        // SAFETY: `remote` points at `len` bytes inside the buffer, as the call above left it; the
        // storage is as large as the largest address.
        unsafe { std::ptr::copy_nonoverlapping(from, into, len) };
        // SAFETY: a length of socket2's own, to be set.
        unsafe { room.write(remote_len) };
        Ok(())
    };
    // SAFETY: `fill` sets the storage and its length.
    let address = unsafe { socket2::SockAddr::try_init(fill) };
    address.ok().and_then(|((), address)| address.as_socket())
}

/// ConnectEx, as the socket's provider has it.
#[derive(Clone, Copy, Debug)]
pub(super) struct ConnectEx(ws::LPFN_CONNECTEX);

/// Asks the socket's provider for ConnectEx, which no library exports.
pub(super) fn find_connect_ex(of: BorrowedSocket<'_>) -> io::Result<ConnectEx> {
    let id = ws::WSAID_CONNECTEX;
    let mut found: ws::LPFN_CONNECTEX = None;
    let mut bytes = 0;
    let (id_len, found_len) = (len(size_of_val(&id)), len(size_of_val(&found)));
    // SAFETY: the socket is open, by its borrow; in and out are locals of the lengths given.
    let failed = unsafe {
        ws::WSAIoctl(
            socket(of),
            ws::SIO_GET_EXTENSION_FUNCTION_POINTER,
            (&raw const id).cast(),
            id_len,
            (&raw mut found).cast(),
            found_len,
            &raw mut bytes,
            std::ptr::null_mut(),
            None,
        )
    };
    if failed != 0 {
        return Err(super::status::error(last_socket_error()));
    }
    Ok(ConnectEx(found))
}

/// An overlapped connect.
///
/// # Safety
/// `overlapped` is ours alone, and it and `to` stay where they are until its packet was taken.
pub(super) unsafe fn connect(
    connect_ex: ConnectEx,
    of: BorrowedSocket<'_>,
    to: &socket2::SockAddr,
    overlapped: *mut OVERLAPPED,
) -> Result<(), Code> {
    #[cfg(test)]
    trace::note(Call::ConnectEx {
        is_bound: is_bound(of),
    });
    let Some(connect_ex) = connect_ex.0 else {
        return Err(ws::WSAEOPNOTSUPP.cast_unsigned());
    };
    let (name, len) = (to.as_ptr().cast::<SOCKADDR>(), to.len());
    let (none, count) = (std::ptr::null(), std::ptr::null_mut());
    // SAFETY: the socket is open, by its borrow; the rest is the caller's word.
    let ok = unsafe { connect_ex(socket(of), name, len, none, 0, count, overlapped) };
    issued(ok != FALSE)
}

#[cfg(test)]
fn listens(of: BorrowedSocket<'_>) -> bool {
    let (mut listens, mut len) = (0_u32, 4);
    let into = (&raw mut listens).cast();
    // SAFETY: the socket is open, by its borrow; `into` has room for the four bytes of a BOOL.
    let failed = unsafe {
        ws::getsockopt(
            socket(of),
            ws::SOL_SOCKET,
            ws::SO_ACCEPTCONN,
            into,
            &raw mut len,
        )
    };
    failed == 0 && listens != 0
}

#[cfg(test)]
fn is_bound(of: BorrowedSocket<'_>) -> bool {
    let local = socket2::SockRef::from(&of).local_addr().ok();
    local
        .and_then(|local| local.as_socket())
        .is_some_and(|local| local.port() != 0)
}

fn set_option(of: BorrowedSocket<'_>, name: i32, value: &[u8]) -> Result<(), Code> {
    let (at, len) = match value {
        [] => (std::ptr::null(), 0),
        some => (some.as_ptr(), i32::try_from(some.len()).unwrap_or(0)),
    };
    // SAFETY: the socket is open, by its borrow; at `at` are `len` bytes.
    match unsafe { ws::setsockopt(socket(of), ws::SOL_SOCKET, name, at, len) } {
        0 => Ok(()),
        _ => Err(last_socket_error()),
    }
}

/// Makes what AcceptEx left a full socket: till then it has no names and can't be shut down.
pub(super) fn update_accept_context(
    accepted: BorrowedSocket<'_>,
    listener: BorrowedSocket<'_>,
) -> Result<(), Code> {
    let listener = socket(listener);
    #[cfg(test)]
    trace::note(Call::UpdateAccept { listener });
    set_option(
        accepted,
        ws::SO_UPDATE_ACCEPT_CONTEXT,
        &listener.to_ne_bytes(),
    )
}

/// Makes what ConnectEx left a full socket.
pub(super) fn update_connect_context(of: BorrowedSocket<'_>) -> Result<(), Code> {
    #[cfg(test)]
    trace::note(Call::UpdateConnect);
    set_option(of, ws::SO_UPDATE_CONNECT_CONTEXT, &[])
}

/// Keeps others, this process too, from binding the address as long as the socket has it.
pub(super) fn set_exclusive(of: BorrowedSocket<'_>) -> Result<(), Code> {
    #[cfg(test)]
    trace::note(Call::Exclusive);
    set_option(of, ws::SO_EXCLUSIVEADDRUSE, &1i32.to_ne_bytes())
}

/// A timer that wakes one waiter each time it rings; in steps of half a millisecond where the
/// system grants it (Windows 10 1803 and later), else of its ticks of up to 15.6 ms.
pub(super) fn create_timer() -> io::Result<OwnedHandle> {
    let fine = thr::CREATE_WAITABLE_TIMER_HIGH_RESOLUTION;
    for flags in [fine, 0] {
        let (security, name) = (std::ptr::null(), std::ptr::null());
        // SAFETY: takes no pointer to memory of ours.
        let timer =
            unsafe { thr::CreateWaitableTimerExW(security, name, flags, thr::TIMER_ALL_ACCESS) };
        if !timer.is_null() {
            // SAFETY: just made, open, and nobody else's.
            return Ok(unsafe { OwnedHandle::from_raw_handle(timer) });
        }
    }
    Err(io::Error::last_os_error())
}

/// Has the timer ring once, after so many steps of 100 ns; replaces what it was set to.
pub(super) fn set_timer(timer: BorrowedHandle<'_>, steps: i64) -> Result<(), Code> {
    // A negative moment is counted from now.
    let due = -steps;
    let (timer, context) = (timer.as_raw_handle(), std::ptr::null());
    // SAFETY: the timer is open, by its borrow; `due` is read during the call.
    done(unsafe { thr::SetWaitableTimer(timer, &raw const due, 0, None, context, FALSE) })
}

/// Calls `ring` on a thread of the system each time `timer` rings.
///
/// # Safety
/// `timer` and `context` stay until [`unregister_wait`] has returned; `ring` may be called with
/// `context` from any thread, does not block, and does not unwind.
pub(super) unsafe fn register_wait(
    timer: BorrowedHandle<'_>,
    ring: unsafe extern "system" fn(*mut c_void, bool),
    context: *const c_void,
) -> io::Result<HANDLE> {
    let mut wait = std::ptr::null_mut();
    let (timer, flags) = (timer.as_raw_handle(), thr::WT_EXECUTEINWAITTHREAD);
    // SAFETY: the caller's word; `wait` is written during the call.
    let ok = unsafe {
        let out = &raw mut wait;
        thr::RegisterWaitForSingleObject(out, timer, Some(ring), context, thr::INFINITE, flags)
    };
    done(ok).map_err(super::status::error)?;
    Ok(wait)
}

/// Ends the calls, and waits for one that runs.
///
/// # Safety
/// `wait` came from [`register_wait`] and was not given to this before; not called from `ring`.
pub(super) unsafe fn unregister_wait(wait: HANDLE) {
    // SAFETY: the caller's word; with this second value the call waits for the callback.
    let ended = done(unsafe { thr::UnregisterWaitEx(wait, INVALID_HANDLE_VALUE) });
    debug_assert!(ended.is_ok(), "a wait that was never registered: {ended:?}");
}

/// What the system says of an NTSTATUS that `status.rs` does not know.
pub(super) fn code_of_status(status: i32) -> Code {
    // SAFETY: maps a number to a number.
    unsafe { windows_sys::Win32::Foundation::RtlNtStatusToDosError(status) }
}

/// How many handles this process has open.
#[cfg(test)]
pub(super) fn handle_count() -> u32 {
    let mut count = 0;
    // SAFETY: asks for a pseudo handle, which is never closed.
    let process = unsafe { thr::GetCurrentProcess() };
    // SAFETY: the process is this one; `count` is written during the call.
    done(unsafe { thr::GetProcessHandleCount(process, &raw mut count) }).unwrap();
    count
}
