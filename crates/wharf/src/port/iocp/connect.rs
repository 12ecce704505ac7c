//! Connecting: ConnectEx on a bound socket, a new one for each try.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::windows::io::AsSocket;
use std::sync::Arc;

use super::op::{Body, Completion, Op};
use super::shared::Shared;
use super::socket::new_socket;
use super::status;
use super::stream::{self, FAILED, OwnedStream, Stream};
use super::sys;
use crate::port::contract::{Bits, Ready, SocketOptions};
use crate::port::socket::apply;

/// Starts to connect.
pub(super) fn start(
    shared: &Arc<Shared>,
    addr: SocketAddr,
    options: &SocketOptions,
) -> io::Result<OwnedStream> {
    let socket = new_socket(addr)?;
    apply(&socket, options)?;
    let any = match addr {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    // ConnectEx takes bound sockets only.
    socket.bind(&any.into())?;
    shared.bell.port.associate(socket.as_socket())?;
    let connect_ex = shared.connect_ex(&socket)?;
    let owned = OwnedStream::connecting(socket, shared, options);
    let to = Box::new(addr.into());
    let body = Body::Connect(Arc::clone(&owned.stream), owned.recv_op(), to);
    let op = Op::new(body, &shared.ops);
    let entered = owned.handle.enter().ok_or(io::ErrorKind::NotConnected)?;
    let issued = op.issue(entered.as_socket(), Some(connect_ex));
    drop(entered);
    issued.map_err(status::error)?;
    Ok(owned)
}

/// How a connect stands.
pub(super) fn result(owned: &OwnedStream) -> io::Result<()> {
    match owned.stream.failure() {
        Some(failure) => Err(failure),
        None if owned.stream.is_open() => Ok(()),
        None => Err(io::ErrorKind::WouldBlock.into()),
    }
}

/// The address of our end. The system knows it when the connect has worked, perhaps before
/// anybody took the packet that says so.
pub(super) fn local_addr(owned: &OwnedStream) -> io::Result<SocketAddr> {
    let entered = owned.handle.enter().ok_or(io::ErrorKind::NotConnected)?;
    if !owned.stream.is_open() {
        // Refused as long as the connect is under way.
        let _ = sys::update_connect_context(entered.as_socket());
    }
    super::socket::local_addr(&entered)
}

/// A connect has ended, well or not.
pub(super) fn connected(
    shared: &Shared,
    stream: &Arc<Stream>,
    recv: &Arc<Op>,
    completion: &Completion,
    out: &mut Vec<Ready>,
) {
    if stream.whom.is_closed() {
        return;
    }
    let code = match completion.code {
        0 => open(shared, stream, recv).err(),
        code => Some(code),
    };
    let bits = match code {
        None => Bits::WRITE,
        Some(code) => {
            let _ = stream.fail(code);
            FAILED
        }
    };
    out.extend(stream.whom.report(bits));
}

/// Makes it a stream that can be read and written.
fn open(shared: &Shared, stream: &Arc<Stream>, recv: &Arc<Op>) -> Result<(), sys::Code> {
    let handle = stream.handle.upgrade().ok_or(status::RESET)?;
    let entered = handle.enter().ok_or(status::RESET)?;
    sys::update_connect_context(entered.as_socket())?;
    stream.set_open();
    stream::arm(shared, recv, stream, &entered);
    Ok(())
}
