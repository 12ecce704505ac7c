//! Restarts without loss: listeners that go from process to process.
#![allow(
    clippy::unwrap_used,
    reason = "tests; clippy does not see that in a helper"
)]
// Where no listener can be passed on, `hand_over_at` says so: tests/guarantees/refusals.rs.
#![cfg(unix)]

mod example_process;

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use example_process::PATIENCE;
use wharf::{ErrorKind, Frame, Handler, Host, Network, Refuse, Session};

/// Answers with the number of its host in front.
struct Echo(u8);

impl Handler for Echo {
    type State = ();

    fn on_open(&self, _: &Session<Self>) -> Result<(), Refuse> {
        Ok(())
    }

    fn on_frame(&self, s: &Session<Self>, (): &mut (), frame: Frame<'_>) -> wharf::Result<()> {
        Ok(s.send(&[&[self.0], frame.payload()].concat())?)
    }
}

/// A folder of this test's own.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("wharf-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn socket(&self) -> PathBuf {
        self.0.join("socket")
    }

    fn files(&self) -> usize {
        std::fs::read_dir(&self.0).unwrap().count()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn host(number: u8, folder: &Folder, listen: SocketAddr) -> (Host, Network<Echo>, bool) {
    let mut host = Host::new();
    let taken = host.hand_over_at(folder.socket(), PATIENCE).unwrap();
    let net = host.server("game", Echo(number)).workers(2);
    let net = net.listen(listen).unwrap();
    host.start().unwrap();
    (host, net, taken)
}

fn connect(addr: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(addr)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Sends a number and reads it back; returns who answered.
fn ask(stream: &mut TcpStream, number: u32) -> io::Result<u8> {
    let mut wire = vec![6, 0];
    wire.extend(number.to_le_bytes());
    stream.write_all(&wire)?;
    let mut back = [0; 7];
    stream.read_exact(&mut back)?;
    assert_eq!((back[0], &back[3..]), (7, &wire[2..]), "another answer");
    Ok(back[2])
}

/// Three replacements while clients come, speak and go, and others stay: no connect is refused, no
/// frame is lost, and each host ends once its sessions have left.
#[test]
fn a_restart_under_load_loses_nothing() {
    let folder = Folder::new("load");
    let (first, net, taken) = host(0, &folder, SocketAddr::from(([127, 0, 0, 1], 0)));
    assert!(!taken, "there was nobody before");
    let addr = net.local_addr().unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let (served, highest) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..4_u32)
        .map(|client| {
            let over = Arc::clone(&over);
            let (served, highest) = (Arc::clone(&served), Arc::clone(&highest));
            let run = move || {
                let mut round = 0;
                while !over.load(Ordering::Relaxed) {
                    let mut stream = connect(addr).expect("no connect is refused");
                    let mut who = None;
                    // Client 3 stays for long, so that it sees its host drain.
                    for n in 0..if client == 3 { 500 } else { 5 } {
                        let number = client << 24 | round << 12 | n;
                        let by = ask(&mut stream, number).expect("no frame is lost");
                        assert_eq!(*who.get_or_insert(by), by, "a session changed its host");
                        highest.fetch_max(usize::from(by), Ordering::Relaxed);
                        served.fetch_add(1, Ordering::Relaxed);
                    }
                    round += 1;
                }
            };
            let thread = std::thread::Builder::new().name(format!("client-{client}"));
            thread.spawn(run).unwrap()
        })
        .collect();
    let until = |what: &str, holds: &dyn Fn() -> bool| {
        let began = std::time::Instant::now();
        while !holds() {
            assert!(began.elapsed() < PATIENCE, "waited in vain until {what}");
            std::thread::sleep(Duration::from_millis(2));
        }
    };
    let mut old = first;
    for number in 1..=3 {
        let before = served.load(Ordering::Relaxed);
        until("clients are served", &|| {
            served.load(Ordering::Relaxed) > before + 100
        });
        let (new, net, taken) = host(number, &folder, addr);
        assert!(taken, "there was somebody");
        assert_eq!(net.local_addr(), Some(addr));
        // It ends by itself, when the sessions that it has have left.
        old.run_until_signal().unwrap();
        let stats = old.stats().networks[0].clone();
        assert_eq!(stats.sessions_live, 0);
        assert_eq!(stats.frames_lost, 0);
        assert_eq!(stats.closes_named("shutdown"), 0, "somebody was sent away");
        until("the new one serves", &|| {
            highest.load(Ordering::Relaxed) == usize::from(number)
        });
        old = new;
    }
    over.store(true, Ordering::Relaxed);
    for client in clients {
        client.join().unwrap();
    }
    old.stop().unwrap();
    assert_eq!(folder.files(), 0, "the last one leaves nothing behind");
}

/// A successor that dies before it serves changes nothing.
#[test]
fn a_successor_that_fails_changes_nothing() {
    let folder = Folder::new("fails");
    let (mut old, net, _) = host(1, &folder, SocketAddr::from(([127, 0, 0, 1], 0)));
    let addr = net.local_addr().unwrap();
    for _ in 0..3 {
        let mut new = Host::new();
        assert!(new.hand_over_at(folder.socket(), PATIENCE).unwrap());
        new.server("game", Echo(2)).listen(addr).unwrap();
        drop(new);
        assert_eq!(ask(&mut connect(addr).unwrap(), 7).unwrap(), 1);
    }
    assert_eq!(folder.files(), 1);
    let (mut new, net, taken) = host(3, &folder, addr);
    assert!(taken);
    old.run_until_signal().unwrap();
    assert_eq!(ask(&mut connect(addr).unwrap(), 7).unwrap(), 3);
    drop(net);
    new.stop().unwrap();
}

/// A server whose address has changed binds the new one.
#[test]
fn another_address_is_bound_anew() {
    let folder = Folder::new("moved");
    let (mut old, net, _) = host(1, &folder, SocketAddr::from(([127, 0, 0, 1], 0)));
    let before = net.local_addr().unwrap();
    let (mut new, net, _) = host(2, &folder, SocketAddr::from(([127, 0, 0, 2], 0)));
    let after = net.local_addr().unwrap();
    assert_ne!(before.ip(), after.ip());
    old.run_until_signal().unwrap();
    assert_eq!(ask(&mut connect(after).unwrap(), 7).unwrap(), 2);
    assert!(connect(before).is_err(), "nobody listens there any more");
    new.stop().unwrap();
}

#[test]
fn what_can_not_be_handed_over_is_named() {
    let mut host = Host::new();
    let nowhere = "/nowhere/to/be/found/socket";
    let error = host.hand_over_at(nowhere, PATIENCE).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Listen);
    assert!(error.to_string().contains(nowhere), "{error}");
    let error = host.server("game", Echo(0)).listen_inherited("game");
    let error = error.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Listen);
    for part in ["\"game\"", "no socket was passed", ".socket unit"] {
        assert!(error.to_string().contains(part), "{error}");
    }
}

