//! Frames with their length in front, as a number of 1, 2, 4 or 8 bytes.

use super::{Decoded, FRAME_BYTES_MAX_DEFAULT, FrameError, Framing, FramingError, Kind};

/// The order of the bytes of a number on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ByteOrder {
    /// Least significant byte first.
    #[default]
    Little,
    /// Most significant byte first: "network byte order".
    Big,
}

/// Describes frames that have a fixed header with their length in it.
/// [`Framing::length`] makes one, [`LengthFraming::build`] ends it.
///
/// ```text
/// | ... | prefix | ... | payload ............ |
/// |<-  header_bytes  ->|
/// |<--->| prefix_offset
/// ```
///
/// What the length counts is a choice of each protocol:
///
/// | the length counts | write | seen in |
/// |---|---|---|
/// | the payload | (nothing) | most protocols |
/// | the whole frame | `.includes_prefix(true)`, with a header `.includes_header(true)` | MongoDB |
/// | itself and the payload, not the byte before it | `.includes_prefix(true)` | PostgreSQL |
/// | the rest of the header and the payload, not itself | `.includes_header(true)` | Source RCON |
/// | anything else, from the frame's byte n on | `.length_counts_from(n)` | |
///
/// A signed length needs no setting: a negative one reads as a number that is too long.
///
/// ```
/// use wharf::frame::{ByteOrder, Framing};
/// # fn main() -> Result<(), wharf::frame::FramingError> {
/// // magic (2 bytes), length of all that follows it (2 bytes, big-endian), opcode (2 bytes)
/// let framing = Framing::length(2)
///     .byte_order(ByteOrder::Big)
///     .prefix_offset(2)
///     .header_bytes(6)
///     .length_counts_from(4)
///     .frame_bytes_max(4096)
///     .build()?;
/// assert_eq!(framing.frame_bytes_max(), 4096);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "a description: call build()"]
pub struct LengthFraming {
    prefix_bytes: usize,
    order: ByteOrder,
    prefix_offset: usize,
    header_bytes: Option<usize>,
    includes_prefix: Option<bool>,
    includes_header: Option<bool>,
    counts_from: Option<usize>,
    frame_bytes_max: usize,
}

impl LengthFraming {
    pub(super) fn new(prefix_bytes: usize) -> Self {
        Self {
            prefix_bytes,
            order: ByteOrder::Little,
            prefix_offset: 0,
            header_bytes: None,
            includes_prefix: None,
            includes_header: None,
            counts_from: None,
            frame_bytes_max: FRAME_BYTES_MAX_DEFAULT,
        }
    }

    /// The prefix's byte order; little-endian unless set.
    pub fn byte_order(mut self, order: ByteOrder) -> Self {
        self.order = order;
        self
    }

    /// Whether the length counts the bytes of the prefix itself; `false` unless set.
    pub fn includes_prefix(mut self, yes: bool) -> Self {
        self.includes_prefix = Some(yes);
        self
    }

    /// Whether the length counts the header's bytes other than the prefix; `false` unless set.
    pub fn includes_header(mut self, yes: bool) -> Self {
        self.includes_header = Some(yes);
        self
    }

    /// The length counts the frame's bytes from this one on: 0 is the whole frame,
    /// `header_bytes` the payload only. Replaces `includes_prefix` and `includes_header` for
    /// protocols that these two can't describe.
    pub fn length_counts_from(mut self, byte: usize) -> Self {
        self.counts_from = Some(byte);
        self
    }

    /// Bytes of the whole header, prefix included; up to the prefix's end unless set. What
    /// follows the header is the payload. The framing sends zeros in the bytes that are not the
    /// prefix; who needs other values there sends wire bytes made by himself.
    pub fn header_bytes(mut self, bytes: usize) -> Self {
        self.header_bytes = Some(bytes);
        self
    }

    /// Bytes of the header before the prefix; 0 unless set.
    pub fn prefix_offset(mut self, bytes: usize) -> Self {
        self.prefix_offset = bytes;
        self
    }

    /// The largest frame, in bytes on the wire, header included; 64 KiB unless set. What the
    /// prefix can't express is cut off silently: [`Framing::frame_bytes_max`] tells the result.
    pub fn frame_bytes_max(mut self, bytes: usize) -> Self {
        self.frame_bytes_max = bytes;
        self
    }

