//! One test for each bug that was found by reading, named for what went wrong.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier, OnceLock};
use std::time::{Duration, Instant};

use wharf::{Frame, Handler, Host, HostHandle, Network, Refuse, Session, Timeouts};

/// What a handler does with a frame.
type OnFrame = dyn Fn(&Session<Act>, &[u8]) -> wharf::Result<()> + Send + Sync;

struct Act(Box<OnFrame>);

impl Act {
    fn new(
        on_frame: impl Fn(&Session<Self>, &[u8]) -> wharf::Result<()> + Send + Sync + 'static,
    ) -> Self {
        Self(Box::new(on_frame))
    }
}

impl Handler for Act {
    type State = ();

    fn on_open(&self, _: &Session<Self>) -> Result<(), Refuse> {
        Ok(())
    }

    fn on_frame(&self, s: &Session<Self>, (): &mut (), frame: Frame<'_>) -> wharf::Result<()> {
        (self.0)(s, frame.payload())
    }
}

fn framed(payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    wharf::Framing::default()
        .encode(payload, &mut frame)
        .unwrap();
    frame
}

fn connect<H: Handler>(network: &Network<H>) -> TcpStream {
    let peer = TcpStream::connect(network.local_addr().unwrap()).unwrap();
    peer.set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    peer
}

fn read_frame(peer: &mut TcpStream) -> Vec<u8> {
    let mut len = [0; 2];
    peer.read_exact(&mut len).unwrap();
    let mut payload = vec![0; usize::from(u16::from_le_bytes(len)) - 2];
    peer.read_exact(&mut payload).unwrap();
    payload
}

fn wait_until(what: &str, done: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(10);
    while !done() {
        assert!(Instant::now() < until, "never: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// After the peer's FIN every report says "readable" again: the goodbye turned round and round.
#[test]
fn a_half_closed_peer_that_reads_slowly_costs_no_turns() {
    let mut host = Host::new();
    let limits = wharf::SendQueueLimits {
        bytes_max: 64 << 20,
        ..wharf::SendQueueLimits::default()
    };
    let act = Act::new(|s, _| {
        for _ in 0..2000 {
            s.send(&[7; 16_000])?;
        }
        Ok(())
    });
    let builder = host.server("act", act).workers(1).send_queue(limits);
    let server = builder.listen("127.0.0.1:0").unwrap();
    host.start().unwrap();
    let mut peer = connect(&server);
    peer.write_all(&framed(b"go")).unwrap();
    wait_until("answered", || host.stats().networks[0].bytes_out > 0);
    peer.shutdown(Shutdown::Write).unwrap();
    wait_until("closed", || host.stats().networks[0].ended == 1);
    let turns = |host: &Host| host.stats().ports[0].workers[0].turns;
    let before = turns(&host);
    let mut buffer = vec![0; 1 << 20];
    for _ in 0..10 {
        peer.read_exact(&mut buffer).unwrap();
        std::thread::sleep(Duration::from_millis(20));
    }
    let spent = turns(&host) - before;
    assert!(spent < 500, "{spent} turns in 200 ms for one slow reader");
    drop(peer);
    host.stop().unwrap();
}

/// What was measured from the begin of a turn was over before the turn was: a handler that takes
/// longer than the linger time had its last words cut off by a reset.
#[test]
fn a_slow_handler_leaves_the_whole_linger_time_to_its_goodbye() {
    let mut host = Host::new();
    let timeouts = Timeouts {
        linger: Duration::from_millis(500),
        write_stall: Some(Duration::from_millis(300)),
        idle: Some(Duration::from_millis(400)),
        ..Timeouts::default()
    };
    let act = Act::new(|s, _| {
        std::thread::sleep(Duration::from_millis(700));
        for _ in 0..2000 {
            s.send(&[7; 16_000])?;
        }
        s.close();
        Ok(())
    });
    let limits = wharf::SendQueueLimits {
        bytes_max: 64 << 20,
        ..wharf::SendQueueLimits::default()
    };
    let builder = host.server("act", act).workers(2).send_queue(limits);
    let server = builder.timeouts(timeouts).listen("127.0.0.1:0").unwrap();
    host.start().unwrap();
    let mut peer = connect(&server);
    peer.write_all(&framed(b"go")).unwrap();
    let mut all = Vec::new();
    peer.read_to_end(&mut all).unwrap();
    assert_eq!(all.len(), 2000 * 16_002);
    drop(peer);
    wait_until("ended", || host.stats().networks[0].ended == 1);
    assert_eq!(host.stats().networks[0].closes_named("closed"), 1);
    host.stop().unwrap();
}

/// A session whose reading the user has paused was closed as idle, though its peer had spoken.
#[test]
fn a_paused_session_is_not_idle() {
    let mut host = Host::new();
    let (pause, paused) = std::sync::mpsc::sync_channel(1);
    let act = Act::new(move |s, payload| {
        if payload == b"pause" {
            let _ = pause.send(s.pause_reading());
        }
        Ok(s.send(payload)?)
    });
    let idle = Duration::from_millis(200);
    let builder = host.server("act", act).workers(2).idle_timeout(idle);
    let server = builder.listen("127.0.0.1:0").unwrap();
    host.start().unwrap();
    let mut peer = connect(&server);
    peer.write_all(&framed(b"pause")).unwrap();
    assert_eq!(read_frame(&mut peer), b"pause");
    let guard = paused.recv().unwrap();
    peer.write_all(&framed(b"more")).unwrap();
    std::thread::sleep(idle * 3);
    drop(guard);
    assert_eq!(read_frame(&mut peer), b"more");
    assert_eq!(peer.read(&mut [0]).unwrap(), 0, "now it is idle");
    assert_eq!(host.stats().networks[0].closes_named("idle_timeout"), 1);
    drop(peer);
    host.stop().unwrap();
}

/// A drop that panics.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        assert!(std::thread::panicking(), "the bomb");
    }
}

#[derive(Debug)]
struct Unprintable;

impl std::fmt::Display for Unprintable {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        panic!("the text of an error")
    }
}

