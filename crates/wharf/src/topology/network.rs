//! Reads networks.

use std::ops::RangeInclusive;

use super::address::{self, For};
use super::fault::Faults;
use super::framing;
use super::limits;
use super::names::Wanted;
use super::plan::{ConnectPlan, ListenPlan, NetworkPlan, Role};
use super::table::{Elsewhere, Entry, Fields, Placed, YEAR_MS, found};
use super::threads::{self, FRAMES_PER_TURN_MAX, TURN_US_MAX};
use crate::limits::PerAddress;
use crate::network::{FlushMode, Reconnect};
use crate::session::queue::{SendQueueLimits, WhenFull};

const KEYS: &[&str] = &[
    "listen",
    "connect",
    "port",
    "pool",
    "lane",
    "framing",
    "send_queue",
    "input_rate",
    "memory",
    "flush",
    "handshake_timeout_ms",
    "idle_timeout_ms",
    "write_stall_ms",
    "linger_ms",
    "frames_per_turn_max",
    "turn_us_max",
    "mailbox_max",
    "nodelay",
    "keepalive_s",
];
const SERVER_KEYS: &[&str] = &[
    "sessions_max",
    "sessions_per_ip_max",
    "connects_per_ip",
    "proxy_protocol",
];
const CLIENT_KEYS: &[&str] = &["reconnect", "links", "connect_timeout_ms", "late_names"];
const SEND_QUEUE_KEYS: &[&str] = &[
    "bytes_max",
    "frames_max",
    "high_water_bytes",
    "low_water_bytes",
    "when_full",
];
const RECONNECT_KEYS: &[&str] = &["first_ms", "max_ms", "jitter", "stable_ms", "enabled"];

const ELSEWHERE: &[Elsewhere<'static>] = &[
    (
        "workers",
        "belongs to a port or pool: set it in [port.NAME] and name that port here",
    ),
    (
        "workers_max",
        "belongs to a lane of a port or pool; name the lane here: lane = \"..\"",
    ),
    (
        "lanes",
        "belongs to a port or pool; a network names one: lane = \"..\"",
    ),
    (
        "cores",
        "belongs to a port or pool: set it in [port.NAME] and name that port here",
    ),
    (
        "nice",
        "belongs to a port or pool: set it in [port.NAME] and name that port here",
    ),
    (
        "spin_us",
        "belongs to a port: set it in [port.NAME] and name that port here",
    ),
    (
        "nap_us",
        "belongs to a port: set it in [port.NAME] and name that port here",
    ),
    (
        "concurrency",
        "belongs to a port: set it in [port.NAME] and name that port here",
    ),
    (
        "bytes_max",
        "belongs to the send queue: send_queue = { bytes_max = .. }",
    ),
    (
        "when_full",
        "belongs to the send queue: send_queue = { when_full = .. }",
    ),
    (
        "frame_bytes_max",
        "belongs to the framing: framing = { kind = .., frame_bytes_max = .. }",
    ),
    (
        "address",
        "is written as \"listen\" or \"connect\", which says who calls whom",
    ),
];

const COUNT: RangeInclusive<i64> = 1..=10_000_000;
/// 64 GiB in one session's queue is a slip.
const BYTES: RangeInclusive<i64> = 1..=(64 << 30);
const LINKS: RangeInclusive<i64> = 1..=10_000;
/// What Linux takes as `TCP_KEEPIDLE`.
const KEEPALIVE_S: RangeInclusive<i64> = 1..=32_767;

/// A network as the file has it: the names in it are not looked up yet.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) wanted: Wanted,
    /// The addresses it listens on, with their places.
    pub(super) listens_on: Vec<Placed>,
    /// Port, pool and lane are filled in by the look-up.
    pub(super) plan: NetworkPlan,
}

