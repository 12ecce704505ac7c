//! The handler under test: does to its sessions all that a handler may do.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use wharf::frame::Framing;
use wharf::{Bytes, CloseReason, Error, Frame, Handler, PauseGuard, Refuse, SendError, Session};

use crate::judge::{Judge, Record, did};
use crate::wire::{self, op};

/// The handler of both servers.
pub(crate) struct Game {
    pub(crate) judge: Arc<Judge>,
    /// 0: the peers' server; 1: the links' server.
    pub(crate) net: usize,
    pub(crate) framing: Framing,
    /// Bytes of filler at most.
    pub(crate) len_max: u32,
    /// How often `on_open` refuses or panics.
    pub(crate) unfriendly: f64,
}

/// A panic that the panic hook does not print: there are thousands.
pub(crate) fn panic_quietly() -> ! {
    std::panic::resume_unwind(Box::new("scripted"))
}

/// What a session keeps; the judge counts how many there are.
pub(crate) struct State {
    pub(crate) judge: Arc<Judge>,
    pub(crate) record: Arc<Record>,
    guard: Option<PauseGuard<Game>>,
}

impl Drop for State {
    fn drop(&mut self) {
        self.judge.states.fetch_sub(1, SeqCst);
    }
}

impl State {
    pub(crate) fn new(judge: &Arc<Judge>, record: Arc<Record>) -> Self {
        judge.states.fetch_add(1, SeqCst);
        Self {
            judge: Arc::clone(judge),
            record,
            guard: None,
        }
    }
}

/// What an encoder of [`Session::send_with`] may say.
#[derive(Debug)]
pub(crate) enum Encoded {
    Broken,
    Refused(SendError),
}

impl From<SendError> for Encoded {
    fn from(error: SendError) -> Self {
        Self::Refused(error)
    }
}

impl Handler for Game {
    type State = State;

    fn on_open(&self, s: &Session<Self>) -> Result<State, Refuse> {
        let record = self.judge.opening(s.id(), self.net, s.peer_addr());
        let busy = self.judge.enter(&record, "on_open");
        self.judge.in_lane(s, &record);
        for _ in 0..self.judge.below(3) {
            let _ = self.reply(s, &record);
        }
        if self.judge.coin(self.unfriendly) {
            record.refused.store(true, SeqCst);
            if self.judge.coin(0.5) {
                panic_quietly();
            }
            return Err(Refuse::new("scripted"));
        }
        if self.judge.coin(0.1) {
            post_reply(s, &record);
        }
        drop(busy);
        Ok(State::new(&self.judge, record))
    }

    fn on_frame(&self, s: &Session<Self>, state: &mut State, f: Frame<'_>) -> wharf::Result<()> {
        let record = Arc::clone(&state.record);
        let _busy = self.judge.enter(&record, "on_frame");
        self.judge.in_lane(s, &record);
        let due = record.frames.fetch_add(1, SeqCst);
        let Some((op, number)) = wire::asked(f.payload()) else {
            self.judge.blame(format!(
                "session {}: frame {due} has other bytes",
                record.serial
            ));
            return Ok(());
        };
        if number != due {
            let serial = record.serial;
            self.judge
                .blame(format!("G1: session {serial} got frame {number} as {due}"));
        }
        if self.net == 0 && self.judge.coin(0.1) {
            self.judge.to_a_room(s, &record);
        }
        self.act(s, state, &record, op)
    }

    fn on_close(&self, s: &Session<Self>, state: State, reason: CloseReason) {
        let record = Arc::clone(&state.record);
        let _busy = self.judge.enter(&record, "on_close");
        self.judge.in_lane(s, &record);
        self.judge.closing(&record, &reason);
        if s.send(b"too late") != Err(SendError::Closed)
            || s.post(|_, _| {}) != Err(SendError::Closed)
        {
            self.judge.blame("a closed session took a frame or a job");
        }
        if self.judge.coin(0.05) {
            panic_quietly();
        }
    }
}

