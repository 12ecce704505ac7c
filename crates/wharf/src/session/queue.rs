//! The send queue of a session: bounded in bytes and frames, with a named policy when full.
//!
//! Pure: it holds frames and counts them; the flush takes them out. What the flush has taken but
//! not written yet still counts, so a limit is a limit on memory and not on a list.

use super::lazy::Lazy;
use super::piece::{Piece, Wire};
use crate::error::{CloseReason, SendError};

/// What happens to a frame that the send queue has no room for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WhenFull {
    /// The session is closed with [`CloseReason::SendQueueFull`]: a reader that slow is gone.
    #[default]
    Close,
    /// The new frame is dropped and counted; the sender is told [`SendError::Dropped`].
    DropNew,
    /// The oldest frames that are not being written are dropped and counted until it fits.
    DropOld,
    /// The sender is told [`SendError::Full`]; nothing else happens.
    Error,
}

/// Limits of a send queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SendQueueLimits {
    /// The most bytes it holds. Default: 256 KiB.
    pub bytes_max: usize,
    /// The most frames it holds. Default: 4096. With half as many waiting, the session's own
    /// input is not read, until it is down to a quarter.
    pub frames_max: usize,
    /// What happens beyond. Default: [`WhenFull::Close`].
    pub when_full: WhenFull,
    /// From this many bytes on, the session's own input is not read. Default: half of `bytes_max`.
    pub high_water_bytes: Option<usize>,
    /// Down to this many bytes, it is read again. Default: a quarter of `bytes_max`.
    pub low_water_bytes: Option<usize>,
}

impl Default for SendQueueLimits {
    fn default() -> Self {
        Self {
            bytes_max: 256 * 1024,
            frames_max: 4096,
            when_full: WhenFull::default(),
            high_water_bytes: None,
            low_water_bytes: None,
        }
    }
}

impl SendQueueLimits {
    /// The high-water mark in force.
    #[must_use]
    pub fn high_water(&self) -> usize {
        self.high_water_bytes.unwrap_or(self.bytes_max / 2).max(1)
    }

    /// The low-water mark in force.
    #[must_use]
    pub fn low_water(&self) -> usize {
        self.low_water_bytes
            .unwrap_or(self.bytes_max / 4)
            .min(self.high_water() - 1)
    }

    /// Whether so much waiting means that the session's own input is not read.
    pub(crate) fn is_high(&self, bytes: usize, frames: usize) -> bool {
        self.high().is_reached(bytes, frames)
    }

    /// From where on that is.
    pub(crate) fn high(&self) -> HighWater {
        HighWater {
            bytes: self.high_water(),
            frames: self.frames_high(),
        }
    }

    /// Whether so little waiting means that it is read again.
    pub(crate) fn is_low(&self, bytes: usize, frames: usize) -> bool {
        bytes <= self.low_water() && frames <= (self.frames_max / 4).min(self.frames_high() - 1)
    }

    /// The same for frames.
    pub(crate) fn frames_high(&self) -> usize {
        (self.frames_max / 2).max(1)
    }
}

/// How much is too much, worked out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HighWater {
    bytes: usize,
    frames: usize,
}

impl HighWater {
    /// Or so many bytes, if that is less.
    pub(crate) fn or_bytes(self, bytes: usize) -> Self {
        let bytes = self.bytes.min(bytes);
        Self { bytes, ..self }
    }

    /// Whether so much is.
    pub(crate) fn is_reached(self, bytes: usize, frames: usize) -> bool {
        bytes >= self.bytes || frames >= self.frames
    }
}

/// One or more whole frames that are written together.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) bytes: Piece,
    pub(crate) frames: u32,
}

impl Entry {
    /// Takes a small frame in behind those that were built here; false if it has to stand alone.
    fn join(&mut self, wire: &Wire<'_>) -> bool {
        let joined = self.bytes.join(wire);
        self.frames += u32::from(joined);
        joined
    }
}

