//! Streams that nobody reads.

use std::collections::BTreeSet;

use super::super::trace;
use super::super::watch::LOOKS_PER_STEP;
use super::*;

/// However many they are, one look at the port asks the system about a few of them, and the next
/// ones go on: what happens to each is told.
#[test]
fn a_round_of_looks_is_made_in_steps() {
    const STREAMS: usize = 3 * LOOKS_PER_STEP + 5;
    let port = open();
    let listener = TcpListener::bind(local()).unwrap();
    let to = listener.local_addr().unwrap();
    let mut streams = Vec::new();
    for slot in 0..STREAMS {
        let socket = port.connect(to, &SocketOptions::default()).unwrap();
        let (peer, _) = listener.accept().unwrap();
        let token = Token::new(u32::try_from(slot).unwrap(), 1);
        port.register(token, &socket).unwrap();
        until(&port, token, Bits::WRITE);
        streams.push((socket, peer));
    }
    streams.iter_mut().for_each(|(_, peer)| give(peer, b"a"));
    assert_eq!(told(&port, STREAMS), 0, "what a packet tells needs no look");
    streams.iter_mut().for_each(|(_, peer)| give(peer, b"b"));
    let most = told(&port, STREAMS);
    assert!(
        (1..=LOOKS_PER_STEP).contains(&most),
        "{most} looks in one harvest"
    );
}

/// Waits until so many streams were told to be readable; the most looks of one harvest.
fn told(port: &Iocp, streams: usize) -> usize {
    let (mut told, mut most) = (BTreeSet::new(), 0);
    trace::take_looks();
    let begin = Instant::now();
    while told.len() < streams {
        assert!(begin.elapsed() < PATIENCE, "only {} were told", told.len());
        let ready = reports(port).into_iter();
        told.extend(ready.filter(|r| r.bits.any(Bits::READ)).map(|r| r.token));
        most = most.max(trace::take_looks());
        nap();
    }
    most
}
