//! What all kinds have in common.

use super::*;

fn kinds() -> Vec<Framing> {
    vec![
        Framing::default(),
        Framing::length(4)
            .header_bytes(12)
            .prefix_offset(2)
            .build()
            .unwrap(),
        Framing::varint(),
        Framing::delimiter("|").unwrap(),
        Framing::delimiter("\r\n").unwrap(),
        Framing::lines(),
        Framing::raw(),
    ]
}

#[test]
fn finish_makes_the_same_bytes_as_encode() {
    for framing in kinds() {
        for payload in [&b""[..], b"a", &[7; 200], &[7; 16_000]] {
            let mut encoded = b"kept".to_vec();
            framing.encode(payload, &mut encoded).unwrap();
            let mut finished = b"kept".to_vec();
            let begun = framing.begin(&mut finished);
            assert_eq!(begun.start(), 4);
            finished.extend_from_slice(payload);
            framing.finish(&mut finished, begun).unwrap();
            assert_eq!(finished, encoded, "{framing:?}");
        }
    }
}

#[test]
fn a_begun_frame_can_be_given_up() {
    for framing in kinds() {
        let mut out = b"kept".to_vec();
        let begun = framing.begin(&mut out);
        out.extend_from_slice(b"half");
        out.truncate(begun.start());
        assert_eq!(out, b"kept");
    }
}

#[test]
fn every_kind_has_a_limit_and_takes_another() {
    for framing in kinds() {
        assert!((16 * 1024..=64 * 1024).contains(&framing.frame_bytes_max()));
        let framing = framing.with_frame_bytes_max(100).unwrap();
        assert_eq!(framing.frame_bytes_max(), 100);
        let error = framing.clone().with_frame_bytes_max(0).unwrap_err();
        assert_eq!(error.field(), "frame_bytes_max", "{framing:?}");
        if !matches!(framing.kind, Kind::Raw(_)) {
            let mut out = b"kept".to_vec();
            let error = framing.encode(&[7; 200], &mut out).unwrap_err();
            assert!(matches!(
                error,
                FrameError::TooLong {
                    claimed: 200..,
                    max: 100
                }
            ));
            assert_eq!(out, b"kept");
        }
    }
}

#[test]
fn a_copy_is_small() {
    // A match and a few words: it stands in every session's network.
    assert!(size_of::<Framing>() <= 64, "{}", size_of::<Framing>());
}
