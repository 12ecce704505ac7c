use std::io;
use std::time::Instant;

use super::*;
use crate::port::Parking;
use crate::port::contract::{Backend, Ready};

/// A worker for whom there is no thread gives back what it was counted for.
#[test]
fn a_worker_that_never_runs_leaves_no_trace() {
    let pool = PortCore::pool("pool".into(), Arc::new(Parking::default()), Vec::new());
    let pool = Arc::new(pool);
    pool.prepare(1, 0);
    for _ in 0..2 {
        let index = pool.take_slot().expect("the slot is free again");
        let worker = Worker::new(Arc::clone(&pool), index, Duration::ZERO);
        assert_eq!(pool.queue.lock().workers(), 1);
        drop(worker);
        assert_eq!(pool.queue.lock().workers(), 0);
        assert_eq!(pool.alive.load(Ordering::Acquire), 0);
    }
}

/// A kernel queue in which there is nothing, ever.
#[derive(Debug)]
struct Silent;

impl Backend for Silent {
    fn name(&self) -> &'static str {
        "silent"
    }
    fn now(&self) -> Time {
        crate::port::clock::now()
    }
    fn wait(&self, _: &mut Vec<Ready>, _: usize, _: Wait) -> io::Result<()> {
        Ok(())
    }
    fn wake(&self) {}
    fn set_timer(&self, _: Option<Time>) {}
    fn wakes_for_each(&self) -> bool {
        true
    }
    fn entropy(&self) -> u64 {
        0
    }
}

/// Wants a turn of this lane, and does nothing in it.
struct Item(usize);

impl Served for Item {
    fn turn(self: Arc<Self>, _: &mut TurnCx<'_>) {}
    fn lane(&self) -> usize {
        self.0
    }
    fn timer(self: Arc<Self>, _: Time) {}
    fn discard(self: Arc<Self>) {}
}

/// A port with two lanes, and two workers of it.
fn two_workers() -> (Arc<PortCore>, [Worker; 2]) {
    let lanes = ["high", "low"].map(Lane::new).into();
    let port = PortCore::new("port".into(), Arc::new(Silent), lanes);
    let port = Arc::new(port.with_nap(Duration::from_micros(500)));
    port.prepare(2, 0);
    let worker = |()| {
        let index = port.take_slot().expect("there are two");
        Worker::new(Arc::clone(&port), index, Duration::ZERO)
    };
    let workers = [(), ()].map(worker);
    (port, workers)
}

fn push(port: &PortCore, lane: usize) {
    port.push_turn(Arc::new(Item(lane)), port.now());
}

/// One worker finds nothing, and wakes from the kernel's wait; then the other runs many turns. By
/// the clock of the first no time passes, so that this takes as long as it may.
fn get_on(port: &PortCore, worker: &mut Worker, idle: &mut Worker) {
    assert!(parks(idle.step()), "nobody gets on");
    idle.harvest(1, Wait::Block);
    for _ in 0..100 {
        push(port, 0);
        while worker.step() != Step::Ran {
            worker.harvest(64, Wait::Poll);
        }
    }
}

fn parks(step: Step) -> bool {
    matches!(
        step,
        Step::Harvest {
            how: Wait::Block,
            ..
        }
    )
}

#[test]
fn a_worker_naps_while_its_sibling_gets_on() {
    let (port, [mut busy, mut idle]) = two_workers();
    get_on(&port, &mut busy, &mut idle);
    assert!(matches!(idle.step(), Step::Nap(_)));
    idle.nap(Duration::ZERO);
    assert!(parks(idle.step()), "nobody has begun anything since");
}

#[test]
fn no_worker_naps_beside_a_long_turn() {
    let (port, [mut busy, mut idle]) = two_workers();
    get_on(&port, &mut busy, &mut idle);
    let long_ago = port.now() - Duration::from_millis(1);
    busy.slot
        .turn_since
        .store(long_ago.as_nanos(), Ordering::Relaxed);
    assert!(parks(idle.step()));
}

/// Naps, with a limit that only a call can come before, while `call` happens.
fn is_called(call: impl FnOnce(&PortCore, &mut Worker)) {
    let (port, [mut busy, mut idle]) = two_workers();
    get_on(&port, &mut busy, &mut idle);
    assert!(matches!(idle.step(), Step::Nap(_)));
    let began = Instant::now();
    let napping = std::thread::Builder::new().name("napping".into());
    let napping = napping.spawn(move || {
        idle.nap(Duration::from_secs(60));
        idle
    });
    while !port.rests.has_any() {
        std::thread::yield_now();
    }
    call(&port, &mut busy);
    drop(napping.expect("a thread").join().expect("it returns"));
    assert!(began.elapsed() < Duration::from_secs(50), "nobody called");
}

#[test]
fn a_turn_of_a_lower_lane_calls_who_naps() {
    is_called(|port, _| push(port, 1));
}

#[test]
fn what_has_waited_long_calls_who_naps() {
    is_called(|port, busy| {
        let long_ago = port.now() - Duration::from_millis(1);
        port.push_turn(Arc::new(Item(0)), long_ago);
        while busy.step() != Step::Ran {
            busy.harvest(64, Wait::Poll);
        }
    });
}

#[test]
fn the_end_of_the_port_calls_who_naps() {
    is_called(|port, _| port.quit());
}
