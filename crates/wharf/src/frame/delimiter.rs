//! Frames that end with a delimiter: text lines, null-terminated strings.

use std::fmt;
use std::sync::Arc;

use memchr::memmem::Finder;

use super::{Decoded, FRAME_BYTES_MAX_DEFAULT, FrameError, FramingError};

#[derive(Clone, Debug)]
pub(super) struct DelimiterCodec {
    delimiter: Delimiter,
    /// A "\r" before the delimiter belongs to it.
    strips_cr: bool,
    frame_bytes_max: usize,
}

#[derive(Clone)]
enum Delimiter {
    Byte(u8),
    /// Shared: the finder owns the delimiter and its search tables.
    Bytes(Arc<Finder<'static>>),
}

impl Delimiter {
    #[inline]
    fn find(&self, bytes: &[u8]) -> Option<usize> {
        match self {
            Self::Byte(byte) => memchr::memchr(*byte, bytes),
            Self::Bytes(finder) => finder.find(bytes),
        }
    }

    #[inline]
    fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Byte(byte) => std::slice::from_ref(byte),
            Self::Bytes(finder) => finder.needle(),
        }
    }
}

impl fmt::Debug for Delimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b\"{}\"", self.as_bytes().escape_ascii())
    }
}

impl DelimiterCodec {
    pub(super) fn new(delimiter: Vec<u8>) -> Result<Self, FramingError> {
        let delimiter = match delimiter.as_slice() {
            [] => {
                let mend = "without a delimiter no frame would end: give at least one byte, or \
                            use the raw framing";
                return Err(FramingError::new("delimiter", "\"\"", mend));
            }
            [byte] => Delimiter::Byte(*byte),
            bytes => Delimiter::Bytes(Arc::new(Finder::new(bytes).into_owned())),
        };
        Self {
            delimiter,
            strips_cr: false,
            frame_bytes_max: 0,
        }
        .with_frame_bytes_max(FRAME_BYTES_MAX_DEFAULT)
    }

    pub(super) fn lines() -> Self {
        Self {
            delimiter: Delimiter::Byte(b'\n'),
            strips_cr: true,
            frame_bytes_max: FRAME_BYTES_MAX_DEFAULT,
        }
    }

    pub(super) fn with_frame_bytes_max(mut self, max: usize) -> Result<Self, FramingError> {
        let delimiter = self.delimiter.as_bytes().len();
        if max < delimiter {
            let mend = format!("the delimiter alone has {delimiter} bytes: allow more");
            return Err(FramingError::new("frame_bytes_max", max, mend));
        }
        self.frame_bytes_max = max;
        Ok(self)
    }

    #[inline]
    pub(super) fn frame_bytes_max(&self) -> usize {
        self.frame_bytes_max
    }

    #[inline]
    pub(super) fn decode(&self, bytes: &[u8], seen: usize) -> Result<Decoded, FrameError> {
        let delimiter_len = self.delimiter.as_bytes().len();
        // A frame within the limit has its delimiter within this window, however much has come.
        let window = &bytes[..bytes.len().min(self.frame_bytes_max)];
        // The bytes seen may end with the delimiter's first part.
        let from = seen.min(window.len()).saturating_sub(delimiter_len - 1);
        let Some(at) = self.delimiter.find(&window[from..]) else {
            return self.partial(bytes.len());
        };
        let end = from + at;
        let stripped = self.strips_cr && end > 0 && window[end - 1] == b'\r';
        Ok(Decoded::Frame {
            wire_len: end + delimiter_len,
            payload: 0..end - usize::from(stripped),
        })
    }

    /// `len` bytes hold no delimiter.
    #[inline]
    fn partial(&self, len: usize) -> Result<Decoded, FrameError> {
        if len >= self.frame_bytes_max {
            return Err(self.too_long((self.frame_bytes_max as u64).saturating_add(1)));
        }
        let wire_bytes_min = (len + 1).max(self.delimiter.as_bytes().len());
        Ok(Decoded::Partial { wire_bytes_min })
    }

    #[inline]
    pub(super) fn encode(&self, payload: &[u8], out: &mut Vec<u8>) -> Result<(), FrameError> {
        // Looked at first: a payload too long is not copied for nothing.
        self.check_len(payload.len())?;
        let start = out.len();
        out.reserve(payload.len() + self.delimiter.as_bytes().len());
        out.extend_from_slice(payload);
        self.finish(out, start).inspect_err(|_| out.truncate(start))
    }

    #[inline]
    pub(super) fn finish(&self, out: &mut Vec<u8>, start: usize) -> Result<(), FrameError> {
        let Some(payload_len) = out.len().checked_sub(start) else {
            return Err(super::header_was_cut());
        };
        self.check_len(payload_len)?;
        out.extend_from_slice(self.delimiter.as_bytes());
        // Searched with the delimiter in place, as the receiver will: the end of the payload and
        // the begin of the delimiter may make up an earlier one ("a" and "aa").
        if self.delimiter.find(&out[start..]) != Some(payload_len) {
            return Err(FrameError::DelimiterInPayload);
        }
        if self.strips_cr && out[start..start + payload_len].ends_with(b"\r") {
            return Err(FrameError::DelimiterInPayload);
        }
        Ok(())
    }

    #[inline]
    fn check_len(&self, payload_len: usize) -> Result<(), FrameError> {
        let delimiter_len = self.delimiter.as_bytes().len();
        if payload_len > self.frame_bytes_max - delimiter_len {
            let claimed = (payload_len as u64).saturating_add(delimiter_len as u64);
            return Err(self.too_long(claimed));
        }
        Ok(())
    }

