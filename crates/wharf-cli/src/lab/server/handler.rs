//! The handler of every class: it costs what the workload says, and answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cpu_time::ThreadTime;
use wharf::{Frame, Handler, Refuse, Session};

use crate::lab::workload::{self, Class, Rank, Work};
use crate::pause::pause;

/// How many handlers of low classes run now, and how many did at most.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gauges(Arc<LowAtOnce>);

#[derive(Debug, Default)]
struct LowAtOnce {
    now: AtomicU64,
    max: AtomicU64,
}

impl Gauges {
    /// The most at once so far.
    pub(crate) fn low_at_once_max(&self) -> u64 {
        self.0.max.load(Ordering::Relaxed)
    }
}

/// One class.
pub(crate) struct LabHandler {
    cost: workload::Handler,
    replies: bool,
    /// Counted for low classes only.
    low: Option<Gauges>,
    seed: AtomicU64,
}

impl LabHandler {
    pub(crate) fn new(class: &Class, gauges: &Gauges) -> Self {
        Self {
            cost: class.handler,
            replies: class.replies,
            low: (class.class == Rank::Low).then(|| gauges.clone()),
            seed: AtomicU64::new(0),
        }
    }

    fn work(&self, rng: &mut fastrand::Rng) {
        match self.cost.kind {
            Work::None => {}
            Work::Spin => spin(self.cost.time(rng.f64())),
            Work::Sleep => pause(self.cost.time(rng.f64())),
        }
    }
}

/// Computes for so long: CPU time of this thread, so that being preempted makes it take longer, as
/// it does to real work.
fn spin(time: Duration) {
    let began = ThreadTime::now();
    while began.elapsed() < time {
        // A look at the clock costs about as much as these.
        for _ in 0..32 {
            std::hint::spin_loop();
        }
    }
}

impl Handler for LabHandler {
    type State = fastrand::Rng;

    fn on_open(&self, _: &Session<Self>) -> Result<fastrand::Rng, Refuse> {
        // Runs are alike: the same sessions draw the same times.
        let seed = self.seed.fetch_add(1, Ordering::Relaxed);
        Ok(fastrand::Rng::with_seed(seed))
    }

    fn on_frame(
        &self,
        s: &Session<Self>,
        rng: &mut fastrand::Rng,
        f: Frame<'_>,
    ) -> wharf::Result<()> {
        if let Some(Gauges(low)) = &self.low {
            let now = low.now.fetch_add(1, Ordering::Relaxed) + 1;
            low.max.fetch_max(now, Ordering::Relaxed);
            self.work(rng);
            low.now.fetch_sub(1, Ordering::Relaxed);
        } else {
            self.work(rng);
        }
        if self.replies {
            s.send(f.payload())?;
        }
        Ok(())
    }
}
