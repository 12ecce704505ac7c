//! What the workers, the sockets and the senders of one port share: the port itself, and all that
//! is to be reported without a packet of its own.

use std::collections::VecDeque;
use std::io;
use std::os::windows::io::AsSocket;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::bell::Rung;
use super::op::{Body, Completion};
use super::watch::Watch;
use super::whom::Whom;
use super::{connect, listener, send, status, stream, sys};
use crate::port::clock;
use crate::port::contract::{Bits, Ready, Token};
use crate::say::say;
use crate::time::Time;

/// How long the last user of a port waits for packets that must come. Their ops are given up then:
/// never freed, because the system may still write to them.
const DRAIN_MAX: Duration = Duration::from_secs(2);

/// The port and what stands to be seen by its workers.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) bell: Rung,
    /// A wake that nobody has taken.
    woken: AtomicBool,
    times: Mutex<Times>,
    /// Who has reports that no packet brings: each registered socket at most once.
    notices: Mutex<VecDeque<Arc<Whom>>>,
    pub(super) watch: Watch,
    /// Ops that are not freed.
    pub(super) ops: Arc<AtomicUsize>,
    /// The backend was dropped: nobody waits any more.
    pub(super) gone: AtomicBool,
    connect_ex: OnceLock<sys::ConnectEx>,
}

/// When to look without being asked.
#[derive(Debug, Default)]
struct Times {
    /// What `set_timer` said.
    deadline: Option<Time>,
    /// When the watch is due.
    watch: Option<Time>,
    /// When the system's timer rings; never later than the others.
    set: Option<Time>,
}

