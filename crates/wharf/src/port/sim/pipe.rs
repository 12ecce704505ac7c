//! One direction of a connection: what was sent and has not arrived, and what has and was not read.

use std::collections::VecDeque;

use crate::time::Time;

/// What travels.
#[derive(Debug)]
pub(super) enum Item {
    Bytes(VecDeque<u8>),
    /// The end of the stream.
    Fin,
    /// The connection is broken.
    Rst,
}

/// What has just arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Landed {
    Bytes(usize),
    Fin,
    Rst,
}

#[derive(Debug)]
struct Flying {
    at: Time,
    item: Item,
}

/// One direction of a connection. It is kept with its reader, so it outlives a writer that closes.
#[derive(Debug)]
pub(super) struct Pipe {
    flying: VecDeque<Flying>,
    flying_bytes: usize,
    readable: VecDeque<u8>,
    capacity: usize,
    /// The end of the stream has arrived.
    pub(super) fin: bool,
    /// A reset has arrived, or this end broke the connection itself.
    pub(super) rst: bool,
    /// A reset is on its way or has arrived: no second one is sent.
    pub(super) rst_sent: bool,
    /// The arrival of the first item is planned.
    pub(super) planned: bool,
}

impl Pipe {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            flying: VecDeque::new(),
            flying_bytes: 0,
            readable: VecDeque::new(),
            capacity: capacity.max(1),
            fin: false,
            rst: false,
            rst_sent: false,
            planned: false,
        }
    }

    /// Makes the pipe smaller. What is in it stays.
    pub(super) fn limit(&mut self, capacity: usize) {
        self.capacity = self.capacity.min(capacity.max(1));
    }

    /// How many more bytes fit.
    pub(super) fn space(&self) -> usize {
        self.capacity
            .saturating_sub(self.flying_bytes + self.readable.len())
    }

    /// How many bytes can be read.
    pub(super) fn readable(&self) -> usize {
        self.readable.len()
    }

    /// How many bytes are on their way.
    pub(super) fn flying_bytes(&self) -> usize {
        self.flying_bytes
    }

    /// Sends an item that arrives at `at`, or with the item before it if that is later.
    pub(super) fn push(&mut self, at: Time, item: Item) {
        if let Item::Bytes(bytes) = &item {
            self.flying_bytes += bytes.len();
        }
        self.rst_sent |= matches!(item, Item::Rst);
        let at = self.flying.back().map_or(at, |last| last.at.max(at));
        self.flying.push_back(Flying { at, item });
    }

    /// When the first item arrives, and how many bytes it is if it is bytes.
    pub(super) fn first(&self) -> Option<(Time, Option<usize>)> {
        self.flying.front().map(|first| match &first.item {
            Item::Bytes(bytes) => (first.at, Some(bytes.len())),
            Item::Fin | Item::Rst => (first.at, None),
        })
    }

    /// How many items are on their way.
    pub(super) fn items(&self) -> usize {
        self.flying.len()
    }

    /// Loses all but the first `kept` items that are on their way.
    pub(super) fn cut(&mut self, kept: usize) {
        while self.flying.len() > kept {
            if let Some(Flying {
                item: Item::Bytes(bytes),
                ..
            }) = self.flying.pop_back()
            {
                self.flying_bytes -= bytes.len();
            }
        }
    }

    /// Loses what could be read.
    pub(super) fn lose_readable(&mut self) -> usize {
        let lost = self.readable.len();
        self.readable.clear();
        lost
    }

    /// Lets the first item arrive, of bytes at most `bytes_max` (at least 1).
    pub(super) fn land(&mut self, bytes_max: usize) -> Option<Landed> {
        let first = self.flying.front_mut()?;
        let landed = match &mut first.item {
            Item::Bytes(bytes) => {
                let count = bytes.len().min(bytes_max.max(1));
                self.readable.extend(bytes.drain(..count));
                self.flying_bytes -= count;
                if !bytes.is_empty() {
                    return Some(Landed::Bytes(count));
                }
                Landed::Bytes(count)
            }
            Item::Fin => {
                self.fin = true;
                Landed::Fin
            }
            Item::Rst => {
                self.rst = true;
                Landed::Rst
            }
        };
        self.flying.pop_front();
        Some(landed)
    }

    /// Takes the first bytes out, as many as fit into `into`.
    pub(super) fn read(&mut self, into: &mut [u8]) -> usize {
        let count = into.len().min(self.readable.len());
        for (to, from) in into.iter_mut().zip(self.readable.drain(..count)) {
            *to = from;
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &str) -> Item {
        Item::Bytes(text.bytes().collect())
    }

    #[test]
    fn bytes_arrive_in_pieces_and_in_order() {
        let mut pipe = Pipe::new(6);
        pipe.push(Time::from_nanos(9), bytes("abcd"));
        pipe.push(Time::from_nanos(3), bytes("ef"));
        pipe.push(Time::from_nanos(4), Item::Fin);
        assert_eq!((pipe.space(), pipe.items()), (0, 3));
        assert_eq!(pipe.land(3), Some(Landed::Bytes(3)));
        assert_eq!(pipe.first(), Some((Time::from_nanos(9), Some(1))));
        let mut into = [0; 8];
        assert_eq!(pipe.read(&mut into[..2]), 2);
        assert_eq!(pipe.space(), 2);
        assert_eq!(pipe.land(9), Some(Landed::Bytes(1)));
        assert_eq!(
            pipe.first(),
            Some((Time::from_nanos(9), Some(2))),
            "never overtakes"
        );
        assert_eq!(pipe.land(9), Some(Landed::Bytes(2)));
        assert_eq!(pipe.read(&mut into[2..]), 4);
        assert_eq!(&into[..6], b"abcdef");
        assert_eq!((pipe.land(1), pipe.fin), (Some(Landed::Fin), true));
        assert_eq!((pipe.land(1), pipe.space()), (None, 6));
    }

    #[test]
    fn a_cut_loses_the_last_items_and_their_bytes() {
        let mut pipe = Pipe::new(10);
        pipe.push(Time::ZERO, bytes("abc"));
        pipe.push(Time::ZERO, bytes("de"));
        pipe.push(Time::ZERO, Item::Fin);
        pipe.cut(1);
        assert_eq!((pipe.items(), pipe.flying_bytes(), pipe.space()), (1, 3, 7));
        pipe.push(Time::ZERO, Item::Rst);
        assert!(pipe.rst_sent && !pipe.rst);
        assert_eq!(pipe.land(9), Some(Landed::Bytes(3)));
        assert_eq!((pipe.land(9), pipe.rst), (Some(Landed::Rst), true));
        assert_eq!((pipe.lose_readable(), pipe.readable()), (3, 0));
    }

    #[test]
    fn a_limit_may_leave_more_in_than_fits() {
        let mut pipe = Pipe::new(10);
        pipe.push(Time::ZERO, bytes("abcdef"));
        pipe.limit(2);
        assert_eq!(pipe.space(), 0);
        pipe.limit(0);
        pipe.cut(0);
        assert_eq!(pipe.space(), 1, "a pipe holds at least a byte");
    }
}
