//! The handler of the client network: plays with the links' server, and checks what comes back.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use wharf::{CloseReason, Error, Frame, Handler, Refuse, Session};

use crate::game::{State, panic_quietly};
use crate::judge::{Judge, Record, did};
use crate::wire::{self, Inbox, op};

/// The handler.
pub(crate) struct Link {
    pub(crate) judge: Arc<Judge>,
    pub(crate) len_max: u32,
    /// Whether the server's queue drops old frames.
    pub(crate) gaps: bool,
}

pub(crate) struct LinkState {
    state: State,
    inbox: Inbox,
    sent: u32,
}

impl Handler for Link {
    type State = LinkState;

    fn on_open(&self, s: &Session<Self>) -> Result<LinkState, Refuse> {
        let record = self.judge.opening(s.id(), 2, s.peer_addr());
        let _busy = self.judge.enter(&record, "on_open");
        self.judge.in_lane(s, &record);
        if self.judge.coin(0.03) {
            record.refused.store(true, SeqCst);
            if self.judge.coin(0.5) {
                panic_quietly();
            }
            return Err(Refuse::new("scripted"));
        }
        let mut state = LinkState {
            state: State::new(&self.judge, Arc::clone(&record)),
            inbox: Inbox::new(self.gaps),
            sent: 0,
        };
        self.ask(s, &mut state);
        Ok(state)
    }

    fn on_frame(
        &self,
        s: &Session<Self>,
        state: &mut LinkState,
        f: Frame<'_>,
    ) -> wharf::Result<()> {
        let record = Arc::clone(&state.state.record);
        let _busy = self.judge.enter(&record, "on_frame");
        self.judge.in_lane(s, &record);
        record.frames.fetch_add(1, SeqCst);
        if let Err(wrong) = state.inbox.take(f.payload()) {
            self.judge
                .blame(format!("link session {}: {wrong}", record.serial));
        }
        if self.judge.calm.load(SeqCst) {
            return Ok(());
        }
        match self.judge.below(100) {
            0 => {
                record.note(did::CLOSE);
                s.close();
            }
            1 => {
                record.note(did::ABORT);
                s.abort();
            }
            2 => {
                record.note(did::ERROR);
                return Err(Error::handler("scripted"));
            }
            3 => {
                record.note(did::PANIC);
                panic_quietly();
            }
            4 => self.judge.relane_itself(s, &record),
            5 => self.judge.hold(s, &record),
            6..=9 => {}
            _ => self.ask(s, state),
        }
        Ok(())
    }

    fn on_close(&self, _: &Session<Self>, state: LinkState, reason: CloseReason) {
        let record: &Record = &state.state.record;
        let _busy = self.judge.enter(record, "on_close");
        self.judge.closing(record, &reason);
    }
}

impl Link {
    fn ask(&self, s: &Session<Self>, state: &mut LinkState) {
        // What another session ends is left to the peers: their close reasons are checked.
        let op = match self.judge.below(40) {
            0 => op::CLOSE,
            1 => op::ABORT,
            2 => op::ERROR,
            3 => op::PANIC,
            4..=8 => op::MANY,
            9..=12 => op::POST_SELF,
            13..=15 => op::DIRECT,
            16 => op::FLUSH,
            17 => op::HOLD,
            18 => op::RELANE,
            19 => op::RESIZE,
            _ => op::ECHO,
        };
        let len = self.judge.below(self.len_max) as usize;
        if s.send(&wire::ask(op, state.sent, len)).is_ok() {
            state.sent += 1;
        }
    }
}
