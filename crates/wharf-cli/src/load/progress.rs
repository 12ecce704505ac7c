//! What the user sees while a run goes on.

use std::io::{IsTerminal, stderr};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::exit::Failure;
use crate::out;

/// Where a run is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Snapshot {
    /// Frames answered (sink: sent) so far.
    pub(crate) frames: u64,
    /// Bytes sent so far.
    pub(crate) bytes: u64,
    /// Faults so far.
    pub(crate) faults: u64,
}

/// Shows the progress once a second: one live line on a terminal (on standard error, so that a
/// redirected report stays clean), plain lines on standard output otherwise, nothing with `--json`.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    json: bool,
    last: Snapshot,
}

impl Progress {
    /// Picks the way to show it.
    pub(crate) fn new(json: bool) -> Self {
        let bar = stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{spinner} {msg}");
            ProgressBar::new_spinner()
                .with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()))
                .with_message("connecting")
        });
        if let Some(bar) = &bar {
            bar.tick();
        }
        Self {
            bar,
            json,
            last: Snapshot::default(),
        }
    }

    /// All connections of idle mode are up. Printed whatever the output is, because scripts wait
    /// for it; with `--json` on standard error.
    pub(crate) fn holding(&self, connections: u32) -> Result<(), Failure> {
        let text = format!("holding {connections} connections");
        let print = || {
            if self.json {
                out::note(&text);
                Ok(())
            } else {
                out::line(&text)
            }
        };
        self.bar
            .as_ref()
            .map_or_else(print, |bar| bar.suspend(print))
    }

    /// A second (or so, `since_last`) has passed.
    pub(crate) fn tick(
        &mut self,
        elapsed: Duration,
        since_last: Duration,
        now: Snapshot,
    ) -> Result<(), Failure> {
        let text = describe(elapsed, since_last, self.last, now);
        self.last = now;
        match &self.bar {
            Some(bar) => {
                bar.set_message(text);
                bar.tick();
                Ok(())
            }
            None if self.json => Ok(()),
            None => out::line(text),
        }
    }

    /// Takes the live line away.
    pub(crate) fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn describe(elapsed: Duration, since_last: Duration, before: Snapshot, now: Snapshot) -> String {
    let seconds = since_last.as_secs_f64().max(0.001);
    let rate = now.frames.saturating_sub(before.frames) as f64 / seconds;
    let bytes = now.bytes.saturating_sub(before.bytes) as f64 / seconds;
    format!(
        "{:6.1} s  {rate:10.0} frames/s  {:8.1} MB/s sent  {} faults",
        elapsed.as_secs_f64(),
        bytes / 1e6,
        now.faults
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_of_the_last_interval() {
        let before = Snapshot {
            frames: 1000,
            bytes: 0,
            faults: 0,
        };
        let now = Snapshot {
            frames: 3000,
            bytes: 4_000_000,
            faults: 2,
        };
        let text = describe(Duration::from_secs(9), Duration::from_secs(2), before, now);
        assert_eq!(
            text,
            "   9.0 s        1000 frames/s       2.0 MB/s sent  2 faults"
        );
    }
}
