//! M4: pause guards. Reading resumes when the last guard is gone, whoever drops it.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use loom::thread;

use super::check;
use super::session::{Session, Setup};
use crate::session::word;

fn assert_resumed(session: &Session, bytes: usize) {
    session.settle();
    assert!(!session.word.has(word::PAUSED), "paused by nobody");
    assert_eq!(session.seen.frames.load(SeqCst), bytes, "it was not read");
}

#[test]
fn the_last_of_two_guards_resumes() {
    check(3, || {
        let session = Session::new(Setup::default());
        session.pause(true);
        session.pause(true);
        let other = Arc::clone(&session);
        let guard = thread::spawn(move || {
            other.pause(false);
            other.work();
        });
        let edge = Arc::clone(&session);
        let edge = thread::spawn(move || edge.ready(edge.kernel.arrive(1)));
        session.pause(false);
        session.work();
        guard.join().unwrap();
        edge.join().unwrap();
        assert_resumed(&session, 1);
    });
}

/// One guard is taken while the last one is dropped, and a turn reads.
#[test]
fn a_guard_taken_while_the_last_is_dropped_holds() {
    check(3, || {
        let session = Session::new(Setup::default());
        session.pause(true);
        let came = session.kernel.arrive(1);
        let other = Arc::clone(&session);
        let taker = thread::spawn(move || {
            other.pause(true);
            other.work();
        });
        session.ready(came);
        session.pause(false);
        session.work();
        taker.join().unwrap();
        session.settle();
        assert!(session.word.has(word::PAUSED), "a guard lives");
        session.pause(false);
        assert_resumed(&session, 1);
    });
}
