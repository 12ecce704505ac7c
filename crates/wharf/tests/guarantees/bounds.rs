//! G5: each queue has a limit, a named policy and a counter; nothing grows by what a peer claims.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use wharf::stats::NetworkSnapshot;
use wharf::{CloseReason, Framing, Host, SendError, SendQueueLimits, Session, WhenFull};

use crate::support::{
    Act, End, Layout, Peer, World, check_stopped, finish, frame, number, numbered, serve,
    small_queue, small_socket,
};

fn game(host: &Host) -> NetworkSnapshot {
    host.stats().network("game").unwrap().clone()
}

/// A session whose peer reads nothing, in a network with this policy.
fn unread(
    w: &World,
    layout: Layout,
    limits: SendQueueLimits,
) -> (Host, Peer, Session<Act<()>>, crate::support::Ledger) {
    let handler = Act::sink();
    let ledger = handler.ledger();
    let (host, net) = serve(w, layout, handler, |server| {
        server.send_queue(limits).socket(small_socket())
    });
    let peer = w.connect_narrow(net.local_addr().unwrap());
    w.until("the session is open", || net.sessions().len() == 1);
    let session = net.sessions().first().unwrap();
    (host, peer, session, ledger)
}

/// A numbered payload of a few hundred bytes.
fn padded(n: u32) -> Vec<u8> {
    let mut payload = n.to_le_bytes().to_vec();
    payload.resize(300, b'.');
    payload
}

/// Sends numbered frames until one is not accepted; says which that is, and why.
fn fill(session: &Session<Act<()>>, limits: &SendQueueLimits) -> (u32, SendError) {
    for n in 0..100_000 {
        if let Err(error) = session.send(&padded(n)) {
            return (n, error);
        }
        let queue = session.send_queue();
        assert!(queue.bytes <= limits.bytes_max && queue.frames <= limits.frames_max);
    }
    panic!("100,000 frames fit into a queue of {limits:?}");
}

pub(crate) fn when_full_close(w: &World, layout: Layout) {
    let limits = small_queue(WhenFull::Close);
    let (host, mut peer, session, ledger) = unread(w, layout, limits.clone());
    let (_, error) = fill(&session, &limits);
    assert_eq!(error, SendError::Full);
    assert_eq!(session.send(b"more"), Err(SendError::Closed));
    w.until("it is closed", || ledger.reason(session.id()).is_some());
    assert_eq!(
        ledger.reason(session.id()),
        Some(CloseReason::SendQueueFull)
    );
    peer.expect_reset();
    w.until("its socket is gone", || game(&host).sessions_live == 0);
    let stats = game(&host);
    assert_eq!(
        (stats.send_queue_full, stats.closes_named("send_queue_full")),
        (1, 1)
    );
    assert!(stats.frames_lost > 0, "what waited is lost, and counted");
    finish(host);
}

pub(crate) fn when_full_error(w: &World, layout: Layout) {
    let limits = small_queue(WhenFull::Error);
    let (host, mut peer, session, ledger) = unread(w, layout, limits.clone());
    let (first, error) = fill(&session, &limits);
    assert_eq!(error, SendError::Full);
    assert_eq!(session.send(&padded(first)), Err(SendError::Full));
    let bytes = wharf::Bytes::from(frame(&padded(first)));
    let (back, error) = session.try_send(bytes.clone()).unwrap_err();
    assert_eq!((back, error), (bytes, SendError::Full));
    // The session lives: what was accepted comes, and then there is room again.
    (0..first).for_each(|n| assert_eq!(peer.recv(), padded(n)));
    w.until("the queue is empty", || session.send_queue().frames == 0);
    session.send(&padded(first)).unwrap();
    assert_eq!(peer.recv(), padded(first));
    let stats = game(&host);
    assert_eq!(
        (stats.send_queue_full, stats.frames_out),
        (3, u64::from(first) + 1)
    );
    assert_eq!(ledger.closed(), 0);
    drop(peer);
    finish(host);
}

