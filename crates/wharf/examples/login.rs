//! A login that asks another server: `cargo run --release --example login 127.0.0.1:7030`, then
//! `nc 127.0.0.1 7030`, type a name, and talk.
//!
//! The address is that one unless given. A session begins in the stage `Login`. Its first line is a
//! name: the session pauses its reading, a link asks the auth server, and the answer comes back as
//! a job of the session, which becomes a `Game` and reads on. No thread waits meanwhile, and what
//! the player has typed ahead is handled by the stage that it was meant for. What is said to
//! players leaves at the tick, 20 times a second, in one write a player.
//!
//! The auth server is pretended: it knows everybody but `mallory`, and never answers `nobody`.

use std::time::Duration;

use wharf::{
    Answer, CloseReason, FlushMode, Frame, Framing, Handler, Host, Network, Next, Refuse, Requests,
    Session, Stage, Staged,
};

/// How long the auth server may take.
const AUTH_TIME_MAX: Duration = Duration::from_millis(500);
const TICK: Duration = Duration::from_millis(50);

/// The player has not said yet who it is.
struct Login {
    auth: Network<AuthLink>,
}

/// The player plays.
struct Game {
    name: String,
}

impl Stage for Login {
    fn on_frame(&mut self, s: &Session<Staged>, frame: Frame<'_>) -> wharf::Result<Next> {
        let name = String::from_utf8_lossy(frame.payload()).into_owned();
        let Some(link) = self.auth.sessions().first() else {
            s.send(b"the auth server is away, try again")?;
            return Ok(Next::Stay);
        };
        let (player, reading) = (s.clone(), s.pause_reading());
        // In the link's turn, where its requests are; `then` comes back into the player's. Whatever
        // ends early drops the closures, the guard with them: reading goes on.
        link.post(move |link, asking| {
            let key = asking.next;
            asking.next = asking.next.wrapping_add(1);
            let question = format!("{key} {name}");
            let asker = player.clone();
            let then = move |_: &Session<AuthLink>, _: &mut Asking, answer: Answer<'_>| {
                let verdict = answer.map(|answer| answer.ends_with(b" yes"));
                let _ = player.post(move |s, stage| {
                    match verdict {
                        Ok(true) => {
                            let _ = s.send(format!("welcome {name}").as_bytes());
                            stage.become_stage(s, Game { name });
                        }
                        Ok(false) => {
                            let _ = s.send(b"denied");
                            s.close();
                        }
                        Err(error) => {
                            let _ = s.send(format!("{error}, try again").as_bytes());
                        }
                    }
                    drop(reading); // last: the next frame meets what was decided
                });
            };
            let requests = asking.requests.clone();
            let asked = requests.send(link, key, question.as_bytes(), AUTH_TIME_MAX, then);
            if let Err(error) = asked {
                let _ = asker.send(format!("{error}, try again").as_bytes());
            }
        })?;
        Ok(Next::Stay)
    }
}

impl Stage for Game {
    fn on_frame(&mut self, s: &Session<Staged>, frame: Frame<'_>) -> wharf::Result<Next> {
        let said = [self.name.as_bytes(), b": ", frame.payload()].concat();
        s.network().sessions().broadcast(&said)?;
        Ok(Next::Stay)
    }
}

/// The link to the auth server. A question is `KEY NAME`, its answer `KEY yes` or `KEY no`.
struct AuthLink;

struct Asking {
    requests: Requests<AuthLink>,
    next: u32,
}

impl Handler for AuthLink {
    type State = Asking;

    fn on_open(&self, _: &Session<Self>) -> Result<Asking, Refuse> {
        let requests = Requests::new(1000);
        Ok(Asking { requests, next: 0 })
    }

    fn on_frame(&self, s: &Session<Self>, link: &mut Asking, f: Frame<'_>) -> wharf::Result<()> {
        let text = std::str::from_utf8(f.payload()).unwrap_or_default();
        let key = text.split(' ').next().and_then(|key| key.parse().ok());
        if let Some(waiting) = key.and_then(|key| link.requests.answer(&key)) {
            waiting.finish(s, link, f);
        }
        Ok(())
    }

    fn on_close(&self, s: &Session<Self>, mut link: Asking, _: CloseReason) {
        link.requests.clone().close(s, &mut link);
    }
}

/// Stands in for the auth server.
struct StandIn;

impl Handler for StandIn {
    type State = ();

    fn on_open(&self, _: &Session<Self>) -> Result<(), Refuse> {
        Ok(())
    }

    fn on_frame(&self, s: &Session<Self>, (): &mut (), frame: Frame<'_>) -> wharf::Result<()> {
        let text = String::from_utf8_lossy(frame.payload());
        match text.split_once(' ') {
            Some((_, "nobody")) | None => Ok(()),
            Some((key, "mallory")) => Ok(s.send(format!("{key} no").as_bytes())?),
            Some((key, _)) => Ok(s.send(format!("{key} yes").as_bytes())?),
        }
    }
}

#[expect(clippy::print_stdout, reason = "says where it listens")]
fn main() -> wharf::Result<()> {
    let mut remote = Host::new(); // on another machine, when it is real
    let stand_in = remote.server("stand-in", StandIn);
    let stand_in = stand_in.handshake_timeout(None).listen("127.0.0.1:0")?;
    remote.start()?;
    let addr = std::env::args().nth(1);
    let addr = addr.unwrap_or_else(|| "127.0.0.1:7030".to_owned());

    let mut host = Host::new();
    let port = host.port("game").workers(2).build()?;
    let auth = host.client("auth", AuthLink).port(&port);
    let auth = auth.connect(stand_in.local_addrs())?;
    let game = Staged::new(move |_| Ok(Login { auth: auth.clone() }));
    let players = host.server("game", game).port(&port);
    let players = players.flush(FlushMode::Tick).handshake_timeout(None);
    let lines = Framing::lines().with_frame_bytes_max(1024)?;
    let players = players.framing(lines).listen(addr)?;
    host.stop_on_signal()?;
    host.start()?;
    let zone = players.clone();
    port.every(TICK, move |_| {
        zone.flush();
    })?;
    println!("listening on {}", players.local_addrs()[0]);
    host.run_until_signal()
}