    /// Checks the description.
    ///
    /// # Errors
    ///
    /// [`FramingError`] names the first setting that can't be: a prefix that is not 1, 2, 4 or 8
    /// bytes, or not inside the header; a length that counts from outside the header, or is
    /// described twice; a limit, or a prefix, too small for even an empty frame.
    pub fn build(self) -> Result<Framing, FramingError> {
        let prefix = Prefix::new(self.prefix_bytes, self.order).ok_or_else(|| {
            FramingError::new(
                "prefix_bytes",
                self.prefix_bytes,
                "a length has 1, 2, 4 or 8 bytes",
            )
        })?;
        let prefix_end = self
            .prefix_offset
            .checked_add(self.prefix_bytes)
            .ok_or_else(|| {
                FramingError::new(
                    "prefix_offset",
                    self.prefix_offset,
                    "no header is that large",
                )
            })?;
        let header_bytes = self.header_bytes.unwrap_or(prefix_end);
        if header_bytes < prefix_end {
            return Err(FramingError::new(
                "header_bytes",
                header_bytes,
                format!(
                    "the prefix ends at byte {prefix_end} (prefix_offset {} + prefix_bytes {}), \
                     so the header has at least {prefix_end} bytes",
                    self.prefix_offset, self.prefix_bytes
                ),
            ));
        }
        let base = self.base(header_bytes)?;
        let codec = LengthCodec::new(prefix, self.prefix_offset, header_bytes, base);
        let codec = codec.with_frame_bytes_max(self.frame_bytes_max)?;
        Ok(Framing {
            kind: Kind::Length(codec),
        })
    }

    /// The frame's bytes that its length does not count.
    fn base(&self, header_bytes: usize) -> Result<usize, FramingError> {
        let Some(from) = self.counts_from else {
            let mut base = header_bytes;
            if self.includes_prefix == Some(true) {
                base -= self.prefix_bytes;
            }
            if self.includes_header == Some(true) {
                base -= header_bytes - self.prefix_bytes;
            }
            return Ok(base);
        };
        if self.includes_prefix.is_some() || self.includes_header.is_some() {
            let mend = "it replaces includes_prefix and includes_header: remove either";
            return Err(FramingError::new("length_counts_from", from, mend));
        }
        if from > header_bytes {
            let mend = format!("a length counts the payload at least: at most {header_bytes}");
            return Err(FramingError::new("length_counts_from", from, mend));
        }
        Ok(from)
    }
}

/// A length on the wire. Read and appended as 8 bytes at once, of which it keeps its own: without a
/// branch for its width.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Prefix {
    order: ByteOrder,
    bytes: u8,
    /// The bits of the 8 bytes that are not its own.
    others: u8,
}

impl Prefix {
    fn new(bytes: usize, order: ByteOrder) -> Option<Self> {
        let (bytes, others) = match bytes {
            1 => (1, 56),
            2 => (2, 48),
            4 => (4, 32),
            8 => (8, 0),
            _ => return None,
        };
        Some(Self {
            order,
            bytes,
            others,
        })
    }

    /// The largest number it can carry.
    fn value_max(self) -> u64 {
        u64::MAX >> self.others
    }

    /// The number at the front of `bytes`; `None` if they do not hold all of it.
    #[inline]
    fn read(self, bytes: &[u8]) -> Option<u64> {
        let Some(eight) = bytes.first_chunk() else {
            return self.read_last(bytes);
        };
        Some(match self.order {
            ByteOrder::Little => u64::from_le_bytes(*eight) << self.others >> self.others,
            ByteOrder::Big => u64::from_be_bytes(*eight) >> self.others,
        })
    }

    /// The same where fewer than 8 bytes are left.
    #[inline(never)]
    fn read_last(self, bytes: &[u8]) -> Option<u64> {
        let digit = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
        let own = bytes.get(..usize::from(self.bytes))?;
        Some(match self.order {
            ByteOrder::Little => own.iter().rev().fold(0, digit),
            ByteOrder::Big => own.iter().fold(0, digit),
        })
    }

    /// `value`, at most `value_max`, in the first bytes of 8.
    #[inline]
    fn eight(self, value: u64) -> [u8; 8] {
        match self.order {
            ByteOrder::Little => value.to_le_bytes(),
            ByteOrder::Big => (value << self.others).to_be_bytes(),
        }
    }

    /// Appends `value`, at most `value_max`, to `out`.
    #[inline]
    fn append(self, value: u64, out: &mut Vec<u8>) {
        let end = out.len() + usize::from(self.bytes);
        out.extend_from_slice(&self.eight(value));
        out.truncate(end);
    }

    /// Writes `value`, at most `value_max`, to the front of `bytes`, which are long enough.
    #[inline]
    fn write(self, value: u64, bytes: &mut [u8]) {
        let eight = self.eight(value);
        match self.bytes {
            1 => bytes[..1].copy_from_slice(&eight[..1]),
            2 => bytes[..2].copy_from_slice(&eight[..2]),
            4 => bytes[..4].copy_from_slice(&eight[..4]),
            _ => bytes[..8].copy_from_slice(&eight),
        }
    }
}

/// A checked [`LengthFraming`], with all that decode needs worked out beforehand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LengthCodec {
    prefix: Prefix,
    prefix_offset: usize,
    header_bytes: usize,
    /// There is nothing but the prefix in the header.
    is_bare: bool,
    /// Frame bytes that the length does not count: `wire_len = value + base`.
    base: u64,
    /// The length of an empty frame.
    value_min: u64,
    /// The longest frame's length minus `value_min`: both bounds are one comparison.
    value_span: u64,
    frame_bytes_max: usize,
}

