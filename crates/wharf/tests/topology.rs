//! Topology files: what is wrong in one is named with its place, what is right survives printing,
//! and the samples that ship are right.
#![allow(
    clippy::unwrap_used,
    reason = "tests; clippy does not see that in a helper"
)]

#[path = "topology/arbitrary.rs"]
mod arbitrary;
#[path = "topology/reference.rs"]
mod reference;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;
use wharf::topology::{Role, Workers};
use wharf::{Topology, TopologyError};

fn here(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)
}

/// The files of a folder that end so, by name.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|ext| ext == ending));
    files.sort();
    files
}

fn name(path: &Path) -> &str {
    path.file_name().unwrap().to_str().unwrap()
}

/// `NAME.txt` holds what is said about `NAME.toml`. `WHARF_BLESS=1 cargo test --test topology`
/// writes it anew; read the difference before you keep it.
#[test]
fn wrong_files_are_told_what_where_and_how_to_mend_it() {
    let bless = std::env::var_os("WHARF_BLESS").is_some();
    let folder = here("tests/topology_errors");
    let wrong = files(&folder, "toml");
    assert!(wrong.len() >= 30, "only {} wrong files", wrong.len());
    let mut differences = Vec::new();
    for path in &wrong {
        let name = name(path);
        let error = match Topology::parse(fs::read(path).unwrap(), name) {
            Ok(topology) => panic!("{name} is taken as {topology:#?}"),
            Err(error) => error,
        };
        assert!(
            error.faults().is_sorted_by_key(|fault| fault.place),
            "{name}"
        );
        let said = format!("{error}\n");
        let expected = path.with_extension("txt");
        if bless {
            fs::write(&expected, said).unwrap();
        } else if fs::read_to_string(&expected).unwrap_or_default() != said {
            differences.push(format!("{name} now says:\n{said}"));
        }
    }
    assert_eq!(
        files(&folder, "txt").len(),
        wrong.len(),
        "a .txt without a .toml"
    );
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn a_missing_file_is_named() {
    let error = Topology::from_file(here("tests/no_such_file.toml")).unwrap_err();
    let said = error.to_string();
    assert!(
        said.contains("no_such_file.toml: the topology file can't be read"),
        "{said}"
    );
    assert_eq!(error.faults()[0].place, None);
    let error = wharf::Error::from(error);
    assert_eq!(error.kind(), wharf::ErrorKind::Config);
    assert_eq!(error.to_string(), said);
}

const SAMPLES: [&str; 6] = [
    "dedicated.toml",
    "dispatch.toml",
    "lanes.toml",
    "port_per_network.toml",
    "selective.toml",
    "shared.toml",
];

fn sample(name: &str) -> Topology {
    let path = here("../../topologies").join(name);
    Topology::from_file(path).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn every_sample_loads_and_has_the_three_networks() {
    let folder = here("../../topologies");
    let names: Vec<_> = files(&folder, "toml")
        .iter()
        .map(|path| name(path).to_owned())
        .collect();
    assert_eq!(names, SAMPLES);
    for name in SAMPLES {
        let topology = sample(name);
        let network = |name: &str| topology.network(name).unwrap().clone();
        assert!(matches!(network("game").role, Role::Listen(_)), "{name}");
        for link in ["chat", "master"] {
            assert!(
                matches!(network(link).role, Role::Connect(_)),
                "{name}: {link}"
            );
        }
        assert_eq!(topology.networks.len(), 3, "{name}");
        let again = Topology::parse(topology.to_toml(), "printed").unwrap();
        assert_eq!(again, topology, "{name}");
    }
}

#[test]
fn a_file_with_little_in_it_is_what_the_builders_default_to() {
    let topology = Topology::parse("[port.main]\n[network.game]\nlisten = \"a:1\"\n", "t").unwrap();
    let port = &topology.ports[0].threads;
    assert_eq!((port.workers, port.workers_limit), (Workers::Cores, None));
    assert_eq!(port.lanes[0].name, "main");
    let game = topology.network("game").unwrap();
    assert_eq!((game.port.as_str(), game.lane.as_str()), ("main", "main"));
    assert_eq!(game.timeouts, wharf::Timeouts::default());
    assert_eq!(game.send_queue, wharf::SendQueueLimits::default());
    let framing = game.framing.build().unwrap();
    assert_eq!(
        framing.frame_bytes_max(),
        wharf::Framing::default().frame_bytes_max()
    );
    let frame = framing.encode_to_vec();
    assert_eq!(frame, wharf::Framing::default().encode_to_vec());
}

trait EncodeToVec {
    fn encode_to_vec(&self) -> Vec<u8>;
}

impl EncodeToVec for wharf::Framing {
    fn encode_to_vec(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode(b"payload", &mut out).unwrap();
        out
    }
}

#[test]
fn one_a_core_is_resolved_within_what_the_lanes_and_the_limit_ask() {
    let text = "[port.main]\nworkers_limit = 8\nlanes = [ { name = \"a\", workers_min = 2 }, \
                { name = \"b\" } ]\n[network.game]\nlisten = \"a:1\"\nlane = \"a\"\n";
    let threads = &Topology::parse(text, "t").unwrap().ports[0].threads;
    let workers = [1, 4, 64].map(|cores| threads.workers_on(cores));
    assert_eq!(workers, [3, 4, 8]);
    let text = text.replace("workers_limit", "workers = \"cores + 1\"\nworkers_limit");
    let threads = &Topology::parse(text, "t").unwrap().ports[0].threads;
    assert_eq!(threads.workers, Workers::CoresAnd(1));
    let workers = [1, 4, 64].map(|cores| threads.workers_on(cores));
    assert_eq!(workers, [3, 5, 8]);
}

#[test]
fn times_and_switches_are_read_in_their_units() {
    let text = "[port.main]\nspin_us = 20\nnap_us = 500\n\
                lanes = [ { name = \"a\", starve_ms_max = 50, \
                turn_us_max = 300 } ]\n[network.game]\nlisten = \"a:1\"\nhandshake_timeout_ms = 0\n\
                idle_timeout_ms = 1_500\nkeepalive_s = 0x10\n";
    let topology = Topology::parse(text, "t").unwrap();
    let lane = &topology.ports[0].threads.lanes[0];
    assert_eq!(topology.ports[0].spin, Duration::from_micros(20));
    assert_eq!(topology.ports[0].nap, Duration::from_micros(500));
    assert_eq!(lane.starve_after, Some(Duration::from_millis(50)));
    assert_eq!(lane.turn_time_max, Some(Duration::from_micros(300)));
    let game = topology.network("game").unwrap();
    assert_eq!(game.timeouts.handshake, None);
    assert_eq!(game.timeouts.idle, Some(Duration::from_millis(1500)));
    assert_eq!(game.keepalive, Some(Duration::from_secs(16)));
}

#[test]
fn who_is_held_back_by_windows_is_told() {
    let text = "[port.main]\nworkers = 6\nconcurrency = 2\n[network.game]\nlisten = \"a:1\"\n";
    let topology = Topology::parse(text, "t").unwrap();
    assert_eq!(topology.ports[0].concurrency, Some(2));
    let told = |topology: &Topology| {
        let warnings = topology.thread_map(4).warnings;
        let found = warnings.into_iter().find(|text| text.contains("Windows"));
        found.unwrap_or_default()
    };
    assert!(told(&topology).contains("only 2 of its 6 workers"));
    let one_a_core = Topology::parse(text.replace("= 2", "= 0"), "t").unwrap();
    assert!(told(&one_a_core).contains("one a core of its 6 workers"));
    for fits in ["concurrency = 6", ""] {
        let free = Topology::parse(text.replace("concurrency = 2", fits), "t").unwrap();
        assert_eq!(told(&free), "");
    }
}

/// The text of `wharf check` for each sample on 4 cores, as `WHARF_BLESS=1` wrote it.
#[test]
fn the_thread_maps_of_the_samples_are_as_written_down() {
    let bless = std::env::var_os("WHARF_BLESS").is_some();
    for name in SAMPLES {
        let said = sample(name).thread_map(4).to_string();
        let path = here("tests/topology").join(name).with_extension("map.txt");
        if bless {
            fs::write(&path, &said).unwrap();
        }
        let expected = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            said == expected,
            "{name} is now:\n{said}\nand was:\n{expected}"
        );
    }
}

#[test]
fn what_a_network_may_take_is_worked_out() {
    let map = sample("lanes.toml").thread_map(4);
    let game = &map.networks[0];
    assert_eq!(game.memory_bytes_max, 20_000 * (262_144 + 16_384));
    assert_eq!((game.workers_most, map.networks[1].workers_most), (4, 1));
    let lanes = &map.rows[0].lanes;
    assert_eq!(lanes[1].networks, ["chat", "master"]);
    let text = "[port.main]\nworkers = 4\nlanes = [ { name = \"a\", workers_min = 1 }, \
                { name = \"b\", workers_min = 1 } ]\n[network.game]\nlisten = \"a:1\"\n\
                lane = \"a\"\n";
    let map = Topology::parse(text, "t").unwrap().thread_map(4);
    assert_eq!(
        map.networks[0].workers_most, 3,
        "one is kept for the other lane"
    );
}

/// What can be in a file that somebody edits: the words of the format, in any order.
fn scribble() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "[",
        "]",
        "[[",
        "]]",
        "{",
        "}",
        "=",
        ",",
        ".",
        "\n",
        "\"",
        "'",
        "#",
        "port",
        "pool",
        "network",
        "front",
        "game",
        "workers",
        "lanes",
        "name",
        "listen",
        "connect",
        "framing",
        "kind",
        "\"length\"",
        "\"0.0.0.0:7777\"",
        "prefix_bytes",
        "send_queue",
        "0",
        "-1",
        "2",
        "1.5",
        "true",
        "99999999999999999999",
        "\"\"",
        "\\",
        "\u{e4}",
        "nan",
        "lane",
        "reconnect",
    ]);
    prop::collection::vec(words, 0..40).prop_map(|words| words.join(" "))
}

