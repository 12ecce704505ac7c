//! How the program ends: its exit codes, and the failure that carries one.

use std::process::ExitCode;

/// The exit codes as the help shows them. Keep in step with [`Exit`].
pub(crate) const HELP: &str = "\
Exit codes:
  0  done, nothing wrong
  1  the run found a fault: frames lost, doubled, reordered, corrupt or misrouted, or a peer that
     closed or did not answer
  2  usage: an argument or a file is wrong
  3  could not connect or listen
  4  the machine refused something the run needs (open files, a thread, a poller)";

/// An exit code. The numbers are part of the interface: scripts test them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// Everything went well. Also used when the reader of our output went away.
    Done = 0,
    /// The run itself found a fault of the server.
    Fault = 1,
    /// An argument or a file is wrong; clap uses the same number.
    Usage = 2,
    /// Could not connect or listen.
    Unreachable = 3,
    /// The machine refused a resource.
    Machine = 4,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

/// A command that could not do its work: the exit code, and what to tell the user.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    /// The code to end with.
    pub(crate) exit: Exit,
    /// What went wrong, where, and how to mend it; empty when there is nothing to say.
    pub(crate) message: String,
}

impl Failure {
    /// The run found that the server does not behave.
    pub(crate) fn fault(message: impl Into<String>) -> Self {
        Self {
            exit: Exit::Fault,
            message: message.into(),
        }
    }

    /// The library refused: its error says why; the code follows from its kind.
    pub(crate) fn of_library(error: &wharf::Error) -> Self {
        let message = error.to_string();
        let exit = match error.kind() {
            wharf::ErrorKind::Config | wharf::ErrorKind::Address | wharf::ErrorKind::Backend => {
                Exit::Usage
            }
            wharf::ErrorKind::Listen => Exit::Unreachable,
            wharf::ErrorKind::Stuck => Exit::Fault,
            _ => Exit::Machine,
        };
        Self { exit, message }
    }

    /// An argument is wrong.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self {
            exit: Exit::Usage,
            message: message.into(),
        }
    }

    /// Could not connect or listen.
    pub(crate) fn unreachable(message: impl Into<String>) -> Self {
        Self {
            exit: Exit::Unreachable,
            message: message.into(),
        }
    }

    /// The machine refused a resource.
    pub(crate) fn machine(message: impl Into<String>) -> Self {
        Self {
            exit: Exit::Machine,
            message: message.into(),
        }
    }

    /// Nobody reads our output any more: a normal end.
    pub(crate) fn output_closed() -> Self {
        Self {
            exit: Exit::Done,
            message: String::new(),
        }
    }
}
