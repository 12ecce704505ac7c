//! G1: callbacks of one session never overlap and come in arrival order, whatever the layout.

use crate::support::{Act, At, Layout, Log, World, check_stopped, number, numbered};

/// Frames arrive in random pieces from several peers at once. The ledger sees every overlap; the
/// state, which nobody locks, sees every inversion.
pub(crate) fn serial_in_order(w: &World, layout: Layout) {
    let (peers, frames) = w.pick((8, 200_u32), (4, 25));
    let mut host = w.host();
    let port = layout.ports().main(&mut host);
    let handler = Act::new(|_| Ok(0_u32)).on_frame(|s, expected, payload| {
        assert_eq!(number(payload), *expected);
        *expected += 1;
        Ok(s.send(payload)?)
    });
    let ledger = handler.ledger();
    let net = host.server("game", handler).at(&port).listen(w.any_addr());
    let net = net.unwrap();
    host.start().unwrap();
    let addr = net.local_addr().unwrap();

    let wire: Vec<u8> = (0..frames).flat_map(numbered).collect();
    let mut peers: Vec<_> = (0..peers).map(|_| (w.connect(addr), 0)).collect();
    w.until("every reply came", || {
        let mut done = true;
        for (peer, written) in &mut peers {
            let rest = &wire[*written..];
            if !rest.is_empty() {
                let piece = 1 + w.below(rest.len().min(64));
                *written += peer.write_some(&rest[..piece]);
            }
            peer.look();
            assert_eq!(peer.end, None);
            done &= peer.inbox.len() == wire.len();
        }
        done
    });
    for (peer, _) in &peers {
        assert_eq!(peer.inbox, wire, "replies are in the order of the requests");
    }
    drop(peers);
    w.until("the sessions are over", || net.sessions().is_empty());
    host.stop().unwrap();
    ledger.check_all_closed();
    check_stopped(&host.stats());
}

/// Jobs and frames of one session do not overlap either, and each poster's jobs keep their order.
pub(crate) fn jobs_are_serial_in_order(w: &World, layout: Layout) {
    let (posters, jobs) = w.pick((4, 200_u32), (3, 20));
    let mut host = w.host();
    let port = layout.ports().main(&mut host);
    let ran = Log::<(usize, u32)>::default();
    let own = ran.clone();
    // A frame posts a job to its own session: it runs after the callback, not inside it.
    let handler = Act::new(|_| Ok(())).on_frame(move |s, (), payload| {
        let (n, own) = (number(payload), own.clone());
        s.post(move |s, ()| {
            let ledger = s.handler().ledger();
            let _inside = ledger.job(s.id());
            own.push((usize::MAX, n));
        })?;
        Ok(())
    });
    let ledger = handler.ledger();
    let server = host.server("game", handler).at(&port).mailbox_max(1 << 20);
    let net = server.listen(w.any_addr()).unwrap();
    host.start().unwrap();
    let mut peer = w.connect(net.local_addr().unwrap());
    w.until("the session is open", || net.sessions().len() == 1);
    let session = net.sessions().first().unwrap();

    let mut callers: Vec<Box<dyn FnMut() -> bool + Send>> = Vec::new();
    for poster in 0..posters {
        let (session, ran, mut next) = (session.clone(), ran.clone(), 0);
        callers.push(Box::new(move || {
            let (n, ran) = (next, ran.clone());
            let posted = session.post(move |s, ()| {
                let ledger = s.handler().ledger();
                let _inside = ledger.job(s.id());
                ran.push((poster, n));
            });
            posted.unwrap();
            next += 1;
            next == jobs
        }));
    }
    (0..jobs).for_each(|n| peer.write(&numbered(n)));
    w.at_once(callers);
    let total = (posters + 1) * jobs as usize;
    w.until("every job ran", || ran.len() == total);
    let ran = ran.take();
    for poster in (0..posters).chain([usize::MAX]) {
        let own = ran.iter().filter(|(by, _)| *by == poster).map(|(_, n)| *n);
        assert!(own.eq(0..jobs), "jobs of {poster} ran out of order");
    }
    drop(peer);
    w.until("the session is over", || net.sessions().is_empty());
    host.stop().unwrap();
    ledger.check_all_closed();
    check_stopped(&host.stats());
}
