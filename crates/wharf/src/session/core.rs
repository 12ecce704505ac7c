//! What a session is made of. `flow/` moves it along; `session/mod.rs` is its handle.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::deadlines::Deadlines;
use super::lazy::Lazy;
use super::queue::{CloseHow, Entry, SendQueue};
use super::word::{self, Word};
use super::{Job, SessionId};
use crate::error::{CloseReason, Error, ErrorKind, Result};
use crate::handler::Handler;
use crate::limits::input::Meter;
use crate::limits::memory::grains;
use crate::network::{Link, NetworkCore};
use crate::port::{GATHER_MAX, Served, Socket, Sockets, Token};
use crate::time::Time;

/// A session. The word says who may lock what: the holder of the turn right `turn`, the holder of
/// the flush right `flush`; both locks are therefore never waited for. `out` and `mailbox` are
/// short critical sections without a system call inside.
pub(crate) struct SessionCore<H: Handler> {
    pub(crate) id: SessionId,
    pub(crate) token: Token,
    pub(crate) net: Arc<NetworkCore<H>>,
    /// The client link that this connection serves.
    pub(crate) link: Option<Arc<Link<H>>>,
    pub(crate) word: Word,
    /// Where its turns queue; changed under the run queue's lock.
    pub(crate) lane: AtomicU8,
    pub(crate) turn: Mutex<TurnState<H::State>>,
    pub(crate) flush: Mutex<FlushState>,
    pub(crate) out: Mutex<SendQueue>,
    /// Mirrors of `out`'s counts, for looks without the lock.
    queued_bytes: AtomicUsize,
    queued_frames: AtomicU32,
    /// Grains of memory in what is not decoded, and in the mailbox.
    kept: AtomicU32,
    posted: AtomicU32,
    /// The list of a turn that it joined last and is still on; 0 for none.
    pub(crate) gathered_by: AtomicUsize,
    pub(crate) mailbox: Mutex<Mailbox<H>>,
    pub(crate) deadlines: Deadlines,
    pub(crate) counts: SessionCounts,
    /// Behind a balancer the client, once its PROXY header has come.
    peer: Mutex<SocketAddr>,
}

/// Jobs posted and not run.
pub(crate) struct Mailbox<H: Handler> {
    pub(crate) jobs: Lazy<Job<H>>,
    /// Of the jobs, at most so many; what they own elsewhere is not known.
    bytes: u32,
    pub(crate) closed: bool,
}

impl<H: Handler> Mailbox<H> {
    pub(crate) fn push(&mut self, job: Job<H>) {
        self.bytes = self.bytes.saturating_add(bytes_of(&job));
        self.jobs.push_back(job);
    }

    fn pop(&mut self) -> Option<Job<H>> {
        let job = self.jobs.pop_front()?;
        self.bytes = self.bytes.saturating_sub(bytes_of(&job));
        Some(job)
    }
}

fn bytes_of<H: Handler>(job: &Job<H>) -> u32 {
    small(size_of::<Job<H>>() + size_of_val(&**job))
}

/// Numbers that are small where it matters: half a word in each session.
pub(crate) fn small(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// What a session has moved; written by the holder of the turn (in) or flush right (out) alone.
#[derive(Debug, Default)]
pub(crate) struct SessionCounts {
    pub(crate) frames_in: AtomicU64,
    pub(crate) bytes_in: AtomicU64,
    pub(crate) frames_out: AtomicU64,
    pub(crate) bytes_out: AtomicU64,
}

/// How far a session has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Our connect is under way.
    Connecting,
    /// The PROXY header has not come whole.
    Preamble,
    /// `on_open` is next.
    Opening,
    /// Serving frames.
    Open,
    /// Callbacks are over; flushing, then waiting for the peer's end.
    Linger,
    /// The socket is closed.
    Closed,
}

