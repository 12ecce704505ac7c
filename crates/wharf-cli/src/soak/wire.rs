//! The frames of the soak: u16 LE total length, then what it asks for (one byte), a connection
//! number (u64 LE), a sequence number (u32 LE), and bytes that follow from both numbers.

/// Bytes of the length.
pub(super) const PREFIX: usize = 2;
/// Bytes of a payload before its body.
pub(super) const HEAD: usize = 13;
/// The longest body that innocents send.
pub(super) const BODY_MAX: usize = 4000;

/// What a frame asks for, or is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Op {
    /// An innocent logs in: the same back.
    Hello = 1,
    /// The same back.
    Echo,
    /// To everybody in the room, whoever sent it included.
    Room,
    /// From the zone's strand, numbered for each session.
    Zone,
    /// From a thread that is no worker, numbered for each session.
    Posted,
    /// From a job posted to the session, numbered for each session.
    Job,
    /// The handler panics.
    Panic,
    /// The handler sleeps, as many milliseconds as the sequence number says.
    Block,
    /// The handler computes, as many milliseconds as the sequence number says.
    Spin,
    /// The handler closes its session.
    Close,
    /// The handler aborts its session.
    Abort,
    /// The handler fails.
    Fail,
    /// The handler answers with as many large frames as the sequence number says.
    More,
}

impl Op {
    const ALL: [Self; 13] = [
        Self::Hello,
        Self::Echo,
        Self::Room,
        Self::Zone,
        Self::Posted,
        Self::Job,
        Self::Panic,
        Self::Block,
        Self::Spin,
        Self::Close,
        Self::Abort,
        Self::Fail,
        Self::More,
    ];

    fn of(byte: u8) -> Option<Self> {
        Self::ALL.get(usize::from(byte.checked_sub(1)?)).copied()
    }
}

/// Which frame it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Label {
    pub(super) op: Op,
    pub(super) conn: u64,
    pub(super) seq: u32,
}

impl Label {
    /// What a payload says it is; `None` if it is none of ours.
    pub(super) fn of(payload: &[u8]) -> Option<Self> {
        let (head, _) = payload.split_first_chunk::<HEAD>()?;
        let (op, numbers) = head.split_first()?;
        let (conn, seq) = numbers.split_first_chunk()?;
        Some(Self {
            op: Op::of(*op)?,
            conn: u64::from_le_bytes(*conn),
            seq: u32::from_le_bytes(*seq.first_chunk()?),
        })
    }

    /// Appends the payload.
    pub(super) fn payload(self, body: usize, out: &mut Vec<u8>) {
        out.push(self.op as u8);
        out.extend(self.conn.to_le_bytes());
        out.extend(self.seq.to_le_bytes());
        out.extend(self.body().take(body));
    }

    /// Appends the whole frame.
    pub(super) fn frame(self, body: usize, out: &mut Vec<u8>) {
        let total = u16::try_from(PREFIX + HEAD + body).unwrap_or(u16::MAX);
        out.extend(total.to_le_bytes());
        self.payload(body, out);
    }

    /// Whether the payload is this frame with the body that belongs to it.
    pub(super) fn is_intact(self, payload: &[u8]) -> bool {
        let body = payload.get(HEAD..).unwrap_or_default();
        self.body().zip(body).all(|(should, is)| should == *is)
    }

    /// The bytes that follow from both numbers, without end.
    fn body(self) -> impl Iterator<Item = u8> {
        let seed = self.conn.rotate_left(32) ^ u64::from(self.seq);
        let mut random = fastrand::Rng::with_seed(seed);
        std::iter::repeat_with(move || random.u64(..).to_le_bytes()).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_read_as_it_was_written_and_a_wrong_byte_is_seen() {
        let label = Label {
            op: Op::Room,
            conn: 7 << 40,
            seq: 9,
        };
        let mut wire = Vec::new();
        label.frame(100, &mut wire);
        assert_eq!(wire.len(), 115);
        assert_eq!(wire[..2], 115_u16.to_le_bytes());
        assert_eq!(Label::of(&wire[2..]), Some(label));
        assert!(label.is_intact(&wire[2..]));
        wire[60] ^= 1;
        assert!(!label.is_intact(&wire[2..]));
        assert_eq!(Label::of(&[0; 13]), None);
        assert_eq!(Label::of(&wire[2..10]), None);
        for op in Op::ALL {
            assert_eq!(Op::of(op as u8), Some(op));
        }
    }
}
