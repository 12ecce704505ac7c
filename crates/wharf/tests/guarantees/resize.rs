//! `set_workers`: ports and pools grow and shrink under traffic. No session is lost, threads
//! really end, and what can't be is refused by name.

use wharf::system::own_thread;
use wharf::{ErrorKind, Host, Lane, Network};

use crate::support::{
    Act, At, Crew, Hold, Kind, Ledger, Log, Peer, World, check_stopped, number, numbered, patient,
};

const HELD: &[u8] = b"hold";
const LIMIT: usize = 6;

/// A host with one network in the first of these lanes. Its handler echoes, is held by a frame
/// that says so, and by one of one byte sets that many workers.
struct Scene {
    host: Host,
    crew: Crew,
    hold: Hold,
    net: Network<Act<()>>,
    ledger: Ledger,
}

fn scene(w: &World, kind: Kind, workers: usize, lanes: &[Lane]) -> Scene {
    w.move_much();
    let (mut host, hold) = (w.host(), w.hold());
    let crew = kind.crew_up_to(&mut host, workers, LIMIT, lanes);
    let (own, held) = (crew.clone(), hold.clone());
    let handler = Act::new(|_| Ok(())).on_frame(move |s, (), payload| {
        match payload {
            HELD => held.enter(),
            [workers] => own.set_workers(usize::from(*workers))?,
            _ => {}
        }
        Ok(s.send(payload)?)
    });
    let ledger = handler.ledger();
    let server = host.server("game", handler).at(&crew.lane("players"));
    let net = server.timeouts(patient()).listen(w.any_addr()).unwrap();
    Scene {
        host,
        crew,
        hold,
        net,
        ledger,
    }
}

impl Scene {
    fn start(&mut self) {
        self.host.start().unwrap();
    }

    fn connect(&self, w: &World, count: usize) -> Vec<Peer> {
        let addr = self.net.local_addr().unwrap();
        (0..count).map(|_| w.connect(addr)).collect()
    }

    /// How many workers of the crew there are; in the simulation, and where the system does not
    /// tell of threads, as many as it says.
    fn threads(&self, w: &World) -> usize {
        if w.is_sim() {
            return self.crew.workers();
        }
        crew_threads().unwrap_or_else(|| self.crew.workers())
    }

    fn end(mut self, w: &World, peers: Vec<Peer>) {
        self.hold.release();
        drop(peers);
        w.until("the sessions are over", || self.net.sessions().is_empty());
        self.host.stop().unwrap();
        self.ledger.check_all_closed();
        check_stopped(&self.host.stats());
    }
}

/// By their names: a thread that has none yet is not counted, and is later.
fn crew_threads() -> Option<usize> {
    let names = wharf::system::thread_names()?;
    Some(
        names
            .iter()
            .filter(|name| name.starts_with("crew-"))
            .count(),
    )
}

fn plain() -> [Lane; 1] {
    [Lane::new("players")]
}

fn ask_in_rounds(peers: &mut [Peer], rounds: u32) {
    for n in 0..rounds {
        peers.iter_mut().for_each(|peer| peer.write(&numbered(n)));
        for peer in &mut *peers {
            assert_eq!(number(&peer.recv()), n);
        }
    }
}

/// Up and down, in the midst of traffic; the threads are there, and end.
pub(crate) fn up_and_down_under_traffic(w: &World, kind: Kind) {
    let (count, frames) = w.pick((12, 40), (4, 4));
    let mut scene = scene(w, kind, 2, &plain());
    scene.start();
    let mut peers = scene.connect(w, count);
    for workers in [4, 1, LIMIT, 2, 1, 3, LIMIT, 1] {
        peers.iter_mut().for_each(|peer| peer.write(&numbered(9)));
        scene.crew.set_workers(workers).unwrap();
        assert_eq!(scene.crew.workers(), workers);
        for peer in &mut peers {
            assert_eq!(number(&peer.recv()), 9);
        }
        ask_in_rounds(&mut peers, frames);
        w.until("as many workers as were asked for", || {
            scene.threads(w) == workers
        });
    }
    scene.end(w, peers);
}

