//! G5, the memory of all sessions: a ceiling for a network and for the host, with a policy.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use wharf::stats::NetworkSnapshot;
use wharf::{
    CloseReason, Framing, Host, MemoryLimit, SendError, SendQueueLimits, Session, WhenFull,
    WhenMemoryFull,
};

use crate::support::{
    Act, At, Layout, Peer, World, check_stopped, finish, patient, serve, small_socket,
};

const KIB: usize = 1024;

fn game(host: &Host) -> NetworkSnapshot {
    host.stats().network("game").unwrap().clone()
}

fn limit(kib: usize, when_full: WhenMemoryFull) -> MemoryLimit {
    MemoryLimit {
        bytes_max: kib * KIB,
        when_full,
    }
}

/// Queues that may hold far more than the ceilings of these tests.
fn wide() -> SendQueueLimits {
    SendQueueLimits {
        bytes_max: 1 << 20,
        when_full: WhenFull::Error,
        ..SendQueueLimits::default()
    }
}

/// So many peers that read nothing, and the session of each.
fn readers(
    w: &World,
    net: &wharf::Network<Act<()>>,
    count: usize,
) -> (Vec<Peer>, Vec<Session<Act<()>>>) {
    let addr = net.local_addr().unwrap();
    let before = net.sessions().len();
    let peers: Vec<_> = (0..count).map(|_| w.connect_narrow(addr)).collect();
    w.until("all are open", || net.sessions().len() == before + count);
    // By address: two workers may take two connections in either order.
    let mut open = Vec::new();
    net.sessions()
        .for_each(|session| open.push(session.clone()));
    let of = |peer: &Peer| {
        let session = open
            .iter()
            .find(|session| session.peer_addr() == peer.addr());
        session.unwrap().clone()
    };
    let sessions = peers.iter().map(of).collect();
    (peers, sessions)
}

/// Sends a kilobyte at a time until it is refused, at most so many.
fn fill(session: &Session<Act<()>>, most: usize) -> usize {
    (0..most)
        .take_while(|_| session.send(&[7; KIB]).is_ok())
        .count()
}

/// At the ceiling who holds much gets no more and nobody new comes in; who holds little is served,
/// and when the others have read, all goes on.
pub(crate) fn at_the_ceiling_nothing_more_is_taken(w: &World, layout: Layout) {
    let handler = Act::echo();
    let ledger = handler.ledger();
    let (host, net) = serve(w, layout, handler, |server| {
        let memory = limit(256, WhenMemoryFull::Refuse);
        let server = server.memory(memory).sessions_max(8);
        server.send_queue(wide()).socket(small_socket())
    });
    let addr = net.local_addr().unwrap();
    let mut quick = w.connect(addr);
    assert_eq!(quick.ask(b"in"), b"in");
    let (mut peers, sessions) = readers(w, &net, 3);
    let mut sent = vec![0; sessions.len()];
    let mut full = 0;
    // The system's buffers may make room for a while yet.
    w.until("the system takes no more", || {
        full += 1;
        for (session, sent) in sessions.iter().zip(&mut sent) {
            let more = fill(session, 600 - *sent);
            *sent += more;
            full *= u32::from(more == 0);
        }
        full == 200
    });
    assert!(sent.iter().sum::<usize>() < 600, "no ceiling: {sent:?}");
    let stats = game(&host);
    assert!(stats.memory_refused >= 1 && stats.memory_bytes >= 256 * KIB);
    // The ceiling, and a fair share and a frame each.
    assert!(stats.memory_bytes <= (256 + 4 * (8 + 2)) * KIB, "{stats:?}");
    assert_eq!(sessions[0].send(&[7; KIB]), Err(SendError::Full));

    let mut stranger = w.connect(addr);
    stranger.read_to_end();
    assert_eq!(game(&host).refused_memory, 1);
    assert_eq!(quick.ask(b"still here"), b"still here");

    for (peer, sent) in peers.iter_mut().zip(&sent) {
        (0..*sent).for_each(|_| assert_eq!(peer.recv(), [7; KIB]));
    }
    w.until("all is sent", || game(&host).memory_bytes == 0);
    sessions[0].send(b"again").unwrap();
    assert_eq!(peers[0].recv(), b"again");
    let mut late = w.connect(addr);
    assert_eq!(late.ask(b"in"), b"in");
    assert_eq!(ledger.closed(), 0);
    drop((peers, quick, late));
    finish(host);
}