fn faults_have_places(result: Result<Topology, TopologyError>) {
    if let Err(error) = result {
        assert!(!error.faults().is_empty());
        for fault in error.faults() {
            assert!(
                !fault.message.contains('\n'),
                "one line: {:?}",
                fault.message
            );
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_a_topology_or_an_error(bytes: Vec<u8>) {
        faults_have_places(Topology::parse(bytes, "any"));
    }

    #[test]
    fn any_scribble_is_a_topology_or_an_error(text in scribble()) {
        faults_have_places(Topology::parse(text, "any"));
    }

    /// Cuts and doubles lines of a sample: mostly right files, as people have them.
    #[test]
    fn a_damaged_sample_is_a_topology_or_an_error(
        which in 0..SAMPLES.len(), from in 0usize..2000, len in 0usize..40, with in "[ -~]{0,3}",
    ) {
        let text = fs::read(here("../../topologies").join(SAMPLES[which])).unwrap();
        let from = from.min(text.len());
        let to = (from + len).min(text.len());
        let damaged = [&text[..from], with.as_bytes(), &text[to..]].concat();
        faults_have_places(Topology::parse(damaged, "any"));
    }

    #[test]
    fn what_is_printed_is_read_back_as_it_was(topology in arbitrary::topology()) {
        let text = topology.to_toml();
        match Topology::parse(&text, "printed") {
            Ok(again) => prop_assert_eq!(&again, &topology),
            Err(error) => prop_assert!(false, "{error}\n{text}"),
        }
        let map = topology.thread_map(2);
        prop_assert!(map.to_string().lines().count() > map.rows.len() + map.networks.len());
    }
}
