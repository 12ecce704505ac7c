//! In its steady state an echo allocates nothing, and one that waits for ticks nothing a frame:
//! counted over the whole process, whose only other thread of note is the client below, which
//! allocates nothing either.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::alloc::System;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Mutex;
use std::time::Duration;

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use wharf::{FlushMode, Frame, Handler, Host, Network, Refuse, Session};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// One test counts at a time.
static ALONE: Mutex<()> = Mutex::new(());

struct Echo;

impl Handler for Echo {
    type State = ();

    fn on_open(&self, _: &Session<Self>) -> Result<(), Refuse> {
        Ok(())
    }

    fn on_frame(&self, s: &Session<Self>, _: &mut (), frame: Frame<'_>) -> wharf::Result<()> {
        Ok(s.send(frame.payload())?)
    }
}

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

/// Allocations in the quietest of some runs, the first with at most `enough`. The harness of the
/// tests allocates too, when another test has ended, and on a busy machine late; but not in each.
fn allocations(enough: usize, mut run: impl FnMut()) -> usize {
    let mut least = usize::MAX;
    for _ in 0..5 {
        let region = Region::new(ALLOCATOR);
        run();
        let change = region.change();
        least = least.min(change.allocations + change.reallocations);
        if least <= enough {
            break;
        }
    }
    least
}

fn connect(net: &Network<Echo>) -> TcpStream {
    let peer = TcpStream::connect(net.local_addr().unwrap()).unwrap();
    peer.set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    peer.set_nodelay(true).unwrap();
    peer
}

#[test]
fn an_echo_allocates_nothing() {
    let _alone = ALONE.lock();
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
        let frames = 500 * peers.len() * 16;
        // Lists grow once, on the worker that first needs them: not per frame.
        let enough = frames / 1000 - 1;
        let allocations = allocations(enough, || {
            exchange(&mut peers, &batch, cut, &mut back, 500);
        });
        assert!(allocations <= enough, "{allocations} in {frames} frames");
    }
    host.stop().unwrap();
}

/// Nor does the supervisor, which looks at all workers ten times a second.
#[test]
fn an_idle_host_allocates_nothing() {
    let _alone = ALONE.lock();
    let mut host = Host::new();
    let server = host.server("echo", Echo).workers(2);
    let _echo = server.listen("127.0.0.1:0").unwrap();
    host.start().unwrap();
    // Its first looks find names and lists to set up.
    std::thread::sleep(Duration::from_millis(300));
    let wait = || std::thread::sleep(Duration::from_millis(600));
    assert_eq!(allocations(0, wait), 0);
    host.stop().unwrap();
}

/// What waits for a tick is copied into few buffers, which the tick writes and frees.
#[test]
fn a_tick_allocates_by_session_and_not_by_frame() {
    const FRAMES: usize = 64;
    let _alone = ALONE.lock();
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
