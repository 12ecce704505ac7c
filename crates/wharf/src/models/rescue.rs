//! M8, R5: the rescue of a dirty list. While a worker is stuck in its turn, a sibling comes for
//! what it has gathered: `watch_dirty` and `Rescue` in `port/core.rs`, `gather` in
//! `port/current.rs`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize as Plain, Ordering::SeqCst};

use loom::sync::Mutex;
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;

use super::check;

/// What the handshake is made of; the list is that of one worker.
struct Port {
    watching: AtomicBool,
    dirty: Mutex<Vec<u8>>,
    /// The rescue's deadline is armed: M9 sees to it that it passes.
    armed: AtomicBool,
    /// Pushed as port work.
    rescued: Plain,
}

impl Port {
    fn new() -> Self {
        Self {
            watching: AtomicBool::new(false),
            dirty: Mutex::default(),
            armed: AtomicBool::new(false),
            rescued: Plain::new(0),
        }
    }

    /// `gather`, in a turn.
    fn gather(&self, item: u8) {
        let mut dirty = self.dirty.lock().unwrap();
        dirty.push(item);
        if dirty.len() == 1 {
            drop(dirty);
            self.watch_dirty();
        }
    }

    /// `watch_dirty`.
    fn watch_dirty(&self) {
        if !self.watching.swap(true, Ordering::AcqRel) {
            self.armed.swap(true, Ordering::AcqRel);
        }
    }

    /// The deadline passes, if it is armed: `Rescue::timer`.
    fn deadline(&self, stuck: bool) {
        if self.armed.swap(false, Ordering::AcqRel) {
            self.timer(stuck);
        }
    }

    /// `Rescue::timer`; `stuck` says what `turn_since` says.
    fn timer(&self, stuck: bool) {
        self.watching.swap(false, Ordering::AcqRel);
        let mut waiting = false;
        let mut dirty = self.dirty.lock().unwrap();
        if stuck {
            let taken = std::mem::take(&mut *dirty);
            drop(dirty);
            self.rescued.fetch_add(taken.len(), SeqCst);
        } else {
            waiting |= !dirty.is_empty();
            drop(dirty);
        }
        if waiting {
            self.watch_dirty();
        }
    }

    /// `flush_dirty` at the end of a turn.
    fn flush(&self) -> usize {
        std::mem::take(&mut *self.dirty.lock().unwrap()).len()
    }
}

/// The turn gathers and is stuck for ever, while deadlines pass that find it young or stuck.
fn a_stuck_turn(looks: &'static [bool]) {
    check(3, move || {
        let port = Arc::new(Port::new());
        let sibling = Arc::clone(&port);
        let sibling = thread::spawn(move || looks.iter().for_each(|&look| sibling.deadline(look)));
        let mut flushed = 0;
        port.gather(1);
        port.gather(2);
        flushed += port.flush();
        port.gather(3);
        port.gather(4);
        sibling.join().unwrap();
        // From now on the turn is old.
        port.deadline(true);
        assert!(port.dirty.lock().unwrap().is_empty(), "nobody comes for it");
        assert_eq!(port.rescued.load(SeqCst) + flushed, 4);
    });
}

#[test]
fn what_a_stuck_turn_gathered_is_always_watched() {
    a_stuck_turn(&[false, true]);
}

#[test]
fn a_look_that_came_too_early_is_repeated() {
    a_stuck_turn(&[false, false]);
}

#[test]
fn what_is_gathered_after_a_rescue_is_watched_again() {
    a_stuck_turn(&[true, true]);
}
