//! Deadlines: handshake, idle, write stall; and what must not trip them.

use std::time::Duration;

use wharf::{CloseReason, Timeouts};

use crate::support::{
    Act, End, Layout, Log, World, each_backend, finish, frame, in_simulation, matrix,
    on_real_sockets, serve, small_socket,
};

matrix!(who_never_speaks_is_closed);
each_backend!(one_frame_ends_the_handshake, an_idle_peer_gets_a_goodbye);
in_simulation!(
    who_waits_for_us_is_not_idle,
    a_paused_login_is_not_idle_with_bytes_waiting
);
on_real_sockets!(
    two_thousand_that_never_speak,
    a_stall_is_measured_by_one_clock
);
on_real_sockets!(a_first_frame_is_never_missed, a_slow_on_open_is_not_idle);

const SOON: Duration = Duration::from_millis(150);

fn only(set: impl FnOnce(&mut Timeouts)) -> Timeouts {
    let mut timeouts = Timeouts {
        handshake: None,
        idle: None,
        write_stall: None,
        linger: Duration::from_secs(2),
    };
    set(&mut timeouts);
    timeouts
}

/// Nothing, or half a frame, within the handshake timeout.
fn who_never_speaks_is_closed(w: &World, layout: Layout) {
    let handler = Act::echo();
    let ledger = handler.ledger();
    let (host, net) = serve(w, layout, handler, |server| {
        server.handshake_timeout(Some(SOON))
    });
    let addr = net.local_addr().unwrap();
    let mut peers: Vec<_> = (0..6).map(|_| w.connect(addr)).collect();
    for (n, peer) in peers.iter_mut().enumerate() {
        peer.write(&frame(b"whole")[..n]);
    }
    for peer in &mut peers {
        peer.read_to_end();
    }
    w.until("all are closed", || ledger.closed() == 6);
    assert_eq!(ledger.reasons(), vec![CloseReason::HandshakeTimeout; 6]);
    drop(peers);
    finish(host);
}

fn one_frame_ends_the_handshake(w: &World) {
    let handler = Act::echo();
    let ledger = handler.ledger();
    let (host, net) = serve(w, Layout::Shared(2), handler, |server| {
        server.handshake_timeout(Some(SOON))
    });
    let mut peer = w.connect(net.local_addr().unwrap());
    assert_eq!(peer.ask(b"hello"), b"hello");
    w.pass(SOON * 3);
    assert_eq!(peer.ask(b"still"), b"still");
    assert_eq!(ledger.closed(), 0);
    drop(peer);
    finish(host);
}

/// Silence is closed in good order, after the idle time and not before; bytes put it off.
fn an_idle_peer_gets_a_goodbye(w: &World) {
    let handler = Act::new(|_| Ok(())).on_frame(|s, (), payload| Ok(s.send(payload)?));
    let handler = handler.on_close(|_, (), reason| assert_eq!(reason, CloseReason::IdleTimeout));
    let ledger = handler.ledger();
    let (host, net) = serve(w, Layout::Shared(2), handler, |server| {
        server.timeouts(only(|timeouts| timeouts.idle = Some(SOON * 4)))
    });
    let mut peer = w.connect(net.local_addr().unwrap());
    for _ in 0..6 {
        // Half the idle time and less, all in all more than it.
        w.pass(SOON);
        assert_eq!(peer.ask(b"not idle"), b"not idle");
    }
    assert_eq!(peer.read_to_end(), End::Fin);
    drop(peer);
    w.until("it is closed", || ledger.closed() == 1);
    assert_eq!(host.stats().networks[0].panics, 0);
    finish(host);
}

/// A client that pipelines and reads slowly has sent long ago what we do not read, as we wait for
/// it to read. That is not silence.
fn who_waits_for_us_is_not_idle(w: &World) {
    let idle = Duration::from_secs(1);
    let handler = Act::new(|_| Ok(())).on_frame(|s, (), _| Ok(s.send(&[7; 700])?));
    let ledger = handler.ledger();
    let (host, net) = serve(w, Layout::Shared(2), handler, |server| {
        let server = server
            .socket(small_socket())
            .send_queue(wharf::SendQueueLimits {
                bytes_max: 16 * 1024,
                ..wharf::SendQueueLimits::default()
            });
        server.timeouts(only(|timeouts| timeouts.idle = Some(idle)))
    });
    let mut peer = w.connect_narrow(net.local_addr().unwrap());
    w.until("it is open", || net.sessions().len() == 1);
    let session = net.sessions().first().unwrap();
    let wire = frame(b"").repeat(1000);
    let mut written = 0;
    w.until("it is choked", || {
        written += peer.write_some(&wire[written..]);
        session.send_queue().behind
    });
    // A hundred bytes of the replies now and then: it stays behind for many idle times.
    let mut read = 0;
    for _ in 0..60 {
        w.pass(idle / 10);
        peer.look_at_most(100);
        read += peer.inbox.len();
        peer.inbox.clear();
        written += peer.write_some(&wire[written..]);
        assert_eq!(ledger.reasons(), []);
    }
    assert!(read > 3000 && session.is_open());
    drop(peer);
    finish(host);
}

