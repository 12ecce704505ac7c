//! The part `talk`: programs of the two systems serve each other.

use std::process::Command;

use super::home::Home;
use super::serving::{Server, load};
use super::wine::Wine;

const SECONDS: &str = "2";

/// Frames that stay in one connection, large ones that fill buffers, and connections that come and
/// go.
const LOADS: [&[&str]; 3] = [
    &["--connections", "50", "--depth", "8", "--size", "256"],
    &["--connections", "8", "--depth", "4", "--size", "60000"],
    &["--connections", "8", "--mode", "churn"],
];

const SERVE: [&str; 4] = ["serve", "echo", "--listen", "127.0.0.1:0"];

/// Runs every load both ways round. Returns how many frames came back.
///
/// # Errors
/// When a frame is not accounted for, or a program ends with another code than 0.
pub(super) fn run(home: &Home, wine: &Wine) -> Result<String, String> {
    let here = crate::bench::build_wharf(&home.root)?;
    let there = home.program("debug", "wharf");
    let to_windows = each(Server::windows(home, wine, &there, &SERVE)?, || {
        Command::new(&here)
    })?;
    let to_linux = each(Server::linux(&here, &SERVE)?, || wine.run(&there))?;
    Ok(format!(
        "{to_windows} frames to Windows and back, {to_linux} to Linux and back"
    ))
}

fn each(server: Server, client: impl Fn() -> Command) -> Result<u64, String> {
    let mut frames = 0;
    for args in LOADS {
        frames += load(client(), &server.address, SECONDS, args)?.frames;
    }
    server.end()?;
    Ok(frames)
}
