//! Listeners: more connections than accepts, connections that go away, accepts that are refused.

use std::collections::BTreeSet;
use std::io::Read;

use super::super::trace;
use super::*;

fn listening(port: &Iocp, at: &str, accepts: u32) -> (Socket, SocketAddr) {
    let options = ListenOptions {
        accepts_outstanding: accepts,
        ..ListenOptions::default()
    };
    let listener = port.listen(at.parse().unwrap(), &options).unwrap();
    let addr = port.local_addr(&listener).unwrap();
    port.register(LISTENER, &listener).unwrap();
    (listener, addr)
}

fn accept(port: &Iocp, listener: &Socket) -> io::Result<(Socket, SocketAddr)> {
    port.accept(listener, &SocketOptions::default())
}

fn accept_many(port: &Iocp, listener: &Socket, count: usize) -> Vec<(Socket, SocketAddr)> {
    let mut all = Vec::new();
    pump(port, "all accepts", || {
        all.extend(accept(port, listener).ok());
        all.len() == count
    });
    all
}

#[test]
fn more_connections_than_accepts() {
    let port = open();
    for at in ["127.0.0.1:0", "[::1]:0"] {
        let (listener, addr) = listening(&port, at, 3);
        let peers: Vec<_> = (0..10).map(|_| TcpStream::connect(addr).unwrap()).collect();
        let accepted = accept_many(&port, &listener, 10);
        let theirs: BTreeSet<_> = peers
            .iter()
            .map(|peer| peer.local_addr().unwrap())
            .collect();
        let ours: BTreeSet<_> = accepted.iter().map(|(_, peer)| *peer).collect();
        assert_eq!(ours, theirs);
        assert_eq!(
            accept(&port, &listener).map(|_| ()).unwrap_err().kind(),
            io::ErrorKind::WouldBlock
        );
    }
}

/// A peer of the other family has an address that says so.
#[test]
fn both_families_on_one_listener() {
    let port = open();
    let (listener, addr) = listening(&port, "[::]:0", 2);
    let to = SocketAddr::from(([127, 0, 0, 1], addr.port()));
    let peer = TcpStream::connect(to).unwrap();
    let (_, from) = accept_many(&port, &listener, 1).remove(0);
    assert_eq!(from.port(), peer.local_addr().unwrap().port());
    assert_eq!(from.ip().to_canonical(), peer.local_addr().unwrap().ip());
}

/// Gone before it was taken: an error of that one connection, or a stream that says so; the
/// listener goes on with all its accepts.
#[test]
fn connections_that_go_away_before_they_are_taken() {
    let port = open();
    let (listener, addr) = listening(&port, "127.0.0.1:0", 2);
    for _ in 0..6 {
        reset(TcpStream::connect(addr).unwrap());
    }
    let mut peer = TcpStream::connect(addr).unwrap();
    let ours = peer.local_addr().unwrap();
    let mut last = None;
    pump(&port, "the one that stays", || {
        match accept(&port, &listener) {
            Ok((socket, from)) if from == ours => last = Some(socket),
            Ok(_) => {}
            Err(error) => assert!(
                matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::ConnectionAborted
                ),
                "{error}"
            ),
        }
        last.is_some()
    });
    let socket = last.unwrap();
    port.register(STREAM, &socket).unwrap();
    give(&mut peer, b"x");
    until(&port, STREAM, Bits::READ);
    assert_eq!(port.recv(&socket, &mut [0; 8]).unwrap(), 1);
}

/// No handle for the next accept: the caller is told why, and each later call tries again.
#[test]
fn refused_accepts_are_told_and_tried_again() {
    let port = open();
    let (listener, addr) = listening(&port, "127.0.0.1:0", 2);
    let peers: Vec<_> = (0..2).map(|_| TcpStream::connect(addr).unwrap()).collect();
    let mut done = 0;
    until(&port, LISTENER, Bits::READ);
    trace::refuse_sockets(5);
    let mut errors = Vec::new();
    pump(&port, "both, and why there is no more", || {
        match accept(&port, &listener) {
            Ok(_) => done += 1,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => errors.push(error.raw_os_error()),
        }
        done == 2 && !errors.is_empty()
    });
    assert!(errors.iter().all(|code| *code == Some(10024)), "{errors:?}");
    trace::refuse_sockets(0);
    let next = TcpStream::connect(addr).unwrap();
    let (_, from) = accept_many(&port, &listener, 1).remove(0);
    assert_eq!(from, next.local_addr().unwrap());
    drop(peers);
}

/// Refused when it begins: reported as ready, so that somebody asks and is told.
#[test]
fn refused_at_once() {
    let port = open();
    let listener = port.listen(local(), &ListenOptions::default()).unwrap();
    trace::refuse_sockets(1);
    port.register(LISTENER, &listener).unwrap();
    trace::refuse_sockets(0);
    until(&port, LISTENER, Bits::READ);
    let addr = port.local_addr(&listener).unwrap();
    let _peer = TcpStream::connect(addr).unwrap();
    accept_many(&port, &listener, 1);
}

/// What waits in a listener is closed with it, and its address is free.
#[test]
fn a_closed_listener_closes_what_waits_in_it() {
    let port = open();
    let (listener, addr) = listening(&port, "127.0.0.1:0", 3);
    let mut peer = TcpStream::connect(addr).unwrap();
    until(&port, LISTENER, Bits::READ);
    drop(listener);
    let ended = peer.read(&mut [0; 8]);
    assert!(ended.is_err() || ended.is_ok_and(|n| n == 0));
    pump_out(&port);
    drop(port.listen(addr, &ListenOptions::default()).unwrap());
}
