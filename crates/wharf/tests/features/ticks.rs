//! Frames that wait for the tick: one write a session and tick, whoever sent them.

use std::time::Duration;

use wharf::{CloseReason, FlushMode, Handler, Host, Network, SendError, SendQueueLimits, WhenFull};

use crate::support::{
    Act, Layout, World, check_stopped, frame, number, numbered, serve, small_queue, small_socket,
};

/// Write calls and frames of the network so far.
fn sent(host: &Host) -> (u64, u64) {
    let stats = host.stats();
    let game = stats.network("game").unwrap();
    (game.sends, game.frames_out)
}

/// The simulation's sockets take every write whole, so that writes can be counted.
fn whole_writes(w: &World) {
    #[cfg(feature = "sim")]
    if let Some(sim) = w.sim() {
        sim.set_faults(wharf::sim::Faults::none());
    }
    let _ = w;
}

fn held<H: Handler>(net: &Network<H>) -> usize {
    let sessions = net.sessions().to_vec();
    sessions.iter().map(|s| s.send_queue().frames).sum()
}

/// Replies of several turns, frames of another session, of a job and of a thread: between two ticks
/// nothing leaves, and with the tick all of it does, in order and in one write a session.
pub(crate) fn a_tick_is_one_write(w: &World, layout: Layout) {
    whole_writes(w);
    let handler = Act::new(|_| Ok(())).on_frame(|s, (), payload| {
        let mut doubled = payload.to_vec();
        doubled.extend_from_slice(payload);
        s.send(payload)?;
        s.send_wire(frame(&doubled).into())?;
        Ok(())
    });
    let (mut host, net) = serve(w, layout, handler, |server| server.flush(FlushMode::Tick));
    let addr = net.local_addr().unwrap();
    let (mut one, mut two) = (w.connect(addr), w.connect(addr));
    w.until("both are open", || net.sessions().len() == 2);
    assert_eq!(net.flush(), 0, "nothing was sent yet");
    for tick in 1..=3_u32 {
        for n in 0..20 {
            // One by one: each in a turn of its own.
            one.write(&numbered(n));
            two.write(&numbered(n));
            let expected = (n as usize + 1) * 4;
            w.until("they are answered", || held(&net) == expected);
        }
        for session in net.sessions().to_vec() {
            for n in 0..80 {
                session.send(&numbered(n)).unwrap();
            }
            session
                .post(|s, ()| {
                    s.send_with(|out| {
                        out.extend_from_slice(&[b'j'; 5000]);
                        Ok::<(), SendError>(())
                    })
                    .unwrap()
                })
                .unwrap();
        }
        w.until("the jobs ran", || held(&net) == 2 * (40 + 80 + 1));
        assert_eq!(net.sessions().broadcast(b"all").unwrap().accepted, 2);
        w.pass(Duration::from_millis(20));
        let before = u64::from(tick - 1);
        assert_eq!(
            sent(&host),
            (before * 2, before * 2 * 122),
            "before the tick"
        );
        one.look();
        assert_eq!(one.inbox, b"", "nothing came before the tick");

        assert_eq!(net.flush(), 2);
        for peer in [&mut one, &mut two] {
            for n in 0..20 {
                assert_eq!(number(&peer.recv()), n);
                assert_eq!(peer.recv().len(), 8);
            }
            for n in 0..80 {
                assert_eq!(peer.recv(), numbered(n));
            }
            assert_eq!(peer.recv(), [b'j'; 5000]);
            assert_eq!(peer.recv(), b"all");
        }
        let after = u64::from(tick);
        w.until("the tick is over", || sent(&host).1 == after * 2 * 122);
        assert_eq!(sent(&host).0, after * 2, "one write a session and tick");
        assert_eq!(net.flush(), 0, "nothing is left");
    }
    drop((one, two));
    host.stop().unwrap();
    check_stopped(&host.stats());
}

/// A group's flush is for its members alone, a session's for that session; the network's takes what
/// they left, and finds nobody twice.
pub(crate) fn a_group_ticks_alone(w: &World, layout: Layout) {
    let (host, net) = serve(w, layout, Act::echo(), |server| {
        server.flush(FlushMode::Tick)
    });
    let addr = net.local_addr().unwrap();
    let mut peers: Vec<_> = (0..4).map(|_| w.connect(addr)).collect();
    w.until("all are open", || net.sessions().len() == 4);
    let sessions = net.sessions().to_vec();
    let zone = net.group();
    for session in &sessions[..2] {
        zone.join(session);
    }
    // Peers and sessions need not be in one order: each is asked for its own.
    let peer_of = |session: usize, peers: &[crate::support::Peer]| {
        let addr = sessions[session].peer_addr();
        peers.iter().position(|peer| peer.addr() == addr).unwrap()
    };
    for round in 0..5_u32 {
        net.sessions().broadcast(&round.to_le_bytes()).unwrap();
        assert_eq!(zone.flush(), 2);
        assert_eq!(zone.flush(), 0);
        sessions[2].flush();
        for session in 0..3 {
            let at = peer_of(session, &peers);
            assert_eq!(number(&peers[at].recv()), round);
        }
        let last = peer_of(3, &peers);
        peers[last].look();
        assert_eq!(peers[last].inbox, b"", "nobody flushed this one");
        assert_eq!(net.flush(), 1, "the others have nothing left");
        assert_eq!(number(&peers[last].recv()), round);
    }
    drop(peers);
    crate::support::finish(host);
}

