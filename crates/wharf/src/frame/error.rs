//! What can be wrong with bytes ([`FrameError`]) and with a framing's description
//! ([`FramingError`]).

use std::error::Error;
use std::fmt;

/// Why bytes are no frame, or why a payload can't become one.
///
/// On receive it means that the stream has lost its frame borders: nothing after it can be
/// trusted, so the session has to be closed. On send nothing was written and the session lives.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FrameError {
    /// The frame is, or says it will be, larger than the framing allows.
    TooLong {
        /// Bytes of the whole wire frame as far as known: from the length on the wire, from the
        /// payload to send, or, where no length is written (delimiters), the bytes it needs at
        /// least.
        claimed: u64,
        /// The framing's `frame_bytes_max`.
        max: usize,
    },
    /// The length on the wire counts header bytes, yet is smaller than what it counts of them.
    TooShort {
        /// The length as it stood on the wire.
        claimed: u64,
        /// The smallest length that a frame of this framing can have.
        min: usize,
    },
    /// A varint length of more than 5 bytes, or above `u32::MAX`.
    BadVarint,
    /// The payload to send contains the delimiter, so the receiver would cut it there.
    DelimiterInPayload,
    /// What a [`Codec`](super::Codec) of your own says, or how it broke its contract.
    Custom(String),
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { claimed, max } => write!(
                f,
                "frame of {claimed} bytes, header included, is over frame_bytes_max = {max}: \
                 raise frame_bytes_max on both sides, send smaller frames, or, if the number \
                 makes no sense, compare both sides' prefix size and byte order"
            ),
            Self::TooShort { claimed, min } => write!(
                f,
                "the frame's length prefix says {claimed}, but it counts header bytes and is at \
                 least {min}: compare includes_prefix and includes_header on both sides"
            ),
            Self::BadVarint => f.write_str(
                "the frame's varint length has more than 5 bytes or is above 4294967295: the peer \
                 must send an unsigned LEB128 number of 32 bits in front of each frame",
            ),
            Self::DelimiterInPayload => f.write_str(
                "the payload to send contains the delimiter, or ends so that the delimiter would \
                 be found too early: escape it, or use a length prefix",
            ),
            Self::Custom(text) => f.write_str(text),
        }
    }
}

impl Error for FrameError {}

/// A framing that can't work: which setting, its value, and what to set instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FramingError {
    field: &'static str,
    value: String,
    mend: String,
}

impl FramingError {
    #[cold]
    pub(super) fn new(field: &'static str, value: impl ToString, mend: impl Into<String>) -> Self {
        Self {
            field,
            value: value.to_string(),
            mend: mend.into(),
        }
    }

    /// The setting's name as in the builder and in a topology file, for instance
    /// `"prefix_offset"`.
    #[must_use]
    pub fn field(&self) -> &'static str {
        self.field
    }

    /// The refused value.
    #[must_use]
    pub fn value(&self) -> &str {
        &self.value
    }

    /// Why it is refused and what to write instead.
    #[must_use]
    pub fn mend(&self) -> &str {
        &self.mend
    }
}

impl fmt::Display for FramingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "framing: {} = {}: {}", self.field, self.value, self.mend)
    }
}

impl Error for FramingError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_stay_small() {
        // It travels in the result of every decode.
        assert!(size_of::<FrameError>() <= 24);
        assert!(size_of::<Result<super::super::Decoded, FrameError>>() <= 40);
    }

    #[test]
    fn a_framing_error_names_field_value_and_mend() {
        let error = FramingError::new("prefix_bytes", 3, "use 1, 2, 4 or 8");
        assert_eq!(
            error.to_string(),
            "framing: prefix_bytes = 3: use 1, 2, 4 or 8"
        );
        assert_eq!(
            (error.field(), error.value(), error.mend()),
            ("prefix_bytes", "3", "use 1, 2, 4 or 8")
        );
    }

    #[test]
    fn a_frame_error_says_both_numbers() {
        let text = FrameError::TooLong {
            claimed: 70_000,
            max: 65_536,
        }
        .to_string();
        assert!(
            text.contains("70000") && text.contains("frame_bytes_max = 65536"),
            "{text}"
        );
        let text = FrameError::TooShort { claimed: 1, min: 2 }.to_string();
        assert!(
            text.contains("says 1") && text.contains("least 2"),
            "{text}"
        );
    }
}
