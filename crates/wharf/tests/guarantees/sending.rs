//! G4: `send` from any thread, whole frames, each caller's order, `Err` when closed or full.

use std::sync::{Arc, Mutex};

use wharf::{SendError, WhenFull};

use crate::support::{
    Act, At, Layout, World, check_stopped, finish, frame, number, serve, small_queue, small_socket,
};

/// What one caller sent: its name and a number, padded.
fn payload(caller: usize, n: u32) -> Vec<u8> {
    let mut payload = n.to_le_bytes().to_vec();
    payload.push(u8::try_from(caller).unwrap());
    payload.resize(5 + (n as usize * 37 + caller) % 300, b'.');
    payload
}

/// Many callers send to one peer that reads nothing: all return, with their frames or an error.
/// Once the peer reads, each caller's accepted frames come, whole, in the caller's order.
pub(crate) fn send_never_blocks(w: &World, layout: Layout) {
    let (callers, frames) = w.pick((4, 400_u32), (3, 40));
    let (mut host, net) = serve(w, layout, Act::sink(), |server| {
        let server = server.send_queue(small_queue(WhenFull::Error));
        server.socket(small_socket())
    });
    let mut peer = w.connect_narrow(net.local_addr().unwrap());
    w.until("the session is open", || net.sessions().len() == 1);
    let session = net.sessions().first().unwrap();
    let accepted: Vec<_> = (0..callers)
        .map(|_| Arc::new(Mutex::new(Vec::new())))
        .collect();
    let caller = |index: usize| -> Box<dyn FnMut() -> bool + Send> {
        let (session, accepted) = (session.clone(), Arc::clone(&accepted[index]));
        let mut n = 0;
        Box::new(move || {
            let payload = payload(index, n);
            let sent = match n % 3 {
                0 => session.send(&payload),
                1 => session.send_wire(frame(&payload).into()),
                _ => session.send_with(|out| {
                    out.extend_from_slice(&payload);
                    Ok(())
                }),
            };
            match sent {
                Ok(()) => accepted.lock().unwrap().push(n),
                Err(error) => assert_eq!(error, SendError::Full),
            }
            n += 1;
            n == frames
        })
    };
    w.at_once((0..callers).map(caller).collect());
    let total: usize = accepted.iter().map(|each| each.lock().unwrap().len()).sum();
    assert!(
        total > 0 && total < callers * frames as usize,
        "some were refused, not all"
    );

    let mut came = vec![Vec::new(); callers];
    for _ in 0..total {
        let got = peer.recv();
        let (from, n) = (usize::from(got[4]), number(&got));
        assert_eq!(got, payload(from, n), "a frame is whole");
        came[from].push(n);
    }
    for (accepted, came) in accepted.iter().zip(came) {
        assert_eq!(*accepted.lock().unwrap(), came);
    }
    session.close();
    assert_eq!(session.send(b"late"), Err(SendError::Closed));
    assert_eq!(session.post(|_, ()| ()), Err(SendError::Closed));
    peer.expect_fin();
    drop(peer);
    host.stop().unwrap();
    let stats = host.stats();
    check_stopped(&stats);
    let game = stats.network("game").unwrap();
    let refused = (callers * frames as usize - total) as u64;
    assert_eq!((game.frames_out, game.frames_lost), (total as u64, 0));
    assert_eq!(game.send_queue_full, refused);
}

/// Replies and frames of others that were sent in one turn keep the order in which they were sent,
/// however large they get on the way.
pub(crate) fn a_turn_keeps_its_order(w: &World, layout: Layout) {
    const SIZES: [usize; 8] = [1, 9000, 3, 16_000, 16_000, 0, 5000, 700];
    let handler = Act::new(|_| Ok(())).on_frame(|s, (), payload| {
        for round in 0..number(payload) {
            for (index, size) in (0_u8..).zip(SIZES) {
                let mut payload = vec![b'.'; size];
                payload.push(index);
                match (u32::from(index) + round) % 3 {
                    0 => s.send(&payload)?,
                    1 => s.any().send_wire(frame(&payload).into())?,
                    _ => s
                        .send_many([&payload[..]])
                        .map(|_| ())
                        .map_err(|(_, error)| error)?,
                }
            }
            // What an encoder sends before its own frame is whole comes before it.
            s.send_with(|out| {
                s.send(b"nested")?;
                s.flush();
                out.extend_from_slice(b"outer");
                Ok::<(), SendError>(())
            })?;
            s.flush();
        }
        Ok(())
    });
    let (host, net) = serve(w, layout, handler, |server| server);
    let mut peer = w.connect_narrow(net.local_addr().unwrap());
    for rounds in [1_u32, 3, 2] {
        peer.send(&rounds.to_le_bytes());
        for _ in 0..rounds {
            for (index, size) in (0_u8..).zip(SIZES) {
                let got = peer.recv();
                assert_eq!((got.len(), got.last()), (size + 1, Some(&index)));
            }
            assert_eq!(peer.recv(), b"nested");
            assert_eq!(peer.recv(), b"outer");
        }
    }
    drop(peer);
    finish(host);
}

