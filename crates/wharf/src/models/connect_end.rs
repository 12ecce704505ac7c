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
