//! Flush: all that is queued for a session in one gathered write; the rest resumes when the socket
//! takes more. One thread at a time, by the flush right of the word (R9).

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use parking_lot::MutexGuard;

use crate::error::CloseReason;
use crate::handler::Handler;
use crate::port::{GATHER_MAX, Outgoing, Socket, current, work_all};
use crate::session::core::{FlushState, SessionCore, add};
use crate::session::queue::{CloseHow, Entry};
use crate::session::word::{self, FlushEnd};
use crate::stats::NetCounters;
use crate::time::Time;

/// The room that the out buffer of a thread keeps.
const OUT_KEPT: usize = 256 * 1024;

/// Writes of one flush before other work has its turn.
const WRITES_PER_FLUSH: usize = 16;

/// How one attempt went.
enum Wrote {
    /// Everything that was there; the socket takes more.
    All,
    /// The socket is full.
    Blocked,
    /// It takes more, but others want the worker too.
    Enough,
}

/// What who holds a turn has at hand, and so need not lock or look for.
#[derive(Clone, Copy)]
pub(super) struct Own<'a> {
    pub(super) socket: &'a Socket,
    pub(super) counters: &'a NetCounters,
}

/// What writes have brought out.
#[derive(Default)]
struct Sent {
    bytes: usize,
    calls: u64,
    frames: u64,
}

impl Sent {
    /// By one call.
    fn once(bytes: usize, frames: u32) -> Self {
        Self {
            bytes,
            calls: 1,
            frames: u64::from(frames),
        }
    }

    fn add_to(&self, counters: &NetCounters, owned: bool) {
        counters.bytes_out.add_as(owned, self.bytes as u64);
        counters.sends.add_as(owned, self.calls);
        counters.frames_out.add_as(owned, self.frames);
    }
}

impl<H: Handler> SessionCore<H> {
    /// Writes what the running turn of this session has built, if it is one.
    pub(super) fn flush_turn(self: &Arc<Self>, own: Option<Own<'_>>, now: Time) {
        let built = current::with_turn_of(self.id.get(), |turn| {
            let frames = std::mem::take(&mut turn.frames);
            (!turn.out.is_empty()).then(|| (std::mem::take(&mut turn.out), frames))
        });
        let Some((mut out, frames)) = built.flatten() else {
            return;
        };
        self.flush_bytes(own, &out, frames, now);
        out.clear();
        if out.capacity() > OUT_KEPT {
            out = Vec::new();
        }
        current::with_turn_of(self.id.get(), |turn| turn.out = out);
    }

    /// `session.flush()`: own replies, what waits for a tick, and what the turn sent to others.
    pub(crate) fn flush_now(self: &Arc<Self>) {
        let now = self.net.port.now();
        self.flush_turn(None, now);
        self.flush_held(now);
        work_all(current::take_dirty().into_iter(), now);
    }

    /// Writes bytes that are in no queue yet; what the socket does not take becomes the session's.
    fn flush_bytes(self: &Arc<Self>, own: Option<Own<'_>>, out: &[u8], frames: usize, now: Time) {
        let frames_u32 = u32::try_from(frames).unwrap_or(u32::MAX);
        if self.word.has(word::ABORTED | word::DEAD) {
            self.count_lost(frames as u64);
            return;
        }
        if !self.word.begin_flush_direct() {
            let bytes = Bytes::copy_from_slice(out);
            self.take_over(Entry {
                bytes: bytes.into(),
                frames: frames_u32,
            });
            self.flush_queue(now);
            return;
        }
        let counters = own.map(|own| own.counters);
        let wrote = if let Some(own) = own {
            self.write_direct(own.socket, counters, out, frames_u32)
        } else {
            // Out of the lock: no system call is made under one (R9).
            let socket = self.flush.lock().socket.clone();
            socket.map_or(Wrote::All, |socket| {
                self.write_direct(&socket, counters, out, frames_u32)
            })
        };
        self.end_flush(wrote, now);
    }

