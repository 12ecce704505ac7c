//! RESP2 as a [`Codec`]: a frame is one whole command.
//!
//! A command is an array of bulk strings, `*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n`, or a line of words as
//! a person types it into `nc` (<https://redis.io/docs/latest/develop/reference/protocol-spec/>).
//! The codec only finds where the command ends; [`Args`] then reads the arguments where they lie.
//!
//! Bad input is a frame too, one without payload: an error from the codec would close the session
//! before the handler could say what was wrong, and Redis says it first.

use std::borrow::Cow;
use std::ops::Range;

use memchr::{memchr, memrchr};
use wharf::Frame;
use wharf::frame::{Codec, Decoded, FrameError};

/// The largest command, and so the largest value; Redis takes 512 MiB.
pub(crate) const COMMAND_BYTES_MAX: usize = 1024 * 1024;
/// The longest line of words, as in Redis.
const LINE_BYTES_MAX: usize = 64 * 1024;
/// The most arguments of a command; Redis takes 1,048,576. The codec keeps no state between calls:
/// each new line of an unfinished command costs a walk over the arguments before it, so their
/// number has to be one that a client may cost us.
const ARGS_MAX: i64 = 1024;

/// The framing.
#[derive(Debug)]
pub(crate) struct Resp;

/// What stands at the front of the bytes received.
#[derive(Debug, PartialEq, Eq)]
enum Cut {
    /// The command's end has not come.
    Partial,
    /// A command of `len` bytes, with its arguments in `args`.
    Command { len: usize, args: Range<usize> },
    /// The first `len` bytes are no command.
    Bad { len: usize, why: Complaint },
}

/// What is wrong with the input, in Redis's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Complaint {
    /// The number of arguments is no number, or too large.
    ArgCount,
    /// Something else stands where an argument should begin.
    NotABulk(u8),
    /// An argument's length is no number, or too large.
    BulkLen,
    /// An argument is not followed by `\r\n`.
    BulkEnd,
    /// A line without an end.
    LineLen,
    /// A quote that is not closed, or not followed by a space.
    Quotes,
    /// A command without an end.
    CommandLen,
}

impl std::fmt::Display for Complaint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::ArgCount => f.write_str("invalid multibulk length"),
            Self::NotABulk(byte) => write!(f, "expected '$', got '{}'", byte.escape_ascii()),
            Self::BulkLen => f.write_str("invalid bulk length"),
            Self::BulkEnd => f.write_str("expected CRLF after bulk"),
            Self::LineLen => f.write_str("too big inline request"),
            Self::Quotes => f.write_str("unbalanced quotes in request"),
            Self::CommandLen => f.write_str("too big mbulk count string"),
        }
    }
}

impl Codec for Resp {
    fn decode(&self, bytes: &[u8], seen: usize) -> Result<Decoded, FrameError> {
        Ok(match cut(bytes, seen) {
            Cut::Partial => Decoded::Partial {
                wire_bytes_min: bytes.len() + 1,
            },
            Cut::Command { len, args } => Decoded::Frame {
                wire_len: len,
                payload: args,
            },
            Cut::Bad { len, .. } => Decoded::Frame {
                wire_len: len,
                payload: 0..0,
            },
        })
    }

    // Replies are written whole by the handler (reply.rs): nothing is added to them.
    fn encode(&self, payload: &[u8], out: &mut Vec<u8>) -> Result<(), FrameError> {
        out.extend_from_slice(payload);
        Ok(())
    }

    // Without this, the usual `finish` would take the reply out of the buffer and encode it again.
    fn finish(&self, _out: &mut Vec<u8>, _start: usize) -> Result<(), FrameError> {
        Ok(())
    }

    fn frame_bytes_max(&self) -> usize {
        COMMAND_BYTES_MAX
    }
}

fn cut(bytes: &[u8], seen: usize) -> Cut {
    match bytes.first() {
        None => Cut::Partial,
        Some(b'*') => cut_array(bytes, seen),
        Some(_) => cut_line(bytes, seen),
    }
}

