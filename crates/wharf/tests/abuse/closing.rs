//! Closing from everywhere, sends and posts that come too late, and reading that is held back.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use wharf::{CloseReason, PauseGuard, Refuse, SendError, Session};

use crate::support::{
    Act, End, Layout, Log, World, finish, frame, matrix, number, numbered, serve,
};

matrix!(
    close_from_each_callback,
    close_from_everywhere_at_once,
    accepted_jobs_run_before_the_close,
    close_flushes_and_abort_does_not,
    a_guard_holds_reading_back,
    a_guard_outlives_its_session,
);

type Doing = fn(&Session<Act<&'static str>>);

/// `close` and `abort`, in each callback and a job, once and twice.
fn close_from_each_callback(w: &World, layout: Layout) {
    let doings: [(Doing, CloseReason, End); 4] = [
        (Session::close, CloseReason::Closed, End::Fin),
        (Session::abort, CloseReason::Aborted, End::Reset),
        (
            |s| {
                s.close();
                s.close();
            },
            CloseReason::Closed,
            End::Fin,
        ),
        // The first reason stays, the harder way wins.
        (
            |s| {
                s.close();
                s.abort();
            },
            CloseReason::Closed,
            End::Reset,
        ),
    ];
    for (doing, reason, end) in doings {
        for whence in ["open", "frame", "job", "close"] {
            let (seen, told) = close_from(w, layout, whence, doing);
            if whence == "close" {
                assert_eq!(told, CloseReason::PeerClosed, "it is over already");
            } else {
                assert_eq!((seen, &told), (end, &reason), "from {whence}");
            }
        }
    }
    a_refusal_may_close_too(w, layout);
}

/// One session that is closed like this in that callback: what its peer saw, and its reason.
fn close_from(w: &World, layout: Layout, whence: &'static str, doing: Doing) -> (End, CloseReason) {
    let at = move |here: &str, s: &Session<Act<&'static str>>| {
        if here == whence {
            doing(s);
            assert!(!s.is_open());
            assert_eq!(s.send(b"late"), Err(SendError::Closed));
            assert_eq!(s.post(|_, _| ()), Err(SendError::Closed));
        }
    };
    let handler = Act::new(move |s| {
        at("open", s);
        Ok(whence)
    });
    let handler = handler.on_frame(move |s, _, _| {
        at("frame", s);
        match s.post(move |s, _| at("job", s)) {
            Ok(()) | Err(SendError::Closed) => Ok(()),
            Err(error) => Err(error.into()),
        }
    });
    let handler = handler.on_close(move |s, _, _| at("close", s));
    let ledger = handler.ledger();
    let (host, net) = serve(w, layout, handler, |server| server);
    // A session that is aborted in on_open may be gone before its connect has returned.
    let mut peer = w.begin_connect(None, net.local_addr().unwrap()).ok();
    let mut seen = End::Reset;
    if let Some(peer) = &mut peer {
        peer.write_or_break(&frame(b"go"));
        if whence == "close" {
            peer.half_close();
        }
        seen = peer.read_to_end();
    }
    w.until("it is closed", || ledger.closed() == 1);
    drop(peer);
    finish(host);
    ledger.check_all_closed();
    (seen, ledger.reasons().remove(0))
}

fn a_refusal_may_close_too(w: &World, layout: Layout) {
    let handler = Act::<()>::new(|s| {
        s.send(b"sorry").unwrap();
        s.close();
        Err(Refuse::new("full"))
    });
    let ledger = handler.ledger();
    let (host, net) = serve(w, layout, handler, |server| server);
    let mut peer = w.connect(net.local_addr().unwrap());
    peer.expect_fin();
    assert_eq!(peer.take_frames(), [b"sorry"]);
    drop(peer);
    assert_eq!(ledger.opened(), 0);
    finish(host);
}