/// More sessions than one caller writes to: the port's workers share them.
pub(crate) fn a_tick_for_many(w: &World, layout: Layout) {
    w.move_much();
    let count = 80;
    let (host, net) = serve(w, layout, Act::sink(), |server| {
        server.flush(FlushMode::Tick)
    });
    let addr = net.local_addr().unwrap();
    let mut peers: Vec<_> = (0..count).map(|_| w.connect(addr)).collect();
    w.until("all are open", || net.sessions().len() == count);
    for tick in 0..3_u32 {
        for n in 0..10 {
            let sent = net.sessions().broadcast(&(tick * 10 + n).to_le_bytes());
            assert_eq!(sent.unwrap().accepted, count);
        }
        assert_eq!(net.sessions().flush(), count);
        for peer in &mut peers {
            for n in 0..10 {
                assert_eq!(number(&peer.recv()), tick * 10 + n);
            }
        }
    }
    drop(peers);
    crate::support::finish(host);
}

/// A close does not wait for a tick that never comes: what was sent is flushed first, own replies
/// of the last turn and a farewell of a refusing `on_open` included.
pub(crate) fn a_close_flushes(w: &World, layout: Layout) {
    let handler = Act::new(|s| {
        s.send(b"hello").unwrap();
        if s.network().sessions().len() == 1 {
            s.send(b"full").unwrap();
            return Err(wharf::Refuse::new("full"));
        }
        Ok(())
    });
    let handler = handler.on_frame(|s, (), payload| {
        s.send(payload)?;
        if payload == b"fail" {
            return Err(wharf::Error::handler("asked to"));
        }
        s.close();
        Ok(())
    });
    let (mut host, net) = serve(w, layout, handler, |server| server.flush(FlushMode::Tick));
    let addr = net.local_addr().unwrap();
    for (word, reason) in [(&b"close"[..], "closed"), (b"fail", "handler_error")] {
        let mut peer = w.connect(addr);
        w.until("it is open", || net.sessions().len() == 1);
        let mut refused = w.connect(addr);
        assert_eq!(
            (refused.recv(), refused.recv()),
            (b"hello".to_vec(), b"full".to_vec())
        );
        refused.expect_fin();
        peer.send(word);
        assert_eq!(
            (peer.recv(), peer.recv()),
            (b"hello".to_vec(), word.to_vec())
        );
        peer.expect_fin();
        drop(peer);
        w.until("it is over", || net.sessions().is_empty());
        assert_eq!(
            host.stats().network("game").unwrap().closes_named(reason),
            1
        );
    }
    // The stop of the host is a close as well.
    let mut peer = w.connect(addr);
    w.until("it is open", || net.sessions().len() == 1);
    net.sessions().broadcast(b"the end").unwrap();
    net.stop();
    assert_eq!(
        (peer.recv(), peer.recv()),
        (b"hello".to_vec(), b"the end".to_vec())
    );
    peer.expect_fin();
    drop(peer);
    host.stop().unwrap();
    let stats = host.stats();
    check_stopped(&stats);
    assert_eq!(stats.network("game").unwrap().frames_lost, 0);
}

/// Without a tick: at high water what waits is flushed at once, so a peer that reads gets it; one
/// that does not read is dealt with as the queue's policy says.
pub(crate) fn no_tick_ever(w: &World, layout: Layout) {
    let limits = SendQueueLimits {
        high_water_bytes: Some(2020),
        ..small_queue(WhenFull::Close)
    };
    let (mut host, net) = serve(w, layout, Act::sink(), |server| {
        let server = server.send_queue(limits).socket(small_socket());
        server.flush(FlushMode::Tick)
    });
    let mut reader = w.connect(net.local_addr().unwrap());
    w.until("it is open", || net.sessions().len() == 1);
    let session = net.sessions().first().unwrap();
    for n in 0..400_u32 {
        let mut payload = n.to_le_bytes().to_vec();
        payload.resize(200, b'.');
        session.send(&payload).unwrap();
        if n % 10 == 9 {
            // Ten frames of 202 bytes are at the mark.
            for n in n - 9..=n {
                assert_eq!(number(&reader.recv()), n);
            }
            w.until("it is read again", || !session.send_queue().behind);
        }
    }
    drop(reader);
    w.until("the reader is gone", || net.sessions().is_empty());

    let mut lazy = w.connect_narrow(net.local_addr().unwrap());
    w.until("it is open", || net.sessions().len() == 1);
    let session = net.sessions().first().unwrap();
    let mut sends = 0;
    while session.send(&[0; 1000]).is_ok() {
        assert!(session.send_queue().bytes <= 16 * 1024);
        sends += 1;
        assert!(sends < 100_000, "the queue has a limit");
        w.nudge();
    }
    w.until("the policy closed it", || net.sessions().is_empty());
    lazy.read_to_end();
    drop(lazy);
    host.stop().unwrap();
    let stats = host.stats();
    check_stopped(&stats);
    let name = CloseReason::SendQueueFull.name();
    assert_eq!(stats.network("game").unwrap().closes_named(name), 1);
}

