//! Commands of the RESP example.

#[path = "../../crates/wharf/examples/resp/parser.rs"]
mod parser;

use parser::{Args, COMMAND_BYTES_MAX, Complaint, Resp};
use wharf::Frame;
use wharf::frame::{Decoded, Framing};

/// A command's arguments, or what is wrong with it.
type Command = Result<Vec<Vec<u8>>, Complaint>;

/// A stream: the same commands however it is cut, and those of a plain reader.
pub fn resp(bytes: &[u8]) {
    let framing = Framing::custom(Resp);
    let mut rest = bytes;
    while !rest.is_empty() {
        let whole = framing.decode(rest, 0);
        let mut partial = true;
        for len in 0..=rest.len() {
            let given = &rest[..len];
            let answer = framing.decode(given, 0);
            if matches!(answer, Ok(Decoded::Partial { .. })) {
                assert!(partial, "decided, and undecided again at {len}");
            } else {
                assert_eq!(answer, whole, "at {len}");
            }
            // All that came before was looked at, or only some of it.
            let seen = [len.saturating_sub(1), len / 2];
            for seen in seen.into_iter().filter(|_| partial) {
                assert_eq!(framing.decode(given, seen), answer, "{seen} of {len} seen");
            }
            partial &= matches!(answer, Ok(Decoded::Partial { .. }));
            if !partial {
                break;
            }
        }
        let Ok(Decoded::Frame { wire_len, payload }) = whole else {
            return assert_eq!(whole.ok().map(|_| plain(rest)), Some(None));
        };
        let command = args(&Frame::new(&rest[..wire_len], payload));
        if let Some((len, expected)) = plain(rest) {
            assert_eq!((wire_len, &command), (len, &Ok(expected)));
        } else if rest[0] == b'*' {
            assert!(command.is_err(), "{command:?}");
        }
        if let Err(why) = command {
            // The session's last.
            return assert!(!why.to_string().is_empty());
        }
        rest = &rest[wire_len..];
    }
}

fn args(frame: &Frame<'_>) -> Command {
    let args = Args::of(frame)?;
    let len = args.len();
    let args: Vec<_> = args.map(std::borrow::Cow::into_owned).collect();
    assert_eq!(args.len(), len);
    Ok(args)
}

/// A whole good array of bulks or line without quotes at the front of `bytes`.
fn plain(bytes: &[u8]) -> Option<(usize, Vec<Vec<u8>>)> {
    if bytes[0] != b'*' {
        let end = bytes.iter().position(|byte| *byte == b'\n')?;
        let line = &bytes[..end];
        if line.contains(&b'"') || line.contains(&b'\'') {
            return None;
        }
        let words = line.split(u8::is_ascii_whitespace);
        let words = words.filter(|word| !word.is_empty()).map(<[u8]>::to_vec);
        let words: Vec<_> = words.collect();
        return (words.len() <= 1024).then_some((end + 1, words));
    }
    let mut at = 0;
    let count = header(bytes, &mut at, b'*')?;
    if count > 1024 {
        return None;
    }
    let mut args = Vec::new();
    for _ in 0..count {
        let len = usize::try_from(header(bytes, &mut at, b'$')?).ok()?;
        let end = at.checked_add(len)?;
        if bytes.get(end..end.checked_add(2)?)? != b"\r\n" || end + 2 > COMMAND_BYTES_MAX {
            return None;
        }
        args.push(bytes[at..end].to_vec());
        at = end + 2;
    }
    Some((at, args))
}

/// A mark and a number on a line.
fn header(bytes: &[u8], at: &mut usize, mark: u8) -> Option<i64> {
    let rest = &bytes[*at..];
    let end = rest.iter().position(|byte| *byte == b'\n')?;
    let line = rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]);
    *at += end + 1;
    let text = str::from_utf8(line.strip_prefix(&[mark])?).ok()?;
    let number: i64 = text.parse().ok()?;
    // In the one way to write it.
    (number.to_string() == text).then_some(number)
}
