//! House rules and long checks, run as `cargo xtask NAME`.

mod tidy;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;

/// House rules and long checks.
#[derive(Parser)]
#[command(name = "cargo xtask")]
enum Command {
    /// Check the house rules that a machine can check; exit 1 if one is broken.
    Tidy,
}

fn main() -> ExitCode {
    let done = match Command::parse() {
        Command::Tidy => tidy::run(&root()),
    };
    match done {
        Ok((report, clean)) => {
            // A reader that went away (a closed pipe) changes nothing about the verdict.
            let _ = writeln!(std::io::stdout(), "{report}");
            if clean {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
        Err(why) => {
            let _ = writeln!(std::io::stderr(), "xtask: {why}");
            ExitCode::FAILURE
        }
    }
}

/// The root of the repository: the folder above this package.
fn root() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package).to_owned()
}
