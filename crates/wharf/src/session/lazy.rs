//! A queue that most sessions never use: one word until its first item comes.

use std::collections::VecDeque;

/// Room that an empty queue keeps.
const KEPT: usize = 4;

/// A [`VecDeque`] that is set up when it is first needed, and then stays: a steady state allocates
/// nothing.
#[derive(Debug)]
#[expect(
    clippy::box_collection,
    reason = "one word instead of four in each idle session"
)]
pub(crate) struct Lazy<T>(Option<Box<VecDeque<T>>>);

impl<T> Default for Lazy<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T> Lazy<T> {
    pub(crate) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |queue| queue.len())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn push_back(&mut self, item: T) {
        self.0.get_or_insert_default().push_back(item);
    }

    pub(crate) fn pop_front(&mut self) -> Option<T> {
        self.0.as_mut()?.pop_front()
    }

    pub(crate) fn front(&self) -> Option<&T> {
        self.0.as_ref()?.front()
    }

    pub(crate) fn back_mut(&mut self) -> Option<&mut T> {
        self.0.as_mut()?.back_mut()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().flat_map(|queue| queue.iter())
    }

    /// Drops all, and the room they took.
    pub(crate) fn clear(&mut self) {
        self.0 = None;
    }

    /// Gives back the room of an empty queue that was long once.
    pub(crate) fn shrink(&mut self) {
        if let Some(queue) = &mut self.0
            && queue.is_empty()
            && queue.capacity() > KEPT
        {
            **queue = VecDeque::new();
        }
    }
}

impl<T> IntoIterator for Lazy<T> {
    type Item = T;
    type IntoIter = std::collections::vec_deque::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0
            .map_or_else(VecDeque::new, |queue| *queue)
            .into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_order_and_one_word() {
        assert_eq!(size_of::<Lazy<[u64; 4]>>(), size_of::<usize>());
        let mut lazy = Lazy::default();
        assert!(lazy.pop_front().is_none() && lazy.front().is_none());
        (0..100).for_each(|item| lazy.push_back(item));
        assert_eq!((lazy.pop_front(), lazy.front()), (Some(0), Some(&1)));
        if let Some(last) = lazy.back_mut() {
            *last = 7;
        }
        lazy.shrink();
        assert_eq!(lazy.len(), 99, "what is in it stays");
        assert_eq!(lazy.iter().last(), Some(&7));
        assert_eq!(lazy.into_iter().next(), Some(1));
    }

    #[test]
    fn an_emptied_queue_keeps_little() {
        let mut lazy = Lazy::default();
        (0..100).for_each(|item| lazy.push_back(item));
        while lazy.pop_front().is_some() {}
        lazy.shrink();
        let room = |lazy: &Lazy<i32>| lazy.0.as_ref().map_or(0, |queue| queue.capacity());
        assert!(room(&lazy) <= KEPT);
        lazy.push_back(1);
        lazy.clear();
        assert_eq!(room(&lazy), 0);
    }
}
