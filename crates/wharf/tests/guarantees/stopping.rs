//! G8: stop accepting, drain, close all, join; nothing leaks; from a handler too, and twice.

use std::time::Duration;

use wharf::{CloseReason, ErrorKind, Host, LinkState, Network, SendError, Timeouts};

use crate::support::{
    Act, At, End, Layout, Log, Peer, Role, World, check_stopped, finish, patient, serve,
    small_socket,
};

/// A host that is a server to peers and a client of another server of its own.
fn both_sides(w: &World, layout: Layout) -> (Host, Network<Act<()>>, Network<Act<()>>) {
    let mut host = w.host();
    let mut ports = layout.ports();
    let main = ports.main(&mut host);
    let first = ports.get(&mut host, Role::First);
    let second = ports.get(&mut host, Role::Second);
    let game = host.server("game", Act::echo()).at(&main);
    let game = game.handshake_timeout(None).socket(small_socket());
    let game = game.listen(w.any_addr()).unwrap();
    let chat = host.server("chat", Act::echo()).at(&second);
    let chat = chat.handshake_timeout(None).listen("127.0.0.1:0").unwrap();
    // A port of 0 is known after the start only, so the link goes to whom the test tells later.
    drop(chat);
    let link = host.client("link", Act::sink()).at(&first);
    let link = link.connect("127.0.0.1:1").unwrap();
    host.start().unwrap();
    (host, game, link)
}

/// Everything at once: sessions with unread replies, a link that finds nobody, peers that come
/// late. What was accepted arrives before the end of the stream, and nothing stays behind.
pub(crate) fn shutdown_is_a_protocol(w: &World, layout: Layout) {
    let before = w.open_now();
    {
        let (mut host, game, link) = both_sides(w, layout);
        let addr = game.local_addr().unwrap();
        let mut peers: Vec<Peer> = (0..6).map(|_| w.connect_narrow(addr)).collect();
        w.until("all are open", || game.sessions().len() == 6);
        // More than the kernel holds, so that a flush is under way when the stop comes.
        let frames = 40_u8;
        for n in 0..frames {
            let sent = game.sessions().broadcast(&[n; 1000]).unwrap();
            assert_eq!(sent.accepted, 6);
        }
        let handle = host.handle();
        assert!(!handle.is_stopping());
        handle.stop();
        handle.stop();
        assert!(handle.is_stopping() && game.is_stopping() && link.is_stopping());
        for session in game.sessions().to_vec() {
            assert_eq!(session.send(b"late"), Err(SendError::Closed));
        }
        for peer in &mut peers {
            for n in 0..frames {
                assert_eq!(peer.recv(), [n; 1000]);
            }
            peer.expect_fin();
        }
        drop(peers);
        host.stop().unwrap();
        refused(w, addr);
        host.stop().unwrap();
        let stats = host.stats();
        check_stopped(&stats);
        let of = |name: &str| stats.network(name).unwrap().clone();
        assert_eq!(of("game").closes_named("shutdown"), 6);
        assert_eq!((of("game").frames_lost, of("game").linger_cut), (0, 0));
        assert_eq!(
            link.links(),
            Vec::<LinkState>::new(),
            "a stopped host has no links"
        );
        let again = host.start().unwrap_err();
        assert_eq!(again.kind(), ErrorKind::State);
    }
    assert_eq!(
        w.open_now(),
        before,
        "descriptors or threads were left behind"
    );
}

/// Nobody is let in at this address.
fn refused(w: &World, addr: std::net::SocketAddr) {
    if let Ok(mut peer) = w.begin_connect(None, addr) {
        assert!(w.is_sim(), "a stopped host accepts nobody");
        w.pass(Duration::from_secs(1));
        assert!(!peer.is_connected(), "a stopped host accepts nobody");
    }
}