pub(crate) fn when_full_drop_new(w: &World, layout: Layout) {
    let limits = small_queue(WhenFull::DropNew);
    let (host, mut peer, session, _) = unread(w, layout, limits.clone());
    let (first, error) = fill(&session, &limits);
    assert_eq!(error, SendError::Dropped);
    for n in 0..9 {
        assert_eq!(session.send(&padded(first + n)), Err(SendError::Dropped));
    }
    (0..first).for_each(|n| assert_eq!(peer.recv(), padded(n)));
    session.send(b"last").unwrap();
    assert_eq!(peer.recv(), b"last");
    // The peer may have a frame before its writer has counted it.
    let out = u64::from(first) + 1;
    w.until("all are counted", || game(&host).frames_out == out);
    let stats = game(&host);
    assert_eq!(stats.dropped_new, 10);
    assert_eq!(
        (stats.send_queue_full, stats.frames_lost, stats.dropped_old),
        (0, 0, 0)
    );
    drop(peer);
    finish(host);
}

pub(crate) fn when_full_drop_old(w: &World, layout: Layout) {
    let limits = small_queue(WhenFull::DropOld);
    let (host, mut peer, session, _) = unread(w, layout, limits.clone());
    let mut sent = 0;
    while game(&host).dropped_old < 10 {
        session.send(&padded(sent)).unwrap();
        sent += 1;
        assert!(sent < 100_000);
        let queue = session.send_queue();
        assert!(queue.bytes <= limits.bytes_max && queue.frames <= limits.frames_max);
    }
    // One that can never fit costs nobody else's place.
    let before = game(&host);
    let giant = vec![0; limits.bytes_max];
    assert_eq!(session.send_wire(giant.into()), Err(SendError::Dropped));
    let stats = game(&host);
    assert_eq!(stats.dropped_old, before.dropped_old);
    assert_eq!(stats.dropped_new, before.dropped_new + 1);

    let mut came = vec![number(&peer.recv())];
    while *came.last().unwrap() != sent - 1 {
        came.push(number(&peer.recv()));
    }
    assert!(
        came.is_sorted_by(|a, b| a < b),
        "in order, the newest to the end: {came:?}"
    );
    let out = came.len() as u64;
    w.until("all are counted", || game(&host).frames_out == out);
    let stats = game(&host);
    assert_eq!(out + stats.dropped_old, u64::from(sent));
    assert_eq!(stats.frames_lost, 0);
    drop(peer);
    finish(host);
}

/// A client that pipelines without reading is slowed by TCP and never cut: its own replies meet the
/// high-water mark, which stops the reading, and not the full-policy. All of them come.
pub(crate) fn a_slow_reader_is_slowed(w: &World, layout: Layout) {
    let small = SendQueueLimits {
        bytes_max: 16 * 1024,
        frames_max: 100,
        ..SendQueueLimits::default()
    };
    // Many small replies, where frames are the limit, and large ones, where bytes are.
    a_slow_reader(w, layout, &small, 1);
    a_slow_reader(w, layout, &small, 700);
    if !w.is_sim() || w.one_in(4) {
        a_slow_reader(w, layout, &SendQueueLimits::default(), 1);
    }
}

