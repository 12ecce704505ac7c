//! Storms of connects, limits an address, balancers in front, and pauses of the accepting.

use std::net::{IpAddr, SocketAddr};

use wharf::frame::proxy_v2::SIGNATURE;
use wharf::stats::NetworkSnapshot;
use wharf::{CloseReason, Host};

use crate::support::{
    Act, End, Layout, Log, World, check_stopped, each_backend, finish, frame, in_simulation,
    matrix, on_real_sockets, serve, skipped,
};

matrix!(a_storm_beyond_the_limit, accepting_is_paused);
each_backend!(a_limit_an_address, proxied_peers_have_their_own_address);
each_backend!(headers_that_are_none, a_limit_behind_a_balancer);
in_simulation!(networks_of_ipv6_are_one_address);
on_real_sockets!(a_mapped_address_is_an_ipv4_address);

fn game(host: &Host) -> NetworkSnapshot {
    host.stats().network("game").unwrap().clone()
}

/// Many more come than may be in at once; each is served or counted as refused, in any order.
fn a_storm_beyond_the_limit(w: &World, layout: Layout) {
    let (rounds, storm) = w.pick((6, 60), (3, 12));
    let handler = Act::echo();
    let ledger = handler.ledger();
    let (mut host, net) = serve(w, layout, handler, |server| server.sessions_max(10));
    let addr = net.local_addr().unwrap();
    let mut served = 0;
    for _ in 0..rounds {
        let mut peers: Vec<_> = (0..storm)
            .map(|_| w.begin_connect(None, addr).unwrap())
            .collect();
        let wire = frame(b"hello");
        for peer in &mut peers {
            // Some are gone by now.
            let mut written = 0;
            w.until("it is served or refused", || {
                if peer.is_connected() {
                    written += peer.write_some(&wire[written..]);
                }
                peer.look();
                peer.end.is_some() || peer.inbox.len() == wire.len()
            });
            served += usize::from(peer.inbox == wire);
        }
        for peer in peers {
            if w.one_in(3) {
                peer.reset();
            }
        }
        w.until("all are gone", || game(&host).sessions_live == 0);
    }
    assert!(served >= 10);
    host.stop().unwrap();
    ledger.check_all_closed();
    check_stopped(&host.stats());
    let stats = game(&host);
    assert!(stats.refused_sessions_max > 0);
    // In the simulation strangers come and go as well.
    assert!(stats.accepted >= (rounds * storm) as u64 || w.is_sim());
}

/// Nobody is let in during a pause; who waited comes in after it.
fn accepting_is_paused(w: &World, layout: Layout) {
    w.move_much();
    let handler = Act::echo();
    let ledger = handler.ledger();
    let (host, net) = serve(w, layout, handler, |server| server);
    let addr = net.local_addr().unwrap();
    let mut inside = w.connect(addr);
    assert_eq!(inside.ask(b"in"), b"in");
    for pause in 1..4 {
        net.pause_accept();
        net.pause_accept();
        // One that was in the middle of it may still come in.
        let mut waiting: Vec<_> = (0..5).map(|_| w.connect(addr)).collect();
        for peer in &mut waiting {
            peer.send(b"hello");
        }
        assert_eq!(inside.ask(b"in"), b"in");
        w.pass(std::time::Duration::from_millis(20));
        let let_in = ledger.opened();
        assert!(
            let_in <= 5 * pause - 4 + 1,
            "{let_in} came in during pause {pause}"
        );
        net.resume_accept();
        for peer in &mut waiting {
            assert_eq!(peer.recv(), b"hello");
        }
        assert_eq!(ledger.opened(), 5 * pause + 1);
    }
    net.pause_accept();
    drop(inside);
    finish(host);
}