    /// Under the flush right, which alone may touch what the flush holds.
    #[inline]
    fn write_direct(
        self: &Arc<Self>,
        socket: &Socket,
        counters: Option<&NetCounters>,
        out: &[u8],
        frames: u32,
    ) -> Wrote {
        let first = self.net.sockets.send(socket, &[IoSlice::new(out)]);
        let (sent, error) = match first {
            Ok(n) if n == out.len() => (Sent::once(n, frames), None),
            first => self.write_rest(socket, out, first, frames),
        };
        match counters {
            Some(counters) => {
                self.count_own(&sent);
                sent.add_to(counters, true);
            }
            None => self.count_sent(&sent),
        }
        let Some(error) = error else {
            return Wrote::All;
        };
        if error.kind() == io::ErrorKind::WouldBlock {
            self.keep_rest(&out[sent.bytes..], frames, sent.bytes > 0);
            return Wrote::Blocked;
        }
        self.count_lost(u64::from(frames));
        self.close(CloseHow::Abort, CloseReason::of_io(&error));
        Wrote::All
    }

    /// Writes on after a first call that did not take all of `out`, until it is out or the socket
    /// takes no more.
    #[cold]
    fn write_rest(
        &self,
        socket: &Socket,
        out: &[u8],
        first: io::Result<usize>,
        frames: u32,
    ) -> (Sent, Option<io::Error>) {
        let mut sent = Sent::default();
        let mut wrote = first;
        loop {
            match wrote {
                Ok(n) => {
                    sent.bytes += n;
                    sent.calls += 1;
                }
                Err(error) => return (sent, Some(error)),
            }
            if sent.bytes == out.len() {
                sent.frames = u64::from(frames);
                return (sent, None);
            }
            let rest = IoSlice::new(&out[sent.bytes..]);
            wrote = self.net.sockets.send(socket, &[rest]);
        }
    }

    /// The socket is full: what is left is the flush's.
    fn keep_rest(self: &Arc<Self>, rest: &[u8], frames: u32, progress: bool) {
        let rest = Bytes::copy_from_slice(rest);
        self.stall(progress);
        let mut flush = self.flush.lock();
        let mut queue = self.out.lock();
        queue.account(rest.len(), frames);
        flush.entries.push_back(Entry {
            bytes: rest.into(),
            frames,
        });
        self.mark_pending(&queue);
        drop(queue);
        drop(flush);
        self.may_keep_replies();
    }

    /// Accepted before, and now the queue's: no limit refuses it.
    fn take_over(self: &Arc<Self>, entry: Entry) {
        let mut queue = self.out.lock();
        queue.push_taken(entry);
        self.mark_pending(&queue);
        drop(queue);
        self.may_keep_replies();
    }

    /// What the turn has built is the session's now. If that is too much, it ends.
    fn may_keep_replies(self: &Arc<Self>) {
        if self.net.memory.refuses(self.queue_grains()) {
            self.close(CloseHow::Abort, CloseReason::MemoryCeiling);
        }
    }

    /// Under the queue's lock: the marks agree with what it holds.
    fn mark_pending(&self, queue: &MutexGuard<'_, crate::session::queue::SendQueue>) {
        self.mirror(queue);
        let limits = &self.net.options.send_queue;
        let high = if limits.is_high(queue.bytes(), queue.frames()) {
            word::CHOKED
        } else {
            0
        };
        self.word.mark(word::PENDING | high);
    }

    /// Writes the queue, if there is something and the socket may take it.
    pub(crate) fn flush_queue(self: &Arc<Self>, now: Time) {
        if self.word.begin_flush() {
            let wrote = self.write_queue(&mut self.flush.lock(), &mut { WRITES_PER_FLUSH });
            self.end_flush(wrote, now);
        }
    }

