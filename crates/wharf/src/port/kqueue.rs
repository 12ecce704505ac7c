//! macOS: one kqueue, shared by all workers of the port. It type-checks and is untested.
//!
//! Both filters of a socket are registered once with `EV_CLEAR`: a report takes the event out of
//! the queue, so it goes to one worker, and the next change of the socket queues it again. What was
//! read in the kernel's source (xnu 11417, `bsd/kern`) and not tried:
//!
//! - An event wakes every worker that sleeps; those that come too late sleep on, inside the kernel.
//! - An acknowledgement that makes room for writing is a change: it is reported although nobody
//!   waits for room. The conformance clause `any_worker` may take that for a second report there.
//! - A connection that can't be accepted for want of descriptors is dropped, not kept waiting.
//!
//! libc instead of rustix, whose kqueue counts times with no whole milliseconds in whole seconds.
#![allow(
    unsafe_code,
    reason = "kevent and disconnectx have no safe form that fits"
)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::kqueue::kqueue;
use rustix::io::{Errno, FdFlags};
use rustix::net::{SendFlags, SocketAddrAny};
use socket2::SockRef;

use super::contract::{Backend, Bits, Ready, SocketOptions, Token, Wait};
use super::socket::apply;
use super::unix_socket::Kernel;
use crate::say::say;
use crate::time::Time;

/// The backend.
#[derive(Debug)]
pub(crate) struct Kqueue {
    queue: OwnedFd,
}

/// Room for the reports of one wait, on the stack of the worker that waits.
const EVENTS: usize = 64;

/// What the wake and the timer are to the queue: each filter has names of its own.
const ONLY: usize = 0;

/// The furthest that the timer is set: the kernel's sum must not overflow.
const FAR: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// The kernel counts in ticks of its own and rounds down, by less than this.
const TICK_MAX: Duration = Duration::from_micros(1);

const _: () = assert!(
    size_of::<usize>() == size_of::<u64>(),
    "an event carries a token in the room of a pointer"
);

impl Kqueue {
    /// A new queue.
    pub(crate) fn open() -> io::Result<Self> {
        let queue = kqueue()?;
        rustix::io::fcntl_setfd(&queue, FdFlags::CLOEXEC)?;
        let queue = Self { queue };
        queue.change(&[user(0)])?;
        Ok(queue)
    }

    /// Makes the changes; reports nothing.
    fn change(&self, changes: &[libc::kevent]) -> io::Result<()> {
        self.call(changes, &mut [], Some(&NO_TIME)).map(|_| ())
    }

    /// Makes the changes, then waits for events; how many have come.
    fn call(
        &self,
        changes: &[libc::kevent],
        events: &mut [libc::kevent],
        timeout: Option<&libc::timespec>,
    ) -> io::Result<usize> {
        let count = |len: usize| i32::try_from(len).unwrap_or(i32::MAX);
        // SAFETY: `self` owns the queue, which is open. The borrowed slices and the time-out live
        // longer than the call, which keeps no pointer: it reads no more changes and writes no more
        // events than the slices hold. A token in `udata` is a number, which nobody follows.
        let come = unsafe {
            libc::kevent(
                self.queue.as_raw_fd(),
                changes.as_ptr(),
                count(changes.len()),
                events.as_mut_ptr(),
                count(events.len()),
                timeout.map_or(std::ptr::null(), std::ptr::from_ref),
            )
        };
        usize::try_from(come).map_err(|_| io::Error::last_os_error())
    }
}

impl Backend for Kqueue {
    fn name(&self) -> &'static str {
        "kqueue"
    }

    fn now(&self) -> Time {
        super::clock::now()
    }

    fn wait(&self, out: &mut Vec<Ready>, max: usize, how: Wait) -> io::Result<()> {
        let timeout = match how {
            Wait::Poll => Some(&NO_TIME),
            Wait::Block => None,
        };
        let mut events = [event(0, ONLY, 0, Token::WAKE); EVENTS];
        let room = &mut events[..max.clamp(1, EVENTS)];
        let come = match self.call(&[], room, timeout) {
            Ok(come) => come,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            Err(error) => return Err(error),
        };
        out.extend(room[..come].iter().map(|event| Ready {
            token: Token::from_bits(event.udata.addr() as u64),
            bits: bits_of(event.filter, event.flags, event.fflags),
        }));
        Ok(())
    }

    fn wake(&self) {
        if let Err(error) = self.change(&[user(libc::NOTE_TRIGGER)]) {
            say!(error, %error, "a worker could not be woken: what waits for it will be late");
        }
    }

    fn set_timer(&self, at: Option<Time>) {
        let timer = |flags| event(libc::EVFILT_TIMER, ONLY, flags, Token::TIMER);
        let set = match at {
            Some(at) => {
                let after = at.since(self.now()).min(FAR) + TICK_MAX;
                // Adding it again replaces its moment, and takes back a report that nobody has.
                self.change(&[libc::kevent {
                    // Critical: the system may not put it off to save power.
                    fflags: libc::NOTE_NSECONDS | libc::NOTE_CRITICAL,
                    data: isize::try_from(after.as_nanos()).unwrap_or(isize::MAX),
                    ..timer(libc::EV_ADD | libc::EV_ONESHOT)
                }])
            }
            None => match self.change(&[timer(libc::EV_DELETE)]) {
                // It has come, or was never set.
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                cleared => cleared,
            },
        };
        if let Err(error) = set {
            say!(error, %error, "the port's timer could not be set: deadlines will be late");
        }
    }

    fn entropy(&self) -> u64 {
        // The moment sets processes of one image apart, the number those of one moment.
        fastrand::u64(..) ^ u64::from(std::process::id()) << 32
    }
}

