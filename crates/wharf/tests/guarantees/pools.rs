//! What a pool adds to R5 and G8: its stuck turns hold back no frame and are named.

use std::time::Duration;

use wharf::{ErrorKind, Host, Network, Pool};

use crate::support::{Act, Hold, Peer, World, check_stopped, patient};

const TELL: &[u8] = b"tell the others";
const HELD: &[u8] = b"hold";

/// Tells all others of its network, and is held then.
fn teller(hold: &Hold) -> Act<()> {
    let hold = hold.clone();
    Act::new(|_| Ok(())).on_frame(move |s, (), payload| {
        if payload == TELL {
            let others = s.network().sessions().to_vec();
            let mut others = others.into_iter().filter(|other| other.id() != s.id());
            others.try_for_each(|other| other.send(TELL))?;
        }
        hold.enter();
        Ok(s.send(payload)?)
    })
}

struct Scene {
    host: Host,
    pool: Pool,
    game: Network<Act<()>>,
    chat: Network<Act<()>>,
}

/// The pool's first port serves a network by itself, and may be stuck; another port brings the
/// game's sessions to the pool.
fn scene(w: &World, workers: usize, hold: &Hold) -> Scene {
    let mut host = w.host();
    let links = host.port("links").workers(1).build().unwrap();
    let front = host.port("front").workers(1).build().unwrap();
    let pool = host.pool("high").workers(workers).build().unwrap();
    let first = host.server("first", Act::echo()).port(&links).pool(&pool);
    first.listen(w.any_addr()).unwrap();
    let chat = host.server("chat", teller(hold)).port(&links);
    let chat = chat.timeouts(patient()).listen(w.any_addr()).unwrap();
    let game = host.server("game", teller(hold)).port(&front).pool(&pool);
    let game = game.timeouts(patient()).listen(w.any_addr()).unwrap();
    host.start().unwrap();
    Scene {
        host,
        pool,
        game,
        chat,
    }
}

fn connect(w: &World, net: &Network<Act<()>>, count: usize) -> Vec<Peer> {
    let addr = net.local_addr().unwrap();
    let peers = (0..count).map(|_| w.connect(addr)).collect();
    w.until("all are open", || net.sessions().len() == count);
    peers
}

/// What a stuck turn of a pool has sent to others leaves: by the port that looks after the pool,
/// or by another worker of the pool while that port is stuck itself.
pub(crate) fn a_stuck_pool_turn_holds_back_no_frame(w: &World) {
    for port_is_stuck in [false, true] {
        let hold = w.hold();
        let mut scene = scene(w, 1 + usize::from(port_is_stuck), &hold);
        let mut peers = connect(w, &scene.game, 3);
        let mut talker = connect(w, &scene.chat, 1);
        if port_is_stuck {
            talker[0].send(HELD);
            w.until("the port is stuck", || hold.entered() == 1);
        }
        peers[0].send(TELL);
        for peer in &mut peers[1..] {
            assert_eq!(peer.recv(), TELL);
        }
        assert_eq!(hold.entered(), 1 + usize::from(port_is_stuck));
        hold.release();
        assert_eq!(peers[0].recv(), TELL);
        drop((peers, talker));
        scene.host.stop().unwrap();
        check_stopped(&scene.host.stats());
    }
}

/// G8: a callback on a pool that never returns is named with its pool, and all others end.
pub(crate) fn a_stuck_pool_turn_is_named(w: &World) {
    let hold = w.hold();
    let mut scene = scene(w, 2, &hold);
    scene.host.set_drain_deadline(Duration::from_millis(50));
    let mut peers = connect(w, &scene.game, 2);
    let id = scene.game.sessions().to_vec().into_iter();
    let id = id.map(|s| (s.peer_addr(), s.id()));
    let id = id.collect::<std::collections::HashMap<_, _>>()[&peers[0].addr()];
    peers[0].send(HELD);
    w.until("a worker is stuck", || hold.entered() == 1);
    w.until("it is named while it is", || {
        let stuck = scene.host.stuck_turns(Duration::from_millis(1));
        stuck.len() == 1 && stuck[0].port == "high" && stuck[0].session == Some(id)
    });
    let error = scene.host.stop().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Stuck);
    let text = error.to_string();
    for word in ["\"high\"", "network \"game\"", &format!("session {id}")] {
        assert!(text.contains(word), "\"{word}\" is not in: {text}");
    }
    // Stopped is stopped, for the pool that has a thread left over too.
    let late = scene.pool.set_workers(1).unwrap_err();
    assert_eq!(late.kind(), ErrorKind::State);
    hold.release();
}
