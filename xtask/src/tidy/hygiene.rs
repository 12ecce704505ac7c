//! Words that have no place: panics by `unwrap`, stubs, silent tests, unbounded queues, sleeps,
//! clocks where time is an argument, and logs without their fence.

use super::paths::{self, NamedPath};
use super::source::{Source, in_test_folder};
use super::{Finding, Repo};

/// Where a clock may be read, besides test code. Everywhere else time is an argument.
const CLOCK_FOLDERS: &[&str] = &["crates/wharf/src/port/", "crates/wharf-cli/", "xtask/"];

/// The library, and where in it `tracing` is called.
const LIBRARY_FOLDER: &str = "crates/wharf/src/";
const LOG_FILE: &str = "crates/wharf/src/say.rs";

/// What is shipped: no sleeping there.
const PRODUCT_FOLDER: &str = "crates/";

pub(super) fn check(repo: &Repo, found: &mut Vec<Finding>) {
    for source in repo.sources() {
        let mut report = |line, what: String, why, mend| {
            found.push(Finding {
                path: source.path.clone(),
                line,
                what,
                why,
                mend,
            });
        };
        tokens(source, &mut report);
        for path in paths::of(source) {
            named(source, &path, &mut report);
        }
    }
}

/// Takes line, what, why and how to mend.
type Report<'a> = dyn FnMut(usize, String, &'static str, &'static str) + 'a;

const CLOCK_WHY: &str = "here time is an argument, so that tests own it";
const CLOCK_MEND: &str = "take `now` from the caller (port/ reads the clock)";
const UNWRAP_WHY: &str = "a panic with no word of what went wrong";
const UNWRAP_MEND: &str = "return an error, or expect(\"why this can't fail\")";

fn tokens(source: &Source, report: &mut Report<'_>) {
    for (at, token) in source.tokens.iter().enumerate() {
        let line = token.line;
        if source.reads(at, &[".", "unwrap", "(", ")"]) && is_src(source, line) {
            report(
                line,
                "`unwrap()` outside tests".into(),
                UNWRAP_WHY,
                UNWRAP_MEND,
            );
        }
        if source.reads(at, &[".", "elapsed", "(", ")"]) && !may_read_clock(source, line) {
            report(
                line,
                "`elapsed()` reads the clock".into(),
                CLOCK_WHY,
                CLOCK_MEND,
            );
        }
        let library = source.path.starts_with(LIBRARY_FOLDER) && source.path != LOG_FILE;
        if token.is("tracing") && library && !source.is_test(line) {
            report(
                line,
                "`tracing` without a fence".into(),
                "a subscriber is the program's code, and may panic",
                "use say!(level, ..)",
            );
        }
        if (token.is("todo") || token.is("unimplemented")) && source.is(at + 1, "!") {
            let mend = "write it, or leave it out";
            report(
                line,
                format!("`{}!` is a stub", token.text),
                "it panics when it is met",
                mend,
            );
        }
        if source.reads(at, &["#", "["]) && has_bare_ignore(source, at + 2) {
            let mend = "#[ignore = \"why, and who runs it\"]";
            report(
                line,
                "`#[ignore]` without a reason".into(),
                "a silent test is no test",
                mend,
            );
        }
    }
}

/// Whether the attribute whose first token is at `at` is, or sets, an `ignore` without a reason.
fn has_bare_ignore(source: &Source, at: usize) -> bool {
    let end = source.at(at - 1).map_or(at, |open| open.mate);
    let conditional = source.is(at, "cfg_attr");
    (at..end)
        .filter(|&i| source.is(i, "ignore") && (i == at || conditional))
        .any(|i| {
            let reason = source.at(i + 2).map_or("", |t| t.text.trim_matches('"'));
            !source.is(i + 1, "=") || reason.trim().is_empty()
        })
}

fn named(source: &Source, path: &NamedPath, report: &mut Report<'_>) {
    let line = path.line;
    if path.segments.len() == 1 && !path.called {
        return; // a variable or a field that only shares the name
    }
    let is_unwrap = path.ends_with(&["Option", "unwrap"]) || path.ends_with(&["Result", "unwrap"]);
    if is_unwrap && is_src(source, line) {
        report(
            line,
            "`unwrap` outside tests".into(),
            UNWRAP_WHY,
            UNWRAP_MEND,
        );
    }
    let unbounded = ["unbounded", "unbounded_channel"]
        .iter()
        .any(|name| path.ends_with(&[name]));
    if unbounded || path.ends_with(&["mpsc", "channel"]) {
        let why = "every queue has a limit and a named full-policy";
        let what = format!("`{}` has no limit", path.segments.join("::"));
        report(
            line,
            what,
            why,
            "use sync_channel, ArrayQueue or another bounded queue",
        );
    }
    let product = source.path.starts_with(PRODUCT_FOLDER) && is_src(source, line);
    if product && path.ends_with(&["thread", "sleep"]) {
        let why = "a sleeping worker serves nobody";
        report(
            line,
            "`thread::sleep`".into(),
            why,
            "use a timer of the port",
        );
    }
    let clock = path.ends_with(&["Instant", "now"]) || path.ends_with(&["SystemTime", "now"]);
    if clock && !may_read_clock(source, line) {
        let what = format!("`{}` reads the clock", path.segments.join("::"));
        report(line, what, CLOCK_WHY, CLOCK_MEND);
    }
}

/// Code of a crate that is no test.
fn is_src(source: &Source, line: usize) -> bool {
    source.path.contains("src/") && !source.is_test(line)
}

fn may_read_clock(source: &Source, line: usize) -> bool {
    CLOCK_FOLDERS
        .iter()
        .any(|folder| source.path.starts_with(folder))
        || in_test_folder(&source.path)
        || source.is_test(line)
}

