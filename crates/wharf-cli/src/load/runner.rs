//! One thread of the generator: its connections and its event loop.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mio::event::Event;
use mio::{Events, Poll, Token};

use super::config::WRITE_BYTES;
use super::conn::{Conn, Expect, State, connect_failure};
use super::pace::{Schedule, Turns};
use super::shared::{Gauge, Shared, UNSET};
use super::tally::Tally;
use crate::args::Mode;
use crate::exit::Failure;

/// The token of the waker; connections use their index.
pub(crate) const WAKE: Token = Token(usize::MAX);
/// Connects of one thread in flight: well below the usual listen backlog of 128 of older systems.
const CONNECTING_MAX: usize = 64;
/// How long outstanding replies are awaited after the sending stopped, or after the last of them
/// came: a slow server loses nothing.
const DRAIN: u64 = 5_000_000_000;
/// And in all.
const DRAIN_MAX: u64 = 12 * DRAIN;
/// Longest wait for events, so that a lost wake-up cannot hang the run.
const WAIT_MAX: u64 = 100_000_000;
/// Looks of a draining broadcast run at what the other threads have sent.
const DRAIN_LOOK: u64 = 10_000_000;
/// Pause of a churn slot after a failed connect.
const RETRY: u64 = 10_000_000;
/// Events taken at once.
const EVENTS: usize = 1024;
/// Frames of the schedule looked at in one go, so that a run far behind still reads.
const DUE_AT_ONCE: usize = 1024;

/// One thread's part of the run.
#[derive(Debug)]
pub(crate) struct Runner<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) gauge: &'a Gauge,
    pub(crate) thread: u32,
    /// Warm-up, in ns.
    pub(crate) warmup: u64,
    pub(crate) poll: Poll,
    pub(crate) conns: Vec<Conn>,
    /// Connections open or being opened.
    pub(crate) live: usize,
    pub(crate) tally: Tally,
    /// Everything received goes through this one buffer.
    pub(crate) inbox: Vec<u8>,
    /// Every gathered write is built in this one buffer.
    pub(crate) outbox: Vec<u8>,
    /// Connections with more to do than fits one go; each at most once.
    pub(crate) again: VecDeque<usize>,
    /// Churn slots to connect again, and when; each at most once.
    retries: VecDeque<(u64, usize)>,
    pub(crate) schedule: Option<Schedule>,
    turns: Option<Turns>,
    /// broadcast: a frame of one of our senders reached everybody.
    pub(crate) credit: bool,
    /// When a connection was last reported.
    heard_at: u64,
    /// broadcast: when the next greeting is sent; [`UNSET`] while one is on its way.
    pub(crate) greet_at: u64,
    /// Why this thread must end the run.
    pub(crate) failure: Option<Failure>,
    started: bool,
    stopping: bool,
}

impl<'a> Runner<'a> {
    /// The part of thread number `thread`.
    ///
    /// # Errors
    /// See [`Tally::new`].
    pub(crate) fn new(shared: &'a Shared, thread: u32, poll: Poll) -> Result<Self, Failure> {
        let config = &shared.config;
        let schedule = config.rate.map(|rate| Schedule::new(rate, config.senders));
        let size = shared.frames.size();
        Ok(Self {
            shared,
            gauge: &shared.gauges[thread as usize],
            thread,
            warmup: nanos(config.warmup),
            poll,
            conns: config
                .numbers(thread)
                .map(|number| Conn::new(number, config))
                .collect(),
            live: 0,
            tally: Tally::new()?,
            inbox: vec![0; size + WRITE_BYTES],
            outbox: vec![0; (WRITE_BYTES / size).max(1) * size],
            again: VecDeque::new(),
            retries: VecDeque::new(),
            schedule,
            turns: schedule.map(|schedule| schedule.turns(thread, config.threads)),
            credit: false,
            heard_at: 0,
            greet_at: if config.mode == Mode::Broadcast && thread == 0 {
                0
            } else {
                UNSET
            },
            failure: None,
            started: false,
            stopping: false,
        })
    }