/// How a session is to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CloseHow {
    /// Flush, end our stream, wait for the peer's end.
    Graceful,
    /// Now, with a reset.
    Abort,
}

/// What [`SendQueue::push`] did.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Pushed {
    /// Frames that made room for it.
    pub(crate) dropped: u32,
    /// The queue is at or above its high-water mark now.
    pub(crate) high: bool,
}

/// The queue.
#[derive(Debug, Default)]
pub(crate) struct SendQueue {
    entries: Lazy<Entry>,
    /// Bytes and frames accepted and not written, those in the flush's hands included.
    bytes: usize,
    frames: u32,
    /// Those of them that no flush has taken: what may still be dropped.
    waiting_bytes: usize,
    waiting_frames: u32,
    /// Set once: no frame is accepted any more.
    closing: Option<Box<(CloseHow, CloseReason)>>,
    /// Pause guards alive. Kept here for the lock: see `SessionCore::pause`.
    pub(crate) pauses: u32,
    /// Entries at the back that no flush takes before [`Self::release`].
    held_back: u32,
}

impl SendQueue {
    /// Appends an entry, or applies the full-policy. `extra` are bytes that the sender's own turn
    /// has built and not handed over yet: they count as queued.
    pub(crate) fn push(
        &mut self,
        entry: Entry,
        limits: &SendQueueLimits,
        extra: usize,
    ) -> Result<Pushed, SendError> {
        let dropped = self.make_room(entry.bytes.len(), entry.frames, limits, extra)?;
        self.push_taken(entry);
        Ok(Pushed {
            dropped,
            high: limits.is_high(self.bytes, self.frames()),
        })
    }

    /// Appends a frame that is held back until [`Self::release`], or applies the full-policy. Small
    /// frames are copied behind one another, so that many of them make one entry.
    pub(crate) fn hold(
        &mut self,
        wire: Wire<'_>,
        limits: &SendQueueLimits,
    ) -> Result<Pushed, SendError> {
        let len = wire.len();
        let dropped = self.make_room(len, 1, limits, 0)?;
        // Of what is dropped one by one, each is an entry.
        let joins = self.held_back > 0 && limits.when_full != WhenFull::DropOld;
        let last = self.entries.back_mut().filter(|_| joins);
        if last.is_some_and(|last| last.join(&wire)) {
            self.count_waiting(len, 1);
        } else {
            let bytes = wire.into_piece();
            self.push_taken(Entry { bytes, frames: 1 });
            self.held_back += 1;
        }
        Ok(Pushed {
            dropped,
            high: limits.is_high(self.bytes, self.frames()),
        })
    }

    /// What was held back is for the flush to take.
    pub(crate) fn release(&mut self) {
        self.held_back = 0;
    }

    /// Applies the full-policy until so much fits; returns how many frames were dropped for it.
    fn make_room(
        &mut self,
        bytes: usize,
        frames: u32,
        limits: &SendQueueLimits,
        extra: usize,
    ) -> Result<u32, SendError> {
        if self.closing.is_some() {
            return Err(SendError::Closed);
        }
        let bytes = bytes + extra;
        let fits = |used: (usize, u32)| {
            let all = used.1.checked_add(frames);
            let frames_fit = all.is_some_and(|all| all as usize <= limits.frames_max);
            frames_fit && used.0 + bytes <= limits.bytes_max
        };
        let mut dropped = 0;
        while !fits((self.bytes, self.frames)) {
            match limits.when_full {
                WhenFull::Close | WhenFull::Error => return Err(SendError::Full),
                WhenFull::DropNew => return Err(SendError::Dropped),
                WhenFull::DropOld => match self.drop_oldest(fits) {
                    Some(frames) => dropped += frames,
                    None => return Err(SendError::Dropped),
                },
            }
        }
        Ok(dropped)
    }

