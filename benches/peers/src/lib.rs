//! What the servers on other people's libraries have in common.
//!
//! Each program is the same two servers as `wharf serve echo` and `wharf serve broadcast`, written
//! as its library does it best: one recv, all its frames answered in one send.
#![cfg(target_os = "linux")]

pub mod on_tokio;
pub mod room;

use std::io;
use std::net::TcpListener;
use std::process::ExitCode;

use limits::options::Options;

/// Bytes of one recv where the library leaves it to the program: as wharf has it.
pub const RECV_BYTES: usize = 64 * 1024;

/// Bytes that a member of the room may be behind before it is closed.
pub const UNSENT_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Reads the command line, and gives the program's name to an error.
pub fn main_with(name: &str, run: fn(Options) -> Result<(), String>) -> ExitCode {
    match Options::read(std::env::args().skip(1)).and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{name}: {why}");
            ExitCode::FAILURE
        }
    }
}

/// A thread a worker, each with a listener of its own on the one port; one worker is the main
/// thread. Runs until the process is ended.
///
/// # Errors
/// What could not be bound or started, and what `serve` says.
pub fn one_listener_each(
    options: Options,
    serve: impl Fn(TcpListener) -> io::Result<()> + Send + Clone + 'static,
) -> Result<(), String> {
    let mut listeners = limits::sockets::listeners(options.listen, options.workers)?;
    let own = listeners.pop();
    for listener in listeners {
        let serve = serve.clone();
        std::thread::Builder::new()
            .name("worker".into())
            .spawn(move || serve(listener))
            .map_err(|e| format!("a thread: {e}"))?;
    }
    own.map_or(Ok(()), serve)
        .map_err(|e| format!("serving: {e}"))
}

/// A frame whose length is wrong, as an error of I/O.
pub fn bad_frame(bad: limits::frames::LengthTooSmall) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("length {}", bad.0))
}
