//! What a network does with peers that take too much, in words: for `wharf check`.

use std::time::Duration;

use super::map_text::bytes;
use super::plan::{NetworkPlan, Role};
use crate::limits::{MemoryLimit, PerAddress, Rate, WhenMemoryFull, WhenOver};

/// What is limited, and by how much.
pub(super) fn of(plan: &NetworkPlan) -> Vec<(&'static str, String)> {
    let timeouts = &plan.timeouts;
    let mut limits = vec![
        ("handshake", time(timeouts.handshake)),
        ("idle", time(timeouts.idle)),
        ("write stall", time(timeouts.write_stall)),
    ];
    let (sessions, connects) = match &plan.role {
        Role::Listen(server) => (
            per_address(server.sessions_per_ip_max, |most| most.to_string()),
            per_address(server.connects_per_ip, rate),
        ),
        Role::Connect(_) => ("-".to_owned(), "-".to_owned()),
    };
    limits.push(("sessions/ip", sessions));
    limits.push(("connects/ip", connects));
    let input = &plan.input_rate;
    let rates = [
        input
            .frames
            .map(|frames| format!("{} frames", rate(frames))),
        input.bytes.map(|bytes| format!("{} bytes", rate(bytes))),
    ];
    let rates: Vec<_> = rates.into_iter().flatten().collect();
    let policy = match input.when_over {
        WhenOver::Pause => "pause",
        WhenOver::Close => "close",
    };
    limits.push((
        "input",
        match rates.as_slice() {
            [] => "off".to_owned(),
            rates => format!("{}, {policy}", rates.join(" ")),
        },
    ));
    limits.push(("memory", plan.memory.map_or("host's".to_owned(), memory)));
    limits
}

/// `1 GiB, shed`.
pub(super) fn memory(limit: MemoryLimit) -> String {
    let policy = match limit.when_full {
        WhenMemoryFull::Refuse => "refuse",
        WhenMemoryFull::Shed => "shed",
    };
    let most = u64::try_from(limit.bytes_max).unwrap_or(u64::MAX);
    format!("{}, {policy}", bytes(most))
}

fn time(time: Option<Duration>) -> String {
    match time {
        None => "off".to_owned(),
        Some(time) if time.subsec_millis() == 0 => format!("{} s", time.as_secs()),
        Some(time) => format!("{} ms", time.as_millis()),
    }
}

/// `32/s, 256 at once`.
fn rate(rate: Rate) -> String {
    format!("{}/s ({} at once)", rate.per_s, rate.burst)
}

fn per_address<T: Copy>(limit: PerAddress<T>, text: impl Fn(T) -> String) -> String {
    match limit {
        PerAddress::Off => "off".to_owned(),
        PerAddress::Every(limit) => text(limit),
        PerAddress::Public(limit) => format!("{} if public", text(limit)),
    }
}
