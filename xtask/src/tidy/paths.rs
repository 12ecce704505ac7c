//! The paths that a file names, with imports, `self` and `super` resolved.
//!
//! `use std::thread::sleep; sleep(d)` and `std::thread::sleep(d)` are the same path to a rule.
//! Imports count for the whole file: scopes are not kept apart, a rule wants the name, not the
//! exact item.

use std::collections::BTreeMap;

use super::source::{Kind, Source};

/// One path in the code, or one leaf of a `use`.
#[derive(Debug)]
pub(super) struct NamedPath {
    pub(super) line: usize,
    /// Resolved as far as this file tells: starts with `crate` or a crate's or a local name.
    pub(super) segments: Vec<String>,
    /// It stands in a `use`.
    pub(super) imported: bool,
    /// Its first segment was resolved by a `use` of this file, which is a path of its own.
    pub(super) by_import: bool,
    /// It is followed by `(` or `::<`.
    pub(super) called: bool,
}

impl NamedPath {
    /// Whether the last segments are exactly `tail`.
    pub(super) fn ends_with(&self, tail: &[&str]) -> bool {
        let from = self.segments.len().checked_sub(tail.len());
        from.is_some_and(|from| self.segments[from..].iter().eq(tail))
    }

    /// Whether the first segments are exactly those of `head`, such as `crate::port`.
    pub(super) fn starts_with(&self, head: &str) -> bool {
        let mut segments = self.segments.iter();
        head.split("::")
            .all(|part| segments.next().is_some_and(|s| s == part))
    }
}

/// All paths of a file, in order.
pub(super) fn of(source: &Source) -> Vec<NamedPath> {
    let mut walk = Walk::new(source);
    walk.run();
    let imports = walk.imports;
    for path in walk.paths.iter_mut().filter(|p| !p.imported) {
        if let Some(full) = imports.get(&path.segments[0]) {
            path.segments.splice(..1, full.iter().cloned());
            path.by_import = true;
        }
    }
    walk.paths
}

struct Walk<'a> {
    source: &'a Source,
    at: usize,
    /// The module path of the file, then the inline modules around the current token.
    module: Vec<String>,
    /// Where each inline module ends.
    ends: Vec<usize>,
    /// Name in this file -> resolved path.
    imports: BTreeMap<String, Vec<String>>,
    paths: Vec<NamedPath>,
}

impl<'a> Walk<'a> {
    fn new(source: &'a Source) -> Self {
        Self {
            source,
            at: 0,
            module: module_of(&source.path),
            ends: Vec::new(),
            imports: BTreeMap::new(),
            paths: Vec::new(),
        }
    }

    fn run(&mut self) {
        while self.at < self.source.tokens.len() {
            if self.ends.last() == Some(&self.at) {
                self.ends.pop();
                self.module.pop();
            }
            match self.source.ident(self.at) {
                Some("mod") => self.enter_module(),
                Some("use") if !self.source.is(self.at + 1, "<") => self.import(),
                Some(_) => self.path(),
                None => self.at += 1,
            }
        }
    }

    fn enter_module(&mut self) {
        if let (Some(name), true) = (
            self.source.ident(self.at + 1),
            self.source.is(self.at + 2, "{"),
        ) {
            self.module.push(name.to_owned());
            self.ends.push(self.source.tokens[self.at + 2].mate);
            self.at += 2;
        }
        self.at += 1;
    }

    fn import(&mut self) {
        self.at += 1;
        self.use_tree(&mut Vec::new());
    }

    /// One tree of a `use`, up to the `,`, `}` or `;` that ends it.
    fn use_tree(&mut self, prefix: &mut Vec<String>) {
        let depth = prefix.len();
        while let Some(token) = self.source.at(self.at) {
            let (line, end) = (token.line, token.mate);
            if token.kind == Kind::Ident {
                let name = token.text.clone();
                prefix.push(name.clone());
                self.at += 1;
                if !self.source.reads(self.at, &[":", ":"]) {
                    self.leaf(prefix, name, line);
                    break;
                }
            } else if token.is("{") {
                self.at += 1;
                while self.at < end {
                    let before = self.at;
                    self.use_tree(prefix);
                    // Past the comma, and past anything that is no `use` tree (in a macro, say).
                    let stuck = self.at == before;
                    self.at += usize::from(stuck || self.source.is(self.at, ","));
                }
                self.at = end + 1;
                break;
            } else if token.is("*") {
                prefix.push("*".into());
                self.at += 1;
                self.leaf(prefix, "*".into(), line);
                break;
            } else if token.is(":") {
                self.at += 1;
            } else {
                break;
            }
        }
        prefix.truncate(depth);
    }

