//! Reads limits: how fast an address may connect, how much a session may say, how much memory all
//! may hold.

use std::ops::RangeInclusive;

use super::fault::Faults;
use super::table::Fields;
use crate::limits::{InputRate, MemoryLimit, PerAddress, Rate, WhenMemoryFull, WhenOver};

const RATE_KEYS: &[&str] = &["per_s", "burst"];
const INPUT_RATE_KEYS: &[&str] = &[
    "frames_per_s",
    "frames_burst",
    "bytes_per_s",
    "bytes_burst",
    "when_over",
];
const MEMORY_KEYS: &[&str] = &["bytes_max", "when_full"];
/// 64 TiB is a slip.
const MEMORY_MOST: i64 = 64 << 40;
const MOST: i64 = 4_000_000_000;
/// 0 a second is no limit.
const PER_S: RangeInclusive<i64> = 0..=MOST;
const BURST: RangeInclusive<i64> = 1..=MOST;

/// `connects_per_ip = { per_s = 10, burst = 50 }`.
pub(super) fn connects(
    fields: &mut Fields<'_, '_>,
    faults: &mut Faults<'_>,
) -> Option<PerAddress<Rate>> {
    let mut fields = fields.table(faults, "connects_per_ip")?;
    if !fields.has_nearly(&["per_s"]) {
        let message = "per_s is missing; say how many a second, or 0 for no limit";
        fields.fault(faults, fields.at, message);
    }
    let rate = rate(&mut fields, faults, "per_s", "burst");
    fields.finish(faults, RATE_KEYS, &[]);
    Some(PerAddress::every(rate))
}

/// `input_rate = { frames_per_s = 100, when_over = "close" }`.
pub(super) fn input(fields: &mut Fields<'_, '_>, faults: &mut Faults<'_>) -> Option<InputRate> {
    let mut fields = fields.table(faults, "input_rate")?;
    let policies = [("pause", WhenOver::Pause), ("close", WhenOver::Close)];
    let limits = InputRate {
        frames: rate(&mut fields, faults, "frames_per_s", "frames_burst"),
        bytes: rate(&mut fields, faults, "bytes_per_s", "bytes_burst"),
        when_over: fields
            .word(faults, "when_over", &policies)
            .unwrap_or_default(),
    };
    fields.finish(faults, INPUT_RATE_KEYS, &[]);
    Some(limits)
}

/// `memory = { bytes_max = 1073741824, when_full = "shed" }`, of which 0 bytes is no ceiling: the
/// outer `None` is an absent key or a fault.
#[expect(
    clippy::option_option,
    reason = "absent and switched off are two answers"
)]
pub(super) fn memory(
    fields: &mut Fields<'_, '_>,
    faults: &mut Faults<'_>,
) -> Option<Option<MemoryLimit>> {
    let mut fields = fields.table(faults, "memory")?;
    let policies = [
        ("refuse", WhenMemoryFull::Refuse),
        ("shed", WhenMemoryFull::Shed),
    ];
    let when_full = fields.word(faults, "when_full", &policies);
    let (missing, at) = (
        !fields.has_nearly(&["bytes_max"]),
        fields.place("bytes_max"),
    );
    let bytes_max = fields.size(faults, "bytes_max", 0..=MEMORY_MOST);
    if missing {
        let message = "bytes_max is missing; say how much all sessions may hold, or 0 for no limit";
        fields.fault(faults, fields.at, message);
    }
    let least = MemoryLimit::LEAST;
    if let (Some(at), Some(bytes)) = (at, bytes_max)
        && (1..least).contains(&bytes)
    {
        let message =
            format!("bytes_max is {bytes}; it must be at least {least}, or 0 for no limit");
        fields.fault(faults, at, &message);
    }
    fields.finish(faults, MEMORY_KEYS, &[]);
    let limit = MemoryLimit {
        bytes_max: bytes_max?,
        when_full: when_full.unwrap_or_default(),
    };
    Some((limit.bytes_max > 0).then_some(limit))
}

/// A rate; without a burst, as many at once as a second brings.
fn rate(
    fields: &mut Fields<'_, '_>,
    faults: &mut Faults<'_>,
    per_s: &str,
    burst: &str,
) -> Option<Rate> {
    let burst_at = fields.place(burst).filter(|_| !fields.has(per_s));
    if let Some(at) = burst_at {
        let message = format!("{burst} needs {per_s} beside it: how fast it fills again");
        fields.fault(faults, at, &message);
    }
    let count = |fields: &mut Fields<'_, '_>, faults: &mut Faults<'_>, key, limits| {
        let number = fields.number(faults, key, limits)?;
        u32::try_from(number).ok()
    };
    let per_s = count(fields, faults, per_s, PER_S);
    let burst = count(fields, faults, burst, BURST);
    let per_s = per_s.filter(|per_s| *per_s > 0)?;
    let burst = burst.unwrap_or(per_s);
    Some(Rate { per_s, burst })
}
