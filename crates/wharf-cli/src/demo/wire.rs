//! The frames of the demo: an id, who sent it, its number, and a pattern that depends on both.

/// A player moved; the game server answers with the same bytes.
pub(super) const MOVE: u16 = 1;
/// A player says something; it comes back over the chat server.
pub(super) const CHAT: u16 = 2;
/// The game server tells the master server about a session; the master answers the same.
pub(super) const REPORT: u16 = 3;

/// Id, sender, number.
const HEADER: usize = 10;

/// Which frame it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Label {
    pub(super) id: u16,
    pub(super) sender: u32,
    pub(super) number: u32,
}

impl Label {
    /// Appends the payload with this label: `len` pattern bytes follow it.
    pub(super) fn write(self, len: usize, out: &mut Vec<u8>) {
        out.extend(self.id.to_le_bytes());
        out.extend(self.sender.to_le_bytes());
        out.extend(self.number.to_le_bytes());
        out.extend((0..len).map(|at| self.pattern(at)));
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "a pattern: any byte of the mix will do"
    )]
    fn pattern(self, at: usize) -> u8 {
        let mixed = (self.sender ^ self.number.rotate_left(16)).wrapping_mul(0x9E37_79B1);
        (mixed >> (8 * (at % 4))) as u8 ^ at as u8
    }

    /// The label of a payload, if every byte of it is as [`Self::write`] wrote it.
    pub(super) fn check(payload: &[u8]) -> Option<Self> {
        let label = Self::peek(payload)?;
        let intact = payload[HEADER..]
            .iter()
            .enumerate()
            .all(|(at, &b)| b == label.pattern(at));
        intact.then_some(label)
    }

    /// The label alone.
    pub(super) fn peek(payload: &[u8]) -> Option<Self> {
        let header = payload.first_chunk::<HEADER>()?;
        let [a, b, c, d, e, f, g, h, i, j] = *header;
        Some(Self {
            id: u16::from_le_bytes([a, b]),
            sender: u32::from_le_bytes([c, d, e, f]),
            number: u32::from_le_bytes([g, h, i, j]),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_counts() {
        let label = Label {
            id: CHAT,
            sender: 7,
            number: 123_456,
        };
        let mut payload = Vec::new();
        label.write(22, &mut payload);
        assert_eq!(Label::check(&payload), Some(label));
        for at in 2..payload.len() {
            let mut wrong = payload.clone();
            wrong[at] ^= 0x40;
            assert_ne!(Label::check(&wrong), Some(label), "byte {at}");
        }
        assert_eq!(Label::check(&payload[..9]), None);
    }
}
