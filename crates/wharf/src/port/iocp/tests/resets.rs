//! A reset is a reset, whenever it comes.

use super::*;

/// Reads until the stream ends; whether as a reset.
fn ends_in_reset(port: &Iocp, socket: &Socket) -> bool {
    let begin = Instant::now();
    while begin.elapsed() < PATIENCE {
        match port.recv(socket, &mut [0; 64]) {
            Ok(0) => return false,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                reports(port);
                nap();
            }
            Err(error) => return error.kind() == io::ErrorKind::ConnectionReset,
        }
    }
    panic!("the stream never ends");
}

/// While the receive is pending: by its packet.
#[test]
fn while_idle() {
    let port = open();
    let (socket, peer) = connected(&port);
    reset(peer);
    let bits = until(&port, STREAM, Bits::ERROR);
    assert!(bits.any(Bits::READ) && bits.any(Bits::HANGUP), "{bits:?}");
    assert!(ends_in_reset(&port, &socket));
}

/// While the packet that says so was not taken yet.
#[test]
fn read_before_its_packet_is_taken() {
    for _ in 0..20 {
        let port = open();
        let (socket, peer) = connected(&port);
        reset(peer);
        assert!(ends_in_reset(&port, &socket));
    }
}

/// While nothing is pending: bytes were reported and not read, then it comes.
#[test]
fn between_two_receives() {
    for len in [1, 64, 100] {
        let port = open();
        let (socket, mut peer) = connected(&port);
        give(&mut peer, &vec![7; len]);
        until(&port, STREAM, Bits::READ);
        reset(peer);
        std::thread::park_timeout(Duration::from_millis(20));
        assert!(ends_in_reset(&port, &socket), "after {len} bytes");
        let again = port.recv(&socket, &mut [0; 8]).unwrap_err();
        assert_eq!(
            again.kind(),
            io::ErrorKind::ConnectionReset,
            "and stays one"
        );
        let sent = send(&port, &socket, b"x").unwrap_err();
        assert_eq!(sent.kind(), io::ErrorKind::ConnectionReset);
    }
}

/// An end of stream at the same moments is one.
#[test]
fn an_end_is_no_reset() {
    for len in [0, 1, 64, 100] {
        let port = open();
        let (socket, mut peer) = connected(&port);
        if len > 0 {
            give(&mut peer, &vec![7; len]);
            until(&port, STREAM, Bits::READ);
        }
        drop(peer);
        assert!(!ends_in_reset(&port, &socket), "after {len} bytes");
        assert_eq!(port.recv(&socket, &mut [0; 8]).unwrap(), 0, "and stays one");
    }
}

/// A paused session: nobody reads, and it is told all the same.
#[test]
fn a_reset_is_told_although_nobody_reads() {
    let port = open();
    let (socket, mut peer) = connected(&port);
    give(&mut peer, b"unread");
    until(&port, STREAM, Bits::READ);
    reset(peer);
    until(&port, STREAM, Bits::ERROR);
    let error = port.take_error(&socket).unwrap();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    assert!(port.take_error(&socket).is_none(), "once");
}

#[test]
fn an_end_is_told_although_nobody_reads() {
    let port = open();
    let (socket, peer) = connected(&port);
    drop(peer);
    let bits = until(&port, STREAM, Bits::READ_HANGUP);
    assert!(!bits.any(Bits::ERROR), "{bits:?}");
    assert_eq!(port.recv(&socket, &mut [0; 8]).unwrap(), 0);
}
