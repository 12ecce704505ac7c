//! Panics, closes, lost handles, stops: nothing is left, and nothing runs twice.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use wharf::{ErrorKind, OnPanic, SendError, StrandOptions};

use super::{count, host_with, ms, started};
use crate::support::{World, finish};

/// Panics without a word on stderr.
fn panic_quietly() -> ! {
    resume_unwind(Box::new("asked to"))
}

struct PanicsWhenDropped;

impl Drop for PanicsWhenDropped {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic_quietly();
        }
    }
}

pub(crate) fn a_panic_closes_its_strand_alone(w: &World) {
    let (host, port) = started(w, 2);
    let held = Arc::new(());
    let hold = |_: &mut Arc<()>| ();
    let strand = port.strand(Arc::clone(&held));
    let other = port.strand(0);
    let delayed = Arc::clone(&held);
    let delayed = strand
        .post_after(ms(3_600_000), move |_| drop(delayed))
        .unwrap();
    let ticked = Arc::clone(&held);
    let ticks = strand
        .every(ms(3_600_000), move |_, _| {
            assert!(Arc::strong_count(&ticked) > 0)
        })
        .unwrap();
    // They are taken together or not at all, so that the first one finds the others waiting.
    let (own, waits) = (strand.downgrade(), Arc::clone(&held));
    let bomb = move |_: &mut Arc<()>| {
        for _ in 0..3 {
            let waits = Arc::clone(&waits);
            own.upgrade().unwrap().post(move |_| drop(waits)).unwrap();
        }
        panic_quietly();
    };
    strand.post(bomb).unwrap();
    w.until("it is closed", || !strand.is_open());
    w.until("all it held is gone", || Arc::strong_count(&held) == 1);
    assert_eq!(strand.post(hold), Err(SendError::Closed));
    assert_eq!(
        strand.post_after(ms(1), hold).unwrap_err(),
        SendError::Closed
    );
    assert_eq!(
        strand.every(ms(1), |_, _| ()).unwrap_err().kind(),
        ErrorKind::Send
    );
    let stats = strand.stats();
    assert_eq!((stats.panics, stats.ran, stats.dropped), (1, 1, 3));
    assert_eq!((stats.waiting, stats.delayed), (0, 0));
    assert!(!delayed.cancel() && !ticks.cancel(), "they ended with it");
    other.post(|value| *value += 1).unwrap();
    w.until("the other lives", || other.stats().ran == 1);
    // One that keeps its value goes on.
    let options = StrandOptions {
        on_panic: OnPanic::Keep,
        ..StrandOptions::default()
    };
    let keeps = port.strand_with(0, options).unwrap();
    let timer = keeps.every(ms(2), |_, _| panic_quietly()).unwrap();
    keeps.post(|_| panic_quietly()).unwrap();
    keeps.post(|value| *value += 1).unwrap();
    w.until("it goes on", || {
        let stats = keeps.stats();
        stats.ran == 2 && stats.panics > 3 && timer.stats().ticks > 2
    });
    assert!(keeps.is_open());
    assert!(timer.cancel());
    finish(host);
}

