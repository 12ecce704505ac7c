//! A chat for `nc`: `cargo run --release --example chat_room 127.0.0.1:7010`, then in two
//! terminals `nc 127.0.0.1 7010`.
//!
//! The address is that one unless given. A line is a message to the room; lines with a slash:
//! `/nick NAME`, `/join ROOM`, `/who`, `/me DOES SOMETHING`, `/quit`.

use std::collections::{BTreeMap, HashMap};

use parking_lot::Mutex;
use wharf::{
    CloseReason, Frame, Framing, Group, Handler, Host, Refuse, SendQueueLimits, Session, SessionId,
    WhenFull,
};

/// The longest line; nobody has more to say at once.
const LINE_BYTES_MAX: usize = 1024;
const NAME_BYTES_MAX: usize = 16;

/// The handler. What concerns several sessions needs a lock; it is never held while sending.
#[derive(Default)]
struct Chat {
    rooms: Mutex<HashMap<String, Room>>,
}

/// A room that somebody is in: the group is what messages are sent to.
struct Room {
    group: Group<Chat>,
    names: BTreeMap<SessionId, String>,
}

/// What a session keeps. Its callbacks never overlap: no lock.
struct Person {
    name: String,
    room: String,
    group: Group<Chat>,
}

impl Handler for Chat {
    type State = Person;

    fn on_open(&self, s: &Session<Self>) -> Result<Person, Refuse> {
        let name = format!("guest{}", s.id().get());
        let room = "lobby".to_owned();
        // What is sent may fail only if the session is over already; on_close will tell.
        let _ = s.send(format!("* welcome, {name}: /nick /join /who /me /quit").as_bytes());
        // A turn's own lines leave at its end. From the next line on others send to this session
        // as well: without this their lines might come before the welcome.
        s.flush();
        let group = self.enter(s, &name, &room);
        let _ = group.send_except(format!("* {name} is here").as_bytes(), s.id());
        Ok(Person { name, room, group })
    }

    fn on_frame(&self, s: &Session<Self>, p: &mut Person, frame: Frame<'_>) -> wharf::Result<()> {
        // What one terminal sends must not move the cursor of another.
        let line = String::from_utf8_lossy(frame.payload()).replace(char::is_control, " ");
        let (command, rest) = line.split_once(' ').unwrap_or((&line, ""));
        let rest = rest.trim();
        let name = &p.name;
        match command {
            "" => {}
            "/nick" => self.rename(s, p, rest)?,
            "/join" => self.join(s, p, rest)?,
            "/who" => s.send(format!("* in {}: {}", p.room, self.who(&p.room)).as_bytes())?,
            "/me" => say(p, &format!("* {name} {rest}"))?,
            "/quit" => {
                s.send(b"* bye")?;
                s.close(); // flushes first
            }
            _ if command.starts_with('/') => {
                s.send(b"* commands: /nick NAME, /join ROOM, /who, /me TEXT, /quit")?;
            }
            _ => say(p, &format!("{name}: {line}"))?,
        }
        Ok(())
    }

    fn on_close(&self, s: &Session<Self>, p: Person, why: CloseReason) {
        self.leave(s, &p.room);
        let _ = say(&p, &format!("* {} left ({why})", p.name));
    }
}

/// To all in the room, the sender too.
fn say(p: &Person, text: &str) -> wharf::Result<()> {
    p.group.send(text.as_bytes())?;
    Ok(())
}

impl Chat {
    fn enter(&self, s: &Session<Self>, name: &str, room: &str) -> Group<Self> {
        let mut rooms = self.rooms.lock();
        let room = rooms.entry(room.to_owned()).or_insert_with(|| Room {
            group: s.network().group(),
            names: BTreeMap::new(),
        });
        room.group.join(s);
        room.names.insert(s.id(), name.to_owned());
        room.group.clone()
    }

    /// The last one out closes the room: there are never more rooms than sessions.
    fn leave(&self, s: &Session<Self>, room: &str) {
        let mut rooms = self.rooms.lock();
        if let Some(found) = rooms.get_mut(room) {
            found.group.leave(s.id());
            found.names.remove(&s.id());
            if found.names.is_empty() {
                rooms.remove(room);
            }
        }
    }

    fn rename(&self, s: &Session<Self>, p: &mut Person, name: &str) -> wharf::Result<()> {
        if !is_name(name) {
            return Ok(s.send(b"* a name has 1 to 16 letters and digits")?);
        }
        {
            let mut rooms = self.rooms.lock();
            let taken = |room: &Room| room.names.values().any(|other| other == name);
            if rooms.values().any(taken) {
                drop(rooms);
                return Ok(s.send(format!("* {name} is taken").as_bytes())?);
            }
            if let Some(room) = rooms.get_mut(&p.room) {
                room.names.insert(s.id(), name.to_owned());
            }
        }
        let old = std::mem::replace(&mut p.name, name.to_owned());
        say(p, &format!("* {old} is now {name}"))
    }

    fn join(&self, s: &Session<Self>, p: &mut Person, room: &str) -> wharf::Result<()> {
        if !is_name(room) {
            return Ok(s.send(b"* a room's name has 1 to 16 letters and digits")?);
        }
        self.leave(s, &p.room);
        say(p, &format!("* {} went to {room}", p.name))?;
        p.group = self.enter(s, &p.name, room);
        p.room = room.to_owned();
        say(p, &format!("* {} is here", p.name))
    }

    fn who(&self, room: &str) -> String {
        let rooms = self.rooms.lock();
        let names = rooms.get(room).map(|room| room.names.values().cloned());
        names.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}

fn is_name(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric())
}

#[expect(clippy::print_stdout, reason = "says where it listens")]
fn main() -> wharf::Result<()> {
    let addr = std::env::args().nth(1);
    let addr = addr.unwrap_or_else(|| "127.0.0.1:7010".to_owned());
    let mut host = Host::new();
    let server = host
        .server("chat", Chat::default())
        .framing(Framing::lines().with_frame_bytes_max(LINE_BYTES_MAX)?)
        // A reader that is too slow for its room. What was said long ago is worth less than what is
        // said now, so the oldest lines go and the person stays. A game that sends the changes of
        // a world would say WhenFull::Close: who has missed one is out of step for good.
        .send_queue(SendQueueLimits {
            bytes_max: 64 * LINE_BYTES_MAX,
            when_full: WhenFull::DropOld,
            ..SendQueueLimits::default()
        })
        // Some only listen.
        .handshake_timeout(None)
        .listen(addr)?;
    host.stop_on_signal()?;
    host.start()?;
    for addr in server.local_addrs() {
        println!("listening on {addr}");
    }
    host.run_until_signal()
}
