//! R7: `set_lane` moves a session that waits at once; a turn that runs keeps the slot it took.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use wharf::{ErrorKind, Lane, Session};

use super::lanes::{A_WHILE, HELD, ask_in_rounds, has_lanes, scene};
use crate::support::{Act, Kind, World, number, numbered};

/// From its own handler: what comes next is served in the new lane, whoever holds the old one.
pub(crate) fn set_lane_in_a_handler(w: &World, kind: Kind) {
    let scene = scene(w, kind, 3, has_lanes(1));
    let (mut peers, sessions) = scene.open(w, &scene.backend, 3);
    assert_eq!(sessions[0].lane(), "backend");
    peers[0].ask(b"move to players");
    assert_eq!(sessions[0].lane(), "players");
    peers[1].send(HELD);
    w.until("the lane is at its cap", || scene.hold.entered() == 1);
    ask_in_rounds(&mut peers[..1], 10);
    // Back again: the next frame waits with the others of the lane.
    peers[0].ask(b"move to backend");
    peers[0].write(&numbered(77));
    peers[2].write(&numbered(78));
    w.until("both wait", || scene.look("backend").queued >= 2);
    w.pass(A_WHILE);
    assert!(!peers[0].look() && !peers[2].look(), "the lane is full");
    scene.hold.release();
    assert_eq!(number(&peers[0].recv()), 77);
    assert_eq!(number(&peers[2].recv()), 78);
    scene.end(w, peers);
}

/// By another thread, while it waits for a turn: it moves at once, and is served at once.
pub(crate) fn set_lane_while_queued(w: &World, kind: Kind) {
    let scene = scene(w, kind, 2, has_lanes(1));
    let (mut peers, sessions) = scene.open(w, &scene.backend, 4);
    peers[0].send(HELD);
    w.until("the lane is at its cap", || scene.hold.entered() == 1);
    (1..4).for_each(|n| peers[n].write(&numbered(5)));
    w.until("all wait", || scene.look("backend").queued >= 3);
    let moved = 1 + w.below(3);
    sessions[moved].set_lane("players").unwrap();
    assert_eq!(number(&peers[moved].recv()), 5);
    assert!(scene.look("backend").queued >= 2);
    scene.hold.release();
    for (n, peer) in peers.iter_mut().enumerate().skip(1) {
        assert!(n == moved || number(&peer.recv()) == 5);
    }
    scene.end(w, peers);
}

/// By another thread, while its turn runs: the turn keeps its slot; the next is in the new lane.
pub(crate) fn set_lane_while_running(w: &World, kind: Kind) {
    let scene = scene(w, kind, 3, has_lanes(1));
    let (mut peers, sessions) = scene.open(w, &scene.backend, 2);
    peers[0].send(HELD);
    w.until("the lane is at its cap", || scene.hold.entered() == 1);
    sessions[0].set_lane("players").unwrap();
    assert_eq!(sessions[0].lane(), "players");
    peers[1].write(&numbered(1));
    w.until("it waits", || scene.look("backend").queued >= 1);
    w.pass(A_WHILE);
    assert!(!peers[1].look(), "the slot is still taken");
    let (players, backend) = (scene.look("players"), scene.look("backend"));
    assert_eq!((players.running, backend.running), (0, 1));
    scene.hold.release();
    assert_eq!(number(&peers[1].recv()), 1);
    assert_eq!(peers[0].recv(), HELD);
    let before = scene.look("players").turns;
    assert_eq!(peers[0].ask(b"next"), b"next");
    w.until("it ran in its new lane", || {
        scene.look("players").turns > before
    });
    scene.end(w, peers);
}

/// Sessions move at random, by themselves and by others, in the midst of traffic: nothing is lost
/// and no cap is passed.
pub(crate) fn set_lane_at_random(w: &World, kind: Kind) {
    let (count, frames) = w.pick((8, 300_u32), (5, 12));
    let lanes = [Lane::new("players").workers_max(2), has_lanes(1)[1].clone()];
    let scene = scene(w, kind, 3, lanes);
    let (mut peers, sessions) = scene.open(w, &scene.backend, count);
    let over = Over(Arc::default());
    let mover = |(seed, session): (u64, Session<Act<()>>)| {
        let (mut rng, over) = (fastrand::Rng::with_seed(seed), Arc::clone(&over.0));
        move || {
            let lane = if rng.bool() { "players" } else { "backend" };
            session.set_lane(lane).unwrap();
            // Those that are moved have to run as well, on few cores.
            std::thread::yield_now();
            over.load(SeqCst)
        }
    };
    let mut movers: Vec<_> = (0..).zip(sessions).map(mover).collect();
    std::thread::scope(|scope| {
        // Dropped when this fails, too.
        let over = over;
        if !w.is_sim() {
            for mut mover in movers.drain(..) {
                let thread = std::thread::Builder::new().name("mover".to_owned());
                thread
                    .spawn_scoped(scope, move || while !mover() {})
                    .unwrap();
            }
        }
        for n in 0..frames {
            for peer in &mut peers {
                if n % 5 == 0 {
                    peer.send(b"move to backend");
                }
                peer.write(&numbered(n));
                movers.iter_mut().for_each(|mover| assert!(!mover()));
                w.nudge();
            }
            for peer in &mut peers {
                assert!(n % 5 > 0 || peer.recv() == b"move to backend");
                assert_eq!(number(&peer.recv()), n);
            }
        }
        drop(over);
    });
    scene.end(w, peers);
}

/// Set when it is dropped.
struct Over(Arc<AtomicBool>);

impl Drop for Over {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

/// A lane that there is not is refused by its name, with those that there are.
pub(crate) fn an_unknown_lane_is_named(w: &World, kind: Kind) {
    let scene = scene(w, kind, 1, has_lanes(1));
    let (peers, sessions) = scene.open(w, &scene.backend, 1);
    let error = sessions[0].set_lane("vip").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    let text = error.to_string();
    for word in [
        "network \"backend\"",
        "\"crew\"",
        "no lane \"vip\"",
        "players, backend",
    ] {
        assert!(text.contains(word), "\"{word}\" is not in: {text}");
    }
    assert_eq!(sessions[0].lane(), "backend");
    scene.end(w, peers);
}
