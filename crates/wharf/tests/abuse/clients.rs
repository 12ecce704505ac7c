//! Client networks: nobody there, everybody gone, several addresses, many links.

use std::net::SocketAddr;
use std::time::Duration;

use wharf::{CloseReason, ErrorKind, Host, LinkState, Network, Reconnect, Refuse};

use crate::support::{
    Act, At, Layout, Log, Role, World, check_stopped, each_backend, finish, in_simulation, matrix,
};

matrix!(a_link_comes_back, links_of_one_host_to_another_network);
each_backend!(connect_to_nobody, several_addresses_in_turn, many_links);
each_backend!(
    a_link_that_may_not_come_back,
    a_refusing_on_open_is_tried_again
);
each_backend!(a_stopped_client_stays_away);
in_simulation!(pauses_double_to_their_limit, a_connect_takes_too_long);

/// Comes back quickly.
fn quick() -> Reconnect {
    Reconnect {
        first: Duration::from_millis(2),
        max: Duration::from_millis(20),
        stable: Duration::from_millis(1),
        ..Reconnect::default()
    }
}

fn link_to(
    w: &World,
    layout: Layout,
    handler: Act<()>,
    addrs: Vec<SocketAddr>,
    links: usize,
) -> (Host, Network<Act<()>>) {
    let mut host = w.host();
    let port = layout.ports().get(&mut host, Role::First);
    let link = host.client("link", handler).at(&port).links(links);
    let link = link.reconnect(quick()).connect(addrs).unwrap();
    assert!(link.links().is_empty(), "before the start there are none");
    host.start().unwrap();
    (host, link)
}

fn is_waiting(state: &LinkState, words: &str) -> bool {
    match state {
        LinkState::Waiting { last_error, .. } => last_error.contains(words),
        _ => false,
    }
}

/// It tries on, counts, says why, and connects once somebody is there.
fn connect_to_nobody(w: &World) {
    let nobody = w.nobody();
    let addr = nobody.addr();
    let handler = Act::new(|s| {
        s.send(b"hello").unwrap();
        Ok(())
    });
    let ledger = handler.ledger();
    let (mut host, link) = link_to(w, Layout::Shared(2), handler, vec![addr], 1);
    let stats = |host: &Host| host.stats().network("link").unwrap().clone();
    w.until("it has tried four times", || {
        stats(&host).connects_failed >= 4
    });
    w.until("it tells why it waits", || {
        is_waiting(&link.links()[0], &addr.to_string())
    });
    assert_eq!((ledger.opened(), link.sessions().len()), (0, 0));
    let listener = nobody.listen();
    let mut peer = listener.accept();
    assert_eq!(peer.recv(), b"hello");
    let session = link.sessions().first().unwrap();
    assert_eq!(link.links(), [LinkState::Connected(session.id())]);
    drop((listener, peer));
    host.stop().unwrap();
    ledger.check_all_closed();
    check_stopped(&host.stats());
    assert!(stats(&host).connects > stats(&host).connects_failed);
}

/// `on_open` for each connection, a new session each time, whoever ended the last one.
fn a_link_comes_back(w: &World, layout: Layout) {
    let listener = w.listen("127.0.0.1:0".parse().unwrap());
    let handler = Act::echo();
    let ledger = handler.ledger();
    let (mut host, link) = link_to(w, layout, handler, vec![listener.addr()], 1);
    let mut seen = Vec::new();
    for round in 0..8_u32 {
        let mut peer = listener.accept();
        assert_eq!(peer.ask(&round.to_le_bytes()), round.to_le_bytes());
        let session = link.sessions().first().unwrap();
        assert!(!seen.contains(&session.id()));
        seen.push(session.id());
        match round % 4 {
            0 => drop(peer),
            1 => peer.reset(),
            2 => {
                session.close();
                peer.expect_fin();
            }
            _ => {
                session.abort();
                peer.expect_reset();
            }
        }
        w.until("it is over", || {
            !session.is_open() && ledger.closed() == seen.len()
        });
    }
    let expected = [
        CloseReason::PeerClosed,
        CloseReason::Reset,
        CloseReason::Closed,
        CloseReason::Aborted,
    ];
    assert_eq!(ledger.reasons(), [expected.clone(), expected].concat());
    drop(listener);
    host.stop().unwrap();
    ledger.check_all_closed();
    check_stopped(&host.stats());
}

