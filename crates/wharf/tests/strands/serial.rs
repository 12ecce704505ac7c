//! One job at a time, in order, bounded; answers; what a turn sends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use wharf::{OnPanic, SendError, Session, Strand, StrandOptions};

use super::{host_with, ms, started};
use crate::support::{Act, Log, World, finish, number, numbered};

/// A value that notices two jobs at once.
#[derive(Default)]
struct Book {
    inside: Arc<AtomicBool>,
    last: [u32; 8],
    jobs: usize,
}

pub(crate) fn jobs_are_serial_in_order(w: &World) {
    let (host, port) = started(w, 3);
    let each = w.pick(5_000, 50);
    let wrong = Arc::new(AtomicUsize::new(0));
    let strand = port.strand(Book::default());
    let mut callers: Vec<Box<dyn FnMut() -> bool + Send>> = Vec::new();
    for sender in 0..8 {
        let (strand, wrong) = (strand.clone(), Arc::clone(&wrong));
        let mut next = 0;
        callers.push(Box::new(move || {
            let (wrong, number) = (Arc::clone(&wrong), next);
            let posted = strand.post(move |book: &mut Book| {
                let inside = Arc::clone(&book.inside);
                let alone = !inside.swap(true, Ordering::SeqCst);
                let in_order = book.last[sender] == number;
                wrong.fetch_add(usize::from(!alone || !in_order), Ordering::SeqCst);
                book.last[sender] = number + 1;
                book.jobs += 1;
                inside.store(false, Ordering::SeqCst);
            });
            match posted {
                Ok(()) => next += 1,
                Err(error) => assert_eq!(error, SendError::Full),
            }
            next == each
        }));
    }
    w.at_once(callers);
    let all = 8 * each as usize;
    w.until("all jobs ran", || strand.stats().ran == all as u64);
    assert_eq!(
        wrong.load(Ordering::SeqCst),
        0,
        "jobs at once, or out of order"
    );
    let stats = strand.stats();
    assert_eq!(
        (stats.posted, stats.waiting, stats.panics),
        (all as u64, 0, 0)
    );
    finish(host);
}

/// A strand whose jobs wait, because the host has not started, takes so many and no more.
pub(crate) fn the_mailbox_is_bounded(w: &World) {
    let (mut host, port, _) = host_with(w, 1);
    let options = StrandOptions {
        mailbox_max: 5,
        on_panic: OnPanic::Keep,
        ..StrandOptions::default()
    };
    let strand = port.strand_with(Vec::new(), options).unwrap();
    let kept = Arc::new(());
    let post = |n: u32| {
        let kept = Arc::clone(&kept);
        strand.post(move |got: &mut Vec<u32>| {
            let _kept = kept;
            got.push(n);
        })
    };
    let timer = strand.post_after(ms(1), |got| got.push(100)).unwrap();
    for n in 0..4 {
        post(n).unwrap();
    }
    assert_eq!(post(4), Err(SendError::Full), "a timer counts as one");
    assert_eq!(
        strand.post_after(ms(1), |_| ()).unwrap_err(),
        SendError::Full
    );
    assert_eq!(
        Arc::strong_count(&kept),
        5,
        "nothing is left of what was refused"
    );
    let stats = strand.stats();
    assert_eq!((stats.posted, stats.full), (5, 2));
    assert_eq!((stats.waiting, stats.delayed), (4, 1));
    assert!(timer.cancel());
    post(4).unwrap();
    // A job may post to its own strand as soon as it has left the mailbox, and not before.
    let own = strand.downgrade();
    let told = Log::default();
    let tell = told.clone();
    host.start().unwrap();
    w.until("they ran", || strand.stats().ran == 5);
    let more = move |_: &mut Vec<u32>| {
        let own = own.upgrade().unwrap();
        for _ in 0..6 {
            tell.push(own.post(|got: &mut Vec<u32>| got.push(7)));
        }
    };
    strand.post(more).unwrap();
    w.until("all ran", || strand.stats().ran == 11);
    let fits = told.take().iter().filter(|posted| posted.is_ok()).count();
    assert_eq!(fits, 5);
    assert_eq!(strand.stats().full, 3);
    let got = Log::default();
    let tell = got.clone();
    strand.post(move |all| tell.push(all.clone())).unwrap();
    w.until("it told", || got.len() == 1);
    assert_eq!(got.take(), [vec![0, 1, 2, 3, 4, 7, 7, 7, 7, 7]]);
    finish(host);
}

