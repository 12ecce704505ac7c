//! The process under test: the workload's handlers under one topology, told what to do on standard
//! input.
//!
//! It prints where it listens as one line of JSON. A line `mark` on standard input prints its
//! counters as one line; the end of standard input stops it.

mod counters;
mod declare;
mod handler;

use std::collections::BTreeMap;
use std::io::BufRead as _;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

pub(crate) use counters::{Counters, Threads};
use handler::{Gauges, LabHandler};

use super::workload::Workload;
use crate::exit::Failure;
use crate::out;

/// The first line that the process prints.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Ready {
    /// By class: where its server listens.
    pub(crate) listens_on: BTreeMap<String, SocketAddr>,
}

/// Serves until standard input ends.
///
/// # Errors
/// What the topology says wrong, what could not be started or stopped.
pub(crate) fn run(topology: &std::path::Path, workload: &Workload) -> Result<(), Failure> {
    let lib = |error: wharf::Error| Failure::of_library(&error);
    let gauges = Gauges::default();
    let (mut host, networks) = declare::declare(topology, workload, &gauges).map_err(lib)?;
    host.start().map_err(lib)?;
    let server = |(name, network): &(String, wharf::Network<LabHandler>)| {
        Some((name.clone(), network.local_addr()?))
    };
    print(&Ready {
        listens_on: networks.iter().filter_map(server).collect(),
    })?;
    for line in std::io::stdin().lock().lines() {
        match line.as_deref() {
            Ok("mark") => print(&Counters::read(&host.stats(), &gauges))?,
            Ok(other) => return Err(Failure::usage(format!("\"{other}\" is no order"))),
            Err(_) => break,
        }
    }
    print(&Counters::read(&host.stats(), &gauges))?;
    host.stop().map_err(lib)
}

fn print(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string(value)
        .map_err(|error| Failure::machine(format!("could not write a line: {error}")))?;
    out::line(text)
}
