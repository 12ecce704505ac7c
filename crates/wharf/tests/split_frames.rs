//! A stream gives the same frames however it is cut, and no bytes make a framing misbehave.

use proptest::prelude::*;
use wharf::frame::proxy_v2::{self, Proxy};
use wharf::frame::{ByteOrder, Codec, Decoded, Frame, FrameError, Framing, FramingError};

/// What a stream came to.
#[derive(Debug, PartialEq, Eq, Default)]
struct Outcome {
    /// Wire bytes and payload of each frame.
    frames: Vec<(Vec<u8>, Vec<u8>)>,
    /// Bytes left without a frame, or why the stream was given up.
    end: Option<Result<Vec<u8>, FrameError>>,
}

impl Outcome {
    fn payloads(&self) -> Vec<&[u8]> {
        self.frames
            .iter()
            .map(|(_, payload)| payload.as_slice())
            .collect()
    }
}

/// Decodes, and holds the answer against everything that `Framing::decode` promises.
fn decode(framing: &Framing, bytes: &[u8], seen: usize) -> Result<Decoded, FrameError> {
    let decoded = framing.decode(bytes, seen)?;
    match &decoded {
        Decoded::Frame { wire_len, payload } => {
            assert!(
                (1..=bytes.len()).contains(wire_len),
                "{framing:?}: {decoded:?}"
            );
            assert!(
                *wire_len <= framing.frame_bytes_max(),
                "{framing:?}: {decoded:?}"
            );
            assert!(payload.start <= payload.end && payload.end <= *wire_len);
        }
        Decoded::Partial { wire_bytes_min } => {
            assert!(*wire_bytes_min > bytes.len(), "{framing:?}: {decoded:?}");
            assert!(
                *wire_bytes_min <= framing.frame_bytes_max(),
                "{framing:?}: {decoded:?}"
            );
        }
    }
    Ok(decoded)
}

/// Receives the pieces one by one, as a session does: a tail without a frame is kept, and only
/// what is new since then counts as not seen.
fn receive<'a>(framing: &Framing, pieces: impl Iterator<Item = &'a [u8]>) -> Outcome {
    let mut outcome = Outcome::default();
    let (mut tail, mut seen) = (Vec::new(), 0);
    for piece in pieces {
        tail.extend_from_slice(piece);
        loop {
            match decode(framing, &tail, seen) {
                Ok(Decoded::Frame { wire_len, payload }) => {
                    let frame = Frame::new(&tail[..wire_len], payload);
                    outcome.frames.push((frame.wire().to_vec(), frame.to_vec()));
                    tail.drain(..wire_len);
                    seen = 0;
                }
                Ok(Decoded::Partial { .. }) => {
                    seen = tail.len();
                    break;
                }
                Err(error) => {
                    outcome.end = Some(Err(error));
                    return outcome;
                }
            }
        }
    }
    outcome.end = Some(Ok(tail));
    outcome
}

/// The pieces of `bytes` when it is cut behind byte i for each set bit i of `cuts`.
fn pieces(bytes: &[u8], cuts: u32) -> impl Iterator<Item = &[u8]> {
    let mut from = 0;
    (0..bytes.len()).filter_map(move |i| {
        let cut = i + 1 == bytes.len() || (cuts >> i) & 1 == 1;
        cut.then(|| &bytes[std::mem::replace(&mut from, i + 1)..=i])
    })
}

/// Every way to cut `bytes` gives what the whole gives. Returns that.
fn check_every_cut(framing: &Framing, bytes: &[u8]) -> Outcome {
    let whole = receive(framing, std::iter::once(bytes));
    for cuts in 1..1u32 << bytes.len().saturating_sub(1) {
        let cut = receive(framing, pieces(bytes, cuts));
        assert_eq!(cut, whole, "{framing:?}: {bytes:?} cut at {cuts:#b}");
    }
    whole
}

/// Every string of `alphabet` with up to `len_max` bytes.
fn strings(alphabet: &[u8], len_max: u32) -> impl Iterator<Item = Vec<u8>> {
    (0..=len_max).flat_map(move |len| {
        (0..alphabet.len().pow(len)).map(move |mut number| {
            let mut string = Vec::new();
            for _ in 0..len {
                string.push(alphabet[number % alphabet.len()]);
                number /= alphabet.len();
            }
            string
        })
    })
}

/// A decimal length, a colon, the payload, a comma; <https://cr.yp.to/proto/netstrings.txt>.
/// At most 9 payload bytes, so that one digit is enough.
#[derive(Debug)]
struct Netstring;

