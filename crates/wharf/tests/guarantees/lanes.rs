//! G6: a lane never runs on more than `workers_max` workers, `workers_min` are kept for it, the
//! highest eligible lane wins at each turn boundary, and a starved one gets one turn.

use std::time::Duration;

use wharf::{Host, Lane, Network, Session};

use crate::support::{
    Act, At, Crew, Hold, Kind, Ledger, Log, Peer, World, check_stopped, frame, number, numbered,
    patient, small_socket,
};

pub(super) const HELD: &[u8] = b"hold";
/// A frame that moves its session to the lane that it names; no number is as long.
const MOVE: &[u8] = b"move to ";

/// How long what must not happen has time to happen.
pub(super) const A_WHILE: Duration = Duration::from_millis(30);

type Net = Network<Act<()>>;

/// Echoes; is held, or moves its session, where it is told to.
fn talk(hold: &Hold) -> Act<()> {
    let hold = hold.clone();
    Act::new(|_| Ok(())).on_frame(move |s, (), payload| {
        if payload == HELD {
            hold.enter();
        } else if let Some(lane) = payload.strip_prefix(MOVE) {
            s.set_lane(std::str::from_utf8(lane).unwrap())?;
        }
        Ok(s.send(payload)?)
    })
}

/// A host whose two networks are in two lanes of one crew.
pub(super) struct Scene {
    host: Host,
    crew: Crew,
    pub(super) hold: Hold,
    pub(super) players: Net,
    pub(super) backend: Net,
    ledgers: [Ledger; 2],
}

pub(super) fn scene(w: &World, kind: Kind, workers: usize, lanes: [Lane; 2]) -> Scene {
    // A frame for a lane at its cap must fit into the pipe.
    w.move_much();
    let (mut host, hold) = (w.host(), w.hold());
    let crew = kind.crew(&mut host, workers, &lanes);
    let handlers = [talk(&hold), talk(&hold)];
    let ledgers = [handlers[0].ledger(), handlers[1].ledger()];
    let mut networks = ["players", "backend"].into_iter().zip(handlers);
    let mut next = || {
        let (lane, handler) = networks.next().unwrap();
        let server = host.server(lane, handler).at(&crew.lane(lane));
        let server = server.socket(small_socket()).timeouts(patient());
        server.listen(w.any_addr()).unwrap()
    };
    let (players, backend) = (next(), next());
    host.start().unwrap();
    Scene {
        host,
        crew,
        hold,
        players,
        backend,
        ledgers,
    }
}

impl Scene {
    pub(super) fn look(&self, lane: &str) -> wharf::stats::LaneSnapshot {
        self.crew.look(&self.host, lane)
    }

    /// Peers whose sessions are open, and these sessions in the order of the peers.
    pub(super) fn open(
        &self,
        w: &World,
        net: &Net,
        count: usize,
    ) -> (Vec<Peer>, Vec<Session<Act<()>>>) {
        let addr = net.local_addr().unwrap();
        let peers: Vec<Peer> = (0..count).map(|_| w.connect(addr)).collect();
        let find = |peer: &Peer| {
            let all = net.sessions().to_vec();
            let addr = peer.addr();
            all.into_iter().find(|s| s.peer_addr() == addr)
        };
        let find_all = || peers.iter().map(find).collect::<Option<Vec<_>>>();
        w.until("all sessions are open", || find_all().is_some());
        let sessions = find_all().unwrap();
        (peers, sessions)
    }

    pub(super) fn end(mut self, w: &World, peers: Vec<Peer>) {
        self.hold.release();
        drop(peers);
        w.until("the sessions are over", || {
            self.players.sessions().is_empty() && self.backend.sessions().is_empty()
        });
        self.host.stop().unwrap();
        self.ledgers.iter().for_each(Ledger::check_all_closed);
        check_stopped(&self.host.stats());
        for lane in ["players", "backend"] {
            let look = self.look(lane);
            assert_eq!((look.queued, look.running), (0, 0), "{look:?}");
            assert!(
                look.workers_max
                    .is_none_or(|most| look.running_peak <= most),
                "{look:?}"
            );
        }
    }
}

pub(super) fn ask_in_rounds(peers: &mut [Peer], rounds: u32) {
    for n in 0..rounds {
        peers.iter_mut().for_each(|peer| peer.write(&numbered(n)));
        for peer in &mut *peers {
            assert_eq!(number(&peer.recv()), n);
        }
    }
}

pub(super) fn has_lanes(capped: usize) -> [Lane; 2] {
    [
        Lane::new("players"),
        Lane::new("backend").workers_max(capped),
    ]
}

