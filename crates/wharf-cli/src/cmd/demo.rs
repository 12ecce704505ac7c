//! `wharf demo`.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::args::DemoArgs;
use crate::demo::{self, Moment};
use crate::exit::{Exit, Failure};
use crate::out;

/// Plays, shows progress, prints the tables.
///
/// # Errors
/// What could not be started.
pub(super) fn run(args: &DemoArgs) -> Result<Exit, Failure> {
    let mut progress = Progress::new(args);
    if !args.json {
        let file = args.topology.as_ref();
        let under = file.map_or_else(String::new, |file| format!(" under {}", file.display()));
        out::line(format_args!(
            "a game server, its chat and master links, and {} bots{under}, for {:.0} s",
            args.bots,
            args.seconds.as_secs_f64()
        ))?;
    }
    let report = demo::run(args, |moment| progress.show(moment));
    progress.end();
    let report = report?;
    if args.json {
        let json = serde_json::to_string(&report)
            .map_err(|error| Failure::machine(format!("could not write the report: {error}")))?;
        out::line(json)?;
    } else {
        out::line(&report)?;
    }
    Ok(report.exit())
}

/// A bar on a terminal, lines when piped, nothing with --json.
enum Progress {
    Bar(ProgressBar, u64),
    Lines(u64),
    Silent,
}

impl Progress {
    fn new(args: &DemoArgs) -> Self {
        if args.json {
            return Self::Silent;
        }
        if !std::io::stdout().is_terminal() {
            return Self::Lines(0);
        }
        let bar = ProgressBar::new(args.seconds.as_secs());
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len} s  {msg}");
        if let Ok(style) = style {
            bar.set_style(style);
        }
        Self::Bar(bar, 0)
    }

    fn show(&mut self, moment: Moment) -> Result<(), Failure> {
        let Moment {
            elapsed,
            players,
            answered,
        } = moment;
        let text = |before: &mut u64| {
            let new = answered - std::mem::replace(before, answered);
            format!("{players} players, {new} answers/s")
        };
        match self {
            Self::Bar(bar, before) => {
                bar.set_position(elapsed.as_secs());
                bar.set_message(text(before));
                Ok(())
            }
            Self::Lines(before) => {
                let elapsed = Duration::from_secs(elapsed.as_secs());
                out::line(format_args!("{elapsed:>4?}  {}", text(before)))
            }
            Self::Silent => Ok(()),
        }
    }

    fn end(&mut self) {
        if let Self::Bar(bar, _) = self {
            bar.finish_and_clear();
        }
    }
}
