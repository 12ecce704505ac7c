//! M12: the mailbox of a strand, as `strand/core.rs` has it, around the real [`Word`]. A turn takes
//! all of it and works from what it took; what is due comes by a list of its own; a close waits for
//! what was accepted; an end drops the rest. What was accepted runs once or is dropped once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize as Plain, Ordering::SeqCst};

use loom::sync::Mutex;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

use super::check;
use super::rights::Held;
use crate::session::word::{self, Word};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Open,
    Closing,
    Over,
}

/// What a job does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Job {
    Runs,
    Panics,
    /// A tick: it is no job, and nobody counts on it once the strand closes.
    Tick,
}

/// `Mailbox`.
struct Mailbox {
    jobs: Vec<Job>,
    due: Vec<Job>,
    life: Life,
}

/// `TurnState`.
struct Turn {
    value: Option<()>,
    jobs: Vec<Job>,
}

/// `StrandCore`. Jobs of one turn at most: `jobs_max`.
struct Strand {
    word: Word,
    mailbox: Mutex<Mailbox>,
    turn: Held<Turn>,
    taken: AtomicUsize,
    runs: AtomicUsize,
    jobs_max: usize,
    mailbox_max: usize,
    ran: Plain,
    ticks: Plain,
    dropped: Plain,
    buried: Plain,
    /// Accepted and not begun; no part of the model.
    waiting: Plain,
    waited_most: Plain,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Done,
    More,
    Over,
}

impl Strand {
    #[expect(
        clippy::arc_with_non_send_sync,
        reason = "loom's threads are coroutines of one thread"
    )]
    fn new(jobs_max: usize, mailbox_max: usize) -> Arc<Self> {
        Arc::new(Self {
            word: Word::new(0),
            mailbox: Mutex::new(Mailbox {
                jobs: Vec::new(),
                due: Vec::new(),
                life: Life::Open,
            }),
            turn: Held::new(Turn {
                value: Some(()),
                jobs: Vec::new(),
            }),
            taken: AtomicUsize::new(0),
            runs: AtomicUsize::new(0),
            jobs_max,
            mailbox_max,
            ran: Plain::new(0),
            ticks: Plain::new(0),
            dropped: Plain::new(0),
            buried: Plain::new(0),
            waiting: Plain::new(0),
            waited_most: Plain::new(0),
        })
    }

    /// `raise`, and `PortCore::push_turn`.
    fn raise(&self, reasons: u32) {
        if self.word.raise(reasons) {
            self.push_turn();
        }
    }

    fn push_turn(&self) {
        assert_eq!(self.runs.fetch_add(1, Ordering::AcqRel), 0, "pushed twice");
    }

    /// A worker that runs what is queued until nothing is.
    fn work(&self) {
        while self
            .runs
            .compare_exchange(1, 0, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
        {
            self.run_turn();
        }
    }

    /// `post`.
    fn post(&self, job: Job) -> bool {
        {
            let mut mailbox = self.mailbox.lock().unwrap();
            let waiting = mailbox.jobs.len() + self.taken.load(Ordering::Relaxed);
            if mailbox.life != Life::Open || waiting >= self.mailbox_max {
                return false;
            }
            mailbox.jobs.push(job);
            let waiting = self.waiting.fetch_add(1, SeqCst) + 1;
            self.waited_most.fetch_max(waiting, SeqCst);
        }
        self.raise(word::POSTED);
        true
    }

    /// `push_due`.
    fn push_due(&self) -> bool {
        {
            let mut mailbox = self.mailbox.lock().unwrap();
            if mailbox.life == Life::Over {
                return false;
            }
            mailbox.due.push(Job::Tick);
        }
        self.raise(word::TIMER);
        true
    }

    /// `close`.
    fn close(&self) {
        {
            let mut mailbox = self.mailbox.lock().unwrap();
            if mailbox.life != Life::Open {
                return;
            }
            mailbox.life = Life::Closing;
        }
        self.word.mark(word::SHUT);
        self.raise(word::CLOSING);
    }

    /// `Served::turn`.
    fn run_turn(&self) {
        self.word.begin_turn();
        self.turn.with(|turn| self.serve(turn));
        if self.word.end_turn() {
            self.push_turn();
        }
    }

    /// `serve`.
    fn serve(&self, turn: &mut Turn) {
        let (due, all_taken) = self.take(turn);
        let shut = self.word.has(word::SHUT | word::DEAD);
        self.ticks.fetch_add(if shut { 0 } else { due }, SeqCst);
        let mut step = self.run_jobs(turn, all_taken);
        if step == Step::Done && self.word.has(word::SHUT | word::DEAD) && self.nothing_waits() {
            step = Step::Over;
        }
        match step {
            Step::Done => {}
            Step::More => {
                self.word.mark(word::POSTED);
            }
            Step::Over => {
                let value = turn.value.take();
                self.bury(value, std::mem::take(&mut turn.jobs));
            }
        }
    }

    /// `take`.
    fn take(&self, turn: &mut Turn) -> (usize, bool) {
        let mut mailbox = self.mailbox.lock().unwrap();
        let due = std::mem::take(&mut mailbox.due).len();
        if !turn.jobs.is_empty() {
            return (due, mailbox.jobs.is_empty());
        }
        std::mem::swap(&mut turn.jobs, &mut mailbox.jobs);
        self.taken.store(turn.jobs.len(), Ordering::Relaxed);
        (due, true)
    }

    /// `nothing_waits`.
    fn nothing_waits(&self) -> bool {
        let mailbox = self.mailbox.lock().unwrap();
        mailbox.jobs.is_empty() && mailbox.due.is_empty()
    }

    /// `run_jobs` and `after_callback`. What is due in a second take is run at once here, and in
    /// the next turn there.
    fn run_jobs(&self, turn: &mut Turn, mut all_taken: bool) -> Step {
        if turn.jobs.is_empty() && all_taken {
            return Step::Done;
        }
        let mut budget = self.jobs_max;
        loop {
            if turn.jobs.is_empty() {
                if all_taken {
                    return Step::Done;
                }
                let due;
                (due, all_taken) = self.take(turn);
                self.ticks.fetch_add(due, SeqCst);
                continue;
            }
            let job = turn.jobs.remove(0);
            self.waiting.fetch_sub(1, SeqCst);
            self.taken.store(turn.jobs.len(), Ordering::Relaxed);
            if turn.value.is_none() {
                self.dropped.fetch_add(1, SeqCst);
                return Step::Over;
            }
            self.ran.fetch_add(1, SeqCst);
            budget -= 1;
            if job == Job::Panics || self.word.has(word::DEAD) {
                return Step::Over;
            }
            if budget == 0 && !(turn.jobs.is_empty() && all_taken) {
                return Step::More;
            }
            budget = budget.max(1);
        }
    }

    /// `bury`.
    fn bury(&self, value: Option<()>, jobs: Vec<Job>) {
        self.word.mark(word::DEAD | word::SHUT);
        let waiting = {
            let mut mailbox = self.mailbox.lock().unwrap();
            mailbox.life = Life::Over;
            mailbox.due.clear();
            std::mem::take(&mut mailbox.jobs)
        };
        self.dropped.fetch_add(jobs.len() + waiting.len(), SeqCst);
        self.buried.fetch_add(usize::from(value.is_some()), SeqCst);
        self.taken.store(0, Ordering::Relaxed);
    }

    /// The workers go on when all other threads have ended.
    fn settle(&self) {
        self.work();
        assert!(self.word.is_idle(), "queued, and in no queue");
    }
}

