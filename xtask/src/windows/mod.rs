//! `cargo xtask windows` and `cargo xtask targets`: what other systems would say, on this Linux.
//!
//! Windows programs are built with Debian's Rust and mingw, and run by Wine. That shows whether
//! calls, lifetimes, order and ends are right; docs/windows.md says what it can't show.

mod bench;
mod crash;
mod group;
mod home;
mod packages;
mod parts;
mod report;
mod serving;
mod session;
mod suites;
mod talk;
mod targets;
mod toolchain;
mod trace;
mod wine;
mod wine10;

pub(crate) use bench::{WineArgs, run as bench_wine};
pub(crate) use packages::install_compiler;
pub(crate) use parts::{WindowsArgs, run};
pub(crate) use targets::run as targets;
