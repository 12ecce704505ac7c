//! What is said on the wire, and what a receiver holds against it.

use std::collections::BTreeMap;

/// What a client's frame asks of the handler. After it come the frame's number and a filler.
pub(crate) mod op {
    pub(crate) const ECHO: u8 = 0;
    pub(crate) const MANY: u8 = 1;
    pub(crate) const CAST: u8 = 2;
    pub(crate) const GROUP: u8 = 3;
    pub(crate) const JOIN: u8 = 4;
    pub(crate) const POST_SELF: u8 = 5;
    pub(crate) const POST_OTHER: u8 = 6;
    pub(crate) const DIRECT: u8 = 7;
    pub(crate) const PAUSE: u8 = 8;
    pub(crate) const BAD_ENCODER: u8 = 9;
    pub(crate) const FLUSH: u8 = 10;
    pub(crate) const HOLD: u8 = 11;
    pub(crate) const RELANE: u8 = 12;
    pub(crate) const RELANE_OTHER: u8 = 13;
    pub(crate) const RESIZE: u8 = 14;
    /// From here on somebody's session may end.
    pub(crate) const CLOSE: u8 = 15;
    pub(crate) const ABORT: u8 = 16;
    pub(crate) const ERROR: u8 = 17;
    pub(crate) const PANIC: u8 = 18;
    pub(crate) const POST_PANIC: u8 = 19;
    pub(crate) const CLOSE_OTHER: u8 = 20;
    pub(crate) const ABORT_OTHER: u8 = 21;
    pub(crate) const PANIC_IN_ENCODER: u8 = 22;
    pub(crate) const STOP: u8 = 23;
    pub(crate) const COUNT: u8 = 24;
}

/// A server's frame: an answer of the session itself, numbered by it.
pub(crate) const REPLY: u8 = 101;
/// A broadcast, numbered by its sender.
pub(crate) const CAST: u8 = 102;
/// A frame from another sender, numbered by the pair of sender and receiver.
pub(crate) const DIRECT: u8 = 103;

/// The sender of what the test sends from outside of any turn.
pub(crate) const FOREIGN: u32 = u32::MAX;
/// The sender of what rooms send.
pub(crate) const ROOM: u32 = u32::MAX - 1;

fn filler(number: u32, len: usize) -> impl Iterator<Item = u8> {
    let first = number.to_le_bytes()[0];
    (0..len).map(move |at| first.wrapping_add(u8::try_from(at % 251).unwrap_or(0)))
}

/// A client's frame.
pub(crate) fn ask(op: u8, number: u32, len: usize) -> Vec<u8> {
    let mut payload = vec![op];
    payload.extend(number.to_le_bytes());
    payload.extend(filler(number, len));
    payload
}

/// What a client's frame says.
pub(crate) fn asked(payload: &[u8]) -> Option<(u8, u32)> {
    let (head, rest) = payload.split_at_checked(5)?;
    let number = u32::from_le_bytes(head[1..].try_into().ok()?);
    let intact = rest.iter().copied().eq(filler(number, rest.len()));
    intact.then_some((head[0], number))
}

/// A server's frame.
pub(crate) fn tell(kind: u8, sender: u32, number: u32, len: usize) -> Vec<u8> {
    let mut payload = vec![kind];
    payload.extend(sender.to_le_bytes());
    payload.extend(number.to_le_bytes());
    payload.extend(filler(number, len));
    payload
}

/// What one receiver has got, checked frame by frame.
#[derive(Debug)]
pub(crate) struct Inbox {
    /// Frames may be missing (the queue drops old ones), but none is doubled or out of order.
    gaps: bool,
    own: Option<u32>,
    pub(crate) replies: u32,
    pub(crate) direct: BTreeMap<u32, u32>,
    casts: BTreeMap<u32, u32>,
    pub(crate) frames: u64,
}

impl Inbox {
    pub(crate) fn new(gaps: bool) -> Self {
        Self {
            gaps,
            own: None,
            replies: 0,
            direct: BTreeMap::new(),
            casts: BTreeMap::new(),
            frames: 0,
        }
    }

    /// Takes one frame; says what is wrong with it.
    pub(crate) fn take(&mut self, payload: &[u8]) -> Result<(), String> {
        self.frames += 1;
        let Some((head, rest)) = payload.split_at_checked(9) else {
            return Err(format!("a frame of {} bytes was never sent", payload.len()));
        };
        let word =
            |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let (kind, sender, number) = (head[0], word(1), word(5));
        if !rest.iter().copied().eq(filler(number, rest.len())) {
            return Err(format!(
                "frame {kind}/{sender}/{number} has other bytes than were sent"
            ));
        }
        let expected = match kind {
            REPLY => {
                if *self.own.get_or_insert(sender) != sender {
                    return Err(format!(
                        "a reply of session {sender} reached another's peer"
                    ));
                }
                &mut self.replies
            }
            DIRECT => self.direct.entry(sender).or_insert(0),
            CAST => self.casts.entry(sender).or_insert(0),
            _ => return Err(format!("a frame of kind {kind} was never sent")),
        };
        // A broadcast passes by who was closed or full, so only its order is told.
        let gaps = self.gaps || kind == CAST;
        if number < *expected || (number > *expected && !gaps) {
            return Err(format!(
                "frame {number} of sender {sender} (kind {kind}) came where {expected} was due"
            ));
        }
        *expected = number + 1;
        Ok(())
    }
}
