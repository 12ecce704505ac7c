//! Cutting frames out of received bytes: no I/O.

/// Bytes of the header: length and id, both `u16` little-endian.
pub const HEADER_BYTES: usize = 4;

/// The largest frame that a `u16` length can claim.
pub const FRAME_BYTES_MAX: usize = u16::MAX as usize;

/// A length field smaller than the header it stands in.
#[derive(Debug, PartialEq, Eq)]
pub struct LengthTooSmall(pub u16);

/// Copies every whole frame of `bytes` to the end of `replies`, one by one, as a server that builds
/// its answers would. Returns how many bytes were whole frames; the rest is a partial frame.
///
/// # Errors
/// [`LengthTooSmall`] when a header claims fewer bytes than a header has.
pub fn echo(bytes: &[u8], replies: &mut Vec<u8>) -> Result<usize, LengthTooSmall> {
    let mut at = 0;
    while let Some(&[low, high]) = bytes.get(at..at + 2) {
        let claimed = u16::from_le_bytes([low, high]);
        let length = usize::from(claimed);
        if length < HEADER_BYTES {
            return Err(LengthTooSmall(claimed));
        }
        let Some(frame) = bytes.get(at..at + length) else {
            break;
        };
        replies.extend_from_slice(frame);
        at += length;
    }
    Ok(at)
}

/// Cuts what one connection receives, and keeps the start of a frame whose rest has not come.
/// Unallocated while whole frames come in.
#[derive(Debug, Default)]
pub struct Cutter {
    partial: Vec<u8>,
}

impl Cutter {
    /// Empties `out` and copies to it every whole frame of what was kept and `bytes`.
    ///
    /// # Errors
    /// [`LengthTooSmall`] when a header claims fewer bytes than a header has.
    pub fn take(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), LengthTooSmall> {
        out.clear();
        if self.partial.is_empty() {
            let whole = echo(bytes, out)?;
            self.partial.extend_from_slice(&bytes[whole..]);
        } else {
            self.partial.extend_from_slice(bytes);
            let whole = echo(&self.partial, out)?;
            self.partial.drain(..whole);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(id: u16, payload: &[u8]) -> Vec<u8> {
        let length = u16::try_from(HEADER_BYTES + payload.len()).unwrap();
        [&length.to_le_bytes(), &id.to_le_bytes(), payload].concat()
    }

    #[test]
    fn whole_frames_are_copied_and_a_partial_one_is_left() {
        let whole = [frame(1, b"one"), frame(2, b""), frame(3, &[7; 300])].concat();
        let last = frame(4, b"four");
        for cut in 0..last.len() {
            let mut replies = Vec::new();
            let bytes = [&whole[..], &last[..cut]].concat();
            assert_eq!(echo(&bytes, &mut replies), Ok(whole.len()), "cut at {cut}");
            assert_eq!(replies, whole, "cut at {cut}");
        }
    }

    #[test]
    fn a_cutter_gives_the_same_frames_however_they_are_cut() {
        let whole = [frame(1, b"one"), frame(2, b""), frame(3, &[7; 300])].concat();
        for size in 1..whole.len() {
            let (mut cutter, mut out, mut all) = (Cutter::default(), Vec::new(), Vec::new());
            for piece in whole.chunks(size) {
                cutter.take(piece, &mut out).unwrap();
                all.extend_from_slice(&out);
            }
            assert_eq!(all, whole, "pieces of {size}");
        }
        let mut cutter = Cutter::default();
        cutter.take(&[3], &mut Vec::new()).unwrap();
        assert_eq!(cutter.take(&[0], &mut Vec::new()), Err(LengthTooSmall(3)));
    }

    #[test]
    fn the_largest_frame_passes() {
        let bytes = frame(9, &vec![1; FRAME_BYTES_MAX - HEADER_BYTES]);
        let mut replies = Vec::new();
        assert_eq!(echo(&bytes, &mut replies), Ok(FRAME_BYTES_MAX));
        assert_eq!(replies, bytes);
    }

    #[test]
    fn a_length_below_the_header_is_refused() {
        assert_eq!(echo(&[3, 0, 1, 0], &mut Vec::new()), Err(LengthTooSmall(3)));
    }
}
