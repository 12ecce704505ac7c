//! `bare_epoll`: a framed echo server, or a broadcast room, as one bare loop would do it, to show
//! what this machine's TCP stack costs when nothing else is paid. wharf's numbers are read as a
//! ratio to it.
//!
//! It prints `listening on ADDR` and runs until SIGTERM or SIGINT, then exits with 0. With several
//! workers each is a loop of its own, with its own share of the connections.

#[cfg(target_os = "linux")]
mod server;

use std::process::ExitCode;

use limits::options::Options;

fn main() -> ExitCode {
    match Options::read(std::env::args().skip(1)).and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("bare_epoll: {why}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(target_os = "linux")]
fn run(options: Options) -> Result<(), String> {
    let broken = |e: std::io::Error| format!("the event loop: {e}");
    // Before it is said that we listen: who reads that may end us.
    let ended = server::ended().map_err(broken)?;
    let mut servers = Vec::new();
    for listener in limits::sockets::listeners(options.listen, options.workers)? {
        let ended = ended.try_clone().map_err(broken)?;
        servers.push(server::Server::new(listener, options.service, ended).map_err(broken)?);
    }
    let Some(mut own) = servers.pop() else {
        return Ok(());
    };
    for mut other in servers {
        std::thread::Builder::new()
            .name("bare-epoll".into())
            .spawn(move || other.run_until_signal())
            .map_err(broken)?;
    }
    // The others have the same signal, and end with the process.
    own.run_until_signal().map_err(broken)
}

#[cfg(not(target_os = "linux"))]
fn run(_: Options) -> Result<(), String> {
    Err("there is no epoll on this system; run it on Linux".into())
}
