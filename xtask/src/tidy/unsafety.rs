//! `unsafe` stays in named modules, each use with its reason.

use super::source::Source;
use super::{Finding, Repo};

/// Files that may hold `unsafe`. Of the library all are under `crates/wharf/src/port/`: those of
/// the completion port,
/// which lends memory to the system, and the calls that no safe crate has. Whoever needs `unsafe`
/// for a system's calls adds the one file here, and `#![allow(unsafe_code, reason = "..")]` in it.
const UNSAFE_FILES: &[&str] = &[
    "benches/limits/src/bin/bare_ring/ring.rs",
    "crates/wharf/src/port/iocp/bell.rs",
    "crates/wharf/src/port/iocp/handle.rs",
    "crates/wharf/src/port/iocp/op.rs",
    "crates/wharf/src/port/iocp/sys.rs",
    "crates/wharf/src/port/inherit/environment.rs",
    "crates/wharf/src/port/kqueue.rs",
    "crates/wharf/src/port/signals/windows.rs",
    "crates/wharf/src/port/system/windows.rs",
    "crates/wharf/src/port/threads/windows.rs",
    "crates/wharf/src/port/uring/ring.rs",
];

pub(super) fn check(repo: &Repo, found: &mut Vec<Finding>) {
    check_with(UNSAFE_FILES, repo, found);
}

fn check_with(allowed: &[&str], repo: &Repo, found: &mut Vec<Finding>) {
    for source in repo.sources() {
        for token in source.tokens.iter().filter(|t| t.is("unsafe")) {
            let (what, why, mend) = if !allowed.contains(&source.path.as_str()) {
                (
                    "`unsafe` outside the files that may hold it",
                    "few places, each read by several people",
                    "use a safe crate, or name the file in xtask/src/tidy/unsafety.rs",
                )
            } else if !has_safety_note(source, token.line) {
                (
                    "`unsafe` without a `// SAFETY:` note above",
                    "the reader must know what upholds it",
                    "say why it is sound, directly above",
                )
            } else {
                continue;
            };
            let (path, line) = (source.path.clone(), token.line);
            found.push(Finding {
                path,
                line,
                what: what.into(),
                why,
                mend,
            });
        }
    }
}

/// A `// SAFETY:` (or, for a function or trait, a `# Safety` chapter) in the comments and
/// attributes directly above the line, or above the statement's first line.
fn has_safety_note(source: &Source, line: usize) -> bool {
    let lines: Vec<&str> = source.text.lines().collect();
    // An expression may start up to two lines above its `unsafe`: `let x =` and a long call.
    (0..=2).any(|up| {
        let above = lines[..(line - 1).saturating_sub(up)]
            .iter()
            .rev()
            .map(|l| l.trim_start());
        above
            .take_while(|l| l.starts_with("//") || l.starts_with("#["))
            .any(|l| l.starts_with("// SAFETY:") || l.starts_with("/// # Safety"))
    })
}

#[cfg(test)]
mod tests {
    use super::super::places;
    use super::*;

    const LIB: &str = "crates/wharf/src/flow/recv.rs";
    const PORT: &str = "crates/wharf/src/port/iocp.rs";

    fn with_port(repo: &Repo, found: &mut Vec<Finding>) {
        check_with(&[PORT], repo, found);
    }

    #[test]
    fn unsafe_outside_the_named_files() {
        let text = "// SAFETY: no.\nfn f() { unsafe { g() } }\n#[unsafe(no_mangle)]\nfn h() {}\n";
        let fired = [format!("{LIB}:2"), format!("{LIB}:3")];
        assert_eq!(places(with_port, &[(LIB, text)]), fired);
        assert_eq!(places(check, &[(LIB, text)]), fired);
        let silent = "// unsafe\nfn f() { g(\"unsafe {}\") }\n";
        assert_eq!(places(check, &[(LIB, silent)]), [""; 0]);
    }

    #[test]
    fn every_named_file_is_in_port_or_the_ring_to_compare_with() {
        let homes = [
            "crates/wharf/src/port/",
            "benches/limits/src/bin/bare_ring/",
        ];
        let at_home = |file: &&str| homes.iter().any(|home| file.starts_with(home));
        assert!(UNSAFE_FILES.iter().all(at_home));
    }

    #[test]
    fn unsafe_without_a_note() {
        let bare = "fn f() {\n    let a = 1;\n    b();\n    unsafe { g(a) }\n}\n";
        assert_eq!(places(with_port, &[(PORT, bare)]), [format!("{PORT}:4")]);
        let far =
            "fn f() {\n    // SAFETY: old.\n    a();\n    b();\n    c();\n    unsafe { g() }\n}\n";
        assert_eq!(places(with_port, &[(PORT, far)]), [format!("{PORT}:6")]);
        let noted = "fn f() {\n    // SAFETY: open,\n    // and ours.\n    unsafe { g(a) }\n}\n\
                     // SAFETY: plain data.\n#[a]\nunsafe impl A for B {}\n\
                     /// # Safety\n/// b.\nunsafe fn h() {}\n\
                     fn i() {\n    // SAFETY: c.\n    let x =\n        unsafe { g() };\n}\n";
        assert_eq!(places(with_port, &[(PORT, noted)]), [""; 0]);
    }
}
