//! Models of the core's concurrent protocols: loom tries the interleavings, up to a bound of
//! preemptions, with every value that a relaxed load may see.
//!
//! The types that carry the protocols are the real ones: [`Word`](crate::session::word::Word),
//! [`SendQueue`](crate::session::queue::SendQueue), [`RunQueue`](crate::sched::RunQueue),
//! [`Timers`](crate::port::Timers). What `flow/` and `port/` put around them is repeated here as
//! thinly as it goes, and each function names the one that it mirrors: change both or neither.
//!
//! ```text
//! RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR=target/loom LOOM_MAX_PREEMPTIONS=2 \
//!     cargo test -p wharf --release --lib models -- --nocapture
//! ```

#![expect(
    clippy::unwrap_used,
    reason = "all of it is tests, which clippy sees only where `cfg` is `test` alone"
)]

mod birth;
mod close_against_everything;
mod connect_end;
mod flush_right;
mod flushing;
mod kernel;
mod lane_slot;
mod mailbox;
mod pause_guard;
mod port;
mod rescue;
mod rights;
mod serving;
mod session;
mod shutdown;
mod strand_mailbox;
mod ticking;
mod timer_arm;
mod timer_cancel;
mod turn_handover;
mod wake_chain;
mod water_marks;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Explores a model with at least so many preemptions, more if the environment says so.
fn check(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    let asked = builder.preemption_bound.unwrap_or(preemptions);
    builder.preemption_bound = Some(asked.max(preemptions));
    builder.max_branches = 10_000;
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&runs);
    let began = std::time::Instant::now();
    builder.check(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        model();
    });
    let name = std::thread::current().name().unwrap_or_default().to_owned();
    let (runs, bound) = (runs.load(Ordering::Relaxed), asked.max(preemptions));
    let took = began.elapsed();
    #[expect(
        clippy::print_stderr,
        reason = "how much was explored, for --nocapture"
    )]
    {
        eprintln!("{name}: {runs} interleavings, {bound} preemptions, {took:.1?}");
    }
}
