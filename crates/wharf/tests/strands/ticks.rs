//! Fixed rate, lateness, delayed jobs, cancels.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use wharf::{SendError, StrandOptions, Tick, Timer};

use super::{count, ms, started};
use crate::support::{Log, World, finish};

/// Due times do not drift, ticks add up to the time that passed, and the end is the end.
pub(crate) fn ticks_at_a_fixed_rate(w: &World) {
    let (host, port) = started(w, 2);
    let strand = port.strand(Vec::new());
    let period = ms(5);
    let timer = strand
        .every(period, |ticks: &mut Vec<Tick>, tick| ticks.push(*tick))
        .unwrap();
    w.until("it ticked", || timer.stats().ticks >= 20);
    assert!(timer.cancel());
    assert!(!timer.cancel(), "ended before");
    let seen = Log::default();
    let tell = seen.clone();
    w.until("the job was taken", || {
        let tell = tell.clone();
        strand.post(move |ticks| tell.push(ticks.clone())).is_ok()
    });
    w.until("it told", || seen.len() >= 1);
    let ticks = seen.take().remove(0);
    let stats = timer.stats();
    assert_eq!(stats.ticks, ticks.len() as u64);
    assert_eq!(stats.lag.count(), stats.ticks);
    assert_eq!(
        stats.missed,
        ticks.iter().map(|tick| tick.missed).sum::<u64>()
    );
    let mut last = 0;
    for tick in &ticks {
        assert_eq!(tick.number, last + 1 + tick.missed, "each is run or missed");
        assert!(tick.lateness < period && tick.period == period);
        last = tick.number;
    }
    assert_eq!(stats.ticks + stats.missed, last);
    let ran = timer.stats().ticks;
    w.pass(ms(30));
    assert_eq!(timer.stats().ticks, ran, "nothing after a cancel");
    assert_eq!(strand.stats().delayed, 0);
    finish(host);
}

/// One worker, no faults, and callbacks that take virtual time: every number is known.
#[cfg(feature = "sim")]
pub(crate) fn ticks_in_virtual_time(w: &World) {
    let sim = w.the_sim();
    sim.set_faults(wharf::sim::Faults {
        step_max: std::time::Duration::ZERO,
        ..wharf::sim::Faults::none()
    });
    let (host, port) = started(w, 1);
    let ticks = Log::default();
    let tell = ticks.clone();
    let began = sim.now();
    let clock = sim.clone();
    let strand = port.strand(());
    let timer = strand
        .every(ms(50), move |(), tick| {
            let at = clock.now() - began;
            tell.push((at, tick.number, tick.lateness, tick.missed));
            match tick.number {
                // To 220, past the due times 150 and 200 of ticks 3 and 4.
                2 => wharf::sim::hold(ms(120)),
                // Exactly to its end: not past it.
                6 => wharf::sim::hold(ms(50)),
                7 => wharf::sim::hold(ms(60)),
                _ => {}
            }
        })
        .unwrap();
    w.pass(ms(475));
    let expected = [
        (50, 1, 0, 0),
        (100, 2, 0, 0),
        (220, 4, 20, 1),
        (250, 5, 0, 0),
        (300, 6, 0, 0),
        (350, 7, 0, 0),
        (410, 8, 10, 0),
        (450, 9, 0, 0),
    ];
    let expected = expected.map(|(at, number, late, missed)| (ms(at), number, ms(late), missed));
    assert_eq!(ticks.take(), expected);
    let stats = timer.stats();
    assert_eq!((stats.ticks, stats.missed, stats.overruns), (8, 1, 2));
    assert_eq!((stats.lag_max, stats.lag_last), (ms(70), ms(0)));
    finish(host);
}

/// A due tick is not lost for a full mailbox, and runs before what waits there.
pub(crate) fn ticks_need_no_room(w: &World) {
    let (host, port) = started(w, 2);
    let options = StrandOptions {
        mailbox_max: 4,
        jobs_per_turn_max: 1,
        ..StrandOptions::default()
    };
    let strand = port.strand_with(Vec::new(), options).unwrap();
    let hold = w.hold();
    let timer = strand.every(ms(10), |seen, _| seen.push("tick")).unwrap();
    w.until("it ticked", || timer.stats().ticks >= 1);
    if w.is_sim() {
        assert_eq!(
            timer.stats().ticks,
            1,
            "the clock stands while nobody waits"
        );
    }
    // The strand is busy, by the gate on sockets; in the simulation its next tick is far off.
    let stuck = hold.clone();
    strand.post(move |_: &mut Vec<&str>| stuck.enter()).unwrap();
    w.until("it is held", || hold.entered() == 1);
    let mut full = 0;
    for _ in 0..8 {
        full += usize::from(strand.post(|seen| seen.push("job")) == Err(SendError::Full));
    }
    if !w.is_sim() {
        assert_eq!(full, 5, "three and the timer fit");
        w.pass(ms(30));
    }
    hold.release();
    let after = timer.stats().ticks;
    w.until("it ticked again", || timer.stats().ticks > after + 1);
    let told = Log::default();
    let tell = told.clone();
    w.until("it is taken", || {
        let tell = tell.clone();
        strand.post(move |seen| tell.push(seen.clone())).is_ok()
    });
    w.until("it told", || told.len() > 0);
    let seen = told.take().remove(0);
    if !w.is_sim() {
        assert_eq!(
            seen[..2],
            ["tick", "tick"],
            "due while it was busy, before what waited"
        );
    }
    assert_eq!(seen.iter().filter(|what| **what == "job").count(), 8 - full);
    finish(host);
}

