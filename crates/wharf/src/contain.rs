//! The fence around user code: a panic ends what ran, and nothing else (G9). And the one around our
//! own: there a panic is a bug, and ends the process.

use std::io::Write as _;
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::say::say;

/// Runs user code; `None` if it panicked.
pub(crate) fn contained<R>(run: impl FnOnce() -> R) -> Option<R> {
    let payload = match catch_unwind(AssertUnwindSafe(run)) {
        Ok(result) => return Some(result),
        Err(payload) => payload,
    };
    // What was thrown may throw when it is dropped; what that throws is kept from doing the same.
    if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        let _leaked = ManuallyDrop::new(again);
    }
    None
}

/// Runs the whole of one of our threads, which must not panic. It holds turns, lanes and lists that
/// nobody else can give back: sessions would hang and a stop never end, without a word. So the
/// process ends, as rayon's does, and whoever watches over it starts it anew.
pub(crate) fn or_abort(run: impl FnOnce()) {
    if contained(run).is_some() {
        return;
    }
    let thread = std::thread::current();
    say!(
        error,
        thread = thread.name(),
        "a thread panicked outside of any callback: a bug in wharf; the process ends"
    );
    // The hook has printed where; standard error may be closed.
    let name = thread.name().unwrap_or("a thread");
    let _ = writeln!(
        std::io::stderr(),
        "wharf: {name} panicked outside of any callback, which is a bug in wharf: the process ends"
    );
    std::process::abort();
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: &str = "WHARF_TEST_PANICS";

    /// What the test below looks at from outside: nothing unless it asks.
    #[test]
    fn a_thread_that_panics() {
        if std::env::var_os(ASKED).is_none() {
            return;
        }
        let thread = std::thread::Builder::new().name("main-0".into());
        let run = || or_abort(|| std::panic::resume_unwind(Box::new("a bug")));
        let thread = thread.spawn(run).unwrap();
        let _ = thread.join();
    }

    #[test]
    fn a_bug_of_our_own_ends_the_process_and_says_which_thread() {
        or_abort(|| ());
        let own = std::env::current_exe().unwrap();
        let mut test = std::process::Command::new(own);
        test.args([
            "contain::tests::a_thread_that_panics",
            "--exact",
            "--nocapture",
        ]);
        let output = test.env(ASKED, "1").output().unwrap();
        assert!(!output.status.success());
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("wharf: main-0 panicked"), "{said}");
    }
}