impl Codec for Netstring {
    fn decode(&self, bytes: &[u8], _seen: usize) -> Result<Decoded, FrameError> {
        let bad = || Err(FrameError::Custom("no netstring".into()));
        let Some(digit) = bytes.first() else {
            return Ok(Decoded::Partial { wire_bytes_min: 3 });
        };
        if !digit.is_ascii_digit() {
            return bad();
        }
        let end = 2 + usize::from(digit - b'0');
        match (bytes.get(1), bytes.get(end)) {
            (Some(b':') | None, None) => Ok(Decoded::Partial {
                wire_bytes_min: end + 1,
            }),
            (Some(b':'), Some(b',')) => Ok(Decoded::Frame {
                wire_len: end + 1,
                payload: 2..end,
            }),
            _ => bad(),
        }
    }

    fn encode(&self, payload: &[u8], out: &mut Vec<u8>) -> Result<(), FrameError> {
        out.extend_from_slice(format!("{}:", payload.len()).as_bytes());
        out.extend_from_slice(payload);
        out.push(b',');
        Ok(())
    }

    fn frame_bytes_max(&self) -> usize {
        12
    }
}

fn rcon() -> Framing {
    let builder = Framing::length(4).header_bytes(12).includes_header(true);
    builder.frame_bytes_max(4100).build().expect("a framing")
}

/// Each kind that has frames, with bytes that mean something to it.
fn kinds() -> Vec<(Framing, &'static [u8])> {
    let build = |framing: Result<Framing, FramingError>| framing.expect("a framing");
    let limited = |framing: Framing, max| build(framing.with_frame_bytes_max(max));
    let headed = Framing::length(1)
        .prefix_offset(1)
        .header_bytes(3)
        .length_counts_from(2);
    vec![
        (
            build(Framing::length(1).frame_bytes_max(4).build()),
            &[0, 1, 3, 4],
        ),
        (
            build(Framing::length(1).includes_prefix(true).build()),
            &[0, 1, 2, 4],
        ),
        (limited(Framing::default(), 5), &[0, 2, 3, 6]),
        (
            build(Framing::length(2).byte_order(ByteOrder::Big).build()),
            &[0, 1, 2, 255],
        ),
        (build(headed.frame_bytes_max(6).build()), &[0, 1, 3, 5]),
        (limited(Framing::varint(), 4), &[0, 1, 3, 0x80]),
        (limited(build(Framing::delimiter("|")), 5), b"|ab"),
        (limited(build(Framing::delimiter("aab")), 6), b"ab"),
        (limited(build(Framing::delimiter("aa")), 5), b"ab"),
        (limited(Framing::lines(), 4), b"\r\nx"),
        (Framing::custom(Netstring), b"01:,"),
    ]
}

#[test]
fn every_cut_of_every_short_stream() {
    for (framing, alphabet) in kinds() {
        let len_max = [0, 0, 9, 7, 6][alphabet.len()];
        let (mut frames, mut errors) = (0, 0);
        for bytes in strings(alphabet, len_max) {
            let outcome = check_every_cut(&framing, &bytes);
            frames += outcome.frames.len();
            errors += usize::from(matches!(outcome.end, Some(Err(_))));
        }
        assert!(
            frames > 100,
            "{framing:?} found {frames} frames: a poor alphabet for it"
        );
        assert!(
            errors > 20,
            "{framing:?} found {errors} errors: a poor alphabet for it"
        );
    }
}

#[test]
fn every_cut_of_three_frames() {
    let payloads: [&[u8]; 3] = [b"p", b"", b"xyz"];
    for (framing, _) in kinds() {
        let (mut wire, mut sent) = (Vec::new(), Vec::new());
        for payload in payloads {
            // Some limits are too small for the last.
            if framing.encode(payload, &mut wire).is_ok() {
                sent.push(payload);
            }
        }
        assert!(sent.len() >= 2, "{framing:?}");
        let outcome = check_every_cut(&framing, &wire);
        assert_eq!(outcome.payloads(), sent, "{framing:?}");
        assert_eq!(outcome.end, Some(Ok(Vec::new())));
    }
}

#[test]
fn raw_bytes_are_the_same_after_every_cut() {
    let framing = Framing::raw().with_frame_bytes_max(3).expect("a framing");
    let bytes = b"0123456789";
    for cuts in 0..1 << 9 {
        let outcome = receive(&framing, pieces(bytes, cuts));
        assert_eq!(outcome.payloads().concat(), bytes);
        assert_eq!(outcome.end, Some(Ok(Vec::new())));
    }
}