/// An encoder that fails, or panics and is caught by the handler, leaves nothing queued and takes
/// nothing with it.
pub(crate) fn a_failed_encoder_leaves_nothing(w: &World, layout: Layout) {
    let handler = Act::new(|_| Ok(())).on_frame(|s, (), _| {
        s.send(b"before")?;
        let failed = s.send_with(|out| {
            out.extend_from_slice(b"half a ");
            Err(SendError::Framing)
        });
        assert_eq!(failed, Err(SendError::Framing));
        s.send(b"between")?;
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            s.send_with(|out| -> Result<(), SendError> {
                out.extend_from_slice(b"half a ");
                std::panic::resume_unwind(Box::new("asked to"))
            })
        }));
        assert!(caught.is_err());
        let cut = s.send_with(|out| {
            out.clear();
            Ok(())
        });
        assert_eq!(cut, Err(SendError::Framing), "an encoder may only append");
        assert_eq!(s.send(&[0; 70_000]), Err(SendError::Framing));
        Ok(s.send(b"after")?)
    });
    let (mut host, net) = serve(w, layout, handler, |server| server);
    let mut peer = w.connect(net.local_addr().unwrap());
    for _ in 0..3 {
        peer.send(b"go");
        for expected in [&b"before"[..], b"between", b"after"] {
            assert_eq!(peer.recv(), expected);
        }
    }
    drop(peer);
    host.stop().unwrap();
    let stats = host.stats();
    check_stopped(&stats);
    let game = stats.network("game").unwrap();
    assert_eq!((game.frames_out, game.frames_lost), (9, 0));
}

/// A thread that gathers, or a handler that is stuck after a send, holds nobody else's frames
/// back: a send from a thread that is no worker tries the socket at once.
pub(crate) fn a_gathering_thread_holds_nobody_back(w: &World, layout: Layout) {
    let hold = w.hold();
    if w.is_sim() && layout.main_workers() == 1 {
        // Somebody has to go on where a fault makes a send stop half way.
        hold.release();
    }
    let mut host = w.host();
    let port = layout.ports().main(&mut host);
    let net = host.server("game", Act::sink()).at(&port);
    let net = net.listen(w.any_addr()).unwrap();
    host.start().unwrap();
    let addr = net.local_addr().unwrap();
    let mut other = w.connect(addr);
    w.until("the other is open", || net.sessions().len() == 1);
    let target = net.sessions().first().unwrap();
    let talker = w.connect(addr);
    w.until("the talker is open", || net.sessions().len() == 2);
    // A job of the talker sends to the other, and its turn goes on for long.
    let talkers = net.sessions().to_vec().into_iter().find(|s| *s != target);
    let (to, stuck) = (target.clone(), hold.clone());
    let posted = talkers.unwrap().post(move |_, ()| {
        to.send(b"gathered by a turn").unwrap();
        stuck.enter();
    });
    posted.unwrap();
    w.until("the job is stuck", || hold.entered() == 1);
    target.send(b"from outside").unwrap();
    assert_eq!(other.recv(), b"gathered by a turn");
    assert_eq!(other.recv(), b"from outside");
    hold.release();

    port.port.batch(|| {
        target.send(b"gathered by a batch").unwrap();
        w.at_once(vec![Box::new({
            let target = target.clone();
            move || target.send(b"of another thread").is_ok()
        })]);
        if !w.is_sim() {
            // In the simulation the other caller is this thread, which gathers.
            assert_eq!(other.recv(), b"gathered by a batch");
            assert_eq!(other.recv(), b"of another thread");
        }
    });
    if w.is_sim() {
        assert_eq!(other.recv(), b"gathered by a batch");
        assert_eq!(other.recv(), b"of another thread");
    }
    drop((talker, other));
    finish(host);
}
