//! Long checks of reliability: seeds, fuzz targets, mutants.

mod fuzz;
mod mutants;
mod sanitize;
mod sim;

use std::path::Path;
use std::process::Command;

pub(crate) use fuzz::{FuzzArgs, fuzz};
pub(crate) use mutants::{MutantsArgs, mutants};
pub(crate) use sanitize::{SanitizeArgs, sanitize};
pub(crate) use sim::{SimArgs, sim};

/// A command of cargo's in the checkout.
fn cargo(root: &Path, args: &[&str]) -> Command {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(root).args(args);
    cargo
}

/// Runs it to its end, with what it prints.
fn run(mut command: Command, what: &str) -> Result<(), String> {
    let status = command
        .status()
        .map_err(|e| format!("{what} does not start: {e}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("{what} failed ({status})"))
    }
}