    fn leaf(&mut self, prefix: &[String], mut name: String, line: usize) {
        let mut segments = self.resolve(prefix);
        if segments.len() > 1 && segments.last().is_some_and(|s| s == "self") {
            segments.pop();
            name.clone_from(&segments[segments.len() - 1]);
        }
        if self.source.is(self.at, "as") {
            name = self.source.ident(self.at + 1).unwrap_or("_").to_owned();
            self.at += 2;
        }
        self.imports.entry(name).or_insert_with(|| segments.clone());
        self.paths.push(NamedPath {
            line,
            segments,
            imported: true,
            by_import: false,
            called: false,
        });
    }

    /// A path outside a `use`: identifiers joined by `::`.
    fn path(&mut self) {
        let start = self.at;
        let mut segments = Vec::new();
        while let Some(name) = self.source.ident(self.at) {
            segments.push(name.to_owned());
            self.at += 1;
            if !self.source.reads(self.at, &[":", ":"]) || self.source.ident(self.at + 2).is_none()
            {
                break;
            }
            self.at += 2;
        }
        let before = |n: usize| start.checked_sub(n).and_then(|i| self.source.at(i));
        let method = before(1).is_some_and(|t| t.is(".")) && !before(2).is_some_and(|t| t.is("."));
        if method || before(1).is_some_and(|t| t.is("fn")) {
            return; // a field, a method or a definition
        }
        let called = self.source.is(self.at, "(") || self.source.reads(self.at, &[":", ":", "<"]);
        let line = self.source.tokens[start].line;
        let segments = self.resolve(&segments);
        self.paths.push(NamedPath {
            line,
            segments,
            imported: false,
            by_import: false,
            called,
        });
    }

    /// Makes `self::` and `super::` start with `crate`.
    fn resolve(&self, segments: &[String]) -> Vec<String> {
        let ups = segments.iter().take_while(|s| *s == "super").count();
        let own = segments.len() > 1 && segments[0] == "self";
        if ups == 0 && !own {
            return segments.to_vec();
        }
        let ups_after_self = segments
            .iter()
            .skip(1)
            .take_while(|s| own && *s == "super")
            .count();
        let skip = if own { 1 + ups_after_self } else { ups };
        let keep = self.module.len().saturating_sub(ups + ups_after_self);
        let mut full = vec!["crate".to_owned()];
        full.extend_from_slice(&self.module[..keep]);
        full.extend_from_slice(&segments[skip..]);
        full
    }
}

/// The module that a file is, by the usual layout: `src/a/b.rs` and `src/a/b/mod.rs` are `a::b`.
fn module_of(path: &str) -> Vec<String> {
    let inside = path.rsplit_once("src/").map_or(path, |(_, inside)| inside);
    let mut parts: Vec<String> = inside
        .trim_end_matches(".rs")
        .split('/')
        .map(Into::into)
        .collect();
    if parts
        .last()
        .is_some_and(|p| matches!(p.as_str(), "mod" | "lib" | "main"))
    {
        parts.pop();
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(path: &str, text: &str) -> Vec<String> {
        let source = Source::read(path, text).expect("readable");
        of(&source)
            .into_iter()
            .map(|p| p.segments.join("::"))
            .collect()
    }

    #[test]
    fn a_use_is_one_path_a_leaf() {
        let text = "use a::{b, c::{self, d as e}, f::*}; use ::g::h;";
        let all = named("crates/w/src/lib.rs", text);
        assert_eq!(all, ["a::b", "a::c", "a::c::d", "a::f::*", "g::h"]);
    }

    #[test]
    fn imports_and_renames_are_resolved_in_the_code() {
        let text = "use a::b as x; use a::{c::{self}}; fn f() { x::y(); c::z(); free(); v.x() }";
        let all = named("crates/w/src/lib.rs", text);
        for wanted in ["a::b::y", "a::c::z", "free"] {
            assert!(all.iter().any(|p| p == wanted), "{wanted} in {all:?}");
        }
        assert_eq!(
            all.iter().filter(|p| p.starts_with("a::b")).count(),
            2,
            "no method: {all:?}"
        );
    }

    #[test]
    fn self_and_super_start_at_the_crate() {
        let text = "use super::q; use self::r::S; \
                    mod inner { use super::t; fn f() { super::super::u() } } use super::v;";
        let all = named("crates/w/src/flow/recv.rs", text);
        for wanted in [
            "crate::flow::q",
            "crate::flow::recv::r::S",
            "crate::flow::recv::t",
            "crate::flow::u",
        ] {
            assert!(all.iter().any(|p| p == wanted), "{wanted} in {all:?}");
        }
        assert_eq!(all.last().map(String::as_str), Some("crate::flow::v"));
    }

    #[test]
    fn precise_capturing_is_no_import() {
        let all = named(
            "crates/w/src/lib.rs",
            "fn f() -> impl A + use<'a> { b::c() }",
        );
        assert!(all.iter().any(|p| p == "b::c"), "{all:?}");
    }
}