fn a_slow_reader(w: &World, layout: Layout, limits: &SendQueueLimits, reply_bytes: usize) {
    let handler = Act::new(|_| Ok(0_u8)).on_frame(move |s, counted, _| {
        *counted = counted.wrapping_add(1);
        Ok(s.send(&vec![*counted; reply_bytes])?)
    });
    let ledger = handler.ledger();
    let (host, net) = serve(w, layout, handler, |server| {
        server.send_queue(limits.clone()).socket(small_socket())
    });
    let mut peer = w.connect_narrow(net.local_addr().unwrap());
    w.until("the session is open", || net.sessions().len() == 1);
    let session = net.sessions().first().unwrap();

    // It writes until nothing has moved for a while: then the kernel holds it back.
    let request = frame(b"");
    let (mut sent, mut pending) = (0_usize, Vec::new());
    w.until("the client is held back", || {
        if pending.is_empty() {
            pending = request.repeat(64);
            sent += 64;
        }
        let wrote = peer.write_some(&pending);
        pending.drain(..wrote);
        let queue = session.send_queue();
        assert!(queue.bytes <= limits.bytes_max, "{queue:?}");
        assert!(queue.frames <= limits.frames_max, "{queue:?}");
        assert!(
            session.is_open(),
            "a slow reader was cut: {:?}",
            ledger.reasons()
        );
        wrote == 0 && queue.behind && !pending.is_empty()
    });
    // Now it reads, slowly, and writes what is left.
    let mut read = 0;
    let mut expected = 1_u8;
    while read < sent {
        if !pending.is_empty() {
            let wrote = peer.write_some(&pending);
            pending.drain(..wrote);
        }
        peer.look_at_most(997);
        for reply in peer.take_frames() {
            assert_eq!(reply, vec![expected; reply_bytes]);
            expected = expected.wrapping_add(1);
            read += 1;
        }
        assert_eq!(
            peer.end,
            None,
            "cut with {read} of {sent} replies: {:?}",
            ledger.reasons()
        );
        w.nudge();
    }
    drop(peer);
    // A write is counted when its call has returned: perhaps after the peer has read it.
    w.until("all is counted", || game(&host).frames_out >= sent as u64);
    let stats = game(&host);
    assert_eq!(
        (stats.frames_in, stats.frames_out),
        (sent as u64, sent as u64)
    );
    assert_eq!((stats.send_queue_full, stats.frames_lost), (0, 0));
    finish(host);
}

/// Jobs that wait are bounded; those accepted run.
pub(crate) fn the_mailbox_is_bounded(w: &World, layout: Layout) {
    let hold = w.hold();
    let stuck = hold.clone();
    let handler = Act::new(|_| Ok(())).on_frame(move |_, (), _| {
        stuck.enter();
        Ok(())
    });
    let (host, net) = serve(w, layout, handler, |server| server.mailbox_max(7));
    let mut peer = w.connect(net.local_addr().unwrap());
    w.until("the session is open", || net.sessions().len() == 1);
    let session = net.sessions().first().unwrap();
    if !w.is_sim() {
        // Its own turn is stuck, so no worker empties the mailbox.
        peer.send(b"stick");
        w.until("its turn is stuck", || hold.entered() == 1);
    }
    let ran = Arc::new(AtomicUsize::new(0));
    let post = || {
        let ran = Arc::clone(&ran);
        session.post(move |_, ()| {
            ran.fetch_add(1, Ordering::Relaxed);
        })
    };
    for _ in 0..7 {
        post().unwrap();
    }
    for _ in 0..3 {
        assert_eq!(post(), Err(SendError::Full));
    }
    hold.release();
    w.until("what was accepted ran", || ran.load(Ordering::Relaxed) == 7);
    post().unwrap();
    w.until("there is room again", || ran.load(Ordering::Relaxed) == 8);
    assert_eq!(game(&host).mailbox_full, 3);
    drop(peer);
    finish(host);
}

/// `sessions_max` holds for all that has a socket, and every connection is counted once.
pub(crate) fn sessions_are_bounded(w: &World, layout: Layout) {
    let handler = Act::echo();
    let ledger = handler.ledger();
    let (host, net) = serve(w, layout, handler, |server| server.sessions_max(4));
    let addr = net.local_addr().unwrap();
    let mut inside: Vec<_> = (0..4).map(|_| w.connect(addr)).collect();
    for peer in &mut inside {
        assert_eq!(peer.ask(b"in"), b"in");
    }
    for refused in 1..=6 {
        let mut outside = w.connect(addr);
        assert_eq!(outside.read_to_end(), End::Fin);
        assert_eq!(game(&host).refused_sessions_max, refused);
    }
    assert_eq!((net.sessions().len(), game(&host).sessions_live), (4, 4));
    for _ in 0..3 {
        drop(inside.pop());
        w.until("a place is free", || game(&host).sessions_live == 3);
        let mut next = w.connect(addr);
        assert_eq!(next.ask(b"in"), b"in");
        inside.push(next);
    }
    drop(inside);
    w.until("all are gone", || game(&host).sessions_live == 0);
    assert_eq!((ledger.opened(), game(&host).accepted), (7, 13));
    finish(host);
}

