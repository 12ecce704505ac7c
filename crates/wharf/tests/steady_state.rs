//! In its steady state an echo allocates nothing: counted over the whole process, whose only other
//! thread of note is the client below, which allocates nothing either.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/counted.rs"]
mod counted;

use std::io::{Read, Write};
use std::net::TcpStream;

use counted::{ALLOCATOR, Echo, connect};
use stats_alloc::Region;
use wharf::Host;

/// Sends `batch` and reads as many bytes back, `rounds` times on each connection.
fn exchange(peers: &mut [TcpStream], batch: &[u8], cut: usize, back: &mut [u8], rounds: usize) {
    for _ in 0..rounds {
        for peer in peers.iter_mut() {
            peer.write_all(&batch[..cut]).unwrap();
            peer.write_all(&batch[cut..]).unwrap();
            peer.read_exact(back).unwrap();
            assert_eq!(back, batch);
        }
    }
}

#[test]
fn an_echo_allocates_nothing() {
    let mut host = Host::new();
    let echo = host
        .server("echo", Echo)
        .workers(2)
        .listen("127.0.0.1:0")
        .unwrap();
    host.start().unwrap();
    let mut peers: Vec<_> = (0..8).map(|_| connect(&echo)).collect();
    let mut frame = [7; 64];
    frame[..2].copy_from_slice(&64u16.to_le_bytes());
    let batch = frame.repeat(16);
    let mut back = vec![0; batch.len()];
    // Whole frames, and a frame cut in two: the partial tail lives in a buffer that is used again.
    for cut in [batch.len(), 1000] {
        exchange(&mut peers, &batch, cut, &mut back, 200);
        let region = Region::new(ALLOCATOR);
        exchange(&mut peers, &batch, cut, &mut back, 500);
        let change = region.change();
        let frames = 500 * peers.len() * 16;
        // Lists grow once, on the worker that first needs them: not per frame.
        let allocations = change.allocations + change.reallocations;
        assert!(
            allocations * 1000 < frames,
            "{allocations} in {frames} frames: {change:?}"
        );
    }
    host.stop().unwrap();
}
