//! Work that is no network's, `[work.NAME]`: where a file has strands and jobs run.

use super::fault::Faults;
use super::names::{self, Known, Wanted};
use super::table::{Elsewhere, Entry, Fields};
use super::threads;

const KEYS: &[&str] = &["port", "pool", "lane"];
const OF_A_STRAND: &str = "is told by the code, which makes the strands: StrandOptions";
const ELSEWHERE: &[Elsewhere<'static>] = &[
    ("mailbox_max", OF_A_STRAND),
    ("jobs_per_turn_max", OF_A_STRAND),
    ("turn_time_max", OF_A_STRAND),
    ("on_panic", OF_A_STRAND),
    (
        "workers",
        "belongs to a port or pool: set it in [pool.NAME] and name that pool here",
    ),
    (
        "workers_max",
        "belongs to a lane of a port or pool; name the lane here: lane = \"..\"",
    ),
    (
        "lanes",
        "belongs to a port or pool; work names one: lane = \"..\"",
    ),
    ("listen", "belongs to a network: set it in [network.NAME]"),
    ("connect", "belongs to a network: set it in [network.NAME]"),
];

/// Where the strands and jobs run that the code knows by this name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkPlan {
    /// Its name.
    pub name: String,
    /// Whose workers run it.
    pub on: ServedBy,
    /// The lane there.
    pub lane: String,
}

/// Whose workers run something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServedBy {
    /// Those of the port of this name.
    Port(String),
    /// Those of the pool of this name.
    Pool(String),
}

impl ServedBy {
    pub(super) fn is(&self, pool: bool, name: &str) -> bool {
        match self {
            Self::Port(port) => !pool && port == name,
            Self::Pool(its) => pool && its == name,
        }
    }
}

/// `port front`, as tables have it.
impl std::fmt::Display for ServedBy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Port(name) => write!(f, "port {name}"),
            Self::Pool(name) => write!(f, "pool {name}"),
        }
    }
}

/// Work as the file has it.
#[derive(Debug)]
pub(super) struct Draft {
    name: String,
    wanted: Wanted,
}

/// Reads `[work.NAME]`; `None` if it is no table.
pub(super) fn read(entry: Entry<'_, '_>, faults: &mut Faults<'_>) -> Option<Draft> {
    let Entry { key, at, value } = entry;
    threads::name("work", key, at, faults);
    let mut fields = Fields::new(format!("work \"{key}\""), at, value, faults)?;
    let wanted = Wanted::read(false, &mut fields, faults);
    if let (Some(_), Some((_, pool_at))) = (&wanted.port, &wanted.pool) {
        let message = "it names a port and a pool; strands and jobs need no port beside a pool: \
                       leave one of the two out";
        fields.fault(faults, *pool_at, message);
    }
    fields.finish(faults, KEYS, ELSEWHERE);
    Some(Draft {
        name: key.to_owned(),
        wanted,
    })
}

impl Draft {
    /// Looks its names up: it runs on a pool, or else on a port.
    pub(super) fn resolve(self, known: &Known<'_>, faults: &mut Faults<'_>) -> Option<WorkPlan> {
        let (on, serves) = if self.wanted.pool.is_some() {
            let pool = known.pool(&self.wanted, faults)?;
            (ServedBy::Pool(pool.name.clone()), pool)
        } else {
            let port = known.port(&self.wanted, faults)?;
            (ServedBy::Port(port.name.clone()), port)
        };
        let lane = names::lane(&self.wanted, serves, faults)?;
        Some(WorkPlan {
            name: self.name,
            on,
            lane,
        })
    }
}
