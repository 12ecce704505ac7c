//! Reads ports, pools and their lanes.

use std::time::Duration;

use toml::de::DeValue;

use super::fault::Faults;
use super::nearest::did_you_mean;
use super::plan::{LanePlan, ThreadsPlan, Workers};
use super::table::{Elsewhere, Entry, Fields, Placed, YEAR_MS, found};

/// The most workers of a port or pool: far beyond what a machine has cores for.
const WORKERS_MAX: i64 = 1024;
/// The highest core number a system's masks usually hold (`CPU_SETSIZE` of glibc is 1024).
const CORE_MAX: i64 = 1023;
/// A second of spinning is a slip of the unit.
const SPIN_US_MAX: i64 = 1_000_000;
/// Who waits for a worker that naps must not notice.
const NAP_US_MAX: i64 = 10_000;
/// A longer name is of no use in a table or as a thread's name.
const NAME_CHARS_MAX: usize = 64;
/// What a port takes: nobody can order more classes.
const LANES_MAX: usize = 64;
pub(super) const FRAMES_PER_TURN_MAX: i64 = 1_000_000;
/// A minute is more than any turn should last.
pub(super) const TURN_US_MAX: i64 = 60_000_000;

const PORT_KEYS: &[&str] = &[
    "workers",
    "workers_limit",
    "lanes",
    "nice",
    "cores",
    "spin_us",
    "nap_us",
    "concurrency",
];
const POOL_KEYS: &[&str] = &["workers", "workers_limit", "lanes", "nice", "cores"];
const LANE_KEYS: &[&str] = &[
    "name",
    "also",
    "workers_max",
    "workers_min",
    "starve_ms_max",
    "frames_per_turn_max",
    "turn_us_max",
    "nice",
];

const NOT_OF_A_PORT: &[Elsewhere<'static>] = &[
    (
        "workers_max",
        "belongs to a lane; a port or pool has \"workers\" and \"workers_limit\"",
    ),
    (
        "workers_min",
        "belongs to a lane; a port or pool has \"workers\" and \"workers_limit\"",
    ),
    (
        "starve_ms_max",
        "belongs to a lane: lanes = [ { name = .., starve_ms_max = .. } ]",
    ),
    ("listen", "belongs to a network: set it in [network.NAME]"),
    ("connect", "belongs to a network: set it in [network.NAME]"),
    ("framing", "belongs to a network: set it in [network.NAME]"),
    (
        "sessions_max",
        "belongs to a network: set it in [network.NAME]",
    ),
    (
        "send_queue",
        "belongs to a network: set it in [network.NAME]",
    ),
    (
        "pool",
        "belongs to a network: a network names both its port and its pool",
    ),
    ("lane", "belongs to a network; a port declares \"lanes\""),
];
const NOT_OF_A_POOL: &[Elsewhere<'static>] = &[
    (
        "spin_us",
        "belongs to a port: a pool has no kernel queue to look at while it spins",
    ),
    (
        "nap_us",
        "belongs to a port: a pool has no kernel queue that wakes its workers for each frame",
    ),
    (
        "concurrency",
        "belongs to a port: a pool has no kernel queue that could hold its workers back",
    ),
];

/// A port or pool as the file has it, with where it stands.
#[derive(Debug)]
pub(super) struct Threads {
    pub(super) name: String,
    /// `port` or `pool`.
    pub(super) kind: &'static str,
    /// Where its name stands.
    pub(super) at: usize,
    pub(super) plan: ThreadsPlan,
    pub(super) spin: Duration,
    pub(super) nap: Duration,
    pub(super) concurrency: Option<usize>,
    /// False if its lanes could not be read: a lane's name is not looked up then.
    pub(super) lanes_known: bool,
}

impl Threads {
    /// Its name for messages: `port "front"`.
    pub(super) fn what(&self) -> String {
        format!("{} \"{}\"", self.kind, self.name)
    }

    /// All names that its lanes answer to.
    pub(super) fn lane_names(&self) -> Vec<&str> {
        self.plan.lanes.iter().flat_map(LanePlan::names).collect()
    }
}