/// A line: its end is searched only in what is new.
fn cut_line(bytes: &[u8], seen: usize) -> Cut {
    let window = &bytes[..bytes.len().min(LINE_BYTES_MAX)];
    match memchr(b'\n', &window[seen..]) {
        Some(at) => {
            let end = seen + at;
            let words = end - usize::from(end > 0 && window[end - 1] == b'\r');
            Cut::Command {
                len: end + 1,
                args: 0..words,
            }
        }
        None if window.len() < LINE_BYTES_MAX => Cut::Partial,
        None => Cut::Bad {
            len: LINE_BYTES_MAX,
            why: Complaint::LineLen,
        },
    }
}

/// An array. Every part of it ends with a newline, so nothing is decided before the next one has
/// come: a value that trickles in costs one search of each byte, and no walk.
fn cut_array(bytes: &[u8], seen: usize) -> Cut {
    let window = &bytes[..bytes.len().min(COMMAND_BYTES_MAX)];
    let cut = match memrchr(b'\n', &window[seen..]) {
        Some(at) => walk_array(&window[..=seen + at]),
        None => Cut::Partial,
    };
    match cut {
        Cut::Partial if window.len() == COMMAND_BYTES_MAX => Cut::Bad {
            len: COMMAND_BYTES_MAX,
            why: Complaint::CommandLen,
        },
        cut => cut,
    }
}

/// Goes from length to length; the values between them are not looked at.
fn walk_array(bytes: &[u8]) -> Cut {
    let Some(first) = Line::at(bytes, 0) else {
        return Cut::Partial;
    };
    let count = match first.number(bytes) {
        // No arguments: Redis ignores it, whatever the number.
        Some(count) if count <= 0 => 0,
        Some(count) if count <= ARGS_MAX => count,
        _ => return first.bad(Complaint::ArgCount),
    };
    let mut at = first.next;
    for _ in 0..count {
        let Some(line) = Line::at(bytes, at) else {
            return Cut::Partial;
        };
        if bytes[at] != b'$' {
            return line.bad(Complaint::NotABulk(bytes[at]));
        }
        let room = (COMMAND_BYTES_MAX - line.next).saturating_sub(2);
        let len = match line.number(bytes).map(usize::try_from) {
            Some(Ok(len)) if len <= room => len,
            _ => return line.bad(Complaint::BulkLen),
        };
        let end = line.next + len;
        match bytes.get(end..end + 2) {
            Some(b"\r\n") => at = end + 2,
            Some(_) => {
                // To the next newline, which is there: the bytes end with one.
                let more = memchr(b'\n', &bytes[end + 1..]).unwrap_or(0);
                return Cut::Bad {
                    len: end + more + 2,
                    why: Complaint::BulkEnd,
                };
            }
            None => return Cut::Partial,
        }
    }
    Cut::Command {
        len: at,
        args: first.next..at,
    }
}

/// A line with a mark and a number, `*3\r\n` or `$5\r\n`.
struct Line {
    number: Range<usize>,
    next: usize,
}

impl Line {
    /// The line that begins at `start`, if all of it has come.
    fn at(bytes: &[u8], start: usize) -> Option<Self> {
        let rest = bytes.get(start..)?;
        // Ten bytes or so: a plain loop is faster here than a search with wide registers.
        let end = start + rest.iter().position(|&byte| byte == b'\n')?;
        // A line of one byte has no mark, and no number either: it is refused as such.
        let begin = (start + 1).min(end);
        Some(Self {
            number: begin..(end - usize::from(bytes[end - 1] == b'\r')).max(begin),
            next: end + 1,
        })
    }

    fn number(&self, bytes: &[u8]) -> Option<i64> {
        number(&bytes[self.number.clone()])
    }

    fn bad(&self, why: Complaint) -> Cut {
        Cut::Bad {
            len: self.next,
            why,
        }
    }
}

