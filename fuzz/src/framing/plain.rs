//! Framings, written as plainly as can be.

use std::ops::Range;

use wharf::frame::{ByteOrder, FrameError, Framing};

use super::super::input::Input;

/// What stands at the front of a stream.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Seen {
    Frame {
        wire_len: usize,
        payload: Range<usize>,
    },
    /// All that is there, whatever it is.
    Raw,
    Partial,
    Error(FrameError),
}

/// A framing as a few numbers.
#[derive(Debug)]
pub(super) struct Plain {
    kind: Kind,
    max: usize,
}

#[derive(Debug)]
enum Kind {
    Length {
        prefix: usize,
        big: bool,
        offset: usize,
        header: usize,
        /// The frame's byte that the length counts from.
        from: usize,
    },
    Varint,
    Delimiter(Vec<u8>),
    Lines,
    Raw,
}

/// A framing, and the same in plain. None if it can't be, and is refused as such.
pub(super) fn some_framing(input: &mut Input<'_>) -> Option<(Framing, Plain)> {
    let max = match input.below(4) {
        0 => input.below(8),
        1 => input.below(64),
        _ => 65_536,
    };
    let (framing, kind, min) = match input.below(6) {
        0 | 1 => return some_length(input, max),
        2 => (Framing::varint(), Kind::Varint, 1),
        3 => {
            let len = input.below(5);
            let delimiter: Vec<u8> = (0..len).map(|_| input.byte()).collect();
            let Ok(framing) = Framing::delimiter(delimiter.clone()) else {
                assert!(delimiter.is_empty());
                return None;
            };
            (framing, Kind::Delimiter(delimiter), len)
        }
        4 => (Framing::lines(), Kind::Lines, 1),
        _ => (Framing::raw(), Kind::Raw, 1),
    };
    let Ok(framing) = framing.with_frame_bytes_max(max) else {
        assert!(max < min);
        return None;
    };
    assert_eq!(framing.frame_bytes_max(), max);
    Some((framing, Plain { kind, max }))
}

fn some_length(input: &mut Input<'_>, max: usize) -> Option<(Framing, Plain)> {
    let prefix = [1, 2, 4, 8][input.below(4)];
    let big = input.flag();
    let offset = input.below(4);
    let header = offset + prefix + input.below(4);
    let order = if big {
        ByteOrder::Big
    } else {
        ByteOrder::Little
    };
    let builder = Framing::length(prefix)
        .byte_order(order)
        .prefix_offset(offset)
        .header_bytes(header)
        .frame_bytes_max(max);
    let (builder, from) = match input.below(5) {
        0 => (builder, header),
        1 => (builder.includes_prefix(true), header - prefix),
        2 => (builder.includes_header(true), prefix),
        3 => (builder.includes_prefix(true).includes_header(true), 0),
        _ => {
            let from = input.below(header + 1);
            (builder.length_counts_from(from), from)
        }
    };
    let Ok(framing) = builder.build() else {
        assert!(max < header);
        return None;
    };
    let expressible = (1u128 << (8 * prefix)) - 1 + from as u128;
    let max = max.min(usize::try_from(expressible).unwrap_or(usize::MAX));
    assert_eq!(framing.frame_bytes_max(), max);
    let kind = Kind::Length {
        prefix,
        big,
        offset,
        header,
        from,
    };
    Some((framing, Plain { kind, max }))
}

impl Plain {
    pub(super) fn is_raw(&self) -> bool {
        matches!(self.kind, Kind::Raw)
    }

    fn too_long(&self, claimed: u128) -> Seen {
        let claimed = u64::try_from(claimed).unwrap_or(u64::MAX);
        let max = self.max;
        Seen::Error(FrameError::TooLong { claimed, max })
    }

    /// A frame of so many bytes, if they have come.
    fn frame(&self, bytes: &[u8], header: usize, wire_len: u128) -> Seen {
        match usize::try_from(wire_len) {
            Ok(wire_len) if wire_len <= self.max => {
                let payload = header..wire_len;
                if wire_len <= bytes.len() {
                    Seen::Frame { wire_len, payload }
                } else {
                    Seen::Partial
                }
            }
            _ => self.too_long(wire_len),
        }
    }

    /// What stands at the front of `bytes`.
    pub(super) fn first(&self, bytes: &[u8]) -> Seen {
        match &self.kind {
            Kind::Length {
                prefix,
                big,
                offset,
                header,
                from,
            } => {
                let Some(prefix) = bytes.get(*offset..offset + prefix) else {
                    return Seen::Partial;
                };
                let mut value = 0u128;
                for nth in 0..prefix.len() {
                    let nth = if *big { nth } else { prefix.len() - 1 - nth };
                    value = value << 8 | u128::from(prefix[nth]);
                }
                let min = header - from;
                if value < min as u128 {
                    let claimed = u64::try_from(value).unwrap_or(u64::MAX);
                    return Seen::Error(FrameError::TooShort { claimed, min });
                }
                self.frame(bytes, *header, value + *from as u128)
            }
            Kind::Varint => self.varint(bytes),
            Kind::Delimiter(delimiter) => self.delimited(bytes, delimiter),
            Kind::Lines => match self.delimited(bytes, b"\n") {
                Seen::Frame { wire_len, payload } => {
                    let stripped = bytes[payload.clone()].ends_with(b"\r");
                    let payload = 0..payload.end - usize::from(stripped);
                    Seen::Frame { wire_len, payload }
                }
                other => other,
            },
            Kind::Raw if bytes.is_empty() => Seen::Partial,
            Kind::Raw => Seen::Raw,
        }
    }

    fn varint(&self, bytes: &[u8]) -> Seen {
        let mut value = 0u128;
        for nth in 0..5 {
            if nth == self.max {
                return self.too_long(self.max as u128 + 1);
            }
            let Some(byte) = bytes.get(nth) else {
                return Seen::Partial;
            };
            value += u128::from(byte % 128) << (7 * nth);
            if *byte < 128 {
                if value >> 32 != 0 {
                    break;
                }
                return self.frame(bytes, nth + 1, value + nth as u128 + 1);
            }
        }
        Seen::Error(FrameError::BadVarint)
    }

    fn delimited(&self, bytes: &[u8], delimiter: &[u8]) -> Seen {
        for end in 0..bytes.len().min(self.max) {
            if bytes[..=end].ends_with(delimiter) {
                let payload = 0..end + 1 - delimiter.len();
                let wire_len = end + 1;
                return Seen::Frame { wire_len, payload };
            }
        }
        if bytes.len() >= self.max {
            return self.too_long(self.max as u128 + 1);
        }
        Seen::Partial
    }

    /// Whether such a payload can be one frame.
    pub(super) fn can_send(&self, payload: &[u8]) -> bool {
        let len = payload.len();
        match &self.kind {
            Kind::Length { header, .. } => header + len <= self.max,
            Kind::Varint => {
                let header = (1..=5).find(|n| len < 1 << (7 * n)).unwrap_or(6);
                header + len <= self.max
            }
            Kind::Delimiter(delimiter) => {
                let whole = [payload, delimiter].concat();
                let found = self.delimited(&whole, delimiter);
                found
                    == Seen::Frame {
                        wire_len: whole.len(),
                        payload: 0..len,
                    }
            }
            Kind::Lines => {
                let whole = [payload, b"\n"].concat();
                let found = self.first(&whole);
                found
                    == Seen::Frame {
                        wire_len: whole.len(),
                        payload: 0..len,
                    }
            }
            Kind::Raw => true,
        }
    }
}
