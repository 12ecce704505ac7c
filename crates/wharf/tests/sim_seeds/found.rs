//! What the seeds have found, and two things that reading has: each as the smallest run that shows
//! it.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use wharf::sim::{Faults, Sim, SimPeer, hold};
use wharf::{
    Frame, Handler, Host, Network, Refuse, SendError, SendQueueLimits, ServerBuilder, Session,
    WhenFull,
};

/// Answers each frame with as many frames as its first byte says, of as many bytes as its second.
struct Many;

impl Handler for Many {
    type State = ();

    fn on_open(&self, _: &Session<Self>) -> Result<(), Refuse> {
        Ok(())
    }

    fn on_frame(&self, s: &Session<Self>, (): &mut (), f: Frame<'_>) -> wharf::Result<()> {
        let [count, len] = f.payload() else {
            return Ok(());
        };
        for _ in 0..*count {
            let _: Result<(), SendError> = s.send(&vec![7; usize::from(*len)]);
        }
        Ok(())
    }
}

/// A server with this queue, and a connected peer, on a network of this many bytes.
fn served(queue: SendQueueLimits, pipe_bytes: usize) -> (Sim, Host, Network<Many>, SimPeer) {
    served_as(pipe_bytes, |server| server.send_queue(queue))
}

/// A server as `set` says, and a connected peer.
fn served_as(
    pipe_bytes: usize,
    set: impl FnOnce(ServerBuilder<'_, Many>) -> ServerBuilder<'_, Many>,
) -> (Sim, Host, Network<Many>, SimPeer) {
    let faults = Faults {
        pipe_bytes,
        ..Faults::none()
    };
    let sim = Sim::with_faults(6961, faults);
    let mut host = Host::simulated(&sim);
    let server = set(host.server("many", Many).workers(2));
    let network = server.listen("10.0.0.1:80").unwrap();
    host.start().unwrap();
    let peer = sim.connect("10.0.0.1:80".parse().unwrap());
    sim.run_until(|| !network.sessions().is_empty()).unwrap();
    (sim, host, network, peer)
}

fn ask(peer: &SimPeer, count: u8, len: u8) {
    assert_eq!(peer.write(&[4, 0, count, len]).unwrap(), 4);
}

/// Seed 6961: a peer had ended its stream and read slowly. Each time it took something, the report
/// named the end of the stream too, and the session was then served in circles at full speed.
#[test]
fn a_slow_reader_that_has_ended_its_stream_costs_no_turns() {
    let (sim, host, network, peer) = served(SendQueueLimits::default(), 64);
    ask(&peer, 200, 100);
    peer.shutdown_write();
    let turns = || {
        host.stats().networks[0].turns
            + host.stats().ports[0]
                .workers
                .iter()
                .map(|w| w.turns)
                .sum::<u64>()
    };
    sim.run_for(Duration::from_millis(50)).unwrap();
    assert!(network.sessions().is_empty(), "the callbacks are over");
    let mut got = Vec::new();
    for _ in 0..32 {
        peer.read(&mut got).unwrap();
        sim.run_for(Duration::from_millis(5)).unwrap();
    }
    let before = turns();
    sim.run_for(Duration::from_millis(500)).unwrap();
    assert!(
        turns() - before < 10,
        "{} turns for nothing",
        turns() - before
    );
    sim.run_until(|| matches!(peer.read(&mut got), Ok(0)))
        .unwrap();
    assert_eq!(got.len(), 200 * 102, "and all of it came");
}

/// Most seeds with a small `frames_max`: a turn's own replies were counted in bytes only.
#[test]
fn replies_of_a_turn_keep_to_frames_max() {
    let queue = SendQueueLimits {
        frames_max: 3,
        when_full: WhenFull::Error,
        ..SendQueueLimits::default()
    };
    let (sim, host, network, peer) = served(queue, 40);
    ask(&peer, 100, 10);
    for _ in 0..100 {
        sim.run_for(Duration::from_micros(1)).unwrap();
        let session = network.sessions().first().unwrap();
        assert!(
            session.send_queue().frames <= 3,
            "{:?}",
            session.send_queue()
        );
    }
    assert!(host.stats().networks[0].send_queue_full > 0);
    let mut got = Vec::new();
    let mut frames = 0;
    sim.run_for(Duration::from_millis(10)).unwrap();
    while peer.read(&mut got).is_ok() {
        sim.run_for(Duration::from_millis(10)).unwrap();
    }
    while let Some((frame, rest)) = got.split_at_checked(12) {
        assert_eq!(frame, [&[12, 0][..], &[7; 10]].concat());
        got = rest.to_vec();
        frames += 1;
    }
    assert!(
        got.is_empty() && (3..=8).contains(&frames),
        "{frames} whole frames, {got:?} left"
    );
}

/// Seed 121794: a frame larger than the whole queue, sent while others waited there, dropped them
/// and then itself; nobody was left to say that the queue was low again, and the session was never
/// read any more.
#[test]
fn a_frame_larger_than_the_queue_drops_nothing_and_chokes_nobody() {
    let queue = SendQueueLimits {
        bytes_max: 100,
        when_full: WhenFull::DropOld,
        ..SendQueueLimits::default()
    };
    let (sim, host, network, peer) = served(queue, 4096);
    let session = network.sessions().first().unwrap();
    // In a batch, as in a turn, nothing is flushed in between.
    let other = Host::simulated(&sim).port("any").workers(1).build();
    other.unwrap().batch(|| {
        assert_eq!(session.send(&[1; 60]), Ok(()));
        assert!(session.send_queue().behind);
        assert_eq!(session.send(&[1; 200]), Err(SendError::Dropped));
        assert_eq!(session.send_queue().frames, 1, "the one before it waits on");
    });
    ask(&peer, 1, 1);
    sim.run_for(Duration::from_millis(1)).unwrap();
    let mut got = Vec::new();
    assert_eq!(peer.read(&mut got).unwrap(), 62 + 3);
    let stats = &host.stats().networks[0];
    assert_eq!((stats.dropped_old, stats.dropped_new), (0, 1));
}

/// Seed 1000004597: what a turn read behind a callback that had taken longer than the idle time was
/// stamped with the turn's begin, and the peer that had just spoken was closed for its silence.
#[test]
fn what_is_read_behind_a_long_callback_is_not_old() {
    let idle = Duration::from_millis(100);
    let (sim, host, network, peer) = served_as(4096, |server| server.idle_timeout(Some(idle)));
    let session = network.sessions().first().unwrap();
    let guard = session.pause_reading();
    ask(&peer, 1, 1);
    sim.run_for(idle / 2).unwrap();
    let clock = sim.clone();
    let job = move |_: &Session<Many>, (): &mut ()| {
        clock.suspend(idle * 3);
        drop(guard);
    };
    session.post(job).unwrap();
    let mut got = Vec::new();
    sim.run_until(|| peer.read(&mut got).is_ok()).unwrap();
    sim.run_for(idle * 9 / 10).unwrap();
    assert!(session.is_open(), "it has spoken");
    sim.run_for(idle / 5).unwrap();
    assert!(!session.is_open());
    assert_eq!(host.stats().networks[0].closes_named("idle_timeout"), 1);
}

/// On a frame, writes to another peer's session as that peer, and is off its core for a long time.
#[derive(Clone, Default)]
struct Away(Arc<OnceLock<(Arc<SimPeer>, Sim)>>);

impl Handler for Away {
    type State = ();

    fn on_open(&self, _: &Session<Self>) -> Result<(), Refuse> {
        Ok(())
    }

    fn on_frame(&self, s: &Session<Self>, (): &mut (), f: Frame<'_>) -> wharf::Result<()> {
        if f.payload() == b"away"
            && let Some((other, sim)) = self.0.get()
        {
            other.write(b"\x04\0hi").unwrap();
            sim.suspend(Duration::from_millis(300));
        }
        Ok(s.send(f.payload())?)
    }
}

/// Found by reading: what waited in the kernel while the only worker was away counted as silence.
#[test]
fn who_spoke_while_the_worker_was_away_is_not_idle() {
    let sim = Sim::with_faults(7, Faults::none());
    let mut host = Host::simulated(&sim);
    let away = Away::default();
    let server = host.server("away", away.clone()).workers(1);
    let server = server.idle_timeout(Some(Duration::from_millis(100)));
    let network = server.listen("10.0.0.1:80").unwrap();
    host.start().unwrap();
    let peer = sim.connect("10.0.0.1:80".parse().unwrap());
    let other = Arc::new(sim.connect("10.0.0.1:80".parse().unwrap()));
    sim.run_until(|| network.sessions().len() == 2).unwrap();
    let _ = away.0.set((Arc::clone(&other), sim.clone()));
    peer.write(b"\x06\0away").unwrap();
    let mut got = Vec::new();
    sim.run_until(|| other.read(&mut got).is_ok()).unwrap();
    assert_eq!(got, b"\x04\0hi");
    assert_eq!(network.sessions().len(), 2);
}

/// Seed 5000017072: a process was stopped (SIGSTOP, a sleeping machine) just after its host had cut
/// what was left, and the grace was over before anybody had run again: sessions were thrown away
/// without their `on_close`, and counted as live for ever.
#[test]
fn a_stop_does_not_count_the_time_in_which_nobody_runs() {
    for seed in 0..40 {
        let sim = Sim::with_faults(seed, Faults::none());
        let mut host = Host::simulated(&sim);
        host.set_drain_deadline(Duration::from_millis(10));
        let server = host.server("many", Many).workers(1);
        let network = server.listen("10.0.0.1:80").unwrap();
        host.start().unwrap();
        let peers = [(); 3].map(|()| sim.connect("10.0.0.1:80".parse().unwrap()));
        sim.run_until(|| network.sessions().len() == peers.len())
            .unwrap();
        let job = |_: &Session<Many>, (): &mut ()| hold(Duration::from_millis(500));
        network.sessions().first().unwrap().post(job).unwrap();
        let said = |what: &str| sim.log_tail(12).iter().any(|event| event.contains(what));
        sim.run_until(|| said("held for")).unwrap();
        host.handle().stop();
        sim.run_until(|| said("disconnect")).unwrap();
        // The grace begins with the next look.
        sim.run_for(Duration::from_millis(5)).unwrap();
        sim.suspend(Duration::from_secs(1));
        host.stop().unwrap();
        let stats = &host.stats().networks[0];
        assert_eq!((stats.opened, stats.ended), (3, 3), "seed {seed}");
        assert_eq!(stats.sessions_live, 0, "seed {seed}");
    }
}

/// Found by reading: where each look at a stop came late, as on a machine with far too much to do,
/// each gave the grace back what had passed of it, and a callback that was stuck kept the stop from
/// ever ending.
#[test]
fn a_stop_ends_although_each_look_at_it_is_late() {
    let sim = Sim::with_faults(1, Faults::none());
    let mut host = Host::simulated(&sim);
    host.set_drain_deadline(Duration::from_millis(10));
    let server = host.server("many", Many).workers(1);
    let network = server.listen("10.0.0.1:80").unwrap();
    host.start().unwrap();
    let _peer = sim.connect("10.0.0.1:80".parse().unwrap());
    sim.run_until(|| network.sessions().len() == 1).unwrap();
    let job = |_: &Session<Many>, (): &mut ()| hold(Duration::from_secs(3600));
    network.sessions().first().unwrap().post(job).unwrap();
    sim.run_until(|| {
        let events = sim.log_tail(12);
        events.iter().any(|event| event.contains("held for"))
    })
    .unwrap();
    host.handle().stop();
    for _ in 0..60 {
        sim.run_for(Duration::from_millis(3)).unwrap();
        sim.suspend(Duration::from_millis(60));
    }
    let before = sim.now();
    host.stop().unwrap();
    assert_eq!(sim.now(), before, "it had stopped by then");
}
