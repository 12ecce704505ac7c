//! A Rust file as a flat list of tokens, with its test regions.

use std::ops::RangeInclusive;
use std::str::FromStr;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Ident,
    Punct,
    Literal,
    Open,
    Close,
}

#[derive(Clone, Debug)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) text: String,
    pub(super) line: usize,
    /// For a bracket: the index of its partner. For any other token: its own index.
    pub(super) mate: usize,
}

impl Token {
    pub(super) fn is(&self, text: &str) -> bool {
        self.kind != Kind::Literal && self.text == text
    }
}

#[derive(Debug)]
pub(super) struct Source {
    pub(super) path: String,
    pub(super) text: String,
    pub(super) tokens: Vec<Token>,
    /// Lines of items under `#[cfg(test)]` or `#[test]`.
    tests: Vec<RangeInclusive<usize>>,
    /// The whole file is test code: by its folder, by `#![cfg(test)]`, or by who declares it.
    pub(super) all_test: bool,
}

impl Source {
    /// Cuts `text` into tokens. The error is the lexer's own word.
    pub(super) fn read(path: &str, text: &str) -> Result<Self, String> {
        let body = without_shebang(text);
        let stream = TokenStream::from_str(body).map_err(|e| e.to_string())?;
        let mut tokens = Vec::new();
        flatten(stream, &mut tokens);
        let mut source = Self {
            path: path.to_owned(),
            text: text.to_owned(),
            tests: Vec::new(),
            all_test: in_test_folder(path),
            tokens,
        };
        source.find_tests();
        Ok(source)
    }

    /// The token at `index`; past either end there is none.
    pub(super) fn at(&self, index: usize) -> Option<&Token> {
        self.tokens.get(index)
    }

    /// Whether the token at `index` is exactly `text` (a literal never is).
    pub(super) fn is(&self, index: usize, text: &str) -> bool {
        self.at(index).is_some_and(|t| t.is(text))
    }

    /// Whether the tokens from `index` on read `pattern`, one entry a token.
    pub(super) fn reads(&self, index: usize, pattern: &[&str]) -> bool {
        pattern
            .iter()
            .enumerate()
            .all(|(n, text)| self.is(index + n, text))
    }

    /// The identifier at `index`, if there is one.
    pub(super) fn ident(&self, index: usize) -> Option<&str> {
        self.at(index)
            .filter(|t| t.kind == Kind::Ident)
            .map(|t| t.text.as_str())
    }

    /// Whether the line belongs to test code.
    pub(super) fn is_test(&self, line: usize) -> bool {
        self.all_test || self.tests.iter().any(|range| range.contains(&line))
    }

    /// Index just past the item that starts at `start`: after its `;` or its `{ .. }`, or at the
    /// bracket that closes what it stands in.
    pub(super) fn item_end(&self, start: usize) -> usize {
        let mut at = start;
        while let Some(token) = self.at(at) {
            match (token.kind, token.text.as_str()) {
                (Kind::Close, _) => return at,
                (Kind::Open, "{") => return token.mate + 1,
                (Kind::Open, _) => at = token.mate + 1,
                (Kind::Punct, ";") => return at + 1,
                _ => at += 1,
            }
        }
        at
    }

    fn find_tests(&mut self) {
        let mut at = 0;
        while at < self.tokens.len() {
            let inner = self.reads(at, &["#", "!", "["]);
            if !inner && !self.reads(at, &["#", "["]) {
                at += 1;
                continue;
            }
            let open = if inner { at + 2 } else { at + 1 };
            let close = self.tokens[open].mate;
            if self.is_test_attribute(open + 1, close) {
                if inner {
                    self.all_test = true;
                } else {
                    let end = self.item_end(close + 1).saturating_sub(1);
                    let last = self.at(end).map_or(self.tokens[close].line, |t| t.line);
                    self.tests.push(self.tokens[at].line..=last);
                }
            }
            at = close + 1;
        }
    }

    /// `cfg(..)` that only holds in tests, or an attribute whose path ends in `test`.
    fn is_test_attribute(&self, from: usize, to: usize) -> bool {
        if self.is(from, "cfg") {
            return self.needs_test(from + 2, to);
        }
        let path_end = (from..to)
            .find(|&i| self.tokens[i].kind == Kind::Open)
            .unwrap_or(to);
        path_end > from && self.is(path_end - 1, "test")
    }

    /// Whether the predicate that starts at `at` can hold only when `test` is set.
    fn needs_test(&self, at: usize, to: usize) -> bool {
        match self.ident(at) {
            Some("test") => true,
            Some("all") => self.predicates(at + 1, to).any(|p| self.needs_test(p, to)),
            Some("any") => {
                let mut inner = self.predicates(at + 1, to).peekable();
                inner.peek().is_some() && inner.all(|p| self.needs_test(p, to))
            }
            _ => false,
        }
    }

