//! Names: asking the system for the addresses of `host:port`.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;

use crate::contain::or_abort;

/// Told what each name stands for, in their order.
pub(crate) type Found = Arc<dyn Fn(Vec<io::Result<Vec<SocketAddr>>>) + Send + Sync>;

/// Asks the system, which may take many seconds.
///
/// # Errors
/// What it said: nobody knows the name, or nobody can be asked.
pub(crate) fn resolve(name: &str) -> io::Result<Vec<SocketAddr>> {
    name.to_socket_addrs().map(Iterator::collect)
}

/// The same on a thread of its own, which ends with the answer; a stop does not wait for it. Rare:
/// once a round of a client's links. It takes over priority and cores from the worker that starts
/// it, and mostly waits.
pub(crate) fn look_up(names: Vec<String>, found: Found) {
    let tell = Arc::clone(&found);
    let ask = move || tell(names.iter().map(|name| resolve(name)).collect());
    let thread = std::thread::Builder::new().name("wharf-names".to_owned());
    if let Err(error) = thread.spawn(move || or_abort(ask)) {
        found(vec![Err(error)]);
    }
}
