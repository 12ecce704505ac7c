//! A topology as the text of a file.

use std::fmt::Write as _;
use std::time::Duration;

use super::plan::{
    ConnectPlan, FramingKind, FramingPlan, HostPlan, LanePlan, ListenPlan, NetworkPlan, Role,
    ThreadsPlan, Topology, Workers,
};
use super::work::ServedBy;
use crate::frame::ByteOrder;
use crate::limits::{InputRate, MemoryLimit, PerAddress, Rate, WhenMemoryFull, WhenOver};
use crate::network::{FlushMode, Reconnect};
use crate::session::queue::{SendQueueLimits, WhenFull};

impl Topology {
    /// The topology as the text of a file, every option written out; [`Topology::parse`] of it
    /// gives the same value. Times are written in the unit of their key: what is finer is lost.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let mut tables = Vec::new();
        if self.host != HostPlan::default() {
            let mut lines = Lines::default();
            lines.set("memory", memory(self.host.memory));
            tables.push(format!("[host]\n{}", lines.text()));
        }
        for port in &self.ports {
            let mut lines = threads(&port.threads);
            lines.set("spin_us", micros(port.spin));
            lines.set("nap_us", micros(port.nap));
            lines.set_some("concurrency", port.concurrency);
            tables.push(lines.table("port", &port.name));
        }
        for pool in &self.pools {
            tables.push(threads(&pool.threads).table("pool", &pool.name));
        }
        for work in &self.work {
            let mut lines = Lines::default();
            match &work.on {
                ServedBy::Port(name) => lines.set("port", quoted(name)),
                ServedBy::Pool(name) => lines.set("pool", quoted(name)),
            }
            lines.set("lane", quoted(&work.lane));
            tables.push(lines.table("work", &work.name));
        }
        for network in &self.networks {
            tables.push(self::network(network).table("network", &network.name));
        }
        tables.join("\n")
    }
}