#[cfg(test)]
mod tests {
    use super::super::places;
    use super::*;

    const LIB: &str = "crates/wharf/src/flow/recv.rs";

    /// Each snippet fires on its line 1 in product source, and is silent in each `allowed` file
    /// and in a test module.
    fn fires_outside_tests(snippets: &[&str], allowed: &[&str]) {
        for snippet in snippets {
            assert_eq!(
                places(check, &[(LIB, snippet)]),
                [format!("{LIB}:1")],
                "{snippet}"
            );
            for path in allowed {
                assert_eq!(
                    places(check, &[(path, snippet)]),
                    [""; 0],
                    "{path}: {snippet}"
                );
            }
            let test = format!("#[cfg(test)]\nmod t {{ {snippet} }}\n");
            assert_eq!(places(check, &[(LIB, &test)]), [""; 0], "{test}");
        }
    }

    fn is_silent(snippets: &[&str]) {
        for snippet in snippets {
            assert_eq!(places(check, &[(LIB, snippet)]), [""; 0], "{snippet}");
        }
    }

    fn fires_everywhere(snippets: &[&str]) {
        for snippet in snippets {
            for path in [LIB, "crates/wharf/tests/a.rs", "xtask/src/a.rs"] {
                assert_eq!(
                    places(check, &[(path, snippet)]),
                    [format!("{path}:1")],
                    "{snippet}"
                );
            }
        }
    }

    #[test]
    fn unwrap_outside_tests() {
        let bad = [
            "fn f() { a.unwrap() }",
            "fn f() { vec![a.unwrap()]; }",
            "fn f() { a.map(Option::unwrap) }",
        ];
        fires_outside_tests(
            &bad,
            &["crates/wharf/tests/a.rs", "crates/wharf/benches/a.rs"],
        );
        is_silent(&[
            "fn f() { a.unwrap_or(1); b.expect(\"c\") }",
            "// a.unwrap()\n",
            "fn unwrap() {}",
        ]);
    }

    #[test]
    fn logs_without_their_fence() {
        let bad = ["fn f() { tracing::warn!(a, \"b\"); }", "use tracing::warn;"];
        let allowed = [
            LOG_FILE,
            "crates/wharf/tests/a.rs",
            "crates/wharf-cli/src/a.rs",
        ];
        fires_outside_tests(&bad, &allowed);
        is_silent(&["fn f() { say!(warn, \"tracing\"); } // tracing"]);
    }

    #[test]
    fn stubs_anywhere() {
        fires_everywhere(&["fn f() { todo!() }", "fn f() { unimplemented!(\"a\") }"]);
        is_silent(&[
            "// todo!()\n",
            "fn todo() { todo() }",
            "const A: &str = \"todo!()\";",
        ]);
    }

    #[test]
    fn ignored_tests_without_a_reason() {
        fires_everywhere(&[
            "#[test] #[ignore] fn f() {}",
            "#[test] #[ignore = \" \"] fn f() {}",
            "#[test] #[cfg_attr(miri, ignore)] fn f() {}",
        ]);
        is_silent(&[
            "#[test]\n#[ignore = \"needs a network; CI runs it\"]\nfn f() {}",
            "#[cfg_attr(miri, ignore = \"no sockets\")]\nfn f() {}",
            "#[doc(ignore)]\nfn ignore() {}",
        ]);
    }

    #[test]
    fn unbounded_channels_anywhere() {
        fires_everywhere(&[
            "fn f() { std::sync::mpsc::channel::<u8>(); }",
            "use std::sync::mpsc::channel;",
            "fn f() { crossbeam_channel::unbounded(); }",
            "use tokio::sync::mpsc::{unbounded_channel};",
        ]);
        let twice = "use std::sync::mpsc;\nfn f() { mpsc::channel() }";
        assert_eq!(places(check, &[(LIB, twice)]), [format!("{LIB}:2")]);
        is_silent(&[
            "fn f() { std::sync::mpsc::sync_channel(4); tokio::sync::mpsc::channel_of(); }",
            "fn unbounded() { let unbounded = a.unbounded(); }",
        ]);
    }

    #[test]
    fn sleeps_in_product_source() {
        let bad = [
            "fn f() { std::thread::sleep(d) }",
            "use std::thread::{self, sleep};",
        ];
        fires_outside_tests(&bad, &["xtask/src/a.rs", "crates/wharf/examples/a.rs"]);
        let imported = "use std::thread;\nfn f() { thread::sleep(d) }";
        assert_eq!(places(check, &[(LIB, imported)]), [format!("{LIB}:2")]);
        is_silent(&["fn f() { timer.sleep(d); sleep(d) }"]);
    }

    #[test]
    fn clocks_where_time_is_an_argument() {
        let bad = [
            "fn f() { std::time::Instant::now(); }",
            "fn f() { SystemTime::now(); }",
            "fn f() { start.elapsed(); }",
        ];
        let allowed = [
            "crates/wharf/src/port/clock.rs",
            "crates/wharf-cli/src/load.rs",
            "xtask/src/a.rs",
            "crates/wharf/tests/a.rs",
            "crates/wharf/examples/a.rs",
            "benches/limits/src/main.rs",
        ];
        fires_outside_tests(&bad, &allowed);
        let renamed = "use std::time::Instant as Clock;\nfn f() { Clock::now() }";
        assert_eq!(places(check, &[(LIB, renamed)]), [format!("{LIB}:2")]);
        is_silent(&["fn f(now: Instant) { clock.now(); self.now(); t.elapsed(now) }"]);
    }
}
