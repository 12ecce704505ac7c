//! Packets of the RCON example.

#[path = "../../crates/wharf/examples/rcon/packet.rs"]
mod packet;

use packet::Packet;
use wharf::frame::Decoded;

/// A stream: the packets of its frames, whole and one byte after the other.
pub fn rcon(bytes: &[u8]) {
    let Ok(framing) = packet::framing() else {
        panic!("the framing can be");
    };
    let mut rest = bytes;
    loop {
        // The end of the first frame, byte by byte, is where it is with all of the stream.
        let whole = framing.decode(rest, 0);
        let shown = rest.len().min(64);
        let early = (0..=shown).map(|len| framing.decode(&rest[..len], 0));
        for answer in early.filter(|answer| !matches!(answer, Ok(Decoded::Partial { .. }))) {
            assert_eq!(answer, whole);
        }
        let Ok(Decoded::Frame { wire_len, payload }) = whole else {
            return;
        };
        one(&rest[payload]);
        rest = &rest[wire_len..];
    }
}

fn one(payload: &[u8]) {
    let packet = Packet::read(payload);
    let [id @ .., 0, 0] = payload else {
        return assert!(packet.is_none());
    };
    assert_eq!(packet.is_some(), id.len() >= 8);
    let Some(packet) = packet else { return };
    // What was read is written the same.
    let mut out = Vec::new();
    packet.write(&mut out);
    assert_eq!(out, payload);
    let same = Packet::read(&out).map(|packet| (packet.id, packet.kind, packet.body.to_vec()));
    assert_eq!(same, Some((packet.id, packet.kind, packet.body.to_vec())));
}
