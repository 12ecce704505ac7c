//! One hostile connection, and what it does when it is its turn.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use fastrand::Rng;

use super::super::wire::{Label, Op};
use super::{Deeds, socket};
use crate::args::Harm;

/// Bytes that a flood has under way.
const FLOOD_BYTES: usize = 64 * 1024;
/// A silent connection is silent for so long, then comes a new one.
const SILENCE: Duration = Duration::from_secs(6);

/// What came of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Did {
    Nothing,
    Something,
    /// This side has ended it.
    Left,
    /// The server has.
    ThrownOut,
}

/// The connection.
pub(super) struct Attacker {
    kind: Harm,
    stream: TcpStream,
    out: Vec<u8>,
    written: usize,
    /// What it does next, it does not do before.
    not_before: Instant,
    /// It goes then.
    leaves_at: Instant,
    seq: u32,
    ended_half: bool,
}

impl Attacker {
    pub(super) fn new(kind: Harm, stream: TcpStream, random: &mut Rng) -> Self {
        let now = Instant::now();
        let life = match kind {
            Harm::Storm => Duration::from_millis(random.u64(..400)),
            Harm::Ports => Duration::from_millis(random.u64(..4)),
            Harm::Cuts => Duration::from_millis(random.u64(..100)),
            Harm::Silent => SILENCE,
            _ => Duration::from_secs(random.u64(2..20)),
        };
        Self {
            kind,
            stream,
            out: Vec::new(),
            written: 0,
            not_before: now,
            leaves_at: now + life,
            seq: 0,
            ended_half: false,
        }
    }

    /// What it can do now.
    pub(super) fn step(&mut self, random: &mut Rng, deeds: &mut Deeds) -> Did {
        let now = Instant::now();
        if now >= self.leaves_at {
            return self.leave(random);
        }
        if now < self.not_before {
            return Did::Nothing;
        }
        if self.written == self.out.len() && !self.ended_half {
            self.out.clear();
            self.written = 0;
            self.compose(now, random);
        }
        let wrote = self.write(deeds);
        let read = self.read(deeds);
        // Slow by nature: not by what the sockets take or give.
        let rest = match self.kind {
            Harm::SlowReaders => 20,
            Harm::OneByte | Harm::Cuts => 2,
            _ => 0,
        };
        self.not_before = self.not_before.max(now + Duration::from_millis(rest));
        match (wrote, read) {
            (Did::ThrownOut, _) | (_, Did::ThrownOut) => Did::ThrownOut,
            (Did::Nothing, Did::Nothing) => Did::Nothing,
            _ => Did::Something,
        }
    }

    /// Ends it: a reset as often as not, and with unsent and unread bytes as they are.
    fn leave(&self, random: &mut Rng) -> Did {
        let resets = match self.kind {
            // These leave their port number in TIME_WAIT, most of them.
            Harm::Ports => random.u8(..4) == 0,
            _ => random.bool(),
        };
        if resets {
            socket::resets(&self.stream);
        }
        Did::Left
    }

    fn ask(&mut self, op: Op, seq: u32, body: usize) {
        let conn = u64::from(seq) << 32;
        Label { op, conn, seq }.frame(body, &mut self.out);
    }

    /// The next bytes to send.
    fn compose(&mut self, now: Instant, random: &mut Rng) {
        self.seq += 1;
        match self.kind {
            Harm::SlowReaders => {
                self.ask(Op::More, 8, 0);
            }
            Harm::OneByte | Harm::Cuts | Harm::Ports => self.ask(Op::Echo, self.seq, 20),
            Harm::Flood => {
                while self.out.len() < FLOOD_BYTES {
                    let body = random.usize(..200);
                    self.ask(Op::Echo, self.seq, body);
                }
            }
            Harm::Garbage => {
                let bytes = random.usize(1..600);
                self.out
                    .extend(std::iter::repeat_with(|| random.u8(..)).take(bytes));
                self.not_before = now + Duration::from_millis(5);
            }
            Harm::Oversize => {
                let total: u16 = [0, 1, 2, 16_385, u16::MAX][random.usize(..5)];
                self.out.extend(total.to_le_bytes());
                self.out.extend([7; 64]);
                self.not_before = now + Duration::from_millis(5);
            }
            Harm::Storm => {}
            Harm::Silent => {
                if self.seq == 1 && random.bool() {
                    self.out.extend([200, 0, 2]);
                }
            }
            Harm::Handlers => {
                let op = [
                    Op::Panic,
                    Op::Block,
                    Op::Spin,
                    Op::Close,
                    Op::Abort,
                    Op::Fail,
                    Op::More,
                ][random.usize(..7)];
                let ms = random.u32(1..20);
                self.ask(op, ms, 0);
                self.not_before = now + Duration::from_millis(u64::from(ms));
            }
        }
    }

    fn write(&mut self, deeds: &mut Deeds) -> Did {
        let left = &self.out[self.written..];
        let most = match self.kind {
            Harm::OneByte => left.len().min(1),
            // Anywhere in a frame.
            Harm::Cuts => left.len().min(7),
            _ => left.len(),
        };
        if most == 0 {
            return Did::Nothing;
        }
        match self.stream.write(&left[..most]) {
            Ok(count) => {
                self.written += count;
                deeds.bytes_sent += count as u64;
                let mid_frame = self.written < self.out.len();
                if self.kind == Harm::Cuts && mid_frame && self.seq.is_multiple_of(7) {
                    self.ended_half = true;
                    // On a socket that broke, a read tells.
                    let _ = self.stream.shutdown(Shutdown::Write);
                }
                Did::Something
            }
            Err(error) if is_later(&error) => Did::Nothing,
            Err(_) => Did::ThrownOut,
        }
    }

    fn read(&mut self, deeds: &mut Deeds) -> Did {
        let mut part = [0; 16 * 1024];
        let most = match self.kind {
            Harm::SlowReaders => 16,
            _ => part.len(),
        };
        match self.stream.read(&mut part[..most]) {
            Ok(0) => Did::ThrownOut,
            Ok(count) => {
                deeds.bytes_read += count as u64;
                Did::Something
            }
            Err(error) if is_later(&error) => Did::Nothing,
            Err(_) => Did::ThrownOut,
        }
    }
}

fn is_later(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
