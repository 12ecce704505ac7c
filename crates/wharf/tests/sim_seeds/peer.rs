//! A scripted peer: writes its frames in random pieces, reads what comes, and goes in many ways.

use std::io::ErrorKind;
use std::net::SocketAddr;

use wharf::frame::{Decoded, Framing};
use wharf::sim::SimPeer;

use crate::judge::{Judge, did};
use crate::wire::{self, Inbox, op};

/// How its connection ended, as the peer saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Eof,
    Broken,
}

/// How a peer writes.
#[derive(Clone, Debug)]
pub(crate) struct Habits {
    pub(crate) framing: Framing,
    pub(crate) len_max: u32,
    /// Whether frames may be missing: the server's queue drops old ones.
    pub(crate) gaps: bool,
    /// Share of frames that may end somebody's session.
    pub(crate) violent: f64,
}

/// A peer.
pub(crate) struct Peer {
    /// None once it has vanished.
    socket: Option<SimPeer>,
    pub(crate) addr: Option<SocketAddr>,
    habits: Habits,
    frames_left: u32,
    /// Frames made; those before are written as soon as `out` is empty.
    pub(crate) asked: u32,
    out: Vec<u8>,
    got: Vec<u8>,
    pub(crate) inbox: Inbox,
    pub(crate) stalled: bool,
    pub(crate) did: u32,
    pub(crate) end: Option<End>,
    was_connected: bool,
}

impl Peer {
    pub(crate) fn new(socket: SimPeer, habits: Habits, frames: u32) -> Self {
        Self {
            addr: socket.local_addr().ok(),
            inbox: Inbox::new(habits.gaps),
            socket: Some(socket),
            habits,
            frames_left: frames,
            asked: 0,
            out: Vec::new(),
            got: Vec::new(),
            stalled: false,
            did: 0,
            end: None,
            was_connected: false,
        }
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.socket.as_ref().is_some_and(SimPeer::is_connected)
    }

    /// Whether everything it will ever say is on its way.
    pub(crate) fn has_said_all(&self) -> bool {
        self.out.is_empty()
    }

    /// Tells the judge before the server can know.
    fn note(&mut self, judge: &Judge, what: u32) {
        self.did |= what;
        if let Some(addr) = self.addr {
            judge.deed(addr, what);
        }
    }

    /// Does something, by chance.
    pub(crate) fn act(&mut self, judge: &Judge, rng: &mut fastrand::Rng) {
        self.was_connected |= self.is_connected();
        match rng.u32(0..1000) {
            0..=5 => self.stalled = !self.stalled,
            6..=8 if self.was_connected => {
                self.note(judge, did::FIN);
                self.frames_left = 0;
                self.out.clear();
                self.with(SimPeer::shutdown_write);
            }
            9..=10 if self.was_connected => {
                self.note(judge, did::RESET);
                self.with(SimPeer::reset);
            }
            11..=12 if self.was_connected => {
                // Bytes left unread, or still on the way, make a reset of it.
                self.note(judge, did::FIN | did::RESET);
                self.socket = None;
            }
            13..=14 => self.say_garbage(judge, rng),
            15..=500 => drop(self.write(rng.usize(1..400))),
            _ => drop(self.read(judge, rng.usize(1..4000))),
        }
        if self.out.is_empty() && self.frames_left > 0 && rng.u32(0..4) == 0 {
            self.make_frames(rng);
        }
    }

    fn with(&self, act: impl FnOnce(&SimPeer)) {
        if let Some(socket) = &self.socket {
            act(socket);
        }
    }

    fn make_frames(&mut self, rng: &mut fastrand::Rng) {
        let burst = if rng.u32(0..8) == 0 { 40 } else { 6 };
        for _ in 0..rng.u32(1..=burst.min(self.frames_left)) {
            self.frames_left -= 1;
            let gentle = rng.f64() >= self.habits.violent;
            let op = rng.u8(0..if gentle { op::CLOSE } else { op::COUNT });
            let len = rng.u32(0..self.habits.len_max) as usize;
            let payload = wire::ask(op, self.asked, len);
            self.asked += 1;
            self.habits.framing.encode(&payload, &mut self.out).unwrap();
        }
    }

