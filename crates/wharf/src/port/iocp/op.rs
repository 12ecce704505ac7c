//! Operations in the system's hands: what is lent to it, and how it comes back.
//!
//! An [`Op`] holds its OVERLAPPED and all memory that the system may touch for it. Issuing lends
//! the system one reference of the op; the packet brings that reference back, and an immediate
//! refusal, after which no packet comes, gives it back at once. So the memory lives as long as
//! either side may touch it, and a packet that another worker takes before the issuing call has
//! returned finds a whole op. The issuing call changes the op again only if it was refused, and
//! its caller has a reference of its own.
//!
//! `in_flight` is the right to write to the OVERLAPPED: taken by [`Op::issue`], given back when the
//! packet was read. Every op that the system took brings exactly one packet, also if it was done
//! at once, because no socket of ours skips its port on success.
#![allow(unsafe_code, reason = "lends memory to the system and takes it back")]

use std::cell::UnsafeCell;
use std::os::windows::io::{AsHandle, AsSocket, BorrowedSocket, OwnedHandle};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::Mutex;
use windows_sys::Win32::System::IO::{OVERLAPPED, OVERLAPPED_ENTRY};

use super::listener::Hall;
use super::status;
use super::stream::Stream;
use super::sys::{self, ADDRESSES_BYTES, Code};

/// Packets of one look at the port, on the stack of the worker that waits.
const PACKETS: usize = 64;

/// A completion port. All that comes out of it are our ops' packets and posts without one.
#[derive(Debug)]
pub(super) struct Port(OwnedHandle);

impl Port {
    /// A new one.
    pub(super) fn open(concurrency: u32) -> std::io::Result<Self> {
        sys::create_port(concurrency).map(Self)
    }

    /// Has the socket's packets come here.
    pub(super) fn associate(&self, socket: BorrowedSocket<'_>) -> std::io::Result<()> {
        sys::associate(self.0.as_handle(), socket)
    }

    /// Queues a packet that belongs to no op.
    pub(super) fn post(&self) -> Result<(), Code> {
        sys::post(self.0.as_handle())
    }

    /// Takes at most `max` packets and hands over the ops that they end. Returns whether a post
    /// was among them.
    pub(super) fn harvest(
        &self,
        max: usize,
        timeout_ms: u32,
        mut each: impl FnMut(Completion),
    ) -> Result<Harvest, Code> {
        let mut entries = [OVERLAPPED_ENTRY::default(); PACKETS];
        let room = &mut entries[..max.clamp(1, PACKETS)];
        let taken = match sys::dequeue(self.0.as_handle(), room, timeout_ms) {
            Ok(taken) => taken,
            Err(status::TIMEOUT) => 0,
            Err(code) => return Err(code),
        };
        let mut posted = false;
        for entry in &entries[..taken] {
            // SAFETY: the entry came out of this port once, just now.
            match unsafe { Completion::of(entry) } {
                Some(completion) => each(completion),
                None => posted = true,
            }
        }
        Ok(Harvest { taken, posted })
    }
}

/// What one look at the port brought.
pub(super) struct Harvest {
    /// Packets of all kinds.
    pub(super) taken: usize,
    /// A post was among them.
    pub(super) posted: bool,
}

/// What an op is for, and whom its end concerns.
pub(super) enum Body {
    /// A zero-byte receive: it ends when there is something to read. Reused.
    Recv(Arc<Stream>),
    /// Bytes taken from `send` that the socket had no room for.
    Send(Arc<Stream>, Box<[u8]>),
    /// A connect, and the receive to arm once it works.
    Connect(Arc<Stream>, Arc<Op>, Box<socket2::SockAddr>),
    /// An accept: the socket it fills, and room for the addresses.
    Accept(Arc<Hall>, Mutex<Option<socket2::Socket>>, Box<Addresses>),
}

/// Written by the system while its accept is under way.
pub(super) struct Addresses(UnsafeCell<[u8; ADDRESSES_BYTES]>);

// SAFETY: plain bytes; who may touch them when is `Op`'s rule of `in_flight`.
unsafe impl Sync for Addresses {}

/// One operation. `repr(C)`: a packet's pointer to `overlapped` is the pointer to the op.
#[repr(C)]
pub(super) struct Op {
    overlapped: UnsafeCell<OVERLAPPED>,
    /// A receive's flags: the system may write them as late as it writes the OVERLAPPED.
    flags: UnsafeCell<u32>,
    in_flight: AtomicBool,
    /// Counts the ops that are not freed, for whoever must outlive them.
    alive: Arc<AtomicUsize>,
    pub(super) body: Body,
}

// SAFETY: OVERLAPPED holds pointers, but those of ours are null; the op is written to by the system
// and by the holder of `in_flight` alone.
unsafe impl Send for Op {}
// SAFETY: as above.
unsafe impl Sync for Op {}

impl std::fmt::Debug for Op {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = match self.body {
            Body::Recv(_) => "recv",
            Body::Send(..) => "send",
            Body::Connect(..) => "connect",
            Body::Accept(..) => "accept",
        };
        let in_flight = self.in_flight.load(Ordering::Relaxed);
        write!(f, "Op({kind}, in flight: {in_flight})")
    }
}

