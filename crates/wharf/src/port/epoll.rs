//! Linux: one edge-triggered epoll instance, shared by all workers of the port.
//!
//! Everything is registered once, for all edges, and never modified. The eventfd of `wake` and the
//! timerfd sit in the same instance, edge-triggered too, so neither is ever read: each write and
//! each expiry is a new edge.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{EventfdFlags, Timespec, epoll, eventfd};
use rustix::io::Errno;
use rustix::net::{SendFlags, SocketAddrAny, SocketFlags};
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags};

use super::contract::{Backend, Bits, Ready, SocketOptions, Token, Wait};
use super::unix_socket::Kernel;
use crate::say::say;
use crate::time::Time;

/// The backend.
#[derive(Debug)]
pub(crate) struct Epoll {
    queue: OwnedFd,
    wake: OwnedFd,
    timer: OwnedFd,
}

impl Epoll {
    /// A new queue.
    pub(crate) fn open() -> io::Result<Self> {
        let queue = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let timer = rustix::time::timerfd_create(TimerfdClockId::Monotonic, flags)?;
        let edge = epoll::EventFlags::IN | epoll::EventFlags::ET;
        epoll::add(
            &queue,
            &wake,
            epoll::EventData::new_u64(Token::WAKE.bits()),
            edge,
        )?;
        epoll::add(
            &queue,
            &timer,
            epoll::EventData::new_u64(Token::TIMER.bits()),
            edge,
        )?;
        Ok(Self { queue, wake, timer })
    }
}

/// Room for the reports of one wait, on the stack of the worker that waits.
const EVENTS: usize = 64;

impl Backend for Epoll {
    fn name(&self) -> &'static str {
        "epoll"
    }

    fn now(&self) -> Time {
        super::clock::now()
    }

    fn wait(&self, out: &mut Vec<Ready>, max: usize, how: Wait) -> io::Result<()> {
        let zero = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let timeout = match how {
            Wait::Poll => Some(&zero),
            Wait::Block => None,
        };
        let mut events = [const { std::mem::MaybeUninit::uninit() }; EVENTS];
        let room = &mut events[..max.clamp(1, EVENTS)];
        let (events, _) = match epoll::wait(&self.queue, room, timeout) {
            Ok(events) => events,
            Err(Errno::INTR) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        out.extend(events.iter().map(|event| Ready {
            token: Token::from_bits(event.data.u64()),
            bits: bits_of(event.flags),
        }));
        Ok(())
    }

    fn wake(&self) {
        // Fails only when the counter is at its end: then an edge is pending anyway.
        let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
    }

    fn wakes_for_each(&self) -> bool {
        true
    }

    fn set_timer(&self, at: Option<Time>) {
        let after = match at {
            // Zero would disarm it.
            Some(at) => at.since(self.now()).max(Duration::from_nanos(1)),
            None => Duration::ZERO,
        };
        let zero = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let value = Timespec::try_from(after).unwrap_or(Timespec {
            tv_sec: i64::MAX,
            tv_nsec: 0,
        });
        let spec = Itimerspec {
            it_interval: zero,
            it_value: value,
        };
        let set = rustix::time::timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &spec);
        if let Err(error) = set {
            say!(error, %error, "the port's timer could not be set: deadlines will be late");
        }
    }

    fn entropy(&self) -> u64 {
        // The moment sets processes of one image apart, the number those of one moment.
        fastrand::u64(..) ^ u64::from(std::process::id()) << 32
    }
}

impl Kernel for Epoll {
    const SEND_FLAGS: SendFlags = SendFlags::NOSIGNAL;

    fn watch(&self, token: Token, fd: BorrowedFd<'_>) -> io::Result<()> {
        let flags = epoll::EventFlags::IN
            | epoll::EventFlags::OUT
            | epoll::EventFlags::RDHUP
            | epoll::EventFlags::ET;
        let data = epoll::EventData::new_u64(token.bits());
        Ok(epoll::add(&self.queue, fd, data, flags)?)
    }

    fn take_waiting(
        listener: BorrowedFd<'_>,
        _options: &SocketOptions,
    ) -> io::Result<(OwnedFd, Option<SocketAddrAny>)> {
        // Linux clones the listener's options, TCP_NODELAY included, into what it accepts.
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        Ok(rustix::net::acceptfrom_with(listener, flags)?)
    }

    fn break_off(socket: &socket2::Socket) -> io::Result<()> {
        // connect(AF_UNSPEC) is Linux's way to reset a connection while its descriptor lives.
        Ok(rustix::net::connect_unspec(socket)?)
    }

    fn is_gone(error: &io::Error) -> bool {
        error.kind() == io::ErrorKind::NotConnected
    }
}

/// Written out, because it runs for each report.
fn bits_of(flags: epoll::EventFlags) -> Bits {
    let bit = |flag, bit: Bits| {
        if flags.contains(flag) {
            bit
        } else {
            Bits::default()
        }
    };
    bit(epoll::EventFlags::IN, Bits::READ)
        .with(bit(epoll::EventFlags::OUT, Bits::WRITE))
        .with(bit(epoll::EventFlags::RDHUP, Bits::READ_HANGUP))
        .with(bit(epoll::EventFlags::HUP, Bits::HANGUP))
        .with(bit(epoll::EventFlags::ERR, Bits::ERROR))
}