/// A server and its client in one process, on shared or separate ports: every frame arrives.
fn links_of_one_host_to_another_network(w: &World, layout: Layout) {
    let mut near = w.host();
    let mut ports = layout.ports();
    let main = ports.main(&mut near);
    let server = near
        .server("game", Act::echo())
        .at(&main)
        .handshake_timeout(None);
    let server = server.listen(w.any_addr()).unwrap();
    near.start().unwrap();
    let replies = Log::default();
    let log = replies.clone();
    let handler = Act::new(|s| {
        for n in 0..50_u32 {
            s.send(&n.to_le_bytes()).unwrap();
        }
        Ok(0_u32)
    });
    let handler = handler.on_frame(move |s, next, payload| {
        assert_eq!(payload, next.to_le_bytes());
        *next += 1;
        if *next == 50 {
            log.push(s.id());
        }
        Ok(())
    });
    let ledger = handler.ledger();
    let mut far = w.host();
    let first = layout.ports().get(&mut far, Role::First);
    let link = far.client("link", handler).at(&first).links(3);
    let link = link.connect(server.local_addr().unwrap()).unwrap();
    far.start().unwrap();
    w.until("all replies came", || replies.len() == 3);
    assert_eq!((server.sessions().len(), link.sessions().len()), (3, 3));
    far.stop().unwrap();
    w.until("the server has seen it", || server.sessions().is_empty());
    near.stop().unwrap();
    ledger.check_all_closed();
    check_stopped(&far.stats());
    check_stopped(&near.stats());
    let (near, far) = (near.stats(), far.stats());
    let (game, link) = (near.network("game").unwrap(), far.network("link").unwrap());
    assert_eq!((game.frames_in, link.frames_in), (150, 150));
    assert_eq!(
        (game.bytes_in, link.bytes_in),
        (link.bytes_out, game.bytes_out)
    );
}

/// All are tried in a round, in order, without a pause; the one that lived comes first again.
fn several_addresses_in_turn(w: &World) {
    let (dead, also_dead) = (w.nobody(), w.nobody());
    let first = w.listen("127.0.0.1:0".parse().unwrap());
    let second = w.listen("127.0.0.1:0".parse().unwrap());
    let (first_addr, second_addr) = (first.addr(), second.addr());
    let handler = Act::echo();
    let addrs = vec![dead.addr(), first_addr, also_dead.addr(), second_addr];
    let (host, link) = link_to(w, Layout::Shared(2), handler, addrs, 1);
    let stats = || host.stats().network("link").unwrap().clone();
    for round in 1..=3 {
        let mut peer = first.accept();
        assert_eq!(peer.ask(b"you"), b"you");
        w.pass(Duration::from_millis(5));
        drop(peer);
        w.until("it is over", || stats().ended == round);
    }
    assert_eq!(
        stats().connects_failed,
        1,
        "after a life at the second the first is not asked"
    );
    assert!(second.try_accept().is_none());
    // It is gone: the next in turn is the other one.
    let last = first.accept();
    drop((first, last));
    let mut peer = second.accept();
    assert_eq!(peer.ask(b"you"), b"you");
    let failed = stats().connects_failed;
    assert!((2..=4).contains(&failed), "{failed} failed connects");
    drop((peer, second));
    w.until("every address was asked again", || {
        stats().connects_failed > failed + 8
    });
    w.until("it waits", || is_waiting(&link.links()[0], ""));
    finish(host);
}

/// Each link has a connection of its own, and comes back by itself.
fn many_links(w: &World) {
    let listener = w.listen("127.0.0.1:0".parse().unwrap());
    let handler = Act::echo();
    let ledger = handler.ledger();
    let (host, link) = link_to(w, Layout::Shared(2), handler, vec![listener.addr()], 5);
    let mut peers: Vec<_> = (0..5).map(|_| listener.accept()).collect();
    w.until("all links stand", || link.sessions().len() == 5);
    let states = link.links();
    let connected = states
        .iter()
        .filter(|state| matches!(state, LinkState::Connected(_)));
    assert_eq!((states.len(), connected.count()), (5, 5));
    for round in 0..3 {
        drop(peers.remove(w.below(5)));
        let mut back = listener.accept();
        assert_eq!(back.ask(b"back"), b"back");
        peers.push(back);
        assert_eq!(ledger.opened(), 6 + round);
    }
    drop((peers, listener));
    finish(host);
}

fn a_link_that_may_not_come_back(w: &World) {
    let listener = w.listen("127.0.0.1:0".parse().unwrap());
    let once = || Reconnect {
        enabled: false,
        ..quick()
    };
    let mut host = w.host();
    let port = host.port("links").workers(1).build().unwrap();
    let handler = Act::echo();
    let ledger = handler.ledger();
    let link = host.client("link", handler).port(&port).reconnect(once());
    let link = link.connect(listener.addr()).unwrap();
    let lost = host
        .client("lost", Act::echo())
        .port(&port)
        .reconnect(once());
    let nobody = w.nobody();
    let lost = lost.connect(nobody.addr()).unwrap();
    host.start().unwrap();
    let mut peer = listener.accept();
    assert_eq!(peer.ask(b"once"), b"once");
    drop(peer);
    w.until("it is over", || link.links() == [LinkState::Stopped]);
    w.until("it was refused", || lost.links() == [LinkState::Stopped]);
    w.pass(Duration::from_millis(50));
    assert!(listener.try_accept().is_none());
    assert_eq!(ledger.opened(), 1);
    let connects = |name: &str| host.stats().network(name).unwrap().connects;
    assert_eq!((connects("link"), connects("lost")), (1, 1));
    drop(listener);
    finish(host);
}

