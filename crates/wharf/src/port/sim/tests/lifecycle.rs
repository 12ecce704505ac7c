//! Making, refusing, breaking and closing connections (clause 6), without faults.

use std::time::Duration;

use super::*;

#[test]
fn nobody_listening_refuses() {
    let (sim, port) = plain();
    let client = connect(&port, addr("10.0.0.1:80")).unwrap();
    port.register(CLIENT, &client).unwrap();
    settle(&sim);
    assert!(bits(&port, CLIENT).any(Bits::ERROR));
    assert_eq!(
        kind(port.connect_result(&client)),
        ErrorKind::ConnectionRefused
    );
    assert_eq!(
        kind(port.connect_result(&client)),
        ErrorKind::ConnectionRefused
    );
    assert_eq!(kind(send(&port, &client, b"x")), ErrorKind::NotConnected);
    assert_eq!(kind(recv(&port, &client)), ErrorKind::NotConnected);
}

#[test]
fn an_address_is_listened_at_once() {
    let (_sim, port) = plain();
    let first = listen(&port, "10.0.0.1:80").unwrap();
    assert_eq!(kind(listen(&port, "10.0.0.1:80")), ErrorKind::AddrInUse);
    assert_eq!(kind(listen(&port, "0.0.0.0:80")), ErrorKind::AddrInUse);
    assert_eq!(kind(listen(&port, "[::]:80")), ErrorKind::AddrInUse);
    let other = listen(&port, "10.0.0.2:80").unwrap();
    let v6_only = ListenOptions {
        dual_stack: false,
        ..ListenOptions::default()
    };
    let v6 = port.listen(addr("[::]:80"), &v6_only).unwrap();
    drop((first, other, v6));
    let all = listen(&port, "0.0.0.0:80").unwrap();
    assert_eq!(kind(listen(&port, "10.0.0.1:80")), ErrorKind::AddrInUse);
    let chosen = listen(&port, "10.0.0.1:0").unwrap();
    let again = listen(&port, "10.0.0.1:0").unwrap();
    let ports = [&chosen, &again].map(|socket| port.local_addr(socket).unwrap().port());
    assert!(ports[0] != ports[1] && !ports.contains(&0) && !ports.contains(&80));
    drop(all);
}

#[test]
fn a_wildcard_takes_what_no_exact_address_does() {
    let (sim, port) = plain();
    let exact = listen(&port, "10.0.0.1:80").unwrap();
    let v6 = ListenOptions {
        dual_stack: true,
        ..ListenOptions::default()
    };
    let all = port.listen(addr("[::]:81"), &v6).unwrap();
    let _one = sim.connect(addr("10.0.0.1:80"));
    let two = sim.connect_from("192.168.7.7".parse().unwrap(), addr("10.0.0.9:81"));
    settle(&sim);
    assert!(accept(&port, &exact).is_ok() && two.is_connected());
    let (server, from) = accept(&port, &all).unwrap();
    assert_eq!(
        port.local_addr(&server).unwrap(),
        addr("[::ffff:10.0.0.9]:81")
    );
    assert_eq!(
        from.ip(),
        "::ffff:192.168.7.7".parse::<std::net::IpAddr>().unwrap()
    );
    assert_eq!(from.port(), two.local_addr().unwrap().port());
}

#[test]
fn a_close_ends_the_stream_after_its_bytes() {
    let (sim, port) = plain();
    let (client, server) = pair(&sim, &port);
    send(&port, &client, b"bye").unwrap();
    drop(client);
    settle(&sim);
    assert_eq!(recv(&port, &server).unwrap(), b"bye");
    assert_eq!(recv(&port, &server).unwrap(), b"");
    assert_eq!(
        send(&port, &server, b"anyone?").unwrap(),
        7,
        "not known yet"
    );
    settle(&sim);
    assert!(bits(&port, SERVER).any(Bits::HANGUP));
    assert_eq!(kind(send(&port, &server, b"x")), ErrorKind::BrokenPipe);
    assert_eq!(
        recv(&port, &server).unwrap(),
        b"",
        "the end came before the reset"
    );
}

#[test]
fn a_close_with_unread_bytes_is_a_reset() {
    let (sim, port) = plain();
    let (client, server) = pair(&sim, &port);
    send(&port, &client, b"kept").unwrap();
    send(&port, &server, b"unread").unwrap();
    settle(&sim);
    drop(client);
    settle(&sim);
    assert_eq!(recv(&port, &server).unwrap(), b"kept", "it had arrived");
    assert_eq!(kind(recv(&port, &server)), ErrorKind::ConnectionReset);
}

