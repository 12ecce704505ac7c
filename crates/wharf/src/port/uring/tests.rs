//! What the system may refuse, and when; and the ends that a ring comes to.

use std::collections::BTreeMap;
use std::io::{ErrorKind, IoSlice, Read};
use std::net::{TcpListener, TcpStream};
use std::thread;

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

use super::*;
use crate::port::contract::BATCH_MAX;
use crate::port::socket::Socket;
use crate::port::{PortOptions, open_backend};

/// From now on this thread, and no other, gets `errno` for these system calls.
fn refuse(calls: &[i64], errno: i32) {
    let filter = SeccompFilter::new(
        calls
            .iter()
            .map(|call| (*call, Vec::new()))
            .collect::<BTreeMap<_, _>>(),
        SeccompAction::Allow,
        SeccompAction::Errno(errno.cast_unsigned()),
        std::env::consts::ARCH.try_into().unwrap(),
    );
    let program: BpfProgram = filter.unwrap().try_into().unwrap();
    seccompiler::apply_filter(&program).unwrap();
}

/// Runs it on a thread of its own, where rings are to be had; says so if they are not.
fn on_a_thread(body: impl FnOnce() + Send + 'static) {
    if let Err(error) = Uring::open() {
        let line = format!(
            "skipped: {}: {error}\n",
            thread::current().name().unwrap_or("")
        );
        io::Write::write_all(&mut io::stderr(), line.as_bytes()).unwrap();
        return;
    }
    thread::Builder::new()
        .name("ring".into())
        .spawn(body)
        .unwrap()
        .join()
        .unwrap();
}

/// Connections: our ends, and the peers'.
fn pairs(count: usize) -> (Vec<Socket>, Vec<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let pair = |_| {
        let peer = TcpStream::connect(addr).unwrap();
        let (own, _) = listener.accept().unwrap();
        own.set_nonblocking(true).unwrap();
        (Socket::from(socket2::Socket::from(own)), peer)
    };
    (0..count).map(pair).unzip()
}

/// Sends `bytes` to all; what the ring made of it.
fn send_by_ring(ring: &mut Ring, sockets: &[Socket], bytes: &[u8]) -> (usize, Option<io::Error>) {
    let from = [IoSlice::new(bytes)];
    let mut writes = writes(sockets, &from);
    let (made, stopped) = ring.send(&mut writes);
    for write in &writes[..made] {
        assert_eq!(write.wrote.as_ref().unwrap(), &bytes.len());
    }
    (made, stopped)
}

fn writes<'a>(sockets: &'a [Socket], from: &'a [IoSlice<'a>]) -> Vec<Write<'a>> {
    let write = |socket| Write {
        socket,
        from,
        wrote: Ok(0),
    };
    sockets.iter().map(write).collect()
}

fn all_get(peers: &mut [TcpStream], bytes: &[u8]) {
    for peer in peers {
        let mut got = vec![0; bytes.len()];
        peer.read_exact(&mut got).unwrap();
        assert_eq!(got, bytes);
    }
}

/// A kernel without rings, a container that forbids them, and a filter that allows the ring but
/// not its use: each is an error, and `auto` takes the next backend.
#[test]
fn a_refused_ring_is_told_and_auto_goes_on() {
    for (call, errno) in [
        (libc::SYS_io_uring_setup, libc::EPERM),
        (libc::SYS_io_uring_setup, libc::ENOSYS),
        (libc::SYS_io_uring_setup, libc::ENOMEM),
        (libc::SYS_io_uring_register, libc::EPERM),
        (libc::SYS_io_uring_enter, libc::EPERM),
    ] {
        on_a_thread(move || {
            refuse(&[call], errno);
            let error = Uring::open().unwrap_err();
            assert_eq!(error.raw_os_error(), Some(errno), "call {call}: {error}");
            let options = PortOptions::default();
            let forced = open_backend(Some("uring"), &options)
                .err()
                .unwrap()
                .to_string();
            assert!(forced.contains("\"uring\" does not work here"), "{forced}");
            let taken = open_backend(Some("auto"), &options).unwrap();
            assert_eq!(taken.name(), "epoll");
            let report = crate::port::backends();
            let report = report.iter().find(|report| report.name == "uring").unwrap();
            let problem = report.problem.as_ref().unwrap();
            assert!(problem.contains("epoll"), "it says what to do: {problem}");
        });
    }
}