impl std::error::Error for Unprintable {}

/// User code that runs when a callback's error, panic or job is dropped or printed was not fenced:
/// it took the worker with it.
#[test]
fn errors_panics_and_jobs_may_panic_when_they_are_dropped() {
    let mut host = Host::new();
    let act = Act::new(|s, payload| match payload {
        b"error" => Err(wharf::Error::handler("").caused_by(Unprintable)),
        b"panic" => std::panic::panic_any(Bomb),
        _ => Ok(s.send(payload)?),
    });
    let server = host.server("act", act).workers(1);
    let server = server.listen("127.0.0.1:0").unwrap();
    host.start().unwrap();
    for payload in [&b"error"[..], b"panic"] {
        let mut peer = connect(&server);
        peer.write_all(&framed(payload)).unwrap();
        assert_eq!(peer.read(&mut [0]).unwrap(), 0);
    }
    let mut peer = connect(&server);
    peer.write_all(&framed(b"echo")).unwrap();
    assert_eq!(
        read_frame(&mut peer),
        b"echo",
        "the only worker still lives"
    );
    let stats = host.stats();
    assert_eq!(stats.networks[0].closes_named("handler_panicked"), 2);
    drop(peer);
    host.stop().unwrap();
}

/// A mailbox full of jobs was one turn: other sessions waited for all of them, and so did what the
/// first of them had sent.
#[test]
fn jobs_have_a_budget_as_frames_have() {
    let mut host = Host::new();
    let act = Act::new(|s, payload| {
        if payload == b"jobs" {
            for _ in 0..100 {
                s.post(|s, ()| {
                    let _ = s.send(b"job");
                    std::thread::sleep(Duration::from_millis(10));
                })?;
            }
        }
        Ok(s.send(payload)?)
    });
    let server = host.server("act", act).workers(1);
    let server = server.listen("127.0.0.1:0").unwrap();
    host.start().unwrap();
    let (mut poster, mut other) = (connect(&server), connect(&server));
    poster.write_all(&framed(b"jobs")).unwrap();
    assert_eq!(read_frame(&mut poster), b"jobs");
    let began = Instant::now();
    assert_eq!(read_frame(&mut poster), b"job");
    other.write_all(&framed(b"other")).unwrap();
    assert_eq!(read_frame(&mut other), b"other");
    let waited = began.elapsed();
    assert!(
        waited < Duration::from_millis(500),
        "waited {waited:?} for others' jobs"
    );
    drop((poster, other));
    host.stop().unwrap();
}

