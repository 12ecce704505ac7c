//! Looks again at streams for which no packet will come.
//!
//! After READ was reported nothing is pending on a stream until somebody reads it. A session whose
//! reading is paused may stay like that, and the contract still owes it what happens meanwhile:
//! more bytes, the peer's end of stream, a reset. So each such stream is looked at after one or two
//! tenths of a second, then less and less often. (An end behind unread bytes is seen when they are
//! read.) The same rounds try again what the system refused for want of memory, and end the
//! patience with closes that wait for a send.
//!
//! A stream is on the list at most once, and one that is read in time leaves it without a system
//! call: on the way of a frame this costs two flags.
//!
//! A round is made in steps, so that a long list keeps no worker from its turns: whoever looks at
//! the port next goes on with it.

use std::collections::VecDeque;
use std::os::windows::io::AsSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::op::{Body, Op};
use super::shared::Shared;
use super::stream::{self, FAILED, Stream};
use super::{status, sys};
use crate::port::clock;
use crate::port::contract::Bits;
use crate::time::Time;

/// Between two rounds, if there is anything on the list.
const ROUND: Duration = Duration::from_millis(100);
/// Rounds between two looks at a stream that stays unread, at most.
const PACE_MAX: u8 = 16;
/// Streams of one step that the system is asked about, in about five calls each.
pub(super) const LOOKS_PER_STEP: usize = 32;
/// Streams of one step, most of which are found to be read or not due.
const STREAMS_PER_STEP: usize = 1024;
/// How long a close waits for the bytes that were taken.
const LINGER_MAX: Duration = Duration::from_secs(30);

/// Closes that wait at once; with one more, the oldest is reset. Each holds a socket and up to
/// 64 KiB.
const LINGERING_MAX: usize = 1024;

/// The receive is to be armed.
const ARM: u8 = 1;
/// Whoever found no room is to try again.
const WRITE: u8 = 2;

/// The list of one port.
#[derive(Debug, Default)]
pub(super) struct Watch {
    streams: Mutex<Lists>,
    /// Streams that are closed but for a send, and until when they may be.
    lingering: Mutex<VecDeque<(Time, Arc<Stream>)>>,
}

/// The receives of the streams to look at. Both lists keep their room, so rounds allocate nothing.
#[derive(Debug, Default)]
struct Lists {
    /// In the next round.
    next: Vec<Arc<Op>>,
    /// In the round under way.
    now: Vec<Arc<Op>>,
    is_under_way: bool,
}

/// What a stream notes for its rounds.
#[derive(Debug, Default)]
pub(super) struct Watched {
    /// READ was reported and nobody has read since.
    told: AtomicBool,
    /// On the list.
    listed: AtomicBool,
    /// What the system refused: [`ARM`], [`WRITE`].
    owed: AtomicU8,
    /// Rounds to the next look, and the number after that.
    skip: AtomicU8,
    pace: AtomicU8,
    /// Unread bytes at the last look.
    seen: AtomicU32,
}

impl Watched {
    /// Somebody reads.
    pub(super) fn heard(&self) {
        self.told.store(false, Ordering::SeqCst);
    }

    fn has_work(&self) -> bool {
        self.told.load(Ordering::SeqCst) || self.owed.load(Ordering::SeqCst) != 0
    }

    fn owe(&self, what: u8) {
        self.owed.fetch_or(what, Ordering::SeqCst);
    }
}

impl Watch {
    /// READ was reported of the stream, or is about to be.
    pub(super) fn told(&self, shared: &Shared, recv: &Arc<Op>, stream: &Stream) {
        stream.watched.told.store(true, Ordering::SeqCst);
        self.list(shared, recv, stream);
    }

    /// The system would not take the stream's receive.
    pub(super) fn owe_arm(&self, shared: &Shared, recv: &Arc<Op>, stream: &Stream) {
        stream.watched.owe(ARM);
        self.list(shared, recv, stream);
    }

    /// The system would not take an overlapped send.
    pub(super) fn owe_write(&self, shared: &Shared, recv: &Arc<Op>, stream: &Stream) {
        stream.watched.owe(WRITE);
        self.list(shared, recv, stream);
    }

    fn list(&self, shared: &Shared, recv: &Arc<Op>, stream: &Stream) {
        let watched = &stream.watched;
        // A round takes the mark off before it looks at what there is to do.
        if watched.listed.load(Ordering::SeqCst) || watched.listed.swap(true, Ordering::SeqCst) {
            return;
        }
        // Not in the first round: what is read in time has left the list by the second.
        watched.skip.store(1, Ordering::Relaxed);
        watched.pace.store(1, Ordering::Relaxed);
        watched.seen.store(0, Ordering::Relaxed);
        self.streams.lock().next.push(Arc::clone(recv));
        shared.watch_by(clock::now() + ROUND);
    }

    /// The stream was closed while a send was under way.
    pub(super) fn lingers(&self, shared: &Shared, stream: &Arc<Stream>) {
        let now = clock::now();
        let until = now + LINGER_MAX;
        let oldest = {
            let mut lingering = self.lingering.lock();
            lingering.push_back((until, Arc::clone(stream)));
            let full = lingering.len() > LINGERING_MAX;
            full.then(|| lingering.pop_front()).flatten()
        };
        if let Some((_, oldest)) = oldest {
            let handle = oldest.sending.lock().end_linger();
            drop(handle);
        }
        shared.watch_by(now + ROUND);
        // The backend may have gone since the caller looked: then no round will come.
        if shared.gone.load(Ordering::SeqCst) {
            self.end_lingering();
        }
    }

