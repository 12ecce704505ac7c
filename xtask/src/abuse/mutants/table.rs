//! The mutants: which line, what it is broken to, and what must fail.

use std::fmt;

/// What must fail.
#[derive(Clone, Copy, Debug)]
pub(super) enum Check {
    /// Models whose path has this in it.
    Model(&'static str),
    /// So many seeds of the simulation.
    Seeds(&'static str),
    /// A test of this target; of `lib`, one beside the code.
    Test(&'static str, &'static str),
    /// A soak of so many minutes.
    Soak(&'static str),
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Model(model) => write!(f, "{model}"),
            Self::Seeds(count) => write!(f, "{count} seeds"),
            Self::Test(target, name) => write!(f, "{target} {name}"),
            Self::Soak(minutes) => write!(f, "soak of {minutes} min"),
        }
    }
}

/// One broken line.
pub(super) struct Mutant {
    /// What the line is there for.
    pub(super) name: &'static str,
    /// Under `crates/wharf/src/`.
    pub(super) file: &'static str,
    pub(super) line: String,
    pub(super) broken: String,
    pub(super) check: Check,
}

/// Reads the table.
///
/// # Errors
/// A line of it that can't be read.
pub(super) fn mutants() -> Result<Vec<Mutant>, String> {
    read(include_str!("table.txt"))
}

fn read(text: &'static str) -> Result<Vec<Mutant>, String> {
    let parts = text.split("\n\n").filter(|part| part.starts_with("= "));
    parts.map(one).collect()
}

fn one(part: &'static str) -> Result<Mutant, String> {
    let mut lines = part.lines();
    let name = lines.next().and_then(|line| line.strip_prefix("= "));
    let name = name.ok_or_else(|| format!("no name: {part}"))?;
    let place = lines.next().and_then(|line| line.strip_prefix("@ "));
    let mut words = place.unwrap_or_default().split(' ');
    let file = words.next().unwrap_or_default();
    let check = match (words.next(), words.next(), words.next()) {
        (Some("model"), Some(model), None) => Check::Model(model),
        (Some("seeds"), Some(count), None) => Check::Seeds(count),
        (Some("soak"), Some(minutes), None) => Check::Soak(minutes),
        (Some("test"), Some(target), Some(name)) => Check::Test(target, name),
        _ => return Err(format!("{name}: no check")),
    };
    let (mut line, mut broken) = (Vec::new(), Vec::new());
    for text in lines {
        match (text.strip_prefix('-'), text.strip_prefix('+')) {
            (Some(text), _) => line.push(text),
            (_, Some(text)) => broken.push(text),
            _ => return Err(format!("{name}: {text:?} is neither - nor +")),
        }
    }
    Ok(Mutant {
        name,
        file,
        line: line.join("\n"),
        broken: broken.join("\n"),
        check,
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// A line that moved is noticed here, not when somebody runs them all.
    #[test]
    fn every_line_stands_once_in_its_file() {
        let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/wharf/src");
        let mutants = mutants().expect("the table can be read");
        assert!(mutants.len() >= 50);
        for mutant in mutants {
            let text = std::fs::read_to_string(src.join(mutant.file)).expect("its file");
            assert_eq!(text.matches(&mutant.line).count(), 1, "{}", mutant.name);
            assert_ne!(mutant.line, mutant.broken, "{}", mutant.name);
        }
    }
}
