//! `cargo xtask sanitize`: tests under the address and the thread sanitizer, on this toolchain.
//!
//! The standard library is as it was shipped, without instrumentation. For addresses that only
//! makes the sanitizer see less. The thread sanitizer is told to bear it, and knows no fences: see
//! `tsan.supp` for what it takes for races because of that.

use std::path::Path;

/// Runs tests of real sockets and threads under a sanitizer
#[derive(clap::Args)]
pub(crate) struct SanitizeArgs {
    /// Which: address, thread
    #[arg(default_value = "address")]
    sanitizer: String,
    /// Only these tests: passed on to cargo test
    #[arg(last = true)]
    rest: Vec<String>,
}

const TARGET: &str = "x86_64-unknown-linux-gnu";
/// The contract on real sockets, the guarantees on real threads, and the stress.
const TESTS: &[&str] = &["--lib", "--test", "guarantees", "--test", "stress"];

/// # Errors
/// A test fails, or the sanitizer found something.
pub(crate) fn sanitize(root: &Path, args: &SanitizeArgs) -> Result<(), String> {
    let flags = match args.sanitizer.as_str() {
        "address" => "-Zsanitizer=address",
        "thread" => "-Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer",
        other => return Err(format!("{other}: there are address and thread")),
    };
    let mut test = super::cargo(root, &["test", "-p", "wharf", "--target", TARGET]);
    if args.rest.is_empty() {
        test.args(TESTS);
    } else {
        test.args(&args.rest);
    }
    let folder = root.join("target/sanitize").join(&args.sanitizer);
    let suppressions = root.join("xtask/src/abuse/tsan.supp");
    test.env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTFLAGS", flags)
        .env("CARGO_TARGET_DIR", folder)
        .env(
            "TSAN_OPTIONS",
            format!("suppressions={}", suppressions.display()),
        )
        .env("WHARF_SEEDS", "3");
    super::run(test, "the tests under the sanitizer")
}
