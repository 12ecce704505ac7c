//! Snapshots as text that Prometheus, and whatever reads its format, scrapes.
//!
//! Each table below is taken apart field by field: a new counter does not compile until it is told
//! here.

use std::fmt::Write as _;
use std::time::Duration;

use super::{Durations, HostSnapshot, LaneSnapshot, NetworkSnapshot, PortSnapshot, WorkerSnapshot};
use crate::error::CloseReason;
use crate::port::JobStats;

/// Upper bounds of the buckets that durations are told in, in seconds: half decades from a
/// microsecond, where turns begin, to ten seconds.
const BOUNDS: [(&str, Duration); 15] = [
    ("0.000001", Duration::from_micros(1)),
    ("0.000003", Duration::from_micros(3)),
    ("0.00001", Duration::from_micros(10)),
    ("0.00003", Duration::from_micros(30)),
    ("0.0001", Duration::from_micros(100)),
    ("0.0003", Duration::from_micros(300)),
    ("0.001", Duration::from_millis(1)),
    ("0.003", Duration::from_millis(3)),
    ("0.01", Duration::from_millis(10)),
    ("0.03", Duration::from_millis(30)),
    ("0.1", Duration::from_millis(100)),
    ("0.3", Duration::from_millis(300)),
    ("1", Duration::from_secs(1)),
    ("3", Duration::from_secs(3)),
    ("10", Duration::from_secs(10)),
];

impl HostSnapshot {
    /// All of it in Prometheus' text format, version 0.0.4
    /// (<https://prometheus.io/docs/instrumenting/exposition_formats/>): for a program that serves
    /// it, or writes it to a file for a collector. Metrics begin with `wharf_`; networks, ports,
    /// pools and lanes are told apart by labels.
    ///
    /// ```
    /// let mut host = wharf::Host::new();
    /// host.port("front").workers(1).build()?;
    /// let text = host.stats().to_prometheus();
    /// assert!(text.contains("wharf_port_queued{port=\"front\"} 0\n"), "{text}");
    /// # Ok::<(), wharf::Error>(())
    /// ```
    #[must_use]
    pub fn to_prometheus(&self) -> String {
        let Self {
            ports,
            pools,
            networks,
            memory_bytes,
        } = self;
        let mut metrics = Metrics::default();
        metrics.gauge("memory_bytes", "Held by all sessions", &[], *memory_bytes);
        for network in networks {
            of_network(network, &mut metrics);
        }
        for port in ports {
            of_crew("port", port, &mut metrics);
        }
        for pool in pools {
            of_crew("pool", pool, &mut metrics);
        }
        metrics.text()
    }
}

type Labels<'a> = [(&'a str, &'a str)];

fn of_network(network: &NetworkSnapshot, to: &mut Metrics) {
    let of = [("network", network.name.as_str())];
    for (what, help, value) in held_by(network) {
        to.gauge(&format!("network_{what}"), help, &of, value);
    }
    for (reason, value) in refused_by(network) {
        let of = [of[0], ("reason", reason)];
        to.counter("network_refused", "Connections refused", &of, value);
    }
    for (reason, value) in CloseReason::NAMES.iter().zip(&network.closes) {
        let of = [of[0], ("reason", reason)];
        to.counter("network_closes", "Sessions that ended", &of, value);
    }
    for (reason, value) in CloseReason::NAMES.iter().zip(&network.closes_unopened) {
        let of = [of[0], ("reason", reason)];
        let help = "Connections that ended before their session was open";
        to.counter("network_closes_unopened", help, &of, value);
    }
    for (what, help, value) in done_by(network) {
        to.counter(&format!("network_{what}"), help, &of, value);
    }
}

/// Its numbers that rise and fall.
#[rustfmt::skip]
fn held_by(of: &NetworkSnapshot) -> [(&'static str, &'static str, usize); 5] {
    [
        ("sessions", "Open sessions", of.sessions),
        ("sessions_live", "Sessions that hold a socket", of.sessions_live),
        ("queued_bytes", "Bytes that wait in send queues", of.queued_bytes),
        ("sessions_behind", "Sessions above their high-water mark", of.sessions_behind),
        ("memory_bytes", "Held by its sessions", of.memory_bytes),
    ]
}

