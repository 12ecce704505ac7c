//! The only place that writes to standard output and standard error.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

use crate::exit::Failure;

/// Writes one line to standard output at once, so that a reader of a pipe sees it when it happens.
///
/// # Errors
/// A closed pipe ends the program normally (exit 0, no message): `wharf load | head -1` is no
/// fault. Anything else is a [`Failure::machine`].
pub(crate) fn line(text: impl Display) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(Failure::output_closed()),
        Err(error) => Err(Failure::machine(format!(
            "could not write to standard output: {error}"
        ))),
    }
}

/// Writes one line to standard error. Nowhere is left to report a failure to, so it is dropped.
pub(crate) fn note(text: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Tells the user why the program ends; nothing when the failure has no message.
pub(crate) fn failure(failure: &Failure) {
    if !failure.message.is_empty() {
        note(format_args!("error: {}", failure.message));
    }
}
