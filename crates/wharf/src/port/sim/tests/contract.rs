//! Clauses 1 to 5, 7 and 8, without faults.

use std::time::Duration;

use super::*;
use crate::time::Time;

const READ_END: Bits = Bits::READ.with(Bits::READ_HANGUP);

#[test]
fn a_connection_is_made_and_reported_at_both_ends() {
    let (sim, port) = plain();
    let listener = listen(&port, "10.0.0.1:0").unwrap();
    let token = Token::new(7, 3);
    port.register(token, &listener).unwrap();
    assert!(harvest(&port).is_empty());
    assert_eq!(kind(accept(&port, &listener)), ErrorKind::WouldBlock);

    let at = port.local_addr(&listener).unwrap();
    let client = connect(&port, at).unwrap();
    port.register(CLIENT, &client).unwrap();
    assert!(
        harvest(&port).is_empty(),
        "a connect under way is not writable"
    );
    assert_eq!(kind(port.connect_result(&client)), ErrorKind::WouldBlock);
    assert_eq!(kind(send(&port, &client, b"early")), ErrorKind::WouldBlock);
    assert_eq!(kind(recv(&port, &client)), ErrorKind::WouldBlock);

    settle(&sim);
    let mut harvested = harvest(&port);
    harvested.sort_by_key(|ready| ready.token);
    let expected = [(CLIENT, Bits::WRITE), (token, Bits::READ)];
    assert_eq!(harvested.len(), 2);
    for (ready, (token, bits)) in harvested.iter().zip(expected) {
        assert_eq!((ready.token, ready.bits), (token, bits));
    }
    port.connect_result(&client).unwrap();
    let (server, from) = accept(&port, &listener).unwrap();
    assert_eq!(from, port.local_addr(&client).unwrap());
    assert_eq!(port.local_addr(&server).unwrap(), at);
    assert_eq!(kind(accept(&port, &listener)), ErrorKind::WouldBlock);
    assert_eq!(port.name(), "sim");
}

#[test]
fn every_arrival_is_an_edge_and_nothing_else_is() {
    let (sim, port) = plain();
    let (client, server) = pair(&sim, &port);
    for sent in 1..=3 {
        send(&port, &client, b"ab").unwrap();
        assert!(
            !bits(&port, SERVER).any(Bits::READ),
            "not before it arrives"
        );
        settle(&sim);
        assert!(
            bits(&port, SERVER).any(Bits::READ),
            "arrival {sent}, the first unread"
        );
    }
    assert_eq!(recv(&port, &server).unwrap(), b"ababab");
    settle(&sim);
    assert!(harvest(&port).is_empty(), "no edge: space was never missed");
}

#[test]
fn what_holds_at_registration_is_reported() {
    let (sim, port) = plain();
    let listener = listen(&port, "10.0.0.1:0").unwrap();
    let client = connect(&port, port.local_addr(&listener).unwrap()).unwrap();
    settle(&sim);
    port.register(Token::new(9, 9), &listener).unwrap();
    assert!(bits(&port, Token::new(9, 9)).any(Bits::READ));
    send(&port, &client, b"x").unwrap();
    port.shutdown_write(&client);
    settle(&sim);
    let (server, _) = accept(&port, &listener).unwrap();
    assert!(harvest(&port).is_empty());
    port.register(SERVER, &server).unwrap();
    assert_eq!(bits(&port, SERVER), READ_END.with(Bits::WRITE));
    port.register(CLIENT, &client).unwrap();
    assert_eq!(bits(&port, CLIENT), Bits::WRITE);
    assert_eq!(
        kind(port.register(CLIENT, &client)),
        ErrorKind::AlreadyExists
    );
}

