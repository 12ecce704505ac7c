//! Who is measured: builds the servers, and names the commands that start them.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::super::{build, target_folder};
use super::cells::{Cell, Kind};

/// What a server is built from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// The wharf to measure, with these options.
    Wharf(&'static [&'static str]),
    /// A program of `benches/limits`.
    Limit(&'static str),
    /// A program of `benches/peers`.
    Peer(&'static str),
    /// A file of `benches/peers/native`: compiler, libraries, the Debian package it needs.
    Native(&'static str, &'static [&'static str], &'static str),
}

/// One server of the comparison.
struct Kept {
    name: &'static str,
    origin: Origin,
}

const fn kept(name: &'static str, origin: Origin) -> Kept {
    Kept { name, origin }
}

/// The first is the one that the others are compared with. The flags are those of a release build:
/// the Rust programs have cargo's release profile.
const ALL: &[Kept] = &[
    kept("wharf", Origin::Wharf(&[])),
    kept("wharf-uring", Origin::Wharf(&["--backend", "uring"])),
    kept("wharf-nap", Origin::Wharf(&["--nap-us", "500"])),
    kept("bare-epoll", Origin::Limit("bare_epoll")),
    kept("bare-ring", Origin::Limit("bare_ring")),
    kept("tokio", Origin::Peer("peer_tokio")),
    kept("tokio-sharded", Origin::Peer("peer_tokio_sharded")),
    kept("compio", Origin::Peer("peer_compio")),
    kept("monoio", Origin::Peer("peer_monoio")),
    kept("may", Origin::Peer("peer_may")),
    kept("mio", Origin::Peer("peer_mio")),
    kept(
        "asio",
        Origin::Native("asio.cpp", &["c++", "-std=c++17"], "libboost-dev"),
    ),
    kept(
        "libuv",
        Origin::Native("uv.c", &["cc", "-luv"], "libuv1-dev"),
    ),
];

/// The name of the server that the others are compared with.
pub(super) const SUBJECT: &str = ALL[0].name;

/// A server that is built.
#[derive(Clone, Debug)]
pub(super) struct Server {
    pub(super) name: &'static str,
    program: PathBuf,
    is_wharf: bool,
    options: &'static [&'static str],
}

impl Server {
    /// The command that serves what the cell needs.
    pub(super) fn command(&self, cell: &Cell) -> Vec<String> {
        let mut words = vec![self.program.display().to_string()];
        words.extend([cell.service(), "--listen", "127.0.0.1:0", "--workers"].map(Into::into));
        words.push(cell.workers.to_string());
        if self.is_wharf {
            words.insert(1, "serve".into());
        }
        words.extend(self.options.iter().map(|word| (*word).into()));
        words
    }

    pub(super) fn program(&self) -> &Path {
        &self.program
    }

    /// Whether the cell says something about it that no other server does.
    pub(super) fn takes_part_in(&self, cell: &Cell) -> bool {
        match self.name {
            // With one worker both forms are the same.
            "tokio-sharded" => cell.workers > 1 && cell.kind == Kind::Echo,
            "wharf-nap" => cell.workers > 1,
            _ => true,
        }
    }

    /// Whether it may be missing: what it needs is not on every machine.
    pub(super) fn may_be_missing(&self) -> bool {
        matches!(self.name, "wharf-uring" | "bare-ring")
    }
}

/// Builds the named servers, or all; what can't be built here is said by `skip`.
pub(super) fn prepare(
    root: &Path,
    wharf: &Path,
    names: &[String],
    mut skip: impl FnMut(&str, &str) -> Result<(), String>,
) -> Result<Vec<Server>, String> {
    let known = || ALL.iter().map(|s| s.name).collect::<Vec<_>>().join(", ");
    if let Some(wrong) = names.iter().find(|n| ALL.iter().all(|s| s.name != **n)) {
        return Err(format!(
            "no server is named `{wrong}`; there are {}",
            known()
        ));
    }
    let wanted = |s: &&Kept| names.is_empty() || names.iter().any(|name| name == s.name);
    let mut servers = Vec::new();
    let mut programs = Programs {
        wharf,
        workspaces: Vec::new(),
    };
    for Kept { name, origin } in ALL.iter().filter(wanted) {
        match programs.of(root, *origin) {
            Ok(program) => servers.push(Server {
                name,
                program,
                is_wharf: matches!(origin, Origin::Wharf(_)),
                options: match origin {
                    Origin::Wharf(options) => options,
                    _ => &[],
                },
            }),
            Err(why) if matches!(origin, Origin::Native(..)) => skip(name, &why)?,
            Err(why) => return Err(why),
        }
    }
    Ok(servers)
}

/// Builds each workspace once.
struct Programs<'a> {
    wharf: &'a Path,
    workspaces: Vec<&'static str>,
}

impl Programs<'_> {
    fn of(&mut self, root: &Path, origin: Origin) -> Result<PathBuf, String> {
        match origin {
            Origin::Wharf(_) => Ok(self.wharf.to_owned()),
            Origin::Limit(name) => self.in_workspace(root, "limits", name),
            Origin::Peer(name) => self.in_workspace(root, "peers", name),
            Origin::Native(file, compiler, package) => native(root, file, compiler, package),
        }
    }

    /// A workspace of its own, and a target folder of its own below ours.
    fn in_workspace(
        &mut self,
        root: &Path,
        workspace: &'static str,
        name: &str,
    ) -> Result<PathBuf, String> {
        let target = target_folder(root).join(workspace);
        if !self.workspaces.contains(&workspace) {
            build(&root.join("benches").join(workspace), &target, &["--bins"])?;
            self.workspaces.push(workspace);
        }
        Ok(target.join("release").join(name))
    }
}

/// Compiles a file of C or C++ if it is newer than its program.
fn native(root: &Path, file: &str, compiler: &[&str], package: &str) -> Result<PathBuf, String> {
    let folder = root.join("benches/peers/native");
    let target = target_folder(root).join("peers");
    std::fs::create_dir_all(&target).map_err(|e| format!("{}: {e}", target.display()))?;
    let program = target.join(file.replace('.', "_"));
    let changed = |path: PathBuf| std::fs::metadata(path).and_then(|m| m.modified()).ok();
    let sources = [file, "frames.h"].map(|name| changed(folder.join(name)));
    if changed(program.clone()) > sources.into_iter().max().flatten() {
        return Ok(program);
    }
    let mut command = Command::new(compiler[0]);
    command.args(["-O3", "-Wall", "-Wextra", "-pthread", "-o"]);
    command.arg(&program).arg(folder.join(file));
    command.args(&compiler[1..]);
    let hint = format!("(needed: {} and {package} of Debian)", compiler[0]);
    let output = command
        .output()
        .map_err(|e| format!("{}: {e} {hint}", compiler[0]))?;
    if output.status.success() {
        return Ok(program);
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let first = text
        .lines()
        .find(|line| line.contains("error"))
        .unwrap_or("");
    Err(format!("{file} can't be compiled here: {first} {hint}"))
}
