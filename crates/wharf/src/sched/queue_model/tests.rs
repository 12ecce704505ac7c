use super::*;
use proptest::prelude::*;

fn ops(lanes: usize) -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        4 => (0..lanes).prop_map(Op::Push),
        2 => Just(Op::Work),
        10 => (0..WORKERS, any::<bool>()).prop_map(|(w, again)| Op::Step(w, again)),
        2 => (0..200u64).prop_map(Op::Pass),
        1 => (0..8usize, 0..lanes).prop_map(|(nth, lane)| Op::Move(nth, lane)),
        1 => (1..=WORKERS).prop_map(Op::Resize),
    ];
    prop::collection::vec(op, 1..200)
}

/// Lanes whose promises one worker can keep, so that every size is allowed.
fn specs() -> impl Strategy<Value = Vec<LaneSpec>> {
    let cap = prop_oneof![Just(usize::MAX), 1..4usize];
    let starve = prop::option::of(1..300u64);
    let lane = (cap, starve).prop_map(|(workers_max, starve)| LaneSpec {
        starve_after: starve.map(Duration::from_micros),
        ..LaneSpec::capped(workers_max)
    });
    (
        prop::collection::vec(lane, 1..4),
        prop::option::of(0..3usize),
    )
        .prop_map(|(mut lanes, kept)| {
            if let Some(lane) = kept.and_then(|index| lanes.get_mut(index)) {
                lane.workers_min = 1;
            }
            lanes
        })
}

/// Nothing can go before the highest lane, so it runs a whole round; before a turn of a lower
/// lane the kernel is asked every 8 turns, and after a long one.
#[test]
fn only_turns_of_lower_lanes_are_interrupted_by_looks() {
    let looks = |lane: usize, micros: u64| {
        let mut queue = RunQueue::new(vec![LaneSpec::capped(4), LaneSpec::capped(4)]);
        queue.join();
        for item in 0..32 {
            let _ = queue.push(lane, item, Time::ZERO);
        }
        let (mut looks, mut turns, mut now) = (0, 0, Time::ZERO);
        while turns < 32 {
            match queue.pick(now).0 {
                Picked::Poll(_) => looks += 1,
                Picked::Turn(lane, ..) => {
                    turns += 1;
                    now = now + Duration::from_micros(micros);
                    queue.turn_ended(lane, now);
                }
                other => unreachable!("{other:?}"),
            }
        }
        looks
    };
    // One look before the first turn: nobody has looked yet.
    assert_eq!((looks(0, 1), looks(0, 100)), (1, 1));
    assert_eq!((looks(1, 1), looks(1, 100)), (4, 32));
}

/// A worker that is given port work may take more of it along, up to what runs in one go.
#[test]
fn port_work_is_given_a_few_at_a_time() {
    for kernel in [true, false] {
        let specs = vec![LaneSpec::capped(usize::MAX)];
        let mut queue = if kernel {
            RunQueue::new(specs)
        } else {
            RunQueue::without_kernel(specs)
        };
        queue.join();
        for item in 0..WORK_PER_TURN * 2 + 1 {
            let _ = queue.push_work(item);
        }
        let mut given = 0;
        while given < WORK_PER_TURN * 2 + 1 {
            match queue.pick(Time::ZERO).0 {
                Picked::Poll(_) => {}
                Picked::Work(item) => {
                    let more: Vec<_> = std::iter::from_fn(|| queue.more_work()).collect();
                    let count = more.len() + 1;
                    let expected = WORK_PER_TURN.min(WORK_PER_TURN * 2 + 1 - given);
                    assert_eq!(count, expected, "kernel: {kernel}");
                    let items = std::iter::once(item).chain(more);
                    assert!(items.eq(given..given + count), "in order");
                    given += count;
                }
                other => unreachable!("{other:?}"),
            }
        }
    }
}

/// In a storm a listener comes back at once; with nobody to let in before a turn has run, it would
/// come eight times for each.
#[test]
fn a_listener_comes_once_a_turn_in_a_storm() {
    const LISTENER: usize = usize::MAX;
    let mut queue = RunQueue::new(vec![LaneSpec::capped(usize::MAX)]);
    queue.join();
    for item in 0..200 {
        let _ = queue.push(0, item, Time::ZERO);
    }
    let _ = queue.push_work(LISTENER);
    let (mut turns, mut calls, mut let_in) = (0, 0, 0);
    while turns < 100 {
        match queue.pick(Time::ZERO).0 {
            Picked::Poll(_) => {}
            Picked::Work(_) => {
                calls += 1;
                let_in += queue.newcomers(0, 4);
                let _ = queue.push_work(LISTENER);
            }
            Picked::Turn(lane, ..) => {
                turns += 1;
                queue.turn_ended(lane, Time::ZERO);
            }
            Picked::Park(_) => unreachable!("much is to do"),
        }
    }
    assert!(calls <= turns + 4, "{calls} calls for {turns} turns");
    assert!(let_in + 1 >= turns, "{let_in} let in during {turns} turns");
}

proptest! {
    #[test]
    fn eligible_work_and_a_parked_worker_imply_a_searcher_or_a_wake(
        (specs, ops) in specs().prop_flat_map(|specs| {
            let lanes = specs.len();
            (Just(specs), ops(lanes))
        }),
        kernel in any::<bool>(),
    ) {
        agree(specs, ops, kernel);
    }
}