/// Reads `[port.NAME]` or `[pool.NAME]`.
pub(super) fn read(kind: &'static str, entry: Entry<'_, '_>, faults: &mut Faults<'_>) -> Threads {
    let Entry { key, at, value } = entry;
    let mut threads = Threads {
        name: key.to_owned(),
        kind,
        at,
        plan: ThreadsPlan::new(Workers::Cores),
        spin: Duration::ZERO,
        nap: Duration::ZERO,
        concurrency: None,
        lanes_known: true,
    };
    let what = threads.what();
    name(kind, key, at, faults);
    let Some(mut fields) = Fields::new(what, at, value, faults) else {
        threads.lanes_known = false;
        return threads;
    };
    let before = faults.count();
    threads.plan.workers = workers(&mut fields, faults).unwrap_or_default();
    let limit_at = fields.place("workers_limit").unwrap_or(at);
    threads.plan.workers_limit = fields.size(faults, "workers_limit", 1..=WORKERS_MAX);
    limit(&fields, &threads.plan, limit_at, faults);
    // What the workers are is uncertain once they have a fault: no lane is measured by them.
    let certain = faults.count() == before;
    threads.plan.nice = nice(&mut fields, faults);
    threads.plan.cores = cores(&mut fields, faults);
    match lanes(&mut fields, faults) {
        Lanes::None => {}
        Lanes::Wrong => threads.lanes_known = false,
        Lanes::Read(lanes) => {
            if certain {
                caps(&fields.what, kind, &threads.plan, &lanes, faults);
            }
            threads.plan.lanes = lanes.into_iter().map(|lane| lane.plan).collect();
        }
    }
    if kind == "port" {
        let spin = fields.time(faults, "spin_us", 0..=SPIN_US_MAX);
        threads.spin = spin.unwrap_or(Duration::ZERO);
        let nap = fields.time(faults, "nap_us", 0..=NAP_US_MAX);
        threads.nap = nap.unwrap_or(Duration::ZERO);
        threads.concurrency = concurrency(&mut fields, &threads.plan, certain, faults);
        fields.finish(faults, PORT_KEYS, NOT_OF_A_PORT);
    } else {
        let elsewhere = [NOT_OF_A_POOL, NOT_OF_A_PORT].concat();
        fields.finish(faults, POOL_KEYS, &elsewhere);
    }
    threads
}

fn nice(fields: &mut Fields<'_, '_>, faults: &mut Faults<'_>) -> Option<i32> {
    let nice = fields.number(faults, "nice", -20..=19)?;
    i32::try_from(nice).ok()
}

/// Refuses a name that tables, counters and threads can't show.
pub(super) fn name(kind: &str, name: &str, at: usize, faults: &mut Faults<'_>) {
    if name.is_empty() {
        let message = format!("a {kind} has an empty name: counters and errors are named by it");
        faults.add(at, message);
    } else if name.chars().any(char::is_control) {
        let message = format!("{kind} {name:?}: a name has no control characters");
        faults.add(at, message);
    } else if name.chars().count() > NAME_CHARS_MAX {
        let message = format!("{kind} \"{name}\": a name has at most {NAME_CHARS_MAX} characters");
        faults.add(at, message);
    }
}

fn workers(fields: &mut Fields<'_, '_>, faults: &mut Faults<'_>) -> Option<Workers> {
    let value = fields.take("workers")?;
    let at = value.span().start;
    match value.get_ref() {
        DeValue::String(text) if text == "cores" => Some(Workers::Cores),
        DeValue::String(text) if more_than_cores(text).is_some() => {
            let more = more_than_cores(text)?;
            if !(1..=WORKERS_MAX).contains(&more) {
                let message = format!(
                    "workers is {text:?}; what is added must be a number from 1 to {WORKERS_MAX}"
                );
                fields.fault(faults, at, &message);
                return None;
            }
            usize::try_from(more).ok().map(Workers::CoresAnd)
        }
        DeValue::String(text) if text.parse::<i64>().is_err() => {
            let mend = match did_you_mean(text, &["cores"]) {
                meant if meant.ends_with('?') => meant,
                _ => "; write a number, \"cores\" for one a core, or \"cores + 1\"".to_owned(),
            };
            fields.fault(faults, at, &format!("workers is the text {text:?}{mend}"));
            None
        }
        _ => {
            let count = fields.number_of(faults, "workers", value, 1..=WORKERS_MAX)?;
            usize::try_from(count).ok().map(Workers::Count)
        }
    }
}

/// The number in "cores + 1".
fn more_than_cores(text: &str) -> Option<i64> {
    let more = text.strip_prefix("cores")?.trim_start().strip_prefix('+')?;
    more.trim().parse().ok()
}

