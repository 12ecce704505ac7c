//! Tests of the parser, run by `cargo test --test examples`: examples have no tests of their own.

use proptest::prelude::*;
use wharf::Frame;
use wharf::frame::{Decoded, Framing};

use crate::parser::{Args, COMMAND_BYTES_MAX, Complaint, Resp, number};

/// A command's arguments, or what was said of bad input.
type Command = Result<Vec<Vec<u8>>, Complaint>;

/// Receives pieces as a session does; returns the commands and what is left.
fn receive<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Command>, Vec<u8>) {
    let framing = Framing::custom(Resp);
    let (mut commands, mut tail, mut seen) = (Vec::new(), Vec::new(), 0);
    for piece in pieces {
        tail.extend_from_slice(piece);
        while !tail.is_empty() {
            let decoded = framing.decode(&tail, seen).unwrap();
            assert_eq!(
                decoded,
                framing.decode(&tail, 0).unwrap(),
                "seen {seen} of {tail:?}"
            );
            let Decoded::Frame { wire_len, payload } = decoded else {
                seen = tail.len();
                break;
            };
            let frame = Frame::new(&tail[..wire_len], payload);
            let command = Args::of(&frame).map(|args| {
                let len = args.len();
                let args: Vec<_> = args.map(|arg| arg.into_owned()).collect();
                assert_eq!(args.len(), len);
                args
            });
            commands.push(command);
            if matches!(commands.last(), Some(Err(_))) {
                return (commands, Vec::new());
            }
            tail.drain(..wire_len);
            seen = 0;
        }
    }
    (commands, tail)
}

fn one(wire: &[u8]) -> Command {
    let (mut commands, tail) = receive([wire]);
    let begin = wire[..wire.len().min(80)].escape_ascii().to_string();
    assert_eq!((commands.len(), tail.len()), (1, 0), "{begin}");
    commands.remove(0)
}

fn args(args: &[&str]) -> Command {
    Ok(args.iter().map(|arg| arg.as_bytes().to_vec()).collect())
}

