//! The `wharf` program: a load generator and test servers for the wharf library.

mod args;
mod cmd;
mod demo;
mod exit;
mod lab;
mod load;
mod out;
mod pause;
mod soak;

use std::process::ExitCode;

use clap::Parser;

use crate::exit::Exit;

fn main() -> ExitCode {
    let cli = match args::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let exit = if error.use_stderr() {
                Exit::Usage
            } else {
                Exit::Done
            };
            // A closed pipe leaves nobody to tell.
            let _ = error.print();
            return exit.into();
        }
    };
    match cmd::run(cli.command) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            out::failure(&failure);
            failure.exit.into()
        }
    }
}
