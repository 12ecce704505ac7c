//! What was measured, one JSON object a line, in a file that only grows: a long run can be made in
//! slices, and every table and plot is made of it again.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::cells::{Cell, Kind};
use super::sample::Sample;
use super::servers::Server;

const FILE: &str = "peers.jsonl";

/// What was measured of one server in one cell.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Of {
    /// By round.
    pub(super) rounds: BTreeMap<u64, BTreeMap<String, f64>>,
    /// Counts of a pass of its own: system calls, instructions.
    pub(super) counts: BTreeMap<String, f64>,
    /// Runs that other programs disturbed; they are not among the rounds.
    pub(super) disturbed: u64,
    /// Why a run of it failed.
    pub(super) failed: Option<String>,
}

/// On a quiet machine a server and its load, each on a core of its own, keep 1.6 to 1.95 cores
/// busy, because one is always the other's bottleneck. With less, somebody else had a core.
const BUSY_CORES_MIN: f64 = 1.5;

/// So few frames in flight leave both cores idle at times.
const IN_FLIGHT_MIN: u32 = 64;

/// Whether other programs have taken so much of a run that it says nothing.
fn is_disturbed(cell: &str, figures: &BTreeMap<String, f64>) -> bool {
    let saturated = Cell::parse(cell).is_some_and(|cell| {
        let in_flight = cell.connections * cell.depth;
        cell.kind != Kind::Idle && cell.workers == 1 && in_flight >= IN_FLIGHT_MIN
    });
    let busy = figures.get("server_cores").zip(figures.get("client_cores"));
    saturated && busy.is_some_and(|(server, client)| server + client < BUSY_CORES_MIN)
}

/// All that a run has measured so far.
pub(super) struct Store {
    file: File,
    path: PathBuf,
    /// Hashes of the programs: what is measured must not change within a run.
    programs: BTreeMap<String, String>,
    /// What the machine was.
    pub(super) machine: Value,
    /// By cell, in the order they were measured in, then by server.
    pub(super) cells: Vec<(String, BTreeMap<String, Of>)>,
    /// Lines about what was left out.
    pub(super) skipped: BTreeSet<String>,
}

impl Store {
    /// Opens what is in the folder, or begins.
    pub(super) fn open(folder: &Path) -> Result<Self, String> {
        let path = folder.join(FILE);
        let named = |e: std::io::Error| format!("{}: {e}", path.display());
        std::fs::create_dir_all(folder).map_err(named)?;
        let mut options = OpenOptions::new();
        let file = options
            .create(true)
            .append(true)
            .open(&path)
            .map_err(named)?;
        let text = std::fs::read_to_string(&path).map_err(named)?;
        let mut store = Self {
            file,
            path,
            programs: BTreeMap::new(),
            machine: Value::Null,
            cells: Vec::new(),
            skipped: BTreeSet::new(),
        };
        for (at, line) in text.lines().enumerate() {
            let record: Value = serde_json::from_str(line)
                .map_err(|e| format!("{}:{}: {e}", store.path.display(), at + 1))?;
            store.take(&record);
        }
        Ok(store)
    }

    fn take(&mut self, record: &Value) {
        let text = |name: &str| record[name].as_str().unwrap_or_default().to_owned();
        match record["step"].as_str().unwrap_or_default() {
            "machine" => self.machine = record["machine"].clone(),
            "program" => {
                self.programs.insert(text("server"), text("hash"));
            }
            "skipped" => {
                self.skipped
                    .insert(format!("{}: {}", text("what"), text("why")));
            }
            "round" => {
                let round = record["round"].as_u64().unwrap_or(0);
                let figures = figures(record);
                let disturbed = is_disturbed(&text("cell"), &figures);
                let of = self.of(&text("cell"), &text("server"));
                if disturbed {
                    of.disturbed += 1;
                } else {
                    of.rounds.insert(round, figures);
                }
            }
            "counts" => self
                .of(&text("cell"), &text("server"))
                .counts
                .extend(figures(record)),
            "failed" => self.of(&text("cell"), &text("server")).failed = Some(text("why")),
            _ => {}
        }
    }

    fn of(&mut self, cell: &str, server: &str) -> &mut Of {
        let at = self.cells.iter().position(|(name, _)| name == cell);
        let at = at.unwrap_or_else(|| {
            self.cells.push((cell.to_owned(), BTreeMap::new()));
            self.cells.len() - 1
        });
        self.cells[at].1.entry(server.to_owned()).or_default()
    }

