//! The memory that sessions hold: what waits to be sent, what came and is not decoded, and jobs.
//!
//! Counted in grains, each part of a session for itself and rounded down: what stays below a grain
//! is not counted, and most frames of most sessions never touch a counter that is shared.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A ceiling for what the sessions of a network, or of all networks of a host, hold: frames that
/// wait to be sent, bytes that came and are not decoded, and jobs that wait. A frame that was sent
/// to many counts for each of them.
///
/// At the ceiling new connections are refused. Of the sessions, those that hold more than a fair
/// share (16 KiB, or less where the ceiling is low) get nothing more: a frame or job for them meets
/// a full queue, and one that can't be refused any more, a reply or half a frame, ends its session
/// with [`CloseReason::MemoryCeiling`](crate::CloseReason::MemoryCeiling). So the ceiling is passed
/// by no more than that share a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MemoryLimit {
    /// The ceiling, in bytes. At least 64 KiB.
    pub bytes_max: usize,
    /// What happens on the way to it.
    pub when_full: WhenMemoryFull,
}

/// What happens when sessions hold nearly as much as a [`MemoryLimit`] allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WhenMemoryFull {
    /// Nothing before the ceiling.
    Refuse,
    /// From seven eighths of the ceiling on, those sessions that hold most, the slowest readers,
    /// are aborted with [`CloseReason::MemoryCeiling`](crate::CloseReason::MemoryCeiling), until
    /// the others hold three quarters of it. Looked at ten times a second.
    #[default]
    Shed,
}

impl MemoryLimit {
    /// The least ceiling: below it one session's frame would be all.
    pub(crate) const LEAST: usize = 64 * 1024;

    /// The default of a host.
    pub(crate) const OF_A_HOST: Self = Self {
        bytes_max: 1 << 30,
        when_full: WhenMemoryFull::Shed,
    };
}

/// Bytes of a grain.
const GRAIN: usize = 1024;
/// The fair share of a session: who holds no more is refused nothing.
const SHARE: usize = 16 * 1024;

/// Whole grains in so many bytes.
pub(crate) const fn grains(bytes: usize) -> usize {
    bytes / GRAIN
}

/// What is held, and how much may be.
#[derive(Debug)]
pub(crate) struct Memory {
    held: AtomicUsize,
    ceiling: AtomicUsize,
    /// Where shedding begins; never, if not.
    sheds_at: AtomicUsize,
    /// The fair share of a session.
    share: usize,
    /// That of the host, for a network.
    of: Option<Arc<Self>>,
}

impl Memory {
    /// For so many sessions at most.
    pub(crate) fn new(limit: Option<MemoryLimit>, sessions: usize, of: Option<Arc<Self>>) -> Self {
        let fair = |limit: MemoryLimit| limit.bytes_max / 4 / sessions.max(1);
        let share = limit.map_or(SHARE, |limit| fair(limit).clamp(GRAIN, SHARE));
        let memory = Self {
            held: AtomicUsize::new(0),
            ceiling: AtomicUsize::new(0),
            sheds_at: AtomicUsize::new(0),
            share: grains(share),
            of,
        };
        memory.set(limit);
        memory
    }

    /// Changes the ceiling.
    pub(crate) fn set(&self, limit: Option<MemoryLimit>) {
        let ceiling = limit.map_or(usize::MAX, |limit| grains(limit.bytes_max));
        let sheds = limit.is_some_and(|limit| limit.when_full == WhenMemoryFull::Shed);
        let sheds_at = if sheds {
            ceiling - ceiling / 8
        } else {
            usize::MAX
        };
        self.ceiling.store(ceiling, Ordering::Relaxed);
        self.sheds_at.store(sheds_at, Ordering::Relaxed);
    }

    /// A part of a session holds `after` grains and held `before`.
    pub(crate) fn moved(&self, before: usize, after: usize) {
        // Less is more, modulo the numbers there are.
        self.held
            .fetch_add(after.wrapping_sub(before), Ordering::Relaxed);
        if let Some(host) = &self.of {
            host.moved(before, after);
        }
    }

    fn is_full(&self) -> bool {
        self.held.load(Ordering::Relaxed) >= self.ceiling.load(Ordering::Relaxed)
    }

    /// Whether a new session is refused.
    pub(crate) fn refuses_sessions(&self) -> bool {
        self.is_full() || self.of.as_ref().is_some_and(|host| host.is_full())
    }

    /// Whether a part of a session that holds so many grains gets no more. Nearly all hold less
    /// than a fair share, and look at nothing that is shared.
    pub(crate) fn refuses(&self, grains: usize) -> bool {
        grains > self.share && self.refuses_sessions()
    }

    /// Bytes held.
    pub(crate) fn held_bytes(&self) -> usize {
        self.held.load(Ordering::Relaxed).saturating_mul(GRAIN)
    }

    /// Grains that sessions must give back now; 0 if none.
    pub(crate) fn to_shed(&self) -> usize {
        let held = self.held.load(Ordering::Relaxed);
        if held < self.sheds_at.load(Ordering::Relaxed) {
            return 0;
        }
        let ceiling = self.ceiling.load(Ordering::Relaxed);
        held.saturating_sub(ceiling - ceiling / 4)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: usize = 1024;

    fn limit(kib: usize, when_full: WhenMemoryFull) -> Option<MemoryLimit> {
        let bytes_max = kib * KIB;
        Some(MemoryLimit {
            bytes_max,
            when_full,
        })
    }

    #[test]
    fn a_network_counts_for_its_host_as_well() {
        let host = Arc::new(Memory::new(limit(100, WhenMemoryFull::Refuse), 1, None));
        let game = Memory::new(None, 10, Some(Arc::clone(&host)));
        let chat = Memory::new(
            limit(64, WhenMemoryFull::Refuse),
            1,
            Some(Arc::clone(&host)),
        );
        game.moved(0, 60);
        chat.moved(0, 39);
        assert!(!game.refuses_sessions() && !chat.refuses_sessions());
        game.moved(60, 61);
        assert!(game.refuses_sessions() && chat.refuses_sessions());
        assert!(game.refuses(17), "more than a fair share");
        assert!(!game.refuses(16), "no more than that");
        game.moved(61, 0);
        assert!(!game.refuses_sessions());
        chat.moved(39, 64);
        assert!(chat.refuses_sessions() && !game.refuses_sessions());
        chat.moved(64, 0);
        let all = [&*host, &game, &chat].map(Memory::held_bytes);
        assert_eq!(all, [0; 3]);
    }

    #[test]
    fn shedding_begins_at_seven_eighths_and_ends_at_three_quarters() {
        let memory = Memory::new(limit(800, WhenMemoryFull::Shed), 1, None);
        memory.moved(0, 699);
        assert_eq!(memory.to_shed(), 0);
        memory.moved(0, 1);
        assert_eq!(memory.to_shed(), 100);
        memory.moved(100, 0);
        assert_eq!(memory.to_shed(), 0);
        memory.set(limit(800, WhenMemoryFull::Refuse));
        memory.moved(0, 900);
        assert_eq!(memory.to_shed(), 0, "this policy sheds nobody");
        memory.set(None);
        assert!(!memory.refuses_sessions());
    }

    #[test]
    fn a_low_ceiling_has_a_small_share() {
        let memory = Memory::new(limit(64, WhenMemoryFull::Refuse), 4, None);
        memory.moved(0, 64);
        assert!(memory.refuses(5) && !memory.refuses(4));
    }
}
