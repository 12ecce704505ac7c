//! Half-closes both ways, and resets in the middle of everything.

use std::time::Duration;

use wharf::{CloseReason, SendError, Session};

use crate::support::{
    Act, End, Layout, Log, World, finish, frame, matrix, numbered, serve, small_socket,
};

matrix!(
    replies_come_after_the_peers_fin,
    our_close_while_the_peer_keeps_sending,
    who_never_stops_sending_is_cut,
);
matrix!(
    a_reset_in_a_frame,
    a_reset_in_a_send,
    a_reset_while_not_reading
);
matrix!(a_reader_that_never_reads);

/// The peer ends its stream after its requests: all replies come, and then the end.
fn replies_come_after_the_peers_fin(w: &World, layout: Layout) {
    let requests = w.pick(400_u32, 60);
    let handler = Act::new(|_| Ok(())).on_frame(|s, (), payload| {
        let mut reply = payload.to_vec();
        reply.resize(500, b'.');
        Ok(s.send(&reply)?)
    });
    let ledger = handler.ledger();
    let (host, net) = serve(w, layout, handler, |server| server.socket(small_socket()));
    let mut peer = w.connect_narrow(net.local_addr().unwrap());
    let wire: Vec<u8> = (0..requests).flat_map(numbered).collect();
    peer.write(&wire);
    peer.half_close();
    for n in 0..requests {
        assert_eq!(peer.recv()[..4], n.to_le_bytes());
    }
    peer.expect_fin();
    assert_eq!(ledger.reasons(), [CloseReason::PeerClosed]);
    let half_a_frame = &frame(b"half")[..3];
    let mut peer = w.connect(net.local_addr().unwrap());
    peer.write(half_a_frame);
    peer.half_close();
    peer.expect_fin();
    w.until("it is over", || ledger.closed() == 2);
    assert_eq!(ledger.reasons()[1], CloseReason::PeerClosed);
    drop(peer);
    finish(host);
}

/// We close, the peer goes on: it reads everything that was sent before and a proper end, not a
/// reset; what it sends is thrown away and counted.
fn our_close_while_the_peer_keeps_sending(w: &World, layout: Layout) {
    w.move_much();
    let handler = Act::new(|_| Ok(())).on_frame(|s, (), _| {
        for n in 0..20_u32 {
            s.send(&n.to_le_bytes())?;
        }
        s.close();
        assert_eq!(s.send(b"late"), Err(SendError::Closed));
        Ok(())
    });
    let ledger = handler.ledger();
    let (host, net) = serve(w, layout, handler, |server| server);
    let mut peer = w.connect(net.local_addr().unwrap());
    peer.send(b"go");
    w.until("it is closed", || ledger.closed() == 1);
    let mut after = 0;
    for _ in 0..50 {
        after += peer.write_some(&frame(&[7; 1000]));
        assert!(!peer.broken, "it may go on sending");
    }
    w.until("it is thrown away", || {
        host.stats().networks[0].discarded_bytes == after as u64
    });
    for n in 0..20_u32 {
        assert_eq!(peer.recv(), n.to_le_bytes());
    }
    peer.expect_fin();
    peer.half_close();
    w.until("the socket is gone", || {
        host.stats().networks[0].sessions_live == 0
    });
    assert_eq!(
        (ledger.frames(), ledger.reasons()),
        (1, vec![CloseReason::Closed])
    );
    assert_eq!(host.stats().networks[0].linger_cut, 0);
    drop(peer);
    finish(host);
}

/// One that goes on for ever after our close is cut after the linger time.
fn who_never_stops_sending_is_cut(w: &World, layout: Layout) {
    w.move_much();
    let (host, net) = serve(w, layout, Act::sink(), |server| {
        server.timeouts(wharf::Timeouts {
            linger: w.pick(Duration::from_millis(50), Duration::from_millis(2)),
            ..wharf::Timeouts::default()
        })
    });
    let mut endless = w.connect(net.local_addr().unwrap());
    w.until("it is open", || net.sessions().len() == 1);
    net.sessions().for_each(Session::close);
    w.until("it is cut", || {
        endless.look();
        endless.write_some(&[0; 100]);
        endless.broken || endless.end == Some(End::Reset)
    });
    w.until("its socket is gone", || {
        host.stats().networks[0].sessions_live == 0
    });
    let stats = host.stats().networks[0].clone();
    assert!(
        stats.linger_cut == 1 || stats.discarded_bytes > 16 << 20,
        "{stats:#?}"
    );
    finish(host);
}

/// In the middle of a frame, and before the first byte.
fn a_reset_in_a_frame(w: &World, layout: Layout) {
    let handler = Act::echo();
    let ledger = handler.ledger();
    let (host, net) = serve(w, layout, handler, |server| server);
    let addr = net.local_addr().unwrap();
    let wire = frame(b"a frame");
    for cut in 0..wire.len() {
        let mut peer = w.connect(addr);
        w.until("it is open", || ledger.opened() == cut + 1);
        peer.write(&wire[..cut]);
        peer.reset();
        w.until("it is closed", || ledger.closed() == cut + 1);
    }
    assert_eq!(ledger.reasons(), vec![CloseReason::Reset; wire.len()]);
    assert_eq!(ledger.frames(), 0);
    let mut peer = w.connect(addr);
    assert_eq!(peer.ask(b"and on"), b"and on");
    drop(peer);
    finish(host);
}

