//! The page that lists all keys, held against what is read.

use wharf::Topology;
use wharf::topology::{
    ConnectPlan, LanePlan, ListenPlan, NetworkPlan, PoolPlan, PortPlan, Role, ServedBy, WorkPlan,
    Workers,
};

const PAGE: &str = include_str!("../../../../docs/topology.md");

/// The files of the page as one.
fn file() -> String {
    let blocks = PAGE.split("```toml\n").skip(1);
    let blocks = blocks.filter_map(|block| block.split("```").next());
    blocks.collect()
}

/// A key behind `# `: what stands there has no value by default.
fn option(line: &str) -> Option<&str> {
    let text = line.trim_start().strip_prefix("# ")?;
    let (key, _) = text.split_once(" = ")?;
    let is_key = key.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    is_key.then_some(text)
}

#[test]
fn what_the_page_says_is_the_default() {
    let says = Topology::parse(file(), "docs/topology.md").unwrap_or_else(|e| panic!("{e}"));
    let network = |name: &str, role| NetworkPlan::new(name, role, "front");
    let mut game = network(
        "game",
        Role::Listen(ListenPlan::new(vec!["0.0.0.0:7777".into()])),
    );
    // Half and a quarter of bytes_max, which is what they are if they are not given.
    game.send_queue.high_water_bytes = Some(game.send_queue.high_water());
    game.send_queue.low_water_bytes = Some(game.send_queue.low_water());
    let addrs = ["10.0.0.2:9000", "10.0.0.3:9000"].map(str::to_owned);
    let defaults = Topology {
        ports: vec![PortPlan::new("front", Workers::Cores)],
        pools: vec![PoolPlan::new("high", Workers::Cores)],
        networks: vec![
            game,
            network("chat", Role::Connect(ConnectPlan::new(addrs.to_vec()))),
        ],
        work: vec![WorkPlan {
            name: "zones".into(),
            on: ServedBy::Port("front".into()),
            lane: LanePlan::DEFAULT.into(),
        }],
        ..Topology::default()
    };
    assert_eq!(says, defaults);
}

/// Each alone, where it stands.
#[test]
fn what_the_page_says_may_be_given_is_taken() {
    let file = file();
    let lines: Vec<_> = file.lines().collect();
    let mut options = 0;
    for (at, line) in lines.iter().enumerate() {
        let Some(text) = option(line) else { continue };
        options += 1;
        let mut lines: Vec<_> = lines.iter().map(ToString::to_string).collect();
        if line.starts_with(' ') {
            let (entry, _) = text.split_once("  #").unwrap_or((text, ""));
            lines[at] = format!("{{ name = \"other\", {} }},", entry.trim_end());
            lines = lines.join("\n").lines().map(str::to_owned).collect();
        } else {
            lines[at] = text.to_owned();
        }
        let text = lines.join("\n");
        let with = Topology::parse(&text, "docs/topology.md");
        let with = with.unwrap_or_else(|error| panic!("{line}: {error}"));
        let without = Topology::parse(&file, "docs/topology.md").unwrap_or_else(|e| panic!("{e}"));
        assert_ne!(with, without, "{line}: it changes nothing");
    }
    assert!(options > 15, "{options}");
}

/// The keys of a table, as the parser lists them to whoever gives one that there is not.
fn keys(table: &str) -> Vec<String> {
    let error = Topology::parse(table, "t").unwrap_err().to_string();
    let listed = error.split_once("unknown key \"qqqq\"; there is ");
    let (_, listed) = listed.unwrap_or_else(|| panic!("{table}: {error}"));
    let line = listed.lines().next().unwrap();
    line.split('"')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_key_that_is_read_stands_on_the_page() {
    let in_a_network = |text: &str| format!("[network.n]\nlisten = \"a:1\"\n{text}");
    let tables = [
        "[host]\nqqqq = 1".to_owned(),
        "[port.p]\nqqqq = 1".to_owned(),
        "[pool.p]\nqqqq = 1".to_owned(),
        "[port.p]\nlanes = [ { name = \"l\", qqqq = 1 } ]".to_owned(),
        "[work.w]\nqqqq = 1".to_owned(),
        "[network.n]\nconnect = \"a:1\"\nqqqq = 1".to_owned(),
        "[network.n]\nconnect = \"a:1\"\nreconnect = { qqqq = 1 }".to_owned(),
        in_a_network("qqqq = 1"),
        in_a_network("send_queue = { qqqq = 1 }"),
        in_a_network("input_rate = { qqqq = 1 }"),
        in_a_network("memory = { bytes_max = 0, qqqq = 1 }"),
        in_a_network("connects_per_ip = { per_s = 1, qqqq = 1 }"),
        in_a_network("framing = { kind = \"length\", prefix_bytes = 2, qqqq = 1 }"),
        in_a_network("framing = { kind = \"delimiter\", delimiter = \";\", qqqq = 1 }"),
    ];
    let file = file();
    let mut count = 0;
    for key in tables.iter().flat_map(|table| keys(table)) {
        let given = file.contains(&format!("{key} = "));
        assert!(
            given || PAGE.contains(&format!("`{key}`")),
            "{key} is missing"
        );
        count += 1;
    }
    assert!(count > 80, "{count}");
}
