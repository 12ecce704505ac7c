//! The servers on tokio with a current-thread runtime a worker.

use std::process::ExitCode;

fn main() -> ExitCode {
    peers::main_with("peer_tokio_sharded", peers::on_tokio::sharded)
}