/// Each address has its own count, which is given back when its sessions end.
fn a_limit_an_address(w: &World) {
    let (host, net) = serve(w, Layout::Shared(2), Act::echo(), |server| {
        server.sessions_per_ip_max(2)
    });
    let addr = net.local_addr().unwrap();
    let ip = |last: u8| IpAddr::from([127, 0, 0, last]);
    let mut inside = Vec::new();
    for last in [2, 3] {
        for _ in 0..2 {
            let mut peer = w.connect_from(ip(last), addr);
            assert_eq!(peer.ask(b"in"), b"in");
            inside.push(peer);
        }
        let mut third = w.connect_from(ip(last), addr);
        assert_eq!(third.read_to_end(), End::Fin);
    }
    assert_eq!(game(&host).refused_per_ip, 2);
    for _ in 0..3 {
        inside.remove(0);
        w.until("a place is free", || game(&host).sessions_live == 3);
        let mut next = w.connect_from(ip(2), addr);
        if next.write_some(&frame(b"in")) > 0 {
            next.look();
        }
        inside.push(next);
        w.until("it came in", || game(&host).sessions_live == 4);
        // One address has them all in the end, were there not the limit.
        inside.swap(0, 3);
    }
    drop(inside);
    finish(host);
}

fn networks_of_ipv6_are_one_address(w: &World) {
    let mut host = w.host();
    let net = host
        .server("game", Act::echo())
        .workers(2)
        .sessions_per_ip_max(1);
    let net = net.handshake_timeout(None).listen("[::]:4000").unwrap();
    host.start().unwrap();
    assert_eq!(net.local_addr().unwrap().port(), 4000);
    let ask = |from: &str, to: &str| {
        let mut peer = w.connect_from(from.parse().unwrap(), to.parse().unwrap());
        peer.write_or_break(&frame(b"in"));
        w.until("it is served or refused", || {
            peer.look();
            peer.end.is_some() || peer.inbox.len() == 4
        });
        (peer.end.is_none(), peer)
    };
    let (first, _a) = ask("2001:db8::1", "[2001:db8::99]:4000");
    let (second, _b) = ask("2001:db8::2", "[2001:db8::99]:4000");
    let (other, _c) = ask("2001:db8:0:1::1", "[2001:db8::99]:4000");
    let (v4, _d) = ask("10.0.0.1", "10.0.0.99:4000");
    let (same, _e) = ask("10.0.0.1", "10.0.0.99:4000");
    assert_eq!(
        [first, second, other, v4, same],
        [true, false, true, true, false]
    );
    assert_eq!(game(&host).refused_per_ip, 2);
    drop((_a, _b, _c, _d, _e));
    finish(host);
}

/// One server on both families: an IPv4 peer is the same one on either listener.
fn a_mapped_address_is_an_ipv4_address(w: &World) {
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        return skipped("no IPv6 loopback on this machine; the simulation has one");
    }
    let mut host = w.host();
    let net = host
        .server("game", Act::echo())
        .workers(2)
        .sessions_per_ip_max(1);
    let net = net
        .handshake_timeout(None)
        .listen(["127.0.0.1:0", "[::]:0"])
        .unwrap();
    host.start().unwrap();
    let [v4, v6] = net.local_addrs()[..] else {
        panic!("two listeners");
    };
    let mut first = w.connect(v4);
    assert_eq!(first.ask(b"in"), b"in");
    let mapped = SocketAddr::from(([127, 0, 0, 1], v6.port()));
    let mut second = w.connect(mapped);
    assert_eq!(
        second.read_to_end(),
        End::Fin,
        "one more of the same address"
    );
    let mut real = w.connect(SocketAddr::new("::1".parse().unwrap(), v6.port()));
    assert_eq!(real.ask(b"in"), b"in");
    drop((first, second, real));
    finish(host);
}

/// The header that a balancer sends for this client.
fn header(client: SocketAddr) -> Vec<u8> {
    let mut wire = SIGNATURE.to_vec();
    let (family, mut block) = match client.ip() {
        IpAddr::V4(ip) => (0x11, [ip.octets(), [10, 0, 0, 99]].concat()),
        IpAddr::V6(ip) => (0x21, [ip.octets(), [9; 16]].concat()),
    };
    block.extend(client.port().to_be_bytes());
    block.extend(80_u16.to_be_bytes());
    wire.extend([0x21, family]);
    wire.extend(u16::try_from(block.len()).unwrap().to_be_bytes());
    wire.extend(block);
    wire
}

