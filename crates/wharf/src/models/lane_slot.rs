//! M12, R7, R1: the slots of capped lanes, sessions that change lanes, and workers that leave, each
//! against pushes and picks: `PortCore::push_turn` and `relane`, `SessionCore::set_lane`,
//! `RunQueue::leave` and `resize`.
//!
//! A slot, a move or a wake-up that is lost is a deadlock here, which loom finds.

use std::sync::Arc;

use loom::thread;

use super::check;
use super::port::{Item, Port};

/// Runs `feed` against so many workers; it says how many items are to be served, and how many
/// workers leave.
fn against(
    preemptions: usize,
    workers: usize,
    lanes: &'static [usize],
    feed: fn(&Arc<Port>) -> (usize, usize),
) {
    check(preemptions, move || {
        let port = Arc::new(Port::new(lanes));
        let work = |_| {
            port.join();
            let port = Arc::clone(&port);
            thread::spawn(move || port.run_worker())
        };
        let workers: Vec<_> = (0..workers).map(work).collect();
        let (items, left) = feed(&port);
        port.finish_without(items, left);
        workers
            .into_iter()
            .for_each(|worker| worker.join().unwrap());
    });
}

/// Another thread does this.
fn meanwhile(port: &Arc<Port>, act: fn(&Port)) -> thread::JoinHandle<()> {
    let port = Arc::clone(port);
    thread::spawn(move || act(&port))
}

/// The last slot is given back by a worker that leaves with it, while more comes for the lane.
#[test]
fn a_slot_outlives_its_worker() {
    against(3, 2, &[1], |port| {
        port.push(Item::Turn(0));
        port.shrink(1);
        port.push(Item::Turn(0));
        port.push(Item::Turn(0));
        (3, 1)
    });
}

/// The lane below is full for ever; in the lane above, slots pass from turn to turn.
#[test]
fn the_last_slot_is_handed_over() {
    against(2, 2, &[1, 1], |port| {
        let pusher = meanwhile(port, |port| port.push(Item::Stuck(1)));
        port.push(Item::Twice(0));
        port.push(Item::Turn(0));
        pusher.join().unwrap();
        (3, 0)
    });
}

/// Lane 0 is full for ever. Whatever comes first, the push or the move, the session is served.
#[test]
fn a_move_meets_a_push() {
    against(2, 2, &[1, usize::MAX], |port| {
        port.push(Item::Stuck(0));
        let pusher = meanwhile(port, Port::raise);
        port.set_lane(1);
        pusher.join().unwrap();
        (1, 0)
    });
}

/// It waits already, and whoever could serve it sleeps.
#[test]
fn a_move_wakes() {
    against(3, 2, &[1, usize::MAX], |port| {
        port.push(Item::Stuck(0));
        port.raise();
        port.set_lane(1);
        (1, 0)
    });
}

/// It is being picked, runs or is done: it is served once, and its slot comes back.
#[test]
fn a_move_meets_a_pick() {
    against(2, 2, &[1, 1], |port| {
        port.raise();
        port.set_lane(1);
        port.push(Item::Turn(0));
        port.push(Item::Turn(1));
        (3, 0)
    });
}

/// Moves to and fro by two threads.
#[test]
fn a_move_meets_a_move() {
    against(2, 1, &[1, 1], |port| {
        port.raise();
        let mover = meanwhile(port, |port| port.set_lane(1));
        port.set_lane(0);
        mover.join().unwrap();
        (1, 0)
    });
}

/// The one that leaves may be the only one awake, or hold the wake that was meant for the push.
#[test]
fn who_leaves_leaves_nothing_undone() {
    against(2, 2, &[usize::MAX], |port| {
        let pusher = meanwhile(port, |port| port.push(Item::Turn(0)));
        port.shrink(1);
        pusher.join().unwrap();
        (1, 1)
    });
}

/// It has harvested what others are to run, port work too.
#[test]
fn who_leaves_hands_over_what_it_has_harvested() {
    against(3, 2, &[usize::MAX], |port| {
        port.report(Item::Turn(0));
        port.shrink(1);
        port.push(Item::Work);
        (2, 1)
    });
}

/// All but one leave, though all sleep when they are told.
#[test]
fn all_who_are_too_many_leave() {
    against(2, 3, &[usize::MAX], |port| {
        port.shrink(1);
        port.push(Item::Turn(0));
        (1, 2)
    });
}
