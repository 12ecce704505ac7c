//! Packets at odd moments.

use std::io::Read;
use std::sync::atomic::{AtomicBool, AtomicUsize};

use super::*;

/// Bytes are there when the receive is armed, so its packet may be taken by a waiting worker before
/// the arming call has returned: no report is lost, and nothing is freed twice.
#[test]
fn a_packet_taken_before_its_call_has_returned() {
    const ROUNDS: usize = 1500;
    let port = Arc::new(open());
    let (socket, mut peer) = connected(&port);
    let (reports, over) = (
        Arc::new(AtomicUsize::new(0)),
        Arc::new(AtomicBool::new(false)),
    );
    let workers: Vec<_> = (0..3)
        .map(|_| {
            let (port, reports, over) =
                (Arc::clone(&port), Arc::clone(&reports), Arc::clone(&over));
            let work = move || {
                let mut out = Vec::new();
                while !over.load(Ordering::Acquire) {
                    port.wait(&mut out, 1, Wait::Block).unwrap();
                    let ours = out.drain(..).filter(|ready| ready.token == STREAM);
                    reports.fetch_add(ours.count(), Ordering::AcqRel);
                }
                port.wake();
            };
            let thread = std::thread::Builder::new().name("takes".into());
            thread.spawn(work).unwrap()
        })
        .collect();
    for round in 0..ROUNDS {
        let before = reports.load(Ordering::Acquire);
        give(&mut peer, b"ab");
        // The first byte leaves one unread; the short second read arms with nothing there, or with
        // the next round's bytes there already.
        let mut got = 0;
        let begin = Instant::now();
        while got < 2 {
            assert!(
                begin.elapsed() < PATIENCE,
                "round {round}: no bytes, no report"
            );
            match port.recv(&socket, &mut [0; 8]) {
                Ok(n) => got += n,
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                    while reports.load(Ordering::Acquire) == before && begin.elapsed() < PATIENCE {
                        std::thread::yield_now();
                    }
                }
            }
        }
    }
    over.store(true, Ordering::Release);
    port.wake();
    workers
        .into_iter()
        .for_each(|worker| worker.join().unwrap());
    drop(socket);
    let mut rest = Vec::new();
    let _ = peer.read_to_end(&mut rest);
    pump_out(&port);
}

/// Closed with a receive pending, then with its packet on the way: each op is freed by its packet.
#[test]
fn closed_with_a_receive_pending() {
    let port = open();
    let (socket, peer) = connected(&port);
    assert_eq!(port.shared.ops.load(Ordering::Acquire), 1, "the receive");
    drop(socket);
    pump_out(&port);
    let (socket, mut other) = connected(&port);
    give(&mut other, b"x");
    nap();
    drop(socket);
    pump_out(&port);
    drop((peer, other));
}

/// A connect that has not ended is closed.
#[test]
fn closed_while_connecting() {
    let port = open();
    let listener = TcpListener::bind(local()).unwrap();
    let to = listener.local_addr().unwrap();
    let sockets: Vec<_> = (0..4)
        .map(|_| port.connect(to, &SocketOptions::default()).unwrap())
        .collect();
    drop(sockets);
    pump_out(&port);
}

/// Whoever drops last takes the packets that are still to come.
#[test]
fn a_socket_may_outlive_its_backend() {
    let port = open();
    let (socket, mut peer) = connected(&port);
    let ops = Arc::clone(&port.shared.ops);
    drop(port);
    give(&mut peer, b"x");
    drop(socket);
    assert_eq!(ops.load(Ordering::Acquire), 0, "all packets were taken");
    assert!(peer.read(&mut [0; 8]).is_ok_and(|n| n == 0) || peer.write(b"y").is_err());
}

/// Another thread breaks the connection again and again while its owner reads and writes: no call
/// reaches a stranger, and each ends.
#[test]
fn a_disconnect_during_calls() {
    let port = Arc::new(open());
    for _ in 0..40 {
        let (socket, _peer) = connected(&port);
        let socket = Arc::new(socket);
        let (shared, breaker) = (Arc::clone(&socket), Arc::clone(&port));
        let thread = std::thread::Builder::new().name("breaks".into());
        let thread = thread.spawn(move || breaker.disconnect(&shared)).unwrap();
        let begin = Instant::now();
        loop {
            assert!(begin.elapsed() < PATIENCE, "a broken stream still works");
            let sent = send(&port, &socket, b"x");
            let got = port.recv(&socket, &mut [0; 8]);
            let broken = |kind| kind == io::ErrorKind::ConnectionReset;
            if sent.is_err_and(|e| broken(e.kind())) && got.is_err_and(|e| broken(e.kind())) {
                break;
            }
        }
        thread.join().unwrap();
        let bits = until(&port, STREAM, Bits::ERROR);
        assert!(bits.any(Bits::HANGUP));
    }
    pump_out(&port);
}
