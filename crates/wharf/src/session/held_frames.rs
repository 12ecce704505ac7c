//! Frames that a send queue holds back, against a plain list of them.

use std::collections::VecDeque;

use bytes::Bytes;

use super::lazy::Lazy;
use super::piece::Wire;
use super::queue::{CloseHow, Entry, SendQueue, SendQueueLimits, WhenFull};
use super::queue_lists::POLICIES;
use crate::error::{CloseReason, SendError};

#[derive(Clone, Debug)]
enum Op {
    Hold {
        bytes: usize,
        shared: bool,
    },
    Release,
    Take(usize),
    /// All that the flush has taken is written.
    Write,
    Clear,
    Close,
}

/// The same as a list of frames.
#[derive(Debug, Default)]
struct Plain {
    waiting: VecDeque<Vec<u8>>,
    /// How many of them, from the front, a flush may take.
    released: usize,
    /// Bytes and frames in the flush's hands.
    taken: (usize, usize),
    next: u8,
    closed: bool,
}

impl Plain {
    fn used(&self) -> (usize, usize) {
        let bytes: usize = self.waiting.iter().map(Vec::len).sum();
        (bytes + self.taken.0, self.waiting.len() + self.taken.1)
    }

    fn hold(&mut self, queue: &mut SendQueue, limits: &SendQueueLimits, len: usize, shared: bool) {
        self.next = self.next.wrapping_add(1);
        let frame = vec![self.next; len];
        let wire = if shared {
            Wire::Shared(Bytes::from(frame.clone()))
        } else {
            Wire::Borrowed(&frame)
        };
        let held = queue.hold(wire, limits);
        if self.closed {
            return assert_eq!(held, Err(SendError::Closed));
        }
        let fits =
            |used: (usize, usize)| used.0 + len <= limits.bytes_max && used.1 < limits.frames_max;
        let dropping = limits.when_full == WhenFull::DropOld;
        let can = fits(if dropping { self.taken } else { self.used() });
        assert_eq!(held.is_ok(), can, "{held:?}");
        let Ok(held) = held else { return };
        let mut dropped = 0;
        while !fits(self.used()) {
            self.waiting.pop_front();
            self.released = self.released.saturating_sub(1);
            dropped += 1;
        }
        assert_eq!(
            held.dropped, dropped,
            "one by one, and no more than has to go"
        );
        self.waiting.push_back(frame);
        let used = self.used();
        assert_eq!(held.high, limits.is_high(used.0, used.1));
    }

    fn take(&mut self, queue: &mut SendQueue, max: usize) {
        let mut into = Lazy::default();
        queue.take(&mut into, max);
        let frames: usize = into.iter().map(|entry: &Entry| entry.frames as usize).sum();
        assert!(frames <= self.released, "what is held back is not taken");
        assert!(into.len() <= max);
        if into.len() < max {
            assert_eq!(frames, self.released, "and the rest is");
        }
        let (mut bytes, mut expected) = (Vec::new(), Vec::new());
        into.iter()
            .for_each(|entry| bytes.extend_from_slice(&entry.bytes));
        self.waiting
            .drain(..frames)
            .for_each(|frame| expected.extend(frame));
        assert_eq!(bytes, expected, "in order");
        self.released -= frames;
        self.taken = (self.taken.0 + bytes.len(), self.taken.1 + frames);
    }
}

fn agree(when_full: WhenFull, ops: impl IntoIterator<Item = Op>) {
    let limits = SendQueueLimits {
        bytes_max: 20_000,
        frames_max: 40,
        when_full,
        ..SendQueueLimits::default()
    };
    let (mut queue, mut plain) = (SendQueue::default(), Plain::default());
    for op in ops {
        match op {
            Op::Hold { bytes, shared } => plain.hold(&mut queue, &limits, bytes, shared),
            Op::Release => {
                queue.release();
                plain.released = plain.waiting.len();
            }
            Op::Take(max) => plain.take(&mut queue, max),
            Op::Write => {
                queue.written(
                    plain.taken.0,
                    u32::try_from(plain.taken.1).expect("there are few"),
                );
                plain.taken = (0, 0);
            }
            Op::Clear => {
                assert_eq!(queue.clear(), plain.used().1, "what is lost is told");
                plain = Plain {
                    next: plain.next,
                    closed: plain.closed,
                    ..Plain::default()
                };
            }
            Op::Close => {
                queue.close(CloseHow::Graceful, CloseReason::Closed);
                plain.closed = true;
            }
        }
        assert_eq!((queue.bytes(), queue.frames()), plain.used());
        assert_eq!(queue.is_empty(), plain.released == 0);
    }
}

/// Reads the policy and operations from bytes, for the fuzzer; as many as there are.
pub(crate) fn agrees_on(bytes: &[u8]) {
    let Some((first, rest)) = bytes.split_first() else {
        return;
    };
    let op = |byte: &u8| {
        let byte = usize::from(*byte);
        match byte {
            0..=127 => Op::Hold {
                // Below, at and above what is copied and what is joined.
                bytes: [1, 40, 400, 2046, 2047, 2048, 2049, 6000][byte / 2 % 8] + byte / 16,
                shared: byte.is_multiple_of(2),
            },
            128..=159 => Op::Release,
            160..=207 => Op::Take(1 + byte % 48),
            208..=243 => Op::Write,
            244..=249 => Op::Clear,
            _ => Op::Close,
        }
    };
    agree(POLICIES[usize::from(*first) % 4], rest.iter().map(op));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ops() -> impl Strategy<Value = Vec<Op>> {
        let bytes = prop_oneof![6 => 0..100usize, 2 => 1500..2600usize, 1 => 5000..9000usize];
        let op = prop_oneof![
            12 => (bytes, any::<bool>()).prop_map(|(bytes, shared)| Op::Hold { bytes, shared }),
            2 => Just(Op::Release),
            2 => (1..70usize).prop_map(Op::Take),
            2 => Just(Op::Write),
            1 => Just(Op::Clear),
        ];
        let ops = prop::collection::vec(op, 1..120);
        (ops, any::<bool>()).prop_map(|(mut ops, closes)| {
            if closes {
                ops.push(Op::Close);
                ops.push(Op::Hold {
                    bytes: 1,
                    shared: false,
                });
            }
            ops
        })
    }

    proptest! {
        #[test]
        fn held_frames_agree_with_a_plain_list(policy in 0..4usize, ops in ops()) {
            agree(POLICIES[policy], ops);
        }
    }

    /// What the default high-water mark lets wait, in small frames, fits into one gathered write.
    #[test]
    fn small_frames_make_few_entries() {
        for len in [2, 100, 1400, 2048] {
            let limits = SendQueueLimits {
                frames_max: usize::MAX,
                ..SendQueueLimits::default()
            };
            let mut queue = SendQueue::default();
            let frame = vec![1; len];
            while !queue.hold(Wire::Borrowed(&frame), &limits).unwrap().high {}
            queue.release();
            let mut into = Lazy::default();
            queue.take(&mut into, usize::MAX);
            assert!(
                into.len() <= crate::port::GATHER_MAX,
                "{len}: {}",
                into.len()
            );
        }
    }

    /// An idle session pays for none of it.
    #[cfg(target_pointer_width = "64")]
    #[test]
    fn an_entry_and_a_queue_are_as_small_as_before() {
        assert_eq!(size_of::<Entry>(), 40);
        // The entries, the close, two counts of bytes; four more numbers are half a word each.
        assert_eq!(size_of::<SendQueue>(), 6 * 8);
    }
}
