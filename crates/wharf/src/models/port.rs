//! A port as its workers drive it, around the real [`RunQueue`]: `port/worker.rs` and the kernel's
//! queue with its wake.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::sync::{Condvar, Mutex};
use loom::thread;

use crate::sched::{LaneSpec, Picked, RunQueue};
use crate::session::word::{self, Word};
use crate::time::Time;

/// What a harvest brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Report {
    /// `Token::WAKE`.
    Wake,
    /// A session became readable.
    Ready(Item),
}

/// What stands in the run queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Item {
    /// A turn.
    Turn(usize),
    /// A turn whose callback does not return before the end.
    Stuck(usize),
    /// A turn that ends with something due.
    Twice(usize),
    /// A turn of the session that changes lanes.
    Mover,
    /// Port work.
    Work,
}

/// What a session that changes lanes shows to others: it begins in lane 0.
struct Mover {
    word: Word,
    lane: AtomicUsize,
}

/// The kernel's queue: readiness in order, and one wake that coalesces; it can't be aimed, and
/// each harvest that leaves something wakes one more sleeper, as an epoll does.
#[derive(Debug, Default)]
struct Kernel {
    reports: Vec<Report>,
}

impl Kernel {
    fn wake(&mut self) {
        if !self.reports.contains(&Report::Wake) {
            self.reports.push(Report::Wake);
        }
    }
}

#[derive(Debug, Default)]
struct Progress {
    done: usize,
    /// Workers that were too many, and have left.
    left: usize,
}

/// `PortCore`.
pub(super) struct Port {
    queue: Mutex<RunQueue<Item>>,
    kernel: Mutex<Kernel>,
    reported: Condvar,
    progress: Mutex<Progress>,
    progressed: Condvar,
    /// The stuck callbacks return, and the workers quit. No part of the protocol, so that loom
    /// need not try what comes before a look at it and what behind.
    over: AtomicBool,
    mover: Mover,
    /// Who would park naps instead, if it may, each worker once: there is no time in a model.
    naps: bool,
}

impl Port {
    /// A port with these lanes, by the most workers of each.
    pub(super) fn new(lanes: &[usize]) -> Self {
        let specs = lanes
            .iter()
            .map(|&workers_max| LaneSpec::capped(workers_max));
        Self {
            queue: Mutex::new(RunQueue::new(specs.collect())),
            kernel: Mutex::default(),
            reported: Condvar::new(),
            progress: Mutex::default(),
            progressed: Condvar::new(),
            over: AtomicBool::new(false),
            mover: Mover {
                word: Word::new(0),
                lane: AtomicUsize::new(0),
            },
            naps: false,
        }
    }

    /// The same, whose workers nap.
    pub(super) fn napping(lanes: &[usize]) -> Self {
        Self {
            naps: true,
            ..Self::new(lanes)
        }
    }

    /// `Served::lane`.
    fn lane(&self, item: Item) -> usize {
        match item {
            Item::Turn(lane) | Item::Stuck(lane) | Item::Twice(lane) => lane,
            Item::Mover => self.mover.lane.load(Ordering::Relaxed),
            Item::Work => 0,
        }
    }

    /// `SessionCore::raise`, for the mover: a job is posted to it.
    pub(super) fn raise(&self) {
        if self.mover.word.raise(word::POSTED) {
            self.push(Item::Mover);
        }
    }

    /// `SessionCore::set_lane` and `PortCore::relane`, for the mover.
    pub(super) fn set_lane(&self, to: usize) {
        let wake = {
            let mut queue = self.queue.lock().unwrap();
            let from = self.mover.lane.swap(to, Ordering::Relaxed);
            let queued = self.mover.word.is_queued() && from != to;
            queued && queue.relane(from, to, Time::ZERO, |item| *item == Item::Mover)
        };
        if wake {
            self.wake();
        }
    }

    /// `Crew::set_workers`, to fewer.
    pub(super) fn shrink(&self, workers: usize) {
        let wake = self.queue.lock().unwrap().resize(workers);
        if wake {
            self.wake();
        }
    }

    /// `Worker::new`.
    pub(super) fn join(&self) {
        self.queue.lock().unwrap().join();
    }

    /// `Backend::wake`.
    fn wake(&self) {
        self.kernel.lock().unwrap().wake();
        self.reported.notify_one();
    }

    /// A session becomes readable.
    pub(super) fn report(&self, item: Item) {
        self.kernel
            .lock()
            .unwrap()
            .reports
            .push(Report::Ready(item));
        self.reported.notify_one();
    }

