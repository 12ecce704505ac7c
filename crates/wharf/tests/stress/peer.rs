//! The other end of the connections, on std's blocking sockets: it shares no code with the server.

use std::fmt;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use fastrand::Rng;

/// No step takes longer, on a busy machine either.
const PATIENCE: Duration = Duration::from_secs(30);

const BATCH_FRAMES_MAX: u32 = 8;
const PAYLOAD_BYTES_MAX: usize = 3000;

/// Connection, number and order.
const HEADER_BYTES: usize = 9;

/// One batch in so many is the last of its connection.
const LAST_ONE_IN: u32 = 12;

/// What a frame asks the server for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Order {
    /// The same back.
    Echo,
    /// The same back, then an end of the stream.
    Close,
    /// A reset.
    Cut,
}

/// Connection, number in it, and order of a frame.
pub(crate) fn header(payload: &[u8]) -> (u32, u32, Order) {
    let word = |at: usize| u32::from_le_bytes(payload[at..at + 4].try_into().unwrap());
    let order = match payload[8] {
        0 => Order::Echo,
        1 => Order::Close,
        _ => Order::Cut,
    };
    (word(0), word(4), order)
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The peer closes with everything read.
    Close,
    /// The peer closes and leaves answers unread.
    Leave,
    /// The peer resets, in the middle of a batch.
    Reset,
    /// The peer ends its half, and reads every answer and the end.
    Half,
    /// The server closes after its last answer.
    Server,
    /// The server resets.
    Abort,
}

const ENDS: [End; 6] = [
    End::Close,
    End::Leave,
    End::Reset,
    End::Half,
    End::Server,
    End::Abort,
];

/// What the peers have seen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) connects: u64,
    /// Frames whose answer was checked.
    pub(crate) frames: u64,
    /// Frames of batches that were cut: they may have come or not.
    pub(crate) frames_cut: u64,
    /// Ends of connections, each way.
    pub(crate) ends: [u64; ENDS.len()],
}

impl Tally {
    pub(crate) fn add(mut self, other: Self) -> Self {
        self.connects += other.connects;
        self.frames += other.frames;
        self.frames_cut += other.frames_cut;
        self.ends
            .iter_mut()
            .zip(other.ends)
            .for_each(|(all, more)| *all += more);
        self
    }

    /// Connections that the peer cut: some the server may never have seen.
    pub(crate) fn cut(&self) -> u64 {
        let cut = |(end, _): &(&End, _)| matches!(end, End::Leave | End::Reset);
        ENDS.iter()
            .zip(self.ends)
            .filter(cut)
            .map(|(_, count)| count)
            .sum()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            connects,
            frames,
            frames_cut,
            ends,
        } = self;
        write!(
            f,
            "{frames} frames checked, {frames_cut} cut, {connects} connections ("
        )?;
        for (end, count) in ENDS.iter().zip(ends) {
            write!(f, " {end:?} {count}")?;
        }
        write!(f, " )")
    }
}

/// Connections that one thread plays, all at once.
pub(crate) struct Crowd {
    addr: SocketAddr,
    rng: Rng,
    next_connection: u32,
    peers: Vec<Peer>,
    tally: Tally,
}

impl Crowd {
    pub(crate) fn new(addr: SocketAddr, number: u32, connections: u32) -> Self {
        let mut crowd = Self {
            addr,
            rng: Rng::with_seed(u64::from(number)),
            // A billion connections for each crowd.
            next_connection: number << 30,
            peers: Vec::new(),
            tally: Tally::default(),
        };
        for _ in 0..connections {
            let peer = crowd.connect();
            crowd.peers.push(peer);
        }
        crowd
    }

    fn connect(&mut self) -> Peer {
        let number = self.next_connection;
        self.next_connection += 1;
        self.tally.connects += 1;
        Peer::connect(self.addr, number)
    }

    /// A batch on every connection, then the answers of all; who has ended is replaced.
    pub(crate) fn round(&mut self) {
        let sent: Vec<_> = (0..self.peers.len()).map(|at| self.send(at)).collect();
        for (at, (batch, end)) in sent.into_iter().enumerate() {
            let peer = &mut self.peers[at];
            match end {
                Some(End::Leave | End::Reset) => {}
                Some(End::Abort) => peer.expect_cut(&batch),
                _ => peer.expect(&batch),
            }
            if matches!(end, Some(End::Half | End::Server)) {
                peer.expect_end();
            }
            let frames = u64::from(batch.frames);
            match end {
                Some(End::Leave | End::Reset | End::Abort) => self.tally.frames_cut += frames,
                _ => self.tally.frames += frames,
            }
            if let Some(end) = end {
                self.replace(at, end);
            }
        }
    }