/// Reads `[network.NAME]`; `None` if it is no table.
pub(super) fn read(entry: Entry<'_, '_>, faults: &mut Faults<'_>) -> Option<Draft> {
    let Entry { key, at, value } = entry;
    threads::name("network", key, at, faults);
    let mut fields = Fields::new(format!("network \"{key}\""), at, value, faults)?;
    let (listens, connects) = (fields.place("listen"), fields.place("connect"));
    let listens_on = addresses(&mut fields, "listen", For::Listen, faults);
    let connects_to = addresses(&mut fields, "connect", For::Connect, faults);
    // A key that is nearly one of the two is told as unknown, and that is enough.
    let certain = listens.is_some() != connects.is_some();
    if listens.is_some() && connects.is_some() {
        let message = "it has both listen and connect; a network is a server or a client: make two \
                       of it";
        fields.fault(faults, at, message);
    } else if !certain && !fields.has_nearly(&["listen", "connect"]) {
        let message = "it has neither listen nor connect; add listen = \"0.0.0.0:7777\" for a \
                       server, or connect = \"host:port\" for a client";
        fields.fault(faults, at, message);
    }
    let texts = |placed: &[Placed]| placed.iter().map(|(text, _)| text.clone()).collect();
    let role = if connects.is_some() && listens.is_none() {
        let mut client = ConnectPlan::new(texts(&connects_to));
        read_client(&mut client, &mut fields, faults);
        Role::Connect(client)
    } else {
        let mut server = ListenPlan::new(texts(&listens_on));
        read_server(&mut server, &mut fields, faults);
        Role::Listen(server)
    };
    let mut draft = Draft {
        plan: NetworkPlan::new(key, role, ""),
        wanted: Wanted::read(true, &mut fields, faults),
        listens_on,
    };
    read_common(&mut draft.plan, &mut fields, faults);
    finish(&draft.plan.role, certain, fields, faults);
    Some(draft)
}

fn finish(role: &Role, certain: bool, fields: Fields<'_, '_>, faults: &mut Faults<'_>) {
    let (own, others, why) = match role {
        Role::Listen(_) => (
            SERVER_KEYS,
            CLIENT_KEYS,
            "is for networks that connect, and this one listens; remove it",
        ),
        Role::Connect(_) => (
            CLIENT_KEYS,
            SERVER_KEYS,
            "is for networks that listen, and this one connects; remove it",
        ),
    };
    let known = [KEYS, own].concat();
    if certain {
        let others: Vec<_> = others.iter().map(|key| (*key, why)).collect();
        fields.finish(faults, &known, &[ELSEWHERE, &others].concat());
    } else {
        // The role is in doubt: the keys of either may be right.
        let mut fields = fields;
        for key in others {
            fields.take(key);
        }
        fields.finish(faults, &known, ELSEWHERE);
    }
}

fn addresses(
    fields: &mut Fields<'_, '_>,
    key: &str,
    usage: For,
    faults: &mut Faults<'_>,
) -> Vec<Placed> {
    let Some(value) = fields.take(key) else {
        return Vec::new();
    };
    let at = value.span().start;
    let one = std::slice::from_ref(value);
    let list = value.get_ref().as_array().map_or(one, |list| &list[..]);
    if list.is_empty() {
        let message = format!("{key} is an empty list; give at least one host:port");
        fields.fault(faults, at, &message);
    }
    let mut placed = Vec::new();
    for value in list {
        let at = value.span().start;
        let Some(text) = value.get_ref().as_str() else {
            let found = found(value.get_ref());
            let message = format!(
                "{key} is {found}; it must be an address in quotes, as in \"127.0.0.1:7777\", or a \
                 list of such"
            );
            fields.fault(faults, at, &message);
            continue;
        };
        match address::check(text, usage) {
            Ok(()) if placed.iter().any(|(other, _)| other == text) => {
                fields.fault(faults, at, &format!("{key}: {text:?} is given twice"));
            }
            Ok(()) => placed.push((text.to_owned(), at)),
            Err(why) => fields.fault(faults, at, &format!("{key}: {text:?} {why}")),
        }
    }
    placed
}

fn read_server(server: &mut ListenPlan, fields: &mut Fields<'_, '_>, faults: &mut Faults<'_>) {
    set(
        &mut server.sessions_max,
        fields.size(faults, "sessions_max", COUNT),
    );
    // Of both, 0 is no limit, as of the times.
    let sessions = fields.size(faults, "sessions_per_ip_max", 0..=*COUNT.end());
    let sessions = sessions.map(|most| PerAddress::every(Some(most).filter(|most| *most > 0)));
    set(&mut server.sessions_per_ip_max, sessions);
    set(
        &mut server.connects_per_ip,
        limits::connects(fields, faults),
    );
    set(
        &mut server.proxy_protocol,
        fields.flag(faults, "proxy_protocol"),
    );
}

fn read_client(client: &mut ConnectPlan, fields: &mut Fields<'_, '_>, faults: &mut Faults<'_>) {
    set(&mut client.links, fields.size(faults, "links", LINKS));
    let timeout = fields.time(faults, "connect_timeout_ms", 1..=YEAR_MS);
    set(&mut client.connect_timeout, timeout);
    set(&mut client.late_names, fields.flag(faults, "late_names"));
    if let Some(mut fields) = fields.table(faults, "reconnect") {
        client.reconnect = reconnect(&mut fields, faults);
        fields.finish(faults, RECONNECT_KEYS, &[]);
    }
}