/// The address comes from the header, however it is cut, with or without frames behind it.
fn proxied_peers_have_their_own_address(w: &World) {
    let peers = Log::default();
    let log = peers.clone();
    let handler = Act::new(move |s| {
        log.push(s.peer_addr());
        Ok(())
    });
    let handler = handler.on_frame(|s, (), payload| Ok(s.send(payload)?));
    let (host, net) = serve(w, Layout::Shared(2), handler, |server| {
        server.proxy_protocol(true)
    });
    let addr = net.local_addr().unwrap();
    let client: SocketAddr = "203.0.113.7:4242".parse().unwrap();
    let mut wire = header(client);
    let header_len = wire.len();
    wire.extend(frame(b"hello"));
    let cuts = if w.is_sim() {
        vec![w.below(wire.len())]
    } else {
        (0..wire.len()).collect()
    };
    for cut in cuts {
        let mut peer = w.connect(addr);
        peer.write(&wire[..cut]);
        w.nudge();
        peer.write(&wire[cut..]);
        assert_eq!(peer.recv(), b"hello");
        assert_eq!(peers.take(), [client]);
    }
    let v6: SocketAddr = "[2001:db8::7]:4242".parse().unwrap();
    let mut peer = w.connect(addr);
    peer.write(&header(v6));
    w.until("it is open", || peers.len() == 1);
    assert_eq!(peers.take(), [v6]);
    // A health check speaks for the balancer itself.
    let mut check = w.connect(addr);
    let mut local = SIGNATURE.to_vec();
    local.extend([0x20, 0, 0, 0]);
    local.extend(frame(b"alive?"));
    check.write(&local);
    assert_eq!(check.recv(), b"alive?");
    assert_eq!(peers.take(), [check.addr()]);
    assert!(header_len < wire.len());
    drop((peer, check));
    finish(host);
}

/// No header, half of one, and none that any balancer would send: no `on_open`, one counter.
fn headers_that_are_none(w: &World) {
    let handler = Act::echo();
    let ledger = handler.ledger();
    let (mut host, net) = serve(w, Layout::Shared(2), handler, |server| {
        server.proxy_protocol(true)
    });
    let addr = net.local_addr().unwrap();
    let whole = header("203.0.113.7:4242".parse().unwrap());
    let mut version_3 = whole.clone();
    version_3[12] = 0x31;
    let mut endless = whole.clone();
    endless[14] = 0xff;
    let bad: [Vec<u8>; 5] = [
        frame(b"hello"),
        b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n".to_vec(),
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        version_3,
        endless,
    ];
    for wire in &bad {
        let mut peer = w.connect(addr);
        peer.write_or_break(wire);
        assert_eq!(peer.read_to_end(), End::Reset, "{wire:?}");
    }
    for half in [0, 5, whole.len() - 1] {
        let mut peer = w.connect(addr);
        peer.write(&whole[..half]);
        peer.half_close();
        peer.expect_fin();
    }
    w.until("all are gone", || game(&host).sessions_live == 0);
    host.stop().unwrap();
    assert_eq!((ledger.opened(), game(&host).closed_unopened), (0, 8));
    assert_eq!(game(&host).closes, [0; CloseReason::NAMES.len()]);
    check_stopped(&host.stats());
}

/// The limit counts clients, not the balancer; a refused one is counted once.
fn a_limit_behind_a_balancer(w: &World) {
    let (mut host, net) = serve(w, Layout::Shared(2), Act::echo(), |server| {
        server.proxy_protocol(true).sessions_per_ip_max(1)
    });
    let addr = net.local_addr().unwrap();
    let join = |client: &str, inside: bool| {
        let mut peer = w.connect(addr);
        let mut wire = header(client.parse().unwrap());
        wire.extend(frame(b"in"));
        peer.write_or_break(&wire);
        if inside {
            assert_eq!(peer.recv(), b"in");
        } else {
            peer.read_to_end();
        }
        peer
    };
    let first = join("203.0.113.1:1000", true);
    let second = join("203.0.113.2:1000", true);
    // One client on two families, and one with another port.
    join("203.0.113.1:2000", false);
    join("[::ffff:203.0.113.2]:7", false);
    assert_eq!(game(&host).refused_per_ip, 2);
    drop(first);
    w.until("it is gone", || game(&host).sessions_live == 1);
    let again = join("203.0.113.1:3000", true);
    drop((second, again));
    w.until("all are gone", || game(&host).sessions_live == 0);
    host.stop().unwrap();
    check_stopped(&host.stats());
}
