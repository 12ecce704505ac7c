//! Broadcast mode: how far each frame has come, over all receivers and threads.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// One frame on its way to every receiver.
#[derive(Debug, Default)]
struct Slot {
    due: AtomicU64,
    /// Receivers that still lack it; 0 is a free slot.
    remaining: AtomicU32,
}

#[derive(Debug)]
struct Sender {
    sent: AtomicU64,
    /// Frames that came to every receiver, or that the last one gave up on.
    done: AtomicU64,
    slots: Box<[Slot]>,
}

impl Sender {
    fn slot(&self, seq: u64) -> &Slot {
        &self.slots[usize::try_from(seq % self.slots.len() as u64).unwrap_or(0)]
    }
}

/// All senders' frames in flight.
#[derive(Debug)]
pub(crate) struct Board {
    /// Receivers still connected. Held while a frame is entered and while a receiver leaves, so
    /// that a leaving receiver and the count of a new frame agree.
    receivers: Mutex<u32>,
    senders: Box<[Sender]>,
}

/// A delivery that was noted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Delivery {
    /// When the frame was due, in ns.
    pub(crate) due: u64,
    /// Nobody lacks it any more.
    pub(crate) last: bool,
}

impl Board {
    /// `senders` connections with up to `depth` frames in flight each, `receivers` connections.
    pub(crate) fn new(receivers: u32, senders: u32, depth: u32) -> Self {
        let sender = || Sender {
            sent: AtomicU64::new(0),
            done: AtomicU64::new(0),
            slots: (0..depth.next_power_of_two())
                .map(|_| Slot::default())
                .collect(),
        };
        Self {
            receivers: Mutex::new(receivers),
            senders: (0..senders).map(|_| sender()).collect(),
        }
    }

    /// Connections that send.
    pub(crate) fn senders(&self) -> u32 {
        u32::try_from(self.senders.len()).unwrap_or(u32::MAX)
    }

    /// Frames that `sender` has sent.
    pub(crate) fn sent(&self, sender: u32) -> u64 {
        self.senders
            .get(sender as usize)
            .map_or(0, |s| s.sent.load(Ordering::Acquire))
    }

    /// Its frames that some receiver still lacks.
    pub(crate) fn outstanding(&self, sender: u32) -> u64 {
        let done = self.senders[sender as usize].done.load(Ordering::Acquire);
        self.sent(sender) - done
    }

    /// Enters the next frame of `sender`, due at `due` ns; false if its slot is still taken or
    /// nobody is left to receive it. Only the thread of that sender calls this.
    pub(crate) fn send(&self, sender: u32, due: u64) -> bool {
        let receivers = self
            .receivers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let sender = &self.senders[sender as usize];
        let seq = sender.sent.load(Ordering::Acquire);
        let slot = sender.slot(seq);
        if *receivers == 0 || slot.remaining.load(Ordering::Acquire) != 0 {
            return false;
        }
        slot.due.store(due, Ordering::Relaxed);
        slot.remaining.store(*receivers, Ordering::Release);
        sender.sent.store(seq + 1, Ordering::Release);
        true
    }

    /// One receiver has frame `seq`, or gives up on it. Once per receiver and frame.
    pub(crate) fn settle(&self, sender: u32, seq: u64) -> Delivery {
        let sender = &self.senders[sender as usize];
        let slot = sender.slot(seq);
        let due = slot.due.load(Ordering::Relaxed);
        let last = slot.remaining.fetch_sub(1, Ordering::AcqRel) == 1;
        if last {
            sender.done.fetch_add(1, Ordering::AcqRel);
        }
        Delivery { due, last }
    }

    /// A receiver is gone: later frames do not count on it. Returns how many frames each sender had
    /// sent until then; the caller settles those the receiver lacks.
    pub(crate) fn leave(&self) -> Vec<u64> {
        let mut receivers = self
            .receivers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *receivers -= 1;
        self.senders
            .iter()
            .map(|sender| sender.sent.load(Ordering::Acquire))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_receiver_frees_the_slot() {
        let board = Board::new(3, 1, 1);
        assert!(board.send(0, 50));
        assert!(!board.send(0, 60), "one frame in flight");
        assert_eq!(
            board.settle(0, 0),
            Delivery {
                due: 50,
                last: false
            }
        );
        assert_eq!(
            board.settle(0, 0),
            Delivery {
                due: 50,
                last: false
            }
        );
        assert_eq!(board.outstanding(0), 1);
        assert_eq!(
            board.settle(0, 0),
            Delivery {
                due: 50,
                last: true
            }
        );
        assert_eq!(board.outstanding(0), 0);
        assert!(board.send(0, 70));
    }

    #[test]
    fn a_receiver_that_left_is_not_waited_for() {
        let board = Board::new(2, 2, 4);
        assert!(board.send(1, 1));
        assert_eq!(board.leave(), [0, 1]);
        assert!(!board.settle(1, 0).last, "given up by the one that left");
        assert!(board.settle(1, 0).last);
        assert!(board.send(0, 2));
        assert!(
            board.settle(0, 0).last,
            "only one is left to receive this one"
        );
        board.leave();
        assert!(!board.send(0, 3), "nobody is left");
    }
}