impl Shared {
    /// A new port.
    pub(super) fn open(concurrency: u32) -> io::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            bell: Rung::open(concurrency)?,
            woken: AtomicBool::new(false),
            times: Mutex::default(),
            notices: Mutex::default(),
            watch: Watch::default(),
            ops: Arc::default(),
            gone: AtomicBool::new(false),
            connect_ex: OnceLock::new(),
        }))
    }

    /// Clause 7.
    pub(super) fn wake(&self) {
        if !self.woken.swap(true, Ordering::AcqRel) {
            self.bell.hint();
        }
    }

    /// Clause 8.
    pub(super) fn set_timer(&self, at: Option<Time>) {
        let mut times = self.times.lock();
        times.deadline = at;
        self.schedule(&mut times);
    }

    /// Has the watch looked at, not later than `at`.
    pub(super) fn watch_by(&self, at: Time) {
        let mut times = self.times.lock();
        if times.watch.is_none_or(|set| at < set) {
            times.watch = Some(at);
            self.schedule(&mut times);
        }
    }

    /// Sets the system's timer for what is due first. It is never put off: a ring too many costs
    /// less than setting it with each change.
    fn schedule(&self, times: &mut Times) {
        let first = [times.deadline, times.watch].into_iter().flatten().min();
        let Some(first) = first.filter(|first| times.set.is_none_or(|set| *first < set)) else {
            return;
        };
        let now = clock::now();
        if first <= now {
            self.bell.hint();
        } else {
            // What could not be set is tried again with the next change.
            times.set = self.bell.ring_after(first.since(now)).then_some(first);
        }
    }

    /// Reports without a packet, from any thread.
    pub(super) fn notice(&self, whom: &Arc<Whom>, bits: Bits) {
        if whom.add(bits) {
            self.notices.lock().push_back(Arc::clone(whom));
            self.bell.hint();
        }
    }

    /// Takes packets and whatever else there is to see; at most `max` reports. Returns whether
    /// there was anything, be it stale.
    pub(super) fn harvest(
        &self,
        out: &mut Vec<Ready>,
        max: usize,
        timeout_ms: u32,
    ) -> io::Result<bool> {
        let end = out.len() + max.max(1);
        if self.bell.was_missed() {
            self.collect(out, end);
            if out.len() == end {
                return Ok(true);
            }
        }
        let room = end - out.len();
        let timeout_ms = if out.is_empty() { timeout_ms } else { 0 };
        let each = |completion| self.completed(completion, out);
        let harvest = self.bell.port.harvest(room, timeout_ms, each);
        let harvest = harvest.map_err(status::error)?;
        if harvest.posted {
            self.collect(out, end);
        }
        Ok(harvest.taken > 0)
    }

    /// An op has ended. At most one report: each packet counts as one.
    fn completed(&self, completion: Completion, out: &mut Vec<Ready>) {
        match &completion.op.body {
            Body::Recv(stream) => stream::received(self, stream, &completion, out),
            Body::Send(stream, bytes) => send::sent(self, stream, bytes, &completion, out),
            Body::Connect(stream, recv, _) => {
                connect::connected(self, stream, recv, &completion, out);
            }
            Body::Accept(hall, ..) => {
                let hall = Arc::clone(hall);
                listener::accepted(&hall, completion, out);
            }
        }
    }

    /// Reports what stands in memory, up to `end`; the rest is hinted at again.
    fn collect(&self, out: &mut Vec<Ready>, end: usize) {
        self.bell.looking();
        let special = |token| Ready {
            token,
            bits: Bits::default(),
        };
        if out.len() < end && self.woken.swap(false, Ordering::AcqRel) {
            out.push(special(Token::WAKE));
        }
        if self.is_watch_due(out, end) {
            self.look_after(clock::now());
        }
        let mut notices = self.notices.lock();
        while out.len() < end
            && let Some(whom) = notices.pop_front()
        {
            out.extend(whom.take_listed());
        }
        let left = !notices.is_empty();
        drop(notices);
        if left || self.woken.load(Ordering::Acquire) {
            self.bell.hint();
        }
    }

    /// Reports the timer if it is due; returns whether the watch is.
    fn is_watch_due(&self, out: &mut Vec<Ready>, end: usize) -> bool {
        let mut times = self.times.lock();
        if self.bell.take_ring() {
            times.set = None;
        }
        let now = clock::now();
        if out.len() < end && times.deadline.is_some_and(|at| at <= now) {
            times.deadline = None;
            out.push(Ready {
                token: Token::TIMER,
                bits: Bits::default(),
            });
        }
        let watch = times.watch.take_if(|at| *at <= now).is_some();
        self.schedule(&mut times);
        watch
    }

    /// ConnectEx; `socket` is asked the first time.
    pub(super) fn connect_ex(&self, socket: &socket2::Socket) -> io::Result<sys::ConnectEx> {
        if let Some(found) = self.connect_ex.get() {
            return Ok(*found);
        }
        let found = sys::find_connect_ex(socket.as_socket())?;
        Ok(*self.connect_ex.get_or_init(|| found))
    }

    /// Takes packets for at most `limit`, until `done` says so, which is told for how long none
    /// has come. What they report is for nobody.
    pub(super) fn drain(&self, limit: Duration, done: impl Fn(Duration) -> bool) {
        const STEP_MS: u32 = 10;
        let begin = Instant::now();
        let mut last = begin;
        let mut unheard = Vec::new();
        while !done(last.elapsed()) && begin.elapsed() < limit {
            match self.harvest(&mut unheard, usize::MAX, STEP_MS) {
                Ok(true) => last = Instant::now(),
                Ok(false) => {}
                Err(error) => {
                    say!(error, %error, "a port broke while it was drained");
                    return;
                }
            }
            unheard.clear();
        }
    }
}

impl Drop for Shared {
    /// Every socket is closed by now, or it would hold the port: what is still under way was
    /// cancelled and its packets come at once.
    fn drop(&mut self) {
        self.watch.clear();
        self.drain(DRAIN_MAX, |_| self.ops.load(Ordering::Acquire) == 0);
        let left = self.ops.load(Ordering::Acquire);
        if left > 0 {
            say!(
                error,
                left,
                "operations never ended: their memory is given up"
            );
        }
    }
}
