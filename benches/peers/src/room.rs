//! The room of the runtimes whose writes are awaited: an outbox a member, emptied by a task of its
//! own. One thread; any runtime.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use crate::UNSENT_BYTES_MAX;

/// What a member has still to be sent.
#[derive(Default)]
pub struct Outbox {
    bytes: RefCell<Vec<u8>>,
    waker: Cell<Option<Waker>>,
    closed: Cell<bool>,
}

impl Outbox {
    /// Adds `bytes`; false if the member is too far behind, or has left.
    pub fn put(&self, bytes: &[u8]) -> bool {
        let mut queued = self.bytes.borrow_mut();
        if self.closed.get() || queued.len() + bytes.len() > UNSENT_BYTES_MAX {
            return false;
        }
        queued.extend_from_slice(bytes);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
        true
    }

    /// Nothing waits to be taken.
    pub fn is_empty(&self) -> bool {
        self.bytes.borrow().is_empty()
    }

    /// Nothing more is to be sent: its task ends.
    pub fn close(&self) {
        self.closed.set(true);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Waits for bytes and takes them all, with `empty` as the next place to put some; `None` once
    /// it was closed.
    pub async fn take(&self, mut empty: Vec<u8>) -> Option<Vec<u8>> {
        empty.clear();
        poll_fn(|context| {
            if self.closed.get() {
                return Poll::Ready(());
            }
            if self.bytes.borrow().is_empty() {
                self.waker.set(Some(context.waker().clone()));
                return Poll::Pending;
            }
            Poll::Ready(())
        })
        .await;
        (!self.closed.get()).then(|| self.bytes.replace(empty))
    }
}

/// All members, each with what its library needs to reach it.
#[derive(Debug)]
pub struct Room<M> {
    members: RefCell<Vec<(u64, Rc<M>)>>,
    next: Cell<u64>,
}

impl<M> Default for Room<M> {
    fn default() -> Self {
        Self {
            members: RefCell::new(Vec::new()),
            next: Cell::new(0),
        }
    }
}

impl<M> Room<M> {
    /// Adds a member; the number is for [`leave`](Self::leave).
    pub fn enter(&self, member: Rc<M>) -> u64 {
        let number = self.next.replace(self.next.get() + 1);
        self.members.borrow_mut().push((number, member));
        number
    }

    /// Takes a member out; nothing happens if it is out.
    pub fn leave(&self, number: u64) {
        self.members
            .borrow_mut()
            .retain(|member| member.0 != number);
    }

    /// Does `send` for all members, and takes those out for which it returns false.
    pub fn for_all(&self, mut send: impl FnMut(&M) -> bool) {
        self.members.borrow_mut().retain(|(_, member)| send(member));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::task::Context;

    #[test]
    fn an_outbox_gives_all_that_was_put_and_then_waits() {
        let outbox = Outbox::default();
        assert!(outbox.put(b"ab") && outbox.put(b"c"));
        let mut context = Context::from_waker(Waker::noop());
        let first = pin!(outbox.take(Vec::new())).poll(&mut context);
        assert_eq!(first, Poll::Ready(Some(b"abc".to_vec())));
        let mut second = pin!(outbox.take(b"old".to_vec()));
        assert!(second.as_mut().poll(&mut context).is_pending());
        assert!(outbox.put(b"d"));
        assert_eq!(second.poll(&mut context), Poll::Ready(Some(b"d".to_vec())));
        outbox.close();
        assert_eq!(
            pin!(outbox.take(Vec::new())).poll(&mut context),
            Poll::Ready(None)
        );
        assert!(!outbox.put(b"late"));
    }

    #[test]
    fn a_member_that_is_too_far_behind_is_out() {
        let room = Room::default();
        let outbox = Rc::new(Outbox::default());
        let number = room.enter(Rc::clone(&outbox));
        room.enter(Rc::new(Outbox::default()));
        assert!(outbox.put(&vec![0; UNSENT_BYTES_MAX]));
        let mut reached = 0;
        room.for_all(|member| {
            reached += 1;
            member.put(b"x")
        });
        room.leave(number);
        room.for_all(|_| {
            reached += 1;
            true
        });
        assert_eq!(reached, 3);
    }
}
