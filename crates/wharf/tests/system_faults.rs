//! System calls that fail: one table of what fails, how, and what comes of it.
//!
//! The failures strike at the boundary of the backend, in the simulated network, because no other
//! place has them on demand. What a real kernel does besides is in `tests/real_faults.rs`.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/errors.rs"]
mod errors;

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use Outcome::{Breaks, Closes, Refuses, Retries, ServesLater, Skips, StartFails, Unseen};
use errors::{
    EADDRINUSE, EAGAIN, EBADF, ECONNABORTED, ECONNRESET, EINTR, EMFILE, ENETUNREACH, ENFILE,
    ENOBUFS, ENOMEM, ENOSPC, EPIPE, EPROTO, Named,
};
use wharf::sim::{Call, Faults, Sim, SimPeer};
use wharf::{
    CloseReason, Frame, Handler, Host, LinkState, Network, Port, Reconnect, Refuse, Session,
};

/// What comes of a failure. In all cases but `Breaks` everybody else is served on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// Nobody notices: the call is made again.
    Unseen,
    /// The one session ends, for the reason of this name; the frames it had accepted are lost.
    Closes(&'static str),
    /// The connection stays with the system until there is room; `accept_backoffs` counts.
    ServesLater,
    /// One connection had gone before it was taken; `refused_aborted` counts. The next is served.
    Skips,
    /// The one connection is broken off; `refused_system` counts.
    Refuses,
    /// The link connects again after its pause.
    Retries,
    /// `Host::start` says so, and leaves nothing open.
    StartFails,
    /// The queue itself is broken: the port's sessions end for the reason `io`, its listeners and
    /// links stop, the port's snapshot says so, and its jobs go on.
    Breaks,
}

/// A storm: so many of the same in a row.
const STORM: u32 = 1000;

/// The table: the call, its error, how many of them in a row, and what comes of it.
const TABLE: &[(Call, Named, u32, Outcome)] = &[
    (Call::Wait, EINTR, 1, Unseen),
    (Call::Wait, EINTR, STORM, Unseen),
    (Call::Wait, EBADF, 1, Breaks),
    (Call::Wait, EBADF, STORM, Breaks),
    (Call::Accept, EINTR, 1, Unseen),
    (Call::Accept, EAGAIN, 1, Unseen),
    (Call::Accept, EAGAIN, STORM, Unseen),
    (Call::Accept, ECONNABORTED, 1, Skips),
    (Call::Accept, ECONNABORTED, STORM, Skips),
    (Call::Accept, ENETUNREACH, 1, Skips),
    (Call::Accept, EPROTO, 1, ServesLater),
    (Call::Accept, EMFILE, 1, ServesLater),
    (Call::Accept, EMFILE, 20, ServesLater),
    (Call::Accept, ENFILE, 20, ServesLater),
    (Call::Accept, ENOBUFS, 1, ServesLater),
    (Call::Accept, ENOMEM, 20, ServesLater),
    (Call::Recv, EINTR, 1, Unseen),
    (Call::Recv, EAGAIN, 1, Unseen),
    (Call::Recv, EAGAIN, STORM, Unseen),
    (Call::Recv, ECONNRESET, 1, Closes("reset")),
    (Call::Recv, ENOMEM, 1, Closes("io")),
    (Call::Recv, ENOBUFS, 1, Closes("io")),
    (Call::Send, EINTR, 1, Unseen),
    (Call::Send, EAGAIN, 1, Unseen),
    (Call::Send, EAGAIN, STORM, Unseen),
    (Call::Send, EPIPE, 1, Closes("reset")),
    (Call::Send, ECONNRESET, 1, Closes("reset")),
    (Call::Send, ENOMEM, 1, Closes("io")),
    (Call::Send, ENOBUFS, 1, Closes("io")),
    (Call::Register, ENOMEM, 1, Refuses),
    (Call::Register, ENOSPC, 1, Refuses),
    (Call::Connect, EMFILE, 1, Retries),
    (Call::Connect, ENFILE, 20, Retries),
    (Call::Connect, ENOBUFS, 1, Retries),
    (Call::Connect, ENETUNREACH, 20, Retries),
    (Call::Listen, EADDRINUSE, 1, StartFails),
    (Call::Listen, EMFILE, 1, StartFails),
];

const SERVED: &str = "10.0.0.1:80";
const FAR: &str = "10.0.0.2:90";

