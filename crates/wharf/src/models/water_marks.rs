//! M3, G5: high and low water. A session whose send queue is high is not read; once it is low, it
//! is read again, whatever came in between.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use loom::thread;

use super::check;
use super::session::{Session, Setup};
use crate::session::queue::{SendQueueLimits, WhenFull};
use crate::session::word;

fn setup(room: usize) -> Setup {
    Setup {
        room,
        limits: SendQueueLimits {
            bytes_max: 8,
            high_water_bytes: Some(2),
            low_water_bytes: Some(0),
            when_full: WhenFull::DropOld,
            ..SendQueueLimits::default()
        },
        ..Setup::default()
    }
}

/// When all is written, nothing holds back the reading, and what came is read.
fn assert_reads(session: &Session, bytes: usize) {
    session.settle();
    session.ready(session.kernel.drain(100));
    session.settle();
    assert!(session.out.lock().unwrap().is_empty());
    assert!(!session.word.has(word::CHOKED), "choked by an empty queue");
    assert_eq!(session.seen.frames.load(SeqCst), bytes, "it was not read");
}

/// A sender chokes it while the flush of another drains it and bytes come.
#[test]
fn a_sender_and_a_flush_meet_at_the_marks() {
    check(2, || {
        let session = Session::new(setup(100));
        let sender = Arc::clone(&session);
        let sender = thread::spawn(move || assert!(sender.send(&[1, 2])));
        let other = Arc::clone(&session);
        let edge = thread::spawn(move || {
            other.ready(other.kernel.arrive(1));
            other.work();
        });
        assert!(session.send(&[3, 4]));
        sender.join().unwrap();
        edge.join().unwrap();
        assert_reads(&session, 1);
    });
}

/// The socket is full: the drain lowers the mark while a sender raises it and bytes come.
#[test]
fn a_drain_and_a_sender_meet_at_the_marks() {
    check(3, || {
        let session = Session::new(setup(0));
        assert!(session.send(&[1, 2]));
        assert!(session.word.has(word::CHOKED));
        let drain = Arc::clone(&session);
        let drain = thread::spawn(move || drain.ready(drain.kernel.drain(2)));
        let sender = Arc::clone(&session);
        let sender = thread::spawn(move || assert!(sender.send(&[3, 4])));
        session.ready(session.kernel.arrive(1));
        session.work();
        drain.join().unwrap();
        sender.join().unwrap();
        assert_reads(&session, 1);
    });
}

/// The turn itself chokes the session, by what it answers, and saves the rest of what it read.
#[test]
fn a_turn_that_chokes_itself_goes_on_after_the_drain() {
    check(3, || {
        let session = Session::new(Setup {
            reply: Some(9),
            recv_max: 3,
            ..setup(0)
        });
        let came = session.kernel.arrive(3);
        let other = Arc::clone(&session);
        let drain = thread::spawn(move || {
            assert!(other.send(&[1, 2]));
            other.ready(other.kernel.drain(3));
            other.work();
        });
        session.ready(came);
        session.work();
        drain.join().unwrap();
        assert_reads(&session, 3);
    });
}