    /// Drops the oldest entry to make room; returns its frames. `None`, and nothing is dropped, if
    /// that can't help: even without all that waits it does not fit beside what the flush holds.
    fn drop_oldest(&mut self, fits: impl Fn((usize, u32)) -> bool) -> Option<u32> {
        let held = (
            self.bytes - self.waiting_bytes,
            self.frames - self.waiting_frames,
        );
        if !fits(held) {
            return None;
        }
        let old = self.entries.pop_front()?;
        if self.held_back as usize > self.entries.len() {
            self.held_back -= 1;
        }
        self.taken(old.bytes.len(), old.frames);
        self.written(old.bytes.len(), old.frames);
        Some(old.frames)
    }

    fn taken(&mut self, bytes: usize, frames: u32) {
        self.waiting_bytes -= bytes;
        self.waiting_frames -= frames;
    }

    /// Appends what was accepted before: no limit applies, and no close refuses it.
    pub(crate) fn push_taken(&mut self, entry: Entry) {
        self.count_waiting(entry.bytes.len(), entry.frames);
        self.entries.push_back(entry);
    }

    fn count_waiting(&mut self, bytes: usize, frames: u32) {
        self.account(bytes, frames);
        self.waiting_bytes += bytes;
        self.waiting_frames += frames;
    }

    /// Counts bytes that went past the queue into the flush's hands.
    pub(crate) fn account(&mut self, bytes: usize, frames: u32) {
        self.bytes += bytes;
        self.frames += frames;
    }

    /// Moves at most `max` entries to `into`.
    pub(crate) fn take(&mut self, into: &mut Lazy<Entry>, max: usize) {
        if self.held_back == 0 && self.entries.len() <= max && into.is_empty() {
            std::mem::swap(&mut self.entries, into);
            (self.waiting_bytes, self.waiting_frames) = (0, 0);
            self.entries.shrink();
            return;
        }
        for _ in 0..self.ready().min(max) {
            let Some(entry) = self.entries.pop_front() else {
                break;
            };
            self.taken(entry.bytes.len(), entry.frames);
            into.push_back(entry);
        }
        self.entries.shrink();
    }

    /// These bytes and frames are written, or dropped.
    pub(crate) fn written(&mut self, bytes: usize, frames: u32) {
        debug_assert!(self.bytes >= bytes && self.frames >= frames);
        self.bytes = self.bytes.saturating_sub(bytes);
        self.frames = self.frames.saturating_sub(frames);
    }

    /// Drops all that is queued; returns how many frames were lost with it.
    pub(crate) fn clear(&mut self) -> usize {
        self.entries.clear();
        self.held_back = 0;
        (self.bytes, self.waiting_bytes, self.waiting_frames) = (0, 0, 0);
        std::mem::take(&mut self.frames) as usize
    }

    /// Bytes accepted and not written.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Frames accepted and not written.
    pub(crate) fn frames(&self) -> usize {
        self.frames as usize
    }

    /// Whether there is nothing for the flush to take.
    pub(crate) fn is_empty(&self) -> bool {
        self.ready() == 0
    }

    /// Entries that are not held back.
    fn ready(&self) -> usize {
        self.entries.len().saturating_sub(self.held_back as usize)
    }

    /// Asks for a close. The first reason stays; an abort overrules a graceful close. True if it
    /// changed anything.
    pub(crate) fn close(&mut self, how: CloseHow, reason: CloseReason) -> bool {
        match self.closing.as_deref_mut() {
            None => self.closing = Some(Box::new((how, reason))),
            Some((was @ CloseHow::Graceful, _)) if how == CloseHow::Abort => *was = how,
            Some(_) => return false,
        }
        true
    }

