//! What one connection keeps: no I/O.

use std::os::fd::OwnedFd;

use limits::frames::Cutter;

pub struct Connection {
    pub socket: OwnedFd,
    pub cutter: Cutter,
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
            cutter: Cutter::default(),
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
}
