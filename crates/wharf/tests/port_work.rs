//! A storm of connects and the sessions that are there, in the simulated network.
#![cfg(feature = "sim")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use wharf::sim::{Faults, Sim};
use wharf::{Frame, Handler, Host, Refuse, Session};

struct Echo;

impl Handler for Echo {
    type State = ();

    fn on_open(&self, _: &Session<Self>) -> Result<(), Refuse> {
        Ok(())
    }

    fn on_frame(&self, s: &Session<Self>, (): &mut (), frame: Frame<'_>) -> wharf::Result<()> {
        Ok(s.send(frame.payload())?)
    }
}

/// Accepts went before turns, 128 of them before each: a frame waited for all that came.
#[test]
fn connects_come_at_the_pace_of_the_turns() {
    let sim = Sim::with_faults(7, Faults::none());
    let mut host = Host::simulated(&sim);
    let port = host.port("main").workers(1).build().unwrap();
    let server = host.server("game", Echo).port(&port);
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
