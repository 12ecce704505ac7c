//! In its steady state an echo that waits for ticks allocates nothing a frame.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/counted.rs"]
mod counted;

use std::io::{Read, Write};

use counted::{ALLOCATOR, Echo, connect};
use stats_alloc::Region;
use wharf::{FlushMode, Host};

/// What waits for a tick is copied into few buffers, which the tick writes and frees.
#[test]
fn a_tick_allocates_by_session_and_not_by_frame() {
    const FRAMES: usize = 64;
    let mut host = Host::new();
    let echo = host.server("echo", Echo).workers(2).flush(FlushMode::Tick);
    let echo = echo.listen("127.0.0.1:0").unwrap();
    host.start().unwrap();
    let mut peer = connect(&echo);
    let mut frame = [7; 64];
    frame[..2].copy_from_slice(&64u16.to_le_bytes());
    let batch = frame.repeat(FRAMES);
    let mut back = vec![0; batch.len()];
    let session = loop {
        if let Some(session) = echo.sessions().first() {
            break session;
        }
    };
    let mut tick = |ticks: usize| {
        for _ in 0..ticks {
            peer.write_all(&batch).unwrap();
            while session.send_queue().frames < FRAMES {
                std::thread::yield_now();
            }
            assert_eq!(echo.flush(), 1);
            peer.read_exact(&mut back).unwrap();
            assert_eq!(back, batch);
        }
    };
    tick(100);
    let region = Region::new(ALLOCATOR);
    tick(500);
    let change = region.change();
    let allocations = change.allocations + change.reallocations;
    // 4 KiB wait in one buffer, which grows from 512 bytes.
    assert!(
        allocations <= 500 * 6,
        "{allocations} in 500 ticks of {FRAMES} frames: {change:?}"
    );
    drop(peer);
    host.stop().unwrap();
}
