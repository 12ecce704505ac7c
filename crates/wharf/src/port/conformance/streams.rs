//! Clauses 4 to 6: bytes, sends, and the ways in which a stream ends.

use super::*;

/// In order, no loss, no invention: much more than fits, in both directions at once.
pub(super) fn volume_both_ways(rig: &Rig) {
    let pair = rig.pair();
    let bytes = pattern(600_000);
    let mut ends = [
        (&pair.client, CLIENT, 0, Vec::<u8>::new()),
        (&pair.server, SERVER, 0, Vec::new()),
    ];
    let begin = Instant::now();
    while ends
        .iter()
        .any(|(_, _, sent, got)| *sent < bytes.len() || got.len() < bytes.len())
    {
        assert!(begin.elapsed() < PATIENCE * 4, "it stands still");
        let mut moved = false;
        for (socket, _, sent, got) in &mut ends {
            if let Ok(n) = rig.send(socket, &bytes[*sent..]) {
                *sent += n;
                moved |= n > 0;
            }
            let mut into = [0; 10_000];
            if let Ok(n) = rig.port.recv(socket, &mut into) {
                assert!(n > 0, "an end of stream that nobody sent");
                got.extend(&into[..n]);
                moved = true;
            }
        }
        if !moved {
            rig.look();
        }
    }
    for (_, token, _, got) in &ends {
        assert!(*got == bytes, "other bytes came to {token:?}");
    }
}

/// As many buffers as the contract allows, empty ones in between, leave as one stream.
pub(super) fn gathered_buffers(rig: &Rig) {
    let pair = rig.pair();
    let bytes = pattern(2000);
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        let mut left = rest;
        let mut buffers = Vec::new();
        for len in (0..crate::port::GATHER_MAX).map(|nth| nth % 4) {
            let (buffer, after) = left.split_at(len.min(left.len()));
            buffers.push(IoSlice::new(buffer));
            left = after;
        }
        assert_eq!(buffers.len(), crate::port::GATHER_MAX);
        match rig.port.send(&pair.client, &buffers) {
            Ok(sent) => {
                let offered = rest.len() - left.len();
                assert!((1..=offered).contains(&sent), "{sent} of {offered}");
                rest = &rest[sent..];
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                rig.until(CLIENT, Bits::WRITE);
            }
        }
    }
    assert_eq!(rig.recv_exactly(&pair.server, SERVER, bytes.len()), bytes);
}

/// Only an end of stream and an empty buffer read as 0.
pub(super) fn nothing_is_no_end(rig: &Rig) {
    let pair = rig.pair();
    let mut into = [0; 16];
    let nothing = rig.port.recv(&pair.server, &mut into).unwrap_err();
    assert_eq!(nothing.kind(), ErrorKind::WouldBlock);
    rig.send_all(&pair.client, CLIENT, b"x");
    rig.until(SERVER, Bits::READ);
    assert_eq!(rig.port.recv(&pair.server, &mut []).unwrap(), 0);
    assert_eq!(rig.recv_exactly(&pair.server, SERVER, 1), b"x");
    rig.port.shutdown_write(&pair.client);
    assert!(rig.recv_to_end(&pair.server, SERVER).1.is_ok());
    assert_eq!(
        rig.port.recv(&pair.server, &mut into).unwrap(),
        0,
        "and stays 0"
    );
}

/// One direction may end while the other goes on.
pub(super) fn half_close_both_ways(rig: &Rig) {
    let pair = rig.pair();
    rig.send_all(&pair.client, CLIENT, b"question");
    rig.port.shutdown_write(&pair.client);
    let (got, end) = rig.recv_to_end(&pair.server, SERVER);
    assert!(got == b"question" && end.is_ok());
    let sent = rig.send(&pair.client, b"more").unwrap_err();
    assert_eq!(
        sent.kind(),
        ErrorKind::BrokenPipe,
        "our direction has ended"
    );
    rig.send_all(&pair.server, SERVER, b"answer");
    rig.port.shutdown_write(&pair.server);
    let (got, end) = rig.recv_to_end(&pair.client, CLIENT);
    assert!(got == b"answer" && end.is_ok());
}

