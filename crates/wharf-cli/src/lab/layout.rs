//! The layouts that are compared: each is the same networks in another topology.

use std::fmt::Write as _;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::nearest::nearest;
use super::workload::{Class, Rank, Role, Workload};

/// Who shares a port with whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Layout {
    /// Each network has a port of its own: as many workers as cores for a high class, one for a
    /// low one.
    PortPerNetwork,
    /// One port, as many workers as cores.
    Shared,
    /// The high classes share a port with as many workers as cores, the low ones one with a single
    /// worker.
    Selective,
    /// The same, with as many workers as cores together: the low class has one of them.
    SelectiveSplit,
    /// One worker reads readiness; a pool with as many threads as cores serves the high classes, a
    /// pool with one the low ones.
    Dispatch,
    /// The same, with as many threads as cores in both pools together.
    DispatchSplit,
    /// One port, as many workers as cores, of which the low classes hold one at most.
    Lanes,
    /// The same with one worker more, for low handlers that wait instead of computing.
    LanesSpare,
    /// Lanes whose low turns run at the lowest priority, for low handlers that compute.
    LanesNice,
    /// Both: for low handlers of which nothing is known.
    LanesSpareNice,
    /// A port per network, the low ones with one worker at the lowest priority on the last core.
    Dedicated,
}

/// A topology, as text, and what it promises.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TopologyText {
    /// The file.
    pub(crate) text: String,
    /// Most workers that can run the handlers of low classes at once.
    pub(crate) low_cap: u64,
    /// Workers of its ports and pools.
    pub(crate) workers: u64,
}

impl TopologyText {
    /// The same with every thread of every port and pool on this core.
    #[must_use]
    pub(crate) fn on_core(self, core: usize) -> Self {
        let mut text = String::new();
        for line in self
            .text
            .lines()
            .filter(|line| !line.starts_with("cores = "))
        {
            text.push_str(line);
            text.push('\n');
            if line.starts_with("workers = ") {
                // Writing to a String does not fail.
                let _ = writeln!(text, "cores = [{core}]");
            }
        }
        Self { text, ..self }
    }

    /// Lines that say something.
    pub(crate) fn lines(&self) -> u64 {
        let says = |line: &&str| !line.trim().is_empty() && !line.trim_start().starts_with('#');
        self.text.lines().filter(says).count() as u64
    }
}

impl Layout {
    /// All of them.
    pub(crate) const ALL: [Self; 11] = [
        Self::PortPerNetwork,
        Self::Shared,
        Self::Selective,
        Self::SelectiveSplit,
        Self::Dispatch,
        Self::DispatchSplit,
        Self::Lanes,
        Self::LanesSpare,
        Self::LanesNice,
        Self::LanesSpareNice,
        Self::Dedicated,
    ];

    /// Its name in arguments and reports.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::PortPerNetwork => "port_per_network",
            Self::Shared => "shared",
            Self::Selective => "selective",
            Self::SelectiveSplit => "selective_split",
            Self::Dispatch => "dispatch",
            Self::DispatchSplit => "dispatch_split",
            Self::Lanes => "lanes",
            Self::LanesSpare => "lanes_spare",
            Self::LanesNice => "lanes_nice",
            Self::LanesSpareNice => "lanes_spare_nice",
            Self::Dedicated => "dedicated",
        }
    }

    /// What the report says about it.
    pub(crate) fn about(self) -> &'static str {
        match self {
            Self::PortPerNetwork => "a port for each network",
            Self::Shared => "one port for everything",
            Self::Selective => "one port for the high class, one for the low",
            Self::SelectiveSplit => "the same, no more workers than cores",
            Self::Dispatch => "one dispatching worker, a pool a class",
            Self::DispatchSplit => "the same, no more pool threads than cores",
            Self::Lanes => "one port, the low class capped at one worker",
            Self::LanesSpare => "the same, one worker more than cores",
            Self::LanesNice => "as many as cores, low turns niced",
            Self::LanesSpareNice => "one worker more than cores, low turns niced",
            Self::Dedicated => "a port each, the low ones niced and pinned",
        }
    }

    /// The six of the argument; with a split of the cores too where a ceiling is asked for. Other
    /// lanes than the plain ones are only had by their names.
    pub(crate) fn usual(ceiling: bool) -> Vec<Self> {
        let usual = |layout: &Self| match layout {
            Self::SelectiveSplit | Self::DispatchSplit => ceiling,
            Self::LanesSpare | Self::LanesNice | Self::LanesSpareNice => false,
            _ => true,
        };
        Self::ALL.into_iter().filter(usual).collect()
    }

    /// The layout with this name.
    ///
    /// # Errors
    /// An unknown name, with the nearest right one.
    pub(crate) fn named(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|layout| layout.name() == name);
        found.ok_or_else(|| {
            let names = Self::ALL.map(Self::name);
            format!(
                "there is no layout \"{name}\"{}; there are {}",
                nearest(name, &names),
                names.join(", ")
            )
        })
    }
}