    /// Connects, waits for the start, sends and checks until the stop, and drains.
    ///
    /// # Errors
    /// A connect that failed (in churn mode only before the start), a connection that closed before
    /// it was ready, or a machine that refuses to poll.
    pub(crate) fn run(mut self) -> Result<Tally, Failure> {
        let mut events = Events::with_capacity(EVENTS);
        self.connect_all(&mut events)?;
        while !self.ended() {
            self.step(&mut events)?;
        }
        self.settle();
        self.failure.map_or(Ok(self.tally), Err)
    }

    fn connect_all(&mut self, events: &mut Events) -> Result<(), Failure> {
        let deadline = self.shared.now() + nanos(self.shared.config.connect_timeout);
        let mut next = 0;
        let mut connecting = 0;
        while next < self.conns.len() || connecting > 0 {
            while next < self.conns.len() && connecting < CONNECTING_MAX {
                self.begin_connect(next)
                    .map_err(|error| self.connect_failure(next, &error))?;
                next += 1;
                connecting += 1;
            }
            let now = self.shared.now();
            if self.shared.abort.load(Ordering::Acquire) {
                return Ok(());
            }
            if now >= deadline {
                return Err(self.connect_timeout(next - connecting));
            }
            self.wait(events, (deadline - now).min(WAIT_MAX))?;
            for event in events.iter().filter(|event| event.token() != WAKE) {
                let index = event.token().0;
                if matches!(self.conns[index].state, State::Connecting(..)) {
                    match self.finish_connect(index) {
                        Ok(true) => connecting -= 1,
                        Ok(false) => {}
                        Err(error) => return Err(self.connect_failure(index, &error)),
                    }
                } else {
                    self.handle(event);
                }
            }
        }
        Ok(())
    }

    fn connect_failure(&self, index: usize, error: &std::io::Error) -> Failure {
        connect_failure(error, &self.conns[index], &self.shared.config)
    }

    fn connect_timeout(&self, connected: usize) -> Failure {
        let config = &self.shared.config;
        Failure::unreachable(format!(
            "could not connect to {}: {connected} of {} connections{} were up after {} s; {} \
             (--connect-timeout-seconds waits longer)",
            config.connect,
            self.conns.len(),
            if config.threads > 1 {
                " of one thread"
            } else {
                ""
            },
            config.connect_timeout.as_secs_f64(),
            config.server_hint()
        ))
    }

    fn begin_connect(&mut self, index: usize) -> std::io::Result<()> {
        let now = self.shared.now();
        let registry = self.poll.registry();
        self.conns[index].begin(&self.shared.config, registry, Token(index), now)?;
        self.live += 1;
        Ok(())
    }

    /// True once connected.
    fn finish_connect(&mut self, index: usize) -> std::io::Result<bool> {
        let done = self.conns[index].finish();
        if done.is_err() {
            self.live -= 1;
        }
        let Some(since) = done? else { return Ok(false) };
        let now = self.shared.now();
        self.tally.connects += 1;
        self.tally.connect.saturating_record(now - since);
        let ready_now = !matches!(self.shared.config.mode, Mode::Broadcast | Mode::Idle);
        if ready_now {
            self.set_ready(index);
        }
        self.pump(index, now);
        Ok(true)
    }

    /// This connection is ready for the start; counts once.
    pub(crate) fn set_ready(&mut self, index: usize) {
        if !std::mem::replace(&mut self.conns[index].ready, true) {
            self.shared.add_ready();
        }
    }

    /// Frames may be sent now.
    pub(crate) fn sending(&self, now: u64) -> bool {
        // Idle mode sends its one frame a connection before its time starts.
        self.shared.config.mode == Mode::Idle
            || (now >= self.shared.start() && now < self.shared.stop())
    }

