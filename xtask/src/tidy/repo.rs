//! The files that rules read: the repository's own, or made-up ones in a test.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use super::source::Source;
use super::{Finding, modules};

/// Every text file that git tracks or would track, with the Rust files cut into tokens.
#[derive(Debug)]
pub(crate) struct Repo {
    files: BTreeMap<String, String>,
    /// Files that are not text: only their being there counts (a picture that a page links to).
    binary: BTreeSet<String>,
    sources: BTreeMap<String, Source>,
    unreadable: Vec<(String, String)>,
    pub(super) modules: modules::Graph,
}

impl Repo {
    /// Reads the files of the git checkout at `root`, new ones that are not ignored included.
    ///
    /// # Errors
    /// When git cannot list the files, or one of them cannot be read.
    pub(crate) fn load(root: &Path) -> Result<Self, String> {
        let listed = Command::new("git")
            .args([
                "ls-files",
                "-z",
                "--cached",
                "--others",
                "--exclude-standard",
            ])
            .current_dir(root)
            .output()
            .map_err(|e| format!("git ls-files in {}: {e}; install git", root.display()))?;
        if !listed.status.success() {
            let why = String::from_utf8_lossy(&listed.stderr);
            return Err(format!(
                "git ls-files in {}: {}",
                root.display(),
                why.trim()
            ));
        }
        let (mut files, mut binary) = (BTreeMap::new(), BTreeSet::new());
        for path in String::from_utf8_lossy(&listed.stdout)
            .split('\0')
            .filter(|p| !p.is_empty())
        {
            let full = root.join(path);
            if !full.is_file() {
                continue; // deleted in the work tree, or a submodule
            }
            let bytes = std::fs::read(&full).map_err(|e| format!("{path}: {e}"))?;
            match String::from_utf8(bytes) {
                Ok(text) => drop(files.insert(path.to_owned(), text)),
                Err(_) => drop(binary.insert(path.to_owned())),
            }
        }
        Ok(Self {
            binary,
            ..Self::from_files(files.into_iter())
        })
    }

    /// A repository of the given paths and texts.
    pub(crate) fn from_files(files: impl Iterator<Item = (String, String)>) -> Self {
        let files: BTreeMap<String, String> = files.collect();
        let (mut sources, mut unreadable) = (BTreeMap::new(), Vec::new());
        for (path, text) in files.iter().filter(|(path, _)| path.ends_with(".rs")) {
            match Source::read(path, text) {
                Ok(source) => drop(sources.insert(path.clone(), source)),
                Err(why) => unreadable.push((path.clone(), why)),
            }
        }
        let modules = modules::Graph::of(&files, &sources);
        for (path, source) in &mut sources {
            source.all_test |= modules.only_for_tests(path);
        }
        Self {
            files,
            binary: BTreeSet::new(),
            sources,
            unreadable,
            modules,
        }
    }

    /// Path and text of every text file, by path.
    pub(crate) fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files
            .iter()
            .map(|(path, text)| (path.as_str(), text.as_str()))
    }

    /// The text of one file.
    pub(super) fn text(&self, path: &str) -> Option<&str> {
        self.files.get(path).map(String::as_str)
    }

    /// Whether a file or a folder of this path is there.
    pub(super) fn exists(&self, path: &str) -> bool {
        let folder = format!("{}/", path.trim_end_matches('/'));
        let mut paths = self.files.keys().chain(&self.binary);
        paths.any(|p| p == path || p.starts_with(&folder))
    }

    /// Every Rust file, by path.
    pub(super) fn sources(&self) -> impl Iterator<Item = &Source> {
        self.sources.values()
    }

    /// A finding for each Rust file that could not be cut into tokens: no rule has read it.
    pub(super) fn unreadable(&self) -> Vec<Finding> {
        let finding = |(path, why): &(String, String)| Finding {
            path: path.clone(),
            line: 1,
            what: format!("no Rust that tidy can read ({why})"),
            why: "a file that is not read is not checked",
            mend: "make it compile, or give it another ending",
        };
        self.unreadable.iter().map(finding).collect()
    }
}
