//! Ends as it is told to: what `cargo xtask windows crash` runs to see that Wine passes crashes on.
#![allow(
    clippy::exit,
    reason = "the ways of ending are what this program is for"
)]

use std::hint::black_box;
use std::process::ExitCode;

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("return") => ExitCode::SUCCESS,
        Some("panic") => panic!("on purpose"),
        Some("abort") => std::process::abort(),
        Some("overflow") => ExitCode::from(overflow(1)),
        other => {
            let _ = other;
            ExitCode::from(2)
        }
    }
}

/// Needs more stack with each call, and makes one for every number but 0.
fn overflow(number: u8) -> u8 {
    let room = black_box([number; 4096]);
    if black_box(number) == 0 {
        return 0;
    }
    overflow(black_box(room[17])).wrapping_add(room[23])
}
