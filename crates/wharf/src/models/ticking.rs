//! The tick's flush: `flow/tick.rs`. What was sent before a flush was asked for leaves with it,
//! whoever flushes at the same time; and no goodbye leaves it behind.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use loom::sync::Mutex;
use loom::thread;

use super::check;
use super::close_against_everything::{assert_accounted, assert_over};
use super::session::{Session, Setup};
use crate::session::piece::Wire;
use crate::session::queue::{CloseHow, SendQueueLimits};
use crate::session::word;

/// `HeldList`, of one session: how often it is on it.
struct List(Mutex<usize>);

impl List {
    #[expect(
        clippy::arc_with_non_send_sync,
        reason = "loom's threads are coroutines of one thread"
    )]
    fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(0)))
    }
}

impl Session {
    /// `hold`; false if the frame is not accepted.
    fn hold(&self, list: &List, bytes: &[u8]) -> bool {
        if self.word.has(word::SHUT | word::DEAD) {
            return false;
        }
        let pushed = {
            let mut out = self.out.lock().unwrap();
            let pushed = out.hold(Wire::Borrowed(bytes), &self.setup.limits);
            if let Ok(pushed) = &pushed {
                if pushed.high {
                    out.release();
                    self.word.mark(word::PENDING | word::CHOKED);
                    self.word.take(word::HELD);
                } else if self.word.mark(word::HELD | word::LISTED) & word::LISTED == 0 {
                    let mut listed = list.0.lock().unwrap();
                    *listed += 1;
                    assert_eq!(*listed, 1, "listed twice");
                }
            }
            pushed
        };
        if pushed.as_ref().is_ok_and(|pushed| pushed.high) {
            self.flush_queue();
        }
        pushed.is_ok()
    }

    /// `release`.
    fn release(&self) -> bool {
        if !self.word.has(word::HELD) {
            return false;
        }
        let mut out = self.out.lock().unwrap();
        out.release();
        if !out.is_empty() {
            self.word.mark(word::PENDING);
        }
        self.word.take(word::HELD) != 0
    }

    /// `flush_held`.
    pub(super) fn flush_held(&self) {
        if self.release() {
            self.flush_queue();
        }
    }

    /// `flush_all`, with this session's part of it here or as port work.
    fn flush_all(&self, list: &List, here: bool) {
        let listed = std::mem::take(&mut *list.0.lock().unwrap());
        if listed == 0 {
            return;
        }
        self.word.take(word::LISTED);
        let released = self.release();
        if released && here {
            self.flush_queue();
        } else if released && self.word.mark(word::DIRTY) == 0 {
            self.push_work();
        }
    }
}

/// Two callers send and flush, one of them with the port's help: nothing of either stays behind.
#[test]
fn a_flush_takes_what_was_sent_before_it() {
    for here in [true, false] {
        check(3, move || {
            let (session, list) = (Session::new(Setup::default()), List::new());
            let (other, others) = (Arc::clone(&session), Arc::clone(&list));
            let caller = thread::spawn(move || {
                assert!(other.hold(&others, &[1]));
                other.flush_all(&others, here);
                other.work();
            });
            assert!(session.hold(&list, &[2]));
            session.flush_all(&list, true);
            session.work();
            caller.join().unwrap();
            session.settle();
            assert_eq!(session.kernel.sent().len(), 2, "one stayed behind");
            assert!(session.out.lock().unwrap().is_empty());
        });
    }
}

/// Another sends meanwhile and flushes nothing: what the one who flushes has sent leaves all the
/// same.
#[test]
fn a_flush_finds_whom_another_is_about_to_list() {
    check(3, || {
        let (session, list) = (Session::new(Setup::default()), List::new());
        let (other, others) = (Arc::clone(&session), Arc::clone(&list));
        let caller = thread::spawn(move || assert!(other.hold(&others, &[1])));
        assert!(session.hold(&list, &[2]));
        session.flush_all(&list, true);
        assert!(session.kernel.sent().contains(&2), "it stayed behind");
        caller.join().unwrap();
        session.settle();
    });
}

/// A close finds frames held, or a flush that has just released them: they leave before the end.
#[test]
fn a_goodbye_leaves_nothing_held() {
    check(3, || {
        let (session, list) = (Session::new(Setup::default()), List::new());
        assert!(session.hold(&list, &[1]));
        let (other, others) = (Arc::clone(&session), Arc::clone(&list));
        let caller = thread::spawn(move || {
            let accepted = other.hold(&others, &[2]);
            other.flush_all(&others, true);
            other.work();
            usize::from(accepted)
        });
        session.close(CloseHow::Graceful);
        session.work();
        let accepted = 1 + caller.join().unwrap();
        session.ready(session.kernel.finish());
        assert_over(&session);
        assert_eq!(session.seen.lost.load(SeqCst), 0, "a close in good order");
        assert_accounted(&session, accepted);
    });
}

/// At high water nothing is held, whatever flushes meanwhile.
#[test]
fn at_high_water_nothing_is_held() {
    check(3, || {
        let limits = SendQueueLimits {
            bytes_max: 8,
            high_water_bytes: Some(2),
            low_water_bytes: Some(0),
            ..SendQueueLimits::default()
        };
        let setup = Setup {
            limits,
            ..Setup::default()
        };
        let (session, list) = (Session::new(setup), List::new());
        let (other, others) = (Arc::clone(&session), Arc::clone(&list));
        let caller = thread::spawn(move || {
            assert!(other.hold(&others, &[1]));
            other.flush_all(&others, true);
            other.work();
        });
        assert!(session.hold(&list, &[2]));
        assert!(session.hold(&list, &[3]));
        session.work();
        caller.join().unwrap();
        session.settle();
        let waits = session.out.lock().unwrap().bytes();
        assert_eq!(session.kernel.sent().len() + waits, 3);
        assert!(waits < 2, "as much as the mark waits for a tick");
        assert!(
            !session.word.has(word::CHOKED),
            "choked by a queue that is low"
        );
    });
}
