//! The scripted side.

use super::*;

#[test]
fn a_client_peer_talks_to_a_port() {
    let (sim, port) = with(Faults {
        pipe_bytes: 8,
        ..Faults::none()
    });
    let listener = listen(&port, "10.0.0.1:80").unwrap();
    let peer = sim.connect_from("172.16.0.9".parse().unwrap(), addr("10.0.0.1:80"));
    assert!(!peer.is_connected());
    assert_eq!(kind(peer.write(b"x")), ErrorKind::WouldBlock);
    assert_eq!(kind(peer.read(&mut Vec::new())), ErrorKind::WouldBlock);
    settle(&sim);
    assert!(peer.is_connected());
    let (server, from) = accept(&port, &listener).unwrap();
    assert_eq!(from, peer.local_addr().unwrap());
    assert_eq!(from.ip().to_string(), "172.16.0.9");
    assert_eq!(peer.peer_addr(), addr("10.0.0.1:80"));

    assert_eq!(peer.write(b"twelve bytes").unwrap(), 8);
    assert_eq!(kind(peer.write(b"x")), ErrorKind::WouldBlock);
    settle(&sim);
    assert_eq!(recv(&port, &server).unwrap(), b"twelve b");
    assert_eq!(peer.write(b"ytes").unwrap(), 4);
    peer.shutdown_write();
    send(&port, &server, b"answer").unwrap();
    port.shutdown_write(&server);
    settle(&sim);
    let mut got = b"> ".to_vec();
    assert_eq!(peer.read_some(&mut got, 0).unwrap(), 0);
    assert_eq!(peer.read_some(&mut got, 4).unwrap(), 4);
    assert_eq!(peer.read(&mut got).unwrap(), 2);
    assert_eq!(got, b"> answer");
    assert_eq!(peer.read(&mut got).unwrap(), 0, "the end of the stream");
    assert_eq!(recv(&port, &server).unwrap(), b"ytes");
    assert_eq!(recv(&port, &server).unwrap(), b"");
}

#[test]
fn a_peer_that_stops_reading_blocks_its_sender() {
    let (sim, port) = with(Faults {
        pipe_bytes: 4,
        ..Faults::none()
    });
    let far = sim.listen(addr("10.0.0.2:0")).unwrap();
    let client = connect(&port, far.local_addr()).unwrap();
    port.register(CLIENT, &client).unwrap();
    settle(&sim);
    let peer = far.accept().unwrap();
    assert!(far.accept().is_none());
    assert_eq!(peer.peer_addr(), port.local_addr(&client).unwrap());
    assert_eq!(peer.local_addr().unwrap(), far.local_addr());
    assert_eq!(send(&port, &client, b"abcdef").unwrap(), 4);
    assert_eq!(kind(send(&port, &client, b"ef")), ErrorKind::WouldBlock);
    settle(&sim);
    harvest(&port);
    let mut got = Vec::new();
    assert_eq!(peer.read_some(&mut got, 1).unwrap(), 1);
    assert!(bits(&port, CLIENT).any(Bits::WRITE));
    assert_eq!(send(&port, &client, b"ef").unwrap(), 1);
}

#[test]
fn a_peer_closes_resets_and_is_reset() {
    let (sim, port) = plain();
    let listener = listen(&port, "10.0.0.1:80").unwrap();
    let mut servers = Vec::new();
    let peers = [(); 3].map(|()| {
        let peer = sim.connect(addr("10.0.0.1:80"));
        settle(&sim);
        servers.push(accept(&port, &listener).unwrap().0);
        peer
    });
    let [closes, resets, is_reset] = peers;
    let locals = [&closes, &resets, &is_reset].map(|peer| peer.local_addr().unwrap());
    assert!(
        locals[0] != locals[1] && locals[1] != locals[2],
        "{locals:?}"
    );
    drop(closes);
    resets.reset();
    assert!(!resets.is_connected());
    port.disconnect(&servers[2]);
    settle(&sim);
    assert_eq!(recv(&port, &servers[0]).unwrap(), b"");
    assert_eq!(kind(recv(&port, &servers[1])), ErrorKind::ConnectionReset);
    assert!(!is_reset.is_connected());
    assert_eq!(kind(is_reset.write(b"x")), ErrorKind::ConnectionReset);
    assert_eq!(kind(is_reset.write(b"x")), ErrorKind::BrokenPipe);
    assert_eq!(
        kind(is_reset.read(&mut Vec::new())),
        ErrorKind::ConnectionReset
    );
}

#[test]
fn a_peer_is_refused_or_left_hanging() {
    let sim = Sim::with_faults(1, Faults::none());
    let refused = sim.connect(addr("10.0.0.1:80"));
    settle(&sim);
    assert_eq!(kind(refused.write(b"x")), ErrorKind::ConnectionRefused);
    let listener = sim.listen(addr("10.0.0.1:80")).unwrap();
    assert_eq!(kind(sim.listen(addr("10.0.0.1:80"))), ErrorKind::AddrInUse);
    listener.set_backlog(0);
    let hangs = sim.connect(addr("10.0.0.1:80"));
    settle(&sim);
    assert_eq!(kind(hangs.write(b"x")), ErrorKind::WouldBlock);
    listener.set_backlog(1);
    settle(&sim);
    assert!(hangs.is_connected() && listener.accept().is_some());
}

#[test]
fn an_ip_address_has_so_many_ports_and_no_more() {
    let sim = Sim::with_faults(1, Faults::none());
    sim.set_log_max(0);
    let mut peers = (0..64_512)
        .map(|_| sim.connect(addr("10.0.0.1:80")))
        .collect::<Vec<_>>();
    let mut locals = peers
        .iter()
        .map(|peer| peer.local_addr().unwrap())
        .collect::<Vec<_>>();
    locals.sort();
    locals.dedup();
    assert_eq!(locals.len(), peers.len());
    let none_left = sim.connect(addr("10.0.0.1:80"));
    assert_eq!(kind(none_left.local_addr()), ErrorKind::AddrNotAvailable);
    assert_eq!(kind(none_left.write(b"x")), ErrorKind::AddrNotAvailable);
    assert!(
        sim.connect_from("10.0.0.9".parse().unwrap(), addr("10.0.0.1:80"))
            .local_addr()
            .is_ok()
    );
    peers.pop();
    assert!(sim.connect(addr("10.0.0.1:80")).local_addr().is_ok());
}
