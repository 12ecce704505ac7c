//! Listening sockets as all servers here want them.

use std::io;
use std::net::{SocketAddr, TcpListener};

use rustix::net::{self, AddressFamily, SocketFlags, SocketType, sockopt};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// `listen` backlog: thousands of connections may arrive at once when a load test starts.
const BACKLOG: i32 = 4096;

/// One non-blocking listener a worker, all on one port, and prints `listening on ADDR`. The kernel
/// shares the connections out. Accepted sockets inherit `TCP_NODELAY`.
///
/// # Errors
/// What the system says, with the address.
pub fn listeners(listen: SocketAddr, workers: usize) -> Result<Vec<TcpListener>, String> {
    let named = |e: io::Error| format!("--listen {listen}: {e}");
    raise_descriptor_limit().map_err(|e| format!("open files: {e}"))?;
    let mut address = listen;
    let mut all = Vec::new();
    for _ in 0..workers {
        let listener = listener(address, workers > 1).map_err(named)?;
        address = listener.local_addr().map_err(named)?;
        all.push(listener);
    }
    println!("listening on {address}");
    Ok(all)
}

fn listener(address: SocketAddr, shared: bool) -> io::Result<TcpListener> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = net::socket_with(family, SocketType::STREAM, flags, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    sockopt::set_socket_reuseport(&socket, shared)?;
    sockopt::set_tcp_nodelay(&socket, true)?;
    net::bind(&socket, &address)?;
    net::listen(&socket, BACKLOG)?;
    Ok(socket.into())
}

/// Ten thousand idle connections need more descriptors than the usual soft limit of 1024.
///
/// # Errors
/// What the system says.
pub fn raise_descriptor_limit() -> io::Result<()> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let current = maximum;
    Ok(setrlimit(Resource::Nofile, Rlimit { current, maximum })?)
}
