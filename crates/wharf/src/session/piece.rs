//! The bytes of an entry in a send queue: shared with other queues, or built in this one.

use std::ops::Deref;

use bytes::Bytes;

/// Up to so many bytes a held frame is copied behind the one before it: a copy of a small frame
/// costs less than an entry of its own in a gathered write.
const COPIED_MAX: usize = 2048;
/// The most bytes that frames are joined to. Of two entries that follow each other one at least is
/// longer than half of it, so what is below the default high water fits into one gathered write.
const JOINED_MAX: usize = 2 * COPIED_MAX;

/// The room that they begin with.
const JOINED_MIN: usize = 512;

/// Whole frames, to be written as they are.
#[derive(Debug)]
pub(crate) enum Piece {
    /// One buffer that many sessions send.
    Shared(Bytes),
    /// This session's own: more frames may join it.
    Built(Vec<u8>),
}

impl Piece {
    /// Appends a small frame to those that were built before; false if it has to stand alone.
    pub(super) fn join(&mut self, wire: &Wire<'_>) -> bool {
        match self {
            Self::Built(built)
                if wire.len() <= COPIED_MAX && built.len() + wire.len() <= JOINED_MAX =>
            {
                built.extend_from_slice(wire);
                true
            }
            _ => false,
        }
    }
}

impl Deref for Piece {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Shared(bytes) => bytes,
            Self::Built(bytes) => bytes,
        }
    }
}

impl From<Bytes> for Piece {
    fn from(bytes: Bytes) -> Self {
        Self::Shared(bytes)
    }
}

/// One frame on its way into the queue.
#[derive(Debug)]
pub(crate) enum Wire<'a> {
    /// In a buffer that may be shared.
    Shared(Bytes),
    /// In a buffer that is used again.
    Borrowed(&'a [u8]),
}

impl Wire<'_> {
    /// As the start of an entry.
    pub(super) fn into_piece(self) -> Piece {
        match self {
            Self::Shared(bytes) if bytes.len() > COPIED_MAX => Piece::Shared(bytes),
            small => {
                let mut built = Vec::with_capacity(small.len().max(JOINED_MIN));
                built.extend_from_slice(&small);
                Piece::Built(built)
            }
        }
    }
}

impl Deref for Wire<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Shared(bytes) => bytes,
            Self::Borrowed(bytes) => bytes,
        }
    }
}