    #[cold]
    fn too_long(&self, claimed: u64) -> FrameError {
        FrameError::TooLong {
            claimed,
            max: self.frame_bytes_max,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codec(delimiter: &[u8]) -> DelimiterCodec {
        DelimiterCodec::new(delimiter.to_vec()).unwrap()
    }

    fn frame(wire_len: usize, end: usize) -> Result<Decoded, FrameError> {
        Ok(Decoded::Frame {
            wire_len,
            payload: 0..end,
        })
    }

    #[test]
    fn the_first_delimiter_ends_the_frame() {
        assert_eq!(codec(b"|").decode(b"ab|cd|", 0), frame(3, 2));
        assert_eq!(codec(b"||").decode(b"a|b||c||", 0), frame(5, 3));
        assert_eq!(codec(b"|").decode(b"|", 0), frame(1, 0));
        assert_eq!(
            codec(b"|").decode(b"ab", 0),
            Ok(Decoded::Partial { wire_bytes_min: 3 })
        );
        assert_eq!(
            codec(b"1234").decode(b"", 0),
            Ok(Decoded::Partial { wire_bytes_min: 4 })
        );
    }

    #[test]
    fn a_delimiter_cut_between_calls_is_found() {
        let codec = codec(b"<<>>");
        let wire = b"ab<<>>";
        for seen in 0..wire.len() {
            assert_eq!(codec.decode(wire, seen), frame(6, 2), "seen {seen}");
        }
    }

    #[test]
    fn what_was_seen_is_not_searched_again() {
        // The lie shows where the search begins: 3 bytes before `seen` for a delimiter of 4.
        let codec = codec(b"<<>>");
        assert_eq!(codec.decode(b"<<>>....<<>>", 3), frame(4, 0));
        assert_eq!(codec.decode(b"<<>>....<<>>", 4), frame(12, 8));
        assert_eq!(
            codec.decode(b"<<>>", 400),
            Ok(Decoded::Partial { wire_bytes_min: 5 })
        );
    }

    #[test]
    fn a_return_before_the_end_of_a_line_is_stripped() {
        let lines = DelimiterCodec::lines();
        assert_eq!(lines.decode(b"ab\n", 0), frame(3, 2));
        assert_eq!(lines.decode(b"ab\r\n", 0), frame(4, 2));
        assert_eq!(lines.decode(b"ab\r\n", 3), frame(4, 2));
        assert_eq!(lines.decode(b"\r\n", 0), frame(2, 0));
        assert_eq!(lines.decode(b"\n", 0), frame(1, 0));
        assert_eq!(lines.decode(b"a\rb\r\r\n", 0), frame(6, 4));
        assert_eq!(codec(b"\n").decode(b"ab\r\n", 0), frame(4, 3));
    }

    #[test]
    fn a_frame_over_the_limit_is_refused_however_it_comes() {
        let codec = codec(b"##").with_frame_bytes_max(5).unwrap();
        assert_eq!(codec.decode(b"abc##", 0), frame(5, 3));
        assert_eq!(
            codec.decode(b"abcd", 0),
            Ok(Decoded::Partial { wire_bytes_min: 5 })
        );
        let too_long = Err(FrameError::TooLong { claimed: 6, max: 5 });
        assert_eq!(codec.decode(b"abcd#", 0), too_long);
        assert_eq!(codec.decode(b"abcd##", 0), too_long);
        assert_eq!(codec.decode(b"abcdefghi", 4), too_long);
    }

    #[test]
    fn a_payload_that_would_not_arrive_is_refused() {
        let refused = |codec: DelimiterCodec, payload: &[u8]| {
            let mut out = b"kept".to_vec();
            let error = codec.encode(payload, &mut out).unwrap_err();
            assert_eq!(out, b"kept");
            assert_eq!(error, FrameError::DelimiterInPayload);
        };
        refused(codec(b"|"), b"a|b");
        refused(codec(b"|"), b"|");
        refused(codec(b"||"), b"a||b");
        // no delimiter inside, but one that begins inside
        refused(codec(b"||"), b"a|");
        refused(codec(b"abab"), b"xab");
        refused(DelimiterCodec::lines(), b"a\n");
        refused(DelimiterCodec::lines(), b"a\r");

        let mut out = b"kept".to_vec();
        codec(b"||").encode(b"|a", &mut out).unwrap();
        DelimiterCodec::lines().encode(b"\rx", &mut out).unwrap();
        codec(b"\n").encode(b"a\r", &mut out).unwrap();
        assert_eq!(out, b"kept|a||\rx\na\r\n");
    }

    #[test]
    fn the_limit_counts_the_delimiter_too() {
        let codec = codec(b"||").with_frame_bytes_max(5).unwrap();
        let mut out = Vec::new();
        assert_eq!(codec.encode(b"abc", &mut out), Ok(()));
        let too_long = Err(FrameError::TooLong { claimed: 6, max: 5 });
        assert_eq!(codec.encode(b"abcd", &mut out), too_long);
        assert_eq!(out, b"abc||");
        assert_eq!(
            codec.with_frame_bytes_max(1).unwrap_err().field(),
            "frame_bytes_max"
        );
    }

    #[test]
    fn no_delimiter_is_no_framing() {
        assert_eq!(
            DelimiterCodec::new(Vec::new()).unwrap_err().field(),
            "delimiter"
        );
        let error = DelimiterCodec::new(vec![b'x'; FRAME_BYTES_MAX_DEFAULT + 1]).unwrap_err();
        assert_eq!(error.field(), "frame_bytes_max");
    }

    #[test]
    fn debug_shows_the_delimiter() {
        let shown = format!("{:?}", codec(b"\r\n"));
        assert!(shown.contains(r#"delimiter: b"\r\n""#), "{shown}");
    }
}
