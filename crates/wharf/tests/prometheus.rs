//! The text that Prometheus scrapes: well-formed, and what the snapshot says.
#![cfg(feature = "sim")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::{BTreeMap, BTreeSet};

use support::Act;
use wharf::sim::{Faults, Sim};
use wharf::{Host, Lane};

/// Name and labels of each sample, and its value.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let (mut known, mut samples) = (BTreeSet::new(), BTreeMap::new());
    let mut current = String::new();
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            current = help.split(' ').next().unwrap().to_owned();
            assert!(
                known.insert(current.clone()),
                "{current} stands in two places"
            );
            continue;
        }
        if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            assert_eq!(name, current);
            assert_eq!(name.ends_with("_total"), kind == "counter", "{line}");
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            continue;
        }
        let (sample, value) = line.rsplit_once(' ').unwrap();
        let name = sample.split('{').next().unwrap();
        let legal = |c: char| c.is_ascii_lowercase() || c == '_';
        assert!(name.chars().all(legal), "{line}");
        assert!(name.starts_with(&current), "{line} stands under {current}");
        let value = value.parse().unwrap();
        assert!(
            samples.insert(sample.to_owned(), value).is_none(),
            "{sample} twice"
        );
    }
    samples
}

#[test]
fn what_is_scraped_is_what_was_counted() {
    let sim = Sim::with_faults(1, Faults::none());
    let mut host = Host::simulated(&sim);
    let port = host.port("front").workers(2).lane(Lane::new("players"));
    let port = port.lane(Lane::new("low")).build().unwrap();
    host.pool("logic").workers(1).build().unwrap();
    let game = host
        .server("ga\"me\\", Act::echo())
        .port(&port)
        .lane("players");
    game.listen("10.0.0.1:80").unwrap();
    let other = host.server("other", Act::echo()).port(&port).lane("low");
    other.listen("10.0.0.1:81").unwrap();
    host.start().unwrap();
    let peer = sim.connect("10.0.0.1:80".parse().unwrap());
    let mut got = Vec::new();
    sim.run_until(|| peer.is_connected()).unwrap();
    assert_eq!(peer.write(b"\x04\0hi\x04\0ho").unwrap(), 8);
    sim.run_until(|| {
        let _ = peer.read(&mut got);
        got.len() == 8
    })
    .unwrap();
    let of = samples(&host.stats().to_prometheus());
    let game = "{network=\"ga\\\"me\\\\\"}";
    assert_eq!(of[&format!("wharf_network_frames_in_total{game}")], 2.0);
    assert_eq!(of[&format!("wharf_network_sessions{game}")], 1.0);
    assert_eq!(of["wharf_network_bytes_out_total{network=\"other\"}"], 0.0);
    let turns =
        |lane| of[&format!("wharf_port_lane_turns_total{{port=\"front\",lane=\"{lane}\"}}")];
    assert!(turns("players") > 0.0);
    assert_eq!(turns("low"), 0.0);
    let buckets: Vec<_> = of
        .iter()
        .filter(|(name, _)| name.starts_with("wharf_port_turn_seconds_bucket"))
        .collect();
    assert_eq!(buckets.len(), 16);
    let count = of["wharf_port_turn_seconds_count{port=\"front\"}"];
    assert_eq!(count, turns("players"));
    let all = "wharf_port_turn_seconds_bucket{port=\"front\",le=\"+Inf\"}";
    assert_eq!(of[all], count);
    assert!(buckets.iter().all(|(_, value)| **value <= count));
    assert!(of.contains_key("wharf_pool_jobs_posted_total{pool=\"logic\"}"));
    host.stop().unwrap();
}
