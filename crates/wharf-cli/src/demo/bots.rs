//! The bots: links of a client network, each one a player that checks every byte it gets.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use wharf::{CloseReason, Frame, Handler, Refuse, Session};

use super::ledger::{Ledger, Total};
use super::wire::{CHAT, Label, MOVE};

/// Moves on their way at once.
const MOVES_OPEN: usize = 4;
/// Moves between two chat lines.
const MOVES_PER_CHAT: u32 = 32;
/// Pattern bytes of a move and of a chat line.
const MOVE_BYTES: usize = 22;
const CHAT_BYTES: usize = 86;

/// All bots.
#[derive(Clone, Default)]
pub(super) struct Bots {
    pub(super) shared: Arc<Shared>,
}

/// What the bots share with the one who watches them.
#[derive(Default)]
pub(super) struct Shared {
    /// No new requests from now on.
    pub(super) enough: AtomicBool,
    next_bot: AtomicU32,
    pub(super) sent: AtomicU64,
    pub(super) answered: AtomicU64,
    pub(super) moves: Total,
    pub(super) chats: Total,
    /// Sessions that ended before the watcher ended them.
    pub(super) cut: AtomicU64,
}

/// One bot.
pub(super) struct Bot {
    number: u32,
    moves: Ledger,
    chats: Ledger,
}

impl Bot {
    /// Sends what its open requests leave room for.
    fn play(&mut self, s: &Session<Bots>, shared: &Shared) -> wharf::Result<()> {
        while self.moves.open() < MOVES_OPEN && !shared.enough.load(Ordering::Relaxed) {
            let number = self.moves.send();
            self.send(s, shared, MOVE, number, MOVE_BYTES)?;
            if number % MOVES_PER_CHAT == self.number % MOVES_PER_CHAT {
                let number = self.chats.send();
                self.send(s, shared, CHAT, number, CHAT_BYTES)?;
            }
        }
        Ok(())
    }

    fn send(
        &self,
        s: &Session<Bots>,
        shared: &Shared,
        id: u16,
        number: u32,
        len: usize,
    ) -> wharf::Result<()> {
        shared.sent.fetch_add(1, Ordering::Relaxed);
        let label = Label {
            id,
            sender: self.number,
            number,
        };
        s.send_with(|out| {
            label.write(len, out);
            Ok(())
        })
    }
}

impl Handler for Bots {
    type State = Bot;

    fn on_open(&self, s: &Session<Self>) -> Result<Bot, Refuse> {
        let number = self.shared.next_bot.fetch_add(1, Ordering::Relaxed);
        let mut bot = Bot {
            number,
            moves: Ledger::new(),
            chats: Ledger::new(),
        };
        bot.play(s, &self.shared)
            .map_err(|error| Refuse::new(error.to_string()))?;
        Ok(bot)
    }

    fn on_frame(&self, s: &Session<Self>, bot: &mut Bot, f: Frame<'_>) -> wharf::Result<()> {
        self.shared.answered.fetch_add(1, Ordering::Relaxed);
        match Label::check(f.payload()) {
            Some(label) if label.sender != bot.number => bot.moves.corrupt(),
            Some(Label {
                id: MOVE, number, ..
            }) => bot.moves.answer(number),
            Some(Label {
                id: CHAT, number, ..
            }) => bot.chats.answer(number),
            _ => bot.moves.corrupt(),
        }
        bot.play(s, &self.shared)
    }

    fn on_close(&self, _: &Session<Self>, bot: Bot, reason: CloseReason) {
        if !matches!(reason, CloseReason::Shutdown) {
            self.shared.cut.fetch_add(1, Ordering::Relaxed);
        }
        self.shared.moves.add(bot.moves.close());
        self.shared.chats.add(bot.chats.close());
    }
}
