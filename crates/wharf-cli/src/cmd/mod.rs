//! One file a command: from arguments to a result and an exit code.

mod load;

use crate::args::Command;
use crate::exit::{Exit, Failure};

/// Runs one command.
///
/// # Errors
/// What the command could not do, with the exit code for it.
pub(crate) fn run(command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Load(args) => load::run(&args),
    }
}