#[test]
fn space_is_an_edge_only_for_who_found_none() {
    let (sim, port) = with(Faults {
        pipe_bytes: 4,
        ..Faults::none()
    });
    let (client, server) = pair(&sim, &port);
    assert_eq!(send(&port, &client, b"abcdef").unwrap(), 4);
    settle(&sim);
    harvest(&port);
    assert_eq!(recv(&port, &server).unwrap(), b"abcd");
    assert!(
        harvest(&port).is_empty(),
        "the partial write is no WouldBlock"
    );
    assert_eq!(send(&port, &client, b"efgh").unwrap(), 4);
    assert_eq!(kind(send(&port, &client, b"i")), ErrorKind::WouldBlock);
    settle(&sim);
    assert!(!bits(&port, CLIENT).any(Bits::WRITE), "arrived is not read");
    assert_eq!(recv(&port, &server).unwrap(), b"efgh");
    assert!(bits(&port, CLIENT).any(Bits::WRITE));
    assert_eq!(send(&port, &client, b"i").unwrap(), 1);
}

#[test]
fn gathered_buffers_arrive_in_order() {
    let (sim, port) = plain();
    let (client, server) = pair(&sim, &port);
    let parts = [IoSlice::new(b"ab"), IoSlice::new(b""), IoSlice::new(b"cde")];
    assert_eq!(port.send(&client, &parts).unwrap(), 5);
    assert_eq!(port.send(&client, &[]).unwrap(), 0);
    settle(&sim);
    let mut two = [0; 2];
    assert_eq!(port.recv(&server, &mut []).unwrap(), 0);
    assert_eq!(port.recv(&server, &mut two).unwrap(), 2);
    assert_eq!(&two, b"ab");
    assert_eq!(recv(&port, &server).unwrap(), b"cde");
    assert_eq!(kind(recv(&port, &server)), ErrorKind::WouldBlock);
}

#[test]
fn a_stream_may_end_in_one_direction_and_then_in_both() {
    let (sim, port) = plain();
    let (client, server) = pair(&sim, &port);
    send(&port, &client, b"last").unwrap();
    port.shutdown_write(&client);
    port.shutdown_write(&client);
    settle(&sim);
    let ended = bits(&port, SERVER);
    assert!(ended.any(Bits::READ) && ended.any(Bits::READ_HANGUP) && !ended.any(Bits::HANGUP));
    assert_eq!(recv(&port, &server).unwrap(), b"last");
    assert_eq!(recv(&port, &server).unwrap(), b"");
    assert_eq!(recv(&port, &server).unwrap(), b"", "and again");
    assert_eq!(kind(send(&port, &client, b"x")), ErrorKind::BrokenPipe);

    send(&port, &server, b"still").unwrap();
    settle(&sim);
    assert_eq!(recv(&port, &client).unwrap(), b"still");
    port.shutdown_write(&server);
    assert!(
        bits(&port, SERVER).any(Bits::HANGUP),
        "both directions have ended here"
    );
    settle(&sim);
    let ended = bits(&port, CLIENT);
    assert!(ended.any(Bits::READ_HANGUP) && ended.any(Bits::HANGUP));
    assert_eq!(recv(&port, &client).unwrap(), b"");
}

#[test]
fn a_reset_is_an_error_and_never_an_end_of_stream() {
    let (sim, port) = plain();
    let (client, server) = pair(&sim, &port);
    port.reset_on_close(&client);
    drop(client);
    settle(&sim);
    let broken = bits(&port, SERVER);
    assert!(broken.any(Bits::ERROR) && broken.any(Bits::HANGUP) && broken.any(Bits::READ));
    let noted = port.take_error(&server).map(|error| error.kind());
    assert_eq!(noted, Some(ErrorKind::ConnectionReset));
    assert!(port.take_error(&server).is_none(), "it is taken");
    for _ in 0..2 {
        assert_eq!(kind(recv(&port, &server)), ErrorKind::ConnectionReset);
    }
    assert_eq!(kind(send(&port, &server, b"x")), ErrorKind::BrokenPipe);
}

