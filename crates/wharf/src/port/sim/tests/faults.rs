//! Each fault on its own: it strikes, and within the contract.

use std::time::Duration;

use super::*;

#[test]
fn a_short_read_is_followed_by_a_report() {
    let (sim, port) = with(Faults {
        short_reads: 1.0,
        ..Faults::none()
    });
    let (client, server) = pair(&sim, &port);
    send(&port, &client, b"abcdefgh").unwrap();
    settle(&sim);
    assert!(bits(&port, SERVER).any(Bits::READ));
    let mut got = Vec::new();
    let mut reads = 0;
    while got.len() < 8 {
        got.extend(recv(&port, &server).unwrap());
        reads += 1;
        let more = bits(&port, SERVER).any(Bits::READ);
        assert!(more || got.len() == 8, "no report after a short read");
    }
    assert_eq!(got, b"abcdefgh");
    assert!(reads > 1);
}

#[test]
fn a_false_would_block_is_followed_by_a_report() {
    let (sim, port) = with(Faults {
        would_block: 0.9,
        ..Faults::none()
    });
    let listener = listen(&port, "10.0.0.1:80").unwrap();
    let token = Token::new(5, 5);
    port.register(token, &listener).unwrap();
    let peer = sim.connect(addr("10.0.0.1:80"));
    settle(&sim);
    let mut false_ones = 0;
    let mut retried = |token, blocked: &dyn Fn() -> bool| {
        assert!(bits(&port, token) != Bits::default());
        while blocked() {
            false_ones += 1;
            assert!(
                bits(&port, token) != Bits::default(),
                "no report after WouldBlock"
            );
        }
    };
    let accepted = std::cell::Cell::new(None);
    retried(token, &|| {
        let result = accept(&port, &listener);
        let blocked = result.is_err();
        accepted.set(result.ok());
        blocked
    });
    let (server, _) = accepted.take().unwrap();
    port.register(SERVER, &server).unwrap();
    retried(SERVER, &|| send(&port, &server, b"x").is_err());
    peer.write(b"y").unwrap();
    settle(&sim);
    retried(SERVER, &|| recv(&port, &server).is_err());
    assert!(false_ones > 3, "{false_ones}");
}

#[test]
fn writes_are_partial_and_never_empty() {
    let (sim, port) = with(Faults {
        partial_writes: 1.0,
        ..Faults::none()
    });
    let (client, _server) = pair(&sim, &port);
    for _ in 0..20 {
        let taken = send(&port, &client, b"abcdefgh").unwrap();
        assert!((1..8).contains(&taken));
    }
}

#[test]
fn reports_are_doubled_and_come_for_nothing() {
    let faults = Faults {
        doubled_reports: 1.0,
        ..Faults::none()
    };
    let (sim, port) = with(faults);
    let (client, _server) = pair(&sim, &port);
    send(&port, &client, b"x").unwrap();
    settle(&sim);
    assert_eq!(
        harvest(&port)
            .iter()
            .filter(|ready| ready.token == SERVER)
            .count(),
        2
    );

    sim.set_faults(Faults {
        spurious_reports: 1.0,
        ..Faults::none()
    });
    let mut strangers = 0;
    for _ in 0..20 {
        send(&port, &client, b"x").unwrap();
        settle(&sim);
        strangers += harvest(&port)
            .iter()
            .filter(|ready| ready.token == CLIENT)
            .count();
    }
    assert!((1..20).contains(&strangers), "{strangers}");
}

#[test]
fn a_report_says_what_happened_and_perhaps_all_that_holds() {
    let (sim, port) = plain();
    let (client, server) = pair(&sim, &port);
    let mut reported = Vec::new();
    for _ in 0..20 {
        send(&port, &client, b"x").unwrap();
        settle(&sim);
        reported.push(bits(&port, SERVER));
        recv(&port, &server).unwrap();
    }
    assert!(reported.contains(&Bits::READ), "as a completion port");
    assert!(
        reported.contains(&Bits::READ.with(Bits::WRITE)),
        "as an epoll"
    );
}

