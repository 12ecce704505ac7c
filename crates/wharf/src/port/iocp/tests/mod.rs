//! What the contract's own suite does not look at: arguments that only Windows minds, packets that
//! come at odd moments, and what is left when all is dropped. The far end of a connection is std's,
//! so that it does what a peer does and not what this backend would.

mod accepts;
mod arguments;
mod leaks;
mod packets;
mod posts;
mod resets;
mod sends;
mod watching;

use std::io::{IoSlice, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::*;
use crate::port::contract::Bits;

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(20);

const STREAM: Token = Token::new(1, 5);
const LISTENER: Token = Token::new(2, 6);

fn open() -> Iocp {
    Iocp::open(0).unwrap()
}

/// Waits for `bits` of `token`, and takes all that is reported meanwhile.
fn until(port: &Iocp, token: Token, bits: Bits) -> Bits {
    let mut all = Bits::default();
    let begin = Instant::now();
    while begin.elapsed() < PATIENCE {
        for ready in reports(port) {
            if ready.token == token {
                all = all.with(ready.bits);
            }
        }
        if all.any(bits) {
            return all;
        }
        nap();
    }
    panic!("of {bits:?}, only {all:?} was reported");
}

/// What is reported now.
fn reports(port: &Iocp) -> Vec<Ready> {
    let mut out = Vec::new();
    port.wait(&mut out, 64, Wait::Poll).unwrap();
    out
}

fn nap() {
    std::thread::park_timeout(Duration::from_millis(1));
}

/// Waits until `done` says so, taking packets.
fn pump(port: &Iocp, what: &str, mut done: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !done() {
        assert!(begin.elapsed() < PATIENCE, "never: {what}");
        reports(port);
        nap();
    }
}

/// Waits until every op is freed.
fn pump_out(port: &Iocp) {
    let ops = || port.shared.ops.load(Ordering::Acquire);
    pump(port, "the last op's packet", || ops() == 0);
}

fn local() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// A connected stream of the backend, registered as [`STREAM`], and its peer.
fn connected(port: &Iocp) -> (Socket, TcpStream) {
    connected_with(port, &SocketOptions::default())
}

/// The same with these options.
fn connected_with(port: &Iocp, options: &SocketOptions) -> (Socket, TcpStream) {
    let listener = TcpListener::bind(local()).unwrap();
    let to = listener.local_addr().unwrap();
    let socket = port.connect(to, options).unwrap();
    let (peer, _) = listener.accept().unwrap();
    port.register(STREAM, &socket).unwrap();
    until(port, STREAM, Bits::WRITE);
    (socket, peer)
}

fn send(port: &Iocp, socket: &Socket, bytes: &[u8]) -> io::Result<usize> {
    port.send(socket, &[IoSlice::new(bytes)])
}

/// Bytes that tell when one is missing.
fn pattern(from: usize, len: usize) -> Vec<u8> {
    let byte = |at: usize| ((at % 251) ^ (at / 251 % 256)).to_le_bytes()[0];
    (from..from + len).map(byte).collect()
}

/// Sends until the socket has no room and an overlapped send is under way; how much it took.
fn fill(port: &Iocp, socket: &Socket) -> usize {
    let mut taken = 0;
    loop {
        match send(port, socket, &pattern(taken, 64 * 1024)) {
            Ok(n) => taken += n,
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                // Systems make more room for a while: it has to stay pending.
                for _ in 0..50 {
                    reports(port);
                    nap();
                }
                if is_pending(socket) {
                    return taken;
                }
            }
        }
    }
}

/// Whether an overlapped send is under way.
fn is_pending(socket: &Socket) -> bool {
    stream(socket).unwrap().stream.sending.lock().is_pending()
}

/// Closes with a reset.
fn reset(peer: TcpStream) {
    let peer = socket2::Socket::from(peer);
    peer.set_linger(Some(Duration::ZERO)).unwrap();
}

fn give(peer: &mut TcpStream, bytes: &[u8]) {
    peer.write_all(bytes).unwrap();
}
