//! M7: the mailbox. A job that was accepted runs once, before `on_close`.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use loom::thread;

use super::check;
use super::session::{Session, Setup};
use crate::session::queue::CloseHow;

#[test]
fn an_accepted_job_runs_once_before_the_close() {
    check(2, || {
        let session = Session::new(Setup::default());
        let posters = [1, 2].map(|job| {
            let other = Arc::clone(&session);
            thread::spawn(move || {
                let accepted = other.post(job);
                other.work();
                usize::from(accepted)
            })
        });
        session.close(CloseHow::Graceful);
        session.work();
        let accepted: usize = posters.map(|poster| poster.join().unwrap()).iter().sum();
        session.settle();
        let seen = &session.seen;
        assert_eq!(seen.closes.load(SeqCst), 1);
        assert_eq!(seen.jobs.load(SeqCst), accepted, "run as often as accepted");
        assert_eq!(
            seen.after_close.load(SeqCst),
            0,
            "a callback after on_close"
        );
    });
}

/// More jobs than one turn may run: the rest has a turn of its own, or runs before `on_close`.
#[test]
fn jobs_beyond_the_budget_of_a_turn_are_not_forgotten() {
    check(3, || {
        let session = Session::new(Setup {
            jobs_max: 1,
            ..Setup::default()
        });
        let other = Arc::clone(&session);
        let poster = thread::spawn(move || {
            let accepted = usize::from(other.post(1)) + usize::from(other.post(2));
            other.work();
            accepted
        });
        let accepted = usize::from(session.post(3));
        session.work();
        let accepted = accepted + poster.join().unwrap();
        session.settle();
        assert_eq!(accepted, 3);
        assert_eq!(session.seen.jobs.load(SeqCst), accepted);
    });
}