    /// `push_turn` and `push_work`.
    pub(super) fn push(&self, item: Item) {
        let wake = {
            let mut queue = self.queue.lock().unwrap();
            match item {
                Item::Work => queue.push_work(item),
                _ => queue.push(self.lane(item), item, Time::ZERO),
            }
        };
        if wake {
            self.wake();
        }
    }

    /// `Backend::wait`.
    fn wait(&self, max: usize, block: bool) -> Vec<Report> {
        let mut kernel = self.kernel.lock().unwrap();
        while block && kernel.reports.is_empty() {
            kernel = self.reported.wait(kernel).unwrap();
        }
        let count = kernel.reports.len().min(max);
        let harvested = kernel.reports.drain(..count).collect();
        let left = !kernel.reports.is_empty();
        drop(kernel);
        if left {
            self.reported.notify_one();
        }
        harvested
    }

    /// `Worker::take_in`.
    fn take_in(&self, reports: Vec<Report>) {
        for report in reports {
            match report {
                Report::Wake => self.queue.lock().unwrap().woken(),
                Report::Ready(item) => self.push(item),
            }
        }
    }

    /// `run`, with `step` and `harvest`.
    pub(super) fn run_worker(&self) {
        let (mut ended, mut again) = (None, None);
        let mut naps = self.naps;
        loop {
            let mut nap = false;
            let (picked, wake) = {
                let mut queue = self.queue.lock().unwrap();
                if let Some(lane) = ended.take() {
                    queue.turn_ended(lane, Time::ZERO);
                }
                if let Some(item) = again.take() {
                    let woken = queue.push(self.lane(item), item, Time::ZERO);
                    assert!(!woken, "the pushing worker searches");
                }
                let over = self.is_over();
                if over || queue.surplus() {
                    (None, queue.leave() || over)
                } else {
                    let (picked, wake) = queue.pick(Time::ZERO);
                    nap = naps && matches!(picked, Picked::Park(_)) && queue.nap();
                    (Some(picked), wake)
                }
            };
            if wake {
                self.wake();
            }
            match picked {
                None => break,
                Some(Picked::Work(item)) => self.serve(item),
                Some(Picked::Turn(lane, item, _)) => {
                    again = self.turn(item);
                    ended = Some(lane);
                }
                Some(Picked::Poll(max)) => {
                    let reports = self.wait(max, false);
                    self.take_in(reports);
                }
                Some(Picked::Park(_)) if nap => {
                    naps = false;
                    thread::yield_now();
                    self.queue.lock().unwrap().nap_over();
                }
                Some(Picked::Park(max)) => {
                    let reports = self.wait(max, true);
                    self.queue.lock().unwrap().unpark();
                    self.take_in(reports);
                }
            }
        }
        let mut progress = self.progress.lock().unwrap();
        progress.left += 1;
        self.progressed.notify_all();
    }

    /// `Served::turn`: the item that is due again, if any.
    fn turn(&self, item: Item) -> Option<Item> {
        if item == Item::Mover {
            self.mover.word.begin_turn();
        }
        self.serve(item);
        match item {
            Item::Twice(lane) => Some(Item::Turn(lane)),
            Item::Mover => self.mover.word.end_turn().then_some(item),
            _ => None,
        }
    }

    fn serve(&self, item: Item) {
        let mut progress = self.progress.lock().unwrap();
        if matches!(item, Item::Stuck(_)) {
            while !self.is_over() {
                progress = self.progressed.wait(progress).unwrap();
            }
        } else {
            progress.done += 1;
            self.progressed.notify_all();
        }
    }

    fn is_over(&self) -> bool {
        self.over.load(SeqCst)
    }

    /// Waits until so many items are served (loom fails the model if that never comes), then lets
    /// the stuck callbacks return and the workers quit.
    pub(super) fn finish(&self, items: usize) {
        self.finish_without(items, 0);
    }

    /// The same, and waits until so many workers have left before.
    pub(super) fn finish_without(&self, items: usize, left: usize) {
        let mut progress = self.progress.lock().unwrap();
        while progress.done < items || progress.left < left {
            progress = self.progressed.wait(progress).unwrap();
        }
        assert_eq!((progress.done, progress.left), (items, left));
        self.over.store(true, SeqCst);
        self.progressed.notify_all();
        drop(progress);
        self.wake();
    }
}
