//! The ring itself: sends go in, and before the call returns all of them are done.
#![allow(
    unsafe_code,
    reason = "the kernel is handed pointers to what is to be sent"
)]

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;

use io_uring::{IoUring, Probe, opcode, squeue, types};

use crate::port::contract::{BATCH_MAX, Write};
use crate::say::say;

/// Places for sends: a whole batch goes in at once, and the kernel makes twice as many for what
/// they become, so that none overflows.
#[expect(clippy::cast_possible_truncation, reason = "a small constant")]
const ENTRIES: u32 = BATCH_MAX as u32;

/// Times that the kernel may take nothing and report nothing while it holds sends of ours.
const PATIENCE: usize = 1 << 20;

/// A ring of the thread that opened it. Between two calls it is empty: nothing was put in that the
/// kernel has not taken, nothing taken that it has not reported.
pub(super) struct Ring {
    /// `None` once it is of no use any more.
    ring: Option<IoUring>,
    /// Of gathered writes. It never grows: the kernel reads it where it lies.
    headers: Vec<libc::msghdr>,
    /// A child that was forked shares the ring's memory, and must not touch it.
    process: u32,
}

/// Builds a ring with some flags; the best of them first.
type Build = fn() -> io::Result<IoUring>;

const BUILDS: &[Build] = &[
    // Linux 6.6. One thread submits, and completions do not interrupt it.
    || {
        let mut builder = IoUring::builder();
        let builder = builder.setup_single_issuer().setup_defer_taskrun();
        builder.setup_submit_all().setup_no_sqarray().build(ENTRIES)
    },
    // Linux 6.1.
    || {
        let mut builder = IoUring::builder();
        let builder = builder.setup_single_issuer().setup_defer_taskrun();
        builder.setup_submit_all().build(ENTRIES)
    },
    // Linux 5.6: what is missing makes it slower, not wrong.
    || IoUring::builder().build(ENTRIES),
];

impl Ring {
    /// A ring of this thread.
    ///
    /// # Errors
    /// What the system said.
    pub(super) fn open() -> io::Result<Self> {
        let mut builds = BUILDS.iter();
        let ring = loop {
            let Some(build) = builds.next() else {
                return Err(io::ErrorKind::Unsupported.into());
            };
            match build() {
                Ok(ring) => break ring,
                // An older kernel does not know a flag.
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {}
                Err(error) => return Err(error),
            }
        };
        Ok(Self {
            ring: Some(ring),
            headers: Vec::with_capacity(BATCH_MAX),
            process: std::process::id(),
        })
    }

    /// As if another process had opened it.
    #[cfg(test)]
    pub(super) fn set_process(&mut self, process: u32) {
        self.process = process;
    }

    /// Whether this kernel can send by rings, and this process may.
    ///
    /// # Errors
    /// What is missing, or what the system said.
    pub(super) fn check(mut self) -> io::Result<()> {
        let Some(ring) = &mut self.ring else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        let mut probe = Probe::new();
        ring.submitter().register_probe(&mut probe)?;
        let needed = [
            ("SEND", opcode::Send::CODE),
            ("SENDMSG", opcode::SendMsg::CODE),
        ];
        for (name, code) in needed {
            if !probe.is_supported(code) {
                let missing = format!("this kernel's rings have no IORING_OP_{name}");
                return Err(io::Error::new(io::ErrorKind::Unsupported, missing));
            }
        }
        // A filter of system calls may allow the ring and refuse its use.
        // SAFETY: a no-op names no memory.
        let pushed = unsafe { ring.submission().push(&opcode::Nop::new().build()) };
        pushed.map_err(io::Error::other)?;
        let mut ended = Ok(0);
        match carry(ring, 1, |_, result| ended = result) {
            (1, None) => ended.map(|_| ()),
            (_, error) => Err(error.unwrap_or_else(|| io::ErrorKind::Unsupported.into())),
        }
    }

