//! What else happens in a run: system calls that fail, a clock that jumps, flushes of a tick.
//!
//! Its choices have a generator of their own.

use std::time::Duration;

use wharf::FlushMode;
use wharf::sim::{Call, Sim};

use crate::errors::{
    EAGAIN, EBADF, ECONNABORTED, ECONNRESET, EINTR, EMFILE, ENFILE, ENOBUFS, ENOMEM, ENOSPC, EPIPE,
    Named,
};

/// What a session does not notice.
const HARMLESS: [(Call, Named); 12] = [
    (Call::Wait, EINTR),
    (Call::Recv, EINTR),
    (Call::Recv, EAGAIN),
    (Call::Send, EINTR),
    (Call::Send, EAGAIN),
    (Call::Accept, EINTR),
    (Call::Accept, EAGAIN),
    (Call::Accept, ECONNABORTED),
    (Call::Accept, EMFILE),
    (Call::Accept, ENFILE),
    (Call::Accept, ENOBUFS),
    (Call::Accept, ENOMEM),
];

/// What ends a session, or keeps it from being.
const DEADLY: [(Call, Named); 9] = [
    (Call::Recv, ECONNRESET),
    (Call::Recv, ENOMEM),
    (Call::Send, EPIPE),
    (Call::Send, ECONNRESET),
    (Call::Send, ENOBUFS),
    (Call::Register, ENOMEM),
    (Call::Register, ENOSPC),
    (Call::Connect, EMFILE),
    (Call::Connect, ENOBUFS),
];

/// The choices.
pub(crate) struct Extras {
    rng: fastrand::Rng,
    harmless: bool,
    deadly: bool,
    jumps: bool,
    /// The queue of a port fails at some moment.
    breaks: bool,
    pub(crate) flush: FlushMode,
    pub(crate) rooms: usize,
}

impl Extras {
    /// `may_break`: nobody expects to be served at the end.
    pub(crate) fn new(seed: u64, may_break: bool) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed ^ 0xe47a);
        let mut one_in = |n: u32| rng.u32(0..n) == 0;
        let (harmless, deadly, jumps) = (one_in(3), one_in(5), one_in(5));
        let flush = if one_in(4) {
            FlushMode::Tick
        } else {
            FlushMode::Turn
        };
        let rooms = if one_in(2) { rng.usize(1..4) } else { 0 };
        Self {
            rng,
            harmless,
            deadly,
            jumps,
            breaks: may_break && fastrand::Rng::with_seed(seed ^ 0xb20c).u32(0..4) == 0,
            flush,
            rooms,
        }
    }

    /// Whether sessions end because the system fails.
    pub(crate) fn fails(&self) -> bool {
        self.deadly || self.breaks
    }

    /// Perhaps something, before a step.
    pub(crate) fn act(&mut self, sim: &Sim) {
        if self.harmless && self.rng.u32(0..40) == 0 {
            self.fail(sim, &HARMLESS);
        }
        if self.deadly && self.rng.u32(0..150) == 0 {
            self.fail(sim, &DEADLY);
        }
        if self.breaks && self.rng.u32(0..1000) == 0 {
            sim.fail(Call::Wait, &EBADF.1(), 1);
        }
        if self.jumps && self.rng.u32(0..400) == 0 {
            let magnitude = self.rng.u32(0..16);
            sim.suspend(Duration::from_millis(self.rng.u64(0..1 << magnitude)));
        }
    }

    fn fail(&mut self, sim: &Sim, from: &[(Call, Named)]) {
        let (call, (_, error)) = from[self.rng.usize(0..from.len())];
        let times = [1, 1, 1, 2, 8][self.rng.usize(0..5)];
        sim.fail(call, &error(), times);
    }

    /// Whether the tick's flush is due.
    pub(crate) fn flushes(&mut self) -> bool {
        self.flush == FlushMode::Tick && self.rng.u32(0..8) == 0
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.rng.usize(0..end)
    }
}