/// From each callback and a job: it returns at once, and the host stops.
pub(crate) fn stop_from_a_handler(w: &World, layout: Layout) {
    for whence in ["open", "frame", "close", "job"] {
        let before = w.open_now();
        let told = Log::<wharf::HostHandle>::default();
        let kept = told.clone();
        let stop = move |here: &str| {
            if here == whence {
                let handles = kept.take();
                for handle in &handles {
                    handle.stop();
                    assert!(handle.is_stopping());
                }
                // Freed by the test: a handle in the handler is a ring.
                handles.into_iter().for_each(|handle| kept.push(handle));
            }
        };
        let stop = std::sync::Arc::new(stop);
        let (at_open, at_frame, at_close) = (stop.clone(), stop.clone(), stop);
        let handler = Act::new(move |_| {
            at_open("open");
            Ok(())
        });
        let handler = handler.on_frame(move |s, (), payload| {
            s.send(payload)?;
            at_frame("frame");
            let at_job = at_frame.clone();
            match s.post(move |_, ()| at_job("job")) {
                Ok(()) | Err(SendError::Closed) => Ok(()),
                Err(error) => Err(error.into()),
            }
        });
        let handler = handler.on_close(move |_, (), _| at_close("close"));
        let ledger = handler.ledger();
        let (mut host, net) = serve(w, layout, handler, |server| server);
        let mut bystander = (whence != "open").then(|| w.connect(net.local_addr().unwrap()));
        if let Some(bystander) = &mut bystander {
            w.until("the bystander is open", || net.sessions().len() == 1);
            bystander.look();
        }
        told.push(host.handle());
        let mut peer = w.connect(net.local_addr().unwrap());
        peer.write_or_break(&crate::support::frame(b"on"));
        peer.half_close();
        w.until("it is stopping", || host.handle().is_stopping());
        peer.read_to_end();
        if whence == "frame" {
            assert_eq!(
                peer.take_frames(),
                [b"on"],
                "what was sent before is flushed"
            );
        }
        if let Some(mut bystander) = bystander {
            bystander.expect_fin();
        }
        drop(peer);
        host.stop().unwrap();
        ledger.check_all_closed();
        check_stopped(&host.stats());
        drop(told.take());
        drop((host, net));
        assert_eq!(w.open_now(), before, "{whence}");
    }
}

/// Dropping the host stops it; one that never started has nothing to stop.
pub(crate) fn a_dropped_host_stops(w: &World, layout: Layout) {
    let before = w.open_now();
    let handler = Act::echo();
    let ledger = handler.ledger();
    let (host, net) = serve(w, layout, handler, |server| server);
    let mut peer = w.connect(net.local_addr().unwrap());
    assert_eq!(peer.ask(b"here"), b"here");
    let session = net.sessions().first().unwrap();
    // Dropping any other handle stops nothing.
    drop(host.handle());
    drop(net);
    assert_eq!(peer.ask(b"still"), b"still");
    peer.half_close();
    drop(host);
    peer.expect_fin();
    drop(peer);
    ledger.check_all_closed();
    assert!(!session.is_open());
    assert_eq!(session.send(b"late"), Err(SendError::Closed));
    drop((session, ledger));

    let mut never = w.host();
    let port = layout.ports().main(&mut never);
    let server = never.server("game", Act::echo()).at(&port);
    drop(server.listen(w.any_addr()).unwrap());
    never.stop().unwrap();
    assert_eq!(never.start().unwrap_err().kind(), ErrorKind::State);
    drop((never, port));
    assert_eq!(w.open_now(), before);
}

/// Peers that never end their stream, or take nothing, are cut at the deadlines.
pub(crate) fn who_does_not_part_is_cut(w: &World, layout: Layout) {
    let handler = Act::sink();
    let ledger = handler.ledger();
    let (mut host, net) = serve(w, layout, handler, |server| server.socket(small_socket()));
    host.set_drain_deadline(Duration::from_millis(300));
    let addr = net.local_addr().unwrap();
    let mut silent = w.connect(addr);
    let mut stalled = w.connect_narrow(addr);
    w.until("both are open", || net.sessions().len() == 2);
    for session in net.sessions().to_vec() {
        for _ in 0..100 {
            session.send(&[0; 1000]).unwrap();
        }
    }
    host.stop().unwrap();
    ledger.check_all_closed();
    assert_eq!(
        ledger.reasons(),
        [CloseReason::Shutdown, CloseReason::Shutdown]
    );
    check_stopped(&host.stats());
    assert!(host.stats().networks[0].frames_lost > 0);
    assert_eq!(stalled.read_to_end(), End::Reset);
    // It has read to the end of the stream before it is reset, or not.
    silent.read_to_end();
}