    /// Whether no closed stream waits for its send.
    pub(super) fn is_quiet(&self) -> bool {
        let mut lingering = self.lingering.lock();
        lingering.retain(|(_, stream)| stream.sending.lock().is_lingering());
        lingering.is_empty()
    }

    /// Closes them all: their bytes are lost.
    pub(super) fn end_lingering(&self) {
        let all = std::mem::take(&mut *self.lingering.lock());
        for (_, stream) in all {
            let handle = stream.sending.lock().end_linger();
            // Outside of the lock: closing it may bring the packet to another worker.
            drop(handle);
        }
    }

    /// Forgets the list.
    pub(super) fn clear(&self) {
        let lists = std::mem::take(&mut *self.streams.lock());
        let lingering = std::mem::take(&mut *self.lingering.lock());
        // Outside of the locks.
        drop((lists, lingering));
    }

    /// A stream of the round under way, or of a new one; `None` at the end of it.
    fn of_round(&self) -> Option<Arc<Op>> {
        let lists = &mut *self.streams.lock();
        if !std::mem::replace(&mut lists.is_under_way, true) {
            std::mem::swap(&mut lists.next, &mut lists.now);
        }
        lists.now.pop()
    }

    fn end_old_lingering(&self, now: Time) {
        let mut old = Vec::new();
        self.lingering.lock().retain(|(until, stream)| {
            let mut sending = stream.sending.lock();
            if *until <= now {
                old.extend(sending.end_linger());
            }
            sending.is_lingering()
        });
        // Outside of the locks.
        drop(old);
    }
}

impl Shared {
    /// One step of a round.
    pub(super) fn look_after(&self, now: Time) {
        let mut looks = 0;
        for _ in 0..STREAMS_PER_STEP {
            let Some(recv) = self.watch.of_round() else {
                return self.end_round(now);
            };
            let Body::Recv(stream) = &recv.body else {
                continue;
            };
            let (stays, looked) = self.look_at(&recv, stream);
            if stays {
                self.watch.streams.lock().next.push(recv);
            }
            looks += usize::from(looked);
            if looks == LOOKS_PER_STEP {
                break;
            }
        }
        // Whoever looks next goes on, after the turns that wait.
        self.watch_by(now);
    }

    fn end_round(&self, now: Time) {
        self.watch.end_old_lingering(now);
        let more = {
            let mut lists = self.watch.streams.lock();
            lists.is_under_way = false;
            !lists.next.is_empty()
        };
        if more || !self.watch.lingering.lock().is_empty() {
            self.watch_by(now + ROUND);
        }
    }

    /// One stream's turn in a round: whether it stays on the list, and whether the system was
    /// asked about it.
    fn look_at(&self, recv: &Arc<Op>, stream: &Arc<Stream>) -> (bool, bool) {
        let watched = &stream.watched;
        if stream.whom.is_closed() {
            return (false, false);
        }
        let mut looked = self.pay(recv, stream);
        if watched.told.load(Ordering::SeqCst) && is_time(watched) {
            self.look_inside(recv, stream);
            looked = true;
        }
        if watched.has_work() {
            return (true, looked);
        }
        watched.listed.store(false, Ordering::SeqCst);
        // Who came in between found it listed.
        let stays = watched.has_work() && !watched.listed.swap(true, Ordering::SeqCst);
        (stays, looked)
    }

    /// Tries again what the system refused; whether there was anything.
    fn pay(&self, recv: &Arc<Op>, stream: &Arc<Stream>) -> bool {
        let owed = stream.watched.owed.swap(0, Ordering::SeqCst);
        if owed & ARM != 0
            && let Some(handle) = stream.handle.upgrade()
            && let Some(entered) = handle.enter()
        {
            stream::arm(self, recv, stream, &entered);
        }
        if owed & WRITE != 0 {
            self.notice(&stream.whom, Bits::WRITE);
        }
        owed != 0
    }

    /// What has happened to a stream that nobody reads.
    fn look_inside(&self, recv: &Arc<Op>, stream: &Arc<Stream>) {
        let Some(handle) = stream.handle.upgrade() else {
            return stream.watched.heard();
        };
        let Some(entered) = handle.enter() else {
            return stream.watched.heard();
        };
        #[cfg(test)]
        super::trace::looked();
        stream.look_for_failure(&entered);
        let peeked = sys::recv(entered.as_socket(), &mut [0], true);
        let bits = match peeked {
            _ if stream.failure().is_some() => FAILED,
            Ok(0) => Bits::READ.with(Bits::READ_HANGUP),
            Ok(_) => {
                let unread = sys::unread(entered.as_socket()).unwrap_or(0);
                if stream.watched.seen.swap(unread, Ordering::Relaxed) != unread {
                    self.notice(&stream.whom, Bits::READ);
                }
                return;
            }
            Err(status::WOULD_BLOCK) => {
                // Read meanwhile: then it is armed, or is about to be.
                stream.watched.heard();
                return stream::arm(self, recv, stream, &entered);
            }
            Err(code) => {
                let _ = stream.fail(code);
                FAILED
            }
        };
        // Nothing more can happen to it.
        stream.watched.heard();
        self.notice(&stream.whom, bits);
    }
}

/// Whether a look is due in this round; each is later than the last by twice as much.
fn is_time(watched: &Watched) -> bool {
    // One round at a time: plain loads and stores do.
    let skip = watched.skip.load(Ordering::Relaxed);
    if skip > 0 {
        watched.skip.store(skip - 1, Ordering::Relaxed);
        return false;
    }
    let pace = watched.pace.load(Ordering::Relaxed);
    watched.skip.store(pace - 1, Ordering::Relaxed);
    let next = (pace * 2).min(PACE_MAX);
    watched.pace.store(next, Ordering::Relaxed);
    true
}
