//! What is to happen, in order of time; what is due at one moment, in the order it was entered.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A calendar of events.
#[derive(Debug)]
pub(super) struct Calendar<E> {
    heap: BinaryHeap<Reverse<Entry<E>>>,
    entered: u64,
}

#[derive(Debug)]
struct Entry<E> {
    at: u64,
    order: u64,
    event: E,
}

impl<E> Entry<E> {
    fn key(&self) -> (u64, u64) {
        (self.at, self.order)
    }
}

impl<E> PartialEq for Entry<E> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl<E> Eq for Entry<E> {}

impl<E> PartialOrd for Entry<E> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> Ord for Entry<E> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

impl<E> Calendar<E> {
    /// An empty one.
    pub(super) fn new() -> Self {
        Self {
            heap: BinaryHeap::new(),
            entered: 0,
        }
    }

    /// Enters an event.
    pub(super) fn at(&mut self, at: u64, event: E) {
        self.entered += 1;
        self.heap.push(Reverse(Entry {
            at,
            order: self.entered,
            event,
        }));
    }

    /// The next event no later than `end`, and its moment.
    pub(super) fn next(&mut self, end: u64) -> Option<(u64, E)> {
        let due = self.heap.peek_mut()?;
        (due.0.at <= end).then(|| {
            let Reverse(entry) = std::collections::binary_heap::PeekMut::pop(due);
            (entry.at, entry.event)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_by_time_and_then_by_entry() {
        let mut calendar = Calendar::new();
        for (at, event) in [(5, 'c'), (1, 'a'), (5, 'd'), (3, 'b'), (9, 'e')] {
            calendar.at(at, event);
        }
        let due: String = std::iter::from_fn(|| calendar.next(5))
            .map(|e| e.1)
            .collect();
        assert_eq!(due, "abcd");
        assert_eq!(calendar.next(9), Some((9, 'e')));
    }
}