#[test]
fn wakes_coalesce_and_each_after_a_harvest_is_seen() {
    let (_sim, port) = plain();
    for _ in 0..2 {
        port.wake();
        port.wake();
        let tokens = harvest(&port)
            .iter()
            .map(|ready| ready.token)
            .collect::<Vec<_>>();
        assert_eq!(tokens, [Token::WAKE]);
        assert!(harvest(&port).is_empty());
    }
}

#[test]
fn a_timer_comes_once_and_not_before_its_moment() {
    let (sim, port) = plain();
    let start = port.now();
    assert_eq!(start, Time::from_nanos(1_000_000_000));
    port.set_timer(Some(start + Duration::from_secs(5)));
    port.set_timer(Some(start + Duration::from_secs(3)));
    sim.run_for(Duration::from_millis(2_999)).unwrap();
    assert!(harvest(&port).is_empty());
    assert!(sim.step(), "time jumps to the timer");
    assert_eq!(port.now(), start + Duration::from_secs(3));
    let ready = harvest(&port);
    assert_eq!(
        ready.iter().map(|ready| ready.token).collect::<Vec<_>>(),
        [Token::TIMER]
    );
    assert!(
        !sim.step() && harvest(&port).is_empty(),
        "the replaced one never comes"
    );

    port.set_timer(Some(port.now() + Duration::from_secs(1)));
    port.set_timer(None);
    assert!(!sim.step());
    port.set_timer(Some(Time::ZERO));
    assert_eq!(harvest(&port).len(), 1, "a moment that has passed is due");
    port.set_timer(Some(port.now() + Duration::from_secs(1)));
    settle(&sim);
    port.set_timer(Some(Time::NEVER));
    assert!(
        harvest(&port).is_empty(),
        "replaced after it was due, before it was seen"
    );
    assert!(!sim.step(), "never is never");
}

#[test]
fn a_harvest_takes_no_more_than_asked_and_loses_nothing() {
    let (sim, port) = plain();
    let (client, server) = pair(&sim, &port);
    send(&port, &client, b"x").unwrap();
    send(&port, &server, b"y").unwrap();
    settle(&sim);
    port.wake();
    port.set_timer(Some(port.now()));
    let mut seen = Vec::new();
    for _ in 0..4 {
        let before = seen.len();
        port.wait(&mut seen, 1, Wait::Poll).unwrap();
        assert_eq!(seen.len(), before + 1);
    }
    port.wait(&mut seen, 0, Wait::Poll).unwrap();
    port.wait(&mut seen, 9, Wait::Block).unwrap();
    let mut tokens = seen.iter().map(|ready| ready.token).collect::<Vec<_>>();
    tokens.sort();
    assert_eq!(tokens, [CLIENT, SERVER, Token::TIMER, Token::WAKE]);
}

#[test]
fn ports_are_told_only_of_their_own_sockets() {
    let (sim, port) = plain();
    let other = sim.backend();
    let listener = listen(&port, "10.0.0.1:80").unwrap();
    port.register(SERVER, &listener).unwrap();
    let client = connect(&other, addr("10.0.0.1:80")).unwrap();
    other.register(CLIENT, &client).unwrap();
    other.wake();
    settle(&sim);
    assert_eq!(bits(&port, SERVER), Bits::READ);
    assert!(harvest(&port).is_empty());
    assert_eq!(harvest(&other).len(), 2);
}

#[test]
fn a_socket_of_another_backend_is_refused() {
    let (_sim, port) = plain();
    let real = crate::port::open_backend(None, &Default::default()).unwrap();
    let of_real = listen(&real, "127.0.0.1:0").unwrap();
    assert_eq!(kind(recv(&port, &of_real)), ErrorKind::InvalidInput);
    assert_eq!(
        kind(port.register(CLIENT, &of_real)),
        ErrorKind::InvalidInput
    );
    let of_sim = listen(&port, "10.0.0.1:1").unwrap();
    assert_eq!(kind(recv(&real, &of_sim)), ErrorKind::InvalidInput);
    assert_eq!(
        kind(real.register(CLIENT, &of_sim)),
        ErrorKind::InvalidInput
    );
}