pub(crate) fn a_strand_that_lost_its_handles_runs_what_it_took(w: &World) {
    let (mut host, port, _) = host_with(w, 2);
    let (ran, held) = (Arc::new(AtomicUsize::new(0)), Arc::new(()));
    let strand = port.strand(Arc::clone(&held));
    let weak = strand.downgrade();
    // More than one turn takes.
    for _ in 0..1000 {
        let ran = Arc::clone(&ran);
        let job = move |_: &mut Arc<()>| count(&ran, 1);
        strand.post(job).unwrap();
    }
    let (late, ticked) = (Arc::clone(&ran), Arc::clone(&ran));
    let delayed = move |_: &mut Arc<()>| count(&late, 1_000_000);
    let late = strand.post_after(ms(200), delayed).unwrap();
    let tick = move |_: &mut Arc<()>, _: &wharf::Tick| {
        count(&ticked, 1_000_000);
    };
    let ticks = strand.every(ms(200), tick).unwrap();
    drop(strand);
    assert!(weak.upgrade().is_none());
    host.start().unwrap();
    w.until("the value was dropped", || Arc::strong_count(&held) == 1);
    assert_eq!(ran.load(Ordering::SeqCst), 1000);
    assert!(!late.cancel() && !ticks.cancel(), "ended with their strand");
    w.pass(ms(250));
    assert_eq!(ran.load(Ordering::SeqCst), 1000, "no tick, no delayed job");
    assert_eq!(Arc::strong_count(&ran), 1);
    // A close says the same while there are handles.
    let strand = port.strand(Arc::clone(&held));
    for _ in 0..10 {
        let ran = Arc::clone(&ran);
        strand.post(move |_| count(&ran, 1)).unwrap();
    }
    strand.close();
    assert_eq!(strand.post(|_| ()), Err(SendError::Closed));
    w.until("the value was dropped", || Arc::strong_count(&held) == 1);
    assert_eq!(ran.load(Ordering::SeqCst), 1010);
    assert_eq!(strand.stats().dropped, 0);
    finish(host);
}

pub(crate) fn values_that_panic_as_they_are_dropped(w: &World) {
    let (host, port) = started(w, 1);
    let strand = port.strand(PanicsWhenDropped);
    let stats = strand.clone();
    let (bomb, tick_bomb) = (PanicsWhenDropped, PanicsWhenDropped);
    strand
        .post_after(ms(3_600_000), move |_| drop(bomb))
        .unwrap();
    let tick = move |_: &mut PanicsWhenDropped, _: &wharf::Tick| {
        let _ = &tick_bomb;
    };
    strand.every(ms(3_600_000), tick).unwrap();
    strand.close();
    w.until("it is over", || {
        stats.stats().delayed == 0 && stats.stats().panics == 1
    });
    let bomb = PanicsWhenDropped;
    port.post(move || drop(bomb)).unwrap();
    w.until("it ran", || port.jobs().ran == 1);
    w.until("and was told", || port.jobs().panics == 1);
    // These are dropped by the stop.
    let left = port.strand(PanicsWhenDropped);
    let bomb = PanicsWhenDropped;
    left.post_after(ms(3_600_000), move |_| drop(bomb)).unwrap();
    let bomb = PanicsWhenDropped;
    port.post_after(ms(3_600_000), move || drop(bomb)).unwrap();
    finish(host);
    assert_eq!(port.jobs().dropped, 1);
    assert_eq!(left.stats().panics, 1);
}

/// What can't run any more is dropped and counted, and later posts say so; no thread, no
/// descriptor and no value is left, whoever posts meanwhile.
pub(crate) fn a_stop_drops_what_waits(w: &World) {
    let before = w.open_now();
    let held = Arc::new(());
    for _ in 0..w.pick(5, 1) {
        let (mut host, port) = started(w, 2);
        let strand = port.strand(Arc::clone(&held));
        let value = Arc::clone(&held);
        let ticks = strand.every(ms(1), move |_, _| assert!(Arc::strong_count(&value) > 1));
        let value = Arc::clone(&held);
        let repeats = port.every(ms(1), move |_| assert!(Arc::strong_count(&value) > 1));
        let (ticks, repeats) = (ticks.unwrap(), repeats.unwrap());
        let mut callers: Vec<Box<dyn FnMut() -> bool + Send>> = Vec::new();
        for _ in 0..2 {
            let (strand, port, held) = (strand.clone(), port.clone(), Arc::clone(&held));
            callers.push(Box::new(move || {
                let [a, b, c, d] = [(); 4].map(|()| Arc::clone(&held));
                let posted = [
                    strand.post(move |_| drop(a)).err(),
                    strand.post_after(ms(1), move |_| drop(b)).err(),
                    port.post(move || drop(c)).err(),
                    port.post_after(ms(1), move || drop(d)).err(),
                ];
                // A strand and a timer that come too late are closed from the beginning.
                let late = port.strand(Arc::clone(&held));
                let _ = late.post(|_| ());
                posted.iter().all(|error| *error == Some(SendError::Closed))
            }));
        }
        let began = std::time::Instant::now();
        callers.push(Box::new(move || {
            if began.elapsed() < Duration::from_millis(5) {
                return false;
            }
            host.stop().unwrap();
            true
        }));
        w.at_once(callers);
        assert_eq!(strand.post(|_| ()), Err(SendError::Closed));
        assert_eq!(port.post(|| ()), Err(SendError::Closed));
        let stats = strand.stats();
        assert_eq!(stats.waiting + stats.delayed + port.jobs().waiting, 0);
        assert!(!ticks.cancel() && !repeats.cancel(), "they have ended");
        let jobs = port.jobs();
        assert_eq!(jobs.posted, jobs.ran + jobs.cancelled + jobs.dropped);
        drop((strand, port));
        assert_eq!(Arc::strong_count(&held), 1, "something is left");
    }
    assert_eq!(w.open_now(), before);
}