/// A reset is an error of its own kind, whoever caused it and however.
pub(super) fn a_reset_is_no_end(rig: &Rig) {
    let pair = rig.pair();
    // Bytes that nobody has read when their reader closes are answered with a reset.
    rig.send_all(&pair.client, CLIENT, b"unread");
    rig.until(SERVER, Bits::READ);
    rig.forget();
    drop(pair.server);
    let (got, end) = rig.recv_to_end(&pair.client, CLIENT);
    assert!(got.is_empty());
    assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

/// Sends to a peer that is gone fail, at the latest after the answer has come, and raise no signal
/// (or this test would not end).
pub(super) fn sends_to_the_gone_fail(rig: &Rig) {
    let pair = rig.pair();
    drop(pair.server);
    let begin = Instant::now();
    let error = loop {
        assert!(begin.elapsed() < PATIENCE, "sends to nobody work for ever");
        match rig.send(&pair.client, b"anybody there?") {
            Err(error) if error.kind() != ErrorKind::WouldBlock => break error,
            _ => rig.look(),
        }
    };
    let gone = [
        ErrorKind::BrokenPipe,
        ErrorKind::ConnectionReset,
        ErrorKind::NotConnected,
    ];
    assert!(gone.contains(&error.kind()), "{error}");
    let again = rig.send(&pair.client, b"?").unwrap_err();
    assert!(gone.contains(&again.kind()), "and again: {again}");
}

/// Bytes that were taken are delivered after the close, and then the end.
pub(super) fn close_delivers(rig: &Rig) {
    let pair = rig.pair();
    let bytes = pattern(30_000);
    let mut sent = 0;
    for _ in 0..10 {
        sent += rig.send(&pair.client, &bytes[sent..]).unwrap_or(0);
        if sent == bytes.len() {
            break;
        }
    }
    assert!(sent > 0);
    drop(pair.client);
    let (got, end) = rig.recv_to_end(&pair.server, SERVER);
    assert!(end.is_ok(), "{end:?}");
    assert!(got == bytes[..sent], "{} of {sent} bytes came", got.len());
}

/// A close after `reset_on_close` is seen as a reset.
pub(super) fn reset_on_close(rig: &Rig) {
    let pair = rig.pair();
    rig.port.reset_on_close(&pair.client);
    drop(pair.client);
    let (_, end) = rig.recv_to_end(&pair.server, SERVER);
    assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

/// Another thread may break a connection while its owner holds the socket: both directions end, the
/// owner is told, the peer sees a reset, and the socket is still the owner's to close.
pub(super) fn disconnect_from_another_thread(rig: &Rig) {
    let Pair { client, server } = rig.pair();
    let client = Arc::new(client);
    let (port, shared) = (Arc::clone(&rig.port), Arc::clone(&client));
    let thread = std::thread::Builder::new().name("disconnects".into());
    let thread = thread.spawn(move || port.disconnect(&shared)).unwrap();
    thread.join().unwrap();
    rig.until(CLIENT, Bits::HANGUP.with(Bits::ERROR));
    let (got, _) = rig.recv_to_end(&client, CLIENT);
    assert!(got.is_empty());
    assert!(rig.send(&client, b"x").is_err());
    let (_, end) = rig.recv_to_end(&server, SERVER);
    assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);
    rig.port.disconnect(&client);
    drop(client);
}

/// Each write of a batch ends as a send would have ended it: whole, short, refused or broken.
pub(super) fn a_batch_is_so_many_sends(rig: &Rig) {
    const OPEN: usize = 20;
    let pairs: Vec<_> = (0..OPEN).map(|_| rig.unregistered()).collect();
    let (full, gone, ended) = (rig.unregistered(), rig.unregistered(), rig.unregistered());
    let bytes = pattern(500);
    let much = pattern(1 << 20);
    while rig.send(&full.server, &much).is_ok() {}
    rig.port.shutdown_write(&ended.server);
    rig.port.disconnect(&gone.server);
    // One buffer, or several, some of them empty.
    let cut = |parts: usize| {
        let mut slices: Vec<_> = bytes
            .chunks(bytes.len() / parts)
            .map(IoSlice::new)
            .collect();
        slices.insert(parts / 2, IoSlice::new(&[]));
        slices
    };
    let gathered: Vec<_> = (0..OPEN)
        .map(|nth| match nth % 5 {
            0 => vec![IoSlice::new(&bytes[..])],
            parts => cut(parts),
        })
        .collect();
    let plain = [IoSlice::new(&bytes[..])];
    let others = [&full.server, &gone.server, &ended.server];
    let targets = pairs.iter().zip(&gathered);
    let targets = targets.map(|(pair, from)| (&pair.server, &from[..]));
    let targets = targets.chain(others.map(|socket| (socket, &plain[..])));
    let mut writes: Vec<_> = targets
        .map(|(socket, from)| Write {
            socket,
            from,
            wrote: Ok(0),
        })
        .collect();
    rig.send_batch(&mut writes);
    // What the peer acknowledges late may have made room again.
    let mut tries = 0;
    while writes[OPEN].wrote.is_ok() && tries < 100 {
        tries += 1;
        while rig.send(&full.server, &much).is_ok() {}
        rig.send_batch(&mut writes[OPEN..=OPEN]);
    }
    let failed = |nth: usize| writes[nth].wrote.as_ref().unwrap_err().kind();
    assert_eq!(failed(OPEN), ErrorKind::WouldBlock);
    let broken = [
        ErrorKind::BrokenPipe,
        ErrorKind::ConnectionReset,
        ErrorKind::NotConnected,
    ];
    assert!(broken.contains(&failed(OPEN + 1)), "{}", failed(OPEN + 1));
    assert_eq!(failed(OPEN + 2), ErrorKind::BrokenPipe);
    for (nth, (pair, write)) in pairs.iter().zip(&writes).enumerate() {
        // Of what is faulty, some take less than they were given, or nothing.
        let sent = match &write.wrote {
            Ok(sent) => *sent,
            Err(error) if rig.world.is_faulty() => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                0
            }
            Err(error) => panic!("write {nth}: {error}"),
        };
        assert!(sent == bytes.len() || rig.world.is_faulty(), "write {nth}");
        let token = Token::new(40, u32::try_from(nth).unwrap());
        rig.port.register(token, &pair.client).unwrap();
        let got = rig.recv_exactly(&pair.client, token, sent);
        assert!(got == bytes[..sent], "write {nth}");
    }
}