#[test]
fn reports_come_late_and_out_of_order() {
    let late_max = Duration::from_millis(1);
    let (sim, port) = with(Faults {
        late_reports: 1.0,
        late_max,
        ..Faults::none()
    });
    let (client, server) = pair(&sim, &port);
    settle(&sim);
    harvest(&port);
    let mut orders = Vec::new();
    for _ in 0..20 {
        let sent = sim.now();
        send(&port, &client, b"x").unwrap();
        send(&port, &server, b"x").unwrap();
        let mut order = Vec::new();
        while sim.step() {
            order.extend(harvest(&port).iter().map(|ready| ready.token));
        }
        assert!(sim.now() - sent <= late_max);
        assert_eq!(order.len(), 2, "late, not lost");
        orders.push(order);
    }
    assert!(orders.contains(&vec![CLIENT, SERVER]) && orders.contains(&vec![SERVER, CLIENT]));
}

#[test]
fn a_closed_socket_may_be_reported_once_more() {
    let (sim, port) = with(Faults {
        stale_reports: 1.0,
        ..Faults::none()
    });
    let (client, server) = pair(&sim, &port);
    drop(client);
    assert_eq!(
        harvest(&port)
            .iter()
            .map(|ready| ready.token)
            .collect::<Vec<_>>(),
        [CLIENT]
    );
    settle(&sim);
    assert!(bits(&port, SERVER).any(Bits::READ_HANGUP));

    sim.set_faults(Faults::none());
    port.disconnect(&server);
    drop(server);
    assert!(
        harvest(&port).is_empty(),
        "as an epoll drops what is queued for a closed socket"
    );
}

#[test]
fn an_aborted_accept_says_nothing_about_the_next() {
    let (sim, port) = with(Faults {
        accept_aborts: 0.9,
        ..Faults::none()
    });
    let listener = listen(&port, "10.0.0.1:80").unwrap();
    assert_eq!(kind(accept(&port, &listener)), ErrorKind::WouldBlock);
    let client = sim.connect(addr("10.0.0.1:80"));
    settle(&sim);
    let mut aborted = 0;
    let from = loop {
        match accept(&port, &listener) {
            Ok((_server, from)) => break from,
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionAborted),
        }
        aborted += 1;
    };
    assert!(aborted > 0 && from == client.local_addr().unwrap());
    assert_eq!(kind(accept(&port, &listener)), ErrorKind::WouldBlock);
    assert_eq!(sim.descriptors(), 1);
}

#[test]
fn a_connection_broken_on_the_way_is_reset_at_both_ends() {
    let (sim, port) = with(Faults {
        resets: 1.0,
        ..Faults::none()
    });
    let (client, server) = pair(&sim, &port);
    send(&port, &client, b"x").unwrap();
    settle(&sim);
    assert!(bits(&port, CLIENT).any(Bits::ERROR));
    for socket in [&client, &server] {
        assert_eq!(kind(recv(&port, socket)), ErrorKind::ConnectionReset);
        assert_eq!(kind(send(&port, socket, b"x")), ErrorKind::BrokenPipe);
    }
}

#[test]
fn a_reset_may_lose_what_had_arrived() {
    let (sim, port) = with(Faults {
        lost_at_reset: 1.0,
        ..Faults::none()
    });
    let (client, server) = pair(&sim, &port);
    send(&port, &client, b"lost").unwrap();
    port.shutdown_write(&client);
    settle(&sim);
    port.reset_on_close(&client);
    drop(client);
    settle(&sim);
    let read = kind(recv(&port, &server));
    assert_eq!(
        read,
        ErrorKind::ConnectionReset,
        "an end of stream would hide the loss"
    );
}

#[test]
fn small_pipes_have_all_sizes() {
    let (sim, port) = with(Faults {
        small_pipes: 1.0,
        ..Faults::none()
    });
    let big = vec![0; 100_000];
    let mut sizes = Vec::new();
    for _ in 0..100 {
        let (client, _server) = pair(&sim, &port);
        sizes.push(send(&port, &client, &big).unwrap());
    }
    assert!(sizes.iter().all(|size| (1..=65_536).contains(size)));
    assert!(sizes.contains(&1) && sizes.iter().any(|size| *size > 16_384));
    assert!(sizes.iter().filter(|size| **size < 256).count() > 20);
}

#[test]
#[should_panic(expected = "resets is -1")]
fn faults_out_of_range_are_named() {
    let _ = Sim::with_faults(
        1,
        Faults {
            resets: -1.0,
            ..Faults::none()
        },
    );
}