    /// One round of the loop: what is due, then what the sockets have.
    fn step(&mut self, events: &mut Events) -> Result<(), Failure> {
        let now = self.shared.now();
        if !self.started && now >= self.shared.start() {
            self.started = true;
            (0..self.conns.len()).for_each(|index| self.pump(index, now));
        }
        if !self.stopping && now >= self.shared.stop() {
            // Frames due up to the stop are not left out because this loop saw it a little late.
            self.send_due(self.shared.stop().saturating_sub(1));
            self.stopping = true;
            self.shared.stopped.fetch_add(1, Ordering::AcqRel);
            // There may be nothing to wait for.
            return Ok(());
        }
        if self.started && !self.stopping {
            self.send_due(now);
            self.retry(now);
        } else if !self.started {
            self.greet(now);
        }
        if std::mem::take(&mut self.credit) {
            self.send_credited(now);
        }
        self.gauge.publish(&self.tally, self.shared.config.mode);
        self.gauge.asleep.store(true, Ordering::Release);
        let timeout = self.timeout();
        let waited = self.wait(events, timeout);
        self.gauge.asleep.store(false, Ordering::Release);
        waited?;
        events.iter().for_each(|event| self.handle(event));
        for _ in 0..self.again.len() {
            if let Some(index) = self.again.pop_front() {
                self.conns[index].queued = false;
                self.read(index);
                self.pump(index, self.shared.now());
            }
        }
        Ok(())
    }

    fn wait(&mut self, events: &mut Events, timeout: u64) -> Result<(), Failure> {
        match self.poll.poll(events, Some(Duration::from_nanos(timeout))) {
            Err(error) if error.kind() != ErrorKind::Interrupted => Err(Failure::machine(format!(
                "could not wait for sockets: {error}"
            ))),
            _ => Ok(()),
        }
    }

    /// How long to wait for events at most, in ns.
    fn timeout(&self) -> u64 {
        if !self.again.is_empty() {
            return 0;
        }
        let now = self.shared.now();
        let mut wake = now + WAIT_MAX;
        let (start, stop) = (self.shared.start(), self.shared.stop());
        if !self.started {
            wake = wake.min(start).min(self.greet_at);
        } else if !self.stopping {
            wake = wake.min(stop);
            let due = self.turns.as_ref().and_then(Turns::awake_at);
            wake = wake.min(due.map_or(UNSET, |due| start + due));
            wake = wake.min(self.retries.front().map_or(UNSET, |retry| retry.0));
        } else {
            wake = wake.min(self.drain_ends());
            if self.shared.board.is_some() {
                wake = wake.min(now + DRAIN_LOOK);
            }
        }
        wake.saturating_sub(now)
    }

