//! Arguments that Wine does not mind and Windows does.

use std::os::windows::io::AsRawSocket;

use super::super::trace::{self, Call};
use super::*;
use crate::Host;

/// Windows' smallest length of an address in AcceptEx's buffer: the largest address and 16 bytes.
const ADDRESS_MIN: u32 = 128 + 16;

fn ports(calls: &[Call]) -> Vec<u32> {
    let port = |call: &Call| match call {
        Call::Port { concurrency } => Some(*concurrency),
        _ => None,
    };
    calls.iter().filter_map(port).collect()
}

#[test]
fn the_concurrency_is_the_ports_workers_or_what_was_asked_for() {
    let mut host = Host::new().with_backend("iocp");
    trace::take();
    let _one = host.port("one").workers(2).build().unwrap();
    let _two = host
        .port("two")
        .workers(2)
        .workers_limit(7)
        .build()
        .unwrap();
    let _three = host
        .port("three")
        .workers(4)
        .concurrency(0)
        .build()
        .unwrap();
    let _four = host.port("four").workers(4).concurrency(3).build().unwrap();
    assert_eq!(ports(&trace::take()), [2, 7, 0, 3]);
}

#[test]
fn the_concurrency_of_a_topology_file_is_what_the_system_gets() {
    let text = "[port.all]\nworkers = 4\nworkers_limit = 6\n\
                [port.some]\nworkers = 4\nconcurrency = 2\n\
                [port.cores]\nworkers = 4\nconcurrency = 0\n\
                [port.more]\nworkers = \"cores\"\nconcurrency = 1000\n\
                [network.game]\nlisten = \"127.0.0.1:0\"\nport = \"all\"\n";
    let topology = crate::Topology::parse(text, "text").unwrap();
    trace::take();
    let host = Host::new().with_backend("iocp").with_topology(topology);
    assert!(host.is_ok());
    let cores = u32::try_from(crate::port::cores()).unwrap();
    assert_eq!(ports(&trace::take()), [6, 2, 0, cores]);
}

/// The system keeps a priority that it does not obey under Wine; which one it was told stays.
#[test]
fn the_workers_tell_the_system_their_priority_and_cores() {
    for (nice, expected) in [
        (10, "priority -1,"),
        (-20, "priority 2,"),
        (0, "priority 0,"),
    ] {
        let mut host = Host::new().with_backend("iocp");
        let port = host.port("set").workers(1).nice(nice).cores([0]);
        let port = port.build().unwrap();
        host.start().unwrap();
        let (tell, told) = std::sync::mpsc::sync_channel(1);
        port.post(move || tell.send(crate::system::own_thread()).unwrap())
            .unwrap();
        let told = told.recv_timeout(PATIENCE).unwrap().unwrap();
        assert!(told.starts_with(expected), "nice {nice}: {told}");
        assert!(told.contains("processors 0x1 of group 0"), "{told}");
        assert_eq!(port.refused_settings(), Vec::<String>::new());
        host.stop().unwrap();
    }
}

#[test]
fn a_listener_is_exclusive_and_keeps_as_many_accepts_as_asked_for() {
    let port = open();
    trace::take();
    let options = ListenOptions {
        accepts_outstanding: 5,
        ..ListenOptions::default()
    };
    let listener = port.listen(local(), &options).unwrap();
    assert_eq!(trace::take(), [Call::Exclusive]);
    port.register(LISTENER, &listener).unwrap();
    let accepts = trace::take();
    assert_eq!(accepts.len(), 5);
    for call in accepts {
        let Call::AcceptEx {
            listens,
            first_data,
            local,
            remote,
        } = call
        else {
            panic!("{call:?}");
        };
        assert!(listens, "Windows refuses any other socket");
        assert_eq!(first_data, 0, "a connection counts without its first bytes");
        assert!(local >= ADDRESS_MIN && remote >= ADDRESS_MIN, "{call:?}");
    }
}

#[test]
fn an_accepted_socket_is_told_its_listener_and_replaced() {
    let port = open();
    let listener = port.listen(local(), &ListenOptions::default()).unwrap();
    let addr = port.local_addr(&listener).unwrap();
    port.register(LISTENER, &listener).unwrap();
    trace::take();
    let peer = TcpStream::connect(addr).unwrap();
    until(&port, LISTENER, Bits::READ);
    let (_socket, from) = port.accept(&listener, &SocketOptions::default()).unwrap();
    assert_eq!(from, peer.local_addr().unwrap());
    let number = {
        let Kind::Listener(listener) = &listener.iocp().unwrap().0 else {
            panic!("a listener");
        };
        let entered = listener.handle.enter().unwrap();
        std::os::windows::io::AsSocket::as_socket(&entered).as_raw_socket()
    };
    let calls = trace::take();
    let [Call::AcceptEx { .. }, Call::UpdateAccept { listener }] = calls[..] else {
        panic!("{calls:?}");
    };
    assert_eq!(listener as u64, number, "the value is the listener itself");
}

#[test]
fn a_connect_is_bound_first_and_made_whole_after() {
    let listener = TcpListener::bind(local()).unwrap();
    let port = open();
    trace::take();
    let options = SocketOptions::default();
    let socket = port
        .connect(listener.local_addr().unwrap(), &options)
        .unwrap();
    assert_eq!(trace::take(), [Call::ConnectEx { is_bound: true }]);
    port.register(STREAM, &socket).unwrap();
    until(&port, STREAM, Bits::WRITE);
    assert_eq!(trace::take(), [Call::UpdateConnect]);
}

/// The names that Windows gives only after the update.
#[test]
fn both_ends_have_names_and_can_be_shut_down() {
    let port = open();
    let listener = port.listen(local(), &ListenOptions::default()).unwrap();
    let addr = port.local_addr(&listener).unwrap();
    let client = port.connect(addr, &SocketOptions::default()).unwrap();
    port.register(STREAM, &client).unwrap();
    until(&port, STREAM, Bits::WRITE);
    let mut accepted = None;
    pump(&port, "an accept", || {
        accepted = port.accept(&listener, &SocketOptions::default()).ok();
        accepted.is_some()
    });
    let (server, _) = accepted.unwrap();
    for socket in [&client, &server] {
        let owned = stream(socket).unwrap();
        let entered = owned.handle.enter().unwrap();
        let socket = socket2::SockRef::from(&entered);
        assert!(socket.peer_addr().is_ok() && socket.local_addr().is_ok());
        socket.shutdown(std::net::Shutdown::Write).unwrap();
    }
}
