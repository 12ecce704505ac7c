//! Bytes to frames and back: no I/O, no clock.
//!
//! A byte stream has no borders. A [`Framing`] says where one message ends: a length in front, a
//! delimiter behind, or neither. Every kind has a limit, `frame_bytes_max`, and a length on the
//! wire is a claim of the peer: it is compared with the limit before anything else, and no memory
//! is ever set aside for it.

mod borrowed;
mod codec;
mod delimiter;
mod error;
mod length;
pub mod proxy_v2;
mod raw;
mod varint;

use std::ops::Range;

use bytes::Bytes;

pub use borrowed::Frame;
pub use codec::Codec;
pub use error::{FrameError, FramingError};
pub use length::{ByteOrder, LengthFraming};

/// `frame_bytes_max` where nothing else is said: one worker buffer.
const FRAME_BYTES_MAX_DEFAULT: usize = 64 * 1024;
/// `frame_bytes_max` of [`Framing::default`].
const FRAME_BYTES_MAX_USUAL: usize = 16 * 1024;

/// How a network cuts its byte stream into frames. Clone is cheap.
///
/// ```
/// use wharf::frame::{Decoded, Framing};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let framing = Framing::length(2).frame_bytes_max(1024).build()?;
/// let mut wire = Vec::new();
/// framing.encode(b"hello", &mut wire)?;
/// assert_eq!(wire, b"\x05\x00hello");
/// assert_eq!(framing.decode(&wire, 0)?, Decoded::Frame { wire_len: 7, payload: 2..7 });
/// assert_eq!(framing.decode(&wire[..4], 0)?, Decoded::Partial { wire_bytes_min: 7 });
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Framing {
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Length(length::LengthCodec),
    Varint(varint::VarintCodec),
    Delimiter(delimiter::DelimiterCodec),
    Raw(raw::RawCodec),
    Custom(codec::CustomCodec),
}

/// What stands at the front of the bytes given to [`Framing::decode`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decoded {
    /// A whole frame.
    Frame {
        /// Bytes of the frame, with header and delimiter; at least 1, at most all that were given.
        wire_len: usize,
        /// Where its payload is, within these `wire_len` bytes.
        payload: Range<usize>,
    },
    /// The frame's end has not come yet.
    Partial {
        /// The bytes that this frame has in all at least: more than were given, at most
        /// `frame_bytes_max`. It is a claim of the peer: never allocate for it.
        wire_bytes_min: usize,
    },
}

/// A frame begun in a buffer by [`Framing::begin`], to be ended by [`Framing::finish`].
///
/// To give the frame up instead, truncate the buffer to [`Begun::start`].
#[derive(Debug)]
#[must_use = "the frame has no valid header until finish()"]
pub struct Begun {
    start: usize,
}

impl Begun {
    /// Where the frame begins in the buffer: its length when `begin` was called.
    #[must_use]
    pub fn start(&self) -> usize {
        self.start
    }
}

/// A `u16` little-endian length that counts itself and the payload, frames of at most 16 KiB:
/// `Framing::length(2).includes_prefix(true).frame_bytes_max(16 * 1024)`.
impl Default for Framing {
    fn default() -> Self {
        Self {
            kind: Kind::Length(length::LengthCodec::usual()),
        }
    }
}

impl Framing {
    /// The length in front, as a number of 1, 2, 4 or 8 bytes, alone or inside a fixed header.
    pub fn length(prefix_bytes: usize) -> LengthFraming {
        LengthFraming::new(prefix_bytes)
    }

    /// The payload's length in front, as an unsigned LEB128 varint of at most 5 bytes and
    /// 32 bits (<https://en.wikipedia.org/wiki/LEB128>); frames of at most 64 KiB.
    ///
    /// Frames are sent with the shortest varint. Longer spellings of a number are accepted up to
    /// 5 bytes, because senders that patch the length in afterwards write them at a fixed width.
    #[must_use]
    pub fn varint() -> Self {
        Self {
            kind: Kind::Varint(varint::VarintCodec::new()),
        }
    }

