//! The servers on tokio: one worker is a current-thread runtime, several are the multi-thread one.

use std::process::ExitCode;

use limits::options::Options;
use peers::on_tokio::{sharded, stealing};

fn main() -> ExitCode {
    peers::main_with("peer_tokio", |options: Options| match options.workers {
        1 => sharded(options),
        _ => stealing(options),
    })
}
