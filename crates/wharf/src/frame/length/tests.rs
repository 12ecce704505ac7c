//! Each way of counting against bytes written by hand, and each refusal.

use super::*;

fn wire_of(framing: &Framing, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    framing.encode(payload, &mut out).unwrap();
    out
}

fn refusal(builder: LengthFraming) -> (&'static str, String) {
    let error = builder.build().unwrap_err();
    (error.field(), error.value().to_owned())
}

/// Encodes to `wire`, and decodes it and every begin of it.
fn check(builder: LengthFraming, payload: &[u8], wire: &[u8]) {
    let header = wire.len() - payload.len();
    let framing = builder.build().unwrap();
    assert_eq!(wire_of(&framing, payload), wire, "{framing:?}");
    let whole = Decoded::Frame {
        wire_len: wire.len(),
        payload: header..wire.len(),
    };
    assert_eq!(framing.decode(wire, 0), Ok(whole.clone()));
    let more = [wire, b"next"].concat();
    assert_eq!(framing.decode(&more, 0), Ok(whole));
    for cut in 0..wire.len() {
        let Ok(Decoded::Partial { wire_bytes_min }) = framing.decode(&wire[..cut], 0) else {
            panic!("{cut} bytes of {wire:?} are no frame")
        };
        assert!(wire_bytes_min > cut && wire_bytes_min <= wire.len());
        if cut >= header {
            assert_eq!(wire_bytes_min, wire.len());
        }
    }
}

#[test]
fn every_width_and_order() {
    use ByteOrder::{Big, Little};
    let cases: [(usize, ByteOrder, &[u8]); 7] = [
        (1, Little, b"\x03abc"),
        (2, Little, b"\x03\0abc"),
        (2, Big, b"\0\x03abc"),
        (4, Little, b"\x03\0\0\0abc"),
        (4, Big, b"\0\0\0\x03abc"),
        (8, Little, b"\x03\0\0\0\0\0\0\0abc"),
        (8, Big, b"\0\0\0\0\0\0\0\x03abc"),
    ];
    for (bytes, order, wire) in cases {
        check(Framing::length(bytes).byte_order(order), b"abc", wire);
    }
    check(Framing::length(1).byte_order(Big), b"", b"\0");
}

#[test]
fn what_the_length_may_count() {
    let plain = || Framing::length(2);
    check(plain(), b"ab", b"\x02\0ab");
    check(plain().includes_prefix(true), b"ab", b"\x04\0ab");
    check(plain().includes_header(true), b"ab", b"\x02\0ab");
    let headed = || Framing::length(2).prefix_offset(1).header_bytes(6);
    check(headed(), b"ab", b"\0\x02\0\0\0\0ab");
    check(headed().includes_prefix(true), b"ab", b"\0\x04\0\0\0\0ab");
    check(headed().includes_header(true), b"ab", b"\0\x06\0\0\0\0ab");
    check(
        headed().includes_header(true).includes_prefix(true),
        b"ab",
        b"\0\x08\0\0\0\0ab",
    );
    check(headed().length_counts_from(0), b"ab", b"\0\x08\0\0\0\0ab");
    check(headed().length_counts_from(3), b"ab", b"\0\x05\0\0\0\0ab");
    check(headed().length_counts_from(6), b"ab", b"\0\x02\0\0\0\0ab");
    // the header ends with the prefix unless told otherwise
    check(plain().prefix_offset(2), b"ab", b"\0\0\x02\0ab");
}

#[test]
fn a_source_rcon_packet() {
    // int32 size (does not count itself), int32 id, int32 type, body
    let rcon = Framing::length(4)
        .header_bytes(12)
        .includes_header(true)
        .frame_bytes_max(4096 + 4);
    let framing = rcon.build().unwrap();
    let wire = b"\x0e\0\0\0\x01\0\0\0\x03\0\0\0help\0\0";
    assert_eq!(
        framing.decode(wire, 0),
        Ok(Decoded::Frame {
            wire_len: 18,
            payload: 12..18
        })
    );
    // a negative size is a number too long
    let refused = framing.decode(b"\xff\xff\xff\xff", 0);
    assert_eq!(
        refused,
        Err(FrameError::TooLong {
            claimed: (1 << 32) + 3,
            max: 4100
        })
    );
    assert_eq!(
        framing.decode(b"\x07\0\0\0", 0),
        Err(FrameError::TooShort { claimed: 7, min: 8 })
    );
}