/// The peer, the handler, jobs, other threads and the stop of the host, all at once: one close.
fn close_from_everywhere_at_once(w: &World, layout: Layout) {
    let handler = Act::new(|_| Ok(())).on_frame(|s, (), _| {
        s.close();
        Ok(())
    });
    let ledger = handler.ledger();
    let (mut host, net) = serve(w, layout, handler, |server| server);
    let sessions = 5;
    let mut peers: Vec<_> = (0..sessions)
        .map(|_| w.connect(net.local_addr().unwrap()))
        .collect();
    w.until("all are open", || net.sessions().len() == sessions);
    for peer in &mut peers {
        peer.send(b"close");
        peer.half_close();
    }
    let mut callers: Vec<Box<dyn FnMut() -> bool + Send>> = Vec::new();
    for session in net.sessions().to_vec() {
        let (also, again) = (session.clone(), session.clone());
        callers.push(Box::new(move || {
            also.abort();
            assert!(!also.is_open());
            true
        }));
        callers.push(Box::new(move || {
            let _ = again.send(b"perhaps");
            let _ = again.post(|s, ()| s.close());
            true
        }));
        callers.push(Box::new(move || {
            session.close();
            true
        }));
    }
    let handle = host.handle();
    callers.push(Box::new(move || {
        handle.stop();
        true
    }));
    w.at_once(callers);
    for peer in &mut peers {
        peer.read_to_end();
    }
    drop(peers);
    host.stop().unwrap();
    assert_eq!((ledger.opened(), ledger.closed()), (sessions, sessions));
    finish(host);
    ledger.check_all_closed();
}

/// What `post` has accepted runs, and before `on_close`, whoever closes meanwhile.
fn accepted_jobs_run_before_the_close(w: &World, layout: Layout) {
    for abort in [false, true] {
        let ran = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&ran);
        let at_close = Log::default();
        let log = at_close.clone();
        let handler = Act::new(|_| Ok(())).on_close(move |_, (), _| {
            log.push(seen.load(Ordering::Relaxed));
        });
        let (host, net) = serve(w, layout, handler, |server| server);
        let peer = w.connect(net.local_addr().unwrap());
        w.until("it is open", || net.sessions().len() == 1);
        let session = net.sessions().first().unwrap();
        let accepted = Arc::new(AtomicUsize::new(0));
        let poster = |_| -> Box<dyn FnMut() -> bool + Send> {
            let (session, ran) = (session.clone(), Arc::clone(&ran));
            let accepted = Arc::clone(&accepted);
            Box::new(move || {
                let ran = Arc::clone(&ran);
                let posted = session.post(move |_, ()| {
                    ran.fetch_add(1, Ordering::Relaxed);
                });
                match posted {
                    Ok(()) => accepted.fetch_add(1, Ordering::Relaxed) > 5000,
                    Err(SendError::Full) => false,
                    Err(error) => {
                        assert_eq!(error, SendError::Closed);
                        true
                    }
                }
            })
        };
        let mut callers: Vec<_> = (0..2).map(poster).collect();
        let (closer, enough) = (session.clone(), Arc::clone(&accepted));
        callers.push(Box::new(move || {
            let begun = enough.load(Ordering::Relaxed) >= 20;
            if begun {
                if abort {
                    closer.abort();
                } else {
                    closer.close();
                }
            }
            begun
        }));
        w.at_once(callers);
        w.until("it is closed", || at_close.len() == 1);
        let accepted = accepted.load(Ordering::Relaxed);
        assert_eq!(
            at_close.take(),
            [accepted],
            "jobs that had run when on_close came"
        );
        assert_eq!(
            ran.load(Ordering::Relaxed),
            accepted,
            "and none came after it"
        );
        drop(peer);
        finish(host);
    }
}