#[test]
fn a_lying_length_allocates_nothing() {
    let large = Framing::length(4)
        .frame_bytes_max(1 << 30)
        .build()
        .expect("a framing");
    let cases: [(&Framing, &[u8]); 6] = [
        (&Framing::default(), &[0xff; 2]),
        (&Framing::varint(), &[0xff, 0xff, 0xff, 0xff, 0x0f]),
        (&Framing::varint(), &[0xff; 8]),
        (&rcon(), &[0xff; 12]),
        (&rcon(), &[0x01; 3]),
        (&large, &[0xf0, 0xff, 0xff, 0x3f, 1, 2, 3]),
    ];
    let mut refused = 0;
    let info = allocation_counter::measure(|| {
        for (framing, bytes) in &cases {
            refused += usize::from(framing.decode(bytes, 0).is_err());
        }
    });
    assert_eq!(info.count_total, 0, "{info:?}");
    assert_eq!(refused, 4, "the last two are partial");
}

#[test]
fn frames_allocate_nothing_but_their_room_in_the_buffer() {
    let several = Framing::delimiter("<end>").expect("a framing");
    for framing in [
        Framing::default(),
        rcon(),
        Framing::varint(),
        Framing::lines(),
        several,
    ] {
        let mut out = Vec::with_capacity(4096);
        let info = allocation_counter::measure(|| {
            for _ in 0..3 {
                framing.encode(&[7; 300], &mut out).expect("a frame");
                let begun = framing.begin(&mut out);
                out.extend_from_slice(&[7; 300]);
                framing.finish(&mut out, begun).expect("a frame");
            }
            let mut at = 0;
            while let Ok(Decoded::Frame { wire_len, .. }) = framing.decode(&out[at..], 0) {
                at += wire_len;
            }
            assert_eq!(at, out.len());
        });
        assert_eq!(info.count_total, 0, "{framing:?}: {info:?}");
    }
}

/// A length framing, with what is needed to write its frames without it.
#[derive(Clone, Debug)]
struct Described {
    prefix_bytes: usize,
    big: bool,
    prefix_offset: usize,
    header_bytes: usize,
    counts_from: usize,
}

impl Described {
    fn framing(&self, max: usize) -> Framing {
        let order = if self.big {
            ByteOrder::Big
        } else {
            ByteOrder::Little
        };
        Framing::length(self.prefix_bytes)
            .byte_order(order)
            .prefix_offset(self.prefix_offset)
            .header_bytes(self.header_bytes)
            .length_counts_from(self.counts_from)
            .frame_bytes_max(max)
            .build()
            .expect("a framing")
    }

    fn frame(&self, payload: &[u8]) -> Vec<u8> {
        let mut wire = vec![0; self.header_bytes];
        let value = self.header_bytes + payload.len() - self.counts_from;
        for i in 0..self.prefix_bytes {
            let shift = 8 * if self.big {
                self.prefix_bytes - 1 - i
            } else {
                i
            };
            let byte = (value as u64 >> shift) & 0xff;
            wire[self.prefix_offset + i] = u8::try_from(byte).expect("a byte");
        }
        wire.extend_from_slice(payload);
        wire
    }
}

fn described() -> impl Strategy<Value = Described> {
    let prefix = prop::sample::select(vec![1usize, 2, 4, 8]);
    (prefix, any::<bool>(), 0..6usize, 0..6usize, 0..=20usize).prop_map(
        |(prefix_bytes, big, prefix_offset, rest, counts_from)| {
            let header_bytes = prefix_offset + prefix_bytes + rest;
            let counts_from = counts_from.min(header_bytes);
            Described {
                prefix_bytes,
                big,
                prefix_offset,
                header_bytes,
                counts_from,
            }
        },
    )
}

/// Any kind that has frames.
fn any_framing() -> impl Strategy<Value = Framing> {
    let max = prop_oneof![20..100usize, 100..70_000usize];
    let built_in = prop_oneof![
        described().prop_map(|described| described.framing(1 << 16)),
        Just(Framing::varint()),
        Just(Framing::lines()),
        prop::collection::vec(0..4u8, 1..4)
            .prop_map(|delimiter| Framing::delimiter(delimiter).expect("a framing")),
    ];
    let limited = (built_in, max)
        .prop_map(|(framing, max)| framing.with_frame_bytes_max(max).expect("a framing"));
    prop_oneof![9 => limited, 1 => Just(Framing::custom(Netstring))]
}

/// Bytes that are small numbers for the most part: lengths that may be right.
fn garbage() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![8 => 0..4u8, 1 => Just(0x80), 1 => Just(b'\n'), 2 => any::<u8>()];
    prop::collection::vec(byte, 0..200)
}

