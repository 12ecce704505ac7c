//! M6, R1, R2, R7: the wake chain. Whatever is pushed is run, though a worker never comes back from
//! its first turn, and though wakes coalesce and go to anybody.
//!
//! A lost wake-up is a deadlock here, which loom finds.

use std::sync::Arc;

use loom::thread;

use super::check;
use super::port::{Item, Port};

/// Runs `feed` against two workers; it returns how many items are to be served.
fn two_workers(preemptions: usize, lanes: &'static [usize], feed: fn(&Arc<Port>) -> usize) {
    workers_of(preemptions, move || Port::new(lanes), feed);
}

/// The same with two workers of whom each naps once, instead of parking.
fn two_nappers(preemptions: usize, feed: fn(&Arc<Port>) -> usize) {
    workers_of(preemptions, || Port::napping(&[usize::MAX]), feed);
}

fn workers_of(
    preemptions: usize,
    make: impl Fn() -> Port + Sync + Send + 'static,
    feed: fn(&Arc<Port>) -> usize,
) {
    check(preemptions, move || {
        let port = Arc::new(make());
        let workers = [1, 2].map(|_| {
            port.join();
            let port = Arc::clone(&port);
            thread::spawn(move || port.run_worker())
        });
        let items = feed(&port);
        port.finish(items);
        workers
            .into_iter()
            .for_each(|worker| worker.join().unwrap());
    });
}

#[test]
fn every_turn_is_run_though_a_worker_is_stuck() {
    two_workers(3, &[usize::MAX], |port| {
        port.push(Item::Stuck(0));
        port.push(Item::Turn(0));
        port.push(Item::Turn(0));
        2
    });
}

/// Two threads push at once.
#[test]
fn pushes_of_two_threads_are_both_seen() {
    two_workers(2, &[usize::MAX], |port| {
        let other = Arc::clone(port);
        let pusher = thread::spawn(move || other.push(Item::Stuck(0)));
        port.push(Item::Turn(0));
        pusher.join().unwrap();
        1
    });
}

/// One worker harvests everything, and is stuck in the first of it.
#[test]
fn a_harvest_that_brought_more_than_one_turn_wakes_a_sibling() {
    two_workers(3, &[usize::MAX], |port| {
        port.report(Item::Stuck(0));
        port.report(Item::Turn(0));
        1
    });
}

/// Port work and a turn, with a stuck worker.
#[test]
fn port_work_wakes_as_well() {
    two_workers(2, &[usize::MAX], |port| {
        port.push(Item::Stuck(0));
        port.push(Item::Work);
        port.report(Item::Turn(0));
        2
    });
}

/// The lower lane is full with a stuck turn: its second turn waits, the higher lane's does not.
#[test]
fn a_lane_at_its_cap_holds_up_no_other_lane() {
    two_workers(3, &[usize::MAX, 1], |port| {
        port.push(Item::Stuck(1));
        port.push(Item::Turn(1));
        port.push(Item::Turn(0));
        1
    });
}

/// A lane of one slot: each turn that ends frees it for the next.
#[test]
fn a_freed_slot_is_taken_again() {
    two_workers(3, &[usize::MAX, 1], |port| {
        port.push(Item::Turn(1));
        port.push(Item::Turn(1));
        port.push(Item::Turn(1));
        3
    });
}

/// A turn that wants another, while others wait and a worker is stuck.
#[test]
fn a_turn_that_goes_on_holds_up_nobody() {
    two_workers(2, &[usize::MAX, 1], |port| {
        port.push(Item::Twice(1));
        port.push(Item::Stuck(0));
        port.push(Item::Turn(1));
        3
    });
}

/// More port work than one streak, and a turn that waits behind it.
#[test]
fn a_streak_of_port_work_lets_turns_in_and_loses_nothing() {
    two_workers(1, &[usize::MAX], |port| {
        port.push(Item::Stuck(0));
        (0..9).for_each(|_| port.push(Item::Work));
        port.push(Item::Turn(0));
        10
    });
}

/// The other worker naps, or is about to, when one gets stuck with a turn behind it.
#[test]
fn who_naps_comes_for_what_is_left() {
    two_nappers(3, |port| {
        port.push(Item::Stuck(0));
        port.push(Item::Turn(0));
        port.report(Item::Turn(0));
        2
    });
}

/// One worker may park while the other naps, and one of them gets stuck.
#[test]
fn naps_and_parks_lose_nothing() {
    two_nappers(2, |port| {
        port.push(Item::Turn(0));
        port.report(Item::Stuck(0));
        port.push(Item::Work);
        2
    });
}
