//! `cargo xtask tidy`: the house rules that a machine can check.
//!
//! A rule reads a [`Repo`] and reports [`Finding`]s: where, what, why, and how to mend it. Rules on
//! Rust files read tokens, not lines, so that comments and strings are never mistaken for code.

mod arrows;
mod dead_files;
mod docs;
mod hygiene;
mod machine_paths;
mod manifests;
mod modules;
mod paths;
mod platform;
mod repo;
mod size;
mod source;
mod unsafety;

use std::fmt;
use std::io::Write;
use std::path::Path;

pub(crate) use repo::Repo;

/// One place that breaks a rule.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    /// Path from the root of the repository, with `/`.
    path: String,
    /// Line, counted from 1.
    line: usize,
    what: String,
    why: &'static str,
    mend: &'static str,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            path,
            line,
            what,
            why,
            mend,
        } = self;
        write!(f, "{path}:{line}: {what}; {why}; {mend}")
    }
}

/// A rule: its name, and what reports its findings.
type Rule = (&'static str, fn(&Repo, &mut Vec<Finding>));

/// All rules, in the order they are run. The order of the report is by path and line.
const RULES: &[Rule] = &[
    ("sizes", size::check),
    ("unsafe", unsafety::check),
    ("platform", platform::check),
    ("hygiene", hygiene::check),
    ("arrows", arrows::check),
    ("dead files", dead_files::check),
    ("manifests", manifests::check),
    ("documents", docs::check),
    ("machine paths", machine_paths::check),
];

/// Runs every rule.
pub(crate) fn findings(repo: &Repo) -> Vec<Finding> {
    let mut found = repo.unreadable();
    for (_, rule) in RULES {
        rule(repo, &mut found);
    }
    found.sort();
    found.dedup();
    found
}

/// Checks the repository at `root` and prints what it found.
///
/// # Errors
/// When a rule is broken, when git cannot list the files, or one cannot be read.
pub(crate) fn run(root: &Path, out: &mut dyn Write) -> Result<(), String> {
    let repo = Repo::load(root)?;
    let found = findings(&repo);
    let mut print =
        |text: String| writeln!(out, "{text}").map_err(|e| format!("cannot print: {e}"));
    for finding in &found {
        print(finding.to_string())?;
    }
    let (files, rules) = (repo.files().count(), RULES.len());
    if !found.is_empty() {
        return Err(format!("tidy: {} findings in {files} files", found.len()));
    }
    print(format!(
        "tidy: nothing found by {rules} groups of rules in {files} files"
    ))
}

/// Runs one rule over made-up files and returns `path:line` of its findings, in order.
#[cfg(test)]
fn places(rule: fn(&Repo, &mut Vec<Finding>), files: &[(&str, &str)]) -> Vec<String> {
    let repo = Repo::from_files(files.iter().map(|&(path, text)| (path.into(), text.into())));
    assert_eq!(repo.unreadable(), [], "the snippet itself must be readable");
    let mut found = Vec::new();
    rule(&repo, &mut found);
    found.sort();
    found
        .into_iter()
        .map(|f| format!("{}:{}", f.path, f.line))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_repository_is_tidy() {
        let mut report = Vec::new();
        let verdict = run(&crate::root(), &mut report);
        assert_eq!(verdict, Ok(()), "\n{}", String::from_utf8_lossy(&report));
    }

    #[test]
    fn a_finding_says_where_what_why_and_how_to_mend_it() {
        let files = [(
            "crates/a/src/lib.rs".into(),
            "fn f() {\n    todo!()\n}\n".into(),
        )];
        let repo = Repo::from_files(files.into_iter());
        let mut found = Vec::new();
        hygiene::check(&repo, &mut found);
        let text = found
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("\n");
        let start = "crates/a/src/lib.rs:2: `todo!` is a stub; ";
        assert!(
            text.starts_with(start) && text.matches("; ").count() == 2,
            "{text}"
        );
    }

    #[test]
    fn a_file_that_is_no_rust_is_a_finding() {
        let files = [("crates/a/src/lib.rs".into(), "fn f() { ( }\n".into())];
        let repo = Repo::from_files(files.into_iter());
        assert_eq!(repo.unreadable().len(), 1);
    }
}
