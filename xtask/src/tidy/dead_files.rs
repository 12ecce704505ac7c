//! Rust files that no crate compiles.

use super::{Finding, Repo};

pub(super) fn check(repo: &Repo, found: &mut Vec<Finding>) {
    for source in repo
        .sources()
        .filter(|source| !repo.modules.reaches(&source.path))
    {
        found.push(Finding {
            path: source.path.clone(),
            line: 1,
            what: "a Rust file that no `mod` line and no manifest names".into(),
            why: "nothing compiles or tests it, so it rots",
            mend: "add the `mod` line, or delete the file",
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::places;
    use super::*;

    const MANIFEST: (&str, &str) = ("crates/a/Cargo.toml", "[package]\nname = \"a\"\n");

    #[test]
    fn a_file_that_nobody_names() {
        let files = [
            MANIFEST,
            ("crates/a/src/lib.rs", "mod b; // mod dead;\n"),
            ("crates/a/src/b.rs", ""),
            ("crates/a/src/dead.rs", "mod below;"),
            ("crates/a/src/dead/below.rs", ""),
            ("crates/a/tests/common/mod.rs", ""),
            ("stray.rs", ""),
        ];
        let dead = [
            "crates/a/src/dead.rs",
            "crates/a/src/dead/below.rs",
            "crates/a/tests/common/mod.rs",
            "stray.rs",
        ];
        assert_eq!(places(check, &files), dead.map(|path| format!("{path}:1")));
    }

    #[test]
    fn every_way_of_naming_a_file_counts() {
        let manifest = "[package]\nname = \"a\"\nbuild = \"make.rs\"\n[lib]\npath = \"src/a.rs\"\n\
                        [[bin]]\nname = \"x\"\npath = \"other/x.rs\"\n";
        let files = [
            ("crates/a/Cargo.toml", manifest),
            ("crates/a/make.rs", ""),
            (
                "crates/a/src/a.rs",
                "pub(crate) mod b;\nmod c { mod d; }\ninclude!(\"e.rs\");\n",
            ),
            (
                "crates/a/src/b/mod.rs",
                "#[path = \"odd.rs\"]\n#[a]\npub(crate) mod f;\nmod g;",
            ),
            ("crates/a/src/b/odd.rs", ""),
            (
                "crates/a/src/b/g.rs",
                "cfg_select! { windows => { mod h; } _ => { mod i; } }",
            ),
            ("crates/a/src/b/g/h.rs", ""),
            (
                "crates/a/src/b/g/i.rs",
                "#[cfg_attr(loom, path = \"k.rs\")]\nmod j;",
            ),
            ("crates/a/src/b/g/i/j.rs", ""),
            ("crates/a/src/b/g/k.rs", ""),
            ("crates/a/src/c/d.rs", ""),
            ("crates/a/src/e.rs", ""),
            ("crates/a/other/x.rs", ""),
            ("crates/a/src/bin/y.rs", ""),
            ("crates/a/src/bin/z/main.rs", "mod n;"),
            ("crates/a/src/bin/z/n.rs", ""),
            ("crates/a/tests/t.rs", "mod common;"),
            ("crates/a/tests/common/mod.rs", ""),
            ("crates/a/examples/e.rs", ""),
        ];
        assert_eq!(places(check, &files), [""; 0]);
    }
}
