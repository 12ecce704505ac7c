//! Where things lie: what is made once and kept, and what `cargo clean` takes.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::process::wait_for;

/// The system that is built for and run: the one whose linker and libraries Debian has.
pub(super) const TRIPLE: &str = "x86_64-pc-windows-gnu";

/// Names the folder that is kept.
const VARIABLE: &str = "WHARF_WINDOWS_HOME";

/// How long another run may go on before this one gives up.
const LOCK_LIMIT: Duration = Duration::from_secs(1800);

/// The folders of all that has to do with Windows.
#[derive(Clone, Debug)]
pub(super) struct Home {
    /// The root of the repository.
    pub(super) root: PathBuf,
    /// What is made once: sysroots and the Wine prefixes. Outlives `cargo clean`.
    pub(super) kept: PathBuf,
    /// What is built from this tree: a target folder of its own, because another compiler writes
    /// it than the one that builds for this machine.
    pub(super) target: PathBuf,
}

impl Home {
    /// The folders for this user and this tree.
    ///
    /// # Errors
    /// When nothing says where the user's caches lie, or a folder can't be made.
    pub(super) fn of(root: &Path) -> Result<Self, String> {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let kept = set(VARIABLE)
            .map(PathBuf::from)
            .or_else(|| set("XDG_CACHE_HOME").map(|cache| Path::new(&cache).join("wharf-windows")))
            .or_else(|| set("HOME").map(|home| Path::new(&home).join(".cache/wharf-windows")))
            .ok_or_else(|| format!("neither {VARIABLE}, XDG_CACHE_HOME nor HOME is set"))?;
        let home = Self {
            root: root.to_owned(),
            kept: std::path::absolute(kept).map_err(|e| e.to_string())?,
            target: crate::bench::target_folder(root).join("windows"),
        };
        for folder in [&home.kept, &home.target] {
            std::fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        }
        Ok(home)
    }

    /// The standard library for a target, laid out as a compiler wants it.
    pub(super) fn sysroot(&self, triple: &str) -> PathBuf {
        self.kept.join("sysroot").join(triple)
    }

    /// Where this machine's Wine keeps its Windows.
    pub(super) fn prefix(&self) -> PathBuf {
        self.kept.join("prefix")
    }

    /// The Debian with a newer Wine.
    pub(super) fn wine10(&self) -> PathBuf {
        self.kept.join("wine10")
    }

    /// A Windows program that was built from this tree.
    pub(super) fn program(&self, profile: &str, name: &str) -> PathBuf {
        self.target
            .join(TRIPLE)
            .join(profile)
            .join(format!("{name}.exe"))
    }

    /// Keeps other runs away from the folder until the file is dropped.
    ///
    /// # Errors
    /// When the other run takes too long, or this one is interrupted.
    pub(super) fn lock(&self) -> Result<File, String> {
        let path = self.kept.join("lock");
        let name = path.display().to_string();
        let file = File::create(&path).map_err(|e| format!("{name}: {e}"))?;
        wait_for(
            &format!("{name}, which another run holds"),
            LOCK_LIMIT,
            || match file.try_lock() {
                Ok(()) => Ok(Some(())),
                Err(TryLockError::WouldBlock) => Ok(None),
                Err(TryLockError::Error(error)) => Err(format!("{name}: {error}")),
            },
        )?;
        Ok(file)
    }
}

/// What a folder was made from, so that it is made again when that changes.
pub(super) struct Stamp {
    file: PathBuf,
    from: String,
}

impl Stamp {
    /// `folder` would now be made from `from`.
    pub(super) fn new(folder: &Path, from: String) -> Self {
        let file = folder.with_extension("made-from");
        Self { file, from }
    }

    /// Whether the folder was finished, and from the same.
    pub(super) fn is_current(&self) -> bool {
        std::fs::read_to_string(&self.file).is_ok_and(|text| text == self.from)
    }

    /// From now on the folder counts as unfinished.
    ///
    /// # Errors
    /// When the stamp can't be taken away.
    pub(super) fn begin(&self) -> Result<(), String> {
        match std::fs::remove_file(&self.file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(format!("{}: {error}", self.file.display()))
            }
            _ => Ok(()),
        }
    }

    /// The folder is finished.
    ///
    /// # Errors
    /// When the stamp can't be written.
    pub(super) fn finish(&self) -> Result<(), String> {
        std::fs::write(&self.file, &self.from).map_err(|e| format!("{}: {e}", self.file.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_made_again_when_it_was_not_finished_or_comes_from_something_else() {
        let name = format!("xtask-stamp-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        let stamp = |from: &str| Stamp::new(&folder, from.to_owned());
        stamp("compiler 1").begin().expect("nothing there is fine");
        assert!(!stamp("compiler 1").is_current());
        stamp("compiler 1").finish().expect("can be written");
        assert!(stamp("compiler 1").is_current());
        assert!(!stamp("compiler 2").is_current());
        stamp("compiler 1").begin().expect("can be removed");
        assert!(!stamp("compiler 1").is_current());
    }
}