/// Many callers send while ticks go on, and the peer reads slowly: nothing is lost or reordered.
pub(crate) fn ticks_keep_each_callers_order(w: &World, layout: Layout) {
    let (callers, frames) = w.pick((3, 300_u32), (3, 30));
    let (mut host, net) = serve(w, layout, Act::sink(), |server| {
        server.flush(FlushMode::Tick)
    });
    let mut peer = w.connect_narrow(net.local_addr().unwrap());
    w.until("it is open", || net.sessions().len() == 1);
    let session = net.sessions().first().unwrap();
    let caller = |index: u8| -> Box<dyn FnMut() -> bool + Send> {
        let (session, net, mut n) = (session.clone(), net.clone(), 0);
        Box::new(move || {
            let mut payload = n_of(n).to_vec();
            payload.push(index);
            payload.resize(5 + (n as usize * 37) % 150, b'.');
            session.send(&payload).unwrap();
            n += 1;
            if n % 7 == 0 {
                net.flush();
            }
            n == frames
        })
    };
    w.at_once((0..callers).map(caller).collect());
    net.flush();
    let mut expected = vec![0; usize::from(callers)];
    for _ in 0..u32::from(callers) * frames {
        let payload = peer.recv();
        let caller = usize::from(payload[4]);
        assert_eq!(number(&payload), expected[caller]);
        expected[caller] += 1;
    }
    drop(peer);
    host.stop().unwrap();
    check_stopped(&host.stats());
}

/// What is held is lost with an abort, and counted; under `drop_old` the oldest of it makes room,
/// frame by frame. A flush that comes afterwards finds nothing.
pub(crate) fn what_is_held_can_be_lost(w: &World) {
    w.move_much();
    let limits = SendQueueLimits {
        // Never high: it would be flushed.
        high_water_bytes: Some(16 * 1024),
        frames_max: 9,
        ..small_queue(WhenFull::DropOld)
    };
    let (mut host, net) = serve(w, Layout::Shared(2), Act::sink(), |server| {
        server.send_queue(limits).flush(FlushMode::Tick)
    });
    let addr = net.local_addr().unwrap();
    let mut peer = w.connect(addr);
    w.until("it is open", || net.sessions().len() == 1);
    let session = net.sessions().first().unwrap();
    // Large enough that few fit: the frames' own mark would be reached by many small ones.
    let payload = |n: u32| {
        let mut payload = vec![0; 5000];
        payload[..4].copy_from_slice(&n.to_le_bytes());
        payload
    };
    for n in 0..10 {
        session.send(&payload(n)).unwrap();
    }
    assert_eq!(net.flush(), 1);
    for n in 7..10 {
        assert_eq!(number(&peer.recv()), n);
    }
    for n in 0..3_u32 {
        session.send(&n.to_le_bytes()).unwrap();
    }
    session.abort();
    assert_eq!(session.send(b"late"), Err(SendError::Closed));
    net.flush();
    peer.expect_reset();
    drop(peer);
    w.until("it is over", || net.sessions().is_empty());
    assert_eq!(net.flush(), 0);
    host.stop().unwrap();
    let stats = host.stats();
    check_stopped(&stats);
    let game = stats.network("game").unwrap();
    assert_eq!((game.dropped_old, game.frames_lost), (7, 3));
}

/// A tick on threads of low priority leaves the writes to the network's port.
pub(crate) fn a_tick_of_low_priority_writes_nothing(w: &World) {
    let mut host = w.host();
    let port = host.port("game").workers(2).build().unwrap();
    let zones = host.pool("zones").workers(1).nice(5).build().unwrap();
    let net = host
        .server("game", Act::sink())
        .port(&port)
        .flush(FlushMode::Tick);
    let net = net.listen(w.any_addr()).unwrap();
    host.start().unwrap();
    let mut peer = w.connect(net.local_addr().unwrap());
    w.until("it is open", || net.sessions().len() == 1);
    let work = |host: &Host| -> u64 {
        let stats = host.stats();
        let workers = stats.ports.iter().flat_map(|port| &port.workers);
        workers.map(|worker| worker.port_work).sum()
    };
    for n in 0..5_u32 {
        net.sessions().broadcast(&n.to_le_bytes()).unwrap();
        let (before, zone) = (work(&host), net.clone());
        zones.post(move || assert_eq!(zone.flush(), 1)).unwrap();
        assert_eq!(number(&peer.recv()), n);
        w.until("the port has counted it", || work(&host) > before);
    }
    drop(peer);
    crate::support::finish(host);
}

fn n_of(n: u32) -> [u8; 4] {
    n.to_le_bytes()
}
