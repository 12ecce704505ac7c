//! The ring as safe calls: every byte that the kernel may touch is owned here until it is done.
#![expect(
    unsafe_code,
    reason = "submissions, the pool and new descriptors: all of it is in this file"
)]

use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::squeue::Entry;
use io_uring::types::{BufRingEntry, Fd};
use io_uring::{IoUring, cqueue, opcode};

/// Submissions of one enter: a broadcast to a thousand is one.
const SUBMISSIONS: u32 = 1024;
const COMPLETIONS: u32 = 16 * 1024;

/// The pool that receives share: small enough to stay in the L2 cache, as the kernel goes round in
/// it, with buffers that take a burst. 256 buffers of 8 KiB and 64 of 16 KiB did as well, 8,192 of
/// 2 KiB cost a quarter more.
const BUFFERS: u16 = 128;
const BUFFER_BYTES: usize = 16 * 1024;
const GROUP: u16 = 0;

/// `MSG_WAITALL`: the kernel goes on with a short send by itself.
const WHOLE: i32 = 0x100;
const NO_SIGNAL: i32 = 0x4000;

/// What a completion belongs to: the low bits of its number, the connection's slot above them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Accept,
    Recv,
    Send,
    Cancel,
}

const KINDS: [Kind; 4] = [Kind::Accept, Kind::Recv, Kind::Send, Kind::Cancel];

pub struct Completion {
    pub kind: Kind,
    pub slot: usize,
    /// Bytes or a descriptor; below 0 the number of an error.
    pub result: i32,
    /// The multishot request goes on.
    pub more: bool,
    /// The buffer of the pool that was filled.
    pub buffer: Option<u16>,
}

pub struct Ring {
    ring: IoUring,
    pool: Pool,
    /// Sends in the kernel's hands, by slot. Not freed with the ring: the kernel may still read
    /// them while it takes the ring apart.
    sending: ManuallyDrop<Vec<Vec<u8>>>,
}

impl Ring {
    pub fn new() -> io::Result<Self> {
        let ring: IoUring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_no_sqarray()
            .setup_submit_all()
            .setup_cqsize(COMPLETIONS)
            .build(SUBMISSIONS)?;
        let pool = Pool::new();
        let entries = pool.entries as u64;
        // SAFETY: `Pool::new` leaks memory for BUFFERS entries, so it outlives every ring.
        unsafe {
            ring.submitter()
                .register_buf_ring_with_flags(entries, BUFFERS, GROUP, 0)
        }?;
        Ok(Self {
            ring,
            pool,
            sending: ManuallyDrop::new(Vec::new()),
        })
    }

    /// Accepts until it is told not to: one completion a connection.
    pub fn accept(&mut self, listener: BorrowedFd<'_>) -> io::Result<()> {
        let entry = opcode::AcceptMulti::new(fd(listener)).build();
        self.push(entry, Kind::Accept, 0)
    }

    /// Receives into the pool until it is cancelled: one completion a burst.
    pub fn recv(&mut self, slot: usize, socket: BorrowedFd<'_>) -> io::Result<()> {
        let entry = opcode::RecvMulti::new(fd(socket), GROUP).build();
        self.push(entry, Kind::Recv, slot)
    }

    pub fn cancel_recv(&mut self, slot: usize) -> io::Result<()> {
        let entry = opcode::AsyncCancel::new(number(Kind::Recv, slot)).build();
        self.push(entry, Kind::Cancel, slot)
    }

    /// Sends `bytes`, which come back from [`sent`](Self::sent). One send a slot at a time.
    pub fn send(&mut self, slot: usize, socket: BorrowedFd<'_>, bytes: Vec<u8>) -> io::Result<()> {
        if self.sending.len() <= slot {
            self.sending.resize_with(slot + 1, Vec::new);
        }
        let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        let entry = opcode::Send::new(fd(socket), bytes.as_ptr(), length)
            .flags(WHOLE | NO_SIGNAL)
            .build();
        // A vector's bytes stay where they are when the vector is moved.
        self.sending[slot] = bytes;
        self.push(entry, Kind::Send, slot)
    }

    /// The bytes of a send that completed.
    pub fn sent(&mut self, slot: usize) -> Vec<u8> {
        std::mem::take(&mut self.sending[slot])
    }

