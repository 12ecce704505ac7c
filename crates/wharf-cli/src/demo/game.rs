//! The process under show: a game server for the bots, a link to the chat server and one to the
//! master server. The handlers do not know on which ports they run.

use std::sync::{Arc, OnceLock};

use wharf::{CloseReason, Frame, Handler, Network, Refuse, Session, SessionId, WeakNetwork};

use super::ledger::{Ledger, Total};
use super::wire::{CHAT, Label, MOVE, REPORT};
use crate::args::Sabotage;
use crate::out;

/// Moves between two reports of a player to the master server.
const MOVES_PER_REPORT: u64 = 256;
/// The move of each player whose answer `--sabotage` breaks.
const SABOTAGED_MOVE: u64 = 100;

/// The game server.
pub(super) struct Game {
    pub(super) chat: Network<ChatLink>,
    pub(super) master: Network<MasterLink>,
    pub(super) sabotage: Option<Sabotage>,
}

/// What the game server keeps of a player.
#[derive(Default)]
pub(super) struct Player {
    moves: u64,
    /// An answer held back by `--sabotage reorder`.
    held: Option<Vec<u8>>,
}

impl Handler for Game {
    type State = Player;

    fn on_open(&self, s: &Session<Self>) -> Result<Player, Refuse> {
        self.report(s.id())
            .map_err(|error| Refuse::new(error.to_string()))?;
        Ok(Player::default())
    }

    fn on_frame(&self, s: &Session<Self>, p: &mut Player, f: Frame<'_>) -> wharf::Result<()> {
        match Label::peek(f.payload()).map(|label| label.id) {
            Some(MOVE) => {
                p.moves += 1;
                if p.moves.is_multiple_of(MOVES_PER_REPORT) {
                    self.report(s.id())?;
                }
                self.answer(s, p, f.payload())
            }
            Some(CHAT) => {
                let link = self.chat.sessions().first();
                let link = link.ok_or_else(|| wharf::Error::handler("the chat link is down"))?;
                // The chat server gives the session id back with the words.
                link.send_with(|out| {
                    out.extend(s.id().get().to_le_bytes());
                    out.extend_from_slice(f.payload());
                    Ok(())
                })
            }
            _ => Err(wharf::Error::handler("a frame with an unknown id")),
        }
    }
}

impl Game {
    /// Tells the master server about a session.
    fn report(&self, player: SessionId) -> wharf::Result<()> {
        let link = self.master.sessions().first();
        let link = link.ok_or_else(|| wharf::Error::handler("the master link is down"))?;
        // The link's ledger belongs to the link's turns.
        Ok(link.post(move |link, ledger| MasterLink::send(link, ledger, player))?)
    }

    fn answer(&self, s: &Session<Self>, p: &mut Player, payload: &[u8]) -> wharf::Result<()> {
        let sabotage = self.sabotage.filter(|_| p.moves == SABOTAGED_MOVE);
        match sabotage {
            None => s.send(payload)?,
            Some(Sabotage::Lose) => {}
            Some(Sabotage::Double) => {
                s.send(payload)?;
                s.send(payload)?;
            }
            Some(Sabotage::Reorder) => p.held = Some(payload.to_vec()),
            Some(Sabotage::Corrupt) => {
                let mut wrong = payload.to_vec();
                if let Some(last) = wrong.last_mut() {
                    *last ^= 1;
                }
                s.send(&wrong)?;
            }
        }
        if sabotage.is_none()
            && let Some(held) = p.held.take()
        {
            s.send(&held)?;
        }
        Ok(())
    }
}

/// The link to the chat server: hands what comes back to the player it is for.
#[derive(Default)]
pub(super) struct ChatLink {
    /// Set once the game server is declared: the two know each other, and one of them weakly.
    pub(super) game: Arc<OnceLock<WeakNetwork<Game>>>,
}

impl Handler for ChatLink {
    type State = ();

    fn on_open(&self, _: &Session<Self>) -> Result<(), Refuse> {
        Ok(())
    }

    fn on_frame(&self, _: &Session<Self>, _: &mut (), f: Frame<'_>) -> wharf::Result<()> {
        let Some((id, words)) = f.payload().split_first_chunk::<8>() else {
            return Err(wharf::Error::handler("a chat frame without a session id"));
        };
        let player = SessionId::from_u64(u64::from_le_bytes(*id));
        let game = self.game.get().and_then(WeakNetwork::upgrade);
        if let Some(player) = game
            .zip(player)
            .and_then(|(game, id)| game.sessions().get(id))
        {
            // A player that left meanwhile misses it, as players do.
            let _ = player.send(words);
        }
        Ok(())
    }
}

/// The link to the master server: every report is answered, and the ledger checks that.
pub(super) struct MasterLink {
    pub(super) total: Total,
}

impl MasterLink {
    fn send(link: &Session<Self>, ledger: &mut Ledger, player: SessionId) {
        // Only a pattern depends on it: the low half will do.
        let sender = u32::try_from(player.get() & u64::from(u32::MAX)).unwrap_or(0);
        let label = Label {
            id: REPORT,
            sender,
            number: ledger.send(),
        };
        let mut payload = Vec::new();
        label.write(20, &mut payload);
        if let Err(error) = link.send(&payload) {
            // The link is going down; what was open is counted as lost, and seen.
            out::note(format_args!("a report could not be sent: {error}"));
        }
    }
}

impl Handler for MasterLink {
    type State = Ledger;

    fn on_open(&self, _: &Session<Self>) -> Result<Ledger, Refuse> {
        Ok(Ledger::new())
    }

    fn on_frame(&self, _: &Session<Self>, ledger: &mut Ledger, f: Frame<'_>) -> wharf::Result<()> {
        match Label::check(f.payload()) {
            Some(label) => ledger.answer(label.number),
            None => ledger.corrupt(),
        }
        Ok(())
    }

    fn on_close(&self, _: &Session<Self>, ledger: Ledger, _: CloseReason) {
        self.total.add(ledger.close());
    }
}

/// The chat and the master server of the demo: they answer each frame with itself.
pub(super) struct Backend;

impl Handler for Backend {
    type State = ();

    fn on_open(&self, _: &Session<Self>) -> Result<(), Refuse> {
        Ok(())
    }

    fn on_frame(&self, s: &Session<Self>, _: &mut (), f: Frame<'_>) -> wharf::Result<()> {
        Ok(s.send(f.payload())?)
    }
}
