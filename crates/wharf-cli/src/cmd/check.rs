//! `wharf check`: what a topology file says, or what is wrong in it.

use std::collections::BTreeMap;
use std::num::NonZero;

use serde::Serialize;
use wharf::topology::{LaneRow, NetworkRow, ServedBy, ThreadRow, TopologyFault, WorkRow};
use wharf::{ThreadMap, Topology, TopologyError};

use crate::args::CheckArgs;
use crate::exit::{Exit, Failure};
use crate::out;

/// Checks the file; exit 2 if anything is wrong in it.
///
/// # Errors
/// Output that could not be written.
pub(super) fn run(args: &CheckArgs) -> Result<Exit, Failure> {
    let here = || std::thread::available_parallelism().map_or(1, NonZero::get);
    let cores = args.cores.map_or_else(here, usize::from);
    match Topology::from_file(&args.file) {
        Ok(topology) => {
            let map = topology.thread_map(cores);
            if args.json {
                json(&Right::new(args, &map))?;
            } else {
                out::line(format_args!(
                    "{} is right: {}\n",
                    args.file.display(),
                    counts(&topology)
                ))?;
                out::line(map.to_string().trim_end())?;
            }
            Ok(Exit::Done)
        }
        Err(error) => {
            if args.json {
                json(&Wrong::new(&error))?;
            } else {
                // Each line begins with the place, as editors read it.
                out::note(&error);
                out::note(count(error.faults().len(), "error"));
            }
            Ok(Exit::Usage)
        }
    }
}

fn count(number: usize, of: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {of}{plural}")
}

fn counts(topology: &Topology) -> String {
    let Topology {
        ports,
        pools,
        networks,
        work,
        host: _,
    } = topology;
    let mut counts = count(ports.len(), "port");
    if !pools.is_empty() {
        counts = format!("{counts}, {}", count(pools.len(), "pool"));
    }
    counts = format!("{counts}, {}", count(networks.len(), "network"));
    match work.len() {
        0 => counts,
        kinds => format!("{counts}, {} of work", count(kinds, "kind")),
    }
}

fn json(object: &impl Serialize) -> Result<(), Failure> {
    let json = serde_json::to_string(object)
        .map_err(|error| Failure::machine(format!("could not write the result: {error}")))?;
    out::line(json)
}

/// What `--json` prints for a wrong file.
#[derive(Serialize)]
struct Wrong<'a> {
    file: &'a str,
    right: bool,
    errors: Vec<Fault<'a>>,
}

#[derive(Serialize)]
struct Fault<'a> {
    /// Null where it is about the file as a whole.
    line: Option<usize>,
    column: Option<usize>,
    message: &'a str,
}

impl<'a> Wrong<'a> {
    fn new(error: &'a TopologyError) -> Self {
        let fault = |fault: &'a TopologyFault| Fault {
            line: fault.place.map(|place| place.line),
            column: fault.place.map(|place| place.column),
            message: &fault.message,
        };
        Self {
            file: error.file(),
            right: false,
            errors: error.faults().iter().map(fault).collect(),
        }
    }
}

/// What `--json` prints for a right one.
#[derive(Serialize)]
struct Right<'a> {
    file: String,
    right: bool,
    cores: usize,
    threads: usize,
    ports: Vec<Threads<'a>>,
    pools: Vec<Threads<'a>>,
    networks: Vec<Network<'a>>,
    work: Vec<Work<'a>>,
    warnings: &'a [String],
}

#[derive(Serialize)]
struct Threads<'a> {
    name: &'a str,
    workers: usize,
    workers_limit: usize,
    nice: Option<i32>,
    cores: &'a [usize],
    spin_us: u128,
    nap_us: u128,
    lanes: Vec<Lane<'a>>,
}

#[derive(Serialize)]
struct Lane<'a> {
    name: &'a str,
    also: &'a [String],
    workers_least: usize,
    workers_most: usize,
    starve_ms_max: Option<u128>,
    networks: &'a [String],
    work: &'a [String],
}

#[derive(Serialize)]
struct Work<'a> {
    name: &'a str,
    port: Option<&'a str>,
    pool: Option<&'a str>,
    lane: &'a str,
    threads_most: usize,
}

#[derive(Serialize)]
struct Network<'a> {
    name: &'a str,
    role: &'static str,
    addrs: &'a [String],
    port: &'a str,
    pool: Option<&'a str>,
    lane: &'a str,
    threads_most: usize,
    sessions_max: usize,
    send_queue_bytes_max: usize,
    frame_bytes_max: usize,
    memory_bytes_max: u64,
    /// What is limited, and by how much, as the table has it.
    limits: BTreeMap<&'static str, &'a str>,
}

impl<'a> Right<'a> {
    fn new(args: &CheckArgs, map: &'a ThreadMap) -> Self {
        let (pools, ports): (Vec<_>, Vec<_>) = map.rows.iter().partition(|row| row.is_pool);
        Self {
            file: args.file.display().to_string(),
            right: true,
            cores: map.cores,
            threads: map.threads,
            ports: ports.into_iter().map(Threads::new).collect(),
            pools: pools.into_iter().map(Threads::new).collect(),
            networks: map.networks.iter().map(Network::new).collect(),
            work: map.work.iter().map(Work::new).collect(),
            warnings: &map.warnings,
        }
    }
}

impl<'a> Threads<'a> {
    fn new(row: &'a ThreadRow) -> Self {
        let lane = |lane: &'a LaneRow| Lane {
            name: &lane.name,
            workers_least: lane.workers_least,
            workers_most: lane.workers_most,
            starve_ms_max: lane.starve_after.map(|after| after.as_millis()),
            also: &lane.also,
            networks: &lane.networks,
            work: &lane.work,
        };
        Self {
            name: &row.name,
            workers: row.workers,
            workers_limit: row.workers_limit,
            nice: row.nice,
            cores: &row.cores,
            spin_us: row.spin.as_micros(),
            nap_us: row.nap.as_micros(),
            lanes: row.lanes.iter().map(lane).collect(),
        }
    }
}

impl<'a> Work<'a> {
    fn new(row: &'a WorkRow) -> Self {
        let (port, pool) = match &row.on {
            ServedBy::Port(name) => (Some(&**name), None),
            ServedBy::Pool(name) => (None, Some(&**name)),
        };
        Self {
            name: &row.name,
            port,
            pool,
            lane: &row.lane,
            threads_most: row.workers_most,
        }
    }
}

impl<'a> Network<'a> {
    fn new(row: &'a NetworkRow) -> Self {
        Self {
            name: &row.name,
            role: if row.is_server { "listen" } else { "connect" },
            addrs: &row.addrs,
            port: &row.port,
            pool: row.pool.as_deref(),
            lane: &row.lane,
            threads_most: row.workers_most,
            sessions_max: row.sessions_max,
            send_queue_bytes_max: row.send_queue_bytes_max,
            frame_bytes_max: row.frame_bytes_max,
            memory_bytes_max: row.memory_bytes_max,
            limits: row
                .limits
                .iter()
                .map(|(what, limit)| (*what, &**limit))
                .collect(),
        }
    }
}
