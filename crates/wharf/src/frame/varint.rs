//! Frames with their length in front, as an unsigned LEB128 varint
//! (<https://en.wikipedia.org/wiki/LEB128>): 7 bits a byte, least significant first, the top bit
//! says that another byte follows.

use super::{Decoded, FRAME_BYTES_MAX_DEFAULT, FrameError, FramingError};

/// Five times seven bits hold the 32 bits of the largest length.
const VARINT_BYTES_MAX: usize = 5;

#[derive(Clone, Copy, Debug)]
pub(super) struct VarintCodec {
    frame_bytes_max: usize,
}

impl VarintCodec {
    pub(super) fn new() -> Self {
        Self {
            frame_bytes_max: FRAME_BYTES_MAX_DEFAULT,
        }
    }

    pub(super) fn with_frame_bytes_max(self, max: usize) -> Result<Self, FramingError> {
        if max == 0 {
            let mend = "the length alone has 1 byte: allow more";
            return Err(FramingError::new("frame_bytes_max", max, mend));
        }
        let expressible = (u32::MAX as usize).saturating_add(VARINT_BYTES_MAX);
        Ok(Self {
            frame_bytes_max: max.min(expressible),
        })
    }

    #[inline]
    pub(super) fn frame_bytes_max(self) -> usize {
        self.frame_bytes_max
    }

    #[inline]
    pub(super) fn decode(self, bytes: &[u8]) -> Result<Decoded, FrameError> {
        let (value, header_bytes) = match bytes.first() {
            Some(&first) if first < 0x80 => (u64::from(first), 1),
            // Within the limit, or the answer would change with what has come behind it.
            _ => match read(&bytes[..bytes.len().min(self.frame_bytes_max)])? {
                Some(read) => read,
                None => return self.partial(bytes.len()),
            },
        };
        let claimed = value + header_bytes as u64;
        match usize::try_from(claimed) {
            Ok(wire_len) if wire_len <= self.frame_bytes_max => {
                if bytes.len() < wire_len {
                    return Ok(Decoded::Partial {
                        wire_bytes_min: wire_len,
                    });
                }
                Ok(Decoded::Frame {
                    wire_len,
                    payload: header_bytes..wire_len,
                })
            }
            _ => Err(self.too_long(claimed)),
        }
    }

    /// The length has not ended in `len` bytes.
    #[cold]
    fn partial(self, len: usize) -> Result<Decoded, FrameError> {
        if len >= self.frame_bytes_max {
            return Err(self.too_long(self.frame_bytes_max as u64 + 1));
        }
        Ok(Decoded::Partial {
            wire_bytes_min: len + 1,
        })
    }

    #[inline]
    pub(super) fn encode(self, payload: &[u8], out: &mut Vec<u8>) -> Result<(), FrameError> {
        let header_bytes = self.header_bytes(payload.len())?;
        let start = out.len();
        out.reserve(header_bytes + payload.len());
        out.resize(start + header_bytes, 0);
        write(payload.len(), &mut out[start..]);
        out.extend_from_slice(payload);
        Ok(())
    }

    /// One byte is room enough for the lengths of most frames: only a longer one has to move its
    /// payload in `finish`.
    #[inline]
    pub(super) fn begin(self, out: &mut Vec<u8>) {
        out.push(0);
    }

    #[inline]
    pub(super) fn finish(self, out: &mut Vec<u8>, start: usize) -> Result<(), FrameError> {
        let end = out.len();
        let Some(payload_len) = end.checked_sub(start + 1) else {
            return Err(super::header_was_cut());
        };
        let header_bytes = self.header_bytes(payload_len)?;
        if header_bytes > 1 {
            out.resize(end + header_bytes - 1, 0);
            out.copy_within(start + 1..end, start + header_bytes);
        }
        write(payload_len, &mut out[start..start + header_bytes]);
        Ok(())
    }

    /// Bytes of the shortest varint for a payload, if the frame is within the limit.
    #[inline]
    fn header_bytes(self, payload_len: usize) -> Result<usize, FrameError> {
        let bits = usize::BITS - payload_len.leading_zeros();
        let header_bytes = (bits.div_ceil(7) as usize).max(1);
        let claimed = payload_len.saturating_add(header_bytes);
        if claimed > self.frame_bytes_max || header_bytes > VARINT_BYTES_MAX {
            return Err(self.too_long(claimed as u64));
        }
        Ok(header_bytes)
    }

    #[cold]
    fn too_long(self, claimed: u64) -> FrameError {
        FrameError::TooLong {
            claimed,
            max: self.frame_bytes_max,
        }
    }
}

/// The number at the front of `bytes` and its bytes; `None` if it has not ended yet.
fn read(bytes: &[u8]) -> Result<Option<(u64, usize)>, FrameError> {
    let mut value = 0u64;
    for (at, &byte) in bytes.iter().take(VARINT_BYTES_MAX).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte < 0x80 {
            if value > u64::from(u32::MAX) {
                return Err(FrameError::BadVarint);
            }
            return Ok(Some((value, at + 1)));
        }
    }
    if bytes.len() < VARINT_BYTES_MAX {
        Ok(None)
    } else {
        Err(FrameError::BadVarint)
    }
}

