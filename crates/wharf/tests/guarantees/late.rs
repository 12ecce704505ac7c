//! G7: what the kernel says about a closed socket is told by its generation, and ignored.

use crate::support::{Act, Layout, World, check_stopped, serve};

/// Sessions come and go, so that slots and descriptors are used again at once. In the simulation
/// each closed socket is reported once more, reports come late, twice and for nothing.
pub(crate) fn close_joins_first(w: &World, layout: Layout) {
    #[cfg(feature = "sim")]
    if let Some(sim) = w.sim() {
        sim.set_faults(wharf::sim::Faults {
            stale_reports: 1.0,
            doubled_reports: 0.3,
            late_reports: 0.5,
            spurious_reports: 0.3,
            small_pipes: 0.0,
            ..wharf::sim::Faults::default()
        });
    }
    let handler = Act::new(|s| Ok(s.id())).on_frame(|s, id, payload| {
        assert_eq!(s.id(), *id);
        Ok(s.send(payload)?)
    });
    let ledger = handler.ledger();
    let (mut host, net) = serve(w, layout, handler, |server| server);
    let addr = net.local_addr().unwrap();
    let (rounds, at_once) = w.pick((60_u32, 8_u32), (8, 3));
    for round in 0..rounds {
        let mut peers: Vec<_> = (0..at_once).map(|_| w.connect(addr)).collect();
        for (n, peer) in (0..).zip(&mut peers) {
            let own = (round * 100 + n).to_le_bytes();
            assert_eq!(peer.ask(&own), own);
        }
        for (n, mut peer) in (0..).zip(peers) {
            match (round + n) % 4 {
                0 => drop(peer),
                1 => peer.reset(),
                2 => {
                    peer.half_close();
                    peer.expect_fin();
                }
                _ => {
                    // Both ends at once.
                    net.sessions().for_each(wharf::Session::close);
                }
            }
        }
    }
    w.until("all are gone", || {
        host.stats().networks[0].sessions_live == 0
    });
    host.stop().unwrap();
    ledger.check_all_closed();
    assert_eq!(ledger.opened(), (rounds * at_once) as usize);
    let stats = host.stats();
    check_stopped(&stats);
    if w.is_sim() {
        assert!(
            stats.ports[0].stale_reports > 0,
            "none was seen, so nothing was tested"
        );
    }
}
