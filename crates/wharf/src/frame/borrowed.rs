//! A received frame, as a handler sees it.

use std::fmt;
use std::ops::{Deref, Range};

/// A received frame, borrowed from the worker's buffer.
///
/// It lives as long as the callback that gets it. Copy the bytes ([`Frame::to_vec`]) when they
/// have to outlive it. It dereferences to the payload.
///
/// ```
/// # use wharf::frame::Frame;
/// let frame = Frame::new(b"\x05\x00abc", 2..5);
/// assert_eq!(frame.payload(), b"abc");
/// assert_eq!(frame.header(), b"\x05\x00");
/// assert_eq!(frame.len(), 3);
/// assert!(frame.starts_with(b"ab"));
/// ```
#[derive(Clone, Copy)]
pub struct Frame<'a> {
    wire: &'a [u8],
    payload: &'a [u8],
    header_len: usize,
}

impl<'a> Frame<'a> {
    /// A frame of the bytes `wire`, whose payload is `wire[payload]`.
    ///
    /// # Panics
    ///
    /// If `payload` is not a range of `wire`.
    #[inline]
    #[must_use]
    pub fn new(wire: &'a [u8], payload: Range<usize>) -> Self {
        Self {
            wire,
            header_len: payload.start,
            payload: &wire[payload],
        }
    }

    /// What the sender's handler sent: no header, no delimiter.
    #[inline]
    #[must_use]
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// All bytes of the frame as they came: header, payload, delimiter. What a relay passes on.
    #[inline]
    #[must_use]
    pub fn wire(&self) -> &'a [u8] {
        self.wire
    }

    /// The wire bytes before the payload; empty for delimiters and raw bytes.
    #[inline]
    #[must_use]
    pub fn header(&self) -> &'a [u8] {
        &self.wire[..self.header_len]
    }

    /// Bytes of the payload.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.payload.len()
    }

    /// Whether the payload has no bytes.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.payload.is_empty()
    }

    /// The payload, copied.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        self.payload.to_vec()
    }
}

impl Deref for Frame<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        self.payload
    }
}

impl AsRef<[u8]> for Frame<'_> {
    #[inline]
    fn as_ref(&self) -> &[u8] {
        self.payload
    }
}

impl fmt::Debug for Frame<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// A log line should not hold 64 KiB of escapes.
        const SHOWN_MAX: usize = 32;
        let shown = &self.payload[..self.payload.len().min(SHOWN_MAX)];
        let more = if shown.len() < self.payload.len() {
            ".."
        } else {
            ""
        };
        f.debug_struct("Frame")
            .field("wire_len", &self.wire.len())
            .field("len", &self.payload.len())
            .field(
                "payload",
                &format_args!("b\"{}\"{more}", shown.escape_ascii()),
            )
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_frame() {
        let frame = Frame::new(b"HHabc\n", 2..5);
        assert_eq!(frame.header(), b"HH");
        assert_eq!(frame.payload(), b"abc");
        assert_eq!(frame.wire(), b"HHabc\n");
        assert_eq!(frame.to_vec(), b"abc");
        assert_eq!(&*frame, b"abc");
        assert_eq!(frame.as_ref(), b"abc");
        assert!(!frame.is_empty());
        assert!(Frame::new(b"HH", 2..2).is_empty());
    }

    #[test]
    fn debug_is_short() {
        assert_eq!(
            format!("{:?}", Frame::new(b"\x03\0a", 2..3)),
            "Frame { wire_len: 3, len: 1, payload: b\"a\" }"
        );
        let long = vec![0u8; 60_000];
        assert!(format!("{:?}", Frame::new(&long, 0..60_000)).len() < 250);
    }

    #[test]
    #[should_panic(expected = "range end index 4")]
    fn a_payload_outside_the_wire_is_refused() {
        let _ = Frame::new(b"abc", 1..4);
    }
}