/// Fills `bytes` with `value`, which needs exactly so many.
#[inline]
fn write(mut value: usize, bytes: &mut [u8]) {
    let Some((last, rest)) = bytes.split_last_mut() else {
        return;
    };
    for byte in rest {
        *byte = value.to_le_bytes()[0] | 0x80;
        value >>= 7;
    }
    *last = value.to_le_bytes()[0];
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unlimited() -> VarintCodec {
        VarintCodec::new().with_frame_bytes_max(usize::MAX).unwrap()
    }

    #[test]
    fn lengths_are_written_as_in_the_book() {
        // 624485 is the example of the LEB128 article.
        let cases: [(usize, &[u8]); 7] = [
            (0, &[0x00]),
            (127, &[0x7f]),
            (128, &[0x80, 0x01]),
            (16_383, &[0xff, 0x7f]),
            (16_384, &[0x80, 0x80, 0x01]),
            (624_485, &[0xe5, 0x8e, 0x26]),
            (2_097_152, &[0x80, 0x80, 0x80, 0x01]),
        ];
        for (len, header) in cases {
            let payload = vec![7; len];
            let mut encoded = Vec::new();
            unlimited().encode(&payload, &mut encoded).unwrap();
            assert!(encoded.starts_with(header) && encoded.len() == len + header.len());
            let frame = Decoded::Frame {
                wire_len: encoded.len(),
                payload: header.len()..encoded.len(),
            };
            assert_eq!(unlimited().decode(&encoded), Ok(frame));

            let mut patched = b"kept".to_vec();
            unlimited().begin(&mut patched);
            patched.extend_from_slice(&payload);
            unlimited().finish(&mut patched, 4).unwrap();
            assert!(patched[..4] == *b"kept" && patched[4..] == encoded);
        }
    }

    #[test]
    fn a_length_that_has_not_ended_is_partial() {
        assert_eq!(
            unlimited().decode(b""),
            Ok(Decoded::Partial { wire_bytes_min: 1 })
        );
        for len in 1..VARINT_BYTES_MAX {
            let partial = Decoded::Partial {
                wire_bytes_min: len + 1,
            };
            assert_eq!(unlimited().decode(&vec![0x80; len]), Ok(partial));
        }
        let partial = Decoded::Partial { wire_bytes_min: 5 };
        assert_eq!(unlimited().decode(b"\x04ab"), Ok(partial));
    }

    #[test]
    fn longer_spellings_are_accepted_up_to_five_bytes() {
        let frame = |wire_len| {
            Ok(Decoded::Frame {
                wire_len,
                payload: wire_len - 1..wire_len,
            })
        };
        assert_eq!(unlimited().decode(b"\x81\0x"), frame(3));
        assert_eq!(unlimited().decode(b"\x81\x80\0x"), frame(4));
        assert_eq!(unlimited().decode(b"\x81\x80\x80\x80\0x"), frame(6));
    }

    #[test]
    fn over_five_bytes_or_32_bits_is_refused() {
        let bad = Err(FrameError::BadVarint);
        assert_eq!(unlimited().decode(b"\x80\x80\x80\x80\x80"), bad);
        assert_eq!(unlimited().decode(b"\x81\x80\x80\x80\x80\0x"), bad);
        assert_eq!(unlimited().decode(b"\xff\xff\xff\xff\x1f"), bad);
        assert_eq!(unlimited().decode(b"\x80\x80\x80\x80\x10"), bad);
        let claimed = u64::from(u32::MAX) + 5;
        let too_long = Err(FrameError::TooLong {
            claimed,
            max: 65_536,
        });
        assert_eq!(VarintCodec::new().decode(b"\xff\xff\xff\xff\x0f"), too_long);
    }

    #[test]
    fn the_limit_counts_the_length_too() {
        let codec = VarintCodec::new().with_frame_bytes_max(130).unwrap();
        let mut out = b"kept".to_vec();
        assert_eq!(codec.encode(&[7; 128], &mut out), Ok(()));
        assert_eq!(out.len(), 134);
        let error = FrameError::TooLong {
            claimed: 131,
            max: 130,
        };
        assert_eq!(codec.encode(&[7; 129], &mut out), Err(error.clone()));
        assert_eq!(out.len(), 134);
        assert_eq!(codec.decode(b"\x81\x01"), Err(error));
        assert_eq!(
            codec.decode(b"\x80\x01"),
            Ok(Decoded::Partial {
                wire_bytes_min: 130
            })
        );

        let tiny = VarintCodec::new().with_frame_bytes_max(1).unwrap();
        assert_eq!(
            tiny.decode(b"\0"),
            Ok(Decoded::Frame {
                wire_len: 1,
                payload: 1..1
            })
        );
        assert_eq!(
            tiny.decode(b"\x80"),
            Err(FrameError::TooLong { claimed: 2, max: 1 })
        );
        assert_eq!(
            VarintCodec::new()
                .with_frame_bytes_max(0)
                .unwrap_err()
                .field(),
            "frame_bytes_max"
        );
    }
}