/// What the holder of the turn right may touch.
pub(crate) struct TurnState<S> {
    pub(crate) phase: Phase,
    pub(crate) socket: Option<Arc<Socket>>,
    pub(crate) state: Option<S>,
    /// Bytes received and not decoded: a partial frame, or what a budget left.
    pub(crate) partial: Vec<u8>,
    /// How many of them the framing has seen without finding an end.
    pub(crate) seen: u32,
    /// Counted among the sessions of its address.
    pub(crate) admitted: bool,
    /// Counted as a refused connection.
    pub(crate) refused: bool,
    /// The peer's end of stream was read.
    pub(crate) eof: bool,
    /// Our end of stream was sent.
    pub(crate) fin_sent: bool,
    /// What is left of its rates, if it has any.
    pub(crate) meter: Option<Box<Meter>>,
    /// Bytes read and thrown away after the close.
    pub(crate) discarded: u32,
}

/// What the holder of the flush right may touch.
#[derive(Default)]
pub(crate) struct FlushState {
    pub(crate) socket: Option<Arc<Socket>>,
    /// Taken from the queue and not written whole.
    pub(crate) entries: Lazy<Entry>,
    /// Bytes of the first entry that are written.
    pub(crate) skip: usize,
}

impl FlushState {
    /// What is to be written, in order.
    pub(crate) fn slices(&self) -> impl Iterator<Item = IoSlice<'_>> {
        let whole = self.entries.iter().map(|entry| &entry.bytes[..]);
        whole.enumerate().map(|(index, bytes)| {
            let written = if index == 0 { self.skip } else { 0 };
            IoSlice::new(&bytes[written..])
        })
    }

    /// One gathered write of it.
    ///
    /// # Errors
    /// As of [`Sockets::send`].
    pub(crate) fn send(&self, sockets: &dyn Sockets, socket: &Socket) -> io::Result<usize> {
        let mut entries = self.slices();
        let first = entries.next().unwrap_or(IoSlice::new(&[]));
        if self.entries.len() <= 1 {
            return sockets.send(socket, &[first]);
        }
        Self::send_all(sockets, socket, first, entries)
    }

    // Apart, for its large array.
    #[inline(never)]
    fn send_all<'a>(
        sockets: &dyn Sockets,
        socket: &Socket,
        first: IoSlice<'a>,
        entries: impl Iterator<Item = IoSlice<'a>>,
    ) -> io::Result<usize> {
        let mut slices = [IoSlice::new(&[]); GATHER_MAX];
        slices[0] = first;
        let mut count = 1;
        for (slice, entry) in slices[1..].iter_mut().zip(entries) {
            *slice = entry;
            count += 1;
        }
        sockets.send(socket, &slices[..count])
    }
}

/// Adds to a counter whose only writer is the holder of a right.
pub(crate) fn add(counter: &AtomicU64, n: u64) {
    counter.store(counter.load(Ordering::Relaxed) + n, Ordering::Relaxed);
}

impl<H: Handler> SessionCore<H> {
    /// A session around a connected or connecting socket; nobody has queued it yet.
    pub(crate) fn new(
        token: Token,
        net: Arc<NetworkCore<H>>,
        link: Option<Arc<Link<H>>>,
        socket: Socket,
        peer: SocketAddr,
        phase: Phase,
    ) -> Self {
        let socket = Arc::new(socket);
        // There are at most 64.
        let lane = u8::try_from(net.lane).unwrap_or(u8::MAX);
        let bits = match phase {
            Phase::Connecting => word::CONNECTING,
            _ => word::START | word::WRITABLE,
        };
        Self {
            id: SessionId::next(),
            token,
            net,
            link,
            word: Word::new(bits),
            lane: AtomicU8::new(lane),
            turn: Mutex::new(TurnState {
                phase,
                socket: Some(Arc::clone(&socket)),
                state: None,
                partial: Vec::new(),
                seen: 0,
                admitted: phase == Phase::Opening,
                refused: false,
                eof: false,
                fin_sent: false,
                meter: None,
                discarded: 0,
            }),
            flush: Mutex::new(FlushState {
                socket: Some(socket),
                ..FlushState::default()
            }),
            out: Mutex::default(),
            queued_bytes: AtomicUsize::new(0),
            queued_frames: AtomicU32::new(0),
            kept: AtomicU32::new(0),
            posted: AtomicU32::new(0),
            gathered_by: AtomicUsize::new(0),
            mailbox: Mutex::new(Mailbox {
                jobs: Lazy::default(),
                bytes: 0,
                closed: false,
            }),
            deadlines: Deadlines::default(),
            counts: SessionCounts::default(),
            peer: Mutex::new(peer),
        }
    }

