//! G5, what a peer may take: rates of a session and of an address have a limit, a policy and a
//! counter.

use std::net::IpAddr;

use wharf::stats::NetworkSnapshot;
use wharf::{CloseReason, Host, InputRate, Rate, WhenOver};

use crate::support::{
    Act, Layout, Peer, World, check_stopped, finish, frame, number, numbered, serve,
};

fn game(host: &Host) -> NetworkSnapshot {
    host.stats().network("game").unwrap().clone()
}

fn frames(per_s: u32, burst: u32, when_over: WhenOver) -> InputRate {
    InputRate {
        frames: Some(Rate { per_s, burst }),
        when_over,
        ..InputRate::default()
    }
}

/// Writes as the other side takes it, and reads what comes, until so many frames came.
fn flood(w: &World, peer: &mut Peer, wire: &[u8], frames: usize) -> Vec<Vec<u8>> {
    let (mut written, mut came) = (0, Vec::new());
    w.until("all of it is answered", || {
        if written < wire.len() {
            written += peer.write_some(&wire[written..]);
        }
        peer.look();
        came.extend(peer.take_frames());
        came.len() == frames
    });
    came
}

/// Who sends more than it may is read at its rate; nothing is lost or changes its place.
pub(crate) fn a_flood_is_read_at_its_rate(w: &World, layout: Layout) {
    w.move_much();
    let handler = Act::echo();
    let ledger = handler.ledger();
    let (host, net) = serve(w, layout, handler, |server| {
        server.input_rate(frames(400, 10, WhenOver::Pause))
    });
    let addr = net.local_addr().unwrap();
    let mut peer = w.connect(addr);
    let mut other = w.connect(addr);
    let wire: Vec<_> = (0..100).flat_map(numbered).collect();
    let came = flood(w, &mut peer, &wire, 100);
    let came: Vec<_> = came.iter().map(|payload| number(payload)).collect();
    assert_eq!(came, (0..100).collect::<Vec<_>>());
    assert!(game(&host).throttled > 0, "a flood, and nobody waited");
    assert_eq!(other.ask(b"its own rate"), b"its own rate");
    assert_eq!(ledger.closed(), 0);
    drop((peer, other));
    finish(host);
}

/// By the clock of the simulation: the burst, and what the time brought.
pub(crate) fn never_more_than_burst_and_rate(w: &World) {
    w.move_much();
    let (host, net) = serve(w, Layout::Shared(2), Act::echo(), |server| {
        server.input_rate(frames(50, 5, WhenOver::Pause))
    });
    let mut peer = w.connect(net.local_addr().unwrap());
    let sim = w.the_sim();
    let start = sim.now();
    let wire: Vec<_> = (0..60).flat_map(numbered).collect();
    let (mut written, mut came) = (0, 0);
    w.until("all of it is answered", || {
        if written < wire.len() {
            written += peer.write_some(&wire[written..]);
        }
        peer.look();
        came += peer.take_frames().len();
        let brought = (sim.now() - start).as_secs_f64() * 50.0;
        let handled = game(&host).frames_in;
        assert!(handled as f64 <= 5.0 + brought, "{handled} of {brought}");
        came == 60
    });
    drop(peer);
    finish(host);
}

/// Bytes count as they are on the wire; a frame larger than the burst passes all the same.
pub(crate) fn bytes_are_limited_too(w: &World, layout: Layout) {
    w.move_much();
    let handler = Act::new(|_| Ok(0_u32)).on_frame(|s, count, _| {
        *count += 1;
        Ok(s.send(&count.to_le_bytes())?)
    });
    let (host, net) = serve(w, layout, handler, |server| {
        server.input_rate(InputRate {
            bytes: Some(Rate {
                per_s: 40_000,
                burst: 700,
            }),
            ..InputRate::default()
        })
    });
    let mut peer = w.connect(net.local_addr().unwrap());
    let wire = [frame(&[1; 300]).repeat(20), frame(&[2; 2000])].concat();
    let came = flood(w, &mut peer, &wire, 21);
    assert_eq!(number(&came[20]), 21);
    let stats = game(&host);
    assert!(stats.throttled > 0, "a flood, and nobody waited");
    assert_eq!(stats.frames_in, 21);
    drop(peer);
    finish(host);
}