/// A session on the list of a turn that is stuck on a port of one worker, where no sibling takes
/// the list, got nothing from the turns of other ports either.
#[test]
fn a_stuck_turn_of_another_port_holds_up_nobodys_frames() {
    let mut host = Host::new();
    let room: &'static std::sync::Mutex<Vec<Session<Act>>> = Box::leak(Box::default());
    let (stuck, free) = std::sync::mpsc::sync_channel::<()>(1);
    let free = std::sync::Mutex::new(free);
    let game = Act::new(move |s, payload| {
        if payload == b"join" {
            room.lock().unwrap().push(s.clone());
            return Ok(s.send(b"joined")?);
        }
        let listener = room.lock().unwrap()[0].clone();
        Ok(listener.send(payload)?)
    });
    let chat = Act::new(move |_, payload| {
        let listener = room.lock().unwrap()[0].clone();
        listener.send(payload)?;
        let _ = free.lock().unwrap().recv();
        Ok(())
    });
    let game = host.server("game", game).workers(2);
    let game = game.listen("127.0.0.1:0").unwrap();
    let chat = host.server("chat", chat).workers(1);
    let chat = chat.listen("127.0.0.1:0").unwrap();
    host.start().unwrap();
    let (mut listener, mut player, mut chatter) = (connect(&game), connect(&game), connect(&chat));
    listener.write_all(&framed(b"join")).unwrap();
    assert_eq!(read_frame(&mut listener), b"joined");
    chatter.write_all(&framed(b"from chat")).unwrap();
    wait_until("stuck", || {
        !host.stuck_turns(Duration::from_millis(50)).is_empty()
    });
    player.write_all(&framed(b"from a player")).unwrap();
    assert_eq!(read_frame(&mut listener), b"from chat");
    assert_eq!(read_frame(&mut listener), b"from a player");
    stuck.send(()).unwrap();
    drop((listener, player, chatter));
    host.stop().unwrap();
    room.lock().unwrap().clear();
}

/// Its states and itself know the host, as handlers that stop it do.
struct Knowing {
    handle: OnceLock<HostHandle>,
    stuck: &'static Barrier,
    _alive: Arc<()>,
}

struct Asking(HostHandle);

impl Drop for Asking {
    fn drop(&mut self) {
        let _ = self.0.stats();
    }
}

impl Handler for Knowing {
    type State = Asking;

    fn on_open(&self, _: &Session<Self>) -> Result<Asking, Refuse> {
        Ok(Asking(self.handle.get().unwrap().clone()))
    }

    fn on_frame(&self, s: &Session<Self>, _: &mut Asking, f: Frame<'_>) -> wharf::Result<()> {
        if f.payload() == b"stick" {
            self.stuck.wait();
        }
        Ok(s.send(f.payload())?)
    }
}

/// A state that was dropped at the end of a stop, and asked the host something, waited for a lock
/// that its own thread held; and a handler that held a handle of its host was never freed.
#[test]
fn states_and_handlers_may_know_their_host() {
    let alive = Arc::new(());
    let stuck: &'static Barrier = Box::leak(Box::new(Barrier::new(2)));
    let knowing = Knowing {
        handle: OnceLock::new(),
        stuck,
        _alive: Arc::clone(&alive),
    };
    let mut host = Host::new();
    host.set_drain_deadline(Duration::from_millis(20));
    let _ = knowing.handle.set(host.handle());
    let server = host.server("knowing", knowing).workers(1);
    let server = server.listen("127.0.0.1:0").unwrap();
    host.start().unwrap();
    let (mut sticky, mut other) = (connect(&server), connect(&server));
    other.write_all(&framed(b"open")).unwrap();
    assert_eq!(read_frame(&mut other), b"open");
    sticky.write_all(&framed(b"stick")).unwrap();
    wait_until("stuck", || {
        !host.stuck_turns(Duration::from_millis(20)).is_empty()
    });
    let stopped = host.stop();
    assert_eq!(stopped.unwrap_err().kind(), wharf::ErrorKind::Stuck);
    stuck.wait();
    let handle = server.handler().handle.get().unwrap().clone();
    drop((server, host, sticky, other));
    wait_until("freed", || Arc::strong_count(&alive) == 1);
    assert!(handle.is_stopping() && handle.stats().networks.is_empty());
}

/// A job that waited for the only worker, stuck for ever, was never freed if it held its session.
#[test]
fn jobs_that_no_worker_came_to_are_freed() {
    let alive = Arc::new(());
    let stuck: &'static Barrier = Box::leak(Box::new(Barrier::new(2)));
    let opened = Arc::new(OnceLock::new());
    let seen = Arc::clone(&opened);
    let act = Act::new(move |session, payload| {
        if payload == b"stick" {
            stuck.wait();
        } else {
            let _ = seen.set(session.id());
        }
        session.send(payload)?;
        Ok(())
    });
    let mut host = Host::new();
    host.set_drain_deadline(Duration::from_millis(20));
    let server = host.server("act", act).workers(1);
    let server = server.listen("127.0.0.1:0").unwrap();
    host.start().unwrap();
    let (mut sticky, mut other) = (connect(&server), connect(&server));
    other.write_all(&framed(b"open")).unwrap();
    assert_eq!(read_frame(&mut other), b"open");
    sticky.write_all(&framed(b"stick")).unwrap();
    wait_until("stuck", || {
        !host.stuck_turns(Duration::from_millis(20)).is_empty()
    });
    let session = server.sessions().get(*opened.get().unwrap()).unwrap();
    let held = (session.clone(), Arc::clone(&alive));
    session.post(move |_, ()| drop(held)).unwrap();
    let stopped = host.stop();
    assert_eq!(stopped.unwrap_err().kind(), wharf::ErrorKind::Stuck);
    stuck.wait();
    drop((server, host, sticky, other, session));
    wait_until("freed", || Arc::strong_count(&alive) == 1);
}