fn reconnect(fields: &mut Fields<'_, '_>, faults: &mut Faults<'_>) -> Reconnect {
    let mut reconnect = Reconnect::default();
    let max_at = fields.place("max_ms");
    let first_at = fields.place("first_ms");
    // Without a pause a refused connect would be tried again at once, for ever.
    let first = fields.time(faults, "first_ms", 1..=YEAR_MS);
    let max = fields.time(faults, "max_ms", 1..=YEAR_MS);
    set(&mut reconnect.first, first);
    set(&mut reconnect.max, max);
    set(&mut reconnect.jitter, fields.flag(faults, "jitter"));
    set(
        &mut reconnect.stable,
        fields.time(faults, "stable_ms", 0..=YEAR_MS),
    );
    set(&mut reconnect.enabled, fields.flag(faults, "enabled"));
    if reconnect.first > reconnect.max {
        let message = format!(
            "the first pause ({} ms) is longer than the longest ({} ms); lower first_ms or raise \
             max_ms",
            reconnect.first.as_millis(),
            reconnect.max.as_millis()
        );
        fields.fault(faults, max_at.or(first_at).unwrap_or(fields.at), &message);
    }
    reconnect
}

fn read_common(plan: &mut NetworkPlan, fields: &mut Fields<'_, '_>, faults: &mut Faults<'_>) {
    if let Some(value) = fields.take("framing") {
        set(
            &mut plan.framing,
            framing::read(&fields.what, value, faults),
        );
    }
    if let Some(mut fields) = fields.table(faults, "send_queue") {
        plan.send_queue = send_queue(&mut fields, faults);
        fields.finish(faults, SEND_QUEUE_KEYS, &[]);
    }
    set(&mut plan.input_rate, limits::input(fields, faults));
    set(&mut plan.memory, limits::memory(fields, faults));
    let modes = [("turn", FlushMode::Turn), ("tick", FlushMode::Tick)];
    set(&mut plan.flush, fields.word(faults, "flush", &modes));
    let timeouts = &mut plan.timeouts;
    set(
        &mut timeouts.handshake,
        fields.time_or_off(faults, "handshake_timeout_ms"),
    );
    set(
        &mut timeouts.idle,
        fields.time_or_off(faults, "idle_timeout_ms"),
    );
    set(
        &mut timeouts.write_stall,
        fields.time_or_off(faults, "write_stall_ms"),
    );
    set(
        &mut timeouts.linger,
        fields.time(faults, "linger_ms", 0..=YEAR_MS),
    );
    plan.frames_per_turn_max = fields.size(faults, "frames_per_turn_max", 1..=FRAMES_PER_TURN_MAX);
    plan.turn_time_max = fields.time(faults, "turn_us_max", 1..=TURN_US_MAX);
    set(
        &mut plan.mailbox_max,
        fields.size(faults, "mailbox_max", COUNT),
    );
    set(&mut plan.nodelay, fields.flag(faults, "nodelay"));
    plan.keepalive = fields.time(faults, "keepalive_s", KEEPALIVE_S);
}

fn send_queue(fields: &mut Fields<'_, '_>, faults: &mut Faults<'_>) -> SendQueueLimits {
    let mut limits = SendQueueLimits::default();
    let (high_at, low_at) = (
        fields.place("high_water_bytes"),
        fields.place("low_water_bytes"),
    );
    set(
        &mut limits.bytes_max,
        fields.size(faults, "bytes_max", BYTES),
    );
    set(
        &mut limits.frames_max,
        fields.size(faults, "frames_max", COUNT),
    );
    limits.high_water_bytes = fields.size(faults, "high_water_bytes", BYTES);
    limits.low_water_bytes = fields.size(faults, "low_water_bytes", 0..=*BYTES.end());
    let policies = [
        ("close", WhenFull::Close),
        ("drop_new", WhenFull::DropNew),
        ("drop_old", WhenFull::DropOld),
        ("error", WhenFull::Error),
    ];
    set(
        &mut limits.when_full,
        fields.word(faults, "when_full", &policies),
    );
    let (high, most) = (limits.high_water(), limits.bytes_max);
    if let Some(at) = high_at.filter(|_| high > most) {
        let message = format!(
            "high_water_bytes is {high}, above bytes_max, {most}: it would never be reached; lower \
             the one or raise the other"
        );
        fields.fault(faults, at, &message);
    }
    if let (Some(at), Some(low)) = (low_at, limits.low_water_bytes)
        && low >= high
    {
        let message = format!(
            "low_water_bytes is {low}; it must lie below the high-water mark, {high} bytes"
        );
        fields.fault(faults, at, &message);
    }
    limits
}

/// Overwrites a default with what was given.
fn set<T>(field: &mut T, given: Option<T>) {
    if let Some(given) = given {
        *field = given;
    }
}
