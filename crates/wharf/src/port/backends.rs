//! Which backends there are, which work here, and which one a port gets.

use std::io;
use std::sync::Arc;

use super::contract::Sockets;
use super::system::{is_out_of_files, more_open_files};
use crate::error::{Error, ErrorKind, Result};
use crate::say::say;

/// Whether a backend works on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackendReport {
    /// Its name, as `WHARF_BACKEND` takes it.
    pub name: &'static str,
    /// What it is.
    pub about: &'static str,
    /// Why it does not work here, and what to do; `None` if it works.
    pub problem: Option<String>,
    /// Whether `auto` takes it here.
    pub is_default: bool,
}

/// The backends of this build, the preferred one first, each tried out.
#[must_use]
pub fn backends() -> Vec<BackendReport> {
    let mut reports: Vec<_> = KNOWN
        .iter()
        .map(|known| BackendReport {
            name: known.name,
            about: known.about,
            problem: (known.open)(&PortOptions::default())
                .err()
                .map(|error| explain(known.name, &error)),
            is_default: false,
        })
        .collect();
    if let Some(first) = reports.iter_mut().find(|report| report.problem.is_none()) {
        first.is_default = true;
    }
    reports
}

/// What a port's kernel queue is opened with, where the system has such a thing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PortOptions {
    /// Threads that the system lets run at once; 0 is one a processor.
    pub(crate) concurrency: u32,
}

struct Known {
    name: &'static str,
    about: &'static str,
    open: fn(&PortOptions) -> io::Result<Arc<dyn Sockets>>,
}

#[cfg(target_os = "linux")]
const KNOWN: &[Known] = &[
    Known {
        name: "epoll",
        about: "Linux: one edge-triggered epoll instance shared by all workers of a port",
        open: |_| Ok(Arc::new(super::epoll::Epoll::open()?)),
    },
    Known {
        name: "uring",
        about: "Linux: the same epoll, and an io_uring a worker that carries batches of sends",
        open: |_| Ok(Arc::new(super::uring::Uring::open()?)),
    },
];

#[cfg(target_os = "macos")]
const KNOWN: &[Known] = &[Known {
    name: "kqueue",
    about: "macOS: one kqueue shared by all workers of a port; type-checks and is untested",
    open: |_| Ok(Arc::new(super::kqueue::Kqueue::open()?)),
}];

#[cfg(windows)]
const KNOWN: &[Known] = &[Known {
    name: "iocp",
    about: "Windows: one I/O completion port shared by all workers of a port",
    open: |options| Ok(Arc::new(super::iocp::Iocp::open(options.concurrency)?)),
}];

#[cfg(not(any(target_os = "linux", target_os = "macos", windows)))]
const KNOWN: &[Known] = &[];

/// The environment variable that forces a backend.
const VARIABLE: &str = "WHARF_BACKEND";

/// Opens the backend of a port: the one named, else the one of the environment, else the best.
pub(crate) fn open(name: Option<&str>, options: &PortOptions) -> Result<Arc<dyn Sockets>> {
    let from_env = std::env::var(VARIABLE)
        .ok()
        .filter(|value| !value.is_empty());
    let (wanted, source) = match (name, &from_env) {
        (Some(name), _) => (name, "the program"),
        (None, Some(name)) => (name.as_str(), VARIABLE),
        (None, None) => ("auto", "the default"),
    };
    if wanted != "auto" {
        // An explicit choice is never changed silently.
        let known = KNOWN.iter().find(|known| known.name == wanted);
        let known = known.ok_or_else(|| unknown(wanted, source))?;
        return (known.open)(options).map_err(|error| broken(known.name, &error));
    }
    let mut last = None;
    for known in KNOWN {
        match (known.open)(options) {
            Ok(backend) => return Ok(backend),
            Err(error) => {
                say!(warn, backend = known.name, %error, "a backend does not work here");
                last = Some(broken(known.name, &error));
            }
        }
    }
    let none = || {
        Error::new(
            ErrorKind::Backend,
            "this build has no backend for this system",
        )
    };
    Err(last.unwrap_or_else(none))
}

fn unknown(name: &str, source: &str) -> Error {
    let names: Vec<_> = KNOWN.iter().map(|known| known.name).collect();
    let message = format!(
        "unknown backend \"{name}\" (from {source}): this build has auto, {}",
        names.join(", ")
    );
    Error::new(ErrorKind::Backend, message)
}

fn broken(name: &str, error: &io::Error) -> Error {
    Error::new(
        ErrorKind::Backend,
        format!(
            "backend \"{name}\" does not work here: {}",
            explain(name, error)
        ),
    )
}

fn explain(name: &str, error: &io::Error) -> String {
    if is_out_of_files(error) {
        return format!("{error}; {}", more_open_files());
    }
    match advice(name, error) {
        Some(advice) => format!("{error}; {advice}"),
        None => error.to_string(),
    }
}

/// What to do about it, if that is known.
#[cfg(target_os = "linux")]
fn advice(name: &str, error: &io::Error) -> Option<String> {
    (name == "uring").then(|| super::uring::advice(error))
}

#[cfg(not(target_os = "linux"))]
fn advice(_name: &str, _error: &io::Error) -> Option<String> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_backend_is_named_with_the_known_ones() {
        let error = open(Some("kqeue"), &PortOptions::default())
            .map(|_| ())
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Backend);
        let text = error.to_string();
        assert!(
            text.contains("\"kqeue\"") && text.contains("auto"),
            "{text}"
        );
    }

    #[test]
    fn one_backend_is_the_default() {
        let reports = backends();
        assert_eq!(
            reports.iter().filter(|report| report.is_default).count(),
            1,
            "{reports:?}"
        );
    }
}
