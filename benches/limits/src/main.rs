//! `bare_epoll`: a framed echo server as one bare loop would do it, to show what this machine's
//! TCP stack costs when nothing else is paid. wharf's numbers are read as a ratio to it.
//!
//! Wire format: `u16` little-endian total length (the 4 header bytes included), `u16`
//! little-endian id, payload. Every frame is answered with the same frame.
//!
//! Usage: `bare_epoll --listen 127.0.0.1:0`. It prints `listening on ADDR` and runs until SIGTERM
//! or SIGINT, then exits with 0.

mod frames;
#[cfg(target_os = "linux")]
mod server;

use std::net::SocketAddr;
use std::process::ExitCode;

fn main() -> ExitCode {
    let result = listen_address(std::env::args().skip(1)).and_then(run);
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("bare_epoll: {why}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(target_os = "linux")]
fn run(listen: SocketAddr) -> Result<(), String> {
    let mut server = server::Server::bind(listen).map_err(|e| format!("--listen {listen}: {e}"))?;
    println!("listening on {}", server.address());
    server
        .run_until_signal()
        .map_err(|e| format!("the event loop: {e}"))
}

#[cfg(not(target_os = "linux"))]
fn run(_listen: SocketAddr) -> Result<(), String> {
    Err("there is no epoll on this system; run it on Linux".into())
}

/// The address after `--listen`, the only option there is.
fn listen_address(mut args: impl Iterator<Item = String>) -> Result<SocketAddr, String> {
    const USAGE: &str = "usage: bare_epoll --listen ADDR:PORT";
    match (args.next().as_deref(), args.next(), args.next()) {
        (Some("--listen"), Some(text), None) => text
            .parse()
            .map_err(|e| format!("--listen {text}: {e}; {USAGE}")),
        _ => Err(USAGE.into()),
    }
}
