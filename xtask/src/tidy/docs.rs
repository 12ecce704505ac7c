//! The pages that every reader starts from: there, true, and without dead links.

use std::collections::BTreeSet;

use super::{Finding, Repo, modules};

/// What README.md shows word for word, so that a newcomer can paste it.
const README_COMMANDS: &[&str] = &["cargo run --release", "cargo test"];

const CHANGELOG_HEADING: &str = "## Unreleased";

/// The folder whose parts ARCHITECTURE.md explains.
const EXPLAINED: &str = "crates/wharf/src/";

pub(super) fn check(repo: &Repo, found: &mut Vec<Finding>) {
    page(repo, found, "README.md", "a newcomer starts here", |text| {
        let missing = README_COMMANDS
            .iter()
            .filter(|command| !shows(text, command));
        missing
            .map(|command| format!("does not show `{command}`"))
            .collect()
    });
    page(
        repo,
        found,
        "CHANGELOG.md",
        "users read what changed, by version",
        |text| {
            let there = text
                .lines()
                .any(|line| line.trim_end() == CHANGELOG_HEADING);
            if there {
                vec![]
            } else {
                vec![format!("has no `{CHANGELOG_HEADING}` section")]
            }
        },
    );
    let folders = explained_folders(repo);
    page(
        repo,
        found,
        "ARCHITECTURE.md",
        "it is the map of the code",
        |text| {
            let missing = folders
                .iter()
                .filter(|folder| !text.contains(folder.as_str()));
            missing
                .map(|folder| format!("does not name the folder `{folder}`"))
                .collect()
        },
    );
    for (path, text) in repo.files().filter(|(path, _)| path.ends_with(".md")) {
        dead_links(repo, path, text, found);
    }
}

/// A finding if the page is not there, or one for each thing that `lacks` finds missing in it.
fn page(
    repo: &Repo,
    found: &mut Vec<Finding>,
    path: &str,
    why: &'static str,
    lacks: impl Fn(&str) -> Vec<String>,
) {
    let missing = repo
        .text(path)
        .map_or_else(|| vec!["is not there".to_owned()], lacks);
    found.extend(missing.into_iter().map(|what| Finding {
        path: path.to_owned(),
        line: 1,
        what,
        why,
        mend: "add it",
    }));
}

/// Whether the command stands in the text, not as the start of a longer word.
fn shows(text: &str, command: &str) -> bool {
    text.match_indices(command)
        .any(|(at, _)| !text[at + command.len()..].starts_with(|next: char| next.is_alphanumeric()))
}

/// The last part of each folder with Rust files below [`EXPLAINED`], as `name/`.
fn explained_folders(repo: &Repo) -> BTreeSet<String> {
    let inside = repo
        .sources()
        .filter_map(|source| source.path.strip_prefix(EXPLAINED));
    inside
        .flat_map(|path| {
            let mut parts: Vec<&str> = path.split('/').collect();
            parts.pop();
            parts
                .into_iter()
                .map(|part| format!("{part}/"))
                .collect::<Vec<_>>()
        })
        .collect()
}

fn dead_links(repo: &Repo, path: &str, text: &str, found: &mut Vec<Finding>) {
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut in_code = false;
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        if in_code {
            continue;
        }
        for target in links(line) {
            let file = target.split(['#', '?']).next().unwrap_or_default();
            let absolute = target.contains("://") || target.starts_with("mailto:");
            if absolute || file.is_empty() || repo.exists(&modules::join(folder, file)) {
                continue;
            }
            found.push(Finding {
                path: path.to_owned(),
                line: index + 1,
                what: format!("dead link `{target}`"),
                why: "the reader follows it and finds nothing",
                mend: "mend the path (relative to this page), or take the link out",
            });
        }
    }
}

/// The targets of `[text](target)`, `[name]: target`, `href="target"` and `src="target"`.
fn links(line: &str) -> Vec<&str> {
    let mut targets = Vec::new();
    for (start, end) in [("](", ')'), ("href=\"", '"'), ("src=\"", '"')] {
        for (at, _) in line.match_indices(start) {
            let rest = &line[at + start.len()..];
            targets.extend(rest.split_once(end).map(|(target, _)| target));
        }
    }
    if line.starts_with('[') {
        targets.extend(line.split_once("]: ").map(|(_, target)| target));
    }
    // A title may follow the target; a target with spaces stands in angle brackets.
    let bare = targets
        .into_iter()
        .filter_map(|target| match target.trim().strip_prefix('<') {
            Some(in_angles) => in_angles.split('>').next(),
            None => target.split_whitespace().next(),
        });
    bare.collect()
}

#[cfg(test)]
mod tests {
    use super::super::places;
    use super::*;

    const README: (&str, &str) = ("README.md", "`cargo run --release` and `cargo test`\n");
    const CHANGELOG: (&str, &str) = ("CHANGELOG.md", "# Changes\n\n## Unreleased\n");
    const MAP: (&str, &str) = ("ARCHITECTURE.md", "`port/` has `iocp/`\n");

    #[test]
    fn pages_that_are_not_there() {
        let all = ["ARCHITECTURE.md:1", "CHANGELOG.md:1", "README.md:1"];
        assert_eq!(places(check, &[]), all);
        assert_eq!(places(check, &[README, CHANGELOG, MAP]), [""; 0]);
    }

    #[test]
    fn a_readme_without_the_two_commands() {
        let one = ("README.md", "cargo build, then `cargo test`\n");
        assert_eq!(places(check, &[one, CHANGELOG, MAP]), ["README.md:1"]);
        let neither = ("README.md", "cargo run --released; cargo tests\n");
        assert_eq!(
            places(check, &[neither, CHANGELOG, MAP]),
            ["README.md:1", "README.md:1"]
        );
    }

    #[test]
    fn a_changelog_without_the_heading() {
        let changelog = ("CHANGELOG.md", "## Unreleased things\n### Unreleased\n");
        assert_eq!(places(check, &[README, changelog, MAP]), ["CHANGELOG.md:1"]);
    }

    #[test]
    fn a_folder_that_the_map_does_not_name() {
        let code = ("crates/wharf/src/port/iocp/mod.rs", "");
        assert_eq!(places(check, &[README, CHANGELOG, MAP, code]), [""; 0]);
        let new = ("crates/wharf/src/flow/recv.rs", "");
        assert_eq!(
            places(check, &[README, CHANGELOG, MAP, code, new]),
            ["ARCHITECTURE.md:1"]
        );
        let other = ("crates/other/src/flow/recv.rs", "");
        assert_eq!(places(check, &[README, CHANGELOG, MAP, other]), [""; 0]);
    }

    #[test]
    fn dead_links_in_any_page() {
        let page = "ok [a](b.md#c) [d](https://x/y) [e](#f) [g](../h/ \"t\") <img src=\"i\">\n\
                    dead [a](k.md) and ![l](../m.png)\n\
                    [n]: o.md\n\
                    ```\n[p](q.md)\n```\n\
                    <a href=\"r.html\">s</a>\n";
        let files = [
            README,
            CHANGELOG,
            MAP,
            ("docs/a.md", page),
            ("docs/b.md", ""),
            ("docs/i", ""),
            ("h/x.rs", ""),
        ];
        let dead = ["docs/a.md:2", "docs/a.md:2", "docs/a.md:3", "docs/a.md:7"];
        assert_eq!(places(check, &files), dead);
    }
}
