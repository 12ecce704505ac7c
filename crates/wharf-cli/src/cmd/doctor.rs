//! `wharf doctor`: what works on this machine.

use serde::Serialize;
use wharf::BackendReport;

use crate::args::DoctorArgs;
use crate::exit::{Exit, Failure};
use crate::out;

#[derive(Serialize)]
struct Findings {
    version: &'static str,
    cores: usize,
    /// The soft limit of open files; null where there is none, as on Windows.
    open_files_max: Option<u64>,
    /// What this system does otherwise than a user of another one may expect.
    notes: &'static [&'static str],
    /// False in builds with `panic = "abort"`: a handler's panic ends the process there (G9).
    panics_are_contained: bool,
    backends: Vec<Backend>,
}

#[derive(Serialize)]
struct Backend {
    name: &'static str,
    about: &'static str,
    works: bool,
    is_default: bool,
    problem: Option<String>,
}

/// Looks and reports; exit 4 if no backend works.
///
/// # Errors
/// Output that could not be written.
pub(super) fn run(args: &DoctorArgs) -> Result<Exit, Failure> {
    let findings = look();
    if args.json {
        let json = serde_json::to_string(&findings)
            .map_err(|error| Failure::machine(format!("could not write the findings: {error}")))?;
        out::line(json)?;
    } else {
        print(&findings)?;
    }
    let works = findings.backends.iter().any(|backend| backend.works);
    Ok(if works { Exit::Done } else { Exit::Machine })
}

fn look() -> Findings {
    let backend = |report: BackendReport| Backend {
        name: report.name,
        about: report.about,
        works: report.problem.is_none(),
        is_default: report.is_default,
        problem: report.problem,
    };
    Findings {
        version: env!("CARGO_PKG_VERSION"),
        cores: wharf::system::cores(),
        open_files_max: wharf::system::open_files_max(),
        notes: wharf::system::notes(),
        panics_are_contained: cfg!(panic = "unwind"),
        backends: wharf::backends().into_iter().map(backend).collect(),
    }
}

/// Descriptors that a busy game server should have.
const OPEN_FILES_GOOD: u64 = 4096;

fn print(findings: &Findings) -> Result<(), Failure> {
    out::line(format_args!(
        "wharf {}, {} cores",
        findings.version, findings.cores
    ))?;
    for backend in &findings.backends {
        let mark = match (&backend.problem, backend.is_default) {
            (None, true) => "works, and is the default here",
            (None, false) => "works",
            (Some(_), _) => "does not work",
        };
        out::line(format_args!("  backend {:8} {mark}", backend.name))?;
        out::line(format_args!("          {}", backend.about))?;
        if let Some(problem) = &backend.problem {
            out::line(format_args!("          problem: {problem}"))?;
        }
    }
    if findings.backends.is_empty() {
        out::line("  no backend: this build has none for this system")?;
    }
    if let Some(files) = findings.open_files_max {
        let advice = if files < OPEN_FILES_GOOD {
            ": few for a server; raise it with `ulimit -n`, or LimitNOFILE= in a systemd unit"
        } else {
            ""
        };
        out::line(format_args!(
            "  open files: at most {files}, one a session{advice}"
        ))?;
    }
    for note in findings.notes {
        out::line(format_args!("  {note}"))?;
    }
    out::line(if findings.panics_are_contained {
        "  handler panics close their session only (G9)"
    } else {
        "  built with panic = \"abort\": a handler's panic ends the process (G9 is off)"
    })
}