/// As many as the cap are held; the others wait, and nobody else does.
pub(crate) fn cap(w: &World, kind: Kind) {
    let cap = 1 + w.below(2);
    let scene = scene(w, kind, 3, has_lanes(cap));
    let addr = scene.backend.local_addr().unwrap();
    let mut talkers: Vec<Peer> = (0..5).map(|_| w.connect(addr)).collect();
    talkers.iter_mut().for_each(|peer| peer.send(HELD));
    w.until("the lane is at its cap and the others wait", || {
        let look = scene.look("backend");
        scene.hold.entered() == cap && look.running == cap && look.queued >= 5 - cap
    });
    let (mut players, _) = scene.open(w, &scene.players, 3);
    ask_in_rounds(&mut players, 10);
    w.pass(A_WHILE);
    assert_eq!(scene.hold.entered(), cap, "nobody got past the cap");
    scene.hold.release();
    talkers
        .iter_mut()
        .for_each(|peer| assert_eq!(peer.recv(), HELD));
    assert_eq!(scene.look("backend").running_peak, cap);
    talkers.append(&mut players);
    scene.end(w, talkers);
}

/// Jobs that wait for the only worker: what order they run in.
fn run_in_order(
    w: &World,
    scene: &Scene,
    jobs: impl Iterator<Item = (usize, Session<Act<()>>)>,
    wait: Duration,
) -> Vec<usize> {
    let (log, mut count) = (Log::default(), 0);
    for (job, session) in jobs {
        let log = log.clone();
        count += 1;
        session.post(move |_, ()| log.push(job)).unwrap();
    }
    w.pass(wait);
    assert_eq!(log.len(), 0, "the worker is held");
    scene.hold.release();
    w.until("all jobs have run", || log.len() == count);
    log.take()
}

/// One worker, held in either lane; what waits runs by lanes, and in order inside of one.
pub(crate) fn order(w: &World, kind: Kind) {
    let scene = scene(w, kind, 1, has_lanes(1));
    w.be_exact();
    let (mut peers, high) = scene.open(w, &scene.players, 4);
    let (more, low) = scene.open(w, &scene.backend, 5);
    peers.extend(more);
    let held = if w.one_in(2) { 0 } else { 4 };
    peers[held].send(HELD);
    w.until("the worker is held", || scene.hold.entered() == 1);
    // The session in turn takes its own job last: leave it out.
    let (mut high, mut low) = (high[1..].iter().cloned(), low[1..].iter().cloned());
    let (mut next_high, mut next_low) = (0, 100);
    let jobs = std::iter::from_fn(|| {
        let first = if w.one_in(2) { high.next() } else { None };
        let (session, job) = match first.or_else(|| low.next().inspect(|_| next_low += 1)) {
            Some(session) if session.lane() == "backend" => (session, next_low),
            Some(session) => {
                next_high += 1;
                (session, next_high)
            }
            None => {
                next_high += 1;
                (high.next()?, next_high)
            }
        };
        Some((job, session))
    });
    let ran = run_in_order(w, &scene, jobs, Duration::ZERO);
    assert_eq!(
        ran,
        [1, 2, 3, 101, 102, 103, 104],
        "no player was overtaken"
    );
    scene.end(w, peers);
}

/// A lane that has waited too long gets one turn, and only one.
pub(crate) fn starve_after(w: &World, kind: Kind) {
    [false, true]
        .into_iter()
        .for_each(|starved| waits(w, kind, starved));
}

fn waits(w: &World, kind: Kind, starved: bool) {
    let after = Duration::from_millis(400);
    let low = Lane::new("backend").starve_after(after);
    let scene = scene(w, kind, 1, [Lane::new("players"), low]);
    w.be_exact();
    let (mut peers, high) = scene.open(w, &scene.players, 4);
    let (more, low) = scene.open(w, &scene.backend, 3);
    peers.extend(more);
    peers[0].send(HELD);
    w.until("the worker is held", || scene.hold.entered() == 1);
    let jobs = low.into_iter().chain(high.into_iter().skip(1));
    let wait = if starved { after } else { Duration::ZERO };
    let ran = run_in_order(w, &scene, jobs.enumerate(), wait);
    if !starved {
        assert_eq!(ran, [3, 4, 5, 0, 1, 2]);
    } else if w.is_sim() && ran[0] == 3 {
        // A simulated callback has returned when its worker is held: that worker's next turn goes
        // by the time from before.
        assert_eq!(ran, [3, 0, 4, 5, 1, 2]);
    } else {
        assert_eq!(ran, [0, 3, 4, 5, 1, 2]);
    }
    scene.end(w, peers);
}

/// The promise holds while the other lane would take every worker there is, and whoever was
/// promised a worker has it at once.
pub(crate) fn workers_min(w: &World, kind: Kind) {
    [false, true]
        .into_iter()
        .for_each(|low| one_is_kept(w, kind, low));
}