pub(crate) fn an_answer_comes_to_who_asked(w: &World) {
    let mut host = w.host();
    let port = host.port("main").workers(2).build().unwrap();
    let scores = port.strand(10_u32);
    let ask = scores.clone();
    let handler = Act::new(|_| Ok(0_u32)).on_frame(move |s, _, payload| {
        let add = number(payload);
        let asked = ask.ask(
            s,
            move |score| {
                *score += add;
                *score
            },
            |s: &Session<Act<u32>>, best, score| {
                *best = (*best).max(score);
                s.send(&best.to_le_bytes()).unwrap();
            },
        );
        Ok(asked?)
    });
    let server = host.server("game", handler).port(&port);
    let net = server.listen(w.any_addr()).unwrap();
    host.start().unwrap();
    let mut peer = w.connect(net.local_addr().unwrap());
    assert_eq!(number(&peer.ask(&5_u32.to_le_bytes())), 15);
    assert_eq!(number(&peer.ask(&7_u32.to_le_bytes())), 22);
    // Another strand asks.
    let mirror = port.strand(0_u32);
    scores
        .ask_strand(&mirror, |score| *score, |own, score| *own = score)
        .unwrap();
    let seen = Log::default();
    let tell = seen.clone();
    w.until("it was answered", || mirror.stats().ran == 1);
    mirror.post(move |own| tell.push(*own)).unwrap();
    w.until("it told", || seen.len() == 1);
    assert_eq!(seen.take(), [22]);
    // The asking session is gone before the answer, and then the asking strand.
    let session = net.sessions().first().unwrap();
    peer.half_close();
    peer.read_to_end();
    w.until("it is closed", || !session.is_open());
    let lost = || scores.stats().answers_lost;
    scores.ask(&session, |score| *score, |_, _, _| ()).unwrap();
    w.until("the answer is lost", || lost() == 1);
    mirror.close();
    w.until("it is closed", || !mirror.is_open());
    scores
        .ask_strand(&mirror, |score| *score, |_, _| ())
        .unwrap();
    w.until("the answer is lost", || lost() == 2);
    drop(session);
    finish(host);
}

type Zone = Vec<Session<Act<usize>>>;

/// Sessions of two zones talk through their zone; each hears its own zone alone, in one order.
pub(crate) fn zones_of_a_game(w: &World) {
    let mut host = w.host();
    let port = host.port("main").workers(3).build().unwrap();
    let zones: [Strand<Zone>; 2] = [port.strand(Vec::new()), port.strand(Vec::new())];
    let own = zones.clone();
    let next = AtomicUsize::new(0);
    let handler = Act::new(move |s: &Session<Act<usize>>| {
        let zone = next.fetch_add(1, Ordering::SeqCst) % 2;
        let session = s.clone();
        own[zone].post(move |all| all.push(session)).unwrap();
        Ok(zone)
    });
    let own = zones.clone();
    let handler = handler.on_frame(move |_, zone, payload| {
        let said = numbered(number(payload) * 2 + u32::try_from(*zone).unwrap());
        let said = wharf::Bytes::from(said);
        own[*zone].post(move |all| {
            for session in &*all {
                session.send_wire(said.clone()).unwrap();
            }
        })?;
        Ok(())
    });
    let own = zones.clone();
    let handler = handler.on_close(move |s, zone, _| {
        let session = s.clone();
        let _ = own[zone].post(move |all| all.retain(|other| *other != session));
    });
    let server = host.server("game", handler).port(&port);
    let net = server.listen(w.any_addr()).unwrap();
    host.start().unwrap();
    let mut peers = Vec::new();
    for open in 1..=4 {
        peers.push(w.connect(net.local_addr().unwrap()));
        w.until("it is open", || net.sessions().len() == open);
    }
    w.until("all are in", || {
        zones.iter().all(|zone| zone.stats().ran == 2)
    });
    for said in 0..20_u32 {
        for peer in &mut peers {
            peer.send(&said.to_le_bytes());
        }
    }
    let heard: Vec<Vec<u32>> = peers
        .iter_mut()
        .map(|peer| (0..40).map(|_| number(&peer.recv())).collect())
        .collect();
    for all in &heard {
        let zone = all[0] % 2;
        assert!(all.iter().all(|said| said % 2 == zone), "another zone's");
        assert_eq!(
            heard.iter().filter(|other| *other == all).count(),
            2,
            "in one order"
        );
    }
    drop(peers);
    finish(host);
}

/// What a tick sends to a session leaves as one write.
#[cfg(feature = "sim")]
pub(crate) fn sends_of_a_turn_gather(w: &World) {
    w.the_sim().set_faults(wharf::sim::Faults::none());
    let (mut host, port, net) = host_with(w, 1);
    host.start().unwrap();
    let mut peer = w.connect(net.local_addr().unwrap());
    w.until("it is open", || net.sessions().len() == 1);
    let zone = port.strand(net.sessions().first().unwrap());
    let timer = zone
        .every(ms(50), |session, tick| {
            for part in 0..10 {
                session
                    .send(&[u8::try_from(tick.number).unwrap(), part])
                    .unwrap();
            }
        })
        .unwrap();
    w.pass(ms(175));
    timer.cancel();
    for tick in 1..=3 {
        for part in 0..10 {
            assert_eq!(peer.recv(), [tick, part]);
        }
    }
    assert_eq!(host.stats().network("sink").unwrap().sends, 3);
    drop((zone, peer));
    finish(host);
}
