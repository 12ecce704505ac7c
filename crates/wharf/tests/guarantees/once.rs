//! G2: `on_open` first; one `on_close` for each that returned, last, with the right reason.

use std::sync::Arc;

use wharf::{CloseReason, Error, Refuse, Session, SessionId};

use crate::support::{Act, At, End, Layout, Log, Peer, World, check_stopped};

/// How a session is made to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    PeerCloses,
    PeerHalfCloses,
    PeerResets,
    PeerSendsNoFrame,
    HandlerCloses,
    HandlerAborts,
    HandlerFails,
    HandlerPanics,
    OutsideCloses,
    OutsideAborts,
    JobCloses,
    Shutdown,
}

use Ending::*;

const ENDINGS: [Ending; 12] = [
    PeerCloses,
    PeerHalfCloses,
    PeerResets,
    PeerSendsNoFrame,
    HandlerCloses,
    HandlerAborts,
    HandlerFails,
    HandlerPanics,
    OutsideCloses,
    OutsideAborts,
    JobCloses,
    Shutdown,
];

impl Ending {
    fn fits(self, reason: &CloseReason) -> bool {
        match self {
            PeerCloses | PeerHalfCloses => *reason == CloseReason::PeerClosed,
            PeerResets => *reason == CloseReason::Reset,
            PeerSendsNoFrame => matches!(reason, CloseReason::BadFrame(_)),
            HandlerCloses | OutsideCloses | JobCloses => *reason == CloseReason::Closed,
            HandlerAborts | OutsideAborts => *reason == CloseReason::Aborted,
            HandlerFails => *reason == CloseReason::HandlerError("no".to_owned()),
            HandlerPanics => *reason == CloseReason::HandlerPanicked,
            Shutdown => *reason == CloseReason::Shutdown,
        }
    }

    /// What the peer sees of it.
    fn seen(self) -> Option<End> {
        match self {
            PeerCloses | PeerResets => None,
            HandlerAborts | OutsideAborts => Some(End::Reset),
            _ => Some(End::Fin),
        }
    }
}

/// Greets with the session's number, so that the test knows which is which, and ends as asked.
fn ending_as_asked() -> Act<Arc<()>> {
    let handler = Act::new(|s| {
        s.send(&s.id().get().to_le_bytes()).unwrap();
        Ok(Arc::new(()))
    });
    handler.on_frame(|s, _, payload| match ENDINGS[usize::from(payload[0])] {
        HandlerCloses => {
            s.close();
            Ok(())
        }
        HandlerAborts => {
            s.abort();
            Ok(())
        }
        HandlerFails => Err(Error::handler("no")),
        HandlerPanics => std::panic::resume_unwind(Box::new("asked to")),
        other => panic!("{other:?} is not the handler's business"),
    })
}

/// Has a session end; gives the peer back if it has something to see.
fn end(ending: Ending, mut peer: Peer, session: &Session<Act<Arc<()>>>) -> Option<Peer> {
    match ending {
        PeerCloses => return None,
        PeerResets => {
            peer.reset();
            return None;
        }
        PeerHalfCloses => peer.half_close(),
        PeerSendsNoFrame => peer.write(&[1, 0]),
        HandlerCloses | HandlerAborts | HandlerFails | HandlerPanics => {
            let index = ENDINGS.iter().position(|known| *known == ending).unwrap();
            peer.send(&[u8::try_from(index).unwrap()]);
        }
        OutsideCloses => session.close(),
        OutsideAborts => session.abort(),
        JobCloses => session.post(|s, _| s.close()).unwrap(),
        Shutdown => {}
    }
    Some(peer)
}

/// Sessions that end in each way: each has its reason, and its peer sees what it should.
pub(crate) fn open_once_close_once(w: &World, layout: Layout) {
    let mut host = w.host();
    let port = layout.ports().main(&mut host);
    let states = Log::default();
    let kept = states.clone();
    // The state that comes to on_close is the last there is: nothing of it stays behind.
    let handler = ending_as_asked();
    let handler = handler.on_close(move |_, state, _| kept.push(Arc::downgrade(&state)));
    let ledger = handler.ledger();
    let net = host.server("game", handler).at(&port).listen(w.any_addr());
    let net = net.unwrap();
    host.start().unwrap();

    let mut left = Vec::new();
    for ending in ENDINGS {
        let mut peer = w.connect(net.local_addr().unwrap());
        let id = u64::from_le_bytes(peer.recv().try_into().unwrap());
        let id = SessionId::from_u64(id).unwrap();
        let session = net.sessions().get(id).unwrap();
        let peer = end(ending, peer, &session);
        left.extend(peer.map(|peer| (ending, id, peer)));
        if ending != Shutdown {
            w.until("it was closed", || ledger.reason(id).is_some());
            let reason = ledger.reason(id).unwrap();
            assert!(ending.fits(&reason), "{ending:?} gave {reason:?}");
        }
    }
    host.handle().stop();
    for (ending, id, mut peer) in left {
        let end = peer.read_to_end();
        assert_eq!(Some(end), ending.seen(), "{ending:?}");
        drop(peer);
        w.until("it was closed", || ledger.reason(id).is_some());
        let reason = ledger.reason(id).unwrap();
        assert!(ending.fits(&reason), "{ending:?} gave {reason:?}");
    }
    host.stop().unwrap();
    ledger.check_all_closed();
    assert_eq!(ledger.opened(), ENDINGS.len());
    let states = states.take();
    assert_eq!(states.len(), ENDINGS.len());
    assert!(states.iter().all(|state| state.upgrade().is_none()));
    check_stopped(&host.stats());
}

/// An `on_open` that refuses or panics has no `on_close`; what it sent still arrives.
pub(crate) fn a_refused_session_is_only_counted(w: &World, layout: Layout) {
    let mut host = w.host();
    let port = layout.ports().main(&mut host);
    let turn = std::sync::atomic::AtomicUsize::new(0);
    let handler = Act::<()>::new(move |s| {
        s.send(b"no room").unwrap();
        match turn.fetch_add(1, std::sync::atomic::Ordering::Relaxed) % 2 {
            0 => Err(Refuse::new("full")),
            _ => std::panic::resume_unwind(Box::new("asked to")),
        }
    });
    let ledger = handler.ledger();
    let net = host.server("game", handler).at(&port).listen(w.any_addr());
    let net = net.unwrap();
    host.start().unwrap();
    for _ in 0..4 {
        let mut peer = w.connect(net.local_addr().unwrap());
        peer.send(b"not read by anyone");
        assert_eq!(peer.recv(), b"no room");
        peer.read_to_end();
    }
    w.until("all are gone", || {
        let stats = host.stats();
        stats.network("game").unwrap().sessions_live == 0
    });
    host.stop().unwrap();
    ledger.check_all_closed();
    assert_eq!(
        (ledger.opened(), ledger.closed(), ledger.frames()),
        (0, 0, 0)
    );
    let stats = host.stats();
    check_stopped(&stats);
    let game = stats.network("game").unwrap();
    assert_eq!((game.refused_by_handler, game.open_panicked), (2, 2));
    assert_eq!((game.panics, game.closed_unopened), (2, 4));
}