#[test]
fn bytes_for_a_closed_socket_are_answered_with_a_reset() {
    let (sim, port) = plain();
    let (client, server) = pair(&sim, &port);
    send(&port, &server, b"on the way").unwrap();
    drop(client);
    settle(&sim);
    assert_eq!(recv(&port, &server).unwrap(), b"");
    assert_eq!(kind(send(&port, &server, b"x")), ErrorKind::BrokenPipe);
}

#[test]
fn a_blocked_sender_learns_of_the_close() {
    let (sim, port) = with(Faults {
        pipe_bytes: 2,
        ..Faults::none()
    });
    let (client, server) = pair(&sim, &port);
    assert_eq!(send(&port, &server, b"abcd").unwrap(), 2);
    assert_eq!(kind(send(&port, &server, b"cd")), ErrorKind::WouldBlock);
    drop(client);
    settle(&sim);
    assert!(bits(&port, SERVER).any(Bits::WRITE));
    assert_eq!(kind(send(&port, &server, b"cd")), ErrorKind::BrokenPipe);
}

#[test]
fn disconnect_breaks_both_ends_and_closes_none() {
    let (sim, port) = plain();
    let (client, server) = pair(&sim, &port);
    send(&port, &server, b"lost").unwrap();
    settle(&sim);
    harvest(&port);
    port.disconnect(&client);
    port.disconnect(&client);
    assert!(bits(&port, CLIENT).any(Bits::HANGUP), "at once at this end");
    assert_eq!(kind(recv(&port, &client)), ErrorKind::ConnectionReset);
    assert_eq!(kind(send(&port, &client, b"x")), ErrorKind::BrokenPipe);
    assert_eq!(sim.descriptors(), 2);
    settle(&sim);
    assert!(bits(&port, SERVER).any(Bits::HANGUP));
    assert_eq!(kind(recv(&port, &server)), ErrorKind::ConnectionReset);
    drop((client, server));
    assert_eq!(sim.descriptors(), 0);
}

#[test]
fn disconnect_gives_up_a_connect_and_takes_a_listener_down() {
    let (sim, port) = plain();
    let listener = listen(&port, "10.0.0.1:80").unwrap();
    port.register(SERVER, &listener).unwrap();
    let waiting = sim.connect(addr("10.0.0.1:80"));
    settle(&sim);
    let client = connect(&port, addr("10.0.0.1:80")).unwrap();
    port.register(CLIENT, &client).unwrap();
    port.disconnect(&client);
    assert!(bits(&port, CLIENT).any(Bits::HANGUP));
    assert_eq!(
        kind(port.connect_result(&client)),
        ErrorKind::ConnectionAborted
    );
    port.disconnect(&listener);
    assert!(bits(&port, SERVER).any(Bits::READ));
    assert_eq!(kind(accept(&port, &listener)), ErrorKind::InvalidInput);
    let late = sim.connect(addr("10.0.0.1:80"));
    settle(&sim);
    assert_eq!(
        kind(waiting.read(&mut Vec::new())),
        ErrorKind::ConnectionReset
    );
    assert_eq!(
        kind(late.read(&mut Vec::new())),
        ErrorKind::ConnectionRefused
    );
    assert_eq!(
        kind(listen(&port, "10.0.0.1:80")),
        ErrorKind::AddrInUse,
        "it is still open"
    );
}

#[test]
fn a_closed_listener_resets_who_waits_and_refuses_who_comes() {
    let (sim, port) = plain();
    let options = ListenOptions {
        backlog: 1,
        ..ListenOptions::default()
    };
    let listener = port.listen(addr("10.0.0.1:80"), &options).unwrap();
    let waits = sim.connect(addr("10.0.0.1:80"));
    settle(&sim);
    let held_up = sim.connect(addr("10.0.0.1:80"));
    settle(&sim);
    assert!(waits.is_connected() && !held_up.is_connected());
    drop(listener);
    settle(&sim);
    assert_eq!(
        kind(waits.read(&mut Vec::new())),
        ErrorKind::ConnectionReset
    );
    assert_eq!(
        kind(held_up.read(&mut Vec::new())),
        ErrorKind::ConnectionRefused
    );
}