/// A listener of one's own.
#[test]
fn a_listener_bound_elsewhere_is_served() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    // Waits in the backlog before anybody serves.
    let mut early = connect(addr).unwrap();
    let mut host = Host::new();
    let net = host.server("game", Echo(9)).listen_on(listener).unwrap();
    host.start().unwrap();
    assert_eq!(net.local_addr(), Some(addr));
    assert_eq!(ask(&mut early, 1).unwrap(), 9);
    drop(early);
    host.stop().unwrap();
    assert!(connect(addr).is_err(), "it is closed with the host");
}

/// The service manager's way, with a shell in its place: the listener is descriptor 3.
#[test]
fn a_listener_of_the_service_manager_is_served() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let mut early = connect(addr).unwrap();
    let script =
        "LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=echo exec \"$0\" inherit 3<&0 0</dev/null";
    let mut child = Command::new("sh")
        .args(["-c", script])
        .arg(example_process::path("restart"))
        .stdin(Stdio::from(OwnedFd::from(listener)))
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut wire = vec![6, 0];
    wire.extend(5_u32.to_le_bytes());
    early.write_all(&wire).unwrap();
    let mut back = [0; 6];
    let answered = early.read_exact(&mut back);
    let _ = child.kill();
    let _ = child.wait();
    answered.unwrap();
    assert_eq!(back[..], wire);
}
