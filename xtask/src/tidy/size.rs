//! Sizes that a reader can hold in the head: files, functions, lines.

use super::source::Source;
use super::{Finding, Repo};

const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;
const LINE_COLUMNS_MAX: usize = 100;

pub(super) fn check(repo: &Repo, found: &mut Vec<Finding>) {
    for source in repo.sources() {
        file(source, found);
        functions(source, found);
        columns(source, found);
    }
}

fn file(source: &Source, found: &mut Vec<Finding>) {
    let lines = source.text.lines().count();
    if lines > FILE_LINES_MAX {
        found.push(Finding {
            path: source.path.clone(),
            line: FILE_LINES_MAX + 1,
            what: format!("{lines} lines, over {FILE_LINES_MAX}"),
            why: "a long file hides the order of things",
            mend: "split it along the data path",
        });
    }
}

/// From the line of `fn` to the line of the closing brace, both counted.
fn functions(source: &Source, found: &mut Vec<Finding>) {
    for (at, token) in source.tokens.iter().enumerate() {
        let Some(name) = source.ident(at + 1).filter(|_| token.is("fn")) else {
            continue;
        };
        let last = source.item_end(at).saturating_sub(1);
        let lines = source.at(last).map_or(0, |t| t.line) + 1 - token.line;
        if lines > FUNCTION_LINES_MAX && !source.is_test(token.line) {
            found.push(Finding {
                path: source.path.clone(),
                line: token.line,
                what: format!("fn {name} has {lines} lines, over {FUNCTION_LINES_MAX}"),
                why: "a function is read as one thought",
                mend: "name its parts and move them out",
            });
        }
    }
}

fn columns(source: &Source, found: &mut Vec<Finding>) {
    for (index, line) in source.text.lines().enumerate() {
        let columns = line.chars().count();
        if columns > LINE_COLUMNS_MAX {
            found.push(Finding {
                path: source.path.clone(),
                line: index + 1,
                what: format!("{columns} columns, over {LINE_COLUMNS_MAX}"),
                why: "two files fit side by side",
                mend: "run cargo fmt, or break the string or comment by hand",
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::places;
    use super::*;

    const LIB: &str = "crates/a/src/lib.rs";

    fn function(lines: usize) -> String {
        format!(
            "impl A {{\n    fn f() {{\n{}    }}\n}}\n",
            "        x();\n".repeat(lines - 2)
        )
    }

    #[test]
    fn a_file_over_500_lines() {
        assert_eq!(
            places(check, &[(LIB, &"//\n".repeat(501))]),
            [format!("{LIB}:501")]
        );
        assert_eq!(places(check, &[(LIB, &"//\n".repeat(500))]), [""; 0]);
    }

    #[test]
    fn a_function_over_70_lines_outside_tests() {
        assert_eq!(places(check, &[(LIB, &function(71))]), [format!("{LIB}:2")]);
        assert_eq!(places(check, &[(LIB, &function(70))]), [""; 0]);
        let test = format!("#[cfg(test)]\n{}", function(90));
        assert_eq!(
            places(check, &[(LIB, &test), ("tests/a.rs", &function(90))]),
            [""; 0]
        );
        let declared = format!(
            "trait A {{ fn f(&self) -> [u8; 2]; }}\n{}",
            "//\n".repeat(80)
        );
        assert_eq!(places(check, &[(LIB, &declared)]), [""; 0]);
    }

    #[test]
    fn a_line_over_100_columns() {
        let line = |columns: usize| format!("// {}\n", "ü".repeat(columns - 3));
        assert_eq!(places(check, &[(LIB, &line(101))]), [format!("{LIB}:1")]);
        assert_eq!(places(check, &[(LIB, &line(100))]), [""; 0]);
    }
}
