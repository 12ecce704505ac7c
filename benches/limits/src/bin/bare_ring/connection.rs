//! What one connection keeps: no I/O.

use std::os::fd::OwnedFd;

use limits::frames;

pub struct Connection {
    pub socket: OwnedFd,
    /// The start of a frame whose rest has not come.
    partial: Vec<u8>,
    /// Replies behind the send in flight.
    pub pending: Vec<u8>,
    /// An empty buffer with room, for the next send.
    pub spare: Vec<u8>,
    /// A recv is armed.
    pub armed: bool,
    /// A send is in flight.
    pub sending: bool,
    /// The peer has ended, or is to be ended.
    pub closing: bool,
}

impl Connection {
    pub fn new(socket: OwnedFd) -> Self {
        Self {
            socket,
            partial: Vec::new(),
            pending: Vec::new(),
            spare: Vec::new(),
            armed: true,
            sending: false,
            closing: false,
        }
    }

    /// Nothing of it is in the kernel's hands, and nothing is left to send.
    pub fn is_over(&self) -> bool {
        self.closing && !self.armed && !self.sending && self.pending.is_empty()
    }

    /// Cuts whole frames out of `bytes` and copies them to `out`.
    pub fn take(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), frames::LengthTooSmall> {
        out.clear();
        if self.partial.is_empty() {
            let whole = frames::echo(bytes, out)?;
            self.partial.extend_from_slice(&bytes[whole..]);
        } else {
            self.partial.extend_from_slice(bytes);
            let whole = frames::echo(&self.partial, out)?;
            self.partial.drain(..whole);
        }
        Ok(())
    }
}
