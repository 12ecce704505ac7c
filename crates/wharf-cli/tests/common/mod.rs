//! A small framed server with a behaviour, on std::net and named threads only, and a way to run the
//! program against it.
#![allow(dead_code, reason = "each test file uses its part")]

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use serde_json::Value;

/// Where a frame goes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum To {
    /// Back to the connection it came from.
    Back,
    /// To the connection accepted as number `.0`.
    Peer(usize),
    /// To every connection.
    All,
}

/// What one connection does with its `n`th frame (from 0): the frames to send.
pub(crate) type Answer = Box<dyn FnMut(u64, Vec<u8>) -> Vec<(To, Vec<u8>)> + Send>;

/// Makes the behaviour of the connection accepted as number `.0`.
type Behaviour = Box<dyn Fn(usize) -> Answer + Send>;

/// Shared by the threads of a server.
#[derive(Default)]
struct Room {
    peers: Mutex<Vec<TcpStream>>,
    stop: AtomicBool,
}

impl Room {
    fn peers(&self) -> std::sync::MutexGuard<'_, Vec<TcpStream>> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A server on an ephemeral loopback port; dropping it ends and joins its threads.
pub(crate) struct Server {
    pub(crate) addr: SocketAddr,
    room: Arc<Room>,
    acceptor: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts a server whose connections each have the behaviour that `behaviour` makes.
    pub(crate) fn start(behaviour: impl Fn(usize) -> Answer + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let room = Arc::new(Room::default());
        let acceptor = Builder::new().name("test-accept".into()).spawn({
            let room = Arc::clone(&room);
            move || accept(&listener, &room, &(Box::new(behaviour) as Behaviour))
        });
        Self {
            addr,
            room,
            acceptor: Some(acceptor.unwrap()),
        }
    }

    /// A server whose connections all answer with `answer`.
    pub(crate) fn simple(
        answer: impl Fn(u64, Vec<u8>) -> Vec<(To, Vec<u8>)> + Send + Sync + Clone + 'static,
    ) -> Self {
        Self::start(move |_| Box::new(answer.clone()))
    }

    /// Connections accepted so far.
    pub(crate) fn accepted(&self) -> usize {
        self.room.peers().len()
    }

    /// Addresses of the connections accepted so far that are still there.
    pub(crate) fn peer_addrs(&self) -> Vec<SocketAddr> {
        self.room
            .peers()
            .iter()
            .filter_map(|peer| peer.peer_addr().ok())
            .collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.room.stop.store(true, Ordering::Release);
        // Wakes the acceptor.
        let _ = TcpStream::connect(self.addr);
        for peer in self.room.peers().iter() {
            let _ = peer.shutdown(Shutdown::Both);
        }
        let _ = self.acceptor.take().map(JoinHandle::join);
    }
}

fn accept(listener: &TcpListener, room: &Arc<Room>, behaviour: &Behaviour) {
    let mut threads = Vec::new();
    while let Ok((stream, _)) = listener.accept() {
        if room.stop.load(Ordering::Acquire) {
            break;
        }
        stream.set_nodelay(true).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        stream
            .set_write_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        let mut peers = room.peers();
        let number = peers.len();
        peers.push(stream.try_clone().unwrap());
        drop(peers);
        let (room, answer) = (Arc::clone(room), behaviour(number));
        let thread = Builder::new().name(format!("test-conn-{number}"));
        threads.push(
            thread
                .spawn(move || serve(&room, number, stream, answer))
                .unwrap(),
        );
    }
    for thread in threads {
        let _ = thread.join();
    }
}

/// Reads whole frames, and stops at the end of the stream or when the answer is to close.
fn serve(room: &Room, number: usize, mut stream: TcpStream, mut answer: Answer) {
    let mut header = [0; 2];
    for count in 0.. {
        if stream.read_exact(&mut header).is_err() {
            break;
        }
        let mut frame = vec![0; usize::from(u16::from_le_bytes(header))];
        frame[..2].copy_from_slice(&header);
        if stream.read_exact(&mut frame[2..]).is_err() {
            break;
        }
        for (to, frame) in answer(count, frame) {
            if frame.is_empty() {
                let _ = stream.shutdown(Shutdown::Both);
            }
            let peers = room.peers();
            let targets = match to {
                To::Back => &peers[number..=number],
                To::Peer(peer) => &peers[peer..=peer],
                To::All => &peers[..],
            };
            for mut target in targets {
                let _ = target.write_all(&frame);
            }
        }
    }
    // The list keeps a clone open; the peer must see the end all the same.
    let _ = stream.shutdown(Shutdown::Both);
}

/// Runs `wharf load --connect ADDR` with more arguments, given as one line.
pub(crate) fn load(addr: SocketAddr, line: &str) -> Output {
    wharf(&format!("load --connect {addr} {line}"))
}

/// Runs the program.
pub(crate) fn wharf(line: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_wharf"))
        .args(line.split_whitespace())
        .output()
        .unwrap()
}

/// The one JSON object on standard output, and the exit code.
pub(crate) fn json(output: &Output) -> (Value, i32) {
    let text = text(&output.stdout);
    assert_eq!(
        text.lines().count(),
        1,
        "one object and nothing else: {text}{}",
        stderr(output)
    );
    (
        serde_json::from_str(&text).unwrap(),
        output.status.code().unwrap(),
    )
}

/// Standard error as text.
pub(crate) fn stderr(output: &Output) -> String {
    text(&output.stderr)
}

/// Bytes as text.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Every fault of the report.
const FAULTS: [&str; 7] = [
    "lost",
    "doubled",
    "reordered",
    "corrupt",
    "misrouted",
    "connect_failed",
    "closed_by_peer",
];

/// A server that behaves.
pub(crate) fn echo() -> Server {
    Server::simple(|_, frame| vec![(To::Back, frame)])
}

/// A count in the report.
pub(crate) fn number(report: &Value, name: &str) -> u64 {
    report[name]
        .as_u64()
        .unwrap_or_else(|| panic!("{name} is no number in {report}"))
}

/// Runs with `--json` and checks that exactly these faults were counted, and nothing else.
pub(crate) fn expect(server: &Server, line: &str, faults: &[(&str, u64)]) -> Value {
    let output = load(server.addr, &format!("{line} --json"));
    let (report, code) = json(&output);
    for name in FAULTS {
        let wanted = faults
            .iter()
            .find(|fault| fault.0 == name)
            .map_or(0, |fault| fault.1);
        assert_eq!(number(&report, name), wanted, "{name} of {line}: {report}");
    }
    let fault = faults.iter().any(|fault| fault.1 > 0);
    assert_eq!(code, i32::from(fault), "{report}");
    assert_eq!(report["fault"], fault);
    assert_eq!(report["first_fault"].is_string(), fault);
    report
}