    /// Sends a batch, and ends the connection if that is how it ends.
    fn send(&mut self, at: usize) -> (Batch, Option<End>) {
        let is_last = self.rng.u32(..LAST_ONE_IN) == 0;
        let end = is_last.then(|| ENDS[self.rng.usize(..ENDS.len())]);
        let peer = &mut self.peers[at];
        let order = match end {
            Some(End::Server) => Order::Close,
            Some(End::Abort) => Order::Cut,
            _ => Order::Echo,
        };
        let batch = peer.batch(&mut self.rng, order);
        peer.stream.write_all(&batch.wire).unwrap();
        match end {
            Some(End::Half) => peer.stream.shutdown(Shutdown::Write).unwrap(),
            Some(End::Reset) => {
                socket2::SockRef::from(&peer.stream)
                    .set_linger(Some(Duration::ZERO))
                    .unwrap();
            }
            _ => {}
        }
        (batch, end)
    }

    fn replace(&mut self, at: usize, end: End) {
        let index = ENDS.iter().position(|known| *known == end).unwrap();
        self.tally.ends[index] += 1;
        let next = self.connect();
        // Dropped, the old one closes, or resets if it was told to linger no time.
        self.peers[at] = next;
    }

    /// Closes all that is left, with everything read.
    pub(crate) fn leave(mut self) -> Tally {
        self.tally.ends[0] += self.peers.len() as u64;
        self.tally
    }
}

/// Frames that are sent in one write.
struct Batch {
    wire: Vec<u8>,
    frames: u32,
}

/// One connection.
struct Peer {
    stream: TcpStream,
    number: u32,
    next_frame: u32,
    back: Vec<u8>,
}

impl Peer {
    fn connect(addr: SocketAddr, number: u32) -> Self {
        let stream = TcpStream::connect(addr).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self {
            stream,
            number,
            next_frame: 0,
            back: Vec::new(),
        }
    }

    /// Frames of any size with any bytes; the last one has the order.
    fn batch(&mut self, rng: &mut Rng, order: Order) -> Batch {
        let frames = rng.u32(1..=BATCH_FRAMES_MAX);
        let mut wire = Vec::new();
        for frame in 1..=frames {
            let order = if frame == frames { order } else { Order::Echo };
            let more = rng.usize(..=PAYLOAD_BYTES_MAX - HEADER_BYTES);
            let length = u16::try_from(2 + HEADER_BYTES + more).unwrap();
            wire.extend(length.to_le_bytes());
            wire.extend(self.number.to_le_bytes());
            wire.extend(self.next_frame.to_le_bytes());
            wire.push(order as u8);
            wire.extend(std::iter::repeat_with(|| rng.u8(..)).take(more));
            self.next_frame += 1;
        }
        Batch { wire, frames }
    }

    /// The answers to a batch: the same bytes.
    fn expect(&mut self, batch: &Batch) {
        self.back.resize(batch.wire.len(), 0);
        let read = self.stream.read_exact(&mut self.back);
        let number = self.number;
        read.unwrap_or_else(|error| panic!("connection {number}: {error}"));
        assert!(
            self.back == batch.wire,
            "connection {number}: other bytes came back"
        );
    }

    /// The end of the stream, and nothing before it.
    fn expect_end(&mut self) {
        let read = self.stream.read(&mut [0; 16]);
        assert!(
            matches!(read, Ok(0)),
            "connection {}: {read:?} instead of its end",
            self.number
        );
    }

    /// The start of the answers, then the cut; never the frame that asked for it.
    fn expect_cut(&mut self, batch: &Batch) {
        let (mut come, mut part) = (Vec::new(), [0; 4096]);
        let end = loop {
            match self.stream.read(&mut part) {
                Ok(0) => break None,
                Ok(count) => come.extend_from_slice(&part[..count]),
                Err(error) => break Some(error.kind()),
            }
        };
        let is_start = batch.wire.starts_with(&come) && come.len() < batch.wire.len();
        assert!(
            is_start,
            "connection {}: {} bytes came back",
            self.number,
            come.len()
        );
        // A system may tell of a reset by an end where answers were on their way.
        let is_cut = matches!(
            end,
            None | Some(ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted)
        );
        assert!(is_cut, "connection {}: {end:?}", self.number);
    }
}
