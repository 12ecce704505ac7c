//! A login that asks another server: the session pauses its reading, a link asks, the answer comes
//! back as a job of the session, which changes its stage and reads on. Nothing waits, nothing is
//! reordered, and every way in which the question can end lets the player go on or go.

use std::time::Duration;

use wharf::{
    Answer, Error, Frame, Host, Network, Next, PauseGuard, Reconnect, RequestError, Session, Stage,
    Staged,
};

use super::requests::{Asking, Link};
use crate::support::{At, Layout, Listener, Peer, Role, World, check_stopped, frame, number};

/// The player has not said yet who it is.
struct Login {
    auth: Network<Link>,
    timeout: Duration,
}

/// The player plays.
struct Game {
    name: String,
}

/// What the link found out: given to the session by [`ask`], in a job.
type Verdict = Result<bool, RequestError>;

impl Stage for Login {
    fn on_frame(&mut self, s: &Session<Staged>, frame: Frame<'_>) -> wharf::Result<Next> {
        let name = String::from_utf8_lossy(frame.payload()).into_owned();
        let link = self.auth.sessions().first();
        let link = link.ok_or_else(|| Error::handler("the auth server is not there"))?;
        // Frames behind the login wait in the kernel until the guard goes.
        ask(s, &link, name, self.timeout, s.pause_reading())?;
        Ok(Next::Stay)
    }
}

/// Asks in the link's turn, and comes back in the session's.
fn ask(
    session: &Session<Staged>,
    link: &Session<Link>,
    name: String,
    timeout: Duration,
    reading: PauseGuard<Staged>,
) -> wharf::Result<()> {
    let session = session.clone();
    link.post(move |link, asking| {
        let key = asking.next;
        asking.next += 1;
        let question = [&key.to_le_bytes(), name.as_bytes()].concat();
        let player = session.clone();
        let tell = move |verdict: Verdict| {
            // If the player has left meanwhile, the job is dropped, and the guard with it.
            let _ = player.post(move |s, stage| {
                decide(s, stage, name, verdict);
                drop(reading); // last: the next frame meets what was decided
            });
        };
        let then = move |_: &Session<Link>, _: &mut Asking, answer: Answer<'_>| {
            tell(answer.map(|answer| answer.ends_with(b"yes")));
        };
        if let Err(error) = asking
            .requests
            .clone()
            .send(link, key, &question, timeout, then)
        {
            // Nobody was asked: `then` and the guard in it are gone.
            let _ = session.post(move |s, stage| decide(s, stage, String::new(), Err(error)));
        }
    })?;
    Ok(())
}

fn decide(s: &Session<Staged>, stage: &mut wharf::CurrentStage, name: String, verdict: Verdict) {
    match verdict {
        Ok(true) => {
            let _ = s.send(b"welcome");
            stage.become_stage(s, Game { name });
        }
        Ok(false) => {
            let _ = s.send(b"denied");
            s.close();
        }
        Err(error) => {
            let _ = s.send(error.to_string().as_bytes());
        }
    }
}

impl Stage for Game {
    fn on_frame(&mut self, s: &Session<Staged>, frame: Frame<'_>) -> wharf::Result<Next> {
        s.send(&[self.name.as_bytes(), b": ", frame.payload()].concat())?;
        Ok(Next::Stay)
    }
}

struct Flow {
    host: Host,
    game: Network<Staged>,
    auth: Network<Link>,
    server: Peer,
    _listener: Listener,
}

fn flow(w: &World, layout: Layout, in_flight_max: usize, timeout: Duration) -> Flow {
    // Whoever is not read has room for what it says: waiting for more would end every timeout.
    w.move_much();
    let listener = w.listen("127.0.0.1:0".parse().unwrap());
    let mut host = w.host();
    let mut ports = layout.ports();
    let place = ports.get(&mut host, Role::First);
    let client = host.client("auth", Link { in_flight_max }).at(&place);
    let once = Reconnect {
        enabled: false,
        ..Reconnect::default()
    };
    let auth = client.reconnect(once).connect(listener.addr()).unwrap();
    let asks = auth.clone();
    let first = move |_: &Session<Staged>| {
        Ok(Login {
            auth: asks.clone(),
            timeout,
        })
    };
    let place = ports.get(&mut host, Role::Main);
    let server = host.server("game", Staged::new(first)).at(&place);
    let game = server.handshake_timeout(None).listen(w.any_addr()).unwrap();
    host.start().unwrap();
    let server = listener.accept();
    w.until("the link is open", || !auth.sessions().is_empty());
    Flow {
        host,
        game,
        auth,
        server,
        _listener: listener,
    }
}