fn limit(fields: &Fields<'_, '_>, plan: &ThreadsPlan, at: usize, faults: &mut Faults<'_>) {
    if let (Workers::Count(workers), Some(limit)) = (plan.workers, plan.workers_limit)
        && workers > limit
    {
        let message = format!(
            "workers_limit is {limit}, below workers, {workers}; raise it, or leave it out"
        );
        fields.fault(faults, at, &message);
    }
}

/// How many workers Windows lets run at once; `certain` is whether the plan's workers are.
fn concurrency(
    fields: &mut Fields<'_, '_>,
    plan: &ThreadsPlan,
    certain: bool,
    faults: &mut Faults<'_>,
) -> Option<usize> {
    let at = fields.place("concurrency")?;
    let most = fields.size(faults, "concurrency", 0..=WORKERS_MAX)?;
    let limit = match plan.workers {
        Workers::Count(workers) => Some(plan.workers_limit.unwrap_or(workers)),
        Workers::Cores | Workers::CoresAnd(_) => plan.workers_limit,
    };
    if let Some(limit) = limit.filter(|limit| certain && most > *limit) {
        let message = format!(
            "concurrency is {most}, and there are never more than {limit} workers; lower it, or \
             leave it out so that none is held back"
        );
        fields.fault(faults, at, &message);
    }
    Some(most)
}

fn cores(fields: &mut Fields<'_, '_>, faults: &mut Faults<'_>) -> Vec<usize> {
    let mut cores = Vec::new();
    let Some(list) = fields.list(faults, "cores", "core numbers, as in [0, 1]") else {
        return cores;
    };
    for value in list {
        let Some(core) = fields.number_of(faults, "a number in cores", value, 0..=CORE_MAX) else {
            continue;
        };
        let core = usize::try_from(core).unwrap_or(0);
        if cores.contains(&core) {
            let message = format!("cores: core {core} is named twice");
            fields.fault(faults, value.span().start, &message);
        }
        cores.push(core);
    }
    cores
}

/// A lane as the file has it.
struct Lane {
    plan: LanePlan,
    /// All its names, its own first.
    names: Vec<Placed>,
    at: usize,
    workers_max_at: usize,
    workers_min_at: usize,
}

enum Lanes {
    None,
    /// Not a list of tables with names.
    Wrong,
    Read(Vec<Lane>),
}

fn lanes(fields: &mut Fields<'_, '_>, faults: &mut Faults<'_>) -> Lanes {
    let Some(at) = fields.place("lanes") else {
        return Lanes::None;
    };
    let Some(list) = fields.list(faults, "lanes", "lanes, as in [ { name = \"players\" } ]") else {
        return Lanes::Wrong;
    };
    if list.is_empty() {
        let message = "lanes is empty; leave it out for one lane, or name at least one";
        fields.fault(faults, at, message);
        return Lanes::Wrong;
    }
    if list.len() > LANES_MAX {
        let message = format!("{} lanes; there may be {LANES_MAX}", list.len());
        fields.fault(faults, at, &message);
        return Lanes::Wrong;
    }
    let mut lanes: Vec<Lane> = Vec::new();
    let mut all_named = true;
    for value in list {
        let Some(lane) = lane(&fields.what, value, faults) else {
            all_named = false;
            continue;
        };
        for (name, at) in &lane.names {
            let mut earlier = lanes.iter().flat_map(|lane| &lane.names);
            if let Some((_, first)) = earlier.find(|(other, _)| other == name) {
                let message = format!(
                    "two lanes are named \"{name}\" (the first on line {}); give one another name",
                    faults.line(*first)
                );
                fields.fault(faults, *at, &message);
            }
        }
        lanes.push(lane);
    }
    if all_named {
        Lanes::Read(lanes)
    } else {
        Lanes::Wrong
    }
}