/// A worker stuck in a callback counts until it returns; the others leave at once, and who is
/// asked for again is there at once.
pub(crate) fn who_is_in_a_turn_leaves_after_it(w: &World, kind: Kind) {
    let mut scene = scene(w, kind, 4, &plain());
    scene.start();
    let mut held = scene.connect(w, 2);
    held.iter_mut().for_each(|peer| peer.send(HELD));
    w.until("two are held", || scene.hold.entered() == 2);
    scene.crew.set_workers(1).unwrap();
    w.until("who is free has left", || {
        w.is_sim() || scene.threads(w) == 2
    });
    // The one that is to stay is in a turn, as far as anybody can tell: one more helps.
    scene.crew.set_workers(3).unwrap();
    let mut peers = scene.connect(w, 3);
    ask_in_rounds(&mut peers, 5);
    scene.crew.set_workers(1).unwrap();
    scene.hold.release();
    for peer in &mut held {
        assert_eq!(peer.recv(), HELD);
    }
    ask_in_rounds(&mut peers, 5);
    w.until("one is left", || scene.threads(w) == 1);
    peers.append(&mut held);
    scene.end(w, peers);
}

/// A handler changes the workers of its own crew: it returns at once, its session lives on.
pub(crate) fn from_a_handler(w: &World, kind: Kind) {
    let mut scene = scene(w, kind, 2, &plain());
    scene.start();
    let mut peers = scene.connect(w, 3);
    for workers in [5, 1, 3] {
        assert_eq!(peers[0].ask(&[workers]), [workers]);
        ask_in_rounds(&mut peers, 5);
        w.until("the change is done", || {
            scene.threads(w) == usize::from(workers)
        });
    }
    // What is refused is the handler's to see: its error closes the session.
    peers[0].send(&[0]);
    peers[0].expect_fin();
    assert_eq!(scene.crew.workers(), 3);
    ask_in_rounds(&mut peers[1..], 5);
    scene.end(w, peers);
}

/// No more than the limit, no fewer than were promised, and only while there is a host to do it.
pub(crate) fn what_can_not_be_is_refused(w: &World, kind: Kind) {
    let kept = Lane::new("backend").workers_min(1);
    let mut scene = scene(w, kind, 2, &[Lane::new("players"), kept]);
    let crew = scene.crew.clone();
    let refused = |workers: usize, kind: ErrorKind, words: &[&str]| {
        let before = crew.workers();
        let error = crew.set_workers(workers).unwrap_err();
        let text = error.to_string();
        assert_eq!(error.kind(), kind, "{text}");
        for word in words {
            assert!(text.contains(word), "\"{word}\" is not in: {text}");
        }
        assert_eq!(crew.workers(), before, "nothing has changed");
    };
    let by_number = || {
        refused(0, ErrorKind::Config, &["\"crew\"", "0 workers", "1 to 6"]);
        refused(
            7,
            ErrorKind::Config,
            &["\"crew\"", "7 workers", "workers_limit"],
        );
        // All of them promised to the one leaves the other none.
        refused(
            1,
            ErrorKind::Config,
            &["\"crew\"", "lane \"players\" would never run"],
        );
    };
    by_number();
    // Before the start it is what the crew starts with.
    crew.set_workers(3).unwrap();
    scene.start();
    let mut peers = scene.connect(w, 4);
    peers.iter_mut().for_each(|peer| peer.send(HELD));
    w.until("two of three work for players", || {
        scene.hold.entered() == 2 && crew.look(&scene.host, "players").queued >= 2
    });
    by_number();
    scene.hold.release();
    for peer in &mut peers {
        assert_eq!(peer.recv(), HELD);
    }
    let handle = scene.host.handle();
    handle.stop();
    refused(4, ErrorKind::State, &["while it starts or stops"]);
    scene.end(w, peers);
    refused(4, ErrorKind::State, &["host"]);
}

/// What a lane was promised is kept while others leave: the free worker stays, and one of those in
/// turns leaves.
pub(crate) fn a_promise_outlives_a_shrink(w: &World, kind: Kind) {
    let lanes = [Lane::new("players"), Lane::new("backend").workers_min(1)];
    let mut scene = scene(w, kind, 4, &lanes);
    let kept = Act::echo();
    let server = scene
        .host
        .server("kept", kept)
        .at(&scene.crew.lane("backend"));
    let kept = server.timeouts(patient()).listen(w.any_addr()).unwrap();
    scene.start();
    let mut peers = scene.connect(w, 3);
    peers.iter_mut().for_each(|peer| peer.send(HELD));
    w.until("all that are not promised are held", || {
        scene.hold.entered() == 3
    });
    scene.crew.set_workers(2).unwrap();
    let mut served = w.connect(kept.local_addr().unwrap());
    for n in 0..10_u32 {
        assert_eq!(number(&served.ask(&n.to_le_bytes())), n);
    }
    assert_eq!(scene.hold.entered(), 3);
    scene.hold.release();
    for peer in &mut peers {
        assert_eq!(peer.recv(), HELD);
    }
    drop(served);
    w.until("it is over", || kept.sessions().is_empty());
    scene.end(w, peers);
}