    /// Lets the flush right go, unless more came and fits.
    #[inline]
    fn end_flush(self: &Arc<Self>, wrote: Wrote, now: Time) {
        // Mostly nothing came, and nobody waits.
        let ended = self.let_go(&wrote);
        if ended != Some(FlushEnd::Done) || self.word.has(word::ABORTED) {
            self.flush_on(ended, now);
        }
    }

    /// Goes on from how a write has `ended`; `None`: there is more, but others want the worker too.
    fn flush_on(self: &Arc<Self>, mut ended: Option<FlushEnd>, now: Time) {
        // Shared by all rounds: a sender that never pauses must not keep this thread for ever.
        let mut writes = WRITES_PER_FLUSH;
        while ended == Some(FlushEnd::Again) {
            let wrote = self.write_queue(&mut self.flush.lock(), &mut writes);
            ended = self.let_go(&wrote);
        }
        let queued = match ended {
            None => {
                let queued = self.word.yield_flush();
                if self.word.mark(word::DIRTY) == 0 {
                    self.net.port.push_work(self.as_served());
                }
                queued
            }
            Some(ended) => ended == FlushEnd::Queued,
        };
        if self.word.has(word::ABORTED) {
            // Asked for while this thread was in the way.
            self.break_connection();
        }
        if queued {
            self.net.turns.push_turn(self.as_served(), now);
        }
    }

    /// Lets the flush right go after a write that went like this, unless more came and fits;
    /// `None`, with the right, if it is to be let go for others.
    fn let_go(&self, wrote: &Wrote) -> Option<FlushEnd> {
        match wrote {
            Wrote::Enough => None,
            Wrote::All => Some(self.word.end_flush(true)),
            Wrote::Blocked => Some(self.word.end_flush(false)),
        }
    }

    fn write_queue(self: &Arc<Self>, flush: &mut FlushState, writes: &mut usize) -> Wrote {
        let Some(socket) = flush.socket.take() else {
            self.drop_all(flush);
            return Wrote::All;
        };
        let wrote = self.write_to(&socket, flush, writes);
        flush.socket = Some(socket);
        wrote
    }

    fn write_to(
        self: &Arc<Self>,
        socket: &Socket,
        flush: &mut FlushState,
        writes: &mut usize,
    ) -> Wrote {
        loop {
            let more = || self.word.has(word::PENDING);
            if flush.entries.is_empty() && !(more() && self.refill(flush)) {
                return Wrote::All;
            }
            if self.word.has(word::ABORTED) {
                self.drop_all(flush);
                return Wrote::All;
            }
            if *writes == 0 {
                return Wrote::Enough;
            }
            *writes -= 1;
            let wrote = flush.send(&*self.net.sockets, socket);
            if let Some(ended) = self.attempted(flush, wrote) {
                return ended;
            }
        }
    }

    /// Notes how an attempt to write went; how the flush ended, if it has.
    fn attempted(
        self: &Arc<Self>,
        flush: &mut FlushState,
        wrote: io::Result<usize>,
    ) -> Option<Wrote> {
        match wrote {
            Ok(n) => {
                self.wrote(flush, n);
                None
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.stall(false);
                Some(Wrote::Blocked)
            }
            Err(error) => {
                self.drop_all(flush);
                self.close(CloseHow::Abort, CloseReason::of_io(&error));
                Some(Wrote::All)
            }
        }
    }

    /// The first half of a flush that is one of many: takes the flush right and what there is to
    /// write, up to [`Self::end_write`]. If it needs no write, it has been flushed.
    pub(super) fn begin_write(self: Arc<Self>, now: Time) -> Option<Outgoing> {
        if !self.word.begin_flush() {
            return None;
        }
        let mut flush = self.flush.lock();
        let some = !flush.entries.is_empty() || self.refill(&mut flush);
        if !some || flush.socket.is_none() || self.word.has(word::ABORTED) {
            let wrote = self.write_queue(&mut flush, &mut { WRITES_PER_FLUSH });
            drop(flush);
            self.end_flush(wrote, now);
            return None;
        }
        // Its lock is free meanwhile, its place empty: who tries it must not find the socket.
        let held = std::mem::take(&mut *flush);
        drop(flush);
        Some(Outgoing { owner: self, held })
    }

