//! What a real system does to a server process: signals, a reader of its output that stalls, peers
//! that break off. Each test starts this very program again as the server.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use wharf::{Frame, Handler, Host, Refuse, Session, Timeouts};

/// No step takes longer, on a busy machine either.
const PATIENCE: Duration = Duration::from_secs(20);
/// What the server is to do, in its environment.
const PART: &str = "WHARF_REAL_FAULTS";
/// How the server ends by a SIGPIPE.
const BY_SIGPIPE: i32 = 70;

// ---- the server -----------------------------------------------------------------------------

/// Lines that the stalled printer has written.
static PRINTED: AtomicU64 = AtomicU64::new(0);

struct Part;

impl Handler for Part {
    type State = ();

    fn on_open(&self, _: &Session<Self>) -> Result<(), Refuse> {
        Ok(())
    }

    fn on_frame(&self, s: &Session<Self>, (): &mut (), f: Frame<'_>) -> wharf::Result<()> {
        match f.payload() {
            b"flood" => (0..64).try_for_each(|_| s.send(&[7; 4000]))?,
            b"printed" => s.send(&PRINTED.load(Ordering::SeqCst).to_le_bytes())?,
            b"pipe" => {
                // Not by wharf: a write that does raise SIGPIPE, to show that it would be seen.
                let (reader, mut writer) = std::io::pipe().unwrap();
                drop(reader);
                let _ = writer.write(b"x");
            }
            other => s.send(other)?,
        }
        Ok(())
    }
}

/// Not a test of its own: what the tests start.
#[test]
fn the_server() {
    let Ok(part) = std::env::var(PART) else {
        return;
    };
    let mut host = Host::new();
    host.set_drain_deadline(Duration::from_secs(120));
    let server = host.server("part", Part).workers(2).timeouts(Timeouts {
        linger: Duration::from_secs(120),
        ..Timeouts::default()
    });
    let network = server.listen("127.0.0.1:0").unwrap();
    host.stop_on_signal().unwrap();
    host.start().unwrap();
    say(&format!("listening on {}\n", network.local_addr().unwrap()));
    match part.as_str() {
        "sigpipe" => {
            let armed = Arc::new(AtomicBool::new(true));
            let signal = signal_hook::consts::SIGPIPE;
            signal_hook::flag::register_conditional_shutdown(signal, BY_SIGPIPE, armed).unwrap();
        }
        "stalled" => loop {
            // Until nobody reads it: then this thread hangs for good.
            say("a line of a log, as long as such lines are\n");
            PRINTED.fetch_add(1, Ordering::SeqCst);
        },
        _ => {}
    }
    host.run_until_signal().unwrap();
}

/// Past the test harness, which keeps what is printed.
fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).unwrap();
    out.flush().unwrap();
}

// ---- its parent -----------------------------------------------------------------------------

struct Server {
    child: Child,
    /// Kept open, and read no further.
    _stdout: ChildStdout,
    addr: SocketAddr,
}

impl Server {
    fn start(part: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "the_server", "--nocapture", "--test-threads=1"])
            .env(PART, part)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut stdout = child.stdout.take().unwrap();
        let mut said = String::new();
        let addr = loop {
            let mut byte = [0];
            stdout.read_exact(&mut byte).unwrap();
            said.push(char::from(byte[0]));
            let line = said.lines().last().unwrap_or_default();
            if let Some((_, addr)) = line.split_once("listening on ")
                && said.ends_with('\n')
            {
                break addr.parse().unwrap();
            }
        };
        Self {
            child,
            _stdout: stdout,
            addr,
        }
    }

    fn connect(&self) -> TcpStream {
        let peer = TcpStream::connect(self.addr).unwrap();
        peer.set_read_timeout(Some(PATIENCE)).unwrap();
        peer.set_nodelay(true).unwrap();
        peer
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let kill = Command::new("kill").args([name, &pid]).status().unwrap();
        assert!(kill.success(), "kill {name} {pid}: {kill}");
    }

    fn ended(&mut self) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(begun.elapsed() < PATIENCE, "the server did not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // In vain if it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn framed(payload: &[u8]) -> Vec<u8> {
    let mut wire = Vec::new();
    let framing = wharf::Framing::default();
    framing.encode(payload, &mut wire).unwrap();
    wire
}

