//! Every file of the fuzzer's corpora, on stable: what was once worth keeping stays checked.

#[expect(unreachable_pub, reason = "there it is a library")]
#[path = "../../../fuzz/src/lib.rs"]
mod fuzz;

use std::path::{Path, PathBuf};

/// The files of a folder, in the order of their names.
fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        panic!("{} can't be read", folder.display());
    };
    let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    files.sort();
    files
}

/// Runs a target on all of its corpus; says which file was the one.
fn walk(target: &str, run: fn(&[u8])) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    let files = files(&root.join(target));
    assert!(files.len() >= 20, "{target}: only {} files", files.len());
    for file in files {
        let Ok(bytes) = std::fs::read(&file) else {
            panic!("{} can't be read", file.display());
        };
        let outcome = std::panic::catch_unwind(|| run(&bytes));
        assert!(outcome.is_ok(), "{target}: {} fails", file.display());
    }
}

#[test]
fn framing() {
    walk("framing", fuzz::framing);
}

#[test]
fn proxy() {
    walk("proxy", fuzz::proxy);
}

#[test]
fn rcon() {
    walk("rcon", fuzz::rcon);
}

#[test]
fn resp() {
    walk("resp", fuzz::resp);
}

#[test]
fn scheduler() {
    walk("scheduler", fuzz::scheduler);
}

#[test]
fn send_queue() {
    walk("send_queue", fuzz::send_queue);
}

#[test]
fn topology() {
    walk("topology", fuzz::topology);
}
