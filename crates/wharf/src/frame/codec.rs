//! Framings that users write themselves.

use std::fmt;
use std::sync::Arc;

use super::{Decoded, FrameError};

/// A framing of your own, for [`Framing::custom`](super::Framing::custom).
///
/// It holds no state of a session: it is shared by all sessions of a network, and every call gets
/// all it needs. It runs on the worker for each frame, so it should neither allocate nor block.
/// The limit and the ranges of its answers are checked: an answer outside the contract becomes a
/// [`FrameError`] and never a panic or an endless loop.
///
/// ```
/// use wharf::frame::{Codec, Decoded, FrameError, Framing};
///
/// /// The first byte, the opcode, says how long the frame is. All of it is payload.
/// #[derive(Debug)]
/// struct ByOpcode;
///
/// impl ByOpcode {
///     fn len(opcode: u8) -> Result<usize, FrameError> {
///         match opcode {
///             1 => Ok(3), // move: x, y
///             2 => Ok(1), // ping
///             _ => Err(FrameError::Custom(format!("opcode {opcode}: known are 1 and 2"))),
///         }
///     }
/// }
///
/// impl Codec for ByOpcode {
///     fn decode(&self, bytes: &[u8], _seen: usize) -> Result<Decoded, FrameError> {
///         let Some(&opcode) = bytes.first() else {
///             return Ok(Decoded::Partial { wire_bytes_min: 1 });
///         };
///         let len = Self::len(opcode)?;
///         if bytes.len() < len {
///             return Ok(Decoded::Partial { wire_bytes_min: len });
///         }
///         Ok(Decoded::Frame { wire_len: len, payload: 0..len })
///     }
///
///     fn encode(&self, payload: &[u8], out: &mut Vec<u8>) -> Result<(), FrameError> {
///         let Some(&opcode) = payload.first() else {
///             return Err(FrameError::Custom("a frame begins with its opcode".into()));
///         };
///         if payload.len() != Self::len(opcode)? {
///             return Err(FrameError::Custom(format!("wrong length for opcode {opcode}")));
///         }
///         out.extend_from_slice(payload);
///         Ok(())
///     }
///
///     fn frame_bytes_max(&self) -> usize {
///         3
///     }
/// }
///
/// let framing = Framing::custom(ByOpcode);
/// let mut out = Vec::new();
/// framing.encode(&[1, 10, 20], &mut out)?;
/// assert_eq!(framing.decode(&out, 0)?, Decoded::Frame { wire_len: 3, payload: 0..3 });
/// assert!(framing.decode(&[9], 0).is_err());
/// # Ok::<(), FrameError>(())
/// ```
pub trait Codec: Send + Sync + fmt::Debug + 'static {
    /// Looks for the first frame of `bytes`, which may be empty, may hold less than a frame, and
    /// may hold more than one.
    ///
    /// - A whole frame: [`Decoded::Frame`], with `wire_len` of at least 1 and at most
    ///   `bytes.len()` and [`Codec::frame_bytes_max`], and a `payload` within it.
    /// - Not all of it yet: [`Decoded::Partial`], with `wire_bytes_min` above `bytes.len()`.
    /// - The answer for a stream must not depend on how it was cut: what was a frame or an error
    ///   once stays it when more bytes follow.
    ///
    /// `seen` says how many of `bytes` an earlier call has looked at that answered `Partial`. It
    /// must not change the answer. Use it if you search for the end of a frame: begin the search
    /// at `seen` (less what an end marker may have there already), or a peer that sends byte by
    /// byte costs a search of everything for each byte.
    ///
    /// # Errors
    ///
    /// Any [`FrameError`], if no frame begins like this; the session is closed.
    fn decode(&self, bytes: &[u8], seen: usize) -> Result<Decoded, FrameError>;

    /// Appends `payload` to `out` as one frame, and changes nothing before it.
    ///
    /// # Errors
    ///
    /// Any [`FrameError`], if `payload` can't be one frame. What was appended is taken back.
    fn encode(&self, payload: &[u8], out: &mut Vec<u8>) -> Result<(), FrameError>;

    /// The largest frame in bytes on the wire, both ways. Asked once, when the framing is made.
    fn frame_bytes_max(&self) -> usize;

    /// Appends room for a header to `out`; the payload will be appended after it. Write it
    /// together with [`Codec::finish`], or leave both as they are.
    fn begin(&self, out: &mut Vec<u8>) {
        let _ = out;
    }

    /// Ends the frame that began at `out[start]` with what [`Codec::begin`] appended: fills in
    /// the header, appends what follows the payload. As it is, it takes the payload out and calls
    /// [`Codec::encode`], which costs an allocation.
    ///
    /// # Errors
    ///
    /// As [`Codec::encode`].
    fn finish(&self, out: &mut Vec<u8>, start: usize) -> Result<(), FrameError> {
        let payload = out.split_off(start);
        self.encode(&payload, out)
    }
}

/// A user's codec and the checks of its answers.
#[derive(Clone, Debug)]
pub(super) struct CustomCodec {
    codec: Arc<dyn Codec>,
    frame_bytes_max: usize,
}

impl CustomCodec {
    pub(super) fn new(codec: impl Codec) -> Self {
        let frame_bytes_max = codec.frame_bytes_max();
        Self {
            codec: Arc::new(codec),
            frame_bytes_max,
        }
    }

    #[inline]
    pub(super) fn frame_bytes_max(&self) -> usize {
        self.frame_bytes_max
    }

