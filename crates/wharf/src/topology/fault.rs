//! What is wrong in a topology file, and where.

use std::fmt;
use std::ops::Range;

use crate::error::{Error, ErrorKind};

/// A place in a file, as editors count: both from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The character in it.
    pub column: usize,
}

impl Place {
    /// Where this byte of the text stands.
    pub(super) fn of(text: &[u8], offset: usize) -> Self {
        let before = &text[..offset.min(text.len())];
        // An editor does not show the mark that some systems put in front of UTF-8.
        let before = before.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(before);
        let line_start = memchr::memrchr(b'\n', before).map_or(0, |at| at + 1);
        Self {
            line: memchr::memchr_iter(b'\n', before).count() + 1,
            column: String::from_utf8_lossy(&before[line_start..])
                .chars()
                .count()
                + 1,
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopologyFault {
    /// Where; `None` if it is about the file as a whole.
    pub place: Option<Place>,
    /// What, and how to mend it.
    pub message: String,
}

/// All that is wrong in a topology file, in the order of the file. Its text is a line a fault:
/// `server.toml:7:8: network "game": unknown lane "plyers" of port "front"; did you mean
/// "players"?`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopologyError {
    file: String,
    faults: Vec<TopologyFault>,
}

impl TopologyError {
    /// An error about the file as a whole.
    pub(crate) fn of_file(file: &str, message: String) -> Self {
        Self {
            file: file.to_owned(),
            faults: vec![TopologyFault {
                place: None,
                message,
            }],
        }
    }

    /// An error about bytes that are no text.
    pub(super) fn not_utf8(file: &str, bytes: &[u8], at: usize) -> Self {
        let message = format!(
            "byte 0x{:02X} is no UTF-8; save the file as UTF-8 text",
            bytes.get(at).copied().unwrap_or(0)
        );
        Self {
            file: file.to_owned(),
            faults: vec![TopologyFault {
                place: Some(Place::of(bytes, at)),
                message,
            }],
        }
    }

    /// The file's name as it was given.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The faults, at least one.
    #[must_use]
    pub fn faults(&self) -> &[TopologyFault] {
        &self.faults
    }
}

impl fmt::Display for TopologyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.faults.iter().enumerate() {
            let line_break = if index == 0 { "" } else { "\n" };
            write!(f, "{line_break}{}", self.file)?;
            if let Some(Place { line, column }) = fault.place {
                write!(f, ":{line}:{column}")?;
            }
            write!(f, ": {}", fault.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for TopologyError {}

impl From<TopologyError> for Error {
    fn from(error: TopologyError) -> Self {
        Self::new(ErrorKind::Config, error.to_string())
    }
}

/// Collects faults while a file is read, so that a person mends them all at once.
#[derive(Debug)]
pub(super) struct Faults<'t> {
    text: &'t str,
    found: Vec<(usize, String)>,
}

impl<'t> Faults<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self {
            text,
            found: Vec::new(),
        }
    }

    /// Something is wrong at this byte of the text.
    pub(super) fn add(&mut self, at: usize, message: impl Into<String>) {
        self.found.push((at, message.into()));
    }

    /// The text that stands there.
    pub(super) fn text(&self, span: Range<usize>) -> &'t str {
        self.text.get(span).unwrap_or("")
    }

    /// The line in which this byte stands, for a message about another place.
    pub(super) fn line(&self, at: usize) -> usize {
        Place::of(self.text.as_bytes(), at).line
    }

    /// How many there are so far: a later check may depend on an earlier one.
    pub(super) fn count(&self) -> usize {
        self.found.len()
    }

    /// Ends the collection: the value if nothing is wrong.
    pub(super) fn finish<T>(mut self, file: &str, value: T) -> Result<T, TopologyError> {
        if self.found.is_empty() {
            return Ok(value);
        }
        self.found.sort_by_key(|&(at, _)| at);
        self.found.dedup();
        let place = |at| Some(Place::of(self.text.as_bytes(), at));
        let faults = self.found.iter().map(|(at, message)| TopologyFault {
            place: place(*at),
            message: message.clone(),
        });
        Err(TopologyError {
            file: file.to_owned(),
            faults: faults.collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_counted_as_editors_do() {
        let text = "\u{feff}a = 1\nb = \"\u{e4}\" x".as_bytes();
        let place = |offset| {
            let Place { line, column } = Place::of(text, offset);
            (line, column)
        };
        assert_eq!(place(0), (1, 1));
        assert_eq!(place(3), (1, 1), "the byte order mark is no column");
        assert_eq!(place(9), (2, 1));
        assert_eq!(place(text.len() - 1), (2, 9), "characters, not bytes");
        assert_eq!(place(10_000), (2, 10));
    }
}
