//! A session changes its stage in its own turn.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use wharf::{CloseReason, Error, Frame, Host, Network, Next, Refuse, Session, Stage, Staged};

use crate::support::{At, Layout, Log, World, check_stopped, frame, number, numbered};

/// What the stages tell.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    Entered(&'static str),
    Left(&'static str),
    Closed(&'static str, CloseReason),
}

struct Login {
    log: Log<Told>,
    alive: Arc<AtomicUsize>,
    fails: bool,
}

struct Game {
    log: Log<Told>,
    expected: u32,
}

impl Login {
    fn new(log: &Log<Told>, alive: &Arc<AtomicUsize>) -> Self {
        alive.fetch_add(1, Ordering::Relaxed);
        Self {
            log: log.clone(),
            alive: Arc::clone(alive),
            fails: false,
        }
    }
}

impl Drop for Login {
    fn drop(&mut self) {
        self.log.push(Told::Left("login"));
        self.alive.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Stage for Login {
    fn on_enter(&mut self, _: &Session<Staged>) -> wharf::Result<()> {
        self.log.push(Told::Entered("login"));
        if self.fails {
            return Err(Error::handler("no logins today"));
        }
        Ok(())
    }

    fn on_frame(&mut self, s: &Session<Staged>, frame: Frame<'_>) -> wharf::Result<Next> {
        match frame.payload() {
            b"login" => {
                s.send(b"welcome")?;
                let log = self.log.clone();
                Ok(Next::become_stage(Game { log, expected: 0 }))
            }
            b"by a job" => {
                let log = self.log.clone();
                // It runs after this callback, in whichever stage the session is by then.
                s.post(move |s, stage| {
                    assert!(stage.get_mut::<Login>().is_some());
                    stage.become_stage(s, Game { log, expected: 7 });
                    assert_eq!(stage.get::<Game>().unwrap().expected, 7);
                    assert!(stage.get::<Login>().is_none());
                    s.send(b"welcome").unwrap();
                })?;
                Ok(Next::Stay)
            }
            _ => Err(Error::handler("log in first")),
        }
    }

    fn on_close(self: Box<Self>, _: &Session<Staged>, reason: CloseReason) {
        self.log.push(Told::Closed("login", reason));
    }
}

impl Stage for Game {
    fn on_enter(&mut self, _: &Session<Staged>) -> wharf::Result<()> {
        self.log.push(Told::Entered("game"));
        Ok(())
    }

    fn on_frame(&mut self, s: &Session<Staged>, frame: Frame<'_>) -> wharf::Result<Next> {
        assert_eq!(number(frame.payload()), self.expected);
        self.expected += 1;
        s.send(frame.payload())?;
        Ok(Next::Stay)
    }

    fn on_close(self: Box<Self>, _: &Session<Staged>, reason: CloseReason) {
        self.log.push(Told::Closed("game", reason));
    }
}

fn serve(w: &World, layout: Layout, handler: Staged) -> (Host, Network<Staged>) {
    let mut host = w.host();
    let port = layout.ports().main(&mut host);
    let server = host.server("game", handler).at(&port);
    let net = server.handshake_timeout(None).listen(w.any_addr()).unwrap();
    host.start().unwrap();
    (host, net)
}

/// The login and the frames after it come in one piece: the new stage gets them, in their order,
/// whether they are served in the turn of the login or in a later one. The old stage is dropped by
/// then, and only the new one hears of the close.
pub(crate) fn a_login_becomes_a_game(w: &World, layout: Layout) {
    let log = Log::<Told>::default();
    let alive = Arc::<AtomicUsize>::default();
    let (opens, lives) = (log.clone(), Arc::clone(&alive));
    let (mut host, net) = serve(
        w,
        layout,
        Staged::new(move |_| Ok(Login::new(&opens, &lives))),
    );
    let mut peer = w.connect(net.local_addr().unwrap());
    let mut wire = frame(b"login");
    (0..100).for_each(|n| wire.extend(numbered(n)));
    peer.write_in_pieces(&wire);
    assert_eq!(peer.recv(), b"welcome");
    for n in 0..100 {
        assert_eq!(number(&peer.recv()), n);
    }
    assert_eq!(alive.load(Ordering::Relaxed), 0, "the login was dropped");
    drop(peer);
    w.until("the session is over", || net.sessions().is_empty());
    host.stop().unwrap();
    let told = log.take();
    let closed = CloseReason::PeerClosed;
    let expected = [
        Told::Entered("login"),
        Told::Left("login"),
        Told::Entered("game"),
        Told::Closed("game", closed),
    ];
    assert_eq!(told, expected);
    check_stopped(&host.stats());
}

/// A job may change the stage, and looks which one it meets.
pub(crate) fn a_job_changes_the_stage(w: &World) {
    let log = Log::<Told>::default();
    let (opens, lives) = (log.clone(), Arc::default());
    let first = move |_: &Session<Staged>| Ok(Login::new(&opens, &lives));
    let (mut host, net) = serve(w, Layout::Shared(2), Staged::new(first));
    let mut peer = w.connect(net.local_addr().unwrap());
    assert_eq!(peer.ask(b"by a job"), b"welcome");
    assert_eq!(number(&peer.ask(&7_u32.to_le_bytes())), 7);
    drop(peer);
    host.stop().unwrap();
    check_stopped(&host.stats());
}

/// A stage that refuses its first frame, one that can't be entered, and one that panics close their
/// own session, with the reason; the first stage may refuse the session.
pub(crate) fn a_stage_that_fails_closes_its_session(w: &World) {
    struct Broken;
    impl Stage for Broken {
        fn on_enter(&mut self, _: &Session<Staged>) -> wharf::Result<()> {
            Err(Error::handler("can't be entered"))
        }
        fn on_frame(&mut self, _: &Session<Staged>, _: Frame<'_>) -> wharf::Result<Next> {
            unreachable!("its session is closed")
        }
    }
    /// Becomes something broken, one way or the other.
    struct Doomed(Log<CloseReason>);
    impl Stage for Doomed {
        fn on_frame(&mut self, s: &Session<Staged>, frame: Frame<'_>) -> wharf::Result<Next> {
            match frame.payload() {
                b"enter" => Ok(Next::become_stage(Broken)),
                b"post" => {
                    s.post(|s, stage| stage.become_stage(s, Broken))?;
                    Ok(Next::Stay)
                }
                b"panic" => std::panic::resume_unwind(Box::new("asked to")),
                _ => Err(Error::handler("no such word")),
            }
        }
        fn on_close(self: Box<Self>, _: &Session<Staged>, reason: CloseReason) {
            self.0.push(reason);
        }
    }
    let log = Log::default();
    let own = log.clone();
    let first = move |_: &Session<Staged>| Ok(Doomed(own.clone()));
    let (mut host, net) = serve(w, Layout::Shared(2), Staged::new(first));
    for word in [&b"enter"[..], b"post", b"panic", b"?"] {
        let mut peer = w.connect(net.local_addr().unwrap());
        peer.send(word);
        peer.expect_fin();
    }
    w.until("all are over", || net.sessions().is_empty());
    host.stop().unwrap();
    let stats = host.stats();
    check_stopped(&stats);
    let game = stats.network("game").unwrap();
    assert_eq!(game.closes_named("handler_error"), 3);
    assert_eq!(game.closes_named("handler_panicked"), 1);
    let mut told = log.take();
    told.sort_by_key(CloseReason::name);
    let refused = CloseReason::HandlerError("no such word".into());
    assert_eq!(told, [refused, CloseReason::HandlerPanicked]);

    let refusals = Arc::<AtomicUsize>::default();
    let count = Arc::clone(&refusals);
    let first = move |_: &Session<Staged>| {
        if count.fetch_add(1, Ordering::Relaxed) == 0 {
            return Err(Refuse::new("full"));
        }
        let mut login = Login::new(&Log::default(), &Arc::default());
        login.fails = true;
        Ok(login)
    };
    let (mut host, net) = serve(w, Layout::Shared(1), Staged::new(first));
    for _ in 0..2 {
        w.connect(net.local_addr().unwrap()).expect_fin();
    }
    assert_eq!(refusals.load(Ordering::Relaxed), 2);
    host.stop().unwrap();
    let stats = host.stats();
    check_stopped(&stats);
    assert_eq!(stats.network("game").unwrap().refused_by_handler, 2);
}
