//! A packet, all numbers little-endian `i32`
//! (<https://developer.valvesoftware.com/wiki/Source_RCON_Protocol>):
//!
//! ```text
//! | size | id | type | body ... 0 0 |      size counts what follows it; id is the client's choice
//! ```

use wharf::Framing;
use wharf::frame::FramingError;

/// Longer output is split. Clients take a body of just this size as a sign that more may follow.
pub(crate) const BODY_BYTES_MAX: usize = 4096;
/// Id, type, and the two zeros behind the body.
const OVERHEAD: usize = 4 + 4 + 2;

/// The length in front and nothing else: `Framing::length` knows how.
pub(crate) fn framing() -> Result<Framing, FramingError> {
    let size = 4;
    Framing::length(size)
        .frame_bytes_max(size + OVERHEAD + BODY_BYTES_MAX)
        .build()
}

/// A packet, as it lies in its frame.
pub(crate) struct Packet<'a> {
    pub(crate) id: i32,
    pub(crate) kind: i32,
    pub(crate) body: &'a [u8],
}

impl<'a> Packet<'a> {
    pub(crate) fn read(payload: &'a [u8]) -> Option<Self> {
        let (id, rest) = payload.split_first_chunk()?;
        let (kind, rest) = rest.split_first_chunk()?;
        let body = rest.strip_suffix(b"\0\0")?;
        Some(Self {
            id: i32::from_le_bytes(*id),
            kind: i32::from_le_bytes(*kind),
            body,
        })
    }

    /// Appends what [`Packet::read`] reads.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.id.to_le_bytes());
        out.extend_from_slice(&self.kind.to_le_bytes());
        out.extend_from_slice(self.body);
        out.extend_from_slice(b"\0\0");
    }
}