    /// The second half: the write has ended like this.
    pub(super) fn end_write(
        self: &Arc<Self>,
        held: FlushState,
        wrote: io::Result<usize>,
        now: Time,
    ) {
        let mut flush = self.flush.lock();
        *flush = held;
        let ended = self.attempted(&mut flush, wrote);
        let wrote =
            ended.unwrap_or_else(|| self.write_queue(&mut flush, &mut { WRITES_PER_FLUSH - 1 }));
        drop(flush);
        self.end_flush(wrote, now);
    }

    /// Takes the next entries from the queue; false, and nothing is pending any more, if none.
    fn refill(&self, flush: &mut FlushState) -> bool {
        let mut queue = self.out.lock();
        queue.take(&mut flush.entries, GATHER_MAX);
        if flush.entries.is_empty() {
            debug_assert!(queue.is_empty());
            self.word.take(word::PENDING);
            flush.entries.shrink();
            return false;
        }
        true
    }

    /// `n` bytes of the entries are written: drops whole ones, and reads on below low water.
    fn wrote(self: &Arc<Self>, flush: &mut FlushState, n: usize) {
        self.deadlines.unstalled();
        let mut left = n + flush.skip;
        let mut frames = 0;
        while let Some(first) = flush.entries.front() {
            if left < first.bytes.len() {
                break;
            }
            left -= first.bytes.len();
            frames += first.frames;
            flush.entries.pop_front();
        }
        flush.skip = left;
        self.count_sent(&Sent::once(n, frames));
        let drained = flush.entries.is_empty();
        if drained {
            flush.entries.shrink();
        }
        self.less_queued(|queue| {
            queue.written(n, frames);
            if drained && queue.is_empty() {
                self.word.take(word::PENDING);
            }
        });
    }

    /// Everything that waits is lost: the connection is.
    fn drop_all(self: &Arc<Self>, flush: &mut FlushState) {
        flush.entries.clear();
        flush.skip = 0;
        let mut lost = 0;
        self.less_queued(|queue| lost = queue.clear());
        self.word.take(word::PENDING);
        self.count_lost(lost as u64);
    }

    fn less_queued(self: &Arc<Self>, change: impl FnOnce(&mut crate::session::queue::SendQueue)) {
        let resumed = {
            let mut queue = self.out.lock();
            change(&mut queue);
            self.mirror(&queue);
            let limits = &self.net.options.send_queue;
            limits.is_low(queue.bytes(), queue.frames())
                && self.word.has(word::CHOKED)
                && self.word.lower(word::CHOKED)
        };
        if resumed {
            let now = self.net.port.now();
            self.net.turns.push_turn(self.as_served(), now);
        }
    }

    fn stall(&self, progress: bool) {
        if progress {
            self.deadlines.unstalled();
        }
        // By the clock: a turn may have begun long ago, and the peer had no part in it.
        let now = self.net.port.now();
        if self.deadlines.stalled(now)
            && let Some(limit) = self.net.options.timeouts.write_stall
        {
            self.net.port.arm(self.token, now + limit);
        }
    }

    fn count_sent(&self, sent: &Sent) {
        self.count_own(sent);
        self.net
            .turns
            .count_as_caller(self.net.index, |counters, owned| {
                sent.add_to(counters, owned);
            });
    }

    fn count_own(&self, sent: &Sent) {
        add(&self.counts.bytes_out, sent.bytes as u64);
        add(&self.counts.frames_out, sent.frames);
    }

    pub(super) fn count_lost(&self, frames: u64) {
        if frames > 0 {
            self.net
                .events
                .frames_lost
                .fetch_add(frames, Ordering::Relaxed);
        }
    }
}