/// Two post and a tick comes due, while turns end by their budget: nothing is forgotten.
#[test]
fn what_is_posted_as_a_turn_ends_has_a_turn() {
    check(3, || {
        let strand = Strand::new(1, 8);
        let other = Arc::clone(&strand);
        let poster = thread::spawn(move || {
            let accepted = usize::from(other.post(Job::Runs)) + usize::from(other.post(Job::Runs));
            other.work();
            accepted
        });
        let mut accepted = usize::from(strand.post(Job::Runs));
        assert!(strand.push_due());
        strand.work();
        accepted += poster.join().unwrap();
        strand.settle();
        assert_eq!((accepted, strand.ran.load(SeqCst)), (3, 3));
        assert_eq!(strand.ticks.load(SeqCst), 1, "a tick is lost");
    });
}

/// A close meets posts: what was accepted before it runs, and then the value goes, once.
#[test]
fn a_close_runs_what_was_accepted_and_ends_once() {
    check(3, || {
        let strand = Strand::new(1, 8);
        let other = Arc::clone(&strand);
        let poster = thread::spawn(move || {
            let accepted = usize::from(other.post(Job::Runs)) + usize::from(other.post(Job::Runs));
            other.work();
            accepted
        });
        let mut accepted = usize::from(strand.post(Job::Runs));
        strand.close();
        strand.work();
        accepted += poster.join().unwrap();
        strand.settle();
        assert_eq!(strand.ran.load(SeqCst), accepted);
        assert_eq!(strand.dropped.load(SeqCst), 0);
        assert_eq!(strand.buried.load(SeqCst), 1, "the value is dropped, once");
        assert!(!strand.post(Job::Runs) && !strand.push_due());
    });
}

/// A job panics while others post and close: each accepted job ran or was dropped, once.
#[test]
fn a_panic_meets_posts_and_a_close() {
    check(3, || {
        let strand = Strand::new(2, 8);
        let other = Arc::clone(&strand);
        let poster = thread::spawn(move || {
            let accepted = usize::from(other.post(Job::Runs)) + usize::from(other.post(Job::Runs));
            other.close();
            other.work();
            accepted
        });
        let mut accepted = usize::from(strand.post(Job::Panics));
        strand.work();
        accepted += poster.join().unwrap();
        strand.settle();
        let (ran, dropped) = (strand.ran.load(SeqCst), strand.dropped.load(SeqCst));
        assert_eq!(ran + dropped, accepted, "{ran} ran, {dropped} dropped");
        assert_eq!(strand.buried.load(SeqCst), 1);
    });
}

/// The bound holds, counting what a turn has taken and not begun.
#[test]
fn the_bound_counts_what_the_turn_has_taken() {
    check(3, || {
        let strand = Strand::new(8, 2);
        let other = Arc::clone(&strand);
        let poster = thread::spawn(move || {
            let accepted = usize::from(other.post(Job::Runs));
            other.work();
            accepted
        });
        let mut accepted =
            usize::from(strand.post(Job::Runs)) + usize::from(strand.post(Job::Runs));
        strand.work();
        accepted += poster.join().unwrap();
        strand.settle();
        assert_eq!(strand.ran.load(SeqCst), accepted);
        assert!(strand.waited_most.load(SeqCst) <= 2);
    });
}
