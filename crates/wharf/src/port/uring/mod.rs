//! Linux: the queue of [`Epoll`], and for each worker a private io_uring that carries batches of
//! sends, one system call a batch.
//!
//! The ring is a *batched system call* and nothing more. What is put into it is submitted, made
//! and reaped within one call of [`Sockets::send_batch`]; each send says `MSG_DONTWAIT`, so the
//! kernel has nothing to wait for. So the buffers are lent for the length of a function call, a
//! worker that is stuck in a handler has nothing under way, and readiness stays where any worker
//! finds it: in the shared epoll.
//!
//! A ring belongs to the thread that opened it. Threads that are no workers, and workers whose ring
//! the system refuses, send one by one.
//!
//! [`Sockets::send_batch`]: super::contract::Sockets::send_batch

mod ring;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::net::{SendFlags, SocketAddrAny};

use super::contract::{Backend, Ready, SocketOptions, Sockets, Token, Wait, Write};
use super::current;
use super::epoll::Epoll;
use super::unix_socket::Kernel;
use crate::say::say;
use crate::time::Time;
use ring::Ring;

/// The backend.
#[derive(Debug)]
pub(crate) struct Uring {
    queue: Epoll,
}

impl Uring {
    /// A new queue, after a look whether rings can be had here.
    pub(crate) fn open() -> io::Result<Self> {
        Ring::open()?.check()?;
        Ok(Self {
            queue: Epoll::open()?,
        })
    }
}

/// The ring of a thread.
enum Place {
    /// None was needed so far.
    Untried,
    /// Open.
    Open(Box<Ring>),
    /// The system refuses: not tried again.
    Refused,
}

thread_local! {
    static RING: RefCell<Place> = const { RefCell::new(Place::Untried) };
}

/// Makes writes by the ring of this thread; returns how many of them, from the first on.
fn by_ring(writes: &mut [Write<'_>]) -> usize {
    RING.with_borrow_mut(|place| {
        if matches!(place, Place::Untried) {
            *place = match Ring::open() {
                Ok(ring) => Place::Open(Box::new(ring)),
                Err(error) => {
                    say!(warn, %error, "this worker gets no ring: it sends one by one");
                    Place::Refused
                }
            };
        }
        let Place::Open(ring) = place else {
            return 0;
        };
        let (made, stopped) = ring.send(writes);
        if let Some(error) = stopped {
            say!(warn, %error, "the ring of this worker is closed");
            *place = if is_passing(&error) {
                Place::Untried
            } else {
                Place::Refused
            };
        }
        made
    })
}

/// Whether a new ring may do better: the system was short of something for a moment.
fn is_passing(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(errno, Some(Errno::AGAIN | Errno::NOMEM | Errno::BUSY))
}

/// Why rings are refused here, most likely, and what to do.
pub(super) fn advice(error: &io::Error) -> String {
    use rustix::io::Errno;
    let disabled = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled");
    let why = match (disabled.as_deref().map(str::trim), error.raw_os_error()) {
        (Ok("2"), _) => "the kernel is told to refuse it: `sysctl kernel.io_uring_disabled=0`",
        (Ok("1"), _) => {
            "the kernel is told to refuse it to all but kernel.io_uring_group: \
             `sysctl kernel.io_uring_disabled=0`, or join the group"
        }
        (_, Some(code)) if code == Errno::NOSYS.raw_os_error() => {
            "this kernel has no io_uring (Linux 5.6 has), or a filter of system calls hides it"
        }
        (_, Some(code)) if code == Errno::NOMEM.raw_os_error() => {
            "before Linux 5.12 rings count against the limit of locked memory: \
             raise it (`ulimit -l`, or LimitMEMLOCK= of the service)"
        }
        (_, Some(code)) if code == Errno::PERM.raw_os_error() => {
            "a filter of system calls forbids it, as the default one of Docker does: \
             allow io_uring_setup, io_uring_enter and io_uring_register"
        }
        _ => "it needs Linux 5.6",
    };
    format!("{why}; or take epoll")
}

impl Backend for Uring {
    fn name(&self) -> &'static str {
        "uring"
    }

    fn now(&self) -> Time {
        self.queue.now()
    }

    fn wait(&self, out: &mut Vec<Ready>, max: usize, how: Wait) -> io::Result<()> {
        self.queue.wait(out, max, how)
    }

    fn wake(&self) {
        self.queue.wake();
    }

    fn wakes_for_each(&self) -> bool {
        true
    }

    fn set_timer(&self, at: Option<Time>) {
        self.queue.set_timer(at);
    }

    fn entropy(&self) -> u64 {
        self.queue.entropy()
    }
}

impl Kernel for Uring {
    const SEND_FLAGS: SendFlags = Epoll::SEND_FLAGS;
    const SENDS_TOGETHER: bool = true;

    fn watch(&self, token: Token, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.queue.watch(token, fd)
    }

    fn take_waiting(
        listener: BorrowedFd<'_>,
        options: &SocketOptions,
    ) -> io::Result<(OwnedFd, Option<SocketAddrAny>)> {
        Epoll::take_waiting(listener, options)
    }

    fn break_off(socket: &socket2::Socket) -> io::Result<()> {
        Epoll::break_off(socket)
    }

    fn is_gone(error: &io::Error) -> bool {
        Epoll::is_gone(error)
    }

    fn send_batch(&self, writes: &mut [Write<'_>]) {
        let made = if current::is_worker() {
            by_ring(writes)
        } else {
            0
        };
        let (by_ring, rest) = writes.split_at_mut(made);
        let interrupted = |write: &&mut Write<'_>| {
            let error = write.wrote.as_ref().err();
            error.is_some_and(|error| error.kind() == io::ErrorKind::Interrupted)
        };
        let again = by_ring.iter_mut().filter(interrupted);
        for write in again.chain(rest) {
            write.wrote = self.send(write.socket, write.from);
        }
    }
}
