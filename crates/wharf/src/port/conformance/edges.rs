//! Clauses 1 and 3: what is reported, when, and under which token.

use super::*;

/// What holds when a token is registered is reported.
pub(super) fn registration(rig: &Rig) {
    let Pair { client, server } = rig.unregistered();
    rig.send_all(&server, SERVER, b"early");
    rig.port.shutdown_write(&server);
    rig.forget();
    rig.port.register(CLIENT, &client).unwrap();
    rig.until(CLIENT, Bits::READ);
    assert_eq!(rig.recv_exactly(&client, CLIENT, 5), b"early");
    assert!(rig.recv_to_end(&client, CLIENT).1.is_ok());
    rig.port.register(SERVER, &server).unwrap();
    rig.until(SERVER, Bits::WRITE);
}

/// Bytes that come are reported although those before them were never read.
pub(super) fn every_arrival(rig: &Rig) {
    let pair = rig.pair();
    for _ in 0..4 {
        rig.send_all(&pair.client, CLIENT, b"x");
        rig.until(SERVER, Bits::READ);
        rig.forget();
    }
    assert_eq!(rig.recv_exactly(&pair.server, SERVER, 4), b"xxxx");
}

/// After a recv that filled its buffer there may be more at once; after `WouldBlock` there is a
/// report, also for a reader that takes a byte at a time.
pub(super) fn a_partial_read(rig: &Rig) {
    let pair = rig.pair();
    for round in 0..3 {
        rig.send_all(&pair.client, CLIENT, b"abc");
        for wanted in b"abc" {
            let got = rig.recv_exactly(&pair.server, SERVER, 1);
            assert_eq!(got, [*wanted], "round {round}");
        }
        let mut into = [0; 8];
        let kind = rig.port.recv(&pair.server, &mut into).unwrap_err().kind();
        assert_eq!(kind, ErrorKind::WouldBlock);
    }
}

/// Sends until nothing fits for a while; the last thing that happens is a `WouldBlock`.
fn fill(rig: &Rig, socket: &Socket) -> usize {
    let chunk = pattern(64 * 1024);
    // Systems make more room for a while, and faults refuse where there is some.
    let (mut sent, mut refused) = (0, 0);
    loop {
        match rig.send(socket, &chunk) {
            Ok(n) => {
                sent += n;
                refused = 0;
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                refused += 1;
                if refused == 20 {
                    return sent;
                }
                rig.look();
                rig.take(CLIENT);
            }
        }
    }
}

/// A send that found no room is followed by a report once there is some.
pub(super) fn room_after_would_block(rig: &Rig) {
    let pair = rig.pair();
    for round in 0..3 {
        let sent = fill(rig, &pair.client);
        assert!(sent > 0, "round {round}");
        rig.recv_exactly(&pair.server, SERVER, sent);
        rig.until(CLIENT, Bits::WRITE);
    }
}

/// The peer's end of stream is an edge of its own.
pub(super) fn end_of_stream(rig: &Rig) {
    let pair = rig.pair();
    rig.port.shutdown_write(&pair.client);
    let bits = rig.until(SERVER, Bits::READ_HANGUP);
    assert!(!bits.any(Bits::ERROR), "{bits:?}");
    assert!(rig.recv_to_end(&pair.server, SERVER).1.is_ok());
}

/// A reset is reported to whoever waits, reading or not.
pub(super) fn a_reset(rig: &Rig) {
    let pair = rig.pair();
    rig.port.disconnect(&pair.client);
    let bits = rig.until(SERVER, Bits::HANGUP.with(Bits::ERROR));
    assert!(bits.any(Bits::READ), "a reader must look: {bits:?}");
    let (_, end) = rig.recv_to_end(&pair.server, SERVER);
    assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

/// With both directions ended, both ends are told.
pub(super) fn both_ends(rig: &Rig) {
    let pair = rig.pair();
    rig.port.shutdown_write(&pair.client);
    rig.until(SERVER, Bits::READ_HANGUP);
    rig.port.shutdown_write(&pair.server);
    rig.until(CLIENT, Bits::READ_HANGUP);
    assert!(rig.recv_to_end(&pair.client, CLIENT).1.is_ok());
    assert!(rig.recv_to_end(&pair.server, SERVER).1.is_ok());
}

/// A listener reports what waits when it is registered, and what comes later.
pub(super) fn listeners(rig: &Rig) {
    let (listener, addr) = rig.listen(IPV4).unwrap();
    let _first = rig.connect(addr);
    rig.forget();
    rig.port.register(LISTENER, &listener).unwrap();
    rig.until(LISTENER, Bits::READ);
    drop(rig.accept(&listener));
    rig.forget();
    for _ in 0..3 {
        let _next = rig.connect(addr);
        rig.until(LISTENER, Bits::READ);
        drop(rig.accept(&listener));
        let options = SocketOptions::default();
        assert!(
            rig.port.accept(&listener, &options).is_err(),
            "no more waits"
        );
        rig.forget();
    }
}

/// A report carries the token of its registration, all 64 bits of it; a closed socket's may still
/// come, but no other socket's does under it.
pub(super) fn tokens(rig: &Rig) {
    let Pair { client, server } = rig.unregistered();
    let token = Token::new(0x7fff_fffe, 0xffff_fffe);
    rig.port.register(token, &client).unwrap();
    rig.until(token, Bits::WRITE);
    rig.forget();
    rig.send_all(&server, SERVER, b"x");
    rig.until(token, Bits::READ);
    drop(client);
    rig.forget();
    let other = rig.pair();
    rig.send_all(&other.client, CLIENT, b"y");
    rig.until(SERVER, Bits::READ);
    assert!(rig.take(token) == 0 || rig.world.is_faulty());
}