/// The entries of one table.
#[derive(Default)]
struct Lines(Vec<(&'static str, String)>);

impl Lines {
    fn set(&mut self, key: &'static str, value: impl ToString) {
        self.0.push((key, value.to_string()));
    }

    fn set_some(&mut self, key: &'static str, value: Option<impl ToString>) {
        if let Some(value) = value {
            self.set(key, value);
        }
    }

    /// On a line each, under a heading.
    fn table(self, kind: &str, name: &str) -> String {
        format!("[{kind}.{}]\n{}", key(name), self.text())
    }

    /// On a line each.
    fn text(self) -> String {
        let mut text = String::new();
        for (key, value) in self.0 {
            // Writing to a String can't fail.
            let _ = writeln!(text, "{key} = {value}");
        }
        text
    }

    /// All in one value.
    fn inline(self) -> String {
        let entry = |(key, value)| format!("{key} = {value}");
        let entries: Vec<_> = self.0.into_iter().map(entry).collect();
        format!("{{ {} }}", entries.join(", "))
    }
}

fn threads(plan: &ThreadsPlan) -> Lines {
    let mut lines = Lines::default();
    match plan.workers {
        Workers::Cores => lines.set("workers", quoted("cores")),
        Workers::CoresAnd(more) => lines.set("workers", quoted(&format!("cores + {more}"))),
        Workers::Count(workers) => lines.set("workers", workers),
    }
    lines.set_some("workers_limit", plan.workers_limit);
    lines.set("lanes", list(plan.lanes.iter().map(lane)));
    lines.set_some("nice", plan.nice);
    if !plan.cores.is_empty() {
        lines.set("cores", list(plan.cores.iter().map(usize::to_string)));
    }
    lines
}

fn lane(plan: &LanePlan) -> String {
    let mut lines = Lines::default();
    lines.set("name", quoted(&plan.name));
    if !plan.also.is_empty() {
        lines.set("also", list(plan.also.iter().map(|name| quoted(name))));
    }
    lines.set_some("workers_max", plan.workers_max);
    if plan.workers_min > 0 {
        lines.set("workers_min", plan.workers_min);
    }
    lines.set_some("starve_ms_max", plan.starve_after.map(millis));
    lines.set_some("frames_per_turn_max", plan.frames_per_turn_max);
    lines.set_some("turn_us_max", plan.turn_time_max.map(micros));
    lines.set_some("nice", plan.nice);
    lines.inline()
}

fn network(plan: &NetworkPlan) -> Lines {
    let mut lines = Lines::default();
    let addrs = |addrs: &[String]| list(addrs.iter().map(|addr| quoted(addr)));
    match &plan.role {
        Role::Listen(server) => lines.set("listen", addrs(&server.addrs)),
        Role::Connect(client) => lines.set("connect", addrs(&client.addrs)),
    }
    lines.set("port", quoted(&plan.port));
    lines.set_some("pool", plan.pool.as_deref().map(quoted));
    lines.set("lane", quoted(&plan.lane));
    lines.set("framing", framing(&plan.framing));
    match &plan.role {
        Role::Listen(server) => self::server(server, &mut lines),
        Role::Connect(client) => self::client(client, &mut lines),
    }
    lines.set("send_queue", send_queue(&plan.send_queue));
    if plan.input_rate != InputRate::default() {
        lines.set("input_rate", input_rate(&plan.input_rate));
    }
    if plan.memory.is_some() {
        lines.set("memory", memory(plan.memory));
    }
    let flush = match plan.flush {
        FlushMode::Turn => "turn",
        FlushMode::Tick => "tick",
    };
    lines.set("flush", quoted(flush));
    let or_off = |time: Option<Duration>| millis(time.unwrap_or(Duration::ZERO));
    lines.set("handshake_timeout_ms", or_off(plan.timeouts.handshake));
    lines.set("idle_timeout_ms", or_off(plan.timeouts.idle));
    lines.set("write_stall_ms", or_off(plan.timeouts.write_stall));
    lines.set("linger_ms", millis(plan.timeouts.linger));
    lines.set_some("frames_per_turn_max", plan.frames_per_turn_max);
    lines.set_some("turn_us_max", plan.turn_time_max.map(micros));
    lines.set("mailbox_max", plan.mailbox_max);
    lines.set("nodelay", plan.nodelay);
    lines.set_some("keepalive_s", plan.keepalive.map(|time| time.as_secs()));
    lines
}

fn server(plan: &ListenPlan, lines: &mut Lines) {
    lines.set("sessions_max", plan.sessions_max);
    // A limit for public addresses is a default, and no file can say it.
    match plan.sessions_per_ip_max {
        PerAddress::Public(_) => {}
        PerAddress::Off => lines.set("sessions_per_ip_max", 0),
        PerAddress::Every(most) => lines.set("sessions_per_ip_max", most),
    }
    match plan.connects_per_ip {
        PerAddress::Public(_) => {}
        PerAddress::Off => lines.set("connects_per_ip", rate(None)),
        PerAddress::Every(most) => lines.set("connects_per_ip", rate(Some(most))),
    }
    lines.set("proxy_protocol", plan.proxy_protocol);
}

fn rate(rate: Option<Rate>) -> String {
    let mut lines = Lines::default();
    lines.set("per_s", rate.map_or(0, |rate| rate.per_s));
    lines.set_some("burst", rate.map(|rate| rate.burst));
    lines.inline()
}

fn client(plan: &ConnectPlan, lines: &mut Lines) {
    lines.set("links", plan.links);
    lines.set("connect_timeout_ms", millis(plan.connect_timeout));
    let Reconnect {
        first,
        max,
        jitter,
        stable,
        enabled,
    } = &plan.reconnect;
    let mut reconnect = Lines::default();
    reconnect.set("first_ms", millis(*first));
    reconnect.set("max_ms", millis(*max));
    reconnect.set("jitter", jitter);
    reconnect.set("stable_ms", millis(*stable));
    reconnect.set("enabled", enabled);
    lines.set("reconnect", reconnect.inline());
    lines.set("late_names", plan.late_names);
}

fn memory(limit: Option<MemoryLimit>) -> String {
    let mut lines = Lines::default();
    lines.set("bytes_max", limit.map_or(0, |limit| limit.bytes_max));
    let when_full = limit.map(|limit| match limit.when_full {
        WhenMemoryFull::Refuse => quoted("refuse"),
        WhenMemoryFull::Shed => quoted("shed"),
    });
    lines.set_some("when_full", when_full);
    lines.inline()
}

fn input_rate(limits: &InputRate) -> String {
    let mut lines = Lines::default();
    lines.set_some("frames_per_s", limits.frames.map(|rate| rate.per_s));
    lines.set_some("frames_burst", limits.frames.map(|rate| rate.burst));
    lines.set_some("bytes_per_s", limits.bytes.map(|rate| rate.per_s));
    lines.set_some("bytes_burst", limits.bytes.map(|rate| rate.burst));
    let when_over = match limits.when_over {
        WhenOver::Pause => "pause",
        WhenOver::Close => "close",
    };
    lines.set("when_over", quoted(when_over));
    lines.inline()
}

fn send_queue(limits: &SendQueueLimits) -> String {
    let mut lines = Lines::default();
    lines.set("bytes_max", limits.bytes_max);
    lines.set("frames_max", limits.frames_max);
    lines.set_some("high_water_bytes", limits.high_water_bytes);
    lines.set_some("low_water_bytes", limits.low_water_bytes);
    let when_full = match limits.when_full {
        WhenFull::Close => "close",
        WhenFull::DropNew => "drop_new",
        WhenFull::DropOld => "drop_old",
        WhenFull::Error => "error",
    };
    lines.set("when_full", quoted(when_full));
    lines.inline()
}

fn framing(plan: &FramingPlan) -> String {
    let mut lines = Lines::default();
    match &plan.kind {
        FramingKind::Length {
            prefix_bytes,
            byte_order,
            includes_prefix,
            includes_header,
            length_counts_from,
            header_bytes,
            prefix_offset,
        } => {
            let order = match byte_order {
                ByteOrder::Little => "little",
                ByteOrder::Big => "big",
            };
            lines.set("kind", quoted("length"));
            lines.set("prefix_bytes", prefix_bytes);
            lines.set("byte_order", quoted(order));
            lines.set("includes_prefix", includes_prefix);
            lines.set("includes_header", includes_header);
            lines.set_some("length_counts_from", *length_counts_from);
            lines.set_some("header_bytes", *header_bytes);
            lines.set("prefix_offset", prefix_offset);
        }
        FramingKind::Delimiter(delimiter) => {
            lines.set("kind", quoted("delimiter"));
            lines.set("delimiter", quoted(delimiter));
        }
        FramingKind::Varint => lines.set("kind", quoted("varint")),
        FramingKind::Lines => lines.set("kind", quoted("lines")),
        FramingKind::Raw => lines.set("kind", quoted("raw")),
    }
    lines.set("frame_bytes_max", plan.frame_bytes_max);
    lines.inline()
}

fn list(values: impl Iterator<Item = String>) -> String {
    format!("[{}]", values.collect::<Vec<_>>().join(", "))
}

fn millis(time: Duration) -> u128 {
    time.as_millis()
}

fn micros(time: Duration) -> u128 {
    time.as_micros()
}

/// A name as a key: bare where that is allowed.
fn key(name: &str) -> String {
    let bare = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if !name.is_empty() && name.bytes().all(bare) {
        name.to_owned()
    } else {
        quoted(name)
    }
}

/// A basic string of TOML (<https://toml.io/en/v1.0.0#string>).
fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => {
                // Writing to a String can't fail.
                let _ = write!(quoted, "\\u{:04X}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
