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
