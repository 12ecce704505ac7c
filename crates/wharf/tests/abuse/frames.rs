//! Frames cut at every byte, and lengths that lie.

use wharf::{CloseReason, Framing};

use crate::support::{
    Act, Layout, Log, World, each_backend, finish, frame, on_real_sockets, serve,
};

each_backend!(frames_cut_at_every_byte, frames_cut_at_random);
each_backend!(
    lengths_that_lie,
    a_flood_of_empty_frames,
    frames_larger_than_a_buffer
);
on_real_sockets!(bytes_one_by_one);

/// Three frames, one of them empty.
fn three() -> (Vec<u8>, [&'static [u8]; 3]) {
    let payloads: [&[u8]; 3] = [b"a frame", b"", b"another"];
    (payloads.iter().flat_map(|p| frame(p)).collect(), payloads)
}

/// The peer pauses once, at each possible place.
fn frames_cut_at_every_byte(w: &World) {
    let (host, net) = serve(w, Layout::Shared(2), Act::echo(), |server| server);
    let (wire, payloads) = three();
    let mut peer = w.connect(net.local_addr().unwrap());
    for cut in 0..=wire.len() {
        peer.write(&wire[..cut]);
        let before = host.stats().networks[0].bytes_in;
        // The first piece is received before the second is sent.
        let whole = wire.len() as u64 * cut as u64 + cut as u64;
        w.until("the piece came", || {
            host.stats().networks[0].bytes_in >= whole.max(before)
        });
        peer.write(&wire[cut..]);
        for payload in payloads {
            assert_eq!(peer.recv(), payload, "cut at {cut}");
        }
    }
    drop(peer);
    finish(host);
}

/// One byte a segment.
fn bytes_one_by_one(w: &World) {
    let (host, net) = serve(w, Layout::Shared(2), Act::echo(), |server| server);
    let (wire, payloads) = three();
    let mut peer = w.connect(net.local_addr().unwrap());
    for _ in 0..20 {
        for byte in &wire {
            peer.write(&[*byte]);
            std::thread::yield_now();
        }
        for payload in payloads {
            assert_eq!(peer.recv(), payload);
        }
    }
    drop(peer);
    finish(host);
}

fn frames_cut_at_random(w: &World) {
    let (host, net) = serve(w, Layout::Shared(2), Act::echo(), |server| server);
    let mut peer = w.connect(net.local_addr().unwrap());
    let sizes: Vec<usize> = (0..30).map(|_| w.below(400)).collect();
    let payload = |size: &usize| vec![u8::try_from(size % 251).unwrap(); *size];
    let wire: Vec<u8> = sizes
        .iter()
        .flat_map(|size| frame(&payload(size)))
        .collect();
    peer.write_in_pieces(&wire);
    for size in &sizes {
        assert_eq!(peer.recv(), payload(size));
    }
    drop(peer);
    finish(host);
}

/// Each lie ends its session with a reason that names it, after what was right before was answered;
/// what comes after it is never handled.
fn lengths_that_lie(w: &World) {
    let handled = Log::default();
    let log = handled.clone();
    let handler = Act::new(|_| Ok(())).on_frame(move |s, (), payload| {
        log.push(payload.to_vec());
        Ok(s.send(payload)?)
    });
    let ledger = handler.ledger();
    let (host, net) = serve(w, Layout::Shared(2), handler, |server| {
        server.framing(Framing::default().with_frame_bytes_max(100).unwrap())
    });
    let lies: [(&[u8], &str); 6] = [
        (&[0, 0], "prefix says 0"),
        (&[1, 0], "prefix says 1"),
        (&[101, 0], "101 bytes"),
        (&[0xff, 0xff], "65535 bytes"),
        (&[0, 1], "256 bytes"),
        (b"GET / HTTP/1.1\r\n\r\n", "over frame_bytes_max"),
    ];
    for (lie, word) in lies {
        let mut peer = w.connect(net.local_addr().unwrap());
        let mut wire = frame(b"right");
        wire.extend_from_slice(lie);
        wire.extend(frame(b"never"));
        peer.write(&wire);
        assert_eq!(peer.recv(), b"right");
        peer.expect_fin();
        assert!(peer.inbox.is_empty());
        drop(peer);
        w.until("its socket is gone", || {
            host.stats().networks[0].sessions_live == 0
        });
        let Some(CloseReason::BadFrame(error)) = ledger.reasons().pop() else {
            panic!("{lie:?} gave {:?}", ledger.reasons());
        };
        assert!(
            error.to_string().contains(word),
            "\"{word}\" is not in: {error}"
        );
    }
    // The largest that is allowed is no lie.
    let mut peer = w.connect(net.local_addr().unwrap());
    assert_eq!(peer.ask(&[7; 98]), [7; 98]);
    assert!(handled.take().iter().all(|payload| payload != b"never"));
    drop(peer);
    finish(host);
}

/// Ten thousand frames without a byte in them: all are handled, and others get their turns.
fn a_flood_of_empty_frames(w: &World) {
    let frames = w.pick(20_000, 3000);
    w.move_much();
    let handler = Act::echo();
    let ledger = handler.ledger();
    let (host, net) = serve(w, Layout::Shared(1), handler, |server| server);
    let addr = net.local_addr().unwrap();
    let mut other = w.connect(addr);
    assert_eq!(other.ask(b"before"), b"before");
    let mut flood = w.connect(addr);
    let wire = frame(b"").repeat(frames);
    let (mut written, mut asked) = (0, 0);
    w.until("the flood is over", || {
        written += flood.write_some(&wire[written..]);
        flood.look();
        if asked < 20 {
            assert_eq!(other.ask(b"meanwhile"), b"meanwhile");
            asked += 1;
        }
        flood.inbox.len() == wire.len()
    });
    assert_eq!(ledger.frames(), frames + asked + 1);
    drop((flood, other));
    finish(host);
}

/// Frames of more than a worker's buffer, cut anywhere, between small ones.
fn frames_larger_than_a_buffer(w: &World) {
    w.move_much();
    let framing = || Framing::length(4).frame_bytes_max(400_000).build().unwrap();
    let handler = Act::new(|_| Ok(())).on_frame(|s, (), payload| {
        let sum = payload.iter().map(|byte| u64::from(*byte)).sum::<u64>();
        s.send(&(payload.len() as u64 ^ sum << 32).to_le_bytes())?;
        Ok(())
    });
    let (host, net) = serve(w, Layout::Shared(2), handler, |server| {
        server.framing(framing())
    });
    let mut peer = w.connect(net.local_addr().unwrap());
    let mut sizes = vec![10, 70_000, 0, 32_768, 65_536, 65_532, 1, 300_000, 40_000, 3];
    if w.is_sim() {
        // Some of them a seed, in any order.
        sizes = (0..3).map(|_| sizes[w.below(sizes.len())]).collect();
    }
    for size in sizes {
        let mut payload = vec![3_u8; size];
        if let Some(first) = payload.first_mut() {
            *first = 200;
        }
        let sum = payload.iter().map(|byte| u64::from(*byte)).sum::<u64>();
        let mut wire = Vec::new();
        framing().encode(&payload, &mut wire).unwrap();
        peer.write_in_pieces(&wire);
        let head = peer.read(4);
        assert_eq!(head, 8_u32.to_le_bytes());
        assert_eq!(peer.read(8), (size as u64 ^ sum << 32).to_le_bytes());
    }
    drop(peer);
    finish(host);
}
