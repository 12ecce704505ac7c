//! One well-behaved session: logs in, sends numbered frames at a rate, checks whatever comes, and
//! parts in good order: ends its half, and reads to the end.

use std::collections::{BTreeMap, VecDeque};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr};
use std::time::{Duration, Instant};

use fastrand::Rng;
use mio::net::TcpStream;
use serde::Serialize;

use super::super::wire::{BODY_MAX, HEAD, Label, Op, PREFIX};
use super::stream::Stream;

/// Frames without an answer, beyond which none is sent.
const PENDING_MAX: usize = 512;
/// One frame in so many is large.
const LARGE_ONE_IN: u32 = 20;
const SMALL_MAX: usize = 200;
/// How long a session lives.
const LIFE_S: std::ops::Range<u64> = 4..40;
/// A room frame comes so much more rarely than others.
const ROOM_EVERY: u32 = 40;

/// How far it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Its HELLO is sent as soon as it is connected.
    Greeting,
    Playing,
    /// Its half is over.
    Finishing,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum How {
    /// Both halves in good order, ours first.
    Finished,
    /// The server ended its half first.
    Ended,
    /// A reset.
    Reset,
}

/// What is told of a session that is over.
#[derive(Debug, Serialize)]
pub(super) struct Ended {
    conn: u64,
    network: String,
    how: How,
    /// Whether its HELLO was answered.
    greeted: bool,
    /// Frames that ask for an answer, and their answers.
    sent: u64,
    answered: u64,
    /// Numbers left out in the middle of a stream.
    missing: u64,
    doubled: u64,
    reordered: u64,
    corrupt: u64,
    echo: u64,
    /// Room frames with odd numbers.
    room: u64,
    zone: u64,
    posted: u64,
    job: u64,
    /// What was wrong first, in words.
    fault: Option<String>,
}

/// The session.
pub(super) struct Conn {
    pub(super) stream: TcpStream,
    number: u64,
    stage: Stage,
    connected: bool,
    next_due: Instant,
    ends_at: Instant,
    period: Duration,
    out: Vec<u8>,
    written: usize,
    input: Vec<u8>,
    pending: VecDeque<(u32, Instant)>,
    next_echo: u32,
    next_room: u32,
    echo: Stream,
    zone: Stream,
    posted: Stream,
    job: Stream,
    rooms: BTreeMap<u64, Stream>,
    room_odd: u64,
    corrupt: u64,
    fault: Option<String>,
}

impl Conn {
    /// # Errors
    /// No socket to be had.
    pub(super) fn connect(
        addr: SocketAddr,
        number: u64,
        period: Duration,
        random: &mut Rng,
    ) -> std::io::Result<Self> {
        let now = Instant::now();
        Ok(Self {
            stream: TcpStream::connect(addr)?,
            number,
            stage: Stage::Greeting,
            connected: false,
            next_due: now,
            ends_at: now
                + Duration::from_millis(random.u64(LIFE_S.start * 1000..LIFE_S.end * 1000)),
            period,
            out: Vec::new(),
            written: 0,
            input: Vec::new(),
            pending: VecDeque::new(),
            next_echo: 0,
            next_room: 0,
            echo: Stream::from_zero(),
            zone: Stream::from_zero(),
            posted: Stream::from_zero(),
            job: Stream::from_zero(),
            rooms: BTreeMap::new(),
            room_odd: 0,
            corrupt: 0,
            fault: None,
        })
    }

    /// The next moment it wants to send; none while it may not.
    pub(super) fn due(&self) -> Option<Instant> {
        (self.stage == Stage::Playing).then_some(self.next_due)
    }

    /// From now on it only reads.
    pub(super) fn finish(&mut self) {
        self.ends_at = Instant::now();
    }

    /// Sends what is due, and ends its half when its time has come.
    pub(super) fn step(&mut self, now: Instant, random: &mut Rng) -> Option<How> {
        if self.stage != Stage::Playing {
            return None;
        }
        if now >= self.ends_at {
            // What is sent is sent first.
            if self.written < self.out.len() {
                return self.flush();
            }
            self.stage = Stage::Finishing;
            // On a socket that broke the read tells how.
            let _ = self.stream.shutdown(Shutdown::Write);
            return None;
        }
        if now < self.next_due {
            return None;
        }
        let jitter = 0.5 + random.f64();
        self.next_due = now + self.period.mul_f64(jitter);
        if self.pending.len() >= PENDING_MAX {
            return None;
        }
        self.say(Op::Echo, random);
        if random.u32(..ROOM_EVERY) == 0 {
            self.say(Op::Room, random);
        }
        self.flush()
    }

    fn say(&mut self, op: Op, random: &mut Rng) {
        let seq = if op == Op::Room {
            let seq = self.next_room;
            self.next_room += 1;
            seq
        } else {
            self.pending.push_back((self.next_echo, Instant::now()));
            let seq = self.next_echo;
            self.next_echo += 1;
            seq
        };
        let large = op == Op::Echo && random.u32(..LARGE_ONE_IN) == 0;
        let body = random.usize(..if large { BODY_MAX } else { SMALL_MAX });
        let label = Label {
            op,
            conn: self.number,
            seq,
        };
        label.frame(body, &mut self.out);
    }

