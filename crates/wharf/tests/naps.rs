//! Whom a nap may keep waiting, in the simulated network: nobody for longer than the nap.
#![cfg(feature = "sim")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use wharf::sim::{Faults, Sim, SimPeer, hold};
use wharf::{Frame, Handler, Host, Refuse, Session};

/// Echoes, but `stuck` keeps its worker.
struct Echo;

impl Handler for Echo {
    type State = ();

    fn on_open(&self, _: &Session<Self>) -> Result<(), Refuse> {
        Ok(())
    }

    fn on_frame(&self, s: &Session<Self>, (): &mut (), frame: Frame<'_>) -> wharf::Result<()> {
        if frame.payload() == b"stuck" {
            hold(Duration::from_millis(50));
        } else {
            s.send(frame.payload())?;
        }
        Ok(())
    }
}

const STUCK: &[u8] = b"\x07\0stuck";
const ECHO: &[u8] = b"\x06\0echo";

fn peers_of(sim: &Sim, host: &mut Host, workers: usize) -> Vec<SimPeer> {
    let port = host.port("main").workers(workers);
    let port = port.nap(Duration::from_micros(500)).build().unwrap();
    let server = host.server("game", Echo).port(&port);
    let net = server.listen("10.0.0.1:80").unwrap();
    host.start().unwrap();
    let addr = "10.0.0.1:80".parse().unwrap();
    let peers: Vec<_> = (0..16).map(|_| sim.connect(addr)).collect();
    sim.run_until(|| net.sessions().len() == peers.len())
        .unwrap();
    peers
}

/// All ask again as soon as they are answered, for so long.
fn be_busy(sim: &Sim, peers: &[SimPeer], time: Duration) {
    let until = sim.now() + time;
    for peer in peers {
        peer.write(ECHO).unwrap();
    }
    while sim.now() < until {
        sim.step();
        for peer in peers {
            let mut got = Vec::new();
            if peer.read(&mut got).unwrap_or(0) > 0 {
                peer.write(ECHO).unwrap();
            }
        }
    }
}

fn naps(host: &Host) -> u64 {
    let stats = host.stats();
    let workers = stats.ports.iter().flat_map(|port| &port.workers);
    workers.map(|worker| worker.naps).sum()
}

/// G3: all but one worker get stuck while others nap. Whoever asks then is answered by one who
/// comes back from its nap, and by no means waits for the handlers.
#[test]
fn who_naps_is_back_soon_when_the_siblings_get_stuck() {
    let mut slept = 0;
    for seed in 0..60 {
        let some = Faults::default();
        let faults = Faults {
            delay_max: Duration::from_micros(20),
            preempts: some.preempts,
            preempt_max: some.preempt_max,
            step_max: some.step_max,
            ..Faults::none()
        };
        let sim = Sim::with_faults(seed, faults);
        let mut host = Host::simulated(&sim);
        let workers = 2 + usize::try_from(seed % 3).unwrap();
        let peers = peers_of(&sim, &mut host, workers);
        let (asking, others) = peers.split_last().unwrap();
        let (blocking, busy) = others.split_at(workers - 1);
        be_busy(&sim, busy, Duration::from_millis(3 + seed % 5));
        for peer in blocking {
            peer.write(STUCK).unwrap();
        }
        asking.write(ECHO).unwrap();
        let asked = sim.now();
        let mut got = Vec::new();
        sim.run_until(|| asking.read(&mut got).is_ok_and(|bytes| bytes > 0))
            .unwrap();
        let took = sim.now() - asked;
        // Two naps at most, and what the simulated network and its preemptions take.
        assert!(took < Duration::from_millis(1), "seed {seed}: {took:?}");
        slept += naps(&host);
        host.stop().unwrap();
    }
    assert!(slept > 60, "they hardly ever nap here: {slept} times");
}

/// A worker that has nobody beside it does not nap, nor does one that does all of the work.
#[test]
fn who_is_needed_does_not_nap() {
    let sim = Sim::with_faults(3, Faults::none());
    let mut host = Host::simulated(&sim);
    let peers = peers_of(&sim, &mut host, 1);
    be_busy(&sim, &peers, Duration::from_millis(20));
    assert_eq!(naps(&host), 0);
    host.stop().unwrap();
}
