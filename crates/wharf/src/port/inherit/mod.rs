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