    /// What the kernel has put into a buffer, which must go [back](Self::give_back).
    pub fn received(&self, buffer: u16, bytes: usize) -> &[u8] {
        self.pool.bytes(buffer, bytes)
    }

    pub fn give_back(&mut self, buffer: u16) {
        self.pool.give_back(buffer);
    }

    /// Submits all there is, waits for a completion, and puts those there are into `done`.
    pub fn enter(&mut self, done: &mut Vec<Completion>) -> io::Result<()> {
        match self.ring.submit_and_wait(1) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        done.extend(self.ring.completion().map(|entry| {
            let (number, flags) = (entry.user_data(), entry.flags());
            Completion {
                kind: KINDS[(number & 3) as usize],
                slot: usize::try_from(number >> 2).unwrap_or(usize::MAX),
                result: entry.result(),
                more: cqueue::more(flags),
                buffer: cqueue::buffer_select(flags),
            }
        }));
        Ok(())
    }

    fn push(&mut self, entry: Entry, kind: Kind, slot: usize) -> io::Result<()> {
        let entry = entry.user_data(number(kind, slot));
        loop {
            // SAFETY: what an entry points to is in `sending` until its completion was taken
            // (`send`), or in the pool, which is never freed; the others point to nothing.
            if unsafe { self.ring.submission().push(&entry) }.is_ok() {
                return Ok(());
            }
            self.ring.submit()?;
        }
    }
}

/// The new connection of an accept's completion.
pub fn accepted(completion: &Completion) -> io::Result<OwnedFd> {
    if completion.kind != Kind::Accept || completion.result < 0 {
        return Err(io::Error::from_raw_os_error(-completion.result));
    }
    // SAFETY: the kernel has just opened it for this completion, which is handled once.
    Ok(unsafe { OwnedFd::from_raw_fd(completion.result as RawFd) })
}

fn fd(socket: BorrowedFd<'_>) -> Fd {
    Fd(socket.as_raw_fd())
}

fn number(kind: Kind, slot: usize) -> u64 {
    (slot as u64) << 2 | kind as u64
}

/// A page, because the kernel wants the ring of buffers to start at one.
#[repr(C, align(4096))]
struct Page([u8; 4096]);

/// The buffers that receives share, and the ring in which the kernel finds the free ones.
struct Pool {
    entries: *mut BufRingEntry,
    buffers: *mut u8,
    tail: u16,
}

impl Pool {
    fn new() -> Self {
        let page: &'static mut Page = Box::leak(Box::new(Page([0; 4096])));
        let buffers = vec![0_u8; usize::from(BUFFERS) * BUFFER_BYTES];
        let mut pool = Self {
            entries: page.0.as_mut_ptr().cast(),
            buffers: Box::leak(buffers.into_boxed_slice()).as_mut_ptr(),
            tail: 0,
        };
        const { assert!(size_of::<BufRingEntry>() * BUFFERS as usize <= 4096) };
        (0..BUFFERS).for_each(|buffer| pool.give_back(buffer));
        pool
    }

    fn bytes(&self, buffer: u16, bytes: usize) -> &[u8] {
        assert!(buffer < BUFFERS && bytes <= BUFFER_BYTES);
        // SAFETY: in bounds as just asserted; leaked in `new`, so never freed.
        let start = unsafe { self.buffers.add(usize::from(buffer) * BUFFER_BYTES) };
        // SAFETY: initialised in `new`, and ours until it is given back, which takes `&mut self`.
        unsafe { std::slice::from_raw_parts(start, bytes) }
    }

    fn give_back(&mut self, buffer: u16) {
        assert!(buffer < BUFFERS);
        let place = usize::from(self.tail % BUFFERS);
        // SAFETY: in bounds as just asserted.
        let start = unsafe { self.buffers.add(usize::from(buffer) * BUFFER_BYTES) };
        // SAFETY: below BUFFERS, for which `new` has the room, zeroed.
        let entry = unsafe { &mut *self.entries.add(place) };
        entry.set_addr(start as u64);
        entry.set_len(BUFFER_BYTES as u32);
        entry.set_bid(buffer);
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: it points into the first entry, which `new` has made.
        let tail = unsafe { BufRingEntry::tail(self.entries) };
        // SAFETY: aligned as a field is, never freed, and the kernel only reads it, as an atomic.
        unsafe { AtomicU16::from_ptr(tail.cast_mut()) }.store(self.tail, Ordering::Release);
    }
}