    /// Bytes that begin no frame; nothing after them means anything.
    fn say_garbage(&mut self, judge: &Judge, rng: &mut fastrand::Rng) {
        if self.did & (did::FIN | did::GARBAGE) != 0 || !self.was_connected {
            return;
        }
        self.note(judge, did::GARBAGE);
        self.frames_left = 0;
        self.out.extend([0xff; 12]);
        self.out.extend((0..rng.usize(0..2000)).map(|_| 0xff));
    }

    /// Writes at most `max` bytes of what it has to say; whether any left.
    pub(crate) fn write(&mut self, max: usize) -> bool {
        let Some(socket) = &self.socket else {
            return false;
        };
        if self.out.is_empty() {
            return false;
        }
        match socket.write(&self.out[..self.out.len().min(max)]) {
            Ok(written) => {
                self.out.drain(..written);
                written > 0
            }
            Err(error) => {
                if error.kind() != ErrorKind::WouldBlock {
                    self.out.clear();
                }
                false
            }
        }
    }

    /// Reads at most `max` bytes, unless it is stalled; whether there were any.
    pub(crate) fn read(&mut self, judge: &Judge, max: usize) -> bool {
        if self.stalled || self.end.is_some() {
            return false;
        }
        let Some(socket) = &self.socket else {
            return false;
        };
        match socket.read_some(&mut self.got, max) {
            Ok(0) => self.end = Some(End::Eof),
            Ok(_) => {
                self.check(judge);
                return true;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => self.end = Some(End::Broken),
        }
        false
    }

    fn check(&mut self, judge: &Judge) {
        loop {
            match self.habits.framing.decode(&self.got, 0) {
                Ok(Decoded::Frame { wire_len, payload }) => {
                    if let Err(wrong) = self.inbox.take(&self.got[payload]) {
                        judge.blame(format!("peer {:?}: {wrong}", self.addr));
                    }
                    self.got.drain(..wire_len);
                }
                Ok(Decoded::Partial { .. }) => return,
                Err(error) => return judge.blame(format!("peer {:?}: {error}", self.addr)),
            }
        }
    }

    /// Has nothing more to say than it has begun to.
    pub(crate) fn calm_down(&mut self) {
        self.frames_left = 0;
        self.stalled = false;
    }

    /// Parts in one of the good ways.
    pub(crate) fn part(&mut self, judge: &Judge) {
        if self.out.is_empty() {
            self.note(judge, did::FIN);
            self.with(SimPeer::shutdown_write);
        }
    }

    /// After its session is over: everything that was accepted for it has come, or the connection
    /// was seen to break.
    pub(crate) fn check_complete(&self, judge: &Judge) {
        let Some(addr) = self.addr.filter(|_| self.end == Some(End::Eof)) else {
            return;
        };
        if !self.got.is_empty() {
            judge.blame(format!("peer {addr}: its stream ended within a frame"));
        }
        self.check_caught_up(judge, "its stream ended in good order");
    }

    /// Every frame accepted for it so far has come.
    pub(crate) fn check_caught_up(&self, judge: &Judge, when: &str) {
        let Some(record) = self.addr.and_then(|addr| judge.record_of(0, addr)) else {
            return;
        };
        if self.habits.gaps {
            return;
        }
        let replied = record.replied.load(std::sync::atomic::Ordering::SeqCst);
        let (accepted, came) = (record.direct.lock().clone(), &self.inbox.direct);
        if replied != self.inbox.replies || accepted != *came {
            judge.blame(format!(
                "G5: session {}: {when}, but of {replied} replies {} came, and of other senders' \
                 {accepted:?} {came:?} (closed: {:?})",
                record.serial,
                self.inbox.replies,
                record.reason.lock(),
            ));
        }
    }
}