/// Of a backend that was retired nothing stays open but what its user holds, also if a close found
/// bytes that the socket had no room for: nobody waits for them any more. Nor does a later close.
pub(super) fn nothing_is_left_when_retired(rig: &Rig) {
    let retired = (rig.open)();
    let (listener, addr) = rig.listen(IPV4).unwrap();
    let connected = |token| {
        let client = retired.connect(addr, &SocketOptions::default()).unwrap();
        let (server, _) = rig.accept(&listener);
        rig.port.register(token, &server).unwrap();
        let begin = Instant::now();
        while retired.connect_result(&client).is_err() {
            assert!(begin.elapsed() < PATIENCE, "it never connects");
            retired.wait(&mut Vec::new(), 64, Wait::Poll).unwrap();
            rig.world.settle();
        }
        (client, server)
    };
    let fill = |client: &Socket| {
        let bytes = pattern(64 * 1024);
        let mut refused = 0;
        // Faults refuse what there is room for.
        while refused < 5 {
            match retired.send(client, &[IoSlice::new(&bytes)]) {
                Ok(_) => refused = 0,
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::WouldBlock);
                    refused += 1;
                }
            }
        }
    };
    let (early, server) = connected(SERVER);
    let (late, other) = connected(CLIENT);
    fill(&early);
    fill(&late);
    drop(early);
    retired.retire(retired.now());
    drop(late);
    // Whether all of it came is not the question.
    let _ = rig.recv_to_end(&server, SERVER);
    let _ = rig.recv_to_end(&other, CLIENT);
}
