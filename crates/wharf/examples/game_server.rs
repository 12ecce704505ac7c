//! A process with three roles: it serves players, and is itself a client of a chat server and of a
//! master server. Players have a port with four workers; the two links share one with a single
//! worker: however slow their handlers are, no player waits for them.
//!
//! `cargo run --release --example game_server [LISTEN [CHAT [MASTER]]]`, by default 127.0.0.1:7777
//! and stand-ins. A frame is a little-endian u16 length that counts itself, and text: `login NAME`,
//! `move X Y`, `say TEXT`.

use std::sync::{Arc, OnceLock};

use wharf::{Frame, Handler, Host, Network, Refuse, Session, SessionId};

struct Game {
    chat: Network<Link>,
    master: Network<Link>,
}

impl Handler for Game {
    type State = Option<String>; // the player's name, once the master has granted it

    fn on_open(&self, _: &Session<Self>) -> Result<Option<String>, Refuse> {
        Ok(None)
    }

    /// Sending never blocks: neither on a player who reads slowly nor on a link.
    fn on_frame(&self, s: &Session<Self>, p: &mut Self::State, f: Frame<'_>) -> wharf::Result<()> {
        let text = String::from_utf8_lossy(f.payload());
        let (to, text) = match (text.split_once(' ').unwrap_or_default(), p) {
            (("login", name), None) => (&self.master, format!("{} {name}", s.id().get())),
            (("say", words), Some(name)) => (&self.chat, format!("{name}: {words}")),
            (("move", place), Some(name)) => {
                let moved = format!("{name} is at {place}");
                s.network().sessions().broadcast(moved.as_bytes())?;
                return Ok(());
            }
            _ => return Ok(s.send(b"error: login NAME, then move X Y or say TEXT")?),
        };
        if to.sessions().broadcast(text.as_bytes())?.accepted == 0 {
            s.send(format!("error: the {} server is away, try again", to.name()).as_bytes())?;
        }
        Ok(())
    }
}

/// A link to another server, and the players: declared after it, as they refer to it.
#[derive(Clone, Default)]
struct Link(Arc<OnceLock<Network<Game>>>);

impl Handler for Link {
    type State = ();

    fn on_open(&self, _: &Session<Self>) -> Result<(), Refuse> {
        Ok(())
    }

    fn on_frame(&self, s: &Session<Self>, _: &mut (), f: Frame<'_>) -> wharf::Result<()> {
        let Some(players) = self.0.get().map(Network::sessions) else {
            return Ok(());
        };
        if s.network().name() == "chat" {
            players.broadcast(f.payload())?; // encoded once for all
            return Ok(());
        }
        // The master grants a name with `ID NAME`.
        let text = String::from_utf8_lossy(f.payload());
        let (id, name) = text.split_once(' ').unwrap_or_default();
        let id = id.parse().ok().and_then(SessionId::from_u64);
        if let Some(player) = id.and_then(|id| players.get(id)) {
            let name = name.to_owned();
            // Runs in the player's own turn, on the fast port. One who has left needs no answer.
            let _ = player.post(|s, p| {
                let name = p.get_or_insert(name);
                let _ = s.send(format!("welcome {name}").as_bytes());
            });
        }
        Ok(())
    }
}

/// Stands in for both servers: what was said comes back, and every name is granted.
struct StandIn;

impl Handler for StandIn {
    type State = ();

    fn on_open(&self, _: &Session<Self>) -> Result<(), Refuse> {
        Ok(())
    }

    fn on_frame(&self, s: &Session<Self>, _: &mut (), f: Frame<'_>) -> wharf::Result<()> {
        Ok(s.send(f.payload())?)
    }
}

#[expect(clippy::print_stdout, reason = "says where it listens")]
fn main() -> wharf::Result<()> {
    let mut remote = Host::new(); // on other machines, when it is real
    let stand_in = remote.server("stand-in", StandIn).listen("127.0.0.1:0")?;
    remote.start()?;
    let stand_in = stand_in.local_addrs()[0].to_string();
    let mut args = std::env::args().skip(1);
    let listen = args.next().unwrap_or("127.0.0.1:7777".to_owned());

    let mut host = Host::new();
    let fast = host.port("game").workers(4).build()?;
    let slow = host.port("links").workers(1).build()?;
    let link = Link::default();
    let [chat, master] = ["chat", "master"].map(|name| {
        let addr = args.next().unwrap_or(stand_in.clone());
        host.client(name, link.clone()).port(&slow).connect(addr)
    });
    let game = Game {
        chat: chat?,
        master: master?,
    };
    let players = host.server("game", game).port(&fast).listen(listen)?;
    let _ = link.0.set(players.clone());
    host.stop_on_signal()?;
    host.start()?;
    println!("listening on {}", players.local_addrs()[0]);
    host.run_until_signal()
}