/// One network stops for good, in the middle of a storm of connects; the others go on.
pub(crate) fn a_network_stops_alone(w: &World, layout: Layout) {
    let mut host = w.host();
    let mut ports = layout.ports();
    let (main, first) = (ports.main(&mut host), ports.get(&mut host, Role::First));
    let handler = Act::echo();
    let ledger = handler.ledger();
    let game = host
        .server("game", handler)
        .at(&main)
        .handshake_timeout(None);
    let game = game.listen(w.any_addr()).unwrap();
    let chat = host.server("chat", Act::echo()).at(&first);
    let chat = chat.listen(w.any_addr()).unwrap();
    host.start().unwrap();
    let addr = game.local_addr().unwrap();
    let mut talker = w.connect(chat.local_addr().unwrap());
    assert_eq!(talker.ask(b"one"), b"one");
    let stop_at = 5 + w.below(30);
    let mut peers = Vec::new();
    for n in 0..40 {
        // On sockets the workers accept while this thread stops the network.
        peers.extend(w.begin_connect(None, addr).ok());
        w.nudge();
        if n == stop_at {
            game.stop();
        }
    }
    for mut peer in peers {
        let mut looks = 0;
        w.until("a peer is let go", || {
            while peer.look() {}
            looks += 1;
            if looks % 64 == 0 {
                // Linux may leave a client connected to nobody when the end of its handshake meets
                // the closing listener: it is told once it speaks. A session would answer.
                peer.write_some(b"\x02\x00");
            }
            peer.end.is_some() || peer.broken || peer.is_refused()
        });
    }
    let live = || host.stats().network("game").unwrap().sessions_live;
    w.until("no session of it is left", || live() == 0);
    assert!(game.is_stopping() && !chat.is_stopping());
    ledger.check_all_closed();
    if !w.is_sim() {
        // A worker closes it, in its own time.
        w.until("its listener is closed", || {
            w.begin_connect(None, addr).is_err()
        });
    }
    refused(w, addr);
    assert_eq!(talker.ask(b"two"), b"two");
    drop(talker);
    finish(host);
}

/// The stop of a network races with its accepts: a session that was let in at that moment must not
/// be forgotten, as nothing would ever close it.
pub(crate) fn a_stop_forgets_no_accept(w: &World) {
    for _ in 0..30 {
        let handler = Act::sink();
        let ledger = handler.ledger();
        let (host, net) = serve(w, Layout::Shared(2), handler, |server| server);
        let addr = net.local_addr().unwrap();
        // Kept open: nobody but the stop closes a session.
        let streams = Log::default();
        let mut callers: Vec<Box<dyn FnMut() -> bool + Send>> = Vec::new();
        for _ in 0..3 {
            let streams = streams.clone();
            callers.push(Box::new(move || {
                let connected = std::net::TcpStream::connect(addr);
                connected.map(|stream| streams.push(stream)).is_err() || streams.len() > 400
            }));
        }
        let (stop, opened) = (net.clone(), ledger.clone());
        callers.push(Box::new(move || {
            let begun = opened.opened() > 50;
            if begun {
                stop.stop();
            }
            begun
        }));
        w.at_once(callers);
        w.until("every session was closed", || {
            let game = host.stats().network("game").unwrap().clone();
            let refused = game.refused_stopping + game.closed_unopened;
            game.accepted == game.ended + refused && net.sessions().is_empty()
        });
        ledger.check_all_closed();
        drop(streams.take());
        finish(host);
    }
}

