//! The send queue against plain lists.

use bytes::Bytes;

use super::lazy::Lazy;
use super::queue::{CloseHow, Entry, SendQueue, SendQueueLimits, WhenFull};
use crate::error::{CloseReason, SendError};

#[derive(Clone, Debug)]
enum Op {
    Push {
        bytes: usize,
        frames: u32,
        extra: usize,
    },
    PushTaken {
        bytes: usize,
    },
    Take(usize),
    /// The socket took so many bytes of what the flush holds.
    Write(usize),
    Close(bool),
    Clear,
}

/// The queue and the flush's hands as plain lists of (number, bytes, frames).
#[derive(Debug, Default)]
struct Plain {
    waiting: Vec<(u8, usize, usize)>,
    held: Vec<(u8, usize, usize)>,
    /// Bytes of the first held entry that are written.
    skip: usize,
    next: u8,
    closed: Option<CloseHow>,
}

impl Plain {
    fn bytes(&self) -> usize {
        let all = self.waiting.iter().chain(&self.held);
        all.map(|entry| entry.1).sum::<usize>() - self.skip
    }

    fn frames(&self) -> usize {
        let all = self.waiting.iter().chain(&self.held);
        all.map(|entry| entry.2).sum()
    }

    fn entry(&mut self, bytes: usize, frames: u32) -> Entry {
        self.next = self.next.wrapping_add(1);
        let bytes = Bytes::from(vec![self.next; bytes]).into();
        Entry { bytes, frames }
    }

    fn push(&mut self, queue: &mut SendQueue, limits: &SendQueueLimits, op: (usize, u32, usize)) {
        let (bytes, frames, extra) = op;
        let entry = self.entry(bytes, frames);
        let fits = |plain: &Self| {
            plain.bytes() + extra + bytes <= limits.bytes_max
                && plain.frames() + frames as usize <= limits.frames_max
        };
        let pushed = queue.push(entry, limits, extra);
        if self.closed.is_some() {
            return assert_eq!(pushed, Err(SendError::Closed));
        }
        match pushed {
            Ok(pushed) => {
                let mut dropped = 0;
                while !fits(self) {
                    assert_eq!(limits.when_full, WhenFull::DropOld);
                    dropped += self.waiting.remove(0).2;
                }
                assert_eq!(pushed.dropped as usize, dropped, "no more than has to go");
                self.waiting.push((self.next, bytes, frames as usize));
                let high = self.bytes() >= limits.high_water();
                assert!(pushed.high || !high, "at high water, and nobody is told");
            }
            Err(error) => {
                assert!(!fits(self), "there was room");
                let dropping = matches!(limits.when_full, WhenFull::DropNew | WhenFull::DropOld);
                assert_eq!(error == SendError::Dropped, dropping);
                if limits.when_full == WhenFull::DropOld {
                    // Even an empty queue would not do: the flush holds too much.
                    let waiting = std::mem::take(&mut self.waiting);
                    assert!(!fits(self), "dropping would have helped");
                    self.waiting = waiting;
                }
            }
        }
    }

    fn take(&mut self, queue: &mut SendQueue, max: usize) {
        let mut taken = Lazy::default();
        queue.take(&mut taken, max);
        let count = self.waiting.len().min(max);
        assert_eq!(taken.len(), count);
        for (entry, plain) in taken.iter().zip(self.waiting.drain(..count)) {
            assert!(entry.bytes.iter().all(|byte| *byte == plain.0), "in order");
            assert_eq!(
                (entry.bytes.len(), entry.frames as usize),
                (plain.1, plain.2)
            );
            self.held.push(plain);
        }
    }

    fn close(&mut self, queue: &mut SendQueue, abort: bool) {
        let how = if abort {
            CloseHow::Abort
        } else {
            CloseHow::Graceful
        };
        let news = self.closed.is_none_or(|was| was != how && abort);
        assert_eq!(queue.close(how, CloseReason::Closed), news);
        if news {
            self.closed = Some(how);
        }
        assert_eq!(queue.closing().map(|closing| closing.0), self.closed);
    }

