//! The word against a model that keeps each of its values apart.

use proptest::prelude::*;

use super::word::*;

// The two lowest bits of the word are the turn's state.
const IDLE: u32 = 0;
const QUEUED: u32 = 1;
const RUNNING: u32 = 2;

#[derive(Clone, Debug)]
enum Op {
    Raise(u32),
    Lower(u32),
    /// What anybody may mark at any time.
    Mark(u32),
    /// What the holder of the turn may mark and take.
    MarkInTurn(u32),
    TakeInTurn(u32),
    BeginTurn,
    EndTurn,
    Flush,
    FlushDirect,
    /// The holder of the flush right finds the queue empty.
    Emptied,
    EndFlush(bool),
    YieldFlush,
    Seize,
}

/// Reasons for one turn, which takes them when it begins.
const ONCE: u32 = POSTED | CLOSING | TIMER | START | FAILED | DRAINED;

fn some_of(bits: &'static [u32]) -> impl Strategy<Value = u32> {
    let some = prop::sample::subsequence(bits, 1..=bits.len().min(3));
    some.prop_map(|some| some.into_iter().fold(0, |all, bit| all | bit))
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let reasons = &[READABLE, POSTED, CLOSING, TIMER, FAILED, HANGUP, WRITABLE];
    let op = prop_oneof![
        4 => some_of(reasons).prop_map(Op::Raise),
        2 => some_of(&[PAUSED, CHOKED, THROTTLED]).prop_map(Op::Lower),
        3 => some_of(&[PAUSED, CHOKED, PENDING, SHUT, DIRTY, HELD, LISTED]).prop_map(Op::Mark),
        2 => some_of(&[READABLE, REMAINDER, LINGER, DRAINING, THROTTLED]).prop_map(Op::MarkInTurn),
        3 => some_of(&[READABLE, REMAINDER, CONNECTING, WRITABLE]).prop_map(Op::TakeInTurn),
        4 => Just(Op::BeginTurn),
        4 => Just(Op::EndTurn),
        3 => Just(Op::Flush),
        1 => Just(Op::FlushDirect),
        2 => Just(Op::Emptied),
        3 => any::<bool>().prop_map(Op::EndFlush),
        1 => Just(Op::YieldFlush),
        1 => Just(Op::Seize),
    ];
    prop::collection::vec(op, 1..80)
}

/// Who holds the flush right: nobody, somebody, or the owner, who has closed the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flush {
    Free,
    Held,
    Seized,
}

/// The word as separate values, each with its own rule.
struct Plain {
    state: u32,
    flush: Flush,
    bits: u32,
}

impl Plain {
    fn has(&self, bits: u32) -> bool {
        self.bits & bits != 0
    }

    fn all(&self) -> u32 {
        let flushing = if self.flush == Flush::Free {
            0
        } else {
            FLUSHING
        };
        self.state | self.bits | flushing
    }

    fn wants_turn(&self) -> bool {
        if self.has(DEAD) {
            return false;
        }
        if self.has(ONCE) {
            return true;
        }
        if self.has(CONNECTING) {
            return self.has(WRITABLE);
        }
        let may_read = self.has(LINGER) || !self.has(PAUSED | CHOKED | THROTTLED);
        may_read && self.has(READABLE | REMAINDER)
    }

    /// An idle session that wants a turn is queued; true if it was.
    fn queue(&mut self) -> bool {
        let queues = self.state == IDLE && self.wants_turn();
        if queues {
            self.state = QUEUED;
        }
        queues
    }

    fn take_flush(&mut self, pending: bool) -> bool {
        let takes = self.flush == Flush::Free
            && !self.has(DEAD | CONNECTING)
            && self.has(WRITABLE)
            && self.has(PENDING) == pending;
        if takes {
            self.flush = Flush::Held;
            self.bits &= !WRITABLE;
        }
        takes
    }

    /// The right is free again, and who waits for it is told; true if it was queued for that.
    fn free_flush(&mut self, drained: bool) -> bool {
        self.flush = Flush::Free;
        if drained || self.has(OWNER_WAITS) {
            self.bits = self.bits & !OWNER_WAITS | DRAINED;
        }
        self.queue()
    }

    fn end_flush(&mut self, writable: bool) -> FlushEnd {
        if writable {
            self.bits |= WRITABLE;
        }
        if self.has(PENDING) && self.has(WRITABLE) && !self.has(OWNER_WAITS) {
            self.bits &= !WRITABLE;
            return FlushEnd::Again;
        }
        if self.free_flush(self.has(DRAINING) && !self.has(PENDING)) {
            FlushEnd::Queued
        } else {
            FlushEnd::Done
        }
    }

    /// Does the same to the word, if it is legal now.
    fn step(&mut self, word: &Word, op: &Op) {
        let running = self.state == RUNNING;
        let held = self.flush == Flush::Held;
        match *op {
            Op::Raise(bits) => {
                self.bits |= bits;
                assert_eq!(word.raise(bits), self.queue());
            }
            Op::Lower(bits) => {
                self.bits &= !bits;
                assert_eq!(word.lower(bits), self.queue());
            }
            Op::MarkInTurn(_) | Op::TakeInTurn(_) | Op::EndTurn if !running => {}
            Op::Mark(bits) | Op::MarkInTurn(bits) => {
                assert_eq!(word.mark(bits), self.bits & bits);
                self.bits |= bits;
            }
            Op::TakeInTurn(bits) => {
                assert_eq!(word.take(bits), self.bits & bits);
                self.bits &= !bits;
            }
            Op::BeginTurn if self.state == QUEUED => {
                assert_eq!(word.begin_turn(), self.all());
                (self.state, self.bits) = (RUNNING, self.bits & !ONCE);
            }
            Op::EndTurn => {
                self.state = IDLE;
                assert_eq!(word.end_turn(), self.queue());
            }
            Op::Flush => assert_eq!(word.begin_flush(), self.take_flush(true)),
            Op::FlushDirect => assert_eq!(word.begin_flush_direct(), self.take_flush(false)),
            Op::Emptied if held => {
                word.take(PENDING);
                self.bits &= !PENDING;
            }
            Op::EndFlush(all) if held => assert_eq!(word.end_flush(all), self.end_flush(all)),
            Op::YieldFlush if held => {
                self.bits |= WRITABLE;
                assert_eq!(word.yield_flush(), self.free_flush(false));
            }
            Op::Seize if running && self.flush != Flush::Seized => {
                assert_eq!(word.seize_flush(), !held);
                if held {
                    self.bits |= OWNER_WAITS;
                } else {
                    self.flush = Flush::Seized;
                    self.bits |= DEAD;
                    word.mark(DEAD);
                }
            }
            _ => {}
        }
    }
}

proptest! {
    #[test]
    fn the_word_agrees_with_separate_values(connecting: bool, ops in ops()) {
        let bits = if connecting { CONNECTING } else { START | WRITABLE };
        let word = Word::new(bits);
        let mut plain = Plain { state: IDLE, flush: Flush::Free, bits };
        for op in ops {
            plain.step(&word, &op);
            prop_assert_eq!(word.bits(), plain.all(), "after {:?}", op);
            let waits = plain.has(OWNER_WAITS);
            prop_assert!(!waits || plain.flush == Flush::Held, "waits for nobody");
            // START is there from the beginning, for the first reason that comes.
            let idle = plain.state == IDLE && !plain.has(START);
            prop_assert!(!(idle && plain.wants_turn()), "idle, and something is due");
        }
    }
}
