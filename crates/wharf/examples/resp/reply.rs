//! RESP2 replies, appended to a buffer: in a turn that is the worker's out buffer itself.

use std::io::Write;

use wharf::{SendError, Session};

use crate::Redis;

/// What every command returns.
pub(crate) type Done = wharf::Result<()>;

/// Sends what `write` appends. A long reply may be sent in pieces: they leave in one write.
pub(crate) fn send(session: &Session<Redis>, write: impl FnOnce(&mut Vec<u8>)) -> Done {
    session.send_with(|out| {
        write(out);
        Ok::<_, SendError>(())
    })?;
    Ok(())
}

/// `+OK`
pub(crate) fn ok(session: &Session<Redis>) -> Done {
    send(session, |out| simple(out, "OK"))
}

/// `-ERR what went wrong`. The first word is a code that clients branch on.
pub(crate) fn error(session: &Session<Redis>, text: &str) -> Done {
    send(session, |out| {
        out.push(b'-');
        // A line break would end the reply early.
        out.extend(
            text.bytes()
                .map(|b| if b.is_ascii_control() { b' ' } else { b }),
        );
        out.extend_from_slice(b"\r\n");
    })
}

pub(crate) fn simple(out: &mut Vec<u8>, text: &str) {
    out.push(b'+');
    out.extend_from_slice(text.as_bytes());
    out.extend_from_slice(b"\r\n");
}

pub(crate) fn integer(out: &mut Vec<u8>, n: i64) {
    header(out, ':', n);
}

pub(crate) fn bulk(out: &mut Vec<u8>, value: &[u8]) {
    header(out, '$', value.len());
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// A value, or that there is none.
pub(crate) fn maybe_bulk(out: &mut Vec<u8>, value: Option<&[u8]>) {
    match value {
        Some(value) => bulk(out, value),
        None => out.extend_from_slice(b"$-1\r\n"),
    }
}

/// The begin of an array; its elements follow.
pub(crate) fn array(out: &mut Vec<u8>, len: usize) {
    header(out, '*', len);
}

fn header(out: &mut Vec<u8>, mark: char, n: impl std::fmt::Display) {
    // Writing to a vector can't fail.
    let _ = write!(out, "{mark}{n}\r\n");
}
