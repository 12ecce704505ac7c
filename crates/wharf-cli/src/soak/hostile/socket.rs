//! Connections from an address of one's own, and their ends.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};

/// A server that does not answer a SYN: its backlog is full.
const PATIENCE: Duration = Duration::from_millis(200);
/// A receive buffer that is soon full.
const SMALL_BUFFER: usize = 4096;
/// The port numbers of an origin that has few. Below what the system gives out by itself.
const FEW: std::ops::Range<u16> = 20_000..20_020;

/// Where connections come from.
pub(super) struct Origin {
    source: Ipv4Addr,
    /// The next of the few port numbers; `None` for any that is free.
    next: Option<u16>,
}

impl Origin {
    pub(super) fn new(source: Ipv4Addr, few_ports: bool) -> Self {
        let next = few_ports.then_some(FEW.start);
        Self { source, next }
    }

    /// A connection that never blocks from now on.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn connect(&mut self, to: SocketAddr, small: bool) -> io::Result<TcpStream> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        let port = self.next.unwrap_or(0);
        if let Some(next) = &mut self.next {
            *next = if *next + 1 < FEW.end {
                *next + 1
            } else {
                FEW.start
            };
            socket.set_reuse_address(true)?;
        }
        socket.bind(&SocketAddr::from((self.source, port)).into())?;
        if small {
            socket.set_recv_buffer_size(SMALL_BUFFER)?;
        }
        socket.connect_timeout(&to.into(), PATIENCE)?;
        socket.set_nonblocking(true)?;
        Ok(socket.into())
    }
}

/// Whether there was no port number left on this side.
pub(super) fn is_no_port(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::AddrNotAvailable | ErrorKind::AddrInUse
    )
}

/// Closed from now on, the stream resets.
pub(super) fn resets(stream: &TcpStream) {
    // Else it ends in good order, which is no less an end.
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}