/// A session that pauses its reading for a database has bytes waiting in the kernel.
fn a_paused_login_is_not_idle_with_bytes_waiting(w: &World) {
    w.move_much();
    let idle = Duration::from_secs(1);
    let guards = Log::default();
    let kept = guards.clone();
    let handler = Act::new(|_| Ok(())).on_frame(move |s, (), payload| {
        if payload == b"login" {
            kept.push(s.pause_reading());
        }
        Ok(s.send(payload)?)
    });
    let ledger = handler.ledger();
    let (host, net) = serve(w, Layout::Shared(2), handler, |server| {
        server.timeouts(only(|timeouts| timeouts.idle = Some(idle)))
    });
    let mut peer = w.connect(net.local_addr().unwrap());
    assert_eq!(peer.ask(b"login"), b"login");
    peer.send(b"first move");
    w.pass(idle * 3);
    assert_eq!(ledger.reasons(), []);
    drop(guards.take());
    assert_eq!(peer.recv(), b"first move");
    // And then it is idle like any other.
    assert_eq!(peer.read_to_end(), End::Fin);
    drop(peer);
    w.until("it is closed", || ledger.closed() == 1);
    assert_eq!(ledger.reasons(), [CloseReason::IdleTimeout]);
    finish(host);
}

/// As many as the soft limit allows, while one who speaks is served.
fn two_thousand_that_never_speak(w: &World) {
    let handler = Act::echo();
    let ledger = handler.ledger();
    // On_open has to come before it.
    let timeout = w.unhurried(Duration::from_millis(700));
    let (host, net) = serve(w, Layout::Shared(2), handler, |server| {
        server.handshake_timeout(Some(timeout))
    });
    let addr = net.local_addr().unwrap();
    let mut speaker = w.connect(addr);
    assert_eq!(speaker.ask(b"first"), b"first");
    // Two descriptors a connection, both of them ours.
    let silent = 2000.min(soft_limit() / 4);
    let mut peers = Vec::new();
    for _ in 0..silent {
        peers.push(w.connect(addr));
    }
    assert_eq!(speaker.ask(b"amid"), b"amid");
    for peer in &mut peers {
        peer.read_to_end();
    }
    w.until("all are closed", || ledger.closed() == silent);
    assert_eq!(
        ledger.reasons(),
        vec![CloseReason::HandshakeTimeout; silent]
    );
    assert_eq!(speaker.ask(b"last"), b"last");
    drop((peers, speaker));
    finish(host);
}

/// How many descriptors this process may have.
fn soft_limit() -> usize {
    let limit = wharf::system::open_files_max();
    limit
        .and_then(|limit| limit.try_into().ok())
        .unwrap_or(usize::MAX)
}

/// A frame that one port's handler sends to a session of another: its stall is measured from now,
/// whatever the age of the two ports.
fn a_stall_is_measured_by_one_clock(w: &World) {
    let stall = Duration::from_millis(1200);
    let mut host = w.host();
    let old = host.port("old").workers(1).build().unwrap();
    std::thread::sleep(stall + Duration::from_millis(200));
    let young = host.port("young").workers(1).build().unwrap();
    let game = Act::echo();
    let ledger = game.ledger();
    let game = host.server("game", game).port(&old).socket(small_socket());
    let game = game.timeouts(only(|timeouts| timeouts.write_stall = Some(stall)));
    let game = game.listen(w.any_addr()).unwrap();
    let players = game.clone();
    let chat = Act::new(|_| Ok(())).on_frame(move |_, (), _| {
        for _ in 0..60 {
            players.sessions().broadcast(&[7; 1000]).unwrap();
        }
        Ok(())
    });
    let chat = host
        .server("chat", chat)
        .port(&young)
        .listen(w.any_addr())
        .unwrap();
    host.start().unwrap();
    let mut player = w.connect_narrow(game.local_addr().unwrap());
    w.until("the player is open", || game.sessions().len() == 1);
    let mut talker = w.connect(chat.local_addr().unwrap());
    talker.send(b"say it");
    for _ in 0..60 {
        assert_eq!(player.recv(), [7; 1000]);
    }
    assert_eq!(ledger.reasons(), []);
    drop((player, talker));
    drop(chat);
    finish(host);
}

/// Each peer sends its first frame at once and nothing more: none is closed for not speaking,
/// however the accepting worker and the serving one meet.
fn a_first_frame_is_never_missed(w: &World) {
    let handler = Act::echo();
    let ledger = handler.ledger();
    let timeout = w.unhurried(Duration::from_millis(600));
    let (host, net) = serve(w, Layout::Shared(4), handler, |server| {
        server.handshake_timeout(Some(timeout))
    });
    let addr = net.local_addr().unwrap();
    let mut peers = Vec::new();
    for _ in 0..400 {
        let mut peer = w.connect(addr);
        peer.send(b"hello");
        peers.push(peer);
    }
    for peer in &mut peers {
        assert_eq!(peer.recv(), b"hello");
    }
    w.pass(timeout + Duration::from_millis(300));
    assert_eq!(ledger.reasons(), []);
    drop(peers);
    finish(host);
}

/// An `on_open` that takes its time is not the peer's silence.
fn a_slow_on_open_is_not_idle(w: &World) {
    let mut host = w.host();
    let port = host.port("front").workers(2).build().unwrap();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let handler = Act::new(|_| {
        std::thread::sleep(Duration::from_millis(300));
        Ok(())
    });
    let ledger = handler.ledger();
    // The deadline of the connect passes in on_open, and the idle time is less than the port's age.
    let link = host.client("link", handler).port(&port);
    let link = link.connect_timeout(Duration::from_millis(100));
    let link = link.idle_timeout(Duration::from_millis(900));
    let link = link.connect(nobody.local_addr().unwrap()).unwrap();
    host.start().unwrap();
    w.until("it is open", || ledger.opened() == 1);
    w.pass(Duration::from_millis(100));
    assert_eq!(ledger.reasons(), []);
    drop((nobody, link));
    finish(host);
}
