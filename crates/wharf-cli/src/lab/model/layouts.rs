//! From the text of a topology to the places of a model: the same text that real runs load.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use wharf::model::LaneRule;

use super::input::{Place, Placement, QueueSpec};

/// The part of a topology file that says which threads serve whom. The library has checked it.
#[derive(Deserialize)]
struct File {
    #[serde(default)]
    port: BTreeMap<String, Threads>,
    #[serde(default)]
    pool: BTreeMap<String, Threads>,
    #[serde(default)]
    network: BTreeMap<String, Network>,
}

#[derive(Deserialize)]
struct Threads {
    workers: Workers,
    #[serde(default)]
    lanes: Vec<Lane>,
    #[serde(default)]
    nice: i32,
    #[serde(default)]
    cores: Vec<usize>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Workers {
    Count(usize),
    /// The word "cores".
    Cores(CoresWord),
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum CoresWord {
    Cores,
}

#[derive(Deserialize)]
struct Lane {
    name: String,
    workers_max: Option<usize>,
    workers_min: Option<usize>,
    starve_ms_max: Option<u64>,
    nice: Option<i32>,
}

#[derive(Deserialize)]
struct Network {
    port: String,
    pool: Option<String>,
    lane: Option<String>,
}

/// The places of `classes`, by their names, on a machine with so many cores.
///
/// # Errors
/// What the topology leaves open.
pub(crate) fn placement(text: &str, cores: usize, classes: &[&str]) -> Result<Placement, String> {
    let file: File = toml::from_str(text).map_err(|error| error.to_string())?;
    let all = file.port.values().chain(file.pool.values());
    if all
        .flat_map(|threads| &threads.lanes)
        .any(|lane| lane.nice.is_some())
    {
        return Err("the model has no lanes with a nice value of their own".into());
    }
    let queues = || {
        let ports = file
            .port
            .iter()
            .map(|(name, threads)| (name, threads, false));
        ports.chain(
            file.pool
                .iter()
                .map(|(name, threads)| (name, threads, true)),
        )
    };
    let count = |threads: &Threads| match threads.workers {
        Workers::Count(count) => count,
        Workers::Cores(CoresWord::Cores) => cores,
    };
    let spec = |(name, threads, pool): (&String, &Threads, bool)| QueueSpec {
        name: name.clone(),
        pool,
        workers: count(threads),
        lanes: lanes(&threads.lanes),
        nice: threads.nice,
        cores: threads.cores.clone(),
    };
    let place = |class: &&str| {
        let missing = |what: &str| format!("the topology has no {what} for network {class}");
        let network = file.network.get(*class).ok_or_else(|| missing("place"))?;
        let port = file.port.keys().position(|name| *name == network.port);
        let port = port.ok_or_else(|| missing("port"))?;
        let turns = match &network.pool {
            None => port,
            Some(pool) => {
                let at = file.pool.keys().position(|name| name == pool);
                file.port.len() + at.ok_or_else(|| missing("pool"))?
            }
        };
        let (_, threads, _) = queues().nth(turns).ok_or_else(|| missing("threads"))?;
        let lane = match &network.lane {
            None => 0,
            Some(name) => {
                let at = threads.lanes.iter().position(|lane| lane.name == *name);
                at.ok_or_else(|| missing("lane"))?
            }
        };
        Ok(Place { port, turns, lane })
    };
    Ok(Placement {
        queues: queues().map(spec).collect(),
        places: classes.iter().map(place).collect::<Result<_, String>>()?,
    })
}

fn lanes(named: &[Lane]) -> Vec<LaneRule> {
    let rule = |lane: &Lane| LaneRule {
        workers_max: lane.workers_max.unwrap_or(usize::MAX),
        workers_min: lane.workers_min.unwrap_or(0),
        starve_after: lane.starve_ms_max.map(Duration::from_millis),
    };
    if named.is_empty() {
        vec![LaneRule::default()]
    } else {
        named.iter().map(rule).collect()
    }
}