impl Flow {
    /// A player who sends its name, and at once what it says afterwards.
    fn player(&self, w: &World, name: &str, says: &[&str]) -> Peer {
        let mut peer = w.connect(self.game.local_addr().unwrap());
        let mut wire = frame(name.as_bytes());
        for text in says {
            wire.extend(frame(text.as_bytes()));
        }
        // In one go: between two pieces a simulation might skip to the end of a timeout.
        peer.write(&wire);
        peer
    }

    /// A question that the auth server has got: its key, and whom it is about.
    fn question(&mut self) -> (u32, Vec<u8>) {
        let question = self.server.recv();
        (number(&question), question[4..].to_vec())
    }

    fn answer(&mut self, key: u32, answer: &[u8]) {
        let answer = [&key.to_le_bytes(), answer].concat();
        self.server.send(&answer);
    }

    fn finish(mut self, peers: Vec<Peer>) {
        drop((peers, self.server));
        self.host.stop().unwrap();
        check_stopped(&self.host.stats());
    }
}

const LONG: Duration = Duration::from_secs(300);

/// Two players log in at once and are answered the other way round; each goes on with its own next
/// frames. A third is denied.
pub(crate) fn a_login_asks_another_server(w: &World, layout: Layout) {
    let mut flow = flow(w, layout, 10, LONG);
    let mut ann = flow.player(w, "Ann", &["1", "2"]);
    let mut bob = flow.player(w, "Bob", &["3"]);
    let mut eve = flow.player(w, "Eve", &["4"]);
    let mut asked = vec![flow.question(), flow.question(), flow.question()];
    asked.sort_by(|(_, one), (_, other)| other.cmp(one));
    assert_eq!(
        asked.iter().map(|(_, name)| &name[..]).collect::<Vec<_>>(),
        [&b"Eve"[..], b"Bob", b"Ann"]
    );
    w.pass(Duration::from_millis(20));
    for peer in [&mut ann, &mut bob, &mut eve] {
        peer.look();
        assert_eq!(peer.inbox, b"", "nothing is said before the answer");
    }
    for (key, name) in asked {
        flow.answer(key, if name == b"Eve" { b"no" } else { b"yes" });
    }
    assert_eq!(bob.recv(), b"welcome");
    assert_eq!(bob.recv(), b"Bob: 3");
    assert_eq!(ann.recv(), b"welcome");
    assert_eq!(ann.recv(), b"Ann: 1");
    assert_eq!(ann.recv(), b"Ann: 2");
    assert_eq!(eve.recv(), b"denied");
    eve.expect_fin();
    assert_eq!(ann.ask(b"5"), b"Ann: 5");
    flow.finish(vec![ann, bob, eve]);
}

/// The question times out, can't be asked, or ends with its link: the player is told, reads on, and
/// may try again.
pub(crate) fn a_login_survives_its_question(w: &World) {
    let told = |error: RequestError| error.to_string().into_bytes();
    let mut slow = flow(w, Layout::Shared(2), 10, Duration::from_millis(3));
    let mut ann = slow.player(w, "Ann", &["Ann"]);
    assert_eq!(ann.recv(), told(RequestError::TimedOut));
    assert_eq!(ann.recv(), told(RequestError::TimedOut), "it read on");
    let (late, _) = slow.question();
    slow.answer(late, b"yes");
    assert_eq!(
        ann.ask(b"Ann"),
        told(RequestError::TimedOut),
        "not the late answer"
    );
    slow.finish(vec![ann]);

    let mut flow = flow(w, Layout::Shared(2), 1, LONG);
    let mut bob = flow.player(w, "Bob", &["what he says to a dead link"]);
    flow.question();
    let mut eve = flow.player(w, "Eve", &[]);
    assert_eq!(eve.recv(), told(RequestError::TooMany));
    flow.server.half_close();
    assert_eq!(bob.recv(), told(RequestError::Closed));
    // There is no link to ask any more.
    bob.expect_fin();
    w.until("the link is over", || flow.auth.sessions().is_empty());
    flow.finish(vec![bob, eve]);
}