pub(crate) fn delayed_jobs_come_in_time(w: &World) {
    let (host, port) = started(w, 2);
    let strand = port.strand(Vec::new());
    let after = |time, n: u32| {
        let job = move |seen: &mut Vec<u32>| seen.push(n);
        strand.post_after(ms(time), job).unwrap()
    };
    let timers = [
        after(60, 6),
        after(20, 2),
        after(40, 4),
        after(20, 3),
        after(0, 0),
    ];
    let never = after(3_600_000, 9);
    assert!(timers[2].cancel());
    w.until("they ran", || strand.stats().delayed == 1);
    assert!(!timers[2].cancel(), "cancelled before");
    assert!(!timers[0].cancel(), "it ran");
    assert!(never.cancel());
    let told = Log::default();
    let tell = told.clone();
    strand.post(move |seen| tell.push(seen.clone())).unwrap();
    w.until("it told", || told.len() == 1);
    let mut seen = told.take().remove(0);
    // Of two with one due time either may come first.
    seen[1..3].sort_unstable();
    assert_eq!(seen, [0, 2, 3, 6]);
    assert_eq!(strand.stats().ran, 5);
    finish(host);
}

/// A job either ran or was cancelled, whoever was faster, and what it held is gone either way.
pub(crate) fn cancels_race_with_what_they_cancel(w: &World) {
    let (host, port) = started(w, 3);
    let strand = port.strand(());
    let (ran, cancelled) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let held = Arc::new(());
    let each = w.pick(2_000, 40);
    let mut callers: Vec<Box<dyn FnMut() -> bool + Send>> = Vec::new();
    for _ in 0..3 {
        let (strand, port) = (strand.clone(), port.clone());
        let (ran, cancelled, held) = (Arc::clone(&ran), Arc::clone(&cancelled), Arc::clone(&held));
        let mut made = 0;
        callers.push(Box::new(move || {
            let counted = |ran: &Arc<AtomicUsize>| {
                let (ran, held) = (Arc::clone(ran), Arc::clone(&held));
                move || {
                    let _held = held;
                    count(&ran, 1);
                }
            };
            let (one, other) = (counted(&ran), counted(&ran));
            let after = std::time::Duration::from_micros(fastrand::u64(0..100));
            let one = strand.post_after(after, move |()| one()).unwrap();
            let other = port.post_after(after, other).unwrap();
            let ticker = strand.every(ms(1), |(), _| ()).unwrap();
            for timer in [one, other] {
                cancelled.fetch_add(usize::from(timer.cancel()), Ordering::SeqCst);
            }
            assert!(ticker.cancel());
            made += 1;
            made == each
        }));
    }
    w.at_once(callers);
    w.until("nothing waits", || {
        strand.stats().delayed == 0 && port.jobs().waiting == 0
    });
    let sum = || ran.load(Ordering::SeqCst) + cancelled.load(Ordering::SeqCst);
    w.until("each ran or was cancelled", || sum() == 6 * each);
    w.until("what they held is gone", || Arc::strong_count(&held) == 1);
    w.pass(ms(5));
    assert_eq!(sum(), 6 * each, "no job did both");
    assert_eq!(port.jobs().posted, 3 * each as u64);
    finish(host);
}

/// Very many timers, half of them cancelled: each of the others fires, once, on one worker.
pub(crate) fn a_hundred_thousand_timers(w: &World) {
    let (host, port) = started(w, 1);
    let many = w.pick(100_000, 1_000);
    let fired = Arc::new(AtomicUsize::new(0));
    let mut timers = Vec::new();
    for timer in 0..many {
        let fired = Arc::clone(&fired);
        // Few before the last one is armed.
        let after = ms(1_000) + std::time::Duration::from_micros(u64::try_from(timer).unwrap());
        let job = move || count(&fired, 1);
        timers.push(port.post_after(after, job).unwrap());
    }
    let cancelled = timers
        .iter()
        .step_by(2)
        .filter(|timer| timer.cancel())
        .count();
    w.until("all fired", || port.jobs().waiting == 0);
    let fired = || fired.load(Ordering::SeqCst);
    w.until("all ran", || fired() == many - cancelled);
    let jobs = port.jobs();
    assert_eq!(jobs.ran, (many - cancelled) as u64);
    assert_eq!(jobs.cancelled, cancelled as u64);
    assert!(cancelled > 0);
    finish(host);
}

/// A tick ends its own timer: it is the last one, and its closure goes when it returns.
pub(crate) fn a_tick_cancels_its_own_timer(w: &World) {
    let (host, port) = started(w, 2);
    let held = Arc::new(());
    let (own, ended) = (Arc::clone(&held), Log::default());
    let tell = ended.clone();
    let strand = port.strand(None::<Timer>);
    let timer = strand.every(ms(2), move |timer: &mut Option<Timer>, tick| {
        assert_eq!(Arc::strong_count(&own), 2);
        if let Some(timer) = timer.take() {
            tell.push((tick.number, timer.cancel(), timer.cancel()));
        }
    });
    let timer = timer.unwrap();
    let last = timer.clone();
    strand.post(move |own| *own = Some(last)).unwrap();
    w.until("it ended itself", || ended.len() == 1);
    w.until("its closure is gone", || Arc::strong_count(&held) == 1);
    let (number, first, second) = ended.take().remove(0);
    assert!(first && !second && !timer.cancel());
    let stats = timer.stats();
    assert_eq!(stats.ticks + stats.missed, number);
    assert_eq!((strand.stats().delayed, strand.stats().panics), (0, 0));
    finish(host);
}