/// A stop that was asked for while the host started was forgotten, and half of the host ran on.
#[test]
fn a_stop_in_the_middle_of_a_start_is_remembered() {
    for round in 0..40 {
        let mut host = Host::new();
        for n in 0..16 {
            let act = Act::new(|_, _| Ok(()));
            let server = host.server(&format!("n{n}"), act);
            server.listen("127.0.0.1:0").unwrap();
        }
        let handle = host.handle();
        let stopper = std::thread::Builder::new().name("stopper".into());
        let stopper = stopper.spawn(move || {
            std::thread::sleep(Duration::from_micros(round * 20));
            handle.stop();
        });
        let _ = host.start();
        stopper.unwrap().join().unwrap();
        assert!(host.handle().is_stopping(), "forgotten in round {round}");
        host.stop().unwrap();
    }
}

/// The address after the one that had served came first.
#[cfg(feature = "sim")]
#[test]
fn a_link_comes_back_to_the_address_that_served() {
    let sim = wharf::sim::Sim::with_faults(7, wharf::sim::Faults::none());
    let mut host = Host::simulated(&sim);
    let addrs = ["10.0.0.1:1", "10.0.0.2:1"];
    let link = host.client("link", Act::new(|_, _| Ok(())));
    let link = link.connect(addrs).unwrap();
    let second = sim.listen(addrs[1].parse().unwrap()).unwrap();
    host.start().unwrap();
    sim.run_until(|| link.sessions().len() == 1).unwrap();
    let served = second.accept().unwrap();
    sim.run_for(Duration::from_secs(2)).unwrap();
    let first = sim.listen(addrs[0].parse().unwrap()).unwrap();
    served.shutdown_write();
    sim.run_until(|| link.sessions().is_empty()).unwrap();
    drop(served);
    sim.run_until(|| link.sessions().len() == 1).unwrap();
    assert!(first.accept().is_none() && second.accept().is_some());
    host.stop().unwrap();
}

/// A pause of nothing made a link that is refused connect again and again without end.
#[test]
fn a_link_without_a_pause_is_refused() {
    let mut host = Host::new();
    let hasty = wharf::Reconnect {
        first: Duration::ZERO,
        ..wharf::Reconnect::default()
    };
    let link = host.client("link", Act::new(|_, _| Ok(())));
    let refused = link.reconnect(hasty).connect("127.0.0.1:9").unwrap_err();
    assert!(refused.to_string().contains("reconnect"), "{refused}");
}

/// Keeps a group of its own sessions, and tells when it is freed.
struct Lobby {
    group: OnceLock<wharf::Group<Lobby>>,
    freed: Arc<AtomicBool>,
}

impl Drop for Lobby {
    fn drop(&mut self) {
        self.freed.store(true, Ordering::SeqCst);
    }
}

impl Handler for Lobby {
    type State = ();

    fn on_open(&self, s: &Session<Self>) -> Result<(), Refuse> {
        self.group.get_or_init(|| s.network().group()).join(s);
        Ok(())
    }

    fn on_frame(&self, _: &Session<Self>, _: &mut (), _: Frame<'_>) -> wharf::Result<()> {
        Ok(())
    }
}

#[test]
fn a_handler_with_a_group_of_its_sessions_is_freed() {
    let freed = Arc::new(AtomicBool::new(false));
    let mut host = Host::new();
    let lobby = Lobby {
        group: OnceLock::new(),
        freed: Arc::clone(&freed),
    };
    let net = host.server("lobby", lobby).listen("127.0.0.1:0").unwrap();
    host.start().unwrap();
    let peer = connect(&net);
    wait_until("the session is open", || net.sessions().len() == 1);
    drop((net, peer));
    host.stop().unwrap();
    drop(host);
    assert!(freed.load(Ordering::SeqCst));
}