impl Game {
    fn act(
        &self,
        s: &Session<Self>,
        state: &mut State,
        record: &Arc<Record>,
        op: u8,
    ) -> wharf::Result<()> {
        match op {
            op::ECHO => drop(self.reply(s, record)),
            op::MANY => {
                for _ in 0..self.judge.below(12) {
                    let _ = self.reply(s, record);
                }
            }
            op::CAST | op::GROUP | op::JOIN => self.to_many(s, record, op),
            op::POST_SELF => post_reply(s, record),
            op::POST_OTHER | op::DIRECT | op::RELANE_OTHER | op::CLOSE_OTHER | op::ABORT_OTHER => {
                self.to_other(s, record, op)
            }
            op::PAUSE => self.pause(s, state),
            op::BAD_ENCODER => self.encode_badly(s, record),
            op::FLUSH => {
                let _ = self.reply(s, record);
                s.flush();
                let _ = self.reply(s, record);
            }
            op::HOLD => {
                let _ = self.reply(s, record);
                self.judge.hold(s, record);
            }
            op::RELANE => self.judge.relane_itself(s, record),
            op::RESIZE => self.judge.resize(),
            op::STOP if self.judge.may_stop.load(SeqCst) => self.judge.stop_host(),
            _ => return self.end(s, record, op),
        }
        Ok(())
    }

    /// What ends the own session.
    fn end(&self, s: &Session<Self>, record: &Arc<Record>, op: u8) -> wharf::Result<()> {
        let _ = self.reply(s, record);
        match op {
            op::CLOSE => {
                record.note(did::CLOSE);
                s.close();
            }
            op::ABORT => {
                record.note(did::ABORT);
                s.abort();
            }
            op::ERROR => {
                record.note(did::ERROR);
                return Err(Error::handler("scripted"));
            }
            op::PANIC => {
                record.note(did::PANIC);
                panic_quietly();
            }
            op::PANIC_IN_ENCODER => {
                record.note(did::PANIC);
                let _ = s.send_with::<SendError>(|out| {
                    out.extend_from_slice(b"half a fra");
                    panic_quietly()
                });
            }
            op::POST_PANIC => {
                let own = Arc::clone(record);
                let job = move |_: &Session<Self>, _: &mut State| {
                    own.ran.fetch_add(1, SeqCst);
                    own.note(did::PANIC);
                    panic_quietly();
                };
                if s.post(job).is_ok() {
                    record.posted.fetch_add(1, SeqCst);
                }
            }
            _ => {}
        }
        let _ = self.reply(s, record);
        Ok(())
    }

    fn to_many(&self, s: &Session<Self>, record: &Arc<Record>, op: u8) {
        let Some(group) = self.group() else { return };
        if op == op::JOIN {
            if !group.join(s) {
                group.leave(s.id());
            }
            return;
        }
        let number = record.casts.fetch_add(1, SeqCst);
        let payload = self.payload(wire::CAST, record.serial, number);
        let sent = match op {
            op::CAST => s.network().sessions().broadcast(&payload),
            _ => group.send_except(&payload, s.id()),
        };
        if sent.is_err() {
            self.judge.blame("a broadcast was refused by the framing");
        }
    }

    fn group(&self) -> Option<wharf::Group<Self>> {
        // The group is of network 0; sessions of network 1 have none.
        let group = self.judge.group.lock();
        group.clone().filter(|_| self.net == 0)
    }

    fn to_other(&self, s: &Session<Self>, record: &Arc<Record>, op: u8) {
        let all = s.network().sessions().to_vec();
        if all.is_empty() {
            return;
        }
        let other = &all[self.judge.below(u32::try_from(all.len()).unwrap_or(1)) as usize];
        let Some(target) = self.judge.record(other.id()) else {
            return;
        };
        match op {
            op::POST_OTHER => post_reply(other, &target),
            op::DIRECT => self.direct(other, &target, record.serial),
            // It may be itself.
            op::RELANE_OTHER if target.serial == record.serial => {
                self.judge.relane_itself(other, &target);
            }
            op::RELANE_OTHER => self.judge.relane(other, &target),
            op::CLOSE_OTHER => {
                target.note(did::CLOSE);
                other.close();
            }
            _ => {
                target.note(did::ABORT);
                other.abort();
            }
        }
    }

