//! House rules and long checks, run as `cargo xtask NAME`.

#[cfg(target_os = "linux")]
mod abuse;
#[cfg(target_os = "linux")]
mod bench;
#[cfg(target_os = "linux")]
mod debian;
#[cfg(target_os = "linux")]
mod process;
#[cfg(target_os = "linux")]
mod soak;
mod tidy;
#[cfg(target_os = "linux")]
mod windows;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;

/// House rules and long checks.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Command {
    /// Check the house rules that a machine can check; exit 1 if one is broken
    Tidy {
        /// The checkout to look at [default: this one]
        tree: Option<PathBuf>,
    },
    #[cfg(target_os = "linux")]
    Sim(abuse::SimArgs),
    #[cfg(target_os = "linux")]
    Fuzz(abuse::FuzzArgs),
    #[cfg(target_os = "linux")]
    Mutants(abuse::MutantsArgs),
    #[cfg(target_os = "linux")]
    Sanitize(abuse::SanitizeArgs),
    #[cfg(target_os = "linux")]
    BenchEcho(bench::EchoArgs),
    #[cfg(target_os = "linux")]
    BenchInstructions(bench::InstructionsArgs),
    #[cfg(target_os = "linux")]
    BenchIdle(bench::IdleArgs),
    #[cfg(target_os = "linux")]
    BenchBlocked(bench::BlockedArgs),
    #[cfg(target_os = "linux")]
    BenchPeers(bench::PeersArgs),
    #[cfg(target_os = "linux")]
    BenchAbuse(bench::AbuseArgs),
    #[cfg(target_os = "linux")]
    #[command(hide = true)]
    Attack(bench::AttackArgs),
    #[cfg(target_os = "linux")]
    Soak(soak::SoakArgs),
    #[cfg(target_os = "linux")]
    Windows(windows::WindowsArgs),
    /// Type-check library and program for macOS and for Windows' other compiler, without linking
    #[cfg(target_os = "linux")]
    Targets,
    #[cfg(target_os = "linux")]
    BenchWine(windows::WineArgs),
}

fn main() -> ExitCode {
    let mut out = std::io::stdout();
    let done = match Command::parse() {
        Command::Tidy { tree } => tidy::run(&tree.unwrap_or_else(root), &mut out),
        #[cfg(target_os = "linux")]
        Command::Sim(args) => abuse::sim(&root(), &args, &mut out),
        #[cfg(target_os = "linux")]
        Command::Fuzz(args) => abuse::fuzz(&root(), &args, &mut out),
        #[cfg(target_os = "linux")]
        Command::Mutants(args) => abuse::mutants(&root(), &args, &mut out),
        #[cfg(target_os = "linux")]
        Command::Sanitize(args) => abuse::sanitize(&root(), &args),
        #[cfg(target_os = "linux")]
        Command::BenchEcho(args) => bench::echo(&root(), &args, &mut out),
        #[cfg(target_os = "linux")]
        Command::BenchInstructions(args) => bench::instructions(&root(), &args, &mut out),
        #[cfg(target_os = "linux")]
        Command::BenchIdle(args) => bench::idle(&root(), &args, &mut out),
        #[cfg(target_os = "linux")]
        Command::BenchBlocked(args) => bench::blocked(&root(), &args, &mut out),
        #[cfg(target_os = "linux")]
        Command::BenchPeers(args) => bench::peers(&root(), &args, &mut out),
        #[cfg(target_os = "linux")]
        Command::BenchAbuse(args) => bench::abuse(&root(), &args, &mut out),
        #[cfg(target_os = "linux")]
        Command::Attack(args) => bench::attack(&args, &mut out),
        #[cfg(target_os = "linux")]
        Command::Soak(args) => soak::run(&root(), &args, &mut out),
        #[cfg(target_os = "linux")]
        Command::Windows(args) => windows::run(&root(), &args, &mut out),
        #[cfg(target_os = "linux")]
        Command::Targets => windows::targets(&root(), &mut out),
        #[cfg(target_os = "linux")]
        Command::BenchWine(args) => windows::bench_wine(&root(), &args, &mut out),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            // A reader that went away (a closed pipe) changes nothing about the verdict.
            let _ = writeln!(std::io::stderr(), "xtask: {why}");
            ExitCode::FAILURE
        }
    }
}

/// The root of the repository: the folder above this package.
fn root() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package).to_owned()
}