/// While frames are under way to the peer, from a turn and from outside.
fn a_reset_in_a_send(w: &World, layout: Layout) {
    let handler = Act::new(|_| Ok(())).on_frame(|s, (), _| {
        for _ in 0..50 {
            s.send(&[7; 1000])?;
        }
        Ok(())
    });
    let ledger = handler.ledger();
    let (host, net) = serve(w, layout, handler, |server| server.socket(small_socket()));
    let addr = net.local_addr().unwrap();
    for round in 0..6 {
        let mut peer = w.connect_narrow(addr);
        w.until("it is open", || net.sessions().len() == 1);
        let session = net
            .sessions()
            .to_vec()
            .into_iter()
            .max_by_key(Session::id)
            .unwrap();
        if round % 2 == 0 {
            peer.send(b"go");
        } else {
            for _ in 0..50 {
                session.send(&[7; 1000]).unwrap();
            }
        }
        peer.read(1000);
        peer.reset();
        w.until("it is closed", || ledger.closed() == round + 1);
        assert_eq!(ledger.reason(session.id()), Some(CloseReason::Reset));
        assert_eq!(session.send(b"late"), Err(SendError::Closed));
    }
    w.until("all are gone", || {
        host.stats().networks[0].sessions_live == 0
    });
    let stats = host.stats().networks[0].clone();
    assert_eq!(stats.frames_out + stats.frames_lost, 6 * 50);
    finish(host);
}

/// A session that does not read, because of a guard or because it is choked, learns of the reset.
fn a_reset_while_not_reading(w: &World, layout: Layout) {
    w.move_much();
    let guards = Log::default();
    let kept = guards.clone();
    let handler = Act::new(|_| Ok(())).on_frame(move |s, (), payload| {
        if payload == b"pause" {
            kept.push(s.pause_reading());
        }
        Ok(())
    });
    let ledger = handler.ledger();
    let (host, net) = serve(w, layout, handler, |server| server.socket(small_socket()));
    let addr = net.local_addr().unwrap();
    let mut paused = w.connect(addr);
    paused.send(b"pause");
    w.until("it is paused", || guards.len() == 1);
    paused.write(&frame(b"not read"));
    paused.reset();
    w.until("it is closed", || ledger.closed() == 1);
    let choked = w.connect_narrow(addr);
    w.until("it is open", || net.sessions().len() == 1);
    let session = net.sessions().first().unwrap();
    while !session.send_queue().behind {
        session.send(&[7; 1000]).unwrap();
    }
    choked.reset();
    w.until("it is closed", || ledger.closed() == 2);
    assert_eq!(ledger.reasons(), [CloseReason::Reset, CloseReason::Reset]);
    assert_eq!(ledger.frames(), 1);
    // The guard outlives its session, and does no harm.
    drop(guards.take());
    finish(host);
}

/// One of many never reads, while the server sends to all: the others get everything, the one is
/// closed for taking nothing, or for its full queue.
fn a_reader_that_never_reads(w: &World, layout: Layout) {
    let handler = Act::echo();
    let ledger = handler.ledger();
    let (host, net) = serve(w, layout, handler, |server| {
        let server = server.socket(small_socket());
        server.timeouts(wharf::Timeouts {
            handshake: None,
            write_stall: Some(Duration::from_millis(400)),
            ..wharf::Timeouts::default()
        })
    });
    let addr = net.local_addr().unwrap();
    let mut deaf = w.connect_narrow(addr);
    w.until("the deaf one is open", || net.sessions().len() == 1);
    let session = net.sessions().first().unwrap();
    let mut others: Vec<_> = (0..4).map(|_| w.connect(addr)).collect();
    w.until("all are open", || net.sessions().len() == 5);
    let group = net.group();
    net.sessions()
        .for_each(|session| assert!(group.join(session)));
    let mut sent = 0_u32;
    while session.is_open() {
        let mut payload = sent.to_le_bytes().to_vec();
        payload.resize(600, b'.');
        group.send(&payload).unwrap();
        for other in &mut others {
            assert_eq!(other.recv(), payload);
        }
        sent += 1;
        // A queue of this size takes far longer to fill than the deadline.
        w.pass(Duration::from_millis(5));
    }
    w.until("it is closed", || ledger.closed() == 1);
    assert_eq!(ledger.reason(session.id()), Some(CloseReason::WriteStalled));
    assert_eq!((group.len(), group.contains(session.id())), (4, false));
    deaf.expect_reset();
    for other in &mut others {
        assert_eq!(other.ask(b"still"), b"still");
    }
    drop(others);
    finish(host);
}