/// A decimal number as Redis writes it: no plus sign, no zeros in front, no spaces.
pub(crate) fn number(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let plain = match digits {
        [b'0'] => text.len() == 1,
        [b'1'..=b'9', ..] => true,
        _ => false,
    };
    plain.then(|| str::from_utf8(text).ok()?.parse().ok())?
}

/// The arguments of a command, in order, the command's name first. They are read from the frame as
/// they are asked for; only quoted words have to be copied.
pub(crate) enum Args<'a> {
    Bulks { rest: &'a [u8], left: usize },
    Words(std::vec::IntoIter<Vec<u8>>),
}

impl<'a> Args<'a> {
    /// The arguments of a frame that [`Resp`] has cut.
    pub(crate) fn of(frame: &Frame<'a>) -> Result<Self, Complaint> {
        let wire = frame.wire();
        if frame.is_empty() {
            // Empty input, or bad input. The latter is the session's last: it may cost a second
            // cut.
            return match cut(wire, 0) {
                Cut::Bad { why, .. } => Err(why),
                _ => Ok(Self::Words(Vec::new().into_iter())),
            };
        }
        if wire[0] != b'*' {
            return Ok(Self::Words(words(frame.payload())?.into_iter()));
        }
        let count = Line::at(wire, 0).and_then(|line| line.number(wire));
        Ok(Self::Bulks {
            rest: frame.payload(),
            left: count.and_then(|n| usize::try_from(n).ok()).unwrap_or(0),
        })
    }
}

impl<'a> Iterator for Args<'a> {
    type Item = Cow<'a, [u8]>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Words(words) => words.next().map(Cow::Owned),
            Self::Bulks { left: 0, .. } => None,
            Self::Bulks { rest, left } => {
                let line = Line::at(rest, 0)?;
                let len = usize::try_from(line.number(rest)?).ok()?;
                let value = rest.get(line.next..line.next + len)?;
                *rest = rest.get(line.next + len + 2..)?;
                *left -= 1;
                Some(Cow::Borrowed(value))
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = match self {
            Self::Words(words) => words.len(),
            Self::Bulks { left, .. } => *left,
        };
        (left, Some(left))
    }
}

impl ExactSizeIterator for Args<'_> {}

/// Cuts a line into words. Words in quotes may hold spaces; within `"` a backslash escapes.
fn words(line: &[u8]) -> Result<Vec<Vec<u8>>, Complaint> {
    let mut words = Vec::new();
    let mut rest = line.trim_ascii_start();
    while !rest.is_empty() {
        if words.len() as i64 == ARGS_MAX {
            return Err(Complaint::ArgCount);
        }
        let mut word = Vec::new();
        while let [byte, tail @ ..] = rest {
            if byte.is_ascii_whitespace() {
                break;
            }
            rest = match byte {
                b'"' | b'\'' => unquote(*byte, tail, &mut word)?,
                _ => {
                    word.push(*byte);
                    tail
                }
            };
        }
        words.push(word);
        rest = rest.trim_ascii_start();
    }
    Ok(words)
}

/// Appends what stands before the closing quote; returns what stands behind it.
fn unquote<'a>(quote: u8, mut rest: &'a [u8], word: &mut Vec<u8>) -> Result<&'a [u8], Complaint> {
    loop {
        match rest {
            [byte, tail @ ..] if *byte == quote => {
                let ends = tail.first().is_none_or(u8::is_ascii_whitespace);
                return if ends {
                    Ok(tail)
                } else {
                    Err(Complaint::Quotes)
                };
            }
            [b'\\', b'\'', tail @ ..] if quote == b'\'' => {
                word.push(b'\'');
                rest = tail;
            }
            [b'\\', b'x', high, low, tail @ ..]
                if quote == b'"' && high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                word.push(hex(*high) << 4 | hex(*low));
                rest = tail;
            }
            [b'\\', escaped, tail @ ..] if quote == b'"' => {
                word.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 8,
                    b'a' => 7,
                    other => *other,
                });
                rest = tail;
            }
            [byte, tail @ ..] => {
                word.push(*byte);
                rest = tail;
            }
            [] => return Err(Complaint::Quotes),
        }
    }
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}
