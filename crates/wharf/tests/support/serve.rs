//! The usual host of a scenario: one server.

use std::time::Duration;

use wharf::{Host, Network, SendQueueLimits, ServerBuilder, SocketOptions, Timeouts, WhenFull};

use super::{Act, At, Layout, World, check_stopped};

/// A started host with a server named "game" in this layout, [`patient`] unless the options say
/// otherwise.
pub(crate) fn serve<S: Send>(
    w: &World,
    layout: Layout,
    handler: Act<S>,
    options: impl for<'a> FnOnce(ServerBuilder<'a, Act<S>>) -> ServerBuilder<'a, Act<S>>,
) -> (Host, Network<Act<S>>) {
    let mut host = w.host();
    let port = layout.ports().main(&mut host);
    let server = host.server("game", handler).at(&port).timeouts(patient());
    let server = options(server);
    let net = server.listen(w.any_addr()).unwrap();
    host.start().unwrap();
    (host, net)
}

/// No deadline closes a session: a simulated peer may say nothing for minutes.
pub(crate) fn patient() -> Timeouts {
    Timeouts {
        handshake: None,
        idle: None,
        write_stall: None,
        linger: Duration::from_secs(2),
    }
}

/// Stops the host in good order and adds its counters up.
pub(crate) fn finish(mut host: Host) {
    host.stop().unwrap();
    check_stopped(&host.stats());
}

/// Send queues that few frames fill.
pub(crate) fn small_queue(when_full: WhenFull) -> SendQueueLimits {
    SendQueueLimits {
        bytes_max: 16 * 1024,
        frames_max: 64,
        when_full,
        ..SendQueueLimits::default()
    }
}

/// Sockets into which few bytes fit.
pub(crate) fn small_socket() -> SocketOptions {
    SocketOptions {
        send_buffer_bytes: Some(4096),
        recv_buffer_bytes: Some(4096),
        ..SocketOptions::default()
    }
}
