//! Sends that the socket has no room for, and closes that meet them.

use std::io::Read;
use std::sync::mpsc;

use super::*;

/// Whether the peer's connection was reset. Wine 8 tells a peer that reads as an end of stream what
/// came while it did not; a write it refuses at once, as it would not after an end.
fn was_reset(mut peer: TcpStream) -> bool {
    let end = peer.read_to_end(&mut Vec::new());
    let reset = |error: io::Error| error.kind() == io::ErrorKind::ConnectionReset;
    end.is_err_and(reset) || peer.write(b"x").is_err_and(reset)
}

fn read_to_end(mut peer: TcpStream) -> (Vec<u8>, io::Result<usize>) {
    let mut got = Vec::new();
    let end = peer.read_to_end(&mut got);
    (got, end)
}

/// Reads on a thread of its own, while the test takes packets.
fn reader(peer: TcpStream) -> mpsc::Receiver<(Vec<u8>, io::Result<usize>)> {
    let (told, got) = mpsc::sync_channel(1);
    let thread = std::thread::Builder::new().name("reads".into());
    let read = move || told.send(read_to_end(peer)).unwrap();
    thread.spawn(read).unwrap();
    got
}

fn wait_for<T>(port: &Iocp, from: &mpsc::Receiver<T>) -> T {
    let mut got = None;
    pump(port, "the reader's end", || {
        got = from.try_recv().ok();
        got.is_some()
    });
    got.unwrap()
}

/// Bytes that were taken are delivered, also those of a send that was under way at the close.
#[test]
fn a_close_delivers_what_is_under_way() {
    let port = open();
    let (socket, peer) = connected(&port);
    let taken = fill(&port, &socket);
    drop(socket);
    // Nothing is lost while nobody reads.
    for _ in 0..20 {
        reports(&port);
        nap();
    }
    let (got, end) = wait_for(&port, &reader(peer));
    assert!(end.is_ok(), "{end:?}");
    assert!(got == pattern(0, taken), "{} of {taken} bytes", got.len());
    pump_out(&port);
}

/// The end of our direction comes behind what is under way.
#[test]
fn a_shutdown_comes_behind_what_is_under_way() {
    let port = open();
    let (socket, peer) = connected(&port);
    let taken = fill(&port, &socket);
    port.shutdown_write(&socket);
    let more = send(&port, &socket, b"x").unwrap_err();
    assert_eq!(more.kind(), io::ErrorKind::BrokenPipe);
    let (got, end) = wait_for(&port, &reader(peer));
    assert!(
        end.is_ok() && got == pattern(0, taken),
        "{} of {taken}",
        got.len()
    );
}

/// A reset waits for nothing.
#[test]
fn a_reset_gives_up_what_is_under_way() {
    let port = open();
    let (socket, peer) = connected(&port);
    fill(&port, &socket);
    port.reset_on_close(&socket);
    drop(socket);
    pump_out(&port);
    assert!(was_reset(peer));
}

#[test]
fn a_disconnect_gives_up_what_is_under_way() {
    let port = open();
    let (socket, peer) = connected(&port);
    fill(&port, &socket);
    port.disconnect(&socket);
    assert!(was_reset(peer));
    drop(socket);
    pump_out(&port);
}

/// The peer resets while a send is under way: its packet says so, and is the last.
#[test]
fn a_peers_reset_ends_a_send() {
    let port = open();
    let (socket, peer) = connected(&port);
    fill(&port, &socket);
    reset(peer);
    until(&port, STREAM, Bits::ERROR);
    let error = send(&port, &socket, b"x").unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    drop(socket);
    pump_out(&port);
}

/// A dropped backend waits a little for a peer that does not read, and then no more.
#[test]
fn a_dropped_backend_gives_up_what_is_under_way() {
    let port = open();
    let (socket, peer) = connected(&port);
    fill(&port, &socket);
    let ops = Arc::clone(&port.shared.ops);
    drop(socket);
    assert!(ops.load(Ordering::Acquire) > 0, "the send keeps its socket");
    drop(port);
    assert_eq!(ops.load(Ordering::Acquire), 0, "all packets were taken");
    drop(peer);
}

/// Whoever wants little in the system's hands has little there: not 64 KiB more than the buffer of
/// the socket, which no limit of the session's counts.
#[test]
fn a_small_send_buffer_bounds_what_is_taken() {
    const BUFFER: usize = 8 * 1024;
    let port = open();
    let options = SocketOptions {
        send_buffer_bytes: Some(BUFFER),
        ..SocketOptions::default()
    };
    let (socket, peer) = connected_with(&port, &options);
    let mut taken = 0;
    pump(&port, "an overlapped send", || {
        while !is_pending(&socket) {
            taken = send(&port, &socket, &pattern(0, 64 * 1024)).unwrap();
        }
        // Systems make more room for a while.
        reports(&port);
        is_pending(&socket)
    });
    assert!((1..=BUFFER).contains(&taken), "it took {taken}");
    reset(peer);
    until(&port, STREAM, Bits::ERROR);
    drop(socket);
    pump_out(&port);
}
