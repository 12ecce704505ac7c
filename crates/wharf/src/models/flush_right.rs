//! M2, R9: the flush right. Whoever pushes, whoever writes, whenever the socket fills and drains:
//! what is accepted is written, in each sender's order, by one thread at a time.

use std::sync::Arc;

use loom::sync::Mutex;
use loom::thread;

use super::check;
use super::session::{Session, Setup};
use crate::session::word;

/// The peer reads all, until nothing more comes; then it must have got exactly `wanted` frames,
/// those of one sender (the high half of a byte) in order.
fn assert_written(session: &Session, wanted: usize) {
    session.settle();
    session.ready(session.kernel.drain(100));
    session.settle();
    assert_flushed(session);
    let sent = session.kernel.sent();
    assert_eq!(sent.len(), wanted, "{sent:x?}");
    for sender in 0..16 {
        let of_sender: Vec<u8> = sent.iter().copied().filter(|b| b >> 4 == sender).collect();
        assert!(of_sender.is_sorted(), "out of order: {sent:x?}");
    }
}

/// Nothing is pending, nobody flushes, and the accounts are even.
fn assert_flushed(session: &Session) {
    let bits = session.word.bits();
    assert_eq!(bits & (word::PENDING | word::FLUSHING), 0, "{bits:#x}");
    let out = session.out.lock().unwrap();
    assert!(out.is_empty());
    assert_eq!((out.bytes(), out.frames()), (0, 0));
}

fn sender(session: &Arc<Session>, frames: &'static [u8]) -> thread::JoinHandle<()> {
    let session = Arc::clone(session);
    thread::spawn(move || {
        for frame in frames {
            assert!(session.send(&[*frame]));
        }
    })
}

/// Two senders, a socket that fills, and its drain.
#[test]
fn senders_meet_a_full_socket_and_its_drain() {
    check(3, || {
        let session = Session::new(Setup {
            room: 1,
            ..Setup::default()
        });
        let senders = [sender(&session, &[0x10, 0x11]), sender(&session, &[0x20])];
        session.ready(session.kernel.drain(1));
        senders
            .into_iter()
            .for_each(|sender| sender.join().unwrap());
        assert_written(&session, 3);
    });
}

/// What a turn writes past the queue competes with a sender.
#[test]
fn the_direct_write_of_a_turn_meets_a_sender() {
    check(3, || {
        let session = Session::new(Setup {
            room: 1,
            reply: Some(0x30),
            ..Setup::default()
        });
        let came = session.kernel.arrive(1);
        let other = sender(&session, &[0x10, 0x11]);
        session.ready(came);
        session.work();
        other.join().unwrap();
        assert_written(&session, 3);
    });
}

/// The drain comes while a turn writes directly, and while the rest is handed over.
#[test]
fn the_direct_write_of_a_turn_meets_a_drain() {
    check(3, || {
        let session = Session::new(Setup {
            room: 1,
            reply: Some(0x30),
            ..Setup::default()
        });
        let came = session.kernel.arrive(2);
        let other = Arc::clone(&session);
        let drain = thread::spawn(move || other.ready(other.kernel.drain(1)));
        session.ready(came);
        session.work();
        drain.join().unwrap();
        assert_written(&session, 2);
    });
}

/// What the first turn could not write is written before what the second one writes directly.
#[test]
fn the_direct_write_of_a_turn_overtakes_nothing() {
    check(3, || {
        let session = Session::new(Setup {
            room: 0,
            reply: Some(0x30),
            ..Setup::default()
        });
        session.ready(session.kernel.arrive(1));
        session.work();
        let came = session.kernel.arrive(1);
        let other = Arc::clone(&session);
        let drain = thread::spawn(move || other.ready(other.kernel.drain(2)));
        session.ready(came);
        session.work();
        drain.join().unwrap();
        assert_written(&session, 2);
    });
}

/// While the socket takes bytes, nothing may stay pending: no further edge would come for it.
#[test]
fn nothing_stays_pending_while_the_socket_takes_bytes() {
    check(2, || {
        let session = Session::new(Setup::default());
        let others = [sender(&session, &[0x10]), sender(&session, &[0x20])];
        assert!(session.send(&[0x30]));
        others.into_iter().for_each(|other| other.join().unwrap());
        assert_flushed(&session);
    });
}

/// A flush that has written enough lets go in between: what it leaves is port work.
#[test]
fn a_flush_that_lets_go_in_between_is_taken_up_again() {
    check(2, || {
        let session = Session::new(Setup {
            send_max: 1,
            writes_max: 1,
            ..Setup::default()
        });
        let other = sender(&session, &[0x10]);
        assert!(session.send(&[0x20, 0x21]));
        session.work();
        other.join().unwrap();
        assert_written(&session, 3);
    });
}

/// Two turns of other sessions send to this one, and each has it on a list of its own.
#[test]
fn what_two_turns_gather_is_flushed_by_the_list_it_is_on() {
    check(2, || {
        let session = Session::new(Setup {
            writes_max: 1,
            ..Setup::default()
        });
        let turn = |session: &Session, list, frame| {
            if session.send_in_turn(list, &[frame]) {
                session.served_work();
            }
            session.work();
        };
        let other = Arc::clone(&session);
        let other = thread::spawn(move || turn(&other, 1, 0x10));
        turn(&session, 2, 0x20);
        other.join().unwrap();
        session.settle();
        assert_flushed(&session);
    });
}

/// One of the two is stuck, and a sibling takes its list: the mark on the session and the list
/// must agree, or a frame waits on no list (R5; M8 is about the sibling's coming).
#[test]
fn what_a_stuck_turn_gathered_is_flushed_by_who_takes_its_list() {
    check(3, || {
        let session = Session::new(Setup::default());
        let list = Arc::new(Mutex::new(0));
        let take = |session: &Session, list: &Mutex<usize>| {
            let taken = std::mem::take(&mut *list.lock().unwrap());
            (0..taken).for_each(|_| session.served_work());
        };
        let (stuck, its) = (Arc::clone(&session), Arc::clone(&list));
        let stuck = thread::spawn(move || {
            for frame in [0x10, 0x11] {
                if stuck.send_in_turn(1, &[frame]) {
                    *its.lock().unwrap() += 1;
                }
            }
        });
        let other = Arc::clone(&session);
        let other = thread::spawn(move || {
            if other.send_in_turn(2, &[0x20]) {
                other.served_work();
            }
        });
        take(&session, &list);
        stuck.join().unwrap();
        other.join().unwrap();
        take(&session, &list);
        assert_flushed(&session);
    });
}
