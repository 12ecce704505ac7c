//! Every dependency has its reason beside it.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Finding, Repo, modules};

const SECTIONS: &[&str] = &["dependencies", "dev-dependencies", "build-dependencies"];

/// The fewest letters that can be a reason.
const REASON_LETTERS_MIN: usize = 8;

pub(super) fn check(repo: &Repo, found: &mut Vec<Finding>) {
    for (path, text) in repo.files().filter(|(path, _)| modules::is_manifest(path)) {
        let mut report = |line, what| {
            found.push(Finding {
                path: path.to_owned(),
                line,
                what,
                why: "each dependency is a choice that a reader wants to know",
                mend: "add `# reason` after it or on the line above, or use `workspace = true`",
            });
        };
        match DeTable::parse(text) {
            Err(error) => {
                let line = error.span().map_or(1, |span| line_of(text, span.start));
                report(
                    line,
                    format!("a manifest that is no TOML ({})", error.message()),
                );
            }
            Ok(manifest) => {
                for (line, name) in without_reason(text, manifest.get_ref()) {
                    report(line, format!("dependency `{name}` without a reason"));
                }
            }
        }
    }
}

/// Line and name of each dependency that has no reason.
fn without_reason<'t>(text: &str, manifest: &'t DeTable<'_>) -> Vec<(usize, &'t str)> {
    let mut tables = vec![manifest];
    tables.extend(table(manifest, "workspace"));
    let targets = table(manifest, "target")
        .into_iter()
        .flat_map(|targets| targets.values());
    tables.extend(targets.filter_map(|target| target.get_ref().as_table()));
    let dependencies = tables
        .into_iter()
        .flat_map(|parent| SECTIONS.iter().filter_map(|section| table(parent, section)))
        .flatten();
    dependencies
        .filter(|(_, value)| !is_from_workspace(value) && !is_own(value))
        .filter(|(name, value)| !has_reason(text, name.span().start, value.span().end))
        .map(|(name, _)| (line_of(text, name.span().start), name.get_ref().as_ref()))
        .collect()
}

fn table<'t, 'i>(parent: &'t DeTable<'i>, key: &str) -> Option<&'t DeTable<'i>> {
    parent.get(key)?.get_ref().as_table()
}

fn is_from_workspace(value: &Spanned<DeValue<'_>>) -> bool {
    let workspace = value
        .get_ref()
        .as_table()
        .and_then(|table| table.get("workspace"));
    workspace.is_some_and(|w| w.get_ref().as_bool() == Some(true))
}

/// A crate of this repository: it needs no reason, it is what the repository is for.
fn is_own(value: &Spanned<DeValue<'_>>) -> bool {
    value
        .get_ref()
        .as_table()
        .is_some_and(|table| table.contains_key("path"))
}

/// A comment after the value, or (for `[dependencies.name]`) after the header, or above.
fn has_reason(text: &str, name_start: usize, value_end: usize) -> bool {
    let rest_of_line = |from: usize| text[from..].lines().next().unwrap_or_default();
    let line_start = text[..name_start]
        .rfind('\n')
        .map_or(0, |newline| newline + 1);
    let above = text[..line_start]
        .lines()
        .next_back()
        .unwrap_or_default()
        .trim_start();
    let header = rest_of_line(line_start);
    let trailing = if header.trim_start().starts_with('[') {
        header.split_once('#')
    } else {
        rest_of_line(value_end.max(name_start)).split_once('#')
    };
    let is_reason =
        |comment: &str| comment.chars().filter(|c| c.is_alphabetic()).count() >= REASON_LETTERS_MIN;
    trailing.is_some_and(|(_, comment)| is_reason(comment))
        || above.strip_prefix('#').is_some_and(is_reason)
}

fn line_of(text: &str, offset: usize) -> usize {
    text[..offset].matches('\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::super::places;
    use super::*;

    const PATH: &str = "crates/a/Cargo.toml";

    #[test]
    fn a_dependency_without_a_reason_in_any_section() {
        for section in [
            "dependencies",
            "dev-dependencies",
            "build-dependencies",
            "workspace.dependencies",
            "target.'cfg(windows)'.dependencies",
        ] {
            let one = format!("# The dependencies of this crate.\n\n[{section}]\na = \"1\"\n");
            assert_eq!(
                places(check, &[(PATH, &one)]),
                [format!("{PATH}:4")],
                "{section}"
            );
            let table = format!("\n[{section}.a]\nversion = \"1\"  # reason in a wrong place\n");
            assert_eq!(
                places(check, &[(PATH, &table)]),
                [format!("{PATH}:2")],
                "{section}"
            );
        }
    }

    #[test]
    fn a_reason_serves_one_dependency() {
        let text = "[dependencies]\n# reads all files\na = \"1\"\nb = { version = \"1#longer\" }\n\
                    c = \"1\"  # why\n";
        assert_eq!(
            places(check, &[(PATH, text)]),
            [format!("{PATH}:4"), format!("{PATH}:5")]
        );
    }

    #[test]
    fn reasons_beside_above_and_in_the_workspace() {
        let text = "[package]\nname = \"x\"\n[dependencies]\n\
                    a = \"1\"  # cuts words into letters\n\
                    # one buffer for all\nb = { version = \"1\", features = [\"c\"] }\n\
                    l = { path = \"../l\" }\nd.workspace = true\n\
                    e = { workspace = true, features = [\"f\"] }\n\
                    g = { version = \"1\", features = [\n  \"h\",\n] }  # counts what comes in\n\
                    # the only safe one\n[dependencies.i]\nversion = \"1\"\n\
                    [dependencies.j]  # reads the clock\nversion = \"1\"\n[features]\nk = []\n";
        assert_eq!(places(check, &[(PATH, text)]), [""; 0]);
    }

    #[test]
    fn a_manifest_that_is_no_toml() {
        assert_eq!(
            places(check, &[(PATH, "[package]\nname = \n")]),
            [format!("{PATH}:2")]
        );
    }
}