/// A close delivers what was accepted; an abort cuts it off.
fn close_flushes_and_abort_does_not(w: &World, layout: Layout) {
    let frames = 150_u32;
    let handler = Act::sink();
    let ledger = handler.ledger();
    let (host, net) = serve(w, layout, handler, |server| {
        server.socket(crate::support::small_socket())
    });
    let addr = net.local_addr().unwrap();
    let fill = |session: &Session<Act<()>>| {
        for n in 0..frames {
            let mut payload = n.to_le_bytes().to_vec();
            payload.resize(1000, b'.');
            session.send(&payload).unwrap();
        }
    };
    let mut closed = w.connect_narrow(addr);
    w.until("it is open", || net.sessions().len() == 1);
    let session = net.sessions().first().unwrap();
    fill(&session);
    session.close();
    for n in 0..frames {
        assert_eq!(number(&closed.recv()), n);
    }
    closed.expect_fin();
    drop(closed);
    let mut aborted = w.connect_narrow(addr);
    w.until("it is open", || net.sessions().len() == 1);
    let session = net.sessions().first().unwrap();
    fill(&session);
    session.abort();
    aborted.expect_reset();
    assert!(aborted.take_frames().len() < frames as usize);
    w.until("its socket is gone", || {
        host.stats().networks[0].sessions_live == 0
    });
    let stats = host.stats().networks[0].clone();
    assert!(stats.frames_lost > 0);
    assert_eq!(stats.frames_out + stats.frames_lost, 2 * u64::from(frames));
    assert_eq!(
        ledger.reasons(),
        [CloseReason::Closed, CloseReason::Aborted]
    );
    finish(host);
}

/// A guard stops the frames behind the current one, those that were received already too; jobs and
/// sends go on; the last guard's drop lets them come, in order.
fn a_guard_holds_reading_back(w: &World, layout: Layout) {
    let guards = Log::default();
    let kept = guards.clone();
    let handler = Act::new(|_| Ok(0_u32)).on_frame(move |s, next, payload| {
        assert_eq!(number(payload), *next);
        *next += 1;
        s.send(payload)?;
        if *next % 5 == 0 {
            // Two, of which one goes at once: only the last counts.
            let guard = s.pause_reading();
            kept.push(s.pause_reading());
            drop(guard);
        }
        Ok(())
    });
    let (host, net) = serve(w, layout, handler, |server| server);
    let mut peer = w.connect(net.local_addr().unwrap());
    w.until("it is open", || net.sessions().len() == 1);
    let session = net.sessions().first().unwrap();
    let frames = 23;
    let wire: Vec<u8> = (0..frames).flat_map(numbered).collect();
    let mut written = 0;
    let mut expected = 0;
    while expected < frames {
        let stop = (expected + 5).min(frames);
        while expected < stop {
            w.until("the reply came", || {
                written += peer.write_some(&wire[written..]);
                peer.look();
                peer.inbox.len() >= 6
            });
            assert_eq!(number(&peer.recv()), expected);
            expected += 1;
        }
        if expected % 5 != 0 {
            break;
        }
        // It is paused: nothing more comes, and everything else works.
        w.until("the guard is there", || guards.len() == 1);
        session.send(b"news").unwrap();
        assert_eq!(peer.recv(), b"news");
        session.post(|s, _| s.send(b"job").unwrap()).unwrap();
        assert_eq!(peer.recv(), b"job");
        assert_eq!(host.stats().networks[0].frames_in, u64::from(expected));
        drop(guards.take());
    }
    drop(peer);
    finish(host);
}

/// A state that holds its own session's reading back.
struct Kept(PauseGuard<Act<Kept>>);

/// A session is closed while it is paused, from our side; the guard is dropped later, from this
/// thread, or with the state that keeps it.
fn a_guard_outlives_its_session(w: &World, layout: Layout) {
    w.move_much();
    let handler = Act::new(|s: &Session<Act<Kept>>| Ok(Kept(s.pause_reading())));
    let handler = handler.on_frame(|_, _, _| panic!("it is paused"));
    let handler = handler.on_close(|_, Kept(guard), _| drop(guard));
    let ledger = handler.ledger();
    let (host, net) = serve(w, layout, handler, |server| server);
    let mut peer = w.connect(net.local_addr().unwrap());
    peer.send(b"never read");
    w.until("it is open", || net.sessions().len() == 1);
    let session = net.sessions().first().unwrap();
    let outside = session.pause_reading();
    session.close();
    peer.expect_fin();
    drop(peer);
    w.until("it is closed", || ledger.closed() == 1);
    let late = session.pause_reading();
    drop((outside, late));
    finish(host);
}
