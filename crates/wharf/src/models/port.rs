//! A port as its workers drive it, around the real [`RunQueue`]: `port/worker.rs` and the kernel's
//! queue with its wake.

use loom::sync::{Condvar, Mutex};

use crate::sched::{LaneSpec, Picked, RunQueue};
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
    /// Port work.
    Work,
}

impl Item {
    fn lane(self) -> usize {
        match self {
            Self::Turn(lane) | Self::Stuck(lane) | Self::Twice(lane) => lane,
            Self::Work => 0,
        }
    }
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
    /// The stuck callbacks return.
    over: bool,
}

/// `PortCore`.
pub(super) struct Port {
    queue: Mutex<RunQueue<Item>>,
    kernel: Mutex<Kernel>,
    reported: Condvar,
    progress: Mutex<Progress>,
    progressed: Condvar,
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
                _ => queue.push(item.lane(), item, Time::ZERO),
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
        loop {
            let (picked, wake) = {
                let mut queue = self.queue.lock().unwrap();
                if let Some(lane) = ended.take() {
                    queue.turn_ended(lane, Time::ZERO);
                }
                if let Some(lane) = again.take() {
                    let woken = queue.push(lane, Item::Turn(lane), Time::ZERO);
                    assert!(!woken, "the pushing worker searches");
                }
                if self.is_over() {
                    let _ = queue.leave();
                    (None, true)
                } else {
                    let (picked, wake) = queue.pick(Time::ZERO);
                    (Some(picked), wake)
                }
            };
            if wake {
                self.wake();
            }
            match picked {
                None => return,
                Some(Picked::Work(item)) => self.serve(item),
                Some(Picked::Turn(lane, item, _)) => {
                    self.serve(item);
                    ended = Some(lane);
                    again = matches!(item, Item::Twice(_)).then_some(lane);
                }
                Some(Picked::Poll(max)) => {
                    let reports = self.wait(max, false);
                    self.take_in(reports);
                }
                Some(Picked::Park(max)) => {
                    let reports = self.wait(max, true);
                    self.queue.lock().unwrap().unpark();
                    self.take_in(reports);
                }
            }
        }
    }

    fn serve(&self, item: Item) {
        let mut progress = self.progress.lock().unwrap();
        if matches!(item, Item::Stuck(_)) {
            while !progress.over {
                progress = self.progressed.wait(progress).unwrap();
            }
        } else {
            progress.done += 1;
            self.progressed.notify_all();
        }
    }

    fn is_over(&self) -> bool {
        self.progress.lock().unwrap().over
    }

    /// Waits until so many items are served (loom fails the model if that never comes), then lets
    /// the stuck callbacks return and the workers quit.
    pub(super) fn finish(&self, items: usize) {
        let mut progress = self.progress.lock().unwrap();
        while progress.done < items {
            progress = self.progressed.wait(progress).unwrap();
        }
        assert_eq!(progress.done, items);
        progress.over = true;
        self.progressed.notify_all();
        drop(progress);
        self.wake();
    }
}