    fn write(&mut self, queue: &mut SendQueue, n: usize) {
        let held: usize = self.held.iter().map(|entry| entry.1).sum();
        let n = n.min(held - self.skip);
        let (mut left, mut frames) = (n + self.skip, 0);
        while let Some(&(_, bytes, of_it)) = self.held.first().filter(|first| first.1 <= left) {
            left -= bytes;
            frames += of_it;
            self.held.remove(0);
        }
        self.skip = left;
        queue.written(n, u32::try_from(frames).expect("there are few"));
    }
}

/// Does the same to the queue and to the lists; they agree after each step.
fn agree(when_full: WhenFull, ops: impl IntoIterator<Item = Op>) {
    let limits = SendQueueLimits {
        bytes_max: 20,
        frames_max: 8,
        when_full,
        ..SendQueueLimits::default()
    };
    let (mut queue, mut plain) = (SendQueue::default(), Plain::default());
    for op in ops {
        match op {
            Op::Push {
                bytes,
                frames,
                extra,
            } => plain.push(&mut queue, &limits, (bytes, frames, extra)),
            Op::PushTaken { bytes } => {
                queue.push_taken(plain.entry(bytes, 1));
                plain.waiting.push((plain.next, bytes, 1));
            }
            Op::Take(max) => plain.take(&mut queue, max),
            Op::Write(n) => plain.write(&mut queue, n),
            Op::Close(abort) => plain.close(&mut queue, abort),
            Op::Clear => {
                assert_eq!(queue.clear(), plain.frames(), "what is lost is told");
                plain.waiting.clear();
                plain.held.clear();
                plain.skip = 0;
            }
        }
        assert_eq!(
            (queue.bytes(), queue.frames()),
            (plain.bytes(), plain.frames())
        );
        assert_eq!(queue.is_empty(), plain.waiting.is_empty());
    }
}

/// All policies.
pub(super) const POLICIES: [WhenFull; 4] = [
    WhenFull::Close,
    WhenFull::Error,
    WhenFull::DropNew,
    WhenFull::DropOld,
];

/// Reads the policy and operations from bytes, for the fuzzer; as many as there are.
pub(crate) fn agrees_on(bytes: &[u8]) {
    let Some((first, rest)) = bytes.split_first() else {
        return;
    };
    let op = |byte: &u8| {
        let byte = usize::from(*byte);
        match byte {
            0..=127 => Op::Push {
                bytes: byte % 12,
                frames: if byte.is_multiple_of(5) { 2 } else { 1 },
                extra: (byte / 12 % 4).saturating_sub(1),
            },
            128..=143 => Op::PushTaken {
                bytes: 1 + byte % 11,
            },
            144..=191 => Op::Take(1 + byte % 3),
            192..=247 => Op::Write(1 + byte % 15),
            248..=251 => Op::Clear,
            _ => Op::Close(byte.is_multiple_of(2)),
        }
    };
    agree(POLICIES[usize::from(*first) % 4], rest.iter().map(op));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ops() -> impl Strategy<Value = Vec<Op>> {
        let push = (0..12usize, 1..3u32, 0..4usize);
        let op = prop_oneof![
            8 => push.prop_map(|(bytes, frames, extra)| Op::Push { bytes, frames, extra }),
            1 => (1..12usize).prop_map(|bytes| Op::PushTaken { bytes }),
            3 => (1..4usize).prop_map(Op::Take),
            4 => (1..16usize).prop_map(Op::Write),
            1 => any::<bool>().prop_map(Op::Close),
            1 => Just(Op::Clear),
        ];
        prop::collection::vec(op, 1..60)
    }

    proptest! {
        #[test]
        fn the_queue_agrees_with_plain_lists(policy in 0..4usize, ops in ops()) {
            agree(POLICIES[policy], ops);
        }
    }
}
