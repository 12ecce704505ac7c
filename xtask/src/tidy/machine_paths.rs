//! Nothing in the repository knows the machine it was written on.

use super::{Finding, Repo};

/// Written in two pieces, so that this file does not hold them.
const MACHINE_PATHS: &[&str] = &[
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/"),
    concat!("/tmp/", "wt"),
];

pub(super) fn check(repo: &Repo, found: &mut Vec<Finding>) {
    for (path, text) in repo.files() {
        for (index, line) in text.lines().enumerate() {
            let Some(hit) = MACHINE_PATHS.iter().find(|p| holds_absolute(line, p)) else {
                continue;
            };
            found.push(Finding {
                path: path.to_owned(),
                line: index + 1,
                what: format!("the absolute path `{hit}` of one machine"),
                why: "it is wrong on every other",
                mend: "use a path relative to the repository, or a temporary folder",
            });
        }
    }
}

/// Whether `line` holds `path` at the start of a path, not within a longer one or a URL.
fn holds_absolute(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '/' | '}'))
    })
}

#[cfg(test)]
mod tests {
    use super::super::places;
    use super::*;

    #[test]
    fn absolute_paths_of_one_machine_in_any_file() {
        for path in MACHINE_PATHS {
            for file in ["README.md", ".ci/run", "crates/a/src/lib.rs"] {
                let text = format!("//\n// \"{path}x\"\n");
                assert_eq!(
                    places(check, &[(file, &text)]),
                    [format!("{file}:2")],
                    "{text}"
                );
            }
        }
    }

    #[test]
    fn relative_paths_and_addresses_are_no_finding() {
        for path in MACHINE_PATHS {
            for text in [
                format!("net{path}a"),
                format!("..{path}a"),
                format!("a.example{path}"),
            ] {
                assert_eq!(places(check, &[("a.md", &text)]), [""; 0], "{text}");
            }
        }
    }
}
