//! The part `crash`: a program that crashes never looks like one that ended well.
//!
//! As Debian installs it, Wine hands a crash to a debugger, and the process then sometimes exits
//! with 0: a test run that crashed would be taken for a good one.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use super::group::Group;
use super::home::Home;
use super::session::silent;
use super::toolchain;
use super::wine::Wine;

/// The fault came once in six.
const TIMES: u32 = 25;

const PROGRAM_LIMIT: Duration = Duration::from_secs(30);

/// What each program is told to do besides `return`, which has to give 0.
const C_WAYS: &[&str] = &["read", "write", "jump", "abort", "overflow"];
const RUST_WAYS: &[&str] = &["panic", "abort", "overflow"];

/// Crashes programs in every way, many times, by the very command line that tests are run by.
/// Returns how often.
///
/// # Errors
/// When a crash has given 0, or `return` has not.
pub(super) fn run(home: &Home, wine: &Wine) -> Result<u32, String> {
    let mut crashes = 0;
    for (program, ways) in programs(home)? {
        check("return", 0, end(wine, &program, "return")?)?;
        for way in ways {
            for _ in 0..TIMES {
                let code = end(wine, &program, way)?;
                check(way, TIMES, code).map_err(|e| format!("{}: {e}", program.display()))?;
                crashes += 1;
            }
        }
    }
    Ok(crashes)
}

/// Compiles both programs: release builds, one of each language's runtime.
fn programs(home: &Home) -> Result<[(PathBuf, &'static [&'static str]); 2], String> {
    let [c, rust] = ["crash-c.exe", "crash-rust.exe"].map(|name| home.target.join(name));
    toolchain::compile_c(
        &home.root.join("xtask/src/windows/crash.c"),
        &c,
        &["-Wno-infinite-recursion"],
    )?;
    toolchain::compile_rust(home, &home.root.join("xtask/examples/crash.rs"), &rust)?;
    Ok([(c, C_WAYS), (rust, RUST_WAYS)])
}

/// The exit code as Linux sees it: the low 8 bits of what Windows has.
fn end(wine: &Wine, program: &std::path::Path, way: &str) -> Result<Option<i32>, String> {
    let line = wine.runner();
    let mut command = Command::new(&line[0]);
    command.args(&line[1..]).arg(program).arg(way);
    wine.set_up(&mut command);
    let name = format!("{} {way}", program.display());
    Ok(Group::start(&name, silent(&mut command))?
        .wait(PROGRAM_LIMIT)?
        .code())
}

/// `None` is an end by a signal, which is a bad end too.
fn check(way: &str, times: u32, code: Option<i32>) -> Result<(), String> {
    match (way, code) {
        ("return", Some(0)) => Ok(()),
        ("return", _) => Err(format!("a program that returned 0 gave {code:?}")),
        // What the programs return for a word that they don't know.
        (_, Some(2)) => Err(format!("the program knows no way to crash named {way}")),
        (_, Some(0)) => Err(format!("a crash ({way}, one of {times}) gave exit code 0")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn a_crash_that_gives_0_is_an_error_and_so_is_a_return_that_does_not() {
        for good in [("return", Some(0)), ("read", Some(5)), ("abort", None)] {
            assert_eq!(check(good.0, 1, good.1), Ok(()), "{good:?}");
        }
        for bad in [
            ("return", Some(5)),
            ("return", None),
            ("read", Some(0)),
            ("read", Some(2)),
        ] {
            assert!(check(bad.0, 1, bad.1).is_err(), "{bad:?}");
        }
    }
}
