//! The closing tables of the demo.

use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;
use wharf::stats::{HostSnapshot, NetworkSnapshot, PortSnapshot};
use wharf::topology::LanePlan;

use super::bots::Shared;
use super::ledger::{Faults, Tally, Total};
use crate::args::DemoArgs;
use crate::exit::Exit;

/// What the demo found.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    seconds: f64,
    bots: u32,
    bots_connected: usize,
    /// Bots whose connection ended before the demo did.
    bots_cut: u64,
    networks: Vec<NetworkRow>,
    ports: Vec<PortRow>,
    pools: Vec<PortRow>,
    fault: bool,
}

#[derive(Debug, Serialize)]
struct NetworkRow {
    name: String,
    port: String,
    /// Whose threads run its callbacks, if not the port's.
    pool: Option<String>,
    lane: String,
    sessions: u64,
    frames_in: u64,
    frames_out: u64,
    requests: u64,
    answers: u64,
    faults: Faults,
    latency_us: Option<Latency>,
}

#[derive(Debug, Serialize)]
struct Latency {
    p50: u64,
    p99: u64,
    p99_9: u64,
    max: u64,
}

#[derive(Debug, Serialize)]
struct PortRow {
    name: String,
    backend: &'static str,
    workers: usize,
    busy_percent: f64,
    turns: u64,
    /// How long ready sessions waited for a turn.
    wait_p99_us: f64,
}

impl Report {
    pub(super) fn new(
        args: &DemoArgs,
        played: Duration,
        connected: usize,
        bots: &Shared,
        reports: &Total,
        stats: &HostSnapshot,
    ) -> Self {
        let total_of = |name: &str| match name {
            "chat" => &bots.chats,
            "master" => reports,
            _ => &bots.moves,
        };
        let row =
            |network: &NetworkSnapshot| NetworkRow::new(network, &total_of(&network.name).get());
        let networks: Vec<_> = stats.networks.iter().map(row).collect();
        let rows = |ports: &[PortSnapshot]| {
            let rows = ports.iter().map(|port| PortRow::new(port, played));
            rows.collect()
        };
        let cut = bots.cut.load(std::sync::atomic::Ordering::Relaxed);
        let fault = networks
            .iter()
            .any(|row| row.faults.any() || row.answers == 0)
            || cut > 0
            || connected != args.bots as usize;
        Self {
            seconds: played.as_secs_f64(),
            bots: args.bots,
            bots_connected: connected,
            bots_cut: cut,
            networks,
            ports: rows(&stats.ports),
            pools: rows(&stats.pools),
            fault,
        }
    }

    /// How the program ends: 1 if anything was lost, doubled, reordered or corrupt.
    pub(crate) fn exit(&self) -> Exit {
        if self.fault { Exit::Fault } else { Exit::Done }
    }
}

impl NetworkRow {
    fn new(network: &NetworkSnapshot, tally: &Tally) -> Self {
        let quantile = |histogram: &Histogram<u32>| Latency {
            p50: histogram.value_at_quantile(0.5),
            p99: histogram.value_at_quantile(0.99),
            p99_9: histogram.value_at_quantile(0.999),
            max: histogram.max(),
        };
        let some = !tally.latency_us.is_empty();
        Self {
            name: network.name.clone(),
            port: network.port.clone(),
            pool: network.pool.clone(),
            lane: network.lane.clone(),
            sessions: network.opened,
            frames_in: network.frames_in,
            frames_out: network.frames_out,
            requests: tally.sent,
            answers: tally.answered,
            faults: tally.faults,
            latency_us: some.then(|| quantile(&tally.latency_us)),
        }
    }

    /// The threads that run its callbacks, and their lane where it has a name of its own.
    fn served_by(&self) -> String {
        let threads = self.pool.as_ref().unwrap_or(&self.port);
        match self.lane.as_str() {
            LanePlan::DEFAULT => threads.clone(),
            lane => format!("{threads}/{lane}"),
        }
    }
}

impl PortRow {
    #[expect(clippy::cast_precision_loss, reason = "a number of workers")]
    fn new(port: &PortSnapshot, played: Duration) -> Self {
        let busy: Duration = port.workers.iter().map(|worker| worker.busy).sum();
        let mut wait = wharf::stats::Durations::default();
        port.workers
            .iter()
            .for_each(|worker| wait.merge(&worker.turn_wait));
        let available = played.as_secs_f64() * port.workers.len() as f64;
        Self {
            name: port.name.clone(),
            backend: port.backend,
            workers: port.workers.len(),
            busy_percent: 100.0 * busy.as_secs_f64() / available.max(f64::MIN_POSITIVE),
            turns: port.workers.iter().map(|worker| worker.turns).sum(),
            wait_p99_us: wait.quantile(0.99).as_secs_f64() * 1e6,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            seconds,
            bots,
            bots_connected,
            ..
        } = self;
        writeln!(
            f,
            "\n{seconds:.1} s, {bots_connected} of {bots} bots connected\n"
        )?;
        let served_by: Vec<_> = self.networks.iter().map(NetworkRow::served_by).collect();
        let wide = served_by.iter().map(String::len).max().unwrap_or(0).max(7);
        writeln!(
            f,
            "network   {:wide$} sessions    answers   lost doubled reordered corrupt  p50 us  \
             p99 us p99.9 us",
            "port"
        )?;
        for (row, served_by) in self.networks.iter().zip(&served_by) {
            let Faults {
                lost,
                doubled,
                reordered,
                corrupt,
            } = row.faults;
            write!(
                f,
                "{:9} {served_by:wide$} {:8} {:10} {lost:6} {doubled:7} {reordered:9} {corrupt:7}",
                row.name, row.sessions, row.answers
            )?;
            match &row.latency_us {
                Some(l) => writeln!(f, " {:7} {:7} {:8}", l.p50, l.p99, l.p99_9)?,
                None => writeln!(f, "       -       -        -")?,
            }
        }
        writeln!(
            f,
            "\nport or pool  backend workers  busy %      turns  wait p99 us"
        )?;
        for row in self.ports.iter().chain(&self.pools) {
            writeln!(
                f,
                "{:13} {:7} {:7} {:7.1} {:10} {:12.0}",
                row.name, row.backend, row.workers, row.busy_percent, row.turns, row.wait_p99_us
            )?;
        }
        if self.bots_cut > 0 {
            writeln!(f, "\n{} bots lost their connection", self.bots_cut)?;
        }
        let verdict = if self.fault {
            "FAULT: not every request was answered once, in order, with the right bytes"
        } else {
            "every request was answered once, in order, with the right bytes"
        };
        write!(f, "\n{verdict}")
    }
}