/// A handler that refuses its own connection is asked again, after a pause that grows.
fn a_refusing_on_open_is_tried_again(w: &World) {
    let listener = w.listen("127.0.0.1:0".parse().unwrap());
    let refusals = Log::default();
    let log = refusals.clone();
    let handler = Act::<()>::new(move |_| {
        log.push(());
        if log.len() % 2 == 0 {
            std::panic::resume_unwind(Box::new("asked to"));
        }
        Err(Refuse::new("not this one"))
    });
    let (mut host, link) = link_to(w, Layout::Shared(2), handler, vec![listener.addr()], 1);
    for _ in 0..5 {
        listener.accept().expect_fin();
    }
    w.until("all were told", || refusals.len() >= 5);
    assert!(link.sessions().is_empty());
    drop(listener);
    host.stop().unwrap();
    let stats = host.stats();
    check_stopped(&stats);
    let link = stats.network("link").unwrap();
    assert_eq!(link.opened, 0);
    let told = link.refused_by_handler + link.open_panicked;
    assert_eq!(told, refusals.len() as u64);
}

/// `Network::stop` of a client: connected, connecting or waiting, it is away and stays away.
fn a_stopped_client_stays_away(w: &World) {
    let listener = w.listen("127.0.0.1:0".parse().unwrap());
    let handler = Act::echo();
    let ledger = handler.ledger();
    let nobody = w.nobody();
    let addrs = vec![listener.addr(), nobody.addr()];
    let (host, link) = link_to(w, Layout::Shared(2), handler, addrs, 3);
    let mut peers: Vec<_> = (0..w.below(4)).map(|_| listener.accept()).collect();
    link.stop();
    assert!(link.is_stopping());
    let live = || host.stats().network("link").unwrap().sessions_live;
    w.until("no socket of it is left", || {
        while let Some(peer) = listener.try_accept() {
            peers.push(peer);
        }
        for peer in &mut peers {
            peer.look();
            peer.half_close();
        }
        live() == 0
    });
    let connects = host.stats().network("link").unwrap().connects;
    w.pass(Duration::from_millis(60));
    assert_eq!(host.stats().network("link").unwrap().connects, connects);
    for state in link.links() {
        assert_eq!(state, LinkState::Stopped);
    }
    assert!(
        ledger
            .reasons()
            .iter()
            .all(|reason| *reason == CloseReason::Shutdown)
    );
    drop((listener, peers));
    finish(host);
}

/// The moments at which a link asks, in virtual time.
fn pauses_double_to_their_limit(w: &World) {
    let sim = w.the_sim();
    let jitter = w.one_in(2);
    let reconnect = Reconnect {
        first: Duration::from_millis(100),
        max: Duration::from_millis(700),
        jitter,
        ..Reconnect::default()
    };
    let mut host = w.host();
    let link = host
        .client("link", Act::sink())
        .workers(1)
        .reconnect(reconnect);
    link.connect(["10.0.0.1:1", "10.0.0.2:2"]).unwrap();
    host.start().unwrap();
    let failed = || host.stats().networks[0].connects_failed;
    let mut moments = Vec::new();
    for round in 1..=7 {
        w.until("a round is over", || failed() == 2 * round);
        moments.push(sim.now());
    }
    let pauses: Vec<_> = moments.windows(2).map(|pair| pair[1] - pair[0]).collect();
    for (pause, expected) in pauses.iter().zip([100, 200, 400, 700, 700, 700]) {
        let expected = Duration::from_millis(expected);
        // The connects themselves and late reports take their time too.
        let most = expected + Duration::from_millis(20);
        let least = if jitter { expected / 2 } else { expected };
        assert!(*pause >= least && *pause <= most, "{pauses:?}");
    }
    host.stop().unwrap();
    check_stopped(&host.stats());
}

/// A host that does not answer costs the connect timeout, and then comes the next address.
fn a_connect_takes_too_long(w: &World) {
    let sim = w.the_sim();
    let hole = sim.listen("10.0.0.1:80".parse().unwrap()).unwrap();
    hole.set_backlog(0);
    let good = w.listen("10.0.0.2:80".parse().unwrap());
    let mut host = w.host();
    let link = host
        .client("link", Act::echo())
        .workers(2)
        .reconnect(quick());
    let link = link.connect_timeout(Duration::from_millis(300));
    let link = link.connect(["10.0.0.1:80", "10.0.0.2:80"]).unwrap();
    let began = sim.now();
    host.start().unwrap();
    w.until(
        "it connects",
        || matches!(link.links()[0], LinkState::Connecting(addr) if addr.port() == 80),
    );
    let mut peer = good.accept();
    assert_eq!(peer.ask(b"you"), b"you");
    let took = sim.now() - began;
    assert!(
        took >= Duration::from_millis(300) && took < Duration::from_millis(400),
        "{took:?}"
    );
    let stats = host.stats().networks[0].clone();
    assert_eq!((stats.connects, stats.connects_failed), (2, 1));
    drop((peer, good));
    w.until("it waits for the first", || {
        host.stats().networks[0].connects_failed >= 3
    });
    host.stop().unwrap();
    check_stopped(&host.stats());
    assert_eq!(host.start().unwrap_err().kind(), ErrorKind::State);
}
