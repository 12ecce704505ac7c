//! What port work may keep waiting, in the simulated network.
#![cfg(feature = "sim")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use wharf::sim::{Faults, Sim, SimPeer, hold};
use wharf::{Frame, Handler, Host, Network, Refuse, Session};

/// On `all` tells everybody; on `last` the one who came last, and flushes before it blocks.
#[derive(Clone, Default)]
struct Crier(Arc<OnceLock<Network<Self>>>);

impl Handler for Crier {
    type State = ();

    fn on_open(&self, _: &Session<Self>) -> Result<(), Refuse> {
        Ok(())
    }

    fn on_frame(&self, s: &Session<Self>, (): &mut (), frame: Frame<'_>) -> wharf::Result<()> {
        let sessions = self.0.get().unwrap().sessions();
        if frame.payload() == b"all" {
            sessions.broadcast(b"all")?;
        } else {
            let mut last = None;
            sessions.for_each(|session| last = Some(session.clone()));
            last.unwrap().send(b"you")?;
            s.flush();
            hold(Duration::from_secs(2));
        }
        Ok(())
    }
}

/// Accepts went before turns, 128 of them before each: a frame waited for all that came.
#[test]
fn connects_come_at_the_pace_of_the_turns() {
    let sim = Sim::with_faults(7, Faults::none());
    let mut host = Host::simulated(&sim);
    let port = host.port("main").workers(1).build().unwrap();
    let server = host.server("game", Crier::default()).port(&port);
    let net = server.listen("10.0.0.1:80").unwrap();
    host.start().unwrap();
    net.pause_accept();
    let addr = "10.0.0.1:80".parse().unwrap();
    let peers: Vec<_> = (0..500).map(|_| sim.connect(addr)).collect();
    sim.run_for(Duration::from_secs(1)).unwrap();
    net.resume_accept();
    let mut most = 0;
    loop {
        let stats = host.stats().networks[0].clone();
        most = most.max(stats.accepted - stats.opened);
        if stats.opened == peers.len() as u64 {
            break;
        }
        assert!(sim.step(), "{stats:?}");
    }
    // From a harvest on, which is 64, they come about one by one; it was 497 of the 500.
    assert!(most < 100, "{most} waited for their first turn at once");
    host.stop().unwrap();
}

/// A host with one worker, for long enough that its turns count as short, and so many peers.
fn crowd(sim: &Sim, count: usize) -> (Host, Vec<SimPeer>) {
    let mut host = Host::simulated(sim);
    let port = host.port("main").workers(1).build().unwrap();
    let crier = Crier::default();
    let server = host.server("game", crier.clone()).port(&port);
    let net = server.listen("10.0.0.1:80").unwrap();
    let _ = crier.0.set(net.clone());
    host.start().unwrap();
    let addr = "10.0.0.1:80".parse().unwrap();
    let connect = |open| {
        let peer = sim.connect(addr);
        sim.run_until(|| net.sessions().len() > open).unwrap();
        peer
    };
    let peers = (0..count).map(connect).collect();
    sim.run_for(Duration::from_millis(1500)).unwrap();
    (host, peers)
}

/// The end of a long list became port work, where `flush` did not find it: what the next turn sent
/// to the last of them waited for as long as that turn blocked.
#[test]
fn a_flush_finds_the_end_of_an_earlier_list() {
    let sim = Sim::with_faults(7, Faults::none());
    let (mut host, peers) = crowd(&sim, 200);
    peers[0].write(b"\x05\0all").unwrap();
    peers[1].write(b"\x06\0last").unwrap();
    sim.run_for(Duration::from_secs(1)).unwrap();
    let mut got = Vec::new();
    peers[199].read(&mut got).unwrap();
    assert_eq!(got, b"\x05\0all\x05\0you");
    host.stop().unwrap();
}

/// Everybody is written to when turns have ended, and a sleeping worker leaves nothing.
#[test]
fn the_end_of_a_long_list_is_written_before_the_worker_sleeps() {
    let sim = Sim::with_faults(7, Faults::none());
    let (mut host, peers) = crowd(&sim, 500);
    for _ in 0..3 {
        peers[3].write(b"\x05\0all").unwrap();
        sim.run_for(Duration::from_millis(20)).unwrap();
        for (n, peer) in peers.iter().enumerate() {
            let mut got = Vec::new();
            peer.read(&mut got).unwrap();
            assert_eq!(got, b"\x05\0all", "{n}");
        }
    }
    host.stop().unwrap();
}