    /// Frames that end with `delimiter`, one or more bytes that are not part of the payload;
    /// frames of at most 64 KiB, delimiter included.
    ///
    /// # Errors
    ///
    /// [`FramingError`] if `delimiter` is empty or longer than a frame may be.
    pub fn delimiter(delimiter: impl Into<Vec<u8>>) -> Result<Self, FramingError> {
        let codec = delimiter::DelimiterCodec::new(delimiter.into())?;
        Ok(Self {
            kind: Kind::Delimiter(codec),
        })
    }

    /// Lines of text: each ends with `"\n"` or `"\r\n"`, neither is part of the payload, and
    /// `"\n"` is sent. Lines of at most 64 KiB. A payload to send that ends with `"\r"` is
    /// refused, as it would not arrive as it was; for `"\r\n"` only, use
    /// `Framing::delimiter("\r\n")`.
    #[must_use]
    pub fn lines() -> Self {
        Self {
            kind: Kind::Delimiter(delimiter::DelimiterCodec::lines()),
        }
    }

    /// No frames: what has come is handed on as it is, at most 64 KiB at once, and what is sent
    /// is sent as it is.
    #[must_use]
    pub fn raw() -> Self {
        Self {
            kind: Kind::Raw(raw::RawCodec::new()),
        }
    }

    /// A framing of your own. Its `frame_bytes_max` is asked once, here.
    #[must_use]
    pub fn custom(codec: impl Codec) -> Self {
        Self {
            kind: Kind::Custom(codec::CustomCodec::new(codec)),
        }
    }

    /// One frame with this payload, as wire bytes to be shared.
    pub(crate) fn encode_shared(&self, payload: &[u8]) -> Result<Bytes, FrameError> {
        let mut wire = Vec::with_capacity(payload.len() + 16);
        self.encode(payload, &mut wire)?;
        Ok(wire.into())
    }

    /// The same framing with another limit, in bytes of the whole frame on the wire. Where the
    /// length on the wire can't express it, the limit becomes the most that it can.
    ///
    /// # Errors
    ///
    /// [`FramingError`] if not even an empty frame would fit, or if the framing is a custom one,
    /// which has its own limit.
    pub fn with_frame_bytes_max(self, bytes: usize) -> Result<Self, FramingError> {
        let kind = match self.kind {
            Kind::Length(codec) => Kind::Length(codec.with_frame_bytes_max(bytes)?),
            Kind::Varint(codec) => Kind::Varint(codec.with_frame_bytes_max(bytes)?),
            Kind::Delimiter(codec) => Kind::Delimiter(codec.with_frame_bytes_max(bytes)?),
            Kind::Raw(codec) => Kind::Raw(codec.with_frame_bytes_max(bytes)?),
            Kind::Custom(_) => {
                let mend = "a codec of your own has its own limit: set it there";
                return Err(FramingError::new("frame_bytes_max", bytes, mend));
            }
        };
        Ok(Self { kind })
    }

    /// Whether user code cuts and encodes.
    #[inline]
    pub(crate) fn is_custom(&self) -> bool {
        matches!(self.kind, Kind::Custom(_))
    }

    /// The largest frame, in bytes on the wire: header, payload and delimiter.
    #[inline]
    #[must_use]
    pub fn frame_bytes_max(&self) -> usize {
        match &self.kind {
            Kind::Length(codec) => codec.frame_bytes_max(),
            Kind::Varint(codec) => codec.frame_bytes_max(),
            Kind::Delimiter(codec) => codec.frame_bytes_max(),
            Kind::Raw(codec) => codec.frame_bytes_max(),
            Kind::Custom(codec) => codec.frame_bytes_max(),
        }
    }

    /// Looks for the first frame of `bytes`. Allocates nothing, unless a custom codec does.
    ///
    /// `seen` says how many of `bytes` an earlier call has already looked at that answered
    /// [`Decoded::Partial`]; 0 is always right. It never changes the answer, only what it costs:
    /// a search goes on where it ended, so that a peer that sends byte by byte does not make
    /// each byte be looked at again.
    ///
    /// # Errors
    ///
    /// [`FrameError`] if no frame of this framing begins like this. Nothing that follows in the
    /// stream can be trusted then.
    #[inline]
    pub fn decode(&self, bytes: &[u8], seen: usize) -> Result<Decoded, FrameError> {
        if let Kind::Length(codec) = &self.kind {
            return codec.decode(bytes);
        }
        self.decode_other(bytes, seen)
    }