#[test]
fn a_full_backlog_holds_connects_up() {
    let (sim, port) = plain();
    let options = ListenOptions {
        backlog: 1,
        ..ListenOptions::default()
    };
    let listener = port.listen(addr("10.0.0.1:80"), &options).unwrap();
    let clients = [(); 3].map(|()| sim.connect(addr("10.0.0.1:80")));
    for accepted in 1..=3 {
        settle(&sim);
        let connected = clients
            .iter()
            .filter(|client| client.is_connected())
            .count();
        assert_eq!(connected, accepted);
        accept(&port, &listener).unwrap();
    }
    assert_eq!(kind(accept(&port, &listener)), ErrorKind::WouldBlock);
}

#[test]
fn connects_given_up_leave_nothing_behind() {
    let (sim, port) = plain();
    let far = sim.listen(addr("10.0.0.2:80")).unwrap();
    far.set_backlog(0);
    for _ in 0..20 {
        let client = connect(&port, far.local_addr()).unwrap();
        settle(&sim);
        drop(client);
    }
    let last = connect(&port, far.local_addr()).unwrap();
    settle(&sim);
    assert_eq!(sim.descriptors(), 1);
    let mut tried = 0;
    far.set_backlog(9);
    while sim.step() {
        tried += 1;
    }
    assert!(tried <= 3, "{tried} connects were remembered");
    port.connect_result(&last).unwrap();
}

/// Whether an error is "too many open files", by its number.
fn exhausted(error: &io::Error) -> bool {
    error.raw_os_error() == Some(if cfg!(windows) { 10_024 } else { 24 })
}

#[test]
fn without_descriptors_nothing_is_opened_and_nothing_is_lost() {
    let (sim, port) = plain();
    let listener = listen(&port, "10.0.0.1:80").unwrap();
    let client = sim.connect(addr("10.0.0.1:80"));
    settle(&sim);
    sim.set_descriptors_max(Some(1));
    for _ in 0..2 {
        assert!(exhausted(&listen(&port, "10.0.0.1:81").unwrap_err()));
        assert!(exhausted(&connect(&port, addr("10.0.0.1:80")).unwrap_err()));
        assert!(exhausted(&accept(&port, &listener).unwrap_err()));
    }
    assert_eq!(sim.descriptors(), 1);
    assert!(client.is_connected(), "it waits on");
    sim.set_descriptors_max(Some(2));
    let (server, from) = accept(&port, &listener).unwrap();
    assert_eq!(from, client.local_addr().unwrap());
    assert!(exhausted(&accept(&port, &listener).unwrap_err()));
    drop(server);
    assert_eq!(kind(accept(&port, &listener)), ErrorKind::WouldBlock);
    sim.set_descriptors_max(None);
    assert!(connect(&port, addr("10.0.0.1:80")).is_ok());
}

#[test]
fn asked_for_buffers_bound_the_pipes() {
    let (sim, port) = plain();
    let small = |send, recv| SocketOptions {
        send_buffer_bytes: Some(send),
        recv_buffer_bytes: Some(recv),
        ..SocketOptions::default()
    };
    let listener = listen(&port, "10.0.0.1:80").unwrap();
    let peer = sim.connect(addr("10.0.0.1:80"));
    settle(&sim);
    let (server, _) = port.accept(&listener, &small(3, 5)).unwrap();
    assert_eq!(send(&port, &server, &[0; 64]).unwrap(), 3);
    assert_eq!(peer.write(&[0; 64]).unwrap(), 5);

    let far = sim.listen(addr("10.0.0.2:0")).unwrap();
    let client = port.connect(far.local_addr(), &small(7, 9)).unwrap();
    settle(&sim);
    let far = far.accept().unwrap();
    assert_eq!(send(&port, &client, &[0; 64]).unwrap(), 7);
    assert_eq!(far.write(&[0; 64]).unwrap(), 9);
}

#[test]
fn bytes_take_their_time_and_do_not_overtake() {
    let delay_max = Duration::from_millis(10);
    let (sim, port) = with(Faults {
        delay_max,
        ..Faults::none()
    });
    let (client, server) = pair(&sim, &port);
    let before = sim.now();
    for byte in 0..20 {
        send(&port, &client, &[byte]).unwrap();
    }
    port.shutdown_write(&client);
    settle(&sim);
    let took = sim.now() - before;
    assert!(
        took > Duration::from_millis(5) && took <= delay_max,
        "{took:?}"
    );
    assert_eq!(recv(&port, &server).unwrap(), (0..20).collect::<Vec<u8>>());
    assert_eq!(recv(&port, &server).unwrap(), b"");
}