#[test]
fn both_limits_hold_to_the_byte() {
    let framing = Framing::length(2)
        .includes_prefix(true)
        .frame_bytes_max(300)
        .build()
        .unwrap();
    let decode = |value: u16| framing.decode(&value.to_le_bytes(), 0);
    assert_eq!(decode(0), Err(FrameError::TooShort { claimed: 0, min: 2 }));
    assert_eq!(decode(1), Err(FrameError::TooShort { claimed: 1, min: 2 }));
    assert_eq!(
        decode(2),
        Ok(Decoded::Frame {
            wire_len: 2,
            payload: 2..2
        })
    );
    assert_eq!(decode(3), Ok(Decoded::Partial { wire_bytes_min: 3 }));
    assert_eq!(
        decode(300),
        Ok(Decoded::Partial {
            wire_bytes_min: 300
        })
    );
    assert_eq!(
        decode(301),
        Err(FrameError::TooLong {
            claimed: 301,
            max: 300
        })
    );
    assert_eq!(
        decode(u16::MAX),
        Err(FrameError::TooLong {
            claimed: 65535,
            max: 300
        })
    );

    let mut out = b"kept".to_vec();
    assert_eq!(framing.encode(&[7; 298], &mut out), Ok(()));
    assert_eq!(out.len(), 304);
    let error = FrameError::TooLong {
        claimed: 301,
        max: 300,
    };
    assert_eq!(framing.encode(&[7; 299], &mut out), Err(error.clone()));
    assert_eq!(out.len(), 304);
    let begun = framing.begin(&mut out);
    out.extend([7; 299]);
    assert_eq!(framing.finish(&mut out, begun), Err(error));
    assert_eq!(out.len(), 304);
}

#[test]
fn a_claim_of_everything_does_not_overflow() {
    for base in [0, 8] {
        let builder = Framing::length(8)
            .length_counts_from(base)
            .frame_bytes_max(usize::MAX);
        let framing = builder.build().unwrap();
        let decoded = framing.decode(&[0xff; 16], 0);
        let claimed = u64::MAX;
        if base == 0 && usize::BITS == 64 {
            assert_eq!(
                decoded,
                Ok(Decoded::Partial {
                    wire_bytes_min: usize::MAX
                })
            );
        } else {
            assert_eq!(
                decoded,
                Err(FrameError::TooLong {
                    claimed,
                    max: usize::MAX
                })
            );
        }
    }
}

#[test]
fn the_limit_is_at_most_what_the_prefix_can_say() {
    let max = |builder: LengthFraming| builder.build().unwrap().frame_bytes_max();
    assert_eq!(max(Framing::length(1)), 256);
    assert_eq!(max(Framing::length(1).includes_prefix(true)), 255);
    assert_eq!(max(Framing::length(2).includes_prefix(true)), 65_535);
    assert_eq!(max(Framing::length(2).frame_bytes_max(1 << 20)), 65_537);
    assert_eq!(max(Framing::length(4)), 65_536);
    assert_eq!(max(Framing::length(4).frame_bytes_max(1 << 20)), 1 << 20);
    assert_eq!(max(Framing::length(1).header_bytes(100)), 355);
}

#[test]
fn misuse_is_named() {
    for bytes in [0, 3, 5, 16] {
        assert_eq!(
            refusal(Framing::length(bytes)),
            ("prefix_bytes", bytes.to_string())
        );
    }
    let outside = Framing::length(4).prefix_offset(2).header_bytes(5);
    assert_eq!(refusal(outside), ("header_bytes", "5".into()));
    let overflow = Framing::length(4).prefix_offset(usize::MAX);
    assert_eq!(refusal(overflow), ("prefix_offset", usize::MAX.to_string()));
    let small = Framing::length(4).header_bytes(10).frame_bytes_max(9);
    assert_eq!(refusal(small), ("frame_bytes_max", "9".into()));
    let from = Framing::length(2).length_counts_from(3);
    assert_eq!(refusal(from), ("length_counts_from", "3".into()));
    let twice = Framing::length(2)
        .length_counts_from(0)
        .includes_prefix(true);
    assert_eq!(refusal(twice), ("length_counts_from", "0".into()));
    // one byte can't count a header of 300
    let narrow = Framing::length(1).header_bytes(300).length_counts_from(0);
    assert_eq!(refusal(narrow), ("header_bytes", "300".into()));
    assert!(
        Framing::length(4)
            .header_bytes(10)
            .frame_bytes_max(10)
            .build()
            .is_ok()
    );
}

#[test]
fn the_default_is_what_it_says() {
    let builder = Framing::length(2)
        .includes_prefix(true)
        .frame_bytes_max(16 * 1024);
    let Kind::Length(built) = builder.build().unwrap().kind else {
        panic!("a length")
    };
    let Kind::Length(default) = Framing::default().kind else {
        panic!("a length")
    };
    assert_eq!(built, default);
}

#[test]
fn an_encoder_that_cuts_the_header_is_refused() {
    let framing = Framing::length(4).build().unwrap();
    for left in [0, 4, 6] {
        let mut out = b"kept".to_vec();
        let begun = framing.begin(&mut out);
        out.truncate(left);
        assert!(matches!(
            framing.finish(&mut out, begun),
            Err(FrameError::Custom(_))
        ));
        assert_eq!(out, b"kept"[..left.min(4)]);
    }
}