    /// Writes what the socket takes.
    fn flush(&mut self) -> Option<How> {
        while self.written < self.out.len() {
            match self.stream.write(&self.out[self.written..]) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Some(self.broke("write", &error)),
            }
        }
        self.out.clear();
        self.written = 0;
        None
    }

    fn broke(&mut self, what: &str, error: &std::io::Error) -> How {
        self.fault.get_or_insert_with(|| format!("{what}: {error}"));
        How::Reset
    }

    /// The socket is ready for something. Latencies of answers go to `answered`.
    pub(super) fn ready(&mut self, answered: &mut impl FnMut(Duration)) -> Option<How> {
        if !self.connected {
            match self.stream.take_error() {
                Ok(None) => {}
                Ok(Some(error)) | Err(error) => return Some(self.broke("connect", &error)),
            }
            if self.stream.peer_addr().is_err() {
                return None;
            }
            self.connected = true;
            // Without it frames may only come later.
            let _ = self.stream.set_nodelay(true);
            let hello = Label {
                op: Op::Hello,
                conn: self.number,
                seq: 0,
            };
            hello.frame(0, &mut self.out);
        }
        let broken = self.flush();
        // What came before it broke still counts.
        self.read(answered).or(broken)
    }

    fn read(&mut self, answered: &mut impl FnMut(Duration)) -> Option<How> {
        let mut part = [0; 16 * 1024];
        loop {
            match self.stream.read(&mut part) {
                Ok(0) if self.stage == Stage::Finishing => return Some(How::Finished),
                Ok(0) => return Some(How::Ended),
                Ok(count) => {
                    self.input.extend_from_slice(&part[..count]);
                    self.decode(answered);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Some(self.broke("read", &error)),
            }
        }
    }

    fn decode(&mut self, answered: &mut impl FnMut(Duration)) {
        let mut input = std::mem::take(&mut self.input);
        let mut at = 0;
        while let Some(prefix) = input[at..].first_chunk::<PREFIX>() {
            let total = usize::from(u16::from_le_bytes(*prefix)).max(PREFIX);
            let Some(frame) = input.get(at..at + total) else {
                break;
            };
            self.take(&frame[PREFIX..], answered);
            at += total;
        }
        input.drain(..at);
        self.input = input;
    }

    fn take(&mut self, payload: &[u8], answered: &mut impl FnMut(Duration)) {
        let Some(label) = Label::of(payload).filter(|label| label.is_intact(payload)) else {
            self.corrupt += 1;
            let head = &payload[..payload.len().min(HEAD)];
            self.fault
                .get_or_insert_with(|| format!("other bytes came: {head:?} .."));
            return;
        };
        let own = label.conn == self.number;
        match label.op {
            Op::Hello if own => {
                self.stage = Stage::Playing;
                self.next_due = Instant::now();
            }
            Op::Echo if own => {
                self.echo.take(label.seq);
                while let Some(&(seq, sent)) = self.pending.front()
                    && seq <= label.seq
                {
                    self.pending.pop_front();
                    if seq == label.seq {
                        answered(sent.elapsed());
                    }
                }
            }
            Op::Room => {
                let begins = if own {
                    Stream::from_zero
                } else {
                    Stream::default
                };
                let stream = self.rooms.entry(label.conn).or_insert_with(begins);
                stream.take(label.seq);
                self.room_odd += u64::from(label.seq % 2);
            }
            Op::Zone if own => self.zone.take(label.seq),
            Op::Posted if own => self.posted.take(label.seq),
            Op::Job if own => self.job.take(label.seq),
            _ => {
                self.corrupt += 1;
                self.fault
                    .get_or_insert_with(|| format!("somebody else's: {label:?}"));
            }
        }
    }

    /// Frames that ask for an answer, and answers, so far.
    pub(super) fn moved(&self) -> (u64, u64) {
        let own = self.rooms.get(&self.number).map_or(0, |own| own.came);
        let sent = u64::from(self.next_echo) + u64::from(self.next_room);
        (sent, self.echo.came + own)
    }

    /// It is over.
    pub(super) fn ended(self, how: How, network: String) -> Ended {
        let (sent, answered) = self.moved();
        let own = [&self.echo, &self.zone, &self.posted, &self.job];
        let streams = || own.into_iter().chain(self.rooms.values());
        Ended {
            conn: self.number,
            network,
            how,
            greeted: self.stage != Stage::Greeting,
            sent,
            answered,
            missing: streams().map(Stream::missing).sum(),
            doubled: streams().map(|s| s.doubled).sum(),
            reordered: streams().map(|s| s.reordered).sum(),
            corrupt: self.corrupt,
            echo: self.echo.came,
            room: self.room_odd,
            zone: self.zone.came,
            posted: self.posted.came,
            job: self.job.came,
            fault: self.fault,
        }
    }
}