    /// Makes the writes in one system call, mostly; at most [`BATCH_MAX`]. How many it made, from
    /// the first on; and, if that is not all, why: then the ring is closed.
    pub(super) fn send(&mut self, writes: &mut [Write<'_>]) -> (usize, Option<io::Error>) {
        if std::process::id() != self.process {
            self.ring = None;
        }
        let Some(ring) = &mut self.ring else {
            return (0, Some(io::ErrorKind::Unsupported.into()));
        };
        self.headers.clear();
        let mut count = 0;
        for write in writes.iter().take(BATCH_MAX) {
            let Some(entry) = entry(write, &mut self.headers) else {
                break;
            };
            // SAFETY: the pointers in the entry are to what `writes` borrows until after `carry`,
            // which returns only when the kernel is done with all of it, and to `headers`, which
            // has room for a batch and so does not move until the next one.
            let pushed = unsafe { ring.submission().push(&entry.user_data(count)) };
            if pushed.is_err() {
                break;
            }
            count += 1;
        }
        let count = usize::try_from(count).unwrap_or(0);
        let (made, error) = carry(ring, count, |index, result| {
            if let Some(write) = writes.get_mut(index) {
                write.wrote = result;
            }
        });
        if error.is_some() {
            // It may hold entries that the kernel has not taken. It never will.
            self.ring = None;
        }
        (made, error)
    }
}

/// The entry of one write, whose pointers live as long as the write and the headers; `None` for a
/// socket that is none of the system's.
fn entry(write: &Write<'_>, headers: &mut Vec<libc::msghdr>) -> Option<squeue::Entry> {
    const FLAGS: i32 = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    let fd = types::Fd(write.socket.os()?.socket.as_raw_fd());
    if let [one] = write.from {
        let len = u32::try_from(one.len()).unwrap_or(u32::MAX);
        return Some(
            opcode::Send::new(fd, one.as_ptr(), len)
                .flags(FLAGS)
                .build(),
        );
    }
    if headers.len() == headers.capacity() {
        return None;
    }
    // SAFETY: plain numbers and pointers, for all of which zero is a value.
    let mut header: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    // An `IoSlice` is laid out as an `iovec`. The kernel only reads it.
    header.msg_iov = write.from.as_ptr().cast::<libc::iovec>().cast_mut();
    header.msg_iovlen = write.from.len();
    const { assert!(size_of::<IoSlice<'_>>() == size_of::<libc::iovec>()) };
    headers.push(header);
    let last: *const libc::msghdr = headers.last()?;
    Some(
        opcode::SendMsg::new(fd, last)
            .flags(FLAGS.cast_unsigned())
            .build(),
    )
}

/// Submits the `count` entries that the ring holds and waits until each that the kernel takes is
/// done, telling `done` how. How many that were, from the first on; and why not all of them.
fn carry(
    ring: &mut IoUring,
    count: usize,
    mut done: impl FnMut(usize, io::Result<usize>),
) -> (usize, Option<io::Error>) {
    let (mut reaped, mut idle) = (0, 0);
    let mut refused = None;
    loop {
        // What the kernel has taken stands in the ring, whatever a call returned.
        let taken = count.saturating_sub(ring.submission().len());
        let before = reaped;
        for entry in ring.completion() {
            reaped += 1;
            let index = usize::try_from(entry.user_data()).unwrap_or(usize::MAX);
            done(index, result_of(entry.result()));
        }
        if reaped >= count {
            return (count, None);
        }
        if reaped >= taken && refused.is_some() {
            return (taken, refused);
        }
        idle = if reaped > before { 0 } else { idle + 1 };
        if idle > PATIENCE {
            // To return would be to take back memory that the kernel may still read.
            say!(error, error = ?refused, "a ring keeps sends that can't wait");
            std::process::abort();
        }
        // The sends do not wait, so they are mostly done when the call that submits them returns,
        // and there is nothing to wait for. Else we must.
        let outstanding = if taken < count { 0 } else { taken - reaped };
        match ring.submit_and_wait(outstanding) {
            Ok(0) if taken < count && reaped >= taken => {
                refused = Some(io::Error::from_raw_os_error(libc::EAGAIN));
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => refused = Some(error),
        }
    }
}

/// What a completion says: a count, or a negative error number.
fn result_of(result: i32) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result))
}
