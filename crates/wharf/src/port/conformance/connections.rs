//! Listening, connecting, accepting; addresses and errors.

use super::*;

/// A connect that works is reported as writable, and says so.
pub(super) fn success(rig: &Rig) {
    let (listener, addr) = rig.listen(IPV4).unwrap();
    let client = rig.connect(addr);
    rig.port.register(CLIENT, &client).unwrap();
    rig.until(CLIENT, Bits::WRITE);
    rig.port.connect_result(&client).unwrap();
    let (server, _) = rig.accept(&listener);
    rig.port.register(SERVER, &server).unwrap();
    rig.send_all(&client, CLIENT, b"x");
    assert_eq!(rig.recv_exactly(&server, SERVER, 1), b"x");
}

fn addresses(rig: &Rig, listener: &Socket, addr: SocketAddr) {
    assert_ne!(addr.port(), 0, "a port was chosen");
    let client = rig.connect(addr);
    let (server, peer) = rig.accept(listener);
    assert_eq!(peer, rig.port.local_addr(&client).unwrap());
    assert_eq!(rig.port.local_addr(&server).unwrap(), addr);
    assert_eq!(peer.ip(), addr.ip(), "both are the loopback");
    assert_ne!(peer.port(), addr.port());
}

/// Each end knows both addresses.
pub(super) fn addresses_ipv4(rig: &Rig) {
    let (listener, addr) = rig.listen(IPV4).unwrap();
    addresses(rig, &listener, addr);
}

/// The same for IPv6, where this machine has it.
pub(super) fn addresses_ipv6(rig: &Rig) {
    match rig.listen(IPV6) {
        Ok((listener, addr)) => addresses(rig, &listener, addr),
        Err(error) => {
            use std::io::Write;
            let message = format!("SKIPPED: no IPv6 loopback on this machine: {error}\n");
            io::stderr().write_all(message.as_bytes()).unwrap();
        }
    }
}

/// A connect to where nobody listens fails, at once or by a report, and says why.
pub(super) fn refused(rig: &Rig) {
    let (listener, addr) = rig.listen(IPV4).unwrap();
    drop(listener);
    let error = match rig.port.connect(addr, &SocketOptions::default()) {
        Err(error) => error,
        Ok(client) => {
            rig.port.register(CLIENT, &client).unwrap();
            rig.until(CLIENT, Bits::ERROR.with(Bits::HANGUP));
            rig.port.connect_result(&client).unwrap_err()
        }
    };
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
}

/// A connect that has not ended says `WouldBlock`, and so does its stream.
pub(super) fn pending(rig: &Rig) {
    // A backlog that is full holds further connects up; none at all is the largest on some systems.
    let options = ListenOptions {
        backlog: 1,
        ..ListenOptions::default()
    };
    let listener = rig.port.listen(IPV4.parse().unwrap(), &options).unwrap();
    let addr = rig.port.local_addr(&listener).unwrap();
    let clients: Vec<_> = (0..6).map(|_| rig.connect(addr)).collect();
    rig.forget();
    let results: Vec<_> = clients
        .iter()
        .map(|client| rig.port.connect_result(client))
        .collect();
    let kind = |result: &io::Result<()>| result.as_ref().err().map(io::Error::kind);
    let pending = |result: &io::Result<()>| kind(result) == Some(ErrorKind::WouldBlock);
    let at = results.iter().position(pending);
    let client = &clients[at.unwrap_or_else(|| panic!("none is held up: {results:?}"))];
    assert_eq!(
        rig.send(client, b"x").unwrap_err().kind(),
        ErrorKind::WouldBlock
    );
    rig.port.register(CLIENT, client).unwrap();
    let mut out = Vec::new();
    rig.port.wait(&mut out, 64, Wait::Poll).unwrap();
    let early = out
        .iter()
        .any(|ready| ready.token == CLIENT && ready.bits.any(Bits::WRITE));
    assert!(
        !early || rig.world.is_faulty(),
        "a connect under way is not writable"
    );
}

/// An address is listened at once, and again after the listener is closed.
pub(super) fn taken_address(rig: &Rig) {
    let (listener, addr) = rig.listen(IPV4).unwrap();
    let taken = rig.listen(&addr.to_string()).map(|_| ()).unwrap_err();
    assert_eq!(taken.kind(), ErrorKind::AddrInUse);
    drop(listener);
    assert!(rig.listen(&addr.to_string()).is_ok());
}

/// An accept with nothing to accept says so.
pub(super) fn nothing_to_accept(rig: &Rig) {
    let (listener, addr) = rig.listen(IPV4).unwrap();
    let options = SocketOptions::default();
    let nothing = rig
        .port
        .accept(&listener, &options)
        .map(|_| ())
        .unwrap_err();
    assert_eq!(nothing.kind(), ErrorKind::WouldBlock);
    let _client = rig.connect(addr);
    rig.accept(&listener);
    let nothing = rig
        .port
        .accept(&listener, &options)
        .map(|_| ())
        .unwrap_err();
    assert_eq!(nothing.kind(), ErrorKind::WouldBlock);
}

/// The failure that the system noted is told once.
pub(super) fn errors_are_taken_once(rig: &Rig) {
    let pair = rig.pair();
    assert!(rig.port.take_error(&pair.server).is_none());
    rig.port.disconnect(&pair.client);
    rig.until(SERVER, Bits::ERROR.with(Bits::HANGUP));
    let error = rig.port.take_error(&pair.server);
    assert_eq!(
        error.map(|error| error.kind()),
        Some(ErrorKind::ConnectionReset)
    );
    assert!(rig.port.take_error(&pair.server).is_none());
}
