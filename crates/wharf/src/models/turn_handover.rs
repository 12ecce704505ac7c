//! M1, R3: edges and turns. Whatever an edge meets, what came is read, and by one turn at a time.

use std::sync::atomic::Ordering::SeqCst;

use loom::thread;

use super::check;
use super::session::{Session, Setup};
use crate::session::word;

/// Everything is read, and the session stands idle.
fn assert_read(session: &Session, bytes: usize) {
    session.settle();
    assert_eq!(session.kernel.unread(), 0, "no turn came for it");
    assert_eq!(session.seen.frames.load(SeqCst), bytes);
}

#[test]
fn bytes_from_two_sides_are_read() {
    check(3, || {
        let session = Session::new(Setup::default());
        let other = session.clone();
        let edge = thread::spawn(move || {
            other.ready(other.kernel.arrive(1));
            other.work();
        });
        session.ready(session.kernel.arrive(1));
        session.work();
        edge.join().unwrap();
        assert_read(&session, 2);
    });
}

#[test]
fn a_turn_for_another_reason_meets_two_edges() {
    check(3, || {
        let session = Session::new(Setup::default());
        let edges = [1, 2].map(|bytes| {
            let other = session.clone();
            thread::spawn(move || other.ready(other.kernel.arrive(bytes)))
        });
        session.raise(word::TIMER);
        session.work();
        edges.into_iter().for_each(|edge| edge.join().unwrap());
        assert_read(&session, 3);
    });
}

/// The end of the stream comes after a short read that the turn took for the last.
#[test]
fn an_end_behind_a_short_read_is_read() {
    check(3, || {
        let session = Session::new(Setup::default());
        let came = session.kernel.arrive(1);
        let other = session.clone();
        let edge = thread::spawn(move || {
            other.ready(other.kernel.finish());
            other.work();
        });
        session.ready(came);
        session.work();
        edge.join().unwrap();
        assert_read(&session, 1);
        session.turn.with(|turn| assert!(turn.eof));
        assert_eq!(session.seen.closes.load(SeqCst), 1);
    });
}