fn refused_by(of: &NetworkSnapshot) -> [(&'static str, u64); 8] {
    [
        ("sessions_max", of.refused_sessions_max),
        ("per_ip", of.refused_per_ip),
        ("connect_rate", of.refused_connect_rate),
        ("memory", of.refused_memory),
        ("stopping", of.refused_stopping),
        ("system", of.refused_system),
        ("aborted", of.refused_aborted),
        ("handler", of.refused_by_handler),
    ]
}

/// Its numbers that only rise. Of all others the names stand here too: a new one must be told.
#[rustfmt::skip]
fn done_by(of: &NetworkSnapshot) -> [(&'static str, &'static str, u64); 26] {
    let &NetworkSnapshot {
        name: _, port: _, pool: _, lane: _, is_server: _, listens_on: _,
        sessions: _, sessions_live: _, queued_bytes: _, sessions_behind: _, memory_bytes: _,
        refused_sessions_max: _, refused_per_ip: _, refused_connect_rate: _, refused_memory: _,
        refused_stopping: _, refused_system: _, refused_aborted: _, refused_by_handler: _,
        closes: _, closed_unopened: _, closes_unopened: _,
        accepted, accept_backoffs, opened, ended, open_panicked, panics, mailbox_full,
        send_queue_full, dropped_new, dropped_old, frames_lost, discarded_bytes, throttled,
        memory_refused, linger_cut, connects, connects_failed, lookups, lookups_failed,
        turns, frames_in, bytes_in, recvs, frames_out, bytes_out, sends,
    } = of;
    [
        ("accepted", "Connections taken from the kernel", accepted),
        ("accept_backoffs", "Pauses of the listener for want of resources", accept_backoffs),
        ("opened", "Sessions opened", opened),
        ("ended", "Sessions whose on_close is over", ended),
        ("open_panics", "Panics in on_open", open_panicked),
        ("panics", "Panics in callbacks and jobs", panics),
        ("mailbox_full", "Jobs refused by a full mailbox", mailbox_full),
        ("send_queue_full", "Frames refused by a full send queue", send_queue_full),
        ("dropped_new", "Frames dropped by drop_new", dropped_new),
        ("dropped_old", "Frames dropped by drop_old", dropped_old),
        ("frames_lost", "Accepted frames never written", frames_lost),
        ("discarded_bytes", "Bytes that came after a close", discarded_bytes),
        ("throttled", "Times a session waited for its input_rate", throttled),
        ("memory_refused", "Frames and jobs refused by the memory ceiling", memory_refused),
        ("linger_cut", "Goodbyes cut by the linger time", linger_cut),
        ("connects", "Connects tried", connects),
        ("connects_failed", "Connects that failed", connects_failed),
        ("lookups", "Lookups of names", lookups),
        ("lookups_failed", "Lookups that did not find all names", lookups_failed),
        ("turns", "Turns run", turns),
        ("frames_in", "Frames handled", frames_in),
        ("bytes_in", "Bytes received", bytes_in),
        ("recvs", "Reads that brought bytes", recvs),
        ("frames_out", "Frames written", frames_out),
        ("bytes_out", "Bytes written", bytes_out),
        ("sends", "Writes that took bytes", sends),
    ]
}

/// A port or pool, as `kind` says.
fn of_crew(kind: &str, crew: &PortSnapshot, to: &mut Metrics) {
    let PortSnapshot {
        name,
        backend: _,
        workers,
        lanes,
        queued,
        stale_reports,
        jobs,
        broken,
    } = crew;
    let of = [(kind, name.as_str())];
    let metric = |what: &str| format!("{kind}_{what}");
    to.gauge(&metric("queued"), "Turns that wait", &of, *queued);
    to.gauge(
        &metric("broken"),
        "Whether its kernel queue has failed",
        &of,
        usize::from(*broken),
    );
    to.counter(
        &metric("stale_reports"),
        "Late reports of closed sockets",
        &of,
        stale_reports,
    );
    for lane in lanes {
        of_lane(&[of[0], ("lane", lane.name.as_str())], &metric, lane, to);
    }
    of_jobs(&of, &metric, jobs, to);
    let (mut times, mut waits) = (Durations::default(), Durations::default());
    for (index, worker) in workers.iter().enumerate() {
        let index = index.to_string();
        of_worker(&[of[0], ("worker", index.as_str())], &metric, worker, to);
        times.merge(&worker.turn_time);
        waits.merge(&worker.turn_wait);
    }
    to.histogram(&metric("turn_seconds"), "How long turns took", &of, &times);
    to.histogram(
        &metric("turn_wait_seconds"),
        "How long turns were waited for",
        &of,
        &waits,
    );
}

fn of_lane(
    of: &Labels<'_>,
    metric: &dyn Fn(&str) -> String,
    lane: &LaneSnapshot,
    to: &mut Metrics,
) {
    let &LaneSnapshot {
        name: _,
        workers_max: _,
        queued,
        running,
        running_peak,
        turns,
    } = lane;
    for (what, help, value) in [
        ("lane_queued", "Turns of the lane that wait", queued),
        ("lane_running", "Workers that run its turns", running),
        (
            "lane_running_peak",
            "The most that ran at once",
            running_peak,
        ),
    ] {
        to.gauge(&metric(what), help, of, value);
    }
    to.counter(&metric("lane_turns"), "Turns of the lane", of, turns);
}

fn of_jobs(of: &Labels<'_>, metric: &dyn Fn(&str) -> String, jobs: &JobStats, to: &mut Metrics) {
    let JobStats {
        posted,
        waiting,
        ran,
        full,
        panics,
        cancelled,
        dropped,
    } = jobs;
    to.gauge(&metric("jobs_waiting"), "Jobs that wait", of, *waiting);
    for (what, help, value) in [
        ("jobs_posted", "Jobs accepted", posted),
        ("jobs_ran", "Jobs that ran", ran),
        ("jobs_full", "Jobs refused by jobs_max", full),
        ("jobs_panics", "Panics in jobs", panics),
        ("jobs_cancelled", "Jobs cancelled", cancelled),
        ("jobs_dropped", "Jobs dropped without having run", dropped),
    ] {
        to.counter(&metric(what), help, of, value);
    }
}

fn of_worker(
    of: &Labels<'_>,
    metric: &dyn Fn(&str) -> String,
    worker: &WorkerSnapshot,
    to: &mut Metrics,
) {
    let WorkerSnapshot {
        turns,
        busy,
        harvests,
        parks,
        naps,
        port_work,
        turn_time: _,
        turn_wait: _,
    } = worker;
    let busy = busy.as_secs_f64();
    to.counter(&metric("worker_busy_seconds"), "Time in turns", of, busy);
    for (what, help, value) in [
        ("worker_turns", "Turns run", turns),
        ("worker_harvests", "Times it asked the kernel", harvests),
        ("worker_parks", "Times that could sleep", parks),
        ("worker_naps", "Times it napped", naps),
        ("worker_port_work", "Flushes and accepts", port_work),
    ] {
        to.counter(&metric(what), help, of, value);
    }
}

/// The lines, by metric: all samples of one stand together.
#[derive(Default)]
struct Metrics(Vec<Metric>);

struct Metric {
    name: String,
    head: String,
    samples: String,
}

impl Metrics {
    fn of(&mut self, name: &str, kind: &str, help: &str) -> &mut Metric {
        let at = self.0.iter().position(|metric| metric.name == name);
        let at = at.unwrap_or_else(|| {
            self.0.push(Metric {
                name: name.to_owned(),
                head: format!("# HELP {name} {help}\n# TYPE {name} {kind}\n"),
                samples: String::new(),
            });
            self.0.len() - 1
        });
        &mut self.0[at]
    }

    fn gauge(&mut self, name: &str, help: &str, labels: &Labels<'_>, value: usize) {
        let name = format!("wharf_{name}");
        self.of(&name, "gauge", help).add(&name, labels, value);
    }

    fn counter(
        &mut self,
        name: &str,
        help: &str,
        labels: &Labels<'_>,
        value: impl std::fmt::Display,
    ) {
        let name = format!("wharf_{name}_total");
        self.of(&name, "counter", help).add(&name, labels, value);
    }

    fn histogram(&mut self, name: &str, help: &str, labels: &Labels<'_>, of: &Durations) {
        let name = format!("wharf_{name}");
        let metric = self.of(&name, "histogram", help);
        let bucket = format!("{name}_bucket");
        for (text, bound) in BOUNDS {
            let labels = [labels, &[("le", text)]].concat();
            metric.add(&bucket, &labels, of.up_to(bound));
        }
        let count = of.count();
        metric.add(&bucket, &[labels, &[("le", "+Inf")]].concat(), count);
        metric.add(&format!("{name}_sum"), labels, of.sum().as_secs_f64());
        metric.add(&format!("{name}_count"), labels, count);
    }

    fn text(self) -> String {
        let lines = self.0.into_iter();
        lines.map(|metric| metric.head + &metric.samples).collect()
    }
}

impl Metric {
    fn add(&mut self, name: &str, labels: &Labels<'_>, value: impl std::fmt::Display) {
        let labels = labels
            .iter()
            .map(|(key, value)| format!("{key}=\"{}\"", escaped(value)));
        let labels: Vec<_> = labels.collect();
        let labels = match labels.as_slice() {
            [] => String::new(),
            labels => format!("{{{}}}", labels.join(",")),
        };
        // Writing to a String can't fail.
        let _ = writeln!(self.samples, "{name}{labels} {value}");
    }
}

/// A label's value, with what the format wants escaped.
fn escaped(value: &str) -> String {
    let value = value.replace('\\', "\\\\").replace('"', "\\\"");
    value.replace('\n', "\\n")
}