/// A session was closed with bytes that the system has taken and the peer does not read: no worker
/// is left to see the end of them, and yet its socket does not stay open for as long as somebody
/// keeps a handle of the stopped host.
pub(crate) fn a_stopped_host_keeps_no_socket(w: &World) {
    let timeouts = Timeouts {
        linger: Duration::from_millis(300),
        ..patient()
    };
    let (mut host, net) = serve(w, Layout::Shared(2), Act::sink(), |server| {
        server.socket(small_socket()).timeouts(timeouts)
    });
    let mut peer = w.connect_narrow(net.local_addr().unwrap());
    w.until("it is open", || net.sessions().len() == 1);
    let session = net.sessions().first().unwrap();
    for _ in 0..40 {
        session.send(&[7; 1000]).unwrap();
    }
    peer.half_close();
    host.stop().unwrap();
    check_stopped(&host.stats());
    // Nobody reads until now; how it ends is not the question.
    peer.read_to_end();
    drop((host, net, session));
}

/// A connect to a host that does not answer has nothing to flush: the stop does not wait for it.
#[cfg(feature = "sim")]
pub(crate) fn a_connect_under_way_delays_no_stop(w: &World) {
    let sim = w.the_sim();
    let nobody = sim.listen("10.9.9.9:99".parse().unwrap()).unwrap();
    nobody.set_backlog(0);
    let mut host = w.host();
    let link = host.client("link", Act::sink()).workers(2);
    let link = link.links(3).connect("10.9.9.9:99").unwrap();
    host.start().unwrap();
    w.until("all are connecting", || {
        link.links()
            .iter()
            .all(|link| matches!(link, LinkState::Connecting(_)))
    });
    let began = sim.now();
    host.stop().unwrap();
    let took = sim.now() - began;
    assert!(took < Duration::from_millis(500), "{took:?}");
    assert_eq!(host.stats().networks[0].linger_cut, 0);
    check_stopped(&host.stats());
}

/// A callback that never returns is named after the deadline; only its thread is left behind.
pub(crate) fn a_stuck_handler_is_named(w: &World) {
    a_handler_is_stuck(w, Layout::Shared(4));
    a_handler_is_stuck(w, Layout::Shared(1));
}

fn a_handler_is_stuck(w: &World, layout: Layout) {
    let before = w.open_now();
    let hold = w.hold();
    let stuck = hold.clone();
    let handler = Act::new(|_| Ok(())).on_frame(move |s, (), payload| {
        if payload == b"stick" {
            stuck.enter();
        }
        Ok(s.send(payload)?)
    });
    let ledger = handler.ledger();
    let (mut host, net) = serve(w, layout, handler, |server| server);
    host.set_drain_deadline(Duration::from_millis(100));
    let mut peer = w.connect(net.local_addr().unwrap());
    w.until("it is open", || net.sessions().len() == 1);
    let session = net.sessions().first().unwrap();
    peer.send(b"stick");
    w.until("it is stuck", || hold.entered() == 1);
    let told = host.stuck_turns(Duration::ZERO);
    assert_eq!((told.len(), told[0].session), (1, Some(session.id())));
    let mut other = (layout.main_workers() > 1).then(|| {
        let mut other = w.connect(net.local_addr().unwrap());
        assert_eq!(other.ask(b"fine"), b"fine");
        other.half_close();
        other
    });
    let error = host.stop().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Stuck);
    let text = error.to_string();
    let id = session.id().to_string();
    for named in [
        &told[0].port,
        &format!("worker {}", told[0].worker),
        "\"game\"",
        &id,
    ] {
        assert!(text.contains(named), "{named} is not in: {text}");
    }
    assert_eq!(
        host.stop().unwrap_err().to_string(),
        text,
        "a second call says the same"
    );
    peer.read_to_end();
    if let Some(other) = &mut other {
        other.expect_fin();
    }
    let left = w.open_now().threads - before.threads;
    assert_eq!(left, 1, "only the stuck thread is left");
    hold.release();
    w.until("it has ended", || w.open_now().threads == before.threads);
    ledger.check_all_closed();
    drop((host, net, session, peer, other));
    w.until("its socket is gone", || w.open_now() == before);
}
