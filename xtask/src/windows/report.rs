//! A line for each part with its time and verdict, and all of them again at the end.

use std::fmt::Display;
use std::io::Write;
use std::time::Instant;

/// What came of the parts so far.
pub(super) struct Report<'a> {
    what: &'static str,
    lines: Vec<String>,
    failed: usize,
    out: &'a mut dyn Write,
}

impl<'a> Report<'a> {
    /// Nothing has run yet of `what`.
    pub(super) fn new(what: &'static str, out: &'a mut dyn Write) -> Self {
        Self {
            what,
            lines: Vec::new(),
            failed: 0,
            out,
        }
    }

    /// Runs a part and prints its line; what it returns is a word more about it.
    ///
    /// Returns whether the part went well. A part that fails does not keep others from running.
    ///
    /// # Errors
    /// When nothing can be printed.
    pub(super) fn part<N: Display>(
        &mut self,
        name: &str,
        part: impl FnOnce() -> Result<N, String>,
    ) -> Result<bool, String> {
        self.print(&format!("== {} {name}", self.what))?;
        let begun = Instant::now();
        let result = part();
        let seconds = begun.elapsed().as_secs_f64();
        let (verdict, note) = match &result {
            Ok(note) => ("ok", note.to_string()),
            Err(why) => ("FAILED", why.clone()),
        };
        let line = format!("{name:<12} {verdict:<7} {seconds:>6.1} s  {note}");
        self.print(&format!("== {line}"))?;
        self.failed += usize::from(result.is_err());
        self.lines.push(line);
        Ok(result.is_ok())
    }

    /// Prints all lines together.
    ///
    /// # Errors
    /// When a part has failed, or nothing can be printed.
    pub(super) fn close(self) -> Result<(), String> {
        let text = self
            .lines
            .iter()
            .map(|line| format!("\n{line}"))
            .collect::<String>();
        writeln!(self.out, "{text}\n").map_err(|e| format!("cannot print: {e}"))?;
        match (self.failed, self.lines.len()) {
            (0, _) => Ok(()),
            (failed, all) => Err(format!("{}: {failed} of {all} parts failed", self.what)),
        }
    }

    fn print(&mut self, line: &str) -> Result<(), String> {
        let printed = writeln!(self.out, "{line}").and_then(|()| self.out.flush());
        printed.map_err(|e| format!("cannot print: {e}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_has_its_line_and_a_failed_one_fails_the_whole() {
        let mut text = Vec::new();
        let mut report = Report::new("windows", &mut text);
        assert_eq!(report.part("build", || Ok("3 crates")), Ok(true));
        assert_eq!(
            report.part("test", || Err::<&str, _>("why".into())),
            Ok(false)
        );
        assert_eq!(report.close(), Err("windows: 1 of 2 parts failed".into()));
        let text = String::from_utf8(text).expect("text");
        for line in ["build        ok", "3 crates", "test         FAILED", "why"] {
            assert_eq!(text.matches(line).count(), 2, "{line} in {text}");
        }
    }
}
