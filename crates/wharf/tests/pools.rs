//! What pools do beyond the guarantees that hold for every layout.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::Read;
use std::net::TcpStream;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use wharf::sim::{Faults, Sim};
use wharf::{Frame, Handler, Host, Refuse, Session};

/// Sends what comes to all sessions of the network it is given, and nothing to its own.
struct Relay(wharf::Network<Quiet>);

impl Handler for Relay {
    type State = ();

    fn on_open(&self, _: &Session<Self>) -> Result<(), Refuse> {
        Ok(())
    }

    fn on_frame(&self, _: &Session<Self>, (): &mut (), frame: Frame<'_>) -> wharf::Result<()> {
        self.0.sessions().broadcast(frame.payload()).unwrap();
        Ok(())
    }
}

struct Quiet;

impl Handler for Quiet {
    type State = ();

    fn on_open(&self, _: &Session<Self>) -> Result<(), Refuse> {
        Ok(())
    }

    fn on_frame(&self, _: &Session<Self>, (): &mut (), _: Frame<'_>) -> wharf::Result<()> {
        Ok(())
    }
}

/// Pieces of port work that the port `front` and the pool `low` have done after a broadcast from a
/// pool of this nice value.
fn flushed_by(nice: i32) -> (u64, u64) {
    let sim = Sim::with_faults(7, Faults::none());
    let mut host = Host::simulated(&sim);
    let front = host.port("front").workers(1).build().unwrap();
    let low = host.pool("low").workers(1).nice(nice).build().unwrap();
    let players = host
        .server("players", Quiet)
        .port(&front)
        .listen("10.0.0.1:1")
        .unwrap();
    let relay = host
        .server("relay", Relay(players.clone()))
        .port(&front)
        .pool(&low)
        .listen("10.0.0.1:2")
        .unwrap();
    host.start().unwrap();
    let player = sim.connect(players.local_addr().unwrap());
    let sender = sim.connect(relay.local_addr().unwrap());
    sim.run_until(|| players.sessions().len() == 1 && relay.sessions().len() == 1)
        .unwrap();
    let work = |host: &Host| {
        let stats = host.stats();
        let of =
            |workers: &[wharf::stats::WorkerSnapshot]| workers.iter().map(|w| w.port_work).sum();
        let (front, low): (u64, u64) = (of(&stats.ports[0].workers), of(&stats.pools[0].workers));
        (front, low)
    };
    let before = work(&host);
    sender.write(&[6, 0, b'n', b'e', b'w', b's']).unwrap();
    let mut got = Vec::new();
    sim.run_until(|| player.read(&mut got).is_ok()).unwrap();
    sim.run_for(Duration::from_millis(5)).unwrap();
    let after = work(&host);
    host.stop().unwrap();
    (after.0 - before.0, after.1 - before.1)
}

/// R9: a thread that the system puts behind others must not hold a player's flush right while it
/// waits for a core, so it leaves the write to the player's port.
#[test]
fn threads_of_a_lower_priority_hand_the_flush_to_the_port() {
    assert_eq!(flushed_by(5), (1, 0), "the port writes");
    assert_eq!(
        flushed_by(0),
        (0, 0),
        "the pool writes itself, at the turn's end"
    );
}

/// R5: the only worker of a pool is stuck in a job that has sent something. No sibling can take its
/// list, so a port's worker does.
#[test]
fn what_a_stuck_job_has_sent_leaves_all_the_same() {
    let mut host = Host::new();
    let front = host.port("front").workers(1).build().unwrap();
    let pool = host.pool("zones").workers(1).build().unwrap();
    let players = host
        .server("players", Quiet)
        .port(&front)
        .listen("127.0.0.1:0")
        .unwrap();
    let zone = pool.strand(players.clone());
    host.start().unwrap();
    let mut player = TcpStream::connect(players.local_addr().unwrap()).unwrap();
    player
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let until = Instant::now() + Duration::from_secs(10);
    while players.sessions().is_empty() {
        assert!(Instant::now() < until, "no session");
        std::thread::yield_now();
    }
    let (release, released) = mpsc::sync_channel::<()>(0);
    zone.post(move |players| {
        players.sessions().broadcast(b"news").unwrap();
        // Ends when the test has read, or has failed and dropped its end.
        let _ = released.recv();
    })
    .unwrap();
    let mut got = [0; 6];
    player.read_exact(&mut got).unwrap();
    assert_eq!(&got[2..], b"news");
    drop((release, player));
    host.stop().unwrap();
}
