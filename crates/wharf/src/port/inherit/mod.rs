//! Listeners that another process has bound: from the service manager, or from the process that
//! this one replaces. Unix only; elsewhere each call says so.

#[cfg(unix)]
mod channel;
#[cfg(unix)]
mod environment;

#[cfg(unix)]
pub(crate) use self::channel::{Channel, Offer, take_over};
#[cfg(unix)]
pub(crate) use environment::from_environment;

#[cfg(not(unix))]
mod none;
#[cfg(not(unix))]
pub(crate) use none::{Channel, Offer, from_environment, take_over};

/// A listener and what it is called.
pub(crate) type Named = (String, std::net::TcpListener);

/// Whether a passed socket is a TCP socket that listens.
///
/// # Errors
/// The descriptor is no socket.
#[cfg(unix)]
fn listens(socket: &socket2::Socket) -> std::io::Result<bool> {
    // Apple declares SO_ACCEPTCONN and does not implement it. There a socket that has no peer
    // passes for a listener, and its first accept tells.
    #[cfg(target_vendor = "apple")]
    let listens = socket.peer_addr().is_err();
    #[cfg(not(target_vendor = "apple"))]
    let listens = socket.is_listener()?;
    Ok(listens && socket.local_addr()?.as_socket().is_some())
}
