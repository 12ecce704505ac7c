//! The bare servers over real sockets: they must be right before their speed means anything.
#![cfg(target_os = "linux")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const EPOLL: &str = env!("CARGO_BIN_EXE_bare_epoll");

/// Runs a test on each server that this system can run.
fn each(test: fn(&str)) {
    test(EPOLL);
    if has_ring() {
        test(env!("CARGO_BIN_EXE_bare_ring"));
    } else {
        eprintln!("skipped: bare_ring (no io_uring here)");
    }
}

fn has_ring() -> bool {
    let switch = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled");
    switch.is_ok_and(|value| value.trim() == "0")
}

struct Running {
    child: Child,
    address: String,
}

impl Running {
    fn start(program: &str) -> Self {
        Self::start_as(program, "echo")
    }

    fn start_as(program: &str, service: &str) -> Self {
        let mut child = Command::new(program)
            .args([service, "--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("bare_epoll starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("stdout is piped");
        BufReader::new(stdout)
            .read_line(&mut line)
            .expect("a first line");
        let address = line
            .trim()
            .strip_prefix("listening on ")
            .expect("the address")
            .to_owned();
        Self { child, address }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).expect("connects");
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .expect("a read timeout");
        stream
            .set_write_timeout(Some(Duration::from_secs(10)))
            .expect("a write timeout");
        stream.set_nodelay(true).expect("nodelay");
        stream
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Already gone in the test that ends it itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn frame(id: u16, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + payload.len()).expect("fits u16");
    [&length.to_le_bytes(), &id.to_le_bytes(), payload].concat()
}

fn expect_back(stream: &mut TcpStream, sent: &[u8]) {
    let mut back = vec![0; sent.len()];
    stream
        .read_exact(&mut back)
        .expect("every frame comes back");
    assert!(back == sent, "the bytes came back changed");
}

#[test]
fn frames_come_back_however_they_are_cut() {
    each(|program| {
        let server = Running::start(program);
        let mut stream = server.connect();
        let frames: Vec<u8> = (0..40_u8)
            .flat_map(|n| frame(u16::from(n), &vec![n; usize::from(n) * 7]))
            .collect();
        for piece_bytes in [1, 3, 5, 997, frames.len()] {
            for piece in frames.chunks(piece_bytes) {
                stream.write_all(piece).expect("writes");
            }
            expect_back(&mut stream, &frames);
        }
    });
}

#[test]
fn a_client_that_reads_late_loses_nothing() {
    each(|program| {
        let server = Running::start(program);
        let mut writer = server.connect();
        let mut reader = writer.try_clone().expect("clones");
        // More than both socket buffers hold, so replies are cut by partial writes.
        let frames: Vec<u8> = (0..400_u16)
            .flat_map(|id| frame(id, &[0x5a; 60_000]))
            .collect();
        let expected = frames.clone();
        let writing = std::thread::Builder::new()
            .name("late-writer".into())
            .spawn(move || writer.write_all(&frames))
            .expect("a thread");
        std::thread::sleep(Duration::from_millis(300));
        expect_back(&mut reader, &expected);
        writing.join().expect("no panic").expect("all written");
    });
}

#[test]
fn a_bad_length_closes_only_its_own_connection() {
    each(|program| {
        let server = Running::start(program);
        let (mut good, mut bad) = (server.connect(), server.connect());
        bad.write_all(&[2, 0, 0, 0]).expect("writes");
        assert_eq!(bad.read(&mut [0; 8]).expect("an end of stream"), 0);
        let hello = frame(1, b"hello");
        good.write_all(&hello).expect("writes");
        expect_back(&mut good, &hello);
        // Its slot is free again.
        let mut next = server.connect();
        next.write_all(&hello).expect("writes");
        expect_back(&mut next, &hello);
    });
}

#[test]
fn the_last_frames_before_an_end_of_stream_are_answered() {
    each(|program| {
        let server = Running::start(program);
        let mut stream = server.connect();
        let hello = frame(1, b"bye");
        stream.write_all(&hello).expect("writes");
        stream
            .shutdown(std::net::Shutdown::Write)
            .expect("shuts down");
        expect_back(&mut stream, &hello);
        assert_eq!(stream.read(&mut [0; 8]).expect("an end of stream"), 0);
    });
}

#[test]
fn a_room_sends_every_frame_to_all_in_order() {
    each(|program| {
        let server = Running::start_as(program, "broadcast");
        // Who has heard its own frame is in the room, before the next one comes.
        let mut members: Vec<TcpStream> = Vec::new();
        for id in 0..9 {
            let mut member = server.connect();
            let hello = frame(id, b"hello");
            member.write_all(&hello).expect("writes");
            expect_back(&mut member, &hello);
            members.push(member);
        }
        for (own, member) in (0..).zip(&mut members) {
            let later: Vec<u8> = (own + 1..9).flat_map(|id| frame(id, b"hello")).collect();
            expect_back(member, &later);
        }
        for (id, size) in [(20, 8), (21, 700), (22, 40_000)] {
            let news = frame(id, &vec![7; size]);
            members[usize::from(id) % 9]
                .write_all(&news)
                .expect("writes");
            members
                .iter_mut()
                .for_each(|member| expect_back(member, &news));
        }
    });
}

#[test]
fn sigterm_ends_it_with_success() {
    let mut server = Running::start(EPOLL);
    let _open = server.connect();
    let pid = server.child.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-TERM", &pid])
            .status()
            .expect("kill runs")
            .success()
    );
    let status = server.child.wait().expect("it ends");
    assert!(status.success(), "{status}");
}

#[test]
fn a_wrong_option_is_named() {
    let output = Command::new(EPOLL)
        .args(["--listen", "nowhere"])
        .output()
        .expect("bare_epoll starts");
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(
        text.contains("--listen nowhere") && text.contains("usage:"),
        "{text}"
    );
}
