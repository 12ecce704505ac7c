//! Which Rust files belong to a crate: from each package's roots along the `mod` lines.

use std::collections::BTreeMap;

use super::source::{Kind, Source};

type Files = BTreeMap<String, String>;
type Sources = BTreeMap<String, Source>;

/// The files that some crate compiles.
#[derive(Debug, Default)]
pub(super) struct Graph {
    /// Path -> whether it is reached through `#[cfg(test)]` only.
    reached: BTreeMap<String, bool>,
}

/// A file still to be read.
struct Next {
    path: String,
    test_only: bool,
    /// A crate's root looks for its modules beside it, whatever its name is.
    root: bool,
}

impl Graph {
    pub(super) fn of(files: &Files, sources: &Sources) -> Self {
        let mut graph = Self::default();
        let mut todo: Vec<Next> = roots(files)
            .into_iter()
            .map(|path| Next {
                path,
                test_only: false,
                root: true,
            })
            .collect();
        while let Some(next) = todo.pop() {
            let Some(source) = sources.get(&next.path) else {
                continue;
            };
            match graph.reached.get(&next.path) {
                Some(&known_test) if next.test_only || !known_test => continue,
                _ => drop(graph.reached.insert(next.path.clone(), next.test_only)),
            }
            for (line, path) in declared(source, next.root) {
                let test_only = next.test_only || source.is_test(line);
                todo.push(Next {
                    path,
                    test_only,
                    root: false,
                });
            }
        }
        graph
    }

    pub(super) fn reaches(&self, path: &str) -> bool {
        self.reached.contains_key(path)
    }

    pub(super) fn only_for_tests(&self, path: &str) -> bool {
        self.reached.get(path) == Some(&true)
    }
}

/// The root files of every package: those that cargo finds by itself, and those that a manifest
/// names.
fn roots(files: &Files) -> Vec<String> {
    let mut roots = Vec::new();
    for (path, text) in files.iter().filter(|(path, _)| is_manifest(path)) {
        let Ok(manifest) = text.parse::<toml::Table>() else {
            continue;
        };
        if !manifest.contains_key("package") {
            continue;
        }
        let folder = path.strip_suffix("Cargo.toml").unwrap_or_default();
        roots.extend(named_roots(&manifest).map(|named| join(folder, &named)));
        let inside = files
            .keys()
            .filter_map(|p| Some((p, p.strip_prefix(folder)?)));
        roots.extend(
            inside
                .filter(|(_, rest)| is_usual_root(rest))
                .map(|(p, _)| p.clone()),
        );
    }
    roots
}

pub(super) fn is_manifest(path: &str) -> bool {
    path == "Cargo.toml" || path.ends_with("/Cargo.toml")
}

/// `path = ".."` of `[lib]`, `[[bin]]` and the like, and `build = ".."`.
fn named_roots(manifest: &toml::Table) -> impl Iterator<Item = String> {
    let kinds = ["lib", "bin", "test", "bench", "example"];
    let targets = kinds
        .into_iter()
        .filter_map(|kind| manifest.get(kind))
        .flat_map(|value| {
            value
                .as_array()
                .map_or_else(|| vec![value.clone()], Clone::clone)
        });
    let build = manifest
        .get("package")
        .and_then(|p| p.get("build"))
        .cloned();
    targets
        .filter_map(|target| target.get("path").cloned())
        .chain(build)
        .filter_map(|path| path.as_str().map(Into::into))
}

fn is_usual_root(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    match parts[..] {
        ["build.rs"] | ["src", "lib.rs" | "main.rs"] => true,
        ["tests" | "benches" | "examples", file] | ["src", "bin", file] => file.ends_with(".rs"),
        ["tests" | "benches" | "examples", _, "main.rs"] | ["src", "bin", _, "main.rs"] => true,
        _ => false,
    }
}

