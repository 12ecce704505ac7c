//! M13, G8: a stop against a connection that becomes a session: `admit`, `connect` and `take_place`
//! around `Declared::stop` and the supervisor's look in `host/stop.rs`.
//!
//! Whoever comes takes its place and then looks whether there is a stop; the stop is told and then
//! counts the places. One of the two must see the other, or workers quit while a session opens.

use std::sync::Arc;

use loom::sync::Mutex;
use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use loom::thread;

use super::check;

/// A network and its port, as far as a stop is concerned.
struct Network {
    live: AtomicUsize,
    stopping: AtomicBool,
    /// The sessions of the table.
    table: Mutex<usize>,
    /// The workers have gone.
    quit: AtomicBool,
}

impl Network {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            live: AtomicUsize::new(0),
            stopping: AtomicBool::new(false),
            table: Mutex::new(0),
            quit: AtomicBool::new(false),
        })
    }

    /// `take_place`.
    fn take_place(&self) {
        self.live.fetch_add(1, Ordering::AcqRel);
        fence(Ordering::SeqCst);
    }

    /// `give_place`.
    fn give_place(&self) {
        self.live.fetch_sub(1, Ordering::AcqRel);
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// `admit`, or `connect`, with what follows on a worker.
    fn admit(&self) {
        self.take_place();
        if self.is_stopping() {
            self.give_place();
            return;
        }
        // `insert_session`.
        *self.table.lock().unwrap() += 1;
        if self.is_stopping() {
            self.close();
        }
    }

    /// A turn closes the session, unless another has.
    fn close(&self) {
        let mut table = self.table.lock().unwrap();
        if *table > 0 {
            *table -= 1;
            let quit = self.quit.load(Ordering::Acquire);
            assert!(!quit, "nobody is left to run its callbacks");
            drop(table);
            self.give_place();
        }
    }

    /// `Declared::stop`, and the supervisor's look at what is left.
    fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        fence(Ordering::SeqCst);
        let found = *self.table.lock().unwrap();
        (0..found).for_each(|_| self.close());
        if self.live.load(Ordering::Acquire) == 0 {
            self.quit.store(true, Ordering::Release);
        }
    }
}

#[test]
fn who_comes_as_a_stop_begins_is_refused_or_waited_for() {
    check(3, || {
        let network = Network::new();
        let other = Arc::clone(&network);
        let comes = thread::spawn(move || other.admit());
        network.stop();
        comes.join().unwrap();
        let table = *network.table.lock().unwrap();
        assert_eq!(table, network.live.load(Ordering::Acquire));
        assert_eq!(table, 0, "it was told, or it has looked");
    });
}

#[test]
fn two_who_come_as_a_stop_begins_are_refused_or_waited_for() {
    check(2, || {
        let network = Network::new();
        let others = [1, 2].map(|_| {
            let other = Arc::clone(&network);
            thread::spawn(move || other.admit())
        });
        network.stop();
        others.into_iter().for_each(|other| other.join().unwrap());
        assert_eq!(network.live.load(Ordering::Acquire), 0);
    });
}
