//! A model of whole machines: threads on N cores, ports and pools, turns and lanes.
//!
//! Pure: no socket, no thread, no clock. Time is nanoseconds in a `u64`, chance comes from a seed,
//! and who runs next in a port or pool is decided by the library's own scheduler.

mod cores;
pub(crate) mod costs;
mod eevdf;
mod events;
mod far;
pub(crate) mod input;
pub(crate) mod layouts;
mod ports;
pub(crate) mod run;
mod workers;
mod world;

/// Seconds as nanoseconds.
fn nanos(seconds: f64) -> u64 {
    let time = std::time::Duration::try_from_secs_f64(seconds.max(0.0));
    time.map_or(u64::MAX, crate::lab::driver::nanos)
}

/// Nanoseconds with this mean.
fn exponential(rng: &mut fastrand::Rng, mean: u64) -> u64 {
    let share = -(1.0 - rng.f64()).ln();
    crate::lab::driver::nanos(std::time::Duration::from_nanos(mean).mul_f64(share))
}

#[cfg(test)]
mod tests;