pub(crate) fn a_host_that_never_starts_drops_strands(w: &World) {
    let held = Arc::new(());
    let (host, port, net) = host_with(w, 1);
    let strand = port.strand(Arc::clone(&held));
    let value = Arc::clone(&held);
    strand.post(move |_| drop(value)).unwrap();
    let value = Arc::clone(&held);
    strand
        .every(ms(1), move |_, _| assert!(Arc::strong_count(&value) > 0))
        .unwrap();
    let value = Arc::clone(&held);
    port.post(move || drop(value)).unwrap();
    drop(port.strand(Arc::clone(&held)));
    assert_eq!(Arc::strong_count(&held), 6);
    drop((host, net));
    assert_eq!(strand.post(|_| ()), Err(SendError::Closed));
    assert_eq!(port.jobs().dropped, 1);
    drop((strand, port));
    assert_eq!(Arc::strong_count(&held), 1);
}

/// A job that never returns is named with its strand, and only its thread is left behind.
pub(crate) fn a_stuck_job_is_named(w: &World) {
    let before = w.open_now();
    let hold = w.hold();
    let held = Arc::new(());
    let (mut host, port) = started(w, 3);
    host.set_drain_deadline(ms(100));
    let options = StrandOptions {
        name: "zone 7".into(),
        ..StrandOptions::default()
    };
    let strand = port.strand_with(Arc::clone(&held), options).unwrap();
    let stuck = hold.clone();
    strand.post(move |_| stuck.enter()).unwrap();
    let ran = Arc::new(AtomicUsize::new(0));
    for _ in 0..3 {
        let ran = Arc::clone(&ran);
        strand.post(move |_| count(&ran, 1)).unwrap();
    }
    let stuck = hold.clone();
    port.post(move || stuck.enter()).unwrap();
    w.until("they are stuck", || hold.entered() == 2);
    let told = host.stuck_turns(Duration::ZERO);
    let mut whats: Vec<_> = told.iter().map(|turn| turn.what.clone().unwrap()).collect();
    whats.sort();
    assert_eq!(whats, ["a job", "strand \"zone 7\""]);
    assert!(
        told.iter()
            .all(|turn| turn.session.is_none() && turn.network.is_empty())
    );
    let error = host.stop().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Stuck);
    let text = error.to_string();
    assert!(
        text.contains("strand \"zone 7\"") && text.contains("a job"),
        "{text}"
    );
    assert_eq!(strand.post(|_| ()), Err(SendError::Closed));
    assert_eq!(w.open_now().threads - before.threads, 2);
    hold.release();
    w.until("they have ended", || w.open_now().threads == before.threads);
    assert_eq!(ran.load(Ordering::SeqCst), 0, "a job ran after the stop");
    assert_eq!(strand.stats().dropped, 3);
    assert_eq!(Arc::strong_count(&held), 1, "its value is left");
    drop((host, port, strand));
    w.until("nothing is left", || w.open_now() == before);
}