impl LengthCodec {
    /// `u16` little-endian that counts itself, 16 KiB: see [`Framing::default`].
    pub(super) fn usual() -> Self {
        let prefix = Prefix {
            order: ByteOrder::Little,
            bytes: 2,
            others: 48,
        };
        Self {
            frame_bytes_max: super::FRAME_BYTES_MAX_USUAL,
            value_span: super::FRAME_BYTES_MAX_USUAL as u64 - 2,
            ..Self::new(prefix, 0, 2, 0)
        }
    }

    /// Room for an empty frame only; `with_frame_bytes_max` is to follow.
    fn new(prefix: Prefix, prefix_offset: usize, header_bytes: usize, base: usize) -> Self {
        Self {
            prefix,
            prefix_offset,
            header_bytes,
            is_bare: header_bytes == usize::from(prefix.bytes),
            base: base as u64,
            value_min: (header_bytes - base) as u64,
            value_span: 0,
            frame_bytes_max: header_bytes,
        }
    }

    pub(super) fn with_frame_bytes_max(mut self, max: usize) -> Result<Self, FramingError> {
        let header = self.header_bytes;
        if max < header {
            let mend = format!("the header alone has {header} bytes: allow more");
            return Err(FramingError::new("frame_bytes_max", max, mend));
        }
        let expressible = self.prefix.value_max().saturating_add(self.base);
        let max = usize::try_from(expressible).map_or(max, |expressible| max.min(expressible));
        if max < header {
            let mend = format!(
                "the length counts {} header bytes, more than its prefix can express: use a \
                 wider prefix",
                self.value_min
            );
            return Err(FramingError::new("header_bytes", header, mend));
        }
        self.value_span = (max - header) as u64;
        self.frame_bytes_max = max;
        Ok(self)
    }

    #[inline]
    pub(super) fn frame_bytes_max(&self) -> usize {
        self.frame_bytes_max
    }

    #[inline]
    pub(super) fn decode(&self, bytes: &[u8]) -> Result<Decoded, FrameError> {
        let read = bytes
            .get(self.prefix_offset..)
            .and_then(|tail| self.prefix.read(tail));
        let Some(value) = read else {
            return Ok(Decoded::Partial {
                wire_bytes_min: self.header_bytes,
            });
        };
        // Below value_min it wraps to a huge number, so one comparison holds both bounds.
        if value.wrapping_sub(self.value_min) > self.value_span {
            return Err(self.refuse(value));
        }
        // Not above frame_bytes_max, which is a usize: the conversion can't fail.
        let wire_len = usize::try_from(value + self.base).unwrap_or(usize::MAX);
        if bytes.len() < wire_len {
            return Ok(Decoded::Partial {
                wire_bytes_min: wire_len,
            });
        }
        Ok(Decoded::Frame {
            wire_len,
            payload: self.header_bytes..wire_len,
        })
    }

    #[cold]
    fn refuse(&self, value: u64) -> FrameError {
        if value < self.value_min {
            // value_min is at most header_bytes.
            let min = usize::try_from(self.value_min).unwrap_or(usize::MAX);
            return FrameError::TooShort {
                claimed: value,
                min,
            };
        }
        FrameError::TooLong {
            claimed: value.saturating_add(self.base),
            max: self.frame_bytes_max,
        }
    }

    #[inline]
    pub(super) fn encode(&self, payload: &[u8], out: &mut Vec<u8>) -> Result<(), FrameError> {
        // Looked at first: a payload too long is not copied for nothing.
        if payload.len() > self.frame_bytes_max - self.header_bytes {
            return Err(self.too_long(payload.len()));
        }
        let wire_len = self.header_bytes + payload.len();
        // With room for what the prefix writes and takes back.
        out.reserve(wire_len + 8);
        let value = wire_len as u64 - self.base;
        if self.is_bare {
            self.prefix.append(value, out);
        } else {
            self.append_header(value, out);
        }
        out.extend_from_slice(payload);
        Ok(())
    }

    // Apart, so that a bare prefix is small enough to be compiled into its callers.
    #[inline(never)]
    fn append_header(&self, value: u64, out: &mut Vec<u8>) {
        let start = out.len();
        self.begin(out);
        self.prefix
            .write(value, &mut out[start + self.prefix_offset..]);
    }

    #[inline]
    pub(super) fn begin(&self, out: &mut Vec<u8>) {
        out.resize(out.len() + self.header_bytes, 0);
    }

    #[inline]
    pub(super) fn finish(&self, out: &mut [u8], start: usize) -> Result<(), FrameError> {
        let wire_len = out.len().saturating_sub(start);
        if wire_len < self.header_bytes {
            return Err(super::header_was_cut());
        }
        if wire_len > self.frame_bytes_max {
            return Err(self.too_long(wire_len - self.header_bytes));
        }
        self.prefix.write(
            wire_len as u64 - self.base,
            &mut out[start + self.prefix_offset..],
        );
        Ok(())
    }

    #[cold]
    fn too_long(&self, payload_len: usize) -> FrameError {
        let claimed = (payload_len as u64).saturating_add(self.header_bytes as u64);
        FrameError::TooLong {
            claimed,
            max: self.frame_bytes_max,
        }
    }
}

#[cfg(test)]
mod tests;