    #[inline(never)]
    fn decode_other(&self, bytes: &[u8], seen: usize) -> Result<Decoded, FrameError> {
        match &self.kind {
            Kind::Length(codec) => codec.decode(bytes),
            Kind::Varint(codec) => codec.decode(bytes),
            Kind::Delimiter(codec) => codec.decode(bytes, seen),
            Kind::Raw(codec) => Ok(codec.decode(bytes)),
            Kind::Custom(codec) => codec.decode(bytes, seen),
        }
    }

    /// Appends `payload` to `out` as one frame: header, payload, delimiter.
    ///
    /// # Errors
    ///
    /// [`FrameError`] if the frame would be over the limit, or the payload contains the
    /// delimiter. `out` is as before then. Raw bytes are no frames and never refused.
    #[inline]
    pub fn encode(&self, payload: &[u8], out: &mut Vec<u8>) -> Result<(), FrameError> {
        if let Kind::Length(codec) = &self.kind {
            return codec.encode(payload, out);
        }
        self.encode_other(payload, out)
    }

    // Apart, so that the usual framing is small enough to be compiled into its callers.
    #[inline(never)]
    fn encode_other(&self, payload: &[u8], out: &mut Vec<u8>) -> Result<(), FrameError> {
        match &self.kind {
            Kind::Length(codec) => codec.encode(payload, out),
            Kind::Varint(codec) => codec.encode(payload, out),
            Kind::Delimiter(codec) => codec.encode(payload, out),
            Kind::Raw(_) => {
                out.extend_from_slice(payload);
                Ok(())
            }
            Kind::Custom(codec) => codec.encode(payload, out),
        }
    }

    /// Begins a frame at the end of `out`, with room for its header. Append the payload, then
    /// call [`Framing::finish`]: an encoder writes straight into the send buffer this way.
    ///
    /// ```
    /// use wharf::frame::Framing;
    /// # fn main() -> Result<(), wharf::frame::FrameError> {
    /// let framing = Framing::default();
    /// let mut out = Vec::new();
    /// let begun = framing.begin(&mut out);
    /// out.extend_from_slice(&7u32.to_le_bytes());
    /// framing.finish(&mut out, begun)?;
    /// assert_eq!(out, [6, 0, 7, 0, 0, 0]);
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    pub fn begin(&self, out: &mut Vec<u8>) -> Begun {
        let start = out.len();
        match &self.kind {
            Kind::Length(codec) => codec.begin(out),
            Kind::Varint(codec) => codec.begin(out),
            Kind::Delimiter(_) | Kind::Raw(_) => {}
            Kind::Custom(codec) => codec.begin(out),
        }
        Begun { start }
    }

    /// Ends the frame that `begun` began: all bytes of `out` after the header are its payload.
    ///
    /// # Errors
    ///
    /// As [`Framing::encode`]; `out` is then as it was before [`Framing::begin`]. Also if the
    /// header is gone because `out` was made shorter than `begin` left it.
    #[inline]
    pub fn finish(&self, out: &mut Vec<u8>, begun: Begun) -> Result<(), FrameError> {
        let Begun { start } = begun;
        let finished = match &self.kind {
            Kind::Length(codec) => codec.finish(out, start),
            Kind::Varint(codec) => codec.finish(out, start),
            Kind::Delimiter(codec) => codec.finish(out, start),
            Kind::Raw(_) => Ok(()),
            Kind::Custom(codec) => codec.finish(out, start),
        };
        if finished.is_err() {
            out.truncate(start);
        }
        finished
    }
}

/// The caller's encoder has cut into what was there before it.
#[cold]
fn header_was_cut() -> FrameError {
    FrameError::Custom(
        "the send buffer is shorter than when this frame was begun: an encoder may only append"
            .into(),
    )
}

#[cfg(test)]
mod tests;