    /// The peer, as the user means it: behind a balancer, the client.
    pub(crate) fn peer(&self) -> SocketAddr {
        *self.peer.lock()
    }

    /// The PROXY header has come.
    pub(crate) fn set_peer(&self, client: SocketAddr) {
        *self.peer.lock() = client;
    }

    /// Reasons appear: queues a turn if they make one due.
    pub(crate) fn raise(self: &Arc<Self>, reasons: u32, now: Time) {
        if self.word.raise(reasons) {
            self.net.turns.push_turn(self.as_served(), now);
        }
    }

    pub(crate) fn as_served(self: &Arc<Self>) -> Arc<dyn Served> {
        Arc::<Self>::clone(self)
    }

    /// Has its turns run in this lane of its port or pool, from the next one on (R7).
    pub(crate) fn set_lane(self: &Arc<Self>, name: &str) -> Result<()> {
        let turns = &self.net.turns;
        let Some(lane) = turns.lane_named(name) else {
            let message = format!(
                "session {} of network \"{}\": \"{}\" has no lane \"{name}\"; it has {}",
                self.id,
                self.net.name,
                turns.name,
                turns.lane_names().join(", ")
            );
            return Err(Error::new(ErrorKind::Config, message));
        };
        let to = u8::try_from(lane).unwrap_or(u8::MAX);
        let item = Arc::as_ptr(self).cast::<()>();
        turns.relane(item, lane, || {
            let from = self.lane.swap(to, Ordering::Relaxed);
            // In its own turn, after a login say, it stands in no queue: nothing to look through.
            self.word.is_queued().then_some(usize::from(from))
        });
        Ok(())
    }

    /// Asks for the close; only the owner, in its turn, carries it out (R8).
    pub(crate) fn close(self: &Arc<Self>, how: CloseHow, reason: CloseReason) {
        let mut bits = word::CLOSING;
        {
            let mut out = self.out.lock();
            if !out.close(how, reason) {
                return;
            }
            self.word.mark(word::SHUT);
            if how == CloseHow::Abort {
                self.word.mark(word::ABORTED);
                bits |= word::TIMER;
            }
        }
        if how == CloseHow::Abort {
            self.break_connection();
        }
        self.raise(bits, self.net.port.now());
    }

    /// Breaks the connection at once, unless a flush is under way: that one breaks it when it ends.
    /// The descriptor stays: a turn that reads from it right now must not meet a stranger's.
    pub(crate) fn break_connection(&self) {
        if let Some(flush) = self.flush.try_lock()
            && let Some(socket) = &flush.socket
        {
            self.net.sockets.disconnect(socket);
        }
    }

    /// One more or one less pause guard. The bit moves under the queue's lock, so that it agrees
    /// with the count whatever the threads do.
    pub(crate) fn pause(self: &Arc<Self>, more: bool) {
        let resumed = {
            let mut out = self.out.lock();
            if more {
                out.pauses += 1;
                self.word.mark(word::PAUSED);
                false
            } else {
                out.pauses -= 1;
                out.pauses == 0 && self.word.lower(word::PAUSED)
            }
        };
        if resumed {
            let now = self.net.port.now();
            self.net.turns.push_turn(self.as_served(), now);
        }
    }

