//! Framings of all kinds: the same frames however the stream is cut, and the frames of a plain
//! reference.

#[path = "framing/plain.rs"]
mod plain;

use wharf::frame::{Codec, Decoded, FrameError, Framing};

use super::input::Input;
use plain::{Plain, Seen};

/// Streams up to so long are cut in every way, longer ones at every place once.
const ALL_CUTS_MAX: usize = 16;
/// So many frames of a stream are cut; each begins as if it were the first.
const CUT_FRAMES_MAX: usize = 3;

/// The first bytes choose a framing, the others are the stream.
pub fn framing(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    if input.below(16) == 0 {
        return hostile(input);
    }
    let Some((framing, plain)) = plain::some_framing(&mut input) else {
        return;
    };
    let stream = input.rest();
    let (mut at, mut frames) = (0, 0);
    while at < stream.len() {
        let rest = &stream[at..];
        let expected = plain.first(rest);
        frames += 1;
        if frames <= CUT_FRAMES_MAX {
            every_cut(&framing, rest, &expected);
        } else {
            holds(&framing, &framing.decode(rest, 0), rest.len(), &expected);
        }
        let Seen::Frame { wire_len, payload } = expected else {
            break;
        };
        if frames <= CUT_FRAMES_MAX {
            sends_what_it_receives(&framing, &plain, &rest[payload]);
        }
        at += wire_len;
    }
    // Not a payload that came, so perhaps one that can't be sent.
    sends_what_it_receives(&framing, &plain, stream);
}

/// Gives more and more of `rest`, as pieces of a connection would, with each number of bytes seen
/// before that an earlier look may have left.
fn every_cut(framing: &Framing, rest: &[u8], expected: &Seen) {
    // The first length at which it is decided: only what was looked at before is ever "seen".
    let mut decided = None;
    for len in 0..=rest.len() {
        let given = &rest[..len];
        let answer = framing.decode(given, 0);
        if holds(framing, &answer, len, expected) {
            assert_eq!(decided, None, "decided, and undecided again at {len}");
        } else {
            decided.get_or_insert(len);
        }
        let seen_max = decided.unwrap_or(len).min(len);
        let from = if len <= ALL_CUTS_MAX {
            0
        } else {
            seen_max.saturating_sub(1)
        };
        for seen in from..seen_max {
            assert_eq!(framing.decode(given, seen), answer, "{seen} of {len} seen");
        }
        if decided.is_some() && len > ALL_CUTS_MAX {
            break;
        }
    }
    let whole = framing.decode(rest, 0);
    let partial = holds(framing, &whole, rest.len(), expected);
    assert_eq!(partial, matches!(expected, Seen::Partial), "what has come");
}

/// Holds one answer against what the whole stream says; true if it was `Partial`.
fn holds(
    framing: &Framing,
    answer: &Result<Decoded, FrameError>,
    len: usize,
    expected: &Seen,
) -> bool {
    let max = framing.frame_bytes_max();
    match (answer, expected) {
        (Ok(Decoded::Partial { wire_bytes_min }), _) => {
            let need = *wire_bytes_min;
            assert!(len < need && need <= max, "{len} given, {need} needed");
            if let Seen::Frame { wire_len, .. } = expected {
                assert!(need <= *wire_len, "waits for {need} of {wire_len}");
            }
            return true;
        }
        (Ok(Decoded::Frame { wire_len, payload }), Seen::Raw) => {
            assert_eq!(
                (*wire_len, payload.clone()),
                (len.min(max), 0..len.min(max))
            );
        }
        (Ok(Decoded::Frame { wire_len, payload }), expected) => {
            let (wire_len, payload) = (*wire_len, payload.clone());
            assert_eq!(&Seen::Frame { wire_len, payload }, expected);
            assert!(1 <= wire_len && wire_len <= len.min(max));
        }
        (Err(error), Seen::Error(expected)) => assert_eq!(error, expected),
        (Err(error), expected) => panic!("{error:?}, and it is {expected:?}"),
    }
    false
}

/// What is sent arrives as it was; what can't be sent leaves nothing.
fn sends_what_it_receives(framing: &Framing, plain: &Plain, payload: &[u8]) {
    let mut out = b"kept".to_vec();
    let encoded = framing.encode(payload, &mut out);
    let mut other = b"kept".to_vec();
    let begun = framing.begin(&mut other);
    other.extend_from_slice(payload);
    assert_eq!(framing.finish(&mut other, begun), encoded);
    assert_eq!(other, out, "finish is as encode");
    assert_eq!(encoded.is_ok(), plain.can_send(payload), "{encoded:?}");
    let wire = &out[4..];
    if encoded.is_err() {
        return assert_eq!(wire, b"");
    }
    if plain.is_raw() {
        return assert_eq!(wire, payload);
    }
    let Ok(Decoded::Frame {
        wire_len,
        payload: range,
    }) = framing.decode(wire, 0)
    else {
        panic!("what was sent is no frame");
    };
    assert_eq!((wire_len, &wire[range]), (wire.len(), payload));
}

/// A codec that answers whatever it likes.
#[derive(Debug)]
struct Hostile(Vec<u8>);

impl Codec for Hostile {
    fn decode(&self, bytes: &[u8], seen: usize) -> Result<Decoded, FrameError> {
        let answer = |nth: usize| self.0.get(nth).map_or(0, |byte| usize::from(*byte));
        Ok(match answer(0) % 3 {
            0 => Decoded::Partial {
                wire_bytes_min: (bytes.len() + answer(1)).saturating_sub(answer(2)),
            },
            1 => Decoded::Frame {
                wire_len: answer(1),
                payload: answer(2)..answer(3),
            },
            _ => return Err(FrameError::Custom(format!("{seen}"))),
        })
    }

    fn encode(&self, payload: &[u8], out: &mut Vec<u8>) -> Result<(), FrameError> {
        if self.0.len().is_multiple_of(2) {
            out.truncate(out.len().saturating_sub(self.0.len()));
        }
        out.extend_from_slice(payload);
        Ok(())
    }

    fn frame_bytes_max(&self) -> usize {
        self.0.len() * 4
    }
}

/// Whatever a codec answers: no panic, and no answer outside of what `Framing` promises.
fn hostile(mut input: Input<'_>) {
    let len = input.below(8);
    let answers = (0..len).map(|_| input.byte()).collect();
    let framing = Framing::custom(Hostile(answers));
    let stream = input.rest();
    let max = framing.frame_bytes_max();
    match framing.decode(stream, 0) {
        Ok(Decoded::Frame { wire_len, payload }) => {
            assert!((1..=stream.len().min(max)).contains(&wire_len));
            assert!(stream[..wire_len].get(payload).is_some());
        }
        Ok(Decoded::Partial { wire_bytes_min }) => {
            assert!(stream.len() < wire_bytes_min && wire_bytes_min <= max);
        }
        Err(_) => {}
    }
    let mut out = b"kept".to_vec();
    let cuts = len.is_multiple_of(2) && len > 0;
    if framing.encode(stream, &mut out).is_err() && !cuts {
        assert_eq!(out, b"kept");
    }
}