    /// Where each predicate of the list that opens at `open` starts.
    fn predicates(&self, open: usize, to: usize) -> impl Iterator<Item = usize> {
        let close = self.at(open).map_or(open, |t| t.mate).min(to);
        let mut starts = Vec::new();
        let mut at = open + 1;
        while at < close {
            starts.push(at);
            while at < close && !self.is(at, ",") {
                let mate = self.tokens[at].mate;
                at = mate.max(at) + 1;
            }
            at += 1;
        }
        starts.into_iter()
    }
}

/// Whether everything under this path is there for tests, measurements or examples.
pub(super) fn in_test_folder(path: &str) -> bool {
    path.split('/')
        .any(|part| matches!(part, "tests" | "benches" | "examples" | "fuzz"))
}

fn without_shebang(text: &str) -> &str {
    let is_shebang = text.starts_with("#!") && !text.starts_with("#![");
    // The newline stays, so that line numbers do not move.
    if is_shebang {
        &text[text.find('\n').unwrap_or(text.len())..]
    } else {
        text
    }
}

fn flatten(stream: TokenStream, out: &mut Vec<Token>) {
    for tree in stream {
        let line = tree.span().start().line;
        let mate = out.len();
        let single = |kind, text| Token {
            kind,
            text,
            line,
            mate,
        };
        match tree {
            TokenTree::Ident(ident) => out.push(single(Kind::Ident, ident.to_string())),
            TokenTree::Punct(punct) => out.push(single(Kind::Punct, punct.to_string())),
            TokenTree::Literal(literal) => out.push(single(Kind::Literal, literal.to_string())),
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::None => ("", ""),
                };
                out.push(single(Kind::Open, open.into()));
                flatten(group.stream(), out);
                let end = out.len();
                let last = group.span_close().end().line;
                out.push(Token {
                    kind: Kind::Close,
                    text: close.into(),
                    line: last,
                    mate,
                });
                out[mate].mate = end;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source::read("crates/a/src/lib.rs", text).expect("readable")
    }

    fn test_lines(text: &str) -> Vec<usize> {
        let source = source(text);
        (1..=text.lines().count())
            .filter(|&line| source.is_test(line))
            .collect()
    }

    #[test]
    fn items_for_tests_are_test_lines_and_others_are_not() {
        assert_eq!(
            test_lines("fn a() {}\n#[cfg(test)]\nmod t {\n  x\n}\nfn b() {}\n"),
            [2, 3, 4, 5]
        );
        assert_eq!(test_lines("#[test]\nfn a() {\n}\nfn b() {}\n"), [1, 2, 3]);
        assert_eq!(
            test_lines("#[tokio::test(a = 1)]\nfn a() {\n}\nfn b() {}\n"),
            [1, 2, 3]
        );
        assert_eq!(test_lines("#[cfg(test)]\nuse a::b;\nuse c::d;\n"), [1, 2]);
        assert_eq!(
            test_lines("struct S {\n#[cfg(test)]\na: u8\n}\nfn f() {}\n"),
            [2, 3]
        );
    }

    #[test]
    fn only_predicates_that_need_test_count() {
        assert_eq!(
            test_lines("#[cfg(all(a(b, c), test))]\nfn a() {}\nfn b() {}\n"),
            [1, 2]
        );
        assert_eq!(
            test_lines("#[cfg(any(test, all(test, x)))]\nfn a() {}\n"),
            [1, 2]
        );
        for silent in [
            "any(test, x)",
            "not(test)",
            "feature = \"test\"",
            "any()",
            "all()",
        ] {
            assert_eq!(
                test_lines(&format!("#[cfg({silent})]\nfn a() {{}}\n")),
                [0; 0],
                "{silent}"
            );
        }
    }

    #[test]
    fn a_file_is_test_code_by_its_attribute_or_its_folder() {
        assert_eq!(test_lines("#![cfg(test)]\nfn a() {}\n"), [1, 2]);
        assert!(
            Source::read("crates/a/tests/b.rs", "")
                .expect("readable")
                .all_test
        );
        assert!(
            !Source::read("crates/a/src/tests_of.rs", "")
                .expect("readable")
                .all_test
        );
    }

    #[test]
    fn brackets_know_their_partners_and_lines_are_right() {
        let source = source("#!/usr/bin/env x\nfn a(b: [u8; 2]) {\n\n}\n");
        for (index, token) in source.tokens.iter().enumerate() {
            assert_eq!(source.tokens[token.mate].mate, index);
        }
        assert_eq!(source.tokens.last().map(|t| t.line), Some(4));
    }
}
