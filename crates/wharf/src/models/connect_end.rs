//! M10, R3: the end of a connect. It is seen though a report came too early, and a close does not
//! wait for it.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use loom::thread;

use super::check;
use super::session::{Phase, Session, Setup};
use crate::port::Bits;
use crate::session::queue::CloseHow;
use crate::session::word;

fn connecting() -> Arc<Session> {
    Session::new(Setup {
        bits: word::CONNECTING,
        ..Setup::default()
    })
}

/// A report that came too early (contract: reports may be spurious) meets the true one.
#[test]
fn the_end_of_a_connect_behind_an_early_report_is_seen() {
    check(3, || {
        let session = connecting();
        let other = Arc::clone(&session);
        let edge = thread::spawn(move || {
            other.ready(other.kernel.establish());
            other.work();
        });
        session.ready(Bits::WRITE);
        session.work();
        edge.join().unwrap();
        session.settle();
        session
            .turn
            .with(|turn| assert_eq!(turn.phase, Phase::Open));
        assert!(session.send(&[1]));
        assert_eq!(session.kernel.sent(), [1], "no edge will come for it");
    });
}

/// A close while it connects ends it, whether or not the connect ends meanwhile.
#[test]
fn a_close_does_not_wait_for_a_connect() {
    check(3, || {
        let session = connecting();
        let other = Arc::clone(&session);
        let edge = thread::spawn(move || {
            other.ready(other.kernel.establish());
            other.work();
        });
        session.close(CloseHow::Graceful);
        session.work();
        edge.join().unwrap();
        session.settle();
        session.ready(session.kernel.finish());
        session.settle();
        session
            .turn
            .with(|turn| assert_eq!(turn.phase, Phase::Closed));
        assert_eq!(session.seen.freed.load(SeqCst), 1);
    });
}

/// A close in the middle of a look at a connect that goes on: it breaks off the connect, and does
/// not begin the goodbye of a connection that is none. That one could not end: the word of a
/// connect hides what can be read, and takes its end for something to serve, over and over.
#[test]
fn a_stop_amid_a_look_at_a_connect_spins_no_worker() {
    check(3, || {
        let session = connecting();
        let other = Arc::clone(&session);
        let closer = thread::spawn(move || {
            other.close(CloseHow::Graceful);
            other.work();
        });
        session.ready(Bits::WRITE);
        session.work();
        closer.join().unwrap();
        session.settle();
        session.ready(session.kernel.establish());
        session.settle();
        session
            .turn
            .with(|turn| assert_eq!(turn.phase, Phase::Closed));
        assert_eq!(session.seen.freed.load(SeqCst), 1);
    });
}