    fn pause(&self, s: &Session<Self>, state: &mut State) {
        let guard = s.pause_reading();
        if self.judge.coin(0.3) {
            // The test drops it, as a thread of a database would.
            self.judge.guards.lock().push(guard);
            return;
        }
        state.guard = Some(guard);
        let record = Arc::clone(&state.record);
        let job = {
            let record = Arc::clone(&record);
            move |_: &Session<Self>, state: &mut State| {
                record.ran.fetch_add(1, SeqCst);
                state.guard = None;
            }
        };
        match s.post(job) {
            Ok(()) => drop(record.posted.fetch_add(1, SeqCst)),
            Err(_) => state.guard = None,
        }
    }

    /// An encoder that fails leaves nothing behind, wherever the session stands.
    fn encode_badly(&self, s: &Session<Self>, record: &Arc<Record>) {
        let _ = self.reply(s, record);
        let failed = s.send_with(|out: &mut Vec<u8>| {
            out.extend_from_slice(b"garbage");
            Err(Encoded::Broken)
        });
        if !matches!(
            failed,
            Err(Encoded::Broken | Encoded::Refused(SendError::Closed))
        ) {
            self.judge
                .blame(format!("an encoder failed, and send_with said {failed:?}"));
        }
        if !matches!(
            s.send(&vec![0; 70_000]),
            Err(SendError::Framing | SendError::Closed)
        ) {
            self.judge
                .blame("a payload over the limit was not refused as such");
        }
        let _ = self.reply(s, record);
    }

    fn payload(&self, kind: u8, sender: u32, number: u32) -> Vec<u8> {
        let len = self.judge.below(self.len_max) as usize;
        wire::tell(kind, sender, number, len)
    }

    /// Sends the session's next own frame in one of the ways there are.
    pub(crate) fn reply(&self, s: &Session<Self>, record: &Record) -> Result<(), SendError> {
        let number = record.replied.load(SeqCst);
        let payload = self.payload(wire::REPLY, record.serial, number);
        let sent = self.send_somehow(s, &payload);
        if sent.is_ok() {
            record.replied.fetch_add(1, SeqCst);
        }
        sent
    }

    /// Sends a frame of `sender` to another session.
    pub(crate) fn direct(&self, to: &Session<Self>, target: &Record, sender: u32) {
        let number = target.direct.lock().get(&sender).copied().unwrap_or(0);
        let payload = self.payload(wire::DIRECT, sender, number);
        if self.send_somehow(to, &payload).is_ok() {
            *target.direct.lock().entry(sender).or_insert(0) += 1;
        }
    }

    fn send_somehow(&self, s: &Session<Self>, payload: &[u8]) -> Result<(), SendError> {
        let wire = || {
            let mut wire = Vec::new();
            let encoded = self.framing.encode(payload, &mut wire);
            encoded
                .map(|()| Bytes::from(wire))
                .map_err(|_| SendError::Framing)
        };
        match self.judge.below(4) {
            0 => s.send_with(|out| {
                out.extend_from_slice(payload);
                Ok(())
            }),
            1 => s.send_wire(wire()?),
            2 => s.any().send(payload),
            _ => s.send(payload),
        }
    }
}

/// Has the session reply once more, from a job.
pub(crate) fn post_reply(s: &Session<Game>, record: &Arc<Record>) {
    let own = Arc::clone(record);
    let job = move |s: &Session<Game>, state: &mut State| {
        own.ran.fetch_add(1, SeqCst);
        let _busy = state.judge.enter(&own, "a job");
        state.judge.in_lane(s, &own);
        if state.record.serial != own.serial {
            state.judge.blame("a job got another session's state");
        }
        let _ = s.handler().reply(s, &own);
    };
    if s.post(job).is_ok() {
        record.posted.fetch_add(1, SeqCst);
    }
}