fn one_is_kept(w: &World, kind: Kind, low_is_kept: bool) {
    let [players, backend] = ["players", "backend"].map(Lane::new);
    let lanes = if low_is_kept {
        [players, backend.workers_min(1)]
    } else {
        [players.workers_min(1), backend]
    };
    let scene = scene(w, kind, 3, lanes);
    let (greedy, kept, lane) = if low_is_kept {
        (&scene.players, &scene.backend, "players")
    } else {
        (&scene.backend, &scene.players, "backend")
    };
    let addr = greedy.local_addr().unwrap();
    let mut all: Vec<Peer> = (0..5).map(|_| w.connect(addr)).collect();
    all.iter_mut().for_each(|peer| peer.send(HELD));
    w.until("it has all it may have, and wants more", || {
        scene.hold.entered() == 2 && scene.look(lane).queued >= 3
    });
    let (mut served, _) = scene.open(w, kept, 3);
    ask_in_rounds(&mut served, 10);
    w.pass(A_WHILE);
    assert_eq!(scene.hold.entered(), 2, "one worker is kept");
    assert_eq!(scene.look(lane).running_peak, 2);
    scene.hold.release();
    all.iter_mut()
        .for_each(|peer| assert_eq!(peer.recv(), HELD));
    all.append(&mut served);
    scene.end(w, all);
}

/// Many sessions share few slots, whoever else comes and goes: none is lost.
pub(crate) fn a_freed_slot_is_taken(w: &World, kind: Kind) {
    let cap = 1 + w.below(2);
    let scene = scene(w, kind, 3, has_lanes(cap));
    let (many, frames) = w.pick((40, 60), (12, 6));
    let (mut talkers, _) = scene.open(w, &scene.backend, many);
    let (mut players, _) = scene.open(w, &scene.players, 4);
    for n in 0..frames {
        talkers.iter_mut().for_each(|peer| peer.write(&numbered(n)));
        players.iter_mut().for_each(|peer| peer.write(&numbered(n)));
        w.nudge();
    }
    talkers.append(&mut players);
    for peer in &mut talkers {
        for n in 0..frames {
            assert_eq!(number(&peer.recv()), n);
        }
    }
    assert!((1..=cap).contains(&scene.look("backend").running_peak));
    scene.end(w, talkers);
}

/// What comes for a lane at its cap stays in the kernel, and TCP holds back the peer.
pub(crate) fn overflow_stays_in_the_kernel(w: &World, kind: Kind) {
    let scene = scene(w, kind, 2, has_lanes(1));
    let mut peers = vec![
        w.connect(scene.backend.local_addr().unwrap()),
        w.connect_narrow(scene.backend.local_addr().unwrap()),
    ];
    w.until("both are open", || scene.backend.sessions().len() == 2);
    let addr = peers[1].addr();
    let all = scene.backend.sessions().to_vec();
    let waits = all.into_iter().find(|s| s.peer_addr() == addr).unwrap();
    peers[0].send(HELD);
    w.until("the lane is at its cap", || scene.hold.entered() == 1);
    let wire = frame(&[7; 998]);
    let (mut written, mut refusals) = (0, 0);
    while refusals < 5 {
        let took = peers[1].write_some(&wire[written % 1000..]);
        written += took;
        if took == 0 {
            refusals += 1;
            w.pass(Duration::from_millis(5));
        } else {
            refusals = 0;
        }
        assert!(written < 8 << 20, "nobody reads, and nobody is held back");
    }
    assert_eq!(waits.stats().bytes_in, 0, "nothing is in our memory");
    assert!(scene.look("backend").queued > 0);
    scene.hold.release();
    let whole = written.div_ceil(1000);
    peers[1].write(&wire[written % 1000..][..(whole * 1000 - written)]);
    for _ in 0..whole {
        assert_eq!(peers[1].recv(), [7; 998]);
    }
    scene.end(w, peers);
}

/// G3: all workers but one are stuck, in both lanes; sessions of the lane below its cap, old ones
/// and new ones, are served at once.
pub(crate) fn any_worker_serves_any_lane(w: &World, kind: Kind) {
    let (frames, innocents) = w.pick((40, 8), (8, 4));
    let scene = scene(w, kind, 4, has_lanes(2));
    let (mut peers, _) = scene.open(w, &scene.players, innocents);
    let mut stuck = Vec::new();
    for (n, net) in [&scene.players, &scene.backend, &scene.backend]
        .into_iter()
        .enumerate()
    {
        let mut peer = w.connect(net.local_addr().unwrap());
        peer.send(HELD);
        w.until("a worker is stuck", || scene.hold.entered() == n + 1);
        stuck.push(peer);
    }
    // Of a lane at its cap: it shares the fate of the others there, and holds up nobody else.
    let mut waits = w.connect(scene.backend.local_addr().unwrap());
    waits.write(&numbered(0));
    let (more, _) = scene.open(w, &scene.players, innocents);
    peers.extend(more);
    ask_in_rounds(&mut peers, frames);
    assert_eq!(scene.hold.entered(), 3, "and they were stuck all the time");
    assert!(!waits.look(), "its lane is at its cap");
    scene.hold.release();
    assert_eq!(number(&waits.recv()), 0);
    peers.append(&mut stuck);
    peers.push(waits);
    scene.end(w, peers);
}