impl Kernel for Kqueue {
    // There is none: each socket has SO_NOSIGPIPE, from socket2 or from `take_waiting`.
    const SEND_FLAGS: SendFlags = SendFlags::empty();

    fn watch(&self, token: Token, fd: BorrowedFd<'_>) -> io::Result<()> {
        let fd = usize::try_from(fd.as_raw_fd()).map_err(|_| io::ErrorKind::InvalidInput)?;
        let flags = libc::EV_ADD | libc::EV_CLEAR;
        let of = |filter| event(filter, fd, flags, token);
        self.change(&[of(libc::EVFILT_READ), of(libc::EVFILT_WRITE)])
    }

    fn take_waiting(
        listener: BorrowedFd<'_>,
        options: &SocketOptions,
    ) -> io::Result<(OwnedFd, Option<SocketAddrAny>)> {
        let (fd, peer) = rustix::net::acceptfrom(listener)?;
        // The system refuses options of a connection that was reset in the queue.
        settle(fd.as_fd(), options).map_err(|_| io::ErrorKind::ConnectionAborted)?;
        Ok((fd, peer))
    }

    fn break_off(socket: &socket2::Socket) -> io::Result<()> {
        // With it, disconnecting drops what was sent and answers with a reset.
        socket.set_linger(Some(Duration::ZERO))?;
        let fd = socket.as_raw_fd();
        // SAFETY: `socket` is borrowed and open, and it stays so: the call ends the connection, not
        // the descriptor.
        let failed = unsafe { libc::disconnectx(fd, libc::SAE_ASSOCID_ANY, libc::SAE_CONNID_ANY) };
        if failed == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }

    fn is_gone(error: &io::Error) -> bool {
        // The address of a peer is refused with the latter when both directions have ended.
        matches!(
            error.kind(),
            io::ErrorKind::NotConnected | io::ErrorKind::InvalidInput
        )
    }

    fn is_connecting(error: Errno) -> bool {
        // Once it was connected, a send that can't be says EPIPE.
        error == Errno::NOTCONN
    }
}

/// What a socket that was made by accept lacks here.
fn settle(fd: BorrowedFd<'_>, options: &SocketOptions) -> io::Result<()> {
    rustix::io::fcntl_setfd(fd, FdFlags::CLOEXEC)?;
    rustix::net::sockopt::set_socket_nosigpipe(fd, true)?;
    let socket = SockRef::from(&fd);
    socket.set_nonblocking(true)?;
    apply(&socket, options)
}

const NO_TIME: libc::timespec = libc::timespec {
    tv_sec: 0,
    tv_nsec: 0,
};

#[expect(
    clippy::cast_possible_truncation,
    reason = "a pointer is as wide as a token: see the assertion above"
)]
fn event(filter: i16, ident: usize, flags: u16, token: Token) -> libc::kevent {
    libc::kevent {
        ident,
        filter,
        flags,
        fflags: 0,
        data: 0,
        udata: std::ptr::without_provenance_mut(token.bits() as usize),
    }
}

/// The event of `wake`, which is the same each time but for being triggered.
fn user(fflags: u32) -> libc::kevent {
    libc::kevent {
        fflags,
        ..event(
            libc::EVFILT_USER,
            ONLY,
            libc::EV_ADD | libc::EV_CLEAR,
            Token::WAKE,
        )
    }
}

/// The filter for writing ends when nothing can be sent any more: when the connection is gone, and
/// after our own end of stream, where the hang-up that is reported is one too many and does no
/// harm.
fn bits_of(filter: i16, flags: u16, error: u32) -> Bits {
    let (bits, ended) = match filter {
        libc::EVFILT_READ => (Bits::READ, Bits::READ_HANGUP),
        libc::EVFILT_WRITE => (Bits::WRITE, Bits::HANGUP.with(Bits::READ)),
        _ => return Bits::default(),
    };
    if flags & libc::EV_EOF == 0 {
        return bits;
    }
    let failed = if error == 0 {
        Bits::default()
    } else {
        Bits::READ.with(Bits::ERROR)
    };
    bits.with(ended).with(failed)
}
