//! M5, R8: the close against everything. One `on_close`, last; the socket is closed once, by the
//! owner, when nobody else may touch it; and it is closed in the end, whoever was in the way.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use loom::thread;

use super::check;
use super::session::{Phase, Session, Setup};
use crate::session::queue::CloseHow;
use crate::session::word;

/// All threads have ended: the session is over, and was ended once.
pub(super) fn assert_over(session: &Session) {
    session.settle();
    let seen = &session.seen;
    assert_eq!(seen.closes.load(SeqCst), 1, "one on_close");
    assert_eq!(
        seen.after_close.load(SeqCst),
        0,
        "a callback after on_close"
    );
    assert_eq!(seen.freed.load(SeqCst), 1, "the socket is closed, once");
    assert!(
        !seen.freed_early.load(SeqCst),
        "closed while a right was out"
    );
    session
        .turn
        .with(|turn| assert_eq!(turn.phase, Phase::Closed));
    assert!(session.word.has(word::DEAD));
    let out = session.out.lock().unwrap();
    assert_eq!((out.bytes(), out.frames()), (0, 0));
}

/// Every frame accepted was written or counted as lost.
pub(super) fn assert_accounted(session: &Session, accepted: usize) {
    let written = session.kernel.sent().len();
    let lost = session.seen.lost.load(SeqCst);
    assert_eq!(written + lost, accepted, "{written} written, {lost} lost");
}

/// A close in good order waits for the flush of another thread, and for a full socket.
#[test]
fn a_close_waits_for_what_was_accepted() {
    check(2, || {
        let session = Session::new(Setup {
            room: 0,
            ..Setup::default()
        });
        let other = Arc::clone(&session);
        let sender = thread::spawn(move || {
            let accepted = other.send(&[2]);
            other.work();
            usize::from(accepted)
        });
        let other = Arc::clone(&session);
        let peer = thread::spawn(move || {
            other.ready(other.kernel.drain(1));
            other.ready(other.kernel.finish());
            other.work();
        });
        session.close(CloseHow::Graceful);
        session.work();
        let accepted = sender.join().unwrap();
        peer.join().unwrap();
        assert_over(&session);
        assert_eq!(session.seen.lost.load(SeqCst), 0, "a close in good order");
        assert_eq!(session.kernel.sent().len(), accepted);
    });
}

/// Close, abort and the peer's end at once: the first reason ends the callbacks, once.
#[test]
fn two_closes_and_the_end_of_the_stream_are_one_close() {
    check(2, || {
        let session = Session::new(Setup::default());
        let other = Arc::clone(&session);
        let peer = thread::spawn(move || {
            other.ready(other.kernel.finish());
            other.work();
        });
        let other = Arc::clone(&session);
        let closer = thread::spawn(move || {
            other.close(CloseHow::Graceful);
            other.work();
        });
        session.close(CloseHow::Abort);
        session.work();
        peer.join().unwrap();
        closer.join().unwrap();
        assert_over(&session);
    });
}

/// The owner finds the flush right taken by a flush that the abort interrupts.
#[test]
fn the_owner_gets_the_flush_right_in_the_end() {
    check(3, || {
        let session = Session::new(Setup {
            room: 1,
            ..Setup::default()
        });
        let other = Arc::clone(&session);
        let sender = thread::spawn(move || {
            let first = other.send(&[1]);
            let second = other.send(&[2]);
            usize::from(first) + usize::from(second)
        });
        session.close(CloseHow::Abort);
        session.work();
        let accepted = sender.join().unwrap();
        assert_over(&session);
        assert_accounted(&session, accepted);
    });
}

/// An abort behind a send meets a turn that answers, and so a flush of either side.
#[test]
fn an_abort_meets_a_turn_and_a_flush() {
    check(3, || {
        let session = Session::new(Setup {
            reply: Some(1),
            ..Setup::default()
        });
        session.ready(session.kernel.arrive(1));
        let other = Arc::clone(&session);
        let sender = thread::spawn(move || {
            let accepted = usize::from(other.send(&[2]));
            other.close(CloseHow::Abort);
            other.work();
            accepted
        });
        session.work();
        let accepted = sender.join().unwrap();
        assert_over(&session);
        assert_accounted(&session, accepted + session.seen.frames.load(SeqCst));
    });
}

/// The peer ended its stream and reads slowly: each report says readable again, and none of them
/// may keep the goodbye running.
#[test]
fn a_goodbye_to_a_slow_reader_does_not_spin() {
    check(2, || {
        let session = Session::new(Setup {
            room: 0,
            ..Setup::default()
        });
        assert!(session.send(&[1]) && session.send(&[2]));
        session.ready(session.kernel.finish());
        session.work();
        let other = Arc::clone(&session);
        let peer = thread::spawn(move || {
            other.ready(other.kernel.drain(1));
            other.work();
        });
        session.work();
        peer.join().unwrap();
        session.settle();
        session.ready(session.kernel.drain(1));
        assert_over(&session);
        assert_accounted(&session, 2);
    });
}

/// An abort breaks the connection even while the session's turn never ends and a flush is under
/// way: its peer must not wait for a stuck callback (R5, R8).
#[test]
fn an_abort_breaks_the_connection_of_a_stuck_turn() {
    check(3, || {
        let session = Session::new(Setup::default());
        session.raise(word::TIMER);
        session.begin_and_stick();
        let other = Arc::clone(&session);
        let sender = thread::spawn(move || other.send(&[1]));
        session.close(CloseHow::Abort);
        sender.join().unwrap();
        assert!(session.kernel.is_broken(), "the peer still waits");
    });
}

/// A guard that nobody drops holds back the frames, not the goodbye.
#[test]
fn a_paused_session_says_goodbye_all_the_same() {
    check(3, || {
        let session = Session::new(Setup::default());
        session.pause(true);
        session.ready(session.kernel.arrive(1));
        let other = Arc::clone(&session);
        let peer = thread::spawn(move || {
            other.ready(other.kernel.finish());
            other.work();
        });
        session.close(CloseHow::Graceful);
        session.work();
        peer.join().unwrap();
        assert_over(&session);
        assert_eq!(
            session.seen.frames.load(SeqCst),
            0,
            "read in spite of the guard"
        );
    });
}
