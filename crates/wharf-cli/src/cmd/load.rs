//! `wharf load`.

use crate::args::LoadArgs;
use crate::exit::{Exit, Failure};
use crate::load::{self, Config, Progress, Report};
use crate::out;

/// Runs the load and prints the result.
///
/// # Errors
/// See [`Config::new`] and [`load::run`].
pub(super) fn run(args: &LoadArgs) -> Result<Exit, Failure> {
    let config = Config::new(args)?;
    let mut progress = Progress::new(args.json);
    let outcome = load::run(config.clone(), &mut progress);
    progress.end();
    let report = Report::new(&config, outcome?);
    if args.json {
        let json = serde_json::to_string(&report)
            .map_err(|error| Failure::machine(format!("could not write the report: {error}")))?;
        out::line(json)?;
    } else {
        out::line(&report)?;
    }
    Ok(report.exit())
}
