//! One file a command: from arguments to a result and an exit code.

mod check;
mod demo;
mod doctor;
mod lab;
mod load;
mod serve;
mod strands;

use crate::args::{Command, DemoArgs};
use crate::exit::{Exit, Failure};

/// Runs one command.
///
/// # Errors
/// What the command could not do, with the exit code for it.
pub(crate) fn run(command: Option<Command>) -> Result<Exit, Failure> {
    match command {
        None => demo::run(&DemoArgs::default()),
        Some(Command::Demo(args)) => demo::run(&args),
        Some(Command::Serve(args)) => serve::run(&args),
        Some(Command::Load(args)) => load::run(&args),
        Some(Command::Lab(args)) => lab::run(&args),
        Some(Command::LabServer(args)) => lab::serve(&args),
        Some(Command::Check(args)) => check::run(&args),
        Some(Command::Strands(args)) => strands::run(&args),
        Some(Command::Doctor(args)) => doctor::run(&args),
        Some(Command::Soak(role)) => crate::soak::run(&role),
    }
}
