//! A `tracing` subscriber is the program's code: one that panics costs its lines, and no thread.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{ErrorKind, Read, Write};
use std::mem::ManuallyDrop;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread::Builder;
use std::time::Duration;

use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};
use wharf::{Frame, Handler, Host, Refuse, Session};

/// No step takes longer, on a busy machine either.
const PATIENCE: Duration = Duration::from_secs(20);
const WORKERS: usize = 2;

/// Events that it was given, all of which it answered with a panic.
static EVENTS: AtomicUsize = AtomicUsize::new(0);

/// As `tracing_subscriber::fmt` is when nobody reads the process's standard error any more.
struct Broken;

impl Subscriber for Broken {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {
        EVENTS.fetch_add(1, Ordering::SeqCst);
        panic!("the log is broken");
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

struct Moody;

impl Handler for Moody {
    type State = ();

    fn on_open(&self, _: &Session<Self>) -> Result<(), Refuse> {
        Ok(())
    }

    fn on_frame(&self, s: &Session<Self>, (): &mut (), f: Frame<'_>) -> wharf::Result<()> {
        match f.payload() {
            b"panic" => panic!("as asked"),
            b"stuck" => std::thread::sleep(Duration::from_millis(400)),
            _ => {}
        }
        Ok(s.send(f.payload())?)
    }
}

/// What comes back for one frame: the whole stream if it ends, or else as much as the frame.
fn answer(addr: SocketAddr, payload: &[u8]) -> Vec<u8> {
    let mut peer = TcpStream::connect(addr).unwrap();
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut frame = u16::try_from(payload.len() + 2)
        .unwrap()
        .to_le_bytes()
        .to_vec();
    frame.extend_from_slice(payload);
    peer.write_all(&frame).unwrap();
    let mut got = vec![0; frame.len()];
    match peer.read_exact(&mut got) {
        Ok(()) => got.split_off(2),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Vec::new(),
        Err(error) => panic!("no answer to {payload:?}: {error}"),
    }
}

#[test]
fn a_subscriber_that_panics_ends_no_worker_and_no_stop() {
    // Those that are to come are not told; this test's own would be.
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let told = panic.payload_as_str();
        if !matches!(told, Some("as asked" | "the log is broken")) {
            tell(panic);
        }
    }));
    tracing::subscriber::set_global_default(Broken).unwrap();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    let nowhere = nobody.local_addr().unwrap();
    drop(nobody);
    // A host that is dropped waits for its stop: one that can't would keep this from failing.
    let mut host = ManuallyDrop::new(Host::new());
    host.set_stuck_after(Duration::from_millis(50));
    host.set_drain_deadline(Duration::from_secs(1));
    let server = host.server("moody", Moody).workers(WORKERS);
    let network = server.listen("127.0.0.1:0").unwrap();
    let link = host.client("link", Moody).connect(nowhere).unwrap();
    host.start().unwrap();
    let addr = network.local_addrs()[0];
    for _ in 0..2 * WORKERS {
        assert_eq!(answer(addr, b"panic"), b"", "its session is closed");
    }
    // Longer than the supervisor takes to see it.
    assert_eq!(answer(addr, b"stuck"), b"stuck");
    for _ in 0..2 * WORKERS {
        assert_eq!(answer(addr, b"well"), b"well");
    }
    let stats = host.stats();
    assert!(stats.networks[1].connects_failed > 0, "{:?}", link.links());
    let (done, stopped) = sync_channel(1);
    let stop = move || {
        let mut host = ManuallyDrop::into_inner(host);
        done.send(host.stop().is_ok())
    };
    let stop = Builder::new().name("stop".to_owned()).spawn(stop).unwrap();
    assert_eq!(stopped.recv_timeout(PATIENCE), Ok(true), "the host stops");
    stop.join().unwrap().unwrap();
    // Those of the handlers, the stuck turn and the link.
    let least = 2 * WORKERS + 2;
    let events = EVENTS.load(Ordering::SeqCst);
    assert!(events >= least, "the log was called {events} times");
}
