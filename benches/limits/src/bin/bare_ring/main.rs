//! `bare_ring`: the same framed echo server and broadcast room as `bare_epoll`, on one io_uring
//! that one thread owns, tuned as far as measurements showed a gain. What a ring could save is read
//! off the two.
//!
//! It prints `listening on ADDR` and runs until it is ended. With several workers each has a ring
//! of its own, with its own share of the connections.

#[cfg(target_os = "linux")]
mod connection;
#[cfg(target_os = "linux")]
mod ring;
#[cfg(target_os = "linux")]
mod server;

use std::process::ExitCode;

use limits::options::Options;

fn main() -> ExitCode {
    match Options::read(std::env::args().skip(1)).and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("bare_ring: {why}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(target_os = "linux")]
fn run(options: Options) -> Result<(), String> {
    // Refused early where the kernel or a filter has no ring, before anybody connects.
    ring::Ring::new().map_err(|e| format!("this system refuses the ring: {e}"))?;
    let threads: Vec<_> = limits::sockets::listeners(options.listen, options.workers)?
        .into_iter()
        .map(|listener| {
            // The ring belongs to the thread that makes it, so it is made there.
            std::thread::Builder::new()
                .name("bare-ring".into())
                .spawn(move || server::serve(&listener, options.service))
        })
        .collect();
    for thread in threads {
        let thread = thread.map_err(|e| format!("a thread: {e}"))?;
        let ended = thread.join().map_err(|_| "a worker panicked")?;
        ended.map_err(|e| format!("the ring: {e}"))?;
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn run(_: Options) -> Result<(), String> {
    Err("there is no io_uring on this system; run it on Linux".into())
}