fn lane(of: &str, value: &super::table::Node<'_>, faults: &mut Faults<'_>) -> Option<Lane> {
    let at = value.span().start;
    if !value.get_ref().is_table() {
        let found = found(value.get_ref());
        let mut message = format!("{of}: a lane is {found}; it must be a table");
        if let Some(name) = value.get_ref().as_str() {
            message = format!("{message}: {{ name = {name:?} }}");
        }
        faults.add(at, message);
        return None;
    }
    let mut fields = Fields::new(format!("{of}: a lane"), at, value, faults)?;
    if !fields.has("name") {
        fields.fault(
            faults,
            at,
            "it has no name; give it one: { name = \"players\" }",
        );
    }
    let (lane_name, name_at) = fields.text(faults, "name")?;
    name("lane", &lane_name, name_at, faults);
    fields.what = format!("lane \"{lane_name}\" of {of}");
    let (workers_max_at, workers_min_at) = (
        fields.place("workers_max").unwrap_or(at),
        fields.place("workers_min").unwrap_or(at),
    );
    let also = also(&mut fields, &lane_name, faults);
    let plan = LanePlan {
        name: lane_name.clone(),
        also: also.iter().map(|(name, _)| name.clone()).collect(),
        workers_max: fields.size(faults, "workers_max", 1..=WORKERS_MAX),
        workers_min: fields
            .size(faults, "workers_min", 0..=WORKERS_MAX)
            .unwrap_or(0),
        starve_after: fields.time(faults, "starve_ms_max", 1..=YEAR_MS),
        frames_per_turn_max: fields.size(faults, "frames_per_turn_max", 1..=FRAMES_PER_TURN_MAX),
        turn_time_max: fields.time(faults, "turn_us_max", 1..=TURN_US_MAX),
        nice: nice(&mut fields, faults),
    };
    fields.finish(
        faults,
        LANE_KEYS,
        &[(
            "workers",
            "is what a port or pool has; a lane has \"workers_max\" and \"workers_min\"",
        )],
    );
    Some(Lane {
        plan,
        names: std::iter::once((lane_name, name_at)).chain(also).collect(),
        at: name_at,
        workers_max_at,
        workers_min_at,
    })
}

/// The other names of the lane of this name.
fn also(fields: &mut Fields<'_, '_>, own: &str, faults: &mut Faults<'_>) -> Vec<Placed> {
    let mut names: Vec<Placed> = Vec::new();
    let list = fields.list(faults, "also", "names, as in [\"vip\"]");
    for value in list.unwrap_or_default() {
        let at = value.span().start;
        let Some(name) = value.get_ref().as_str() else {
            let found = found(value.get_ref());
            fields.fault(
                faults,
                at,
                &format!("a name in also is {found}; it must be a text in quotes"),
            );
            continue;
        };
        self::name("lane", name, at, faults);
        if name == own || names.iter().any(|(other, _)| other == name) {
            fields.fault(faults, at, &format!("also: \"{name}\" is its name already"));
            continue;
        }
        names.push((name.to_owned(), at));
    }
    names
}

/// The lanes' most and least workers against each other and against what there is.
fn caps(of: &str, kind: &str, plan: &ThreadsPlan, lanes: &[Lane], faults: &mut Faults<'_>) {
    let workers = match plan.workers {
        Workers::Count(workers) => Some(workers),
        // How many that is only the machine knows.
        Workers::Cores | Workers::CoresAnd(_) => plan.workers_limit,
    };
    let limit = plan.workers_limit.or(workers);
    let mut kept = 0;
    for lane in lanes {
        let LanePlan {
            name,
            workers_max,
            workers_min,
            ..
        } = &lane.plan;
        if let (Some(most), Some(limit)) = (*workers_max, limit)
            && most > limit
        {
            let has = match plan.workers_limit {
                Some(limit) => format!("workers_limit, {limit}"),
                None => format!("workers, {limit}, and it has no workers_limit"),
            };
            let message = format!(
                "lane \"{name}\" of {of}: workers_max is {most}, above the {kind}'s {has}; lower \
                 the one or raise the other"
            );
            faults.add(lane.workers_max_at, message);
        }
        if workers_max.is_some_and(|most| *workers_min > most) {
            let message = format!(
                "lane \"{name}\" of {of}: workers_min is {workers_min}, above its own workers_max"
            );
            faults.add(lane.workers_min_at, message);
        }
        kept += workers_min;
        let Some(workers) = workers else { continue };
        if *workers_min > 0 && kept > workers {
            let message = format!(
                "lane \"{name}\" of {of}: with it the lanes keep {kept} workers (workers_min), and \
                 the {kind} has {workers}"
            );
            faults.add(lane.workers_min_at, message);
        }
    }
    let Some(workers) = workers else { return };
    let unkept = lanes.iter().find(|lane| lane.plan.workers_min == 0);
    if let Some(lane) = unkept.filter(|_| kept == workers) {
        let message = format!(
            "lane \"{}\" of {of} could never run: the other lanes keep all {workers} workers \
             (workers_min)",
            lane.plan.name
        );
        faults.add(lane.at, message);
    }
}