#[test]
fn arrays_and_lines_become_arguments() {
    assert_eq!(one(b"*2\r\n$3\r\nGET\r\n$0\r\n\r\n"), args(&["GET", ""]));
    assert_eq!(
        one(b"*1\r\n$9\r\n*1\r\n$1\r\nx\r\n"),
        args(&["*1\r\n$1\r\nx"])
    );
    for empty in ["*0\r\n", "*-1\r\n", "\r\n", "\n", "  \r\n"] {
        assert_eq!(one(empty.as_bytes()), args(&[]), "{empty:?}");
    }
    for (line, words) in [
        ("GET key\r\n", &["GET", "key"][..]),
        ("  GET\t key \n", &["GET", "key"]),
        (r#"SET "a b" '' "#, &["SET", "a b", ""]),
        (r#"ECHO "\x41\n\"\\" '\n\''"#, &["ECHO", "A\n\"\\", "\\n'"]),
        (r#"ECHO a"b c""#, &["ECHO", "ab c"]),
    ] {
        assert_eq!(
            one(format!("{}\n", line.trim_end_matches('\n')).as_bytes()),
            args(words)
        );
    }
}

#[test]
fn bad_input_is_named() {
    for (wire, why) in [
        ("*\r\n", Complaint::ArgCount),
        ("*+1\r\n", Complaint::ArgCount),
        ("*99999999999999999999\r\n", Complaint::ArgCount),
        ("*1\r\n\r\n", Complaint::NotABulk(b'\r')),
        ("*1\r\n\n", Complaint::NotABulk(b'\n')),
        ("*1\r\n$\n", Complaint::BulkLen),
        ("*1\r\n$01\r\n", Complaint::BulkLen),
        ("*1\r\n$18446744073709551615\r\n", Complaint::BulkLen),
        ("*1\r\n$3\r\nabcd\r\n", Complaint::BulkEnd),
        ("*1\r\n$3\r\nabc\n\n", Complaint::BulkEnd),
        ("*1\r\n$3\r\nabc\rd\n", Complaint::BulkEnd),
        ("\"a\"b\r\n", Complaint::Quotes),
        ("'a\r\n", Complaint::Quotes),
        ("\"\\\r\n", Complaint::Quotes),
    ] {
        assert_eq!(one(wire.as_bytes()), Err(why), "{wire:?}");
    }
}

#[test]
fn a_command_without_an_end_is_given_up_at_the_limit() {
    let framing = Framing::custom(Resp);
    let mut wire = b"*1\r\n$9".to_vec();
    wire.resize(COMMAND_BYTES_MAX - 1, b'9');
    let partial = framing.decode(&wire, 0).unwrap();
    assert!(matches!(partial, Decoded::Partial { .. }), "{partial:?}");
    wire.extend_from_slice(b"99");
    for seen in [0, wire.len() - 2] {
        let decoded = framing.decode(&wire, seen).unwrap();
        let Decoded::Frame { wire_len, payload } = decoded else {
            panic!("{decoded:?}")
        };
        assert_eq!((wire_len, &payload), (COMMAND_BYTES_MAX, &(0..0)));
        let why = Args::of(&Frame::new(&wire[..wire_len], payload)).err();
        assert_eq!(why, Some(Complaint::CommandLen));
    }
}

#[test]
fn the_largest_value_fits_and_its_reply_too() {
    let head = format!(
        "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${}\r\n",
        COMMAND_BYTES_MAX - 32
    );
    let mut wire = head.into_bytes();
    wire.resize(COMMAND_BYTES_MAX - 2, b'v');
    wire.extend_from_slice(b"\r\n");
    assert_eq!(wire.len(), COMMAND_BYTES_MAX);
    let value = one(&wire).unwrap().remove(2);
    let reply = format!(
        "${}\r\n{}\r\n",
        value.len(),
        String::from_utf8(value).unwrap()
    );
    assert!(
        Framing::custom(Resp)
            .encode(reply.as_bytes(), &mut Vec::new())
            .is_ok()
    );
}

#[test]
fn what_was_seen_is_not_looked_at_again() {
    // The lie shows it: a whole command lies in what is said to be seen.
    let framing = Framing::custom(Resp);
    for wire in [&b"*1\r\n$4\r\nPING\r\nxxxx"[..], b"PING\r\nxxxx"] {
        let told = framing.decode(wire, wire.len() - 4).unwrap();
        assert_eq!(
            told,
            Decoded::Partial {
                wire_bytes_min: wire.len() + 1
            }
        );
    }
}

#[test]
fn every_cut_gives_the_same_commands() {
    let wire = b"*2\r\n$1\r\na\r\n$2\r\n\r\n\r\nP \"x\"\n*1\r\n$x\r\n";
    let whole = receive([&wire[..]]);
    assert_eq!(whole.0.len(), 3);
    for first in 0..wire.len() {
        for second in first..wire.len() {
            let cut = [&wire[..first], &wire[first..second], &wire[second..]];
            assert_eq!(receive(cut), whole, "cut at {first} and {second}");
        }
    }
}

#[test]
fn numbers_are_written_in_one_way() {
    for (text, n) in [
        ("0", 0),
        ("-1", -1),
        ("10", 10),
        ("9223372036854775807", i64::MAX),
    ] {
        assert_eq!(number(text.as_bytes()), Some(n));
    }
    for text in [
        "",
        "-",
        "-0",
        "00",
        "+1",
        " 1",
        "1 ",
        "1e3",
        "9223372036854775808",
        "é",
    ] {
        assert_eq!(number(text.as_bytes()), None, "{text:?}");
    }
}

proptest! {
    /// Whatever comes, in whatever pieces: no panic, and the same commands.
    #[test]
    fn cuts_change_nothing(
        parts in prop::collection::vec(
            prop_oneof![
                Just("*1\r\n"), Just("*2\r\n"), Just("$1\r\n"), Just("$3\r\n"), Just("a\r\n"),
                Just("abc\r\n"), Just("\n"), Just("\r"), Just("\""), Just("*"), Just("$"),
                Just("-1"),
            ],
            0..24,
        ),
        cuts in prop::collection::vec(0usize..80, 0..6),
    ) {
        let wire = parts.concat().into_bytes();
        let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(wire.len())).collect();
        cuts.sort_unstable();
        cuts.push(wire.len());
        let mut from = 0;
        let pieces = cuts.iter().map(|&to| &wire[std::mem::replace(&mut from, to)..to]);
        prop_assert_eq!(receive(pieces), receive([&wire[..]]));
    }
}