/// A frame of a gigabyte is announced, and a few bytes of it come, on many connections: what is
/// kept is what came.
pub(crate) fn a_claimed_length_costs_nothing(w: &World, layout: Layout) {
    const CLAIM: u32 = 1 << 30;
    let handler = Act::<()>::sink();
    let ledger = handler.ledger();
    let framing = Framing::length(4)
        .frame_bytes_max(CLAIM as usize + 4)
        .build();
    let framing = framing.unwrap();
    let (host, net) = serve(w, layout, handler, |server| server.framing(framing));
    let addr = net.local_addr().unwrap();
    let peers = 24;
    let before = memory();
    let claim = || {
        let mut peers: Vec<_> = (0..peers).map(|_| w.connect(addr)).collect();
        for peer in &mut peers {
            peer.write(&CLAIM.to_le_bytes());
            peer.write(&[7; 5000]);
        }
        w.until("all of it was received", || {
            game(&host).bytes_in == peers.len() as u64 * 5004
        });
        peers
    };
    if w.is_sim() {
        // One thread does all the work there, so each of its allocations is known.
        let mut kept = Vec::new();
        let measured = allocation_counter::measure(|| kept = claim());
        assert!(measured.bytes_max < 32 << 20, "{measured:?}");
        drop(kept);
    } else {
        let peers = claim();
        let grown = memory().saturating_sub(before);
        assert!(
            grown < 256 << 20,
            "{grown} bytes for {} claims",
            peers.len()
        );
    }
    w.until("all are gone", || game(&host).sessions_live == 0);
    assert_eq!(ledger.frames(), 0);
    finish(host);
}

/// Bytes that this process has asked for, used or not.
fn memory() -> u64 {
    wharf::system::claimed_bytes().unwrap_or(0)
}

/// A reader that is behind is known, and is not when it has caught up.
pub(crate) fn who_is_behind_is_known(w: &World, layout: Layout) {
    let limits = SendQueueLimits {
        bytes_max: 64 * 1024,
        high_water_bytes: Some(8000),
        low_water_bytes: Some(1000),
        ..SendQueueLimits::default()
    };
    let (mut host, net) = serve(w, layout, Act::echo(), |server| {
        server.send_queue(limits).socket(small_socket())
    });
    let addr = net.local_addr().unwrap();
    let mut slow = w.connect_narrow(addr);
    w.until("the slow one is open", || net.sessions().len() == 1);
    let session = net.sessions().first().unwrap();
    let mut quick = w.connect(addr);
    assert_eq!(quick.ask(b"here"), b"here");
    let mut sent = 0_u32;
    while !session.send_queue().behind {
        let broadcast = net.sessions().broadcast(&padded(sent)).unwrap();
        assert_eq!(
            (broadcast.accepted, broadcast.full, broadcast.closed),
            (2, 0, 0)
        );
        assert_eq!(quick.recv(), padded(sent));
        sent += 1;
    }
    assert_eq!(net.sessions().behind(), std::slice::from_ref(&session));
    // What it sends is not read meanwhile, and is answered after it has caught up.
    slow.write(&numbered(9));
    (0..sent).for_each(|n| assert_eq!(slow.recv(), padded(n)));
    w.until("it has caught up", || net.sessions().behind().is_empty());
    assert_eq!(slow.recv(), 9_u32.to_le_bytes());
    drop((slow, quick));
    host.stop().unwrap();
    check_stopped(&host.stats());
}