impl Op {
    /// An op that is not under way.
    pub(super) fn new(body: Body, alive: &Arc<AtomicUsize>) -> Arc<Self> {
        alive.fetch_add(1, Ordering::Relaxed);
        Arc::new(Self {
            overlapped: UnsafeCell::default(),
            flags: UnsafeCell::default(),
            in_flight: AtomicBool::new(false),
            alive: Arc::clone(alive),
            body,
        })
    }

    /// The body of an accept into `socket`.
    pub(super) fn accept_body(hall: Arc<Hall>, socket: socket2::Socket) -> Body {
        let addresses = Addresses(UnsafeCell::new([0; ADDRESSES_BYTES]));
        Body::Accept(hall, Mutex::new(Some(socket)), Box::new(addresses))
    }

    /// Whether the system has it.
    pub(super) fn is_in_flight(&self) -> bool {
        self.in_flight.load(Ordering::Acquire)
    }

    /// Issues the op on the socket (of an accept: the listener), unless it is under way already,
    /// which is as good. A connect is given ConnectEx.
    ///
    /// # Errors
    /// What the system refused it with; then no packet comes.
    pub(super) fn issue(
        self: &Arc<Self>,
        socket: BorrowedSocket<'_>,
        connect_ex: Option<sys::ConnectEx>,
    ) -> Result<(), Code> {
        // Acquire: what the last packet's reader did to the op is over.
        if self.in_flight.swap(true, Ordering::Acquire) {
            return Ok(());
        }
        let lent = Arc::into_raw(Arc::clone(self));
        // The first field (`repr(C)`), by a pointer that may reach the whole op.
        let overlapped = lent.cast_mut().cast::<OVERLAPPED>();
        // SAFETY: `in_flight` was taken above: neither the system nor anybody else uses it now.
        unsafe { overlapped.write(OVERLAPPED::default()) };
        let issued = match &self.body {
            Body::Recv(_) => {
                let flags = self.flags.get();
                // SAFETY: as above.
                unsafe { flags.write(0) };
                // SAFETY: `lent` keeps the op, with OVERLAPPED and flags, until its packet is
                // taken.
                unsafe { sys::recv_zero(socket, flags, overlapped) }
            }
            Body::Send(_, bytes) => {
                // SAFETY: as above; the bytes are the op's and never change.
                unsafe { sys::send(socket, bytes, overlapped) }
            }
            Body::Connect(_, _, to) => match connect_ex {
                // SAFETY: as above; the address is the op's and never changes.
                Some(connect_ex) => unsafe { sys::connect(connect_ex, socket, to, overlapped) },
                None => Err(status::RESET),
            },
            Body::Accept(_, accepted, addresses) => match &*accepted.lock() {
                Some(accepted) => {
                    let into = addresses.0.get().cast::<u8>();
                    let accepted = accepted.as_socket();
                    // SAFETY: as above; room and socket are the op's, and while it is in flight
                    // nobody takes the socket (`take_accepted`).
                    unsafe { sys::accept_ex(socket, accepted, into, overlapped) }
                }
                None => Err(status::RESET),
            },
        };
        if let Err(code) = issued {
            // SAFETY: refused, so no packet brings this reference back: it is still ours.
            drop(unsafe { Arc::from_raw(lent) });
            self.in_flight.store(false, Ordering::Release);
            return Err(code);
        }
        Ok(())
    }

    /// The socket of an accept that has ended; once.
    pub(super) fn take_accepted(&self) -> Option<(socket2::Socket, Option<std::net::SocketAddr>)> {
        let Body::Accept(_, accepted, addresses) = &self.body else {
            return None;
        };
        if self.is_in_flight() {
            return None;
        }
        let socket = accepted.lock().take()?;
        // SAFETY: not in flight, and an accept is issued once: nobody writes to it any more.
        let bytes = unsafe { &*addresses.0.get() };
        Some((socket, sys::accepted_peer(bytes)))
    }
}

impl Drop for Op {
    fn drop(&mut self) {
        self.alive.fetch_sub(1, Ordering::Release);
    }
}

/// An op that has ended, back from the system.
#[derive(Debug)]
pub(super) struct Completion {
    pub(super) op: Arc<Op>,
    /// 0, or how it failed.
    pub(super) code: Code,
    /// Bytes that were moved.
    pub(super) bytes: usize,
}

impl Completion {
    /// Takes back what the packet brings; `None` if it belongs to no op.
    ///
    /// # Safety
    /// `entry` came out of a port on which only [`Op::issue`] starts operations, and is given to
    /// this once.
    unsafe fn of(entry: &OVERLAPPED_ENTRY) -> Option<Self> {
        if entry.lpOverlapped.is_null() {
            return None;
        }
        let op = entry.lpOverlapped.cast_const().cast::<Op>();
        // SAFETY: the pointer is to the first field of the op that `issue` lent (`repr(C)`), with
        // the reference that this packet brings back.
        let op = unsafe { Arc::from_raw(op) };
        // SAFETY: the packet is here, so the system has done with it; `in_flight` is still set.
        let status = unsafe { (*op.overlapped.get()).Internal };
        // An NTSTATUS, in 32 bits of a pointer's size.
        let status = u32::try_from(status & 0xFFFF_FFFF).unwrap_or(u32::MAX);
        op.in_flight.store(false, Ordering::Release);
        Some(Self {
            op,
            code: status::code_of(status.cast_signed()),
            bytes: entry.dwNumberOfBytesTransferred as usize,
        })
    }
}
