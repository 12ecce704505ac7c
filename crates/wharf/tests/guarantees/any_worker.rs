//! G3: with K workers of which K-1 are stuck in handlers, every other session is still served.

use crate::support::{Act, At, Hold, Layout, Peer, Role, World, check_stopped, numbered};

const STUCK: u8 = b's';

/// Echoes, and gets stuck where it is told to.
fn stuck_or_echo(hold: Hold) -> Act<()> {
    Act::new(|_| Ok(())).on_frame(move |s, (), payload| {
        if payload == [STUCK] {
            hold.enter();
        }
        Ok(s.send(payload)?)
    })
}

/// All but one worker are held. The others' sessions, old ones and new ones, finish their
/// exchange while they are: there is no clock in it.
pub(crate) fn any_worker_any_session(w: &World, layout: Layout) {
    let (innocents, frames) = w.pick((12, 50_u32), (5, 10));
    let stuck = layout.main_workers() - 1;
    let hold = w.hold();
    let mut host = w.host();
    let port = layout.ports().main(&mut host);
    let handler = stuck_or_echo(hold.clone());
    let ledger = handler.ledger();
    // Who came before says nothing until the others are held, however long that takes here.
    let net = host.server("game", handler).at(&port);
    let net = net.handshake_timeout(None).listen(w.any_addr()).unwrap();
    host.start().unwrap();
    let addr = net.local_addr().unwrap();

    let before: Vec<Peer> = (0..innocents).map(|_| w.connect(addr)).collect();
    let mut held: Vec<Peer> = (0..stuck).map(|_| w.connect(addr)).collect();
    for (index, peer) in held.iter_mut().enumerate() {
        peer.send(&[STUCK]);
        w.until("a worker is stuck", || hold.entered() == index + 1);
    }
    let after = (0..innocents).map(|_| w.connect(addr));
    let mut peers: Vec<Peer> = before.into_iter().chain(after).collect();
    // In rounds, so that each worker parks and is woken again and again.
    for n in 0..frames {
        peers.iter_mut().for_each(|peer| peer.write(&numbered(n)));
        for peer in &mut peers {
            assert_eq!(peer.recv(), n.to_le_bytes());
        }
    }
    assert_eq!(hold.entered(), stuck, "and they were stuck all the time");
    hold.release();
    for peer in &mut held {
        assert_eq!(peer.recv(), [STUCK]);
    }
    drop((held, peers));
    w.until("the sessions are over", || net.sessions().is_empty());
    host.stop().unwrap();
    ledger.check_all_closed();
    check_stopped(&host.stats());
}

/// A port whose workers are all stuck takes no other port with it.
pub(crate) fn another_port_is_another_world(w: &World, layout: Layout) {
    if matches!(layout, Layout::Shared(_)) {
        // There is no other port: the isolation is what this layout gives up. One worker of it
        // stays free, or nothing would ever move.
        return any_worker_any_session(w, layout);
    }
    let hold = w.hold();
    let mut host = w.host();
    let mut ports = layout.ports();
    let (main, first) = (ports.main(&mut host), ports.get(&mut host, Role::First));
    let game = host.server("game", Act::echo()).at(&main);
    let game = game.listen(w.any_addr()).unwrap();
    let chat = host.server("chat", stuck_or_echo(hold.clone())).at(&first);
    let chat = chat.listen(w.any_addr()).unwrap();
    host.start().unwrap();
    let mut talker = w.connect(chat.local_addr().unwrap());
    talker.send(&[STUCK]);
    w.until("the other port is stuck", || hold.entered() == 1);
    let mut player = w.connect(game.local_addr().unwrap());
    for n in 0..20_u32 {
        assert_eq!(player.ask(&n.to_le_bytes()), n.to_le_bytes());
    }
    // In the simulation a held handler has returned already, and its worker stays occupied.
    assert!(
        w.is_sim() || !talker.look(),
        "the stuck handler has not replied"
    );
    hold.release();
    assert_eq!(talker.recv(), [STUCK]);
    drop((talker, player));
    host.stop().unwrap();
    check_stopped(&host.stats());
}
