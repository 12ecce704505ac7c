//! Strands beside the sessions: jobs from handlers, delayed jobs and ticks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use wharf::{OnPanic, Session, Strand, StrandOptions, Tick};

use crate::crews::Crews;
use crate::extras::Extras;
use crate::game::{Game, panic_quietly};
use crate::judge::{Judge, Record};
use crate::wire;

/// What was asked of a room, and what came of it.
#[derive(Default)]
pub(crate) struct Log {
    accepted: AtomicU32,
    ran: AtomicU32,
    busy: AtomicBool,
    /// What a panic in a job does ends the room.
    fragile: bool,
}

/// A value with a mailbox; the judge counts those that live.
pub(crate) struct Room {
    judge: Arc<Judge>,
    log: Arc<Log>,
    /// The number that the next job must have.
    next: u32,
    last_tick: u64,
}

impl Drop for Room {
    fn drop(&mut self) {
        self.judge.states.fetch_sub(1, SeqCst);
    }
}

/// Marks the room as in use until it is dropped.
struct Inside(Arc<Log>);

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.busy.store(false, SeqCst);
    }
}

/// The handles of all rooms.
pub(crate) type Rooms = Vec<(Strand<Room>, Arc<Log>)>;

/// Makes the rooms, somewhere each, and starts their ticks.
pub(crate) fn make(judge: &Arc<Judge>, crews: &Crews, extras: &mut Extras) -> Rooms {
    let count = extras.rooms;
    let make = |_| {
        let fragile = extras.below(3) == 0;
        let log = Arc::new(Log {
            fragile,
            ..Log::default()
        });
        let room = Room {
            judge: Arc::clone(judge),
            log: Arc::clone(&log),
            next: 0,
            last_tick: 0,
        };
        judge.states.fetch_add(1, SeqCst);
        let options = StrandOptions {
            mailbox_max: [2, 16, 4096][extras.below(3)],
            jobs_per_turn_max: [1, 3, 256][extras.below(3)],
            on_panic: if fragile {
                OnPanic::Close
            } else {
                OnPanic::Keep
            },
            ..StrandOptions::default()
        };
        let strand = crews.strand(extras.below(1 << 8), room, options);
        let (period, began) = (Duration::from_millis(40), judge.sim.now());
        let tick = move |room: &mut Room, tick: &Tick| room.tick(tick, began);
        let _timer = strand.every(period, tick).unwrap();
        (strand, log)
    };
    (0..count).map(make).collect()
}

impl Room {
    fn tick(&mut self, tick: &Tick, began: Duration) {
        let judge = Arc::clone(&self.judge);
        let _inside = self.enter("a tick");
        let due = began.as_nanos() + u128::from(tick.number) * tick.period.as_nanos();
        if judge.sim.now().as_nanos() < due {
            judge.blame(format!("tick {} of a room came early", tick.number));
        }
        if tick.number != self.last_tick + tick.missed + 1 {
            judge.blame(format!("{tick:?} came after tick {}", self.last_tick));
        }
        self.last_tick = tick.number;
    }

    fn enter(&self, what: &str) -> Inside {
        if self.log.busy.swap(true, SeqCst) {
            let judge = &self.judge;
            judge.blame(format!("G1: {what} of a room overlaps another"));
        }
        Inside(Arc::clone(&self.log))
    }

    /// Job `number`; it answers the session that posted it.
    fn job(&mut self, number: u32, s: &Session<Game>, record: &Record) {
        let judge = Arc::clone(&self.judge);
        let _inside = self.enter("a job");
        self.log.ran.fetch_add(1, SeqCst);
        if number != self.next {
            judge.blame(format!("job {number} of a room ran as job {}", self.next));
        }
        self.next = number + 1;
        match judge.below(20) {
            0 => panic_quietly(),
            1 => wharf::sim::hold(Duration::from_micros(judge.below(500).into())),
            _ => s.handler().direct(s, record, wire::ROOM),
        }
    }
}

impl Judge {
    /// Has some room do something for this session, if there are rooms.
    pub(crate) fn to_a_room(self: &Arc<Self>, s: &Session<Game>, record: &Arc<Record>) {
        let room = {
            let rooms = self.rooms.lock();
            let count = u32::try_from(rooms.len()).unwrap();
            (count > 0).then(|| rooms[self.below(count) as usize].clone())
        };
        let Some((strand, log)) = room else { return };
        if self.coin(0.2) {
            return self.later(&strand);
        }
        let number = log.accepted.load(SeqCst);
        let (session, record) = (s.clone(), Arc::clone(record));
        let job = move |room: &mut Room| room.job(number, &session, &record);
        if strand.post(job).is_ok() {
            log.accepted.fetch_add(1, SeqCst);
        }
    }

    /// A job that must not run before its time.
    fn later(&self, strand: &Strand<Room>) {
        let after = Duration::from_micros(self.below(50_000).into());
        let due = self.sim.now() + after;
        let job = move |room: &mut Room| {
            let judge = Arc::clone(&room.judge);
            let _inside = room.enter("a delayed job");
            if judge.sim.now() < due {
                judge.blame(format!("a job due at {due:?} ran early"));
            }
        };
        let timer = strand.post_after(after, job);
        if let Ok(timer) = timer
            && self.coin(0.2)
        {
            timer.cancel();
        }
    }

    /// Nothing is left to do: each job that was accepted has run, or was dropped for a reason.
    pub(crate) fn check_rooms(&self, stopped: bool) {
        for (strand, log) in self.rooms.lock().iter() {
            let (accepted, ran) = (log.accepted.load(SeqCst), log.ran.load(SeqCst));
            let may_drop = stopped || log.fragile;
            if ran > accepted || (ran < accepted && !may_drop) {
                let stats = strand.stats();
                self.blame(format!(
                    "a room ran {ran} of {accepted} jobs (stopped: {stopped}): {stats:?}"
                ));
            }
        }
    }
}