    /// Bytes and frames that waited in `out` a moment ago.
    pub(crate) fn queued(&self) -> (usize, usize) {
        let bytes = self.queued_bytes.load(Ordering::Relaxed);
        let frames = self.queued_frames.load(Ordering::Relaxed);
        (bytes, frames as usize)
    }

    /// Under the queue's lock: shows its counts to those who look without it.
    pub(crate) fn mirror(&self, queue: &SendQueue) {
        let before = self.queue_grains();
        self.queued_bytes.store(queue.bytes(), Ordering::Relaxed);
        self.queued_frames
            .store(small(queue.frames()), Ordering::Relaxed);
        self.note_memory(before, self.queue_grains());
    }

    /// Grains of memory in the send queue.
    pub(crate) fn queue_grains(&self) -> usize {
        let (bytes, frames) = self.queued();
        grains(bytes + frames * size_of::<Entry>())
    }

    /// The holder of the turn keeps so many bytes undecoded, and may be refused to.
    pub(crate) fn keep(self: &Arc<Self>, bytes: usize) {
        let (before, after) = (self.kept_grains(), grains(bytes));
        if before != after {
            self.kept.store(small(after), Ordering::Relaxed);
            self.note_memory(before, after);
            if after > before && self.net.memory.refuses(after) {
                self.close(CloseHow::Abort, CloseReason::MemoryCeiling);
            }
        }
    }

    fn kept_grains(&self) -> usize {
        self.kept.load(Ordering::Relaxed) as usize
    }

    /// Grains of memory in the mailbox.
    pub(crate) fn posted_grains(&self) -> usize {
        self.posted.load(Ordering::Relaxed) as usize
    }

    /// Under the mailbox's lock: counts what it holds now.
    pub(crate) fn note_mailbox(&self, mailbox: &Mailbox<H>) {
        let (before, after) = (self.posted_grains(), grains(mailbox.bytes as usize));
        self.posted.store(small(after), Ordering::Relaxed);
        self.note_memory(before, after);
    }

    /// Takes the first job.
    pub(crate) fn take_job(&self) -> Option<Job<H>> {
        let mut mailbox = self.mailbox.lock();
        let job = mailbox.pop();
        self.note_mailbox(&mailbox);
        job
    }

    /// Takes all jobs; no more are accepted.
    pub(crate) fn take_jobs(&self) -> Lazy<Job<H>> {
        let mut mailbox = self.mailbox.lock();
        mailbox.closed = true;
        mailbox.bytes = 0;
        self.note_mailbox(&mailbox);
        std::mem::take(&mut mailbox.jobs)
    }

    fn note_memory(&self, before: usize, after: usize) {
        if before != after {
            self.net.memory.moved(before, after);
        }
    }

    /// Grains of memory in all of it.
    pub(crate) fn held_grains(&self) -> usize {
        self.queue_grains() + self.kept_grains() + self.posted_grains()
    }

    /// The close that was asked for.
    pub(crate) fn closing(&self) -> Option<(CloseHow, CloseReason)> {
        self.out.lock().closing().cloned()
    }

    /// Whether reading is held back by a guard, the own send queue or the rate.
    pub(crate) fn reading_blocked(&self) -> bool {
        self.word.has(word::HELD_BACK)
    }

    /// Makes the next look at the deadlines happen no later than they ask.
    pub(crate) fn arm_deadlines(&self, now: Time) {
        let next = match self.deadlines.look(&self.net.options.timeouts, now) {
            Ok(_) => now,
            Err(next) => next,
        };
        if next != Time::NEVER {
            self.net.port.arm(self.token, next);
        }
    }
}

impl<H: Handler> std::fmt::Debug for SessionCore<H> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("id", &self.id)
            .field("network", &self.net.name)
            .field("peer", &self.peer())
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, target_pointer_width = "64"))]
mod tests {
    use super::*;
    use crate::handler::Nothing;

    /// What thousands of idle sessions keep is mostly this.
    #[test]
    fn a_session_is_small() {
        assert!(size_of::<SessionCore<Nothing>>() <= 344);
    }
}
