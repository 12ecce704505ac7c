//! No frames: bytes as they come.

use super::{Decoded, FRAME_BYTES_MAX_DEFAULT, FramingError};

#[derive(Clone, Copy, Debug)]
pub(super) struct RawCodec {
    frame_bytes_max: usize,
}

impl RawCodec {
    pub(super) fn new() -> Self {
        Self {
            frame_bytes_max: FRAME_BYTES_MAX_DEFAULT,
        }
    }

    pub(super) fn with_frame_bytes_max(self, max: usize) -> Result<Self, FramingError> {
        if max == 0 {
            let mend = "nothing could ever be received: allow at least 1";
            return Err(FramingError::new("frame_bytes_max", max, mend));
        }
        Ok(Self {
            frame_bytes_max: max,
        })
    }

    #[inline]
    pub(super) fn frame_bytes_max(self) -> usize {
        self.frame_bytes_max
    }

    #[inline]
    pub(super) fn decode(self, bytes: &[u8]) -> Decoded {
        let wire_len = bytes.len().min(self.frame_bytes_max);
        if wire_len == 0 {
            return Decoded::Partial { wire_bytes_min: 1 };
        }
        Decoded::Frame {
            wire_len,
            payload: 0..wire_len,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_there_is_a_frame_up_to_the_limit() {
        let codec = RawCodec::new().with_frame_bytes_max(4).unwrap();
        assert_eq!(codec.decode(b""), Decoded::Partial { wire_bytes_min: 1 });
        assert_eq!(
            codec.decode(b"abc"),
            Decoded::Frame {
                wire_len: 3,
                payload: 0..3
            }
        );
        assert_eq!(
            codec.decode(b"abcdef"),
            Decoded::Frame {
                wire_len: 4,
                payload: 0..4
            }
        );
    }

    #[test]
    fn a_limit_of_nothing_is_refused() {
        let error = RawCodec::new().with_frame_bytes_max(0).unwrap_err();
        assert_eq!((error.field(), error.value()), ("frame_bytes_max", "0"));
    }
}