    fn handle(&mut self, event: &Event) {
        if event.token() == WAKE {
            self.credit = self.shared.board.is_some();
            return;
        }
        let index = event.token().0;
        self.heard_at = self.shared.now();
        if matches!(self.conns[index].state, State::Connecting(..)) {
            match self.finish_connect(index) {
                Ok(_) => {}
                Err(error) => self.connect_failed(index, &error),
            }
        }
        if !self.conns[index].is_open() {
            return;
        }
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            self.read(index);
        }
        if event.is_writable() && std::mem::take(&mut self.conns[index].blocked) {
            self.pump(index, self.shared.now());
        }
    }

    /// Open loop: gives each sender whose frame is due its turn.
    fn send_due(&mut self, now: u64) {
        let at = now.saturating_sub(self.shared.start());
        for _ in 0..DUE_AT_ONCE {
            match &mut self.turns {
                Some(turns) if turns.due().is_some_and(|due| due <= at) => {
                    let index = turns.index() as usize;
                    turns.advance();
                    self.pump(index, now);
                }
                _ => return,
            }
        }
    }

    /// Broadcast: frames of our senders have come to everybody, so more may be sent.
    fn send_credited(&mut self, now: u64) {
        let senders = self.shared.config.senders;
        let here = self.conns.partition_point(|conn| conn.number < senders);
        (0..here).for_each(|index| self.pump(index, now));
    }

    /// Churn: a slot whose connection ended is connected again.
    pub(crate) fn reconnect(&mut self, index: usize) {
        if !self.sending(self.shared.now()) {
            return;
        }
        self.conns[index].quota = 1;
        if let Err(error) = self.begin_connect(index) {
            self.connect_failed(index, &error);
        }
    }

    /// Churn: tries again later. In the connect phase of any mode the run has ended already.
    fn connect_failed(&mut self, index: usize, error: &std::io::Error) {
        let now = self.shared.now();
        self.tally.connect_failed += 1;
        let failure = connect_failure(error, &self.conns[index], &self.shared.config);
        self.tally.fault(now, || failure.message);
        self.retries.push_back((now + RETRY, index));
    }

    fn retry(&mut self, now: u64) {
        while let Some(&(at, index)) = self.retries.front()
            && at <= now
        {
            self.retries.pop_front();
            self.reconnect(index);
        }
    }

    fn ended(&self) -> bool {
        if self.failure.is_some() || self.shared.abort.load(Ordering::Acquire) {
            return true;
        }
        let waiting_to_connect = !self.retries.is_empty() && !self.stopping;
        if self.live == 0 && !waiting_to_connect {
            return true;
        }
        if self.shared.config.frames.is_some() && self.started && self.all_spent() {
            return true;
        }
        self.stopping && (self.drained() || self.shared.now() >= self.drain_ends())
    }

    /// When who stopped sending stops waiting too.
    fn drain_ends(&self) -> u64 {
        let stop = self.shared.stop();
        (stop.max(self.heard_at) + DRAIN).min(stop + DRAIN_MAX)
    }

    /// Whether each connection has had all of its frames answered.
    fn all_spent(&self) -> bool {
        self.conns.iter().all(|conn| conn.quota == 0) && self.drained()
    }

    fn drained(&self) -> bool {
        match self.shared.config.mode {
            Mode::Sink | Mode::Idle => true,
            Mode::Echo | Mode::Churn => self.conns.iter().all(|conn| match &conn.expect {
                Expect::Own(window) => window.outstanding() == 0 || !conn.is_open(),
                _ => true,
            }),
            Mode::Broadcast => {
                // What the other threads' senders have sent is final only now.
                self.shared.stopped.load(Ordering::Acquire) == self.shared.config.threads
                    && self.conns.iter().all(|conn| self.has_all(conn))
            }
        }
    }

    fn has_all(&self, conn: &Conn) -> bool {
        match (&conn.expect, &self.shared.board) {
            (Expect::All(seen), Some(board)) if conn.is_open() => (0..)
                .zip(seen)
                .all(|(sender, seen)| seen.expected() == board.sent(sender)),
            _ => true,
        }
    }

    /// The end: what is still missing is lost, and broadcast expects what was sent.
    fn settle(&mut self) {
        if !self.stopping {
            self.shared.stopped.fetch_add(1, Ordering::AcqRel);
        }
        for index in 0..self.conns.len() {
            let number = self.conns[index].number;
            let open = self.conns[index].is_open();
            let lost = match &mut self.conns[index].expect {
                Expect::Own(window) => window.abandon(),
                Expect::All(_) if open => self.leave_board(index),
                _ => 0,
            };
            self.lose(lost, || {
                format!("connection {number}: the last {lost} frames did not come")
            });
        }
        self.gauge.publish(&self.tally, self.shared.config.mode);
    }

    /// Counts lost frames.
    pub(crate) fn lose(&mut self, lost: u64, what: impl FnOnce() -> String) {
        if lost > 0 {
            self.tally.lost += lost;
            let now = self.shared.now();
            self.tally.fault(now, what);
        }
    }
}

/// Whole nanoseconds of a duration.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(UNSET)
}
