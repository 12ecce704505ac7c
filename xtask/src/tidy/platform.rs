//! Which system this is, is asked in one folder only.

use super::source::{Source, in_test_folder};
use super::{Finding, Repo};

/// Where a system may be asked for, besides test code. (Manifests have target tables.)
const PLATFORM_FOLDERS: &[&str] = &["crates/wharf/src/port/", "xtask/"];

const OS_WORDS: &[&str] = &["target_os", "target_family", "windows", "unix"];

pub(super) fn check(repo: &Repo, found: &mut Vec<Finding>) {
    for source in repo.sources() {
        let allowed = PLATFORM_FOLDERS
            .iter()
            .any(|folder| source.path.starts_with(folder));
        if allowed || in_test_folder(&source.path) {
            continue;
        }
        for (line, word) in os_predicates(source).filter(|(line, _)| !source.is_test(*line)) {
            found.push(Finding {
                path: source.path.clone(),
                line,
                what: format!("a cfg on `{word}`"),
                why: "OS code lives in crates/wharf/src/port/ and nowhere else",
                mend: "move the difference behind a function of port/",
            });
        }
    }
}

/// Lines and words of `cfg(..)`, `cfg_attr(..)`, `cfg!(..)` and `cfg_select! {..}` that ask for
/// the system.
fn os_predicates(source: &Source) -> impl Iterator<Item = (usize, &'static str)> {
    let asked = (0..source.tokens.len()).flat_map(|at| {
        let open = match source.ident(at) {
            Some("cfg" | "cfg_attr") if source.is(at + 1, "(") => at + 1,
            Some("cfg" | "cfg_select") if source.is(at + 1, "!") => at + 2,
            _ => return Vec::new(),
        };
        let close = source.at(open).map_or(open, |t| t.mate);
        let inside = source.tokens.get(open..close).unwrap_or_default().iter();
        let word = |line| move |w: &&'static str| (line, *w);
        inside
            .filter_map(|t| OS_WORDS.iter().find(|w| t.is(w)).map(word(t.line)))
            .collect::<Vec<_>>()
    });
    asked.collect::<std::collections::BTreeSet<_>>().into_iter()
}

#[cfg(test)]
mod tests {
    use super::super::places;
    use super::*;

    const LIB: &str = "crates/wharf/src/host.rs";

    #[test]
    fn a_cfg_on_the_system_outside_port() {
        for snippet in [
            "#[cfg(windows)]\nfn f() {}\n",
            "#[cfg_attr(any(a, unix), b)]\nfn f() {}\n",
            "fn f() -> bool { cfg!(target_os = \"linux\") }\n",
            "cfg_select! { windows => { fn f() {} } _ => {} }\n",
            "cfg_if! { if #[cfg(target_family = \"wasm\")] { fn f() {} } }\n",
        ] {
            assert_eq!(
                places(check, &[(LIB, snippet)]),
                [format!("{LIB}:1")],
                "{snippet}"
            );
            for allowed in [
                "crates/wharf/src/port/x.rs",
                "xtask/src/x.rs",
                "benches/l/src/x.rs",
                "a/tests/x.rs",
            ] {
                assert_eq!(places(check, &[(allowed, snippet)]), [""; 0], "{allowed}");
            }
            let test = format!("#[cfg(test)]\nmod t {{ {snippet} }}\n");
            assert_eq!(places(check, &[(LIB, &test)]), [""; 0], "{test}");
        }
    }

    #[test]
    fn other_cfgs_and_words_are_no_finding() {
        let text =
            "#[cfg(feature = \"unix\")]\nfn windows() { cfg!(loom); windows(); unix::f() }\n";
        assert_eq!(places(check, &[(LIB, text)]), [""; 0]);
    }
}