/// Where one network is served.
struct Place {
    port: String,
    pool: Option<&'static str>,
    lane: Option<&'static str>,
}

impl Place {
    fn port(port: &str) -> Self {
        Self {
            port: port.into(),
            pool: None,
            lane: None,
        }
    }
}

/// The topology of `workload` under `layout` on a machine with `cores`. Servers listen on a free
/// port of the loopback; clients connect to what `peers` says for their class.
pub(crate) fn place(
    layout: Layout,
    cores: usize,
    workload: &Workload,
    peers: &[(String, SocketAddr)],
) -> TopologyText {
    let cores = cores.max(1);
    let (mut text, workers) = threads(layout, cores, workload);
    for class in &workload.classes {
        network(&mut text, class, &of_class(layout, class), peers);
    }
    let low_cap = match layout {
        Layout::PortPerNetwork | Layout::Dedicated => workload.low().count(),
        Layout::Shared => cores,
        _ => 1,
    };
    TopologyText {
        text,
        low_cap: low_cap as u64,
        workers,
    }
}

/// The ports and pools of a layout, and how many workers they have together.
fn threads(layout: Layout, cores: usize, workload: &Workload) -> (String, u64) {
    let mut text = String::new();
    let mut total = 0;
    let mut section = |kind: &str, name: &str, workers: usize, more: &str| {
        total += workers as u64;
        // Writing to a String does not fail.
        let _ = writeln!(text, "[{kind}.{name}]\nworkers = {workers}{more}\n");
    };
    let rest = (cores - 1).max(1);
    let lanes = |nice: &str| {
        let backend = format!("{{ name = \"backend\", workers_max = 1{nice} }}");
        format!("\nlanes = [ {{ name = \"players\" }}, {backend} ]")
    };
    match layout {
        Layout::PortPerNetwork | Layout::Dedicated => {
            let apart = format!("\nnice = 19\ncores = [{}]", cores - 1);
            for class in &workload.classes {
                let low = class.class == Rank::Low;
                let apart = if low && layout == Layout::Dedicated {
                    apart.as_str()
                } else {
                    ""
                };
                section("port", &class.name, if low { 1 } else { cores }, apart);
            }
        }
        Layout::Shared => section("port", "all", cores, ""),
        Layout::Selective => {
            section("port", "players", cores, "");
            section("port", "backend", 1, "");
        }
        Layout::SelectiveSplit => {
            section("port", "players", rest, "");
            section("port", "backend", 1, "");
        }
        Layout::Dispatch | Layout::DispatchSplit => {
            let all = layout == Layout::Dispatch;
            section("port", "front", 1, "");
            section("pool", "high", if all { cores } else { rest }, "");
            section("pool", "low", 1, "");
        }
        Layout::Lanes => section("port", "front", cores, &lanes("")),
        Layout::LanesSpare => section("port", "front", cores + 1, &lanes("")),
        Layout::LanesNice => section("port", "front", cores, &lanes(", nice = 19")),
        Layout::LanesSpareNice => section("port", "front", cores + 1, &lanes(", nice = 19")),
    }
    (text, total)
}

/// The topology in which one class has a port with one worker to itself, and the others a port that
/// stays idle: what one core can do with that class alone.
pub(crate) fn alone(
    class: &str,
    workload: &Workload,
    peers: &[(String, SocketAddr)],
) -> TopologyText {
    let mut text = "[port.alone]\nworkers = 1\n\n[port.idle]\nworkers = 1\n\n".to_owned();
    for other in &workload.classes {
        let port = if other.name == class { "alone" } else { "idle" };
        network(&mut text, other, &Place::port(port), peers);
    }
    TopologyText {
        text,
        low_cap: 1,
        workers: 2,
    }
}

fn of_class(layout: Layout, class: &Class) -> Place {
    let high = class.class == Rank::High;
    let either = |if_high: &'static str, if_low: &'static str| if high { if_high } else { if_low };
    match layout {
        Layout::PortPerNetwork | Layout::Dedicated => Place::port(&class.name),
        Layout::Shared => Place::port("all"),
        Layout::Selective | Layout::SelectiveSplit => Place::port(either("players", "backend")),
        Layout::Dispatch | Layout::DispatchSplit => Place {
            pool: Some(either("high", "low")),
            ..Place::port("front")
        },
        Layout::Lanes | Layout::LanesSpare | Layout::LanesNice | Layout::LanesSpareNice => Place {
            lane: Some(either("players", "backend")),
            ..Place::port("front")
        },
    }
}

