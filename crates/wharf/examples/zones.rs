//! Zones of a game, each a strand that ticks 20 times a second: `cargo run --example zones`
//!
//! Sessions post what their players do into their zone; it moves all of them at its tick and tells
//! them. A frame is a u16 little-endian length that counts itself, then: `w` and a signed byte, the
//! steps to walk per tick; `z` and a byte, the zone to go to; `?`, how many are in this zone. The
//! server says `m` and an i32, the place, after each tick of a walk; `n` and a byte, the number.

use std::collections::BTreeMap;
use std::time::Duration;

use wharf::{CloseReason, Frame, Handler, Host, Refuse, Session, SessionId, Strand};
use wharf::{StrandOptions, Tick};

const ZONES: usize = 4;

/// Who is in a zone. Its strand alone touches it: no lock.
type Zone = BTreeMap<SessionId, Player>;

struct Player {
    session: Session<Game>,
    place: i32,
    walk: i8,
}

/// A late tick walks as far as those it stands for would have walked.
fn tick(zone: &mut Zone, tick: &Tick) {
    let steps = i32::try_from(tick.missed + 1).unwrap_or(i32::MAX);
    for player in zone.values_mut().filter(|player| player.walk != 0) {
        let walked = steps.saturating_mul(player.walk.into());
        player.place = player.place.saturating_add(walked);
        let [a, b, c, d] = player.place.to_le_bytes();
        // A session that is over leaves by its `on_close`.
        let _ = player.session.send(&[b'm', a, b, c, d]);
    }
}

struct Game {
    zones: Vec<Strand<Zone>>,
}

impl Handler for Game {
    /// The zone that the session is in.
    type State = usize;

    fn on_open(&self, session: &Session<Self>) -> Result<usize, Refuse> {
        let (id, session) = (session.id(), session.clone());
        let player = Player {
            session,
            place: 0,
            walk: 0,
        };
        let entered = self.zones[0].post(move |zone| zone.extend([(id, player)]));
        entered.map_err(|_| Refuse::new("the first zone is full"))?;
        Ok(0)
    }

    fn on_frame(&self, s: &Session<Self>, zone: &mut usize, f: Frame<'_>) -> wharf::Result<()> {
        let (id, from) = (s.id(), &self.zones[*zone]);
        match *f.payload() {
            [b'w', walk] => from.post(move |zone| {
                if let Some(player) = zone.get_mut(&id) {
                    player.walk = walk.cast_signed();
                }
            })?,
            [b'z', to] => {
                *zone = usize::from(to) % ZONES;
                // From strand to strand: a player is never in two zones.
                let leave = move |zone: &mut Zone| zone.remove(&id);
                from.ask_strand(&self.zones[*zone], leave, move |zone, player| {
                    // One that has closed meanwhile may have left here already.
                    let player = player.filter(|player| player.session.is_open());
                    zone.extend(player.map(|player| (id, player)));
                })?;
            }
            [b'?'] => from.ask(
                s,
                |zone| zone.len(),
                |s, _, players| {
                    let _ = s.send(&[b'n', u8::try_from(players).unwrap_or(u8::MAX)]);
                },
            )?,
            _ => s.close(),
        }
        Ok(())
    }

    fn on_close(&self, session: &Session<Self>, _: usize, _: CloseReason) {
        let id = session.id();
        // All of them, as it may be on its way between two.
        for zone in &self.zones {
            let _ = zone.post(move |zone| drop(zone.remove(&id)));
        }
    }
}

#[expect(clippy::print_stdout, reason = "says where it listens")]
fn main() -> wharf::Result<()> {
    let addr = std::env::args().nth(1);
    let addr = addr.unwrap_or_else(|| "127.0.0.1:7777".to_owned());
    let mut host = Host::new();
    let port = host.port("main").build()?; // where a network is served that names no port
    let mut zones = Vec::new();
    for number in 0..ZONES {
        let options = StrandOptions {
            name: format!("zone {number}"),
            ..StrandOptions::default()
        };
        let zone = port.strand_with(Zone::new(), options)?;
        zone.every(Duration::from_millis(50), tick)?;
        zones.push(zone);
    }
    let game = host.server("game", Game { zones }).listen(addr)?;
    host.stop_on_signal()?;
    host.start()?;
    for addr in game.local_addrs() {
        println!("listening on {addr}");
    }
    host.run_until_signal()
}
