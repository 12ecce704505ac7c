//! M11, R8: the birth of a session. It is in the table before it is registered, where a stop finds
//! it, and reported before its maker is done with it: `insert_session` and `unmake` in
//! `flow/accept.rs` around the real [`Word`] and [`Deadlines`].

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize as Plain, Ordering::SeqCst};

use loom::sync::Mutex;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

use super::check;
use super::session::Phase;
use crate::session::deadlines::{Deadlines, Timeouts};
use crate::session::word::{self, Word};
use crate::time::Time;

struct Newborn {
    word: Word,
    deadlines: Deadlines,
    /// `TurnState`; its lock is the turn's, which `unmake` takes without the right.
    turn: Mutex<Phase>,
    registered: Mutex<bool>,
    runs: AtomicUsize,
    /// What has come was reported.
    reported: AtomicBool,
    /// How often its place among `sessions_max` was given back.
    given_back: Plain,
}

/// When the handshake must have ended.
const BY: Time = Time::from_nanos(5);

impl Newborn {
    #[expect(
        clippy::arc_with_non_send_sync,
        reason = "loom's threads are coroutines of one thread"
    )]
    fn new() -> Arc<Self> {
        Arc::new(Self {
            word: Word::new(word::START | word::WRITABLE),
            deadlines: Deadlines::default(),
            turn: Mutex::new(Phase::Open),
            registered: Mutex::new(false),
            runs: AtomicUsize::new(0),
            reported: AtomicBool::new(false),
            given_back: Plain::new(0),
        })
    }

    fn raise(&self, reasons: u32) {
        if self.word.raise(reasons) {
            assert_eq!(self.runs.fetch_add(1, Ordering::AcqRel), 0, "pushed twice");
        }
    }

    /// `insert_session`, from the insertion on, and the end of `admit`.
    fn make(&self, registers: bool) {
        self.deadlines.begin(false, Some(BY));
        if registers {
            *self.registered.lock().unwrap() = true;
            self.raise(word::START);
        } else {
            self.unmake();
        }
    }

    /// `unmake`.
    fn unmake(&self) {
        self.word.mark(word::DEAD | word::SHUT);
        let mut phase = self.turn.lock().unwrap();
        if std::mem::replace(&mut *phase, Phase::Closed) != Phase::Closed {
            self.given_back.fetch_add(1, SeqCst);
        }
    }

    /// The report of what has come, once it is registered.
    fn report(&self) {
        let registered = *self.registered.lock().unwrap();
        if registered && !self.reported.swap(true, SeqCst) {
            self.raise(word::READABLE);
        }
    }

    /// `shutdown`: a stop has found it in the table.
    fn abort(&self) {
        self.word.mark(word::SHUT | word::ABORTED);
        self.raise(word::CLOSING | word::TIMER);
    }

    /// A worker: a turn handles the first frame, or closes the session.
    fn work(&self) {
        while self
            .runs
            .compare_exchange(1, 0, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
        {
            self.word.begin_turn();
            self.serve(&mut self.turn.lock().unwrap());
            if self.word.end_turn() {
                assert_eq!(self.runs.fetch_add(1, Ordering::AcqRel), 0, "pushed twice");
            }
        }
    }

    fn serve(&self, phase: &mut Phase) {
        if *phase == Phase::Open && self.word.take(word::READABLE) != 0 {
            self.deadlines.first_frame();
        }
        if *phase == Phase::Open && self.word.has(word::SHUT) {
            *phase = Phase::Closed;
            self.word.mark(word::DEAD);
            self.given_back.fetch_add(1, SeqCst);
        }
    }
}

/// Runs `make` against what others do, then lets the workers finish.
fn race(registers: bool, others: &'static [fn(&Newborn)]) -> impl Fn() -> Arc<Newborn> {
    move || {
        let session = Newborn::new();
        let others: Vec<_> = others
            .iter()
            .map(|act| {
                let other = Arc::clone(&session);
                thread::spawn(move || {
                    act(&other);
                    other.work();
                })
            })
            .collect();
        session.make(registers);
        session.work();
        others.into_iter().for_each(|other| other.join().unwrap());
        session.work();
        assert!(session.word.is_idle());
        session
    }
}

/// The first frame comes as soon as the socket is registered: it ends the handshake.
#[test]
fn a_first_frame_ends_the_handshake() {
    let race = race(true, &[Newborn::report]);
    check(3, move || {
        let session = race();
        session.report();
        session.work();
        let look = session.deadlines.look(&Timeouts::default(), BY);
        assert_eq!(look, Err(Time::NEVER), "it waits for a handshake that was");
    });
}

/// A stop finds it in the table while it can't be registered: its place is given back once.
#[test]
fn a_stop_and_a_failed_registration_end_it_once() {
    let race = race(false, &[Newborn::abort]);
    check(3, move || assert_eq!(race().given_back.load(SeqCst), 1));
}

/// A stop finds it while it is registered and reported: it is closed, once.
#[test]
fn a_stop_that_finds_it_half_made_closes_it() {
    let race = race(true, &[Newborn::abort, Newborn::report]);
    check(2, move || assert_eq!(race().given_back.load(SeqCst), 1));
}