fn network(text: &mut String, class: &Class, place: &Place, peers: &[(String, SocketAddr)]) {
    let mut line = |line: std::fmt::Arguments<'_>| {
        let _ = text.write_fmt(line);
        text.push('\n');
    };
    line(format_args!("[network.{}]", class.name));
    match class.role {
        Role::Server => {
            line(format_args!("listen = \"127.0.0.1:0\""));
            // A class may be silent from its first moment on.
            line(format_args!("handshake_timeout_ms = 0"));
        }
        Role::Client => {
            let peer = peers.iter().find(|(name, _)| *name == class.name);
            // Without a peer it is shown, not run: a port that nobody has.
            let peer = peer.map_or_else(|| "127.0.0.1:1".into(), |(_, addr)| addr.to_string());
            line(format_args!("connect = \"{peer}\""));
            if class.sessions > 1 {
                line(format_args!("links = {}", class.sessions));
            }
        }
    }
    line(format_args!("port = \"{}\"", place.port));
    if let Some(pool) = place.pool {
        line(format_args!("pool = \"{pool}\""));
    }
    if let Some(lane) = place.lane {
        line(format_args!("lane = \"{lane}\""));
    }
    line(format_args!(""));
}

#[cfg(test)]
mod tests {
    use wharf::Topology;

    use super::*;

    #[test]
    fn each_layout_places_every_class_and_says_what_it_caps() {
        let workload = Workload::find("argument").unwrap();
        for layout in Layout::ALL {
            assert_eq!(Layout::named(layout.name()), Ok(layout));
            let topology = place(layout, 4, &workload, &[]);
            let parsed = Topology::parse(&topology.text, layout.name()).unwrap();
            let names: Vec<_> = parsed.networks.iter().map(|plan| &plan.name).collect();
            let classes: Vec<_> = workload.classes.iter().map(|class| &class.name).collect();
            assert_eq!(names, classes, "{layout:?}");
            let ports = parsed.ports.iter().map(|port| port.threads.workers_on(4));
            let pools = parsed.pools.iter().map(|pool| pool.threads.workers_on(4));
            let total: usize = ports.chain(pools).sum();
            assert_eq!(topology.workers, total as u64, "{layout:?}");
            assert!(topology.low_cap >= 1 && topology.lines() > 8);
        }
        let of = |layout| {
            let topology = place(layout, 4, &workload, &[]);
            (topology.workers, topology.low_cap)
        };
        assert_eq!(of(Layout::Lanes), (4, 1));
        assert_eq!(of(Layout::Shared), (4, 4));
        assert_eq!(of(Layout::PortPerNetwork), (6, 2));
        assert_eq!(of(Layout::SelectiveSplit), (4, 1));
    }

    #[test]
    fn a_topology_on_one_core_has_every_thread_there() {
        let workload = Workload::find("argument").unwrap();
        for layout in Layout::ALL {
            let topology = place(layout, 4, &workload, &[]);
            let (workers, on_core) = (topology.workers, topology.on_core(1));
            let parsed = Topology::parse(&on_core.text, layout.name()).unwrap();
            let map = parsed.thread_map(4);
            assert!(!map.rows.is_empty(), "{layout:?}");
            assert!(map.rows.iter().all(|row| row.cores == [1]), "{layout:?}");
            assert_eq!(on_core.workers, workers, "{layout:?}");
        }
    }

    #[test]
    fn every_sample_is_placed_on_any_number_of_cores() {
        for name in Workload::sample_names() {
            let workload = Workload::find(name).unwrap();
            for (layout, cores) in Layout::ALL
                .into_iter()
                .zip([1, 2, 3, 64].into_iter().cycle())
            {
                let topology = place(layout, cores, &workload, &[]);
                let what = format!("{name}, {}, {cores} cores", layout.name());
                Topology::parse(&topology.text, &what).unwrap();
            }
            let class = &workload.classes[0].name;
            Topology::parse(alone(class, &workload, &[]).text, name).unwrap();
        }
    }

    #[test]
    fn an_unknown_layout_is_refused_with_the_nearest() {
        let error = Layout::named("lane").unwrap_err();
        assert!(error.contains("did you mean \"lanes\"?"), "{error}");
    }
}