    /// What is known of a server in a cell.
    pub(super) fn known(&self, cell: &Cell, server: &Server) -> Option<&Of> {
        let name = cell.to_string();
        let (_, servers) = self.cells.iter().find(|(known, _)| *known == name)?;
        servers.get(server.name)
    }

    fn add(&mut self, record: &Value) -> Result<(), String> {
        writeln!(self.file, "{record}").map_err(|e| format!("{}: {e}", self.path.display()))?;
        self.take(record);
        Ok(())
    }

    /// Notes the machine, once, and refuses a program that is not the one the run began with.
    pub(super) fn begin(&mut self, machine: &Value, servers: &[Server]) -> Result<(), String> {
        if self.machine.is_null() {
            self.add(&json!({ "step": "machine", "machine": machine }))?;
        }
        for server in servers {
            let bytes = std::fs::read(server.program())
                .map_err(|e| format!("{}: {e}", server.program().display()))?;
            let mut hasher = DefaultHasher::new();
            bytes.hash(&mut hasher);
            let hash = format!("{:016x}", hasher.finish());
            match self.programs.get(server.name) {
                None => {
                    self.add(&json!({ "step": "program", "server": server.name, "hash": hash }))?
                }
                Some(known) if *known == hash => {}
                Some(_) => {
                    return Err(format!(
                        "{} was begun with another build of {}; begin a new run with another --out",
                        self.path.display(),
                        server.name
                    ));
                }
            }
        }
        Ok(())
    }

    pub(super) fn skip(&mut self, what: &str, why: &str) -> Result<(), String> {
        self.add(&json!({ "step": "skipped", "what": what, "why": why }))
    }

    pub(super) fn round(
        &mut self,
        cell: &Cell,
        server: &Server,
        round: u64,
        sample: &Sample,
    ) -> Result<(), String> {
        self.add(
            &json!({ "step": "round", "cell": cell.to_string(), "server": server.name,
                          "round": round, "figures": sample.to_json() }),
        )
    }

    pub(super) fn counts(
        &mut self,
        cell: &Cell,
        server: &Server,
        counts: &BTreeMap<String, f64>,
    ) -> Result<(), String> {
        self.add(
            &json!({ "step": "counts", "cell": cell.to_string(), "server": server.name,
                          "figures": counts }),
        )
    }

    pub(super) fn failed(&mut self, cell: &Cell, server: &Server, why: &str) -> Result<(), String> {
        self.add(
            &json!({ "step": "failed", "cell": cell.to_string(), "server": server.name,
                          "why": why }),
        )
    }
}

fn figures(record: &Value) -> BTreeMap<String, f64> {
    let all = record["figures"].as_object().into_iter().flatten();
    all.filter_map(|(name, value)| Some((name.clone(), value.as_f64()?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_without_its_cores_is_disturbed() {
        let had = |server: f64, client: f64| {
            BTreeMap::from([
                ("server_cores".to_owned(), server),
                ("client_cores".to_owned(), client),
            ])
        };
        assert!(is_disturbed("echo-64x1-64", &had(0.4, 0.5)));
        assert!(!is_disturbed("echo-64x1-64", &had(0.95, 0.9)));
        assert!(
            !is_disturbed("echo-1x1-64", &had(0.4, 0.4)),
            "idle by itself"
        );
        assert!(!is_disturbed("echo-64x1-64-2w", &had(0.4, 0.4)), "shares");
    }

    #[test]
    fn what_was_added_is_there_when_it_is_opened_again() {
        let folder = std::env::temp_dir().join(format!("wharf-peers-{}", std::process::id()));
        let mut store = Store::open(&folder).expect("a new one");
        let sample = Sample {
            figures: vec![("cpu_us", 2.5)],
        };
        for round in [0, 1] {
            store
                .add(
                    &json!({ "step": "round", "cell": "churn-64", "server": "wharf",
                              "round": round, "figures": sample.to_json() }),
                )
                .expect("added");
        }
        store.skip("idle-50000", "too many").expect("added");
        store
            .add(
                &json!({ "step": "counts", "cell": "churn-64", "server": "wharf",
                          "figures": { "calls": 4.0 } }),
            )
            .expect("added");
        let again = Store::open(&folder).expect("the same one");
        std::fs::remove_dir_all(&folder).expect("removed");
        assert_eq!(again.cells, store.cells);
        assert_eq!(again.skipped, store.skipped);
        let wharf = &again.cells[0].1["wharf"];
        assert_eq!(wharf.rounds[&1]["cpu_us"], 2.5);
        assert_eq!(wharf.counts["calls"], 4.0);
    }
}