    /// The close that was asked for.
    pub(crate) fn closing(&self) -> Option<&(CloseHow, CloseReason)> {
        self.closing.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(bytes: &[u8]) -> Entry {
        Entry {
            bytes: bytes::Bytes::copy_from_slice(bytes).into(),
            frames: 1,
        }
    }

    fn limits(when_full: WhenFull) -> SendQueueLimits {
        SendQueueLimits {
            bytes_max: 8,
            frames_max: 3,
            when_full,
            ..SendQueueLimits::default()
        }
    }

    #[test]
    fn each_policy_does_what_its_name_says() {
        for (policy, error) in [
            (WhenFull::Close, SendError::Full),
            (WhenFull::Error, SendError::Full),
            (WhenFull::DropNew, SendError::Dropped),
        ] {
            let mut queue = SendQueue::default();
            assert!(queue.push(entry(b"12345678"), &limits(policy), 0).is_ok());
            assert_eq!(queue.push(entry(b"9"), &limits(policy), 0), Err(error));
            assert_eq!(queue.bytes(), 8);
        }
        let mut queue = SendQueue::default();
        let limits = limits(WhenFull::DropOld);
        for frame in [b"aa", b"bb", b"cc"] {
            assert_eq!(
                queue.push(entry(frame), &limits, 0).map(|p| p.dropped),
                Ok(0)
            );
        }
        assert_eq!(
            queue.push(entry(b"dddddd"), &limits, 0).map(|p| p.dropped),
            Ok(2)
        );
        let mut taken = Lazy::default();
        queue.take(&mut taken, 64);
        assert_eq!(
            taken.iter().map(|e| &e.bytes[..]).collect::<Vec<_>>(),
            [&b"cc"[..], b"dddddd"]
        );
    }

    #[test]
    fn what_can_never_fit_drops_nothing() {
        let limits = limits(WhenFull::DropOld);
        let mut queue = SendQueue::default();
        assert!(queue.push(entry(b"aaaa"), &limits, 0).is_ok());
        assert!(queue.push(entry(b"bb"), &limits, 0).is_ok());
        let mut taken = Lazy::default();
        queue.take(&mut taken, 1);
        for giant in [&b"123456789"[..], b"12345"] {
            assert_eq!(
                queue.push(entry(giant), &limits, 0),
                Err(SendError::Dropped)
            );
        }
        assert_eq!((queue.bytes(), queue.frames()), (6, 2));
        let pushed = queue.push(entry(b"cccc"), &limits, 0);
        assert_eq!(pushed.map(|pushed| pushed.dropped), Ok(1));
    }

    #[test]
    fn what_the_flush_holds_still_counts_and_is_never_dropped() {
        let limits = limits(WhenFull::DropOld);
        let mut queue = SendQueue::default();
        assert!(queue.push(entry(b"12345678"), &limits, 0).is_ok());
        let mut taken = Lazy::default();
        queue.take(&mut taken, 64);
        assert_eq!(queue.push(entry(b"9"), &limits, 0), Err(SendError::Dropped));
        queue.written(8, 1);
        assert!(queue.push(entry(b"9"), &limits, 0).is_ok());
    }

    #[test]
    fn the_first_reason_stays_and_an_abort_overrules() {
        let mut queue = SendQueue::default();
        assert!(queue.close(CloseHow::Graceful, CloseReason::Closed));
        assert!(!queue.close(CloseHow::Graceful, CloseReason::Shutdown));
        assert!(queue.close(CloseHow::Abort, CloseReason::Aborted));
        assert_eq!(
            queue.closing(),
            Some(&(CloseHow::Abort, CloseReason::Closed))
        );
        assert_eq!(
            queue.push(entry(b"x"), &limits(WhenFull::Error), 0),
            Err(SendError::Closed)
        );
    }

    #[test]
    fn water_marks_have_room_between_them() {
        let tiny = SendQueueLimits {
            bytes_max: 1,
            ..SendQueueLimits::default()
        };
        assert!(tiny.low_water() < tiny.high_water());
        let odd = SendQueueLimits {
            high_water_bytes: Some(10),
            low_water_bytes: Some(50),
            ..SendQueueLimits::default()
        };
        assert_eq!(odd.low_water(), 9);
    }
}
