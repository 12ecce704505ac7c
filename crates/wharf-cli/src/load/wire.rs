//! The frames of a run: built from a connection and a sequence number, checked byte by byte.
//!
//! Layout: u16 LE total length, u16 LE id, u32 LE connection number, u32 LE sequence number, then a
//! slice of a fixed random table whose offset depends on both numbers. The id is the exclusive
//! or of the four u16 halves of the numbers, so one wrong byte in a number never passes, even in
//! a frame
//! too small to have a pattern.

/// Bytes before the payload.
const HEADER: usize = 4;
/// Bytes before the pattern; the smallest frame.
pub(crate) const FRAME_BYTES_MIN: usize = HEADER + 8;
/// Distinct pattern offsets, a power of two.
const OFFSETS: usize = 4096;
/// Connection number of the greeting that broadcast mode sends before the run; never a real one.
pub(crate) const GREETING: u32 = u32::MAX;

/// Which frame this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Label {
    /// The connection that sent it.
    pub(crate) conn: u32,
    /// Its sequence number there, from 0, wrapping.
    pub(crate) seq: u32,
}

/// Builds and checks the frames of one run; all have the same size.
#[derive(Debug)]
pub(crate) struct Frames {
    size: u16,
    table: Box<[u8]>,
}

impl Frames {
    /// Frames of `size` bytes each, header included.
    ///
    /// # Panics
    /// If `size` is below [`FRAME_BYTES_MIN`]; the argument parser refuses that.
    pub(crate) fn new(size: u16) -> Self {
        assert!(
            usize::from(size) >= FRAME_BYTES_MIN,
            "frame size {size} is too small"
        );
        let mut table = vec![0; usize::from(size) + OFFSETS];
        let mut state = 0u64;
        for chunk in table.chunks_mut(8) {
            chunk.copy_from_slice(&splitmix64(&mut state).to_le_bytes()[..chunk.len()]);
        }
        Self {
            size,
            table: table.into_boxed_slice(),
        }
    }

    /// Bytes of each frame.
    pub(crate) fn size(&self) -> usize {
        usize::from(self.size)
    }

    /// Writes the frame into `out`, which must be exactly [`size`](Self::size) bytes.
    pub(crate) fn write(&self, label: Label, out: &mut [u8]) {
        out[..FRAME_BYTES_MIN].copy_from_slice(&self.head(label));
        out[FRAME_BYTES_MIN..].copy_from_slice(self.pattern(label));
    }

    /// Which frame these [`size`](Self::size) bytes are, or `None` if any byte is wrong.
    pub(crate) fn check(&self, frame: &[u8]) -> Option<Label> {
        let label = Self::claimed(frame);
        let intact = frame[..FRAME_BYTES_MIN] == self.head(label)
            && frame[FRAME_BYTES_MIN..] == *self.pattern(label);
        intact.then_some(label)
    }

    /// Which frame these bytes say they are, right or wrong.
    pub(crate) fn claimed(frame: &[u8]) -> Label {
        let number = |at: usize| {
            u32::from_le_bytes([frame[at], frame[at + 1], frame[at + 2], frame[at + 3]])
        };
        Label {
            conn: number(HEADER),
            seq: number(HEADER + 4),
        }
    }

    /// In how many bytes `frame` differs from the frame `label` should be.
    pub(crate) fn difference(&self, frame: &[u8], label: Label) -> usize {
        let differs = |(a, b): &(&u8, &u8)| a != b;
        let head = frame.iter().zip(&self.head(label)).filter(differs).count();
        let rest = frame[FRAME_BYTES_MIN..]
            .iter()
            .zip(self.pattern(label))
            .filter(differs)
            .count();
        head + rest
    }

    fn head(&self, label: Label) -> [u8; FRAME_BYTES_MIN] {
        let [len0, len1] = self.size.to_le_bytes();
        let [c0, c1, c2, c3] = label.conn.to_le_bytes();
        let [s0, s1, s2, s3] = label.seq.to_le_bytes();
        let id = [c0 ^ c2 ^ s0 ^ s2, c1 ^ c3 ^ s1 ^ s3];
        [len0, len1, id[0], id[1], c0, c1, c2, c3, s0, s1, s2, s3]
    }

    fn pattern(&self, label: Label) -> &[u8] {
        // Multiplicative hashing (Knuth, TAOCP 3, 6.4): the top bits depend on every bit of both.
        let mixed = label.conn.wrapping_mul(0x9E37_79B1) ^ label.seq.wrapping_mul(0x85EB_CA6B);
        let offset = (mixed >> (u32::BITS - OFFSETS.ilog2())) as usize;
        &self.table[offset..offset + self.size() - FRAME_BYTES_MIN]
    }
}

/// The SplitMix64 generator (Steele, Lea, Flood 2014): the same table on every machine.
fn splitmix64(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(frames: &Frames, label: Label) -> Vec<u8> {
        let mut bytes = vec![0; frames.size()];
        frames.write(label, &mut bytes);
        bytes
    }

    #[test]
    fn header_is_the_documented_wire_format() {
        let frames = Frames::new(300);
        let bytes = frame(
            &frames,
            Label {
                conn: 0x0102_0304,
                seq: 7,
            },
        );
        assert_eq!(bytes[..2], 300u16.to_le_bytes());
        assert_eq!(bytes[4..8], [4, 3, 2, 1]);
        assert_eq!(bytes[8..12], [7, 0, 0, 0]);
    }

    #[test]
    fn any_single_wrong_byte_is_seen() {
        for size in [12u16, 13, 64, 500] {
            let frames = Frames::new(size);
            let label = Label {
                conn: 3,
                seq: 70_000,
            };
            let good = frame(&frames, label);
            assert_eq!(frames.check(&good), Some(label));
            for at in 0..good.len() {
                for flip in [1u8, 0x80, 0xFF] {
                    let mut bad = good.clone();
                    bad[at] ^= flip;
                    assert_eq!(
                        frames.check(&bad),
                        None,
                        "size {size}, byte {at}, flip {flip:#x}"
                    );
                    assert_eq!(frames.difference(&bad, label), 1);
                }
            }
        }
    }

    #[test]
    fn neighbouring_frames_differ_in_the_pattern_too() {
        let frames = Frames::new(64);
        let one = frame(&frames, Label { conn: 0, seq: 0 });
        for other in [Label { conn: 0, seq: 1 }, Label { conn: 1, seq: 0 }] {
            assert!(frames.difference(&one, other) > 32);
        }
    }
}