fn ask(peer: &mut TcpStream, payload: &[u8]) -> Vec<u8> {
    peer.write_all(&framed(payload)).unwrap();
    let mut len = [0; 2];
    peer.read_exact(&mut len).unwrap();
    let mut reply = vec![0; usize::from(u16::from_le_bytes(len)) - 2];
    peer.read_exact(&mut reply).unwrap();
    reply
}

/// Peers that break off under a flood make sends fail with EPIPE; no signal comes with it.
#[test]
fn a_broken_connection_raises_no_sigpipe() {
    let mut server = Server::start("sigpipe");
    for _ in 0..50 {
        let mut peer = server.connect();
        peer.write_all(&framed(b"flood").repeat(4)).unwrap();
        peer.read_exact(&mut [0; 100]).unwrap();
        // Unread bytes make a reset of it.
        drop(peer);
    }
    let mut peer = server.connect();
    assert_eq!(ask(&mut peer, b"still there"), b"still there");
    assert_eq!(server.child.try_wait().unwrap(), None);
    // And a SIGPIPE would have been seen.
    peer.write_all(&framed(b"pipe")).unwrap();
    assert_eq!(server.ended().code(), Some(BY_SIGPIPE));
}

/// A log that nobody reads any more holds up the thread that writes it, and no worker.
#[test]
fn a_stalled_stdout_stalls_no_worker() {
    let server = Server::start("stalled");
    let mut peers = [(); 8].map(|()| server.connect());
    let printed = |peer: &mut TcpStream| {
        let lines = ask(peer, b"printed");
        u64::from_le_bytes(lines.try_into().unwrap())
    };
    // A pipe takes 64 KiB or so; then no line is added however long one looks.
    let (mut last, mut same) = (0, 0);
    let begun = Instant::now();
    while same < 20 || last == 0 {
        let now = printed(&mut peers[0]);
        same = if now == last { same + 1 } else { 0 };
        last = now;
        assert!(begun.elapsed() < PATIENCE, "it prints on and on");
        std::thread::sleep(Duration::from_millis(5));
    }
    for nth in 0..200_u32 {
        for peer in &mut peers {
            assert_eq!(ask(peer, &nth.to_le_bytes()), nth.to_le_bytes());
        }
    }
    assert_eq!(printed(&mut peers[0]), last, "the printer hangs all along");
}

/// The first signal drains: what was accepted comes, then the end of the stream, and who does not
/// part is waited for. The second one ends the wait.
#[test]
fn a_second_signal_ends_the_drain() {
    let mut server = Server::start("drain");
    let mut peer = server.connect();
    assert_eq!(ask(&mut peer, b"hello"), b"hello");
    server.signal("-TERM");
    let mut rest = Vec::new();
    peer.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"", "an end of stream, no reset");
    let refused = TcpStream::connect(server.addr).map(|mut late| late.read(&mut [0; 1]));
    let served = matches!(refused, Ok(Ok(1..)));
    assert!(!served, "nobody new is served");
    assert_eq!(server.child.try_wait().unwrap(), None, "it waits for us");
    server.signal("-TERM");
    assert!(server.ended().success());
    // Cut off, one way or the other.
    let cut = peer.write_all(b"x").and_then(|()| peer.read(&mut [0; 1]));
    assert!(!matches!(cut, Ok(1..)), "{cut:?}");
}

/// A signal while the drain is under way for whose end nobody has to wait changes nothing.
#[test]
fn a_signal_during_a_drain_that_ends_does_no_harm() {
    let mut server = Server::start("drain");
    let mut peers = [(); 4].map(|()| server.connect());
    for peer in &mut peers {
        assert_eq!(ask(peer, b"hello"), b"hello");
        peer.write_all(&framed(b"flood")).unwrap();
    }
    let counts = peers.map(|mut peer| {
        let reads = move || {
            let mut got = Vec::new();
            loop {
                match peer.read(&mut [0; 10_000]) {
                    Ok(0) => return Ok(got.len()),
                    Ok(n) => got.resize(got.len() + n, 0),
                    Err(error) if error.kind() == ErrorKind::ConnectionReset => {
                        return Err(got.len());
                    }
                    Err(error) => panic!("{error}"),
                }
            }
        };
        let reader = std::thread::Builder::new().name("reader".into());
        reader.spawn(reads).unwrap()
    });
    server.signal("-INT");
    server.signal("-TERM");
    assert!(server.ended().success());
    for count in counts {
        let (Ok(bytes) | Err(bytes)) = count.join().unwrap();
        assert!(bytes <= 64 * 4002, "nothing is doubled");
    }
}