/// Answers each frame with the same, and notes how sessions end.
#[derive(Clone, Default)]
struct Echo(Arc<Mutex<Vec<&'static str>>>);

impl Handler for Echo {
    type State = ();

    fn on_open(&self, _: &Session<Self>) -> Result<(), Refuse> {
        Ok(())
    }

    fn on_frame(&self, s: &Session<Self>, (): &mut (), f: Frame<'_>) -> wharf::Result<()> {
        Ok(s.send(f.payload())?)
    }

    fn on_close(&self, _: &Session<Self>, (): (), reason: CloseReason) {
        self.0.lock().unwrap().push(reason.name());
    }
}

/// A server, a link to a listener of the test's, and two peers that are served.
struct Scene {
    sim: Sim,
    host: Host,
    port: Port,
    server: Network<Echo>,
    link: Network<Echo>,
    ends: Echo,
    victim: SimPeer,
    /// Who was the victim before.
    before: Option<SimPeer>,
    other: SimPeer,
    far: wharf::sim::SimListener,
}

impl Scene {
    fn new() -> Self {
        let sim = Sim::with_faults(7, Faults::none());
        let far = sim.listen(FAR.parse().unwrap()).unwrap();
        let mut host = Host::simulated(&sim);
        let port = host.port("main").workers(2).build().unwrap();
        let ends = Echo::default();
        let server = host.server("game", ends.clone()).port(&port);
        let server = server.listen(SERVED).unwrap();
        let link = host.client("link", Echo::default()).port(&port);
        let link = link.reconnect(Reconnect {
            first: Duration::from_millis(10),
            max: Duration::from_millis(100),
            ..Reconnect::default()
        });
        let link = link.connect(FAR).unwrap();
        host.start().unwrap();
        let [victim, other] = [0, 1].map(|_| sim.connect(SERVED.parse().unwrap()));
        let scene = Self {
            sim,
            host,
            port,
            server,
            link,
            ends,
            victim,
            before: None,
            other,
            far,
        };
        scene.is_served(&scene.victim);
        scene.is_served(&scene.other);
        scene.link_is_up();
        scene
    }

    fn is_served(&self, peer: &SimPeer) {
        let sim = &self.sim;
        sim.run_until(|| peer.is_connected()).unwrap();
        assert_eq!(peer.write(b"\x07\0hello").unwrap(), 7);
        let mut got = Vec::new();
        let came = || {
            let _ = peer.read(&mut got);
            got.len() >= 7
        };
        sim.run_until(came).unwrap();
        assert_eq!(got, b"\x07\0hello");
    }

    fn link_is_up(&self) {
        let up = || {
            self.link
                .links()
                .iter()
                .all(|link| matches!(link, LinkState::Connected(_)))
        };
        self.sim.run_until(up).unwrap();
    }

    /// Does what makes the call that is to fail; the victim's reply, if it was to have one.
    fn provoke(&mut self, call: Call) {
        let sim = self.sim.clone();
        match call {
            Call::Recv | Call::Send | Call::Wait => {
                assert_eq!(self.victim.write(b"\x06\0more").unwrap(), 6);
            }
            Call::Accept | Call::Register => {
                let new = sim.connect(SERVED.parse().unwrap());
                self.before = Some(std::mem::replace(&mut self.victim, new));
            }
            Call::Connect => {
                let peer = self.far.accept().unwrap();
                peer.reset();
            }
            other => panic!("nothing here makes a {other:?}"),
        }
        sim.run_until(|| sim.failures_left() == 0).unwrap();
    }

    /// Nobody is served any more, each has been told, and what needs no queue goes on.
    fn is_broken(&self, got: &[u8], stands: bool) {
        assert_eq!((got, stands), (&b""[..], false));
        assert_eq!(self.other.read(&mut Vec::new()).ok(), None, "a reset");
        assert_eq!(self.link.links(), [LinkState::Stopped]);
        let late = self.sim.connect(SERVED.parse().unwrap());
        self.sim.run_for(Duration::from_secs(1)).unwrap();
        assert!(!late.is_connected(), "nobody listens");
        let (done, told) = std::sync::mpsc::sync_channel(1);
        let job = move || done.send(()).unwrap();
        self.port.post_after(Duration::from_secs(1), job).unwrap();
        self.sim.run_for(Duration::from_secs(2)).unwrap();
        assert_eq!(told.try_recv(), Ok(()));
    }

    /// The bytes that the victim gets, and whether its connection stands.
    fn victim_gets(&self) -> (Vec<u8>, bool) {
        let mut got = Vec::new();
        self.sim.run_for(Duration::from_secs(2)).unwrap();
        loop {
            match self.victim.read(&mut got) {
                Ok(0) => return (got, false),
                Ok(_) => {}
                Err(error) => return (got, error.kind() == io::ErrorKind::WouldBlock),
            }
        }
    }
}

/// One row of the table.
fn row(call: Call, error: &io::Error, times: u32, outcome: Outcome) {
    if outcome == StartFails {
        return start_fails(call, error);
    }
    let mut scene = Scene::new();
    let before = scene.host.stats().networks[0].clone();
    scene.sim.fail(call, error, times);
    scene.provoke(call);
    let (got, stands) = scene.victim_gets();
    let after = scene.host.stats().networks[0].clone();
    let ends = scene.ends.0.lock().unwrap().clone();
    let echoes = matches!(call, Call::Recv | Call::Send | Call::Wait);
    match outcome {
        Unseen if echoes => assert_eq!((&got[..], stands), (&b"\x06\0more"[..], true)),
        Unseen | ServesLater | Skips => scene.is_served(&scene.victim),
        Closes(_) | Refuses => assert_eq!((&got[..], stands), (&b""[..], false)),
        Retries => scene.link_is_up(),
        Breaks => scene.is_broken(&got, stands),
        StartFails => {}
    }
    let (reasons, backoffs, aborted, refused) = match outcome {
        Closes(reason) => (vec![reason], 0, 0, 0),
        Breaks => (vec!["io", "io"], 0, 0, 0),
        ServesLater => (vec![], u64::from(times), 0, 0),
        Skips => (vec![], 0, u64::from(times), 0),
        Refuses => (vec![], 0, 0, 1),
        Unseen | Retries | StartFails => (vec![], 0, 0, 0),
    };
    assert_eq!(ends, reasons);
    assert_eq!(after.accept_backoffs - before.accept_backoffs, backoffs);
    assert_eq!(after.refused_aborted - before.refused_aborted, aborted);
    assert_eq!(after.refused_system - before.refused_system, refused);
    assert_eq!(scene.host.stats().ports[0].broken, outcome == Breaks);
    if outcome != Breaks {
        scene.is_served(&scene.other);
        scene.link_is_up();
    }
    drop(scene.server);
    scene.host.stop().unwrap();
    assert_eq!(scene.sim.descriptors(), 0);
    let opened = scene.host.stats().networks[0].opened;
    let closed = scene.ends.0.lock().unwrap().len() as u64;
    assert_eq!(closed, opened, "an on_close each");
}

fn start_fails(call: Call, error: &io::Error) {
    let sim = Sim::with_faults(7, Faults::none());
    let mut host = Host::simulated(&sim);
    host.server("game", Echo::default()).listen(SERVED).unwrap();
    host.server("other", Echo::default())
        .listen("10.0.0.1:81")
        .unwrap();
    sim.fail(call, error, 1);
    let error = host.start().unwrap_err().to_string();
    assert!(error.contains(SERVED), "{error}");
    assert_eq!(sim.descriptors(), 0, "nothing half-started is left");
}

#[test]
fn every_failure_has_its_outcome() {
    for &(call, (name, error), times, outcome) in TABLE {
        let walked = std::panic::catch_unwind(|| row(call, &error(), times, outcome));
        assert!(
            walked.is_ok(),
            "{call:?} {name}, {times} times: not {outcome:?}"
        );
    }
}

/// Each call can fail, and the table says of each what comes of it.
#[test]
fn the_table_has_every_call() {
    for call in Call::ALL {
        assert!(TABLE.iter().any(|row| row.0 == call), "{call:?}");
    }
}

/// Time that passes in one jump, as in a paused machine: what was due is due, the rest is not.
#[test]
fn a_jump_of_the_clock_fires_nothing_early() {
    let sim = Sim::with_faults(7, Faults::none());
    let mut host = Host::simulated(&sim);
    let port = host.port("main").workers(1).build().unwrap();
    let fired = Arc::new(Mutex::new(Vec::new()));
    let strand = port.strand(());
    host.start().unwrap();
    let began = sim.now();
    let timers = [5, 50, 500].map(|after| {
        let after = Duration::from_secs(after);
        let (fired, sim) = (Arc::clone(&fired), sim.clone());
        let job = move |(): &mut ()| fired.lock().unwrap().push((after, sim.now() - began));
        strand.post_after(after, job).unwrap()
    });
    sim.suspend(Duration::from_secs(49));
    sim.run_for(Duration::from_millis(1)).unwrap();
    assert_eq!(fired.lock().unwrap().len(), 1, "one was due");
    sim.suspend(Duration::from_secs(400));
    sim.run_for(Duration::from_millis(1)).unwrap();
    assert_eq!(fired.lock().unwrap().len(), 2);
    sim.run_for(Duration::from_secs(60)).unwrap();
    let fired = fired.lock().unwrap().clone();
    assert_eq!(fired.len(), 3);
    for (due, at) in fired {
        assert!(at >= due, "due after {due:?}, ran after {at:?}");
    }
    drop(timers);
    host.stop().unwrap();
}