/// With the policy `close` the frame that exceeds the rate is the last; others go on.
pub(crate) fn who_exceeds_its_rate_is_closed(w: &World, layout: Layout) {
    w.move_much();
    let handler = Act::sink();
    let ledger = handler.ledger();
    let (host, net) = serve(w, layout, handler, |server| {
        server.input_rate(frames(1, 5, WhenOver::Close))
    });
    let addr = net.local_addr().unwrap();
    let mut other = w.connect(addr);
    other.send(b"polite");
    w.until("it is heard", || ledger.frames() == 1);
    let mut peer = w.connect(addr);
    peer.write_or_break(&frame(b"flood").repeat(2000));
    w.until("it is closed", || ledger.closed() == 1);
    assert_eq!(ledger.reasons(), [CloseReason::RateExceeded]);
    peer.read_to_end();
    let stats = game(&host);
    assert_eq!(stats.closes_named("rate_exceeded"), 1);
    // The burst and the one that exceeded it; more only if seconds passed meanwhile.
    assert!(
        (1 + 6..200).contains(&stats.frames_in),
        "{}",
        stats.frames_in
    );
    assert_eq!(net.sessions().len(), 1);
    drop((peer, other));
    finish(host);
}

/// Who waits for its rate still ends when it should: reset, or with a stop.
pub(crate) fn who_waits_for_its_rate_still_ends(w: &World, layout: Layout) {
    w.move_much();
    let handler = Act::sink();
    let ledger = handler.ledger();
    let (mut host, net) = serve(w, layout, handler, |server| {
        server.input_rate(frames(1, 1, WhenOver::Pause))
    });
    let addr = net.local_addr().unwrap();
    let mut peers: Vec<_> = (0..2).map(|_| w.connect(addr)).collect();
    for (n, peer) in peers.iter_mut().enumerate() {
        // Minutes of it, at one a second.
        peer.write(&frame(b"flood").repeat(200));
        w.until("it waits", || game(&host).throttled > n as u64);
    }
    let before = ledger.frames();
    peers.remove(0).reset();
    w.until("a reset is seen", || ledger.closed() == 1);
    assert_eq!(ledger.reasons(), [CloseReason::Reset]);
    drop(peers);
    host.stop().unwrap();
    assert!(ledger.frames() < before + 100, "nobody waited");
    ledger.check_all_closed();
    check_stopped(&host.stats());
}

/// Too many connects of one address are refused and counted; another one is served meanwhile.
pub(crate) fn an_address_connects_at_its_rate(w: &World, layout: Layout) {
    let handler = Act::echo();
    let ledger = handler.ledger();
    let (host, net) = serve(w, layout, handler, |server| {
        server.connects_per_ip(Rate { per_s: 1, burst: 3 })
    });
    let addr = net.local_addr().unwrap();
    let from = |last: u8| IpAddr::from([127, 0, 0, last]);
    let wire = frame(b"in");
    let (mut served, mut refused) = (0, 0);
    for _ in 0..30 {
        let mut peer = w.connect_from(from(2), addr);
        let mut written = 0;
        w.until("it is served or refused", || {
            written += peer.write_some(&wire[written..]);
            peer.look();
            peer.end.is_some() || peer.inbox.len() == wire.len()
        });
        if peer.end.is_none() {
            served += 1;
        } else {
            refused += 1;
        }
    }
    assert!(served >= 3 && refused > 0, "{served} and {refused}");
    let mut other = w.connect_from(from(3), addr);
    assert_eq!(other.ask(b"a stranger"), b"a stranger");
    drop(other);
    w.until("all are gone", || game(&host).sessions_live == 0);
    let stats = game(&host);
    assert_eq!(stats.refused_connect_rate, refused);
    assert_eq!((stats.accepted, ledger.opened()), (31, served + 1));
    finish(host);
}

/// By default an address of the internet has its limits, and a private one has none.
pub(crate) fn the_defaults_are_for_public_addresses(w: &World) {
    if !w.one_in(6) {
        // The numbers are large, and no seed is like another only in what is small.
        return;
    }
    let mut host = w.host();
    let net = host.server("game", Act::echo()).workers(2);
    let net = net.handshake_timeout(None).idle_timeout(None);
    let net = net.listen("[::]:4000").unwrap();
    host.start().unwrap();
    let join = |from: &str, to: &str| {
        let (from, to) = (from.parse().unwrap(), to.parse().unwrap());
        let mut peers: Vec<_> = (0..300).map(|_| w.connect_from(from, to)).collect();
        let mut inside = 0;
        for peer in &mut peers {
            peer.write_or_break(&frame(b"in"));
            w.until("it is served or refused", || {
                peer.look();
                peer.end.is_some() || peer.inbox.len() == 4
            });
            inside += usize::from(peer.end.is_none());
        }
        let stats = host.stats().network("game").unwrap().clone();
        (
            inside,
            stats.refused_per_ip + stats.refused_connect_rate,
            peers,
        )
    };
    let (inside, refused, _public) = join("203.0.113.7", "203.0.113.99:4000");
    assert_eq!((inside, refused), (256, 44));
    let (inside, refused, _private) = join("10.0.0.7", "10.0.0.99:4000");
    assert_eq!((inside, refused), (300, 44));
    assert_eq!(net.sessions().len(), 556);
    drop((_public, _private));
    finish(host);
}