/// Near the host's ceiling those who hold most are closed, whatever network they are of, and the
/// others stay.
pub(crate) fn those_who_hold_most_are_shed(w: &World, layout: Layout) {
    let handler = Act::echo();
    let ledger = handler.ledger();
    let mut host = w.host();
    let port = layout.ports().main(&mut host);
    host.set_memory(limit(512, WhenMemoryFull::Shed));
    let server = host.server("game", handler).at(&port).timeouts(patient());
    let server = server.send_queue(wide()).socket(small_socket());
    let net = server.listen(w.any_addr()).unwrap();
    host.start().unwrap();
    let (small_peers, small) = readers(w, &net, 2);
    let (large_peers, large) = readers(w, &net, 2);
    for session in &small {
        fill(session, 40);
    }
    let most = fill(&large[0], 300);
    assert_eq!(ledger.closed(), 0, "far from the ceiling");
    fill(&large[1], 290);
    w.until("the largest is closed", || {
        ledger.reason(large[0].id()).is_some()
    });
    assert_eq!(
        ledger.reason(large[0].id()),
        Some(CloseReason::MemoryCeiling),
        "it held {most} KiB"
    );
    w.until("its memory is back", || {
        game(&host).memory_bytes < 448 * KIB
    });
    for session in small.iter().chain(&large[1..]) {
        assert_eq!(ledger.reason(session.id()), None, "it held less");
        assert!(session.is_open());
    }
    let stats = game(&host);
    assert_eq!(stats.closes_named("memory_ceiling"), 1);
    assert_eq!(host.stats().memory_bytes, stats.memory_bytes);
    drop((small_peers, large_peers));
    host.stop().unwrap();
    check_stopped(&host.stats());
}

/// Half frames count as well: beyond the ceiling they end their sessions.
pub(crate) fn half_frames_are_counted(w: &World, layout: Layout) {
    w.move_much();
    let handler = Act::<()>::sink();
    let ledger = handler.ledger();
    let framing = Framing::length(4).frame_bytes_max(1 << 20).build().unwrap();
    let (host, net) = serve(w, layout, handler, |server| {
        let server = server.memory(limit(256, WhenMemoryFull::Refuse));
        server.sessions_max(8).framing(framing)
    });
    let addr = net.local_addr().unwrap();
    let mut half = (1_u32 << 19).to_le_bytes().to_vec();
    half.resize(100 * KIB, 9);
    let mut peers = Vec::new();
    for _ in 0..6 {
        let mut peer = w.connect(addr);
        peer.write_or_break(&half);
        peers.push(peer);
    }
    w.until("some are closed", || {
        ledger.closed() + usize::try_from(game(&host).refused_memory).unwrap() >= 3
    });
    assert!(game(&host).memory_bytes <= (256 + 6 * 64) * KIB);
    let reasons = ledger.reasons();
    let memory = |reason: &CloseReason| *reason == CloseReason::MemoryCeiling;
    assert!(reasons.iter().all(memory), "{reasons:?}");
    drop(peers);
    w.until("all are gone", || game(&host).sessions_live == 0);
    assert_eq!(game(&host).memory_bytes, 0);
    finish(host);
}

/// Jobs count, by what they carry.
pub(crate) fn jobs_are_counted(w: &World, layout: Layout) {
    let hold = w.hold();
    let stuck = hold.clone();
    let handler = Act::new(|_| Ok(())).on_frame(move |_, (), _| {
        stuck.enter();
        Ok(())
    });
    let (host, net) = serve(w, layout, handler, |server| {
        let server = server.memory(limit(64, WhenMemoryFull::Refuse));
        server.sessions_max(4).mailbox_max(10_000)
    });
    let mut peer = w.connect(net.local_addr().unwrap());
    w.until("the session is open", || net.sessions().len() == 1);
    let session = net.sessions().first().unwrap();
    if !w.is_sim() {
        peer.send(b"stick");
        w.until("its turn is stuck", || hold.entered() == 1);
    }
    let ran = Arc::new(AtomicBool::new(false));
    let post = || {
        let (ran, carried) = (Arc::clone(&ran), [1_u8; 2000]);
        session.post(move |_, ()| ran.store(carried[7] == 1, Ordering::Relaxed))
    };
    let mut taken = 0;
    let refused = loop {
        match post() {
            Ok(()) => taken += 1,
            Err(error) => break error,
        }
        assert!(taken < 100, "no ceiling");
    };
    assert_eq!(refused, SendError::Full);
    assert!((30..=33).contains(&taken), "{taken} of two kilobytes");
    hold.release();
    w.until("they ran", || game(&host).memory_bytes == 0);
    assert!(ran.load(Ordering::Relaxed));
    post().unwrap();
    assert_eq!(game(&host).memory_refused, 1);
    drop(peer);
    finish(host);
}
