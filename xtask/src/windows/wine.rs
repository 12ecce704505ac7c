//! How Windows programs are run here, and the folder in which Wine keeps its Windows.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::group;
use super::home::{Home, Stamp};
use super::toolchain::{compile_c, remove};

/// Changed whenever a prefix is made in another way, so that old ones are not used any more.
const RECIPE: u32 = 1;

/// A Windows program that runs longer hangs.
const PROGRAM_SECONDS_MAX: u32 = 300;

const BOOT_LIMIT: Duration = Duration::from_secs(180);

/// In front of whatever Wine runs. Each call of a socket goes to Wine's server and back, and each
/// way waits for a core: beside builds an echo then takes a tenth of a second, and tests that have
/// the system close a silent peer in half a second fail. Whoever may not go ahead is told so, and
/// the program runs all the same.
const AHEAD: [&str; 3] = ["nice", "-n", "-10"];

/// One Wine, with one prefix.
#[derive(Clone, Debug)]
pub(super) struct Wine {
    /// What a Windows program is run by.
    loader: Vec<String>,
    server: Vec<String>,
    prefix: PathBuf,
    /// The prefix as this machine sees it; Wine in a chroot calls it otherwise.
    prefix_here: PathBuf,
}

impl Wine {
    /// Debian 12's Wine. By its full path: the program on the PATH asks for a 32-bit one too.
    pub(super) fn of_this_machine(home: &Home) -> Self {
        Self {
            loader: vec!["/usr/lib/wine/wine64".into()],
            server: vec!["/usr/lib/wine/wineserver64".into()],
            prefix: home.prefix(),
            prefix_here: home.prefix(),
        }
    }

    /// The Wine in the Debian in `chroot`.
    pub(super) fn of_chroot(chroot: &Path) -> Self {
        // The shell finds out in which folder a program is meant to run; chroot forgets it.
        let enter = |program: &str| {
            let script = format!("exec chroot \"$0\" env -C \"$(pwd -P)\" HOME=/ {program} \"$@\"");
            vec![
                "sh".into(),
                "-c".into(),
                script,
                chroot.display().to_string(),
            ]
        };
        Self {
            loader: enter("wine"),
            server: enter("wineserver"),
            prefix: PathBuf::from("/prefix"),
            prefix_here: chroot.join("prefix"),
        }
    }

    /// A command that runs a Windows program with `args`. It has no time limit of its own.
    pub(super) fn run(&self, program: &Path) -> Command {
        let mut command = self.by(&self.loader);
        command.arg(program);
        command
    }

    /// What runs a Windows program, with a time limit, as the start of a command line.
    pub(super) fn runner(&self) -> Vec<String> {
        let limit = ["timeout", "--foreground", "--kill-after=10"];
        let seconds = PROGRAM_SECONDS_MAX.to_string();
        let before = AHEAD.into_iter().chain(limit).map(str::to_owned);
        before
            .chain([seconds])
            .chain(self.loader.iter().cloned())
            .collect()
    }

    /// A command for this prefix's server, the process that plays the kernel.
    pub(super) fn server(&self, args: &[&str]) -> Command {
        let mut command = self.by(&self.server);
        command.args(args);
        command
    }

    fn by(&self, line: &[String]) -> Command {
        let mut command = Command::new(AHEAD[0]);
        command.args(&AHEAD[1..]).args(line);
        self.set_up(&mut command);
        command
    }

    /// Has Windows programs that the command runs find this prefix, and no display.
    pub(super) fn set_up(&self, command: &mut Command) {
        command
            .env("WINEPREFIX", &self.prefix)
            .env("WINEDEBUG", "-all")
            // No .NET, no browser; and no debugger, which would swallow the end of a crash.
            .env("WINEDLLOVERRIDES", "mscoree,mshtml=;winedbg.exe=d")
            .env_remove("DISPLAY")
            .env_remove("WAYLAND_DISPLAY")
            // Wine takes up to a second for the symbols of each panic that a test means to cause.
            .env_remove("RUST_BACKTRACE");
    }

    /// Processes of this prefix, but not the one that asks.
    pub(super) fn processes(&self) -> Vec<i32> {
        let setting = format!("WINEPREFIX={}", self.prefix.display()).into_bytes();
        let own = i32::try_from(std::process::id()).ok();
        let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        entries
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter(|pid| Some(*pid) != own)
            .filter(|pid| {
                let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
                environment
                    .split(|byte| *byte == 0)
                    .any(|variable| variable == setting)
            })
            .collect()
    }

    /// Its name and version.
    ///
    /// # Errors
    /// When it can't be run.
    pub(super) fn version(&self) -> Result<String, String> {
        group::output("wine", &mut self.run(Path::new("--version")))
    }

    /// Makes the prefix, unless this Wine has done so before.
    ///
    /// # Errors
    /// When a step of it fails.
    pub(super) fn prepare(&self, home: &Home) -> Result<(), String> {
        let stamp = Stamp::new(
            &self.prefix_here,
            format!("recipe {RECIPE}, {}\n", self.version()?),
        );
        if stamp.is_current() {
            return Ok(());
        }
        stamp.begin()?;
        remove(&self.prefix_here)?;
        let boot = &mut self.run(Path::new("wineboot"));
        group::run_silently("wineboot", boot.arg("--init"), BOOT_LIMIT)?;
        self.add_random_source(home)?;
        for (key, name, value) in SETTINGS {
            let add = &mut self.run(Path::new("reg"));
            add.args(["add", key, "/v", name, "/d", value, "/f"]);
            group::run_silently(&format!("reg add {key} {name}"), add, BOOT_LIMIT)?;
        }
        // The server writes the registry to its files when it ends.
        group::run_silently("wineserver", &mut self.server(&["-w"]), BOOT_LIMIT)?;
        stamp.finish()
    }

    fn add_random_source(&self, home: &Home) -> Result<(), String> {
        let system = self.prefix_here.join("drive_c/windows/system32");
        let library = system.join("bcryptprimitives.dll");
        if library.exists() {
            return Ok(());
        }
        let source = home.root.join("xtask/src/windows/prng.c");
        compile_c(&source, &library, &["-shared", "-ladvapi32"])
    }
}

/// Key, name and value. The first two keep a crash from being handed to a debugger, after which
/// the process sometimes exits with 0; the part `crash` proves that they work. By the last one it
/// says that it is Windows 10, which Rust's programs expect; Wine 8 would say 7.
const SETTINGS: [(&str, &str, &str); 3] = [
    (AE_DEBUG, "Debugger", ""),
    (AE_DEBUG, "Auto", "0"),
    (r"HKCU\Software\Wine", "Version", "win10"),
];

const AE_DEBUG: &str = r"HKLM\Software\Microsoft\Windows NT\CurrentVersion\AeDebug";
