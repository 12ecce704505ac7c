//! One session's far end.

use mio::net::TcpStream;

use crate::load::Window;

/// A connection, and where it is in its streams.
#[derive(Debug)]
pub(super) struct Conn {
    /// Index of its class.
    pub(super) class: usize,
    /// Its number over all classes; it is in every frame it sends.
    pub(super) number: u32,
    /// `None` once it is cut.
    pub(super) stream: Option<TcpStream>,
    /// Frames that await their answer, each with the time it was due.
    pub(super) window: Window,
    /// Frames to be sent; those not yet written are built when the socket takes them.
    pub(super) admitted: u64,
    /// Frames written whole.
    pub(super) written: u64,
    /// Bytes written of the one after them.
    pub(super) offset: usize,
    /// The socket took less than offered.
    pub(super) blocked: bool,
    /// In the list of connections to go on with.
    pub(super) queued: bool,
    /// The start of a frame whose rest has not come.
    pub(super) tail: Vec<u8>,
}

impl Conn {
    pub(super) fn new(class: usize, number: u32, stream: TcpStream) -> Self {
        Self {
            class,
            number,
            stream: Some(stream),
            window: Window::new(),
            admitted: 0,
            written: 0,
            offset: 0,
            blocked: false,
            queued: false,
            tail: Vec::new(),
        }
    }
}