/// Changes without end, from several threads at once, while peers talk and come and go.
pub(crate) fn storms(w: &World, kind: Kind) {
    let (changes, count, frames) = w.pick((300, 8, 150), (40, 4, 12));
    let lanes = [Lane::new("players").workers_max(2), Lane::new("backend")];
    let mut scene = scene(w, kind, 2, &lanes);
    scene.start();
    let changer = |seed: u64| {
        let (crew, mut rng) = (scene.crew.clone(), fastrand::Rng::with_seed(seed));
        let mut left = changes;
        let change = move || {
            crew.set_workers(rng.usize(1..=LIMIT)).unwrap();
            left -= 1;
            left == 0
        };
        Box::new(change) as Box<dyn FnMut() -> bool + Send>
    };
    let mut peers = scene.connect(w, count);
    for n in 0..frames {
        peers.iter_mut().for_each(|peer| peer.write(&numbered(n)));
    }
    let seed = w.below(1000) as u64;
    w.at_once(vec![changer(seed), changer(seed + 1), changer(seed + 2)]);
    peers.append(&mut scene.connect(w, count));
    let new = peers.split_at_mut(count).1;
    ask_in_rounds(new, frames.min(20));
    for peer in &mut peers[..count] {
        for n in 0..frames {
            assert_eq!(number(&peer.recv()), n);
        }
    }
    assert!(scene.crew.look(&scene.host, "players").running_peak <= 2);
    scene.crew.set_workers(1).unwrap();
    w.until("one is left", || scene.threads(w) == 1);
    ask_in_rounds(&mut peers, 2);
    scene.end(w, peers);
}

/// A stop in the midst of changes: it ends in time, and no thread is left.
pub(crate) fn a_stop_among_changes_ends(w: &World, kind: Kind) {
    let before = w.open_now();
    for _ in 0..w.pick(10, 2) {
        let mut scene = scene(w, kind, 2, &plain());
        scene.start();
        let mut peers = scene.connect(w, 3);
        ask_in_rounds(&mut peers, 1);
        let handle = scene.host.handle();
        let changer = |seed: u64| {
            let (crew, mut rng) = (scene.crew.clone(), fastrand::Rng::with_seed(seed));
            let change = move || {
                let changed = crew.set_workers(rng.usize(1..=LIMIT));
                changed.is_err_and(|error| error.kind() == ErrorKind::State)
            };
            Box::new(change) as Box<dyn FnMut() -> bool + Send>
        };
        let mut after = 1 + w.below(20);
        let stop = move || {
            after -= 1;
            if after == 0 {
                handle.stop();
            }
            after == 0
        };
        let seed = w.below(1000) as u64;
        w.at_once(vec![changer(seed), changer(seed + 1), Box::new(stop)]);
        drop(peers);
        scene.host.stop().unwrap();
        scene.ledger.check_all_closed();
        drop(scene);
    }
    w.until("nothing is left behind", || w.open_now() == before);
}

/// A handler of a port with settings has a pool grow: the pool's new workers are as its old one.
pub(crate) fn who_asks_for_workers_passes_nothing_on(w: &World) {
    let (mut host, hold, seen) = (w.host(), w.hold(), Log::default());
    let slow = host.port("slow").workers(1).nice(19).cores([0]);
    let slow = slow.build().unwrap();
    let pool = host.pool("pool").workers(1).workers_limit(3).build();
    let pool = pool.unwrap();
    let (grows, held, sees) = (pool.clone(), hold.clone(), seen.clone());
    let asks = Act::new(|_| Ok(())).on_frame(move |s, (), payload| {
        grows.set_workers(usize::from(payload[0]))?;
        Ok(s.send(payload)?)
    });
    let asks = host.server("asks", asks).port(&slow);
    let asks = asks.listen(w.any_addr()).unwrap();
    let tells = Act::new(|_| Ok(())).on_frame(move |_, (), _| {
        sees.push(own_thread());
        held.enter();
        Ok(())
    });
    let tells = host.server("tells", tells).port(&slow).pool(&pool);
    let tells = tells.listen(w.any_addr()).unwrap();
    host.start().unwrap();
    let mut asker = w.connect(asks.local_addr().unwrap());
    assert_eq!(asker.ask(&[3]), [3]);
    let addr = tells.local_addr().unwrap();
    let mut peers: Vec<Peer> = (0..3).map(|_| w.connect(addr)).collect();
    peers.iter_mut().for_each(|peer| peer.send(HELD));
    w.until("all three are held", || hold.entered() == 3);
    let seen = seen.take();
    assert!(
        seen.iter().all(|settings| *settings == own_thread()),
        "{seen:?}"
    );
    hold.release();
    drop((peers, asker));
    host.stop().unwrap();
}