/// A worker whose ring is refused after its port was opened sends all the same.
#[test]
fn a_worker_without_a_ring_sends_one_by_one() {
    for refused in [libc::SYS_io_uring_setup, libc::SYS_io_uring_enter] {
        on_a_thread(move || {
            let backend = Uring::open().unwrap();
            let worker = crate::port::PortCore::pool(
                "worker".to_owned(),
                std::sync::Arc::new(crate::port::Parking::default()),
                Vec::new(),
            );
            let worker = std::sync::Arc::new(worker);
            worker.prepare(1, 0);
            let was = current::enter(&worker, &worker.slots()[0]);
            let (sockets, mut peers) = pairs(6);
            let from = [IoSlice::new(b"before")];
            if refused == libc::SYS_io_uring_enter {
                Sockets::send_batch(&backend, &mut writes(&sockets, &from));
                all_get(&mut peers, b"before");
            }
            refuse(&[refused], libc::EPERM);
            for _ in 0..2 {
                let from = [IoSlice::new(b"after")];
                let mut writes = writes(&sockets, &from);
                Sockets::send_batch(&backend, &mut writes);
                assert!(writes.iter().all(|write| matches!(write.wrote, Ok(5))));
                all_get(&mut peers, b"after");
            }
            assert!(RING.with_borrow(|place| matches!(place, Place::Refused)));
            current::back_to(was);
        });
    }
}

/// What the kernel has not taken when it refuses is not sent by the ring, then or later.
#[test]
fn a_refused_submit_sends_nothing() {
    on_a_thread(|| {
        let mut ring = Ring::open().unwrap();
        let (sockets, mut peers) = pairs(4);
        assert!(matches!(
            send_by_ring(&mut ring, &sockets, b"one"),
            (4, None)
        ));
        all_get(&mut peers, b"one");
        refuse(&[libc::SYS_io_uring_enter], libc::EBUSY);
        let (made, stopped) = send_by_ring(&mut ring, &sockets, b"two");
        assert_eq!(
            (made, stopped.unwrap().raw_os_error()),
            (0, Some(libc::EBUSY))
        );
        // It is closed, so that not even a later call finds the entries.
        let (made, stopped) = send_by_ring(&mut ring, &sockets, b"three");
        assert_eq!((made, stopped.unwrap().kind()), (0, ErrorKind::Unsupported));
        drop(sockets);
        for mut peer in peers {
            assert_eq!(peer.read(&mut [0; 8]).unwrap(), 0, "nothing came");
        }
    });
}

/// More writes than the ring has places: as many as it has, and it can be used again at once.
#[test]
fn a_full_ring_takes_what_it_can() {
    on_a_thread(|| {
        let mut ring = Ring::open().unwrap();
        let (sockets, mut peers) = pairs(BATCH_MAX + 5);
        for round in 0..3 {
            let (made, stopped) = send_by_ring(&mut ring, &sockets, b"full");
            assert!(stopped.is_none(), "round {round}: {stopped:?}");
            assert_eq!(made, BATCH_MAX);
            all_get(&mut peers[..made], b"full");
        }
    });
}

/// A child that was forked has the parent's ring in its memory, and lets it be.
#[test]
fn another_process_uses_no_ring_of_ours() {
    on_a_thread(|| {
        let mut ring = Ring::open().unwrap();
        ring.set_process(1);
        let (sockets, _peers) = pairs(4);
        let (made, stopped) = send_by_ring(&mut ring, &sockets, b"child");
        assert_eq!((made, stopped.unwrap().kind()), (0, ErrorKind::Unsupported));
    });
}

/// A thread that ends takes its ring along: no descriptor stays.
#[test]
fn a_ring_ends_with_its_thread() {
    let rings = || {
        let open = std::fs::read_dir("/proc/self/fd").unwrap();
        let target = |fd: io::Result<std::fs::DirEntry>| std::fs::read_link(fd.ok()?.path()).ok();
        let is_ring = |path: &std::path::PathBuf| path.to_string_lossy().contains("[io_uring]");
        open.filter_map(target).filter(is_ring).count()
    };
    // Other tests open and close rings meanwhile: far more threads than they have.
    const THREADS: usize = 100;
    for _ in 0..THREADS {
        on_a_thread(|| {
            let (sockets, _peers) = pairs(4);
            let from = [IoSlice::new(b"x")];
            assert_eq!(by_ring(&mut writes(&sockets, &from)), 4);
        });
    }
    assert!(rings() < THREADS, "{} rings are open", rings());
}
