//! House rules and long checks, run as `cargo xtask NAME`.

fn main() {}