    pub(super) fn decode(&self, bytes: &[u8], seen: usize) -> Result<Decoded, FrameError> {
        let decoded = self.codec.decode(bytes, seen)?;
        let needed = match &decoded {
            Decoded::Frame { wire_len, payload } => {
                let fits = (1..=bytes.len()).contains(wire_len);
                if !fits || payload.start > payload.end || payload.end > *wire_len {
                    return Err(self.broken(&decoded, bytes.len()));
                }
                *wire_len
            }
            Decoded::Partial { wire_bytes_min } => {
                if *wire_bytes_min <= bytes.len() {
                    return Err(self.broken(&decoded, bytes.len()));
                }
                *wire_bytes_min
            }
        };
        self.check_len(needed)?;
        Ok(decoded)
    }

    pub(super) fn encode(&self, payload: &[u8], out: &mut Vec<u8>) -> Result<(), FrameError> {
        let start = out.len();
        let encoded = self.codec.encode(payload, out);
        encoded
            .and_then(|()| self.check_sent(out, start))
            .inspect_err(|_| out.truncate(start))
    }

    pub(super) fn begin(&self, out: &mut Vec<u8>) {
        self.codec.begin(out);
    }

    pub(super) fn finish(&self, out: &mut Vec<u8>, start: usize) -> Result<(), FrameError> {
        if out.len() < start {
            return Err(super::header_was_cut());
        }
        self.codec.finish(out, start)?;
        self.check_sent(out, start)
    }

    fn check_sent(&self, out: &[u8], start: usize) -> Result<(), FrameError> {
        let Some(wire_len) = out.len().checked_sub(start) else {
            return Err(super::header_was_cut());
        };
        self.check_len(wire_len)
    }

    fn check_len(&self, wire_len: usize) -> Result<(), FrameError> {
        if wire_len > self.frame_bytes_max {
            let (claimed, max) = (wire_len as u64, self.frame_bytes_max);
            return Err(FrameError::TooLong { claimed, max });
        }
        Ok(())
    }

    #[cold]
    fn broken(&self, decoded: &Decoded, len: usize) -> FrameError {
        FrameError::Custom(format!(
            "the codec {:?} answered {decoded:?} for {len} bytes, which breaks the contract of \
             Codec::decode: mend the codec",
            self.codec
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Framing;
    use super::*;

    /// Answers what it was told to, and sends payloads as they are.
    #[derive(Debug)]
    struct Says(Decoded);

    impl Codec for Says {
        fn decode(&self, _bytes: &[u8], _seen: usize) -> Result<Decoded, FrameError> {
            Ok(self.0.clone())
        }

        fn encode(&self, payload: &[u8], out: &mut Vec<u8>) -> Result<(), FrameError> {
            out.extend_from_slice(payload);
            if payload == b"refused" {
                return Err(FrameError::Custom("refused".into()));
            }
            Ok(())
        }

        fn frame_bytes_max(&self) -> usize {
            10
        }
    }

    fn says(decoded: Decoded) -> Framing {
        Framing::custom(Says(decoded))
    }

    #[test]
    fn answers_outside_the_contract_become_errors() {
        // A reversed range is what the contract has to guard against.
        #[allow(clippy::reversed_empty_ranges, reason = "the codec's mistake")]
        let wrong = [
            Decoded::Frame {
                wire_len: 0,
                payload: 0..0,
            },
            Decoded::Frame {
                wire_len: 5,
                payload: 0..5,
            },
            Decoded::Frame {
                wire_len: 3,
                payload: 1..4,
            },
            Decoded::Frame {
                wire_len: 3,
                payload: 2..1,
            },
            Decoded::Partial { wire_bytes_min: 4 },
            Decoded::Partial { wire_bytes_min: 0 },
        ];
        for decoded in wrong {
            let error = says(decoded.clone()).decode(b"abcd", 0).unwrap_err();
            let FrameError::Custom(text) = error else {
                panic!("{decoded:?}: {error:?}")
            };
            assert!(text.contains("Says") && text.contains("4 bytes"), "{text}");
        }
        let right = Decoded::Frame {
            wire_len: 4,
            payload: 1..3,
        };
        assert_eq!(says(right.clone()).decode(b"abcd", 0), Ok(right));
    }

    #[test]
    fn the_limit_holds_for_a_codec_that_forgets_it() {
        let too_long = Err(FrameError::TooLong {
            claimed: 11,
            max: 10,
        });
        let partial = says(Decoded::Partial { wire_bytes_min: 11 });
        assert_eq!(partial.decode(b"abcd", 0), too_long);
        let frame = says(Decoded::Frame {
            wire_len: 11,
            payload: 0..11,
        });
        assert_eq!(frame.decode(&[0; 20], 0), too_long);
        let mut out = b"kept".to_vec();
        assert_eq!(frame.encode(&[0; 11], &mut out).err(), too_long.err());
        assert_eq!(out, b"kept");
    }

    #[test]
    fn a_refused_frame_leaves_nothing_behind() {
        let framing = says(Decoded::Partial { wire_bytes_min: 1 });
        let mut out = b"kept".to_vec();
        assert!(framing.encode(b"refused", &mut out).is_err());
        assert_eq!(out, b"kept");
        let begun = framing.begin(&mut out);
        out.extend_from_slice(b"refused");
        assert!(framing.finish(&mut out, begun).is_err());
        assert_eq!(out, b"kept");
        let begun = framing.begin(&mut out);
        out.extend_from_slice(b"sent");
        assert_eq!(framing.finish(&mut out, begun), Ok(()));
        assert_eq!(out, b"keptsent");
    }

    #[test]
    fn a_codec_has_its_own_limit() {
        let framing = says(Decoded::Partial { wire_bytes_min: 1 });
        assert_eq!(framing.frame_bytes_max(), 10);
        assert_eq!(
            framing.with_frame_bytes_max(5).unwrap_err().field(),
            "frame_bytes_max"
        );
    }
}