/// Line and possible paths of every file that `source` names by `mod x;` or `include!("x")`.
fn declared(source: &Source, root: bool) -> Vec<(usize, String)> {
    let (folder, file) = source.path.rsplit_once('/').unwrap_or(("", &source.path));
    let stem = file.trim_end_matches(".rs");
    let beside = root || stem == "mod";
    let mut inside: Vec<String> = if beside {
        vec![]
    } else {
        vec![stem.to_owned()]
    };
    let mut ends: Vec<usize> = Vec::new();
    let mut out = Vec::new();
    for (at, token) in source.tokens.iter().enumerate() {
        if ends.last() == Some(&at) {
            ends.pop();
            inside.pop();
        }
        if token.is("include") && source.reads(at + 1, &["!", "("]) {
            let named = literal(source, at + 3).map(|name| (token.line, join(folder, name)));
            out.extend(named);
        }
        let Some(name) = source.ident(at + 1).filter(|_| token.is("mod")) else {
            continue;
        };
        if source.is(at + 2, "{") {
            inside.push(name.to_owned());
            ends.push(source.tokens[at + 2].mate);
        } else if source.is(at + 2, ";") {
            let base = inside
                .iter()
                .fold(folder.to_owned(), |base, part| join(&base, part));
            out.push((token.line, join(&base, &format!("{name}.rs"))));
            out.push((token.line, join(&base, &format!("{name}/mod.rs"))));
            // A `#[path]` in an inline module is looked up in that module's folder.
            let path_base = if ends.is_empty() { folder } else { &base };
            let named = path_attributes(source, at).map(|path| (token.line, join(path_base, path)));
            out.extend(named);
        }
    }
    out
}

/// The values of `path = ".."` in the attributes before the `mod` at `at`.
fn path_attributes(source: &Source, at: usize) -> impl Iterator<Item = &str> {
    let mut from = at;
    while let Some(before) = from.checked_sub(1).and_then(|i| source.at(i)) {
        let is_visibility = before.is("pub") || (before.kind == Kind::Close && before.is(")"));
        let is_attribute = before.is("]")
            && before
                .mate
                .checked_sub(1)
                .is_some_and(|i| source.is(i, "#"));
        match (is_visibility, is_attribute) {
            (true, _) => from = before.mate.min(from - 1),
            (_, true) => from = before.mate - 1,
            _ => break,
        }
    }
    (from..at)
        .filter(|&i| source.reads(i, &["path", "="]))
        .filter_map(|i| literal(source, i + 2))
}

fn literal(source: &Source, at: usize) -> Option<&str> {
    let token = source.at(at).filter(|t| t.kind == Kind::Literal)?;
    token.text.strip_prefix('"')?.strip_suffix('"')
}

/// `folder/path` with `.` and `..` taken out; a result outside the repository never matches.
pub(super) fn join(folder: &str, path: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').filter(|p| !p.is_empty()).collect();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|p| *p != "..") => drop(parts.pop()),
            _ => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_joined_and_cleaned() {
        assert_eq!(join("a/b/", "../c/./d.rs"), "a/c/d.rs");
        assert_eq!(join("", "d.rs"), "d.rs");
        assert_eq!(join("a", "../../d.rs"), "../d.rs");
    }

    #[test]
    fn a_file_that_only_tests_declare_is_test_code() {
        let files = [
            ("Cargo.toml", "[package]\nname = \"a\"\n"),
            ("src/lib.rs", "#[cfg(test)]\nmod fixtures;\nmod real;\n"),
            ("src/fixtures.rs", "mod inner;\n"),
            ("src/fixtures/inner.rs", ""),
            ("src/real.rs", ""),
        ];
        let files: Files = files.map(|(p, t)| (p.into(), t.into())).into();
        let read = |(p, t): (&String, &String)| {
            p.ends_with(".rs")
                .then(|| (p.clone(), Source::read(p, t).expect("readable")))
        };
        let graph = Graph::of(&files, &files.iter().filter_map(read).collect());
        assert!(graph.only_for_tests("src/fixtures.rs"));
        assert!(graph.only_for_tests("src/fixtures/inner.rs"));
        assert!(graph.reaches("src/real.rs") && !graph.only_for_tests("src/real.rs"));
    }
}