fn cut_at_random<'a>(bytes: &'a [u8], lens: &'a [usize]) -> impl Iterator<Item = &'a [u8]> {
    let mut rest = bytes;
    lens.iter().cycle().map_while(move |len| {
        let (piece, after) = rest.split_at((*len).min(rest.len()));
        rest = after;
        (!piece.is_empty()).then_some(piece)
    })
}

proptest! {
    #[test]
    fn length_frames_are_what_their_description_says(
        described in described(),
        payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..100), 0..8),
        lens in prop::collection::vec(1..40usize, 1..10),
    ) {
        let framing = described.framing(1 << 16);
        let (mut by_hand, mut encoded) = (Vec::new(), Vec::new());
        for payload in &payloads {
            by_hand.extend(described.frame(payload));
            framing.encode(payload, &mut encoded).expect("100 bytes fit any prefix");
        }
        prop_assert_eq!(&encoded, &by_hand);
        let outcome = receive(&framing, cut_at_random(&by_hand, &lens));
        prop_assert_eq!(outcome.payloads(), payloads);
        prop_assert_eq!(outcome.end, Some(Ok(Vec::new())));
    }

    #[test]
    fn what_was_sent_arrives(
        framing in any_framing(),
        payloads in prop::collection::vec(garbage(), 0..8),
        lens in prop::collection::vec(1..300usize, 1..10),
    ) {
        let (mut wire, mut sent) = (Vec::new(), Vec::new());
        for payload in &payloads {
            let mut finished = wire.clone();
            let begun = framing.begin(&mut finished);
            finished.extend_from_slice(payload);
            let result = framing.finish(&mut finished, begun);
            let before = wire.clone();
            prop_assert_eq!(framing.encode(payload, &mut wire), result.clone());
            prop_assert_eq!(&finished, &wire);
            match result {
                Ok(()) => sent.push(payload.as_slice()),
                Err(_) => prop_assert_eq!(&wire, &before),
            }
        }
        let outcome = receive(&framing, cut_at_random(&wire, &lens));
        prop_assert_eq!(outcome.payloads(), sent);
        prop_assert_eq!(outcome.end, Some(Ok(Vec::new())));
    }

    #[test]
    fn garbage_breaks_no_promise_and_no_cut_changes_it(
        framing in any_framing(),
        bytes in garbage(),
        lens in prop::collection::vec(1..20usize, 1..10),
    ) {
        let whole = receive(&framing, std::iter::once(bytes.as_slice()));
        prop_assert_eq!(receive(&framing, cut_at_random(&bytes, &lens)), whole);
    }

    #[test]
    fn what_was_seen_never_changes_the_answer(framing in any_framing(), bytes in garbage()) {
        let answer = decode(&framing, &bytes, 0);
        for seen in 0..=bytes.len() {
            // Seen are bytes that were looked at without finding a frame or an error.
            if matches!(decode(&framing, &bytes[..seen], 0), Ok(Decoded::Partial { .. })) {
                prop_assert_eq!(&decode(&framing, &bytes, seen), &answer);
            }
        }
        // A wrong number may miss a frame, but breaks nothing.
        for seen in [1, bytes.len() + 1, usize::MAX] {
            let _ = decode(&framing, &bytes, seen);
        }
    }

    #[test]
    fn proxy_headers_of_any_bytes_keep_their_bounds(
        signed in prop::bool::weighted(0.9),
        version_command in prop_oneof![Just(0x20u8), Just(0x21), any::<u8>()],
        family in prop_oneof![Just(0x11u8), Just(0x21), Just(0x31), any::<u8>()],
        block_len in prop_oneof![0..300u16, any::<u16>()],
        rest in prop::collection::vec(any::<u8>(), 0..400),
    ) {
        let mut bytes = if signed { proxy_v2::SIGNATURE.to_vec() } else { Vec::new() };
        bytes.extend([version_command, family]);
        bytes.extend(block_len.to_be_bytes());
        bytes.extend(rest);
        let whole = proxy_v2::parse(&bytes);
        for cut in 0..=bytes.len() {
            match proxy_v2::parse(&bytes[..cut]) {
                Ok(Proxy::Partial { needed }) => {
                    prop_assert!(needed > cut && needed <= proxy_v2::HEADER_BYTES_MAX);
                }
                Ok(header @ Proxy::Header { len, .. }) => {
                    prop_assert!(len <= cut && len <= proxy_v2::HEADER_BYTES_MAX);
                    prop_assert_eq!(Ok(header), whole.clone());
                }
                Err(error) => prop_assert_eq!(Err(error), whole.clone()),
            }
        }
    }
}
