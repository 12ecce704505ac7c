//! Runs a server under callgrind, and reads what it counted.
//!
//! What is counted does not depend on the machine's speed, nor on who else uses it. Only the
//! program's own code counts: which `memcpy` the C library takes depends on the processor.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Candidate;
use super::load::Load;
use crate::process::{Core, Running, bound_to};

/// What was counted in one function, without what it called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Instructions.
    pub(super) instructions: u64,
    /// Instructions that lock the bus: atomic read-modify-writes, exchanges.
    pub(super) locked: u64,
    /// Calls of it; of a function that was inlined there are none.
    pub(super) calls: u64,
}

/// What was counted in the functions of one program.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Profile(pub(super) BTreeMap<String, Counts>);

impl Profile {
    /// Runs the load against the candidate under callgrind; also how many frames were answered.
    pub(super) fn of(candidate: &Candidate, load: &Load) -> Result<(Self, f64), String> {
        let file = OutFile::new();
        let mut command: Vec<String> = [
            "valgrind",
            "--quiet",
            "--tool=callgrind",
            "--collect-bus=yes",
            "--compress-strings=no",
            "--compress-pos=no",
        ]
        .map(Into::into)
        .into();
        command.push(format!("--callgrind-out-file={}", file.0.display()));
        command.extend(candidate.command.iter().cloned());
        let mut server = Running::start("valgrind", bound_to(Core::Server, &command)?)?;
        server.end_limit = Duration::from_secs(30);
        let address = server.listening_on()?;
        let report = load.run(&address)?;
        server.end()?;
        drop(server);
        let text = std::fs::read_to_string(&file.0)
            .map_err(|e| format!("callgrind's counts in {}: {e}", file.0.display()))?;
        let program = candidate.command.first().map_or("", String::as_str);
        // Callgrind writes the whole path.
        let program = std::fs::canonicalize(program).map_err(|e| format!("{program}: {e}"))?;
        let program = program.display().to_string();
        Ok((Self::read(&text, &program)?, report.frames))
    }

    /// Reads a file in the callgrind format, version 1, with whole names and positions.
    fn read(text: &str, program: &str) -> Result<Self, String> {
        let mut profile = Self::default();
        let (mut ours, mut callee_ours) = (false, false);
        let (mut function, mut callee) = (String::new(), String::new());
        let mut events = Vec::new();
        let mut inclusive = false;
        for line in text.lines() {
            let is_ours = |object: &str| Path::new(object) == Path::new(program);
            if let Some((key, value)) = line.split_once('=') {
                match key {
                    "ob" => ours = is_ours(value),
                    "fn" => {
                        value.clone_into(&mut function);
                        callee_ours = ours;
                    }
                    "cob" => callee_ours = is_ours(value),
                    "cfn" => value.clone_into(&mut callee),
                    "calls" => {
                        let times = value.split(' ').next().and_then(|n| n.parse().ok());
                        let times: u64 = times.ok_or_else(|| bad(line))?;
                        if callee_ours {
                            profile.0.entry(callee.clone()).or_default().calls += times;
                        }
                        callee_ours = ours;
                        inclusive = true;
                    }
                    _ => {}
                }
            } else if let Some(names) = line.strip_prefix("events:") {
                events = names.split_whitespace().map(str::to_owned).collect();
            } else if line.starts_with(|c: char| c.is_ascii_digit()) {
                // What follows a call is the callee's, counted there.
                if std::mem::take(&mut inclusive) || !ours {
                    continue;
                }
                let counts = profile.0.entry(function.clone()).or_default();
                for (name, number) in events.iter().zip(line.split(' ').skip(1)) {
                    let number: u64 = number.parse().map_err(|_| bad(line))?;
                    match name.as_str() {
                        "Ir" => counts.instructions += number,
                        "Ge" => counts.locked += number,
                        _ => {}
                    }
                }
            }
        }
        if profile.total().instructions == 0 {
            return Err(format!("callgrind counted nothing in {program}"));
        }
        Ok(profile)
    }

    /// What was counted beyond `before`: a shorter run of the same.
    pub(super) fn beyond(&self, before: &Self) -> Self {
        let rest = self.0.iter().map(|(name, counts)| {
            let less = before.0.get(name).copied().unwrap_or_default();
            let rest = Counts {
                instructions: counts.instructions.saturating_sub(less.instructions),
                locked: counts.locked.saturating_sub(less.locked),
                calls: counts.calls.saturating_sub(less.calls),
            };
            (name.clone(), rest)
        });
        Self(rest.collect())
    }

    /// All functions together.
    pub(super) fn total(&self) -> Counts {
        self.0.values().fold(Counts::default(), |sum, one| Counts {
            instructions: sum.instructions + one.instructions,
            locked: sum.locked + one.locked,
            calls: sum.calls + one.calls,
        })
    }
}

fn bad(line: &str) -> String {
    format!("callgrind wrote a line that is not in its format: {line}")
}

/// A file that is gone when the value is.
struct OutFile(PathBuf);

impl OutFile {
    fn new() -> Self {
        let file = format!("wharf-callgrind-{}.out", std::process::id());
        Self(std::env::temp_dir().join(file))
    }
}

impl Drop for OutFile {
    fn drop(&mut self) {
        // Not there if valgrind never started.
        let _ = std::fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COUNTED: &str = "\
version: 1
positions: line
events: Ir Ge

ob=/bin/server
fl=a.rs
fn=turn
10 400 2
fi=b.rs
3 50
cob=/lib/libc.so
cfi=memcpy.S
cfn=memcpy
calls=7 0
12 7000
cfn=recv
calls=3 20
13 90 1

fn=recv
20 90 1

ob=/lib/libc.so
fn=memcpy
1 7000
";

    #[test]
    fn own_functions_are_counted_without_what_they_call() {
        let profile = Profile::read(COUNTED, "/bin/server").expect("a right file");
        let counts = |instructions, locked, calls| Counts {
            instructions,
            locked,
            calls,
        };
        assert_eq!(profile.0.get("turn"), Some(&counts(450, 2, 0)));
        assert_eq!(profile.0.get("recv"), Some(&counts(90, 1, 3)));
        assert_eq!(profile.0.len(), 2, "{profile:?}");
        let shorter = Profile::read(&COUNTED.replace("10 400", "10 100"), "/bin/server");
        let rest = profile.beyond(&shorter.expect("a right file"));
        assert_eq!(rest.total(), counts(300, 0, 0));
    }

    #[test]
    fn a_file_that_says_nothing_is_an_error() {
        for (text, program, names) in [
            (COUNTED, "/bin/other", "nothing"),
            ("events: Ir\nob=x\nfn=f\n1 two", "x", "1 two"),
        ] {
            let error = Profile::read(text, program).expect_err(text);
            assert!(error.contains(names), "{error}");
        }
    }
}
