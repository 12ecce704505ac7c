//! Any topology that is right.

use std::time::Duration;

use proptest::prelude::*;
use wharf::frame::ByteOrder;
use wharf::topology::{
    ConnectPlan, FramingKind, FramingPlan, HostPlan, LanePlan, ListenPlan, NetworkPlan, PoolPlan,
    PortPlan, Role, ServedBy, ThreadsPlan, Topology, WorkPlan, Workers,
};
use wharf::{
    FlushMode, InputRate, MemoryLimit, PerAddress, Rate, Reconnect, SendQueueLimits, Timeouts,
    WhenFull, WhenMemoryFull, WhenOver,
};

fn millis(range: std::ops::Range<u64>) -> impl Strategy<Value = Duration> {
    range.prop_map(Duration::from_millis)
}

fn micros(range: std::ops::Range<u64>) -> impl Strategy<Value = Duration> {
    range.prop_map(Duration::from_micros)
}

/// Names as people give them, with what has to be quoted in a file.
fn word() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z_-]{1,8}", "[a-zA-Z0-9 .\"\\\\'#=\u{e4}\u{4e2d}]{1,8}"]
}

/// Distinct names: the number keeps them apart.
fn named(prefix: &'static str, index: usize, word: &str) -> String {
    format!("{word}{prefix}{index}")
}

fn lane() -> impl Strategy<Value = LanePlan> {
    (
        word(),
        prop::option::of(1usize..4),
        prop::option::of(millis(1..10_000)),
        prop::option::of(1usize..1000),
        prop::option::of(micros(1..10_000)),
        prop::option::of(-20i32..20),
        prop::collection::vec(word(), 0..3),
    )
        .prop_map(
            |(name, workers_max, starve_after, frames, time, nice, also)| LanePlan {
                also,
                workers_max,
                starve_after,
                frames_per_turn_max: frames,
                turn_time_max: time,
                nice,
                ..LanePlan::new(name)
            },
        )
}

fn threads() -> impl Strategy<Value = ThreadsPlan> {
    let workers = prop_oneof![
        Just(Workers::Cores),
        (1usize..4).prop_map(Workers::CoresAnd),
        (4usize..9).prop_map(Workers::Count)
    ];
    (
        workers,
        prop::option::of(9usize..20),
        prop::collection::vec(lane(), 1..4),
        prop::option::of(-20i32..20),
        prop::collection::hash_set(0usize..64, 0..4),
        0usize..2,
    )
        .prop_map(|(workers, workers_limit, mut lanes, nice, cores, kept)| {
            for (index, lane) in lanes.iter_mut().enumerate() {
                lane.name = named("l", index, &lane.name);
                for (other, name) in lane.also.iter_mut().enumerate() {
                    *name = named("m", 10 * index + other, name);
                }
            }
            // At most one kept of at least four, and within any cap.
            lanes[0].workers_min = kept;
            ThreadsPlan {
                workers,
                workers_limit,
                lanes,
                nice,
                cores: cores.into_iter().collect(),
            }
        })
}

fn framing() -> impl Strategy<Value = FramingPlan> {
    let length = (
        0usize..4,
        any::<bool>(),
        any::<bool>(),
        0usize..5,
        0usize..5,
    );
    let length = length.prop_map(|(width, big, includes, offset, more)| {
        let prefix_bytes = 1 << width;
        FramingKind::Length {
            prefix_bytes,
            byte_order: if big {
                ByteOrder::Big
            } else {
                ByteOrder::Little
            },
            includes_prefix: includes,
            includes_header: includes && more > 2,
            length_counts_from: (!includes && more == 1).then_some(offset),
            header_bytes: (more > 0).then_some(offset + prefix_bytes + more),
            prefix_offset: offset,
        }
    });
    let delimiter = "[a-z\r\n\t\"\\\\\u{0}\u{7f}\u{e4}]{1,3}".prop_map(FramingKind::Delimiter);
    let kind = prop_oneof![
        length,
        delimiter,
        Just(FramingKind::Varint),
        Just(FramingKind::Lines),
        Just(FramingKind::Raw),
    ];
    (kind, 64usize..200).prop_map(|(kind, frame_bytes_max)| FramingPlan {
        kind,
        frame_bytes_max,
    })
}

fn send_queue() -> impl Strategy<Value = SendQueueLimits> {
    let policy = prop::sample::select(vec![
        WhenFull::Close,
        WhenFull::DropNew,
        WhenFull::DropOld,
        WhenFull::Error,
    ]);
    (
        100usize..1_000_000,
        1usize..10_000,
        policy,
        prop::option::of(50usize..100),
        prop::option::of(0usize..25),
    )
        .prop_map(
            |(bytes_max, frames_max, when_full, high, low)| SendQueueLimits {
                bytes_max,
                frames_max,
                when_full,
                high_water_bytes: high,
                low_water_bytes: low,
            },
        )
}

fn timeouts() -> impl Strategy<Value = Timeouts> {
    let off = || prop::option::of(millis(1..100_000));
    (off(), off(), off(), millis(0..10_000)).prop_map(|(handshake, idle, write_stall, linger)| {
        Timeouts {
            handshake,
            idle,
            write_stall,
            linger,
        }
    })
}

fn rate() -> impl Strategy<Value = Rate> {
    (1u32..100, 1u32..100).prop_map(|(per_s, burst)| Rate { per_s, burst })
}

fn memory() -> impl Strategy<Value = Option<MemoryLimit>> {
    let policy = prop::sample::select(vec![WhenMemoryFull::Refuse, WhenMemoryFull::Shed]);
    prop::option::of(
        (65_536usize..1 << 40, policy).prop_map(|(bytes_max, when_full)| MemoryLimit {
            bytes_max,
            when_full,
        }),
    )
}

fn input_rate() -> impl Strategy<Value = InputRate> {
    let policy = prop::sample::select(vec![WhenOver::Pause, WhenOver::Close]);
    (prop::option::of(rate()), prop::option::of(rate()), policy).prop_map(
        |(frames, bytes, when_over)| InputRate {
            frames,
            bytes,
            when_over,
        },
    )
}

/// `None` is the default, which no file can say.
fn per_address<T: Clone + std::fmt::Debug + 'static>(
    limit: impl Strategy<Value = T> + 'static,
) -> impl Strategy<Value = Option<PerAddress<T>>> {
    prop_oneof![
        Just(None),
        Just(Some(PerAddress::Off)),
        limit.prop_map(|limit| Some(PerAddress::Every(limit))),
    ]
}

fn server() -> impl Strategy<Value = Role> {
    (
        1usize..100_000,
        per_address(1usize..100),
        per_address(rate()),
        any::<bool>(),
    )
        .prop_map(|(sessions_max, sessions, connects, proxy_protocol)| {
            let default = ListenPlan::new(Vec::new());
            Role::Listen(ListenPlan {
                sessions_max,
                sessions_per_ip_max: sessions.unwrap_or(default.sessions_per_ip_max),
                connects_per_ip: connects.unwrap_or(default.connects_per_ip),
                proxy_protocol,
                ..ListenPlan::new(Vec::new())
            })
        })
}

fn client() -> impl Strategy<Value = Role> {
    let reconnect = (
        millis(1..1000),
        millis(1000..90_000),
        millis(0..5000),
        any::<[bool; 2]>(),
    );
    let reconnect = reconnect.prop_map(|(first, max, stable, [jitter, enabled])| Reconnect {
        first,
        max,
        jitter,
        stable,
        enabled,
    });
    let all = (1usize..50, millis(1..10_000), reconnect, any::<bool>());
    all.prop_map(|(links, connect_timeout, reconnect, late_names)| {
        Role::Connect(ConnectPlan {
            late_names,
            links,
            connect_timeout,
            reconnect,
            ..ConnectPlan::new(vec!["10.0.0.1:9000".into(), "chat.example:1".into()])
        })
    })
}

fn network() -> impl Strategy<Value = NetworkPlan> {
    let role = prop_oneof![server(), client()];
    let flush = prop::sample::select(vec![FlushMode::Turn, FlushMode::Tick]);
    let turns = (
        flush,
        (input_rate(), memory()),
        prop::option::of(1usize..1000),
        prop::option::of(micros(1..10_000)),
    );
    let socket = (
        any::<bool>(),
        prop::option::of((1u64..10_000).prop_map(Duration::from_secs)),
        1usize..10_000,
    );
    (
        word(),
        role,
        framing(),
        send_queue(),
        timeouts(),
        turns,
        socket,
    )
        .prop_map(
            |(
                name,
                role,
                framing,
                send_queue,
                timeouts,
                turns,
                (nodelay, keepalive, mailbox_max),
            )| {
                NetworkPlan {
                    framing,
                    send_queue,
                    timeouts,
                    flush: turns.0,
                    input_rate: turns.1.0,
                    memory: turns.1.1,
                    frames_per_turn_max: turns.2,
                    turn_time_max: turns.3,
                    mailbox_max,
                    nodelay,
                    keepalive,
                    ..NetworkPlan::new(name, role, "")
                }
            },
        )
}

/// A right topology: names are distinct and resolved, no two addresses collide.
pub(crate) fn topology() -> impl Strategy<Value = Topology> {
    let at_once = prop::option::of(0usize..5);
    let ports = prop::collection::vec(
        (word(), threads(), micros(0..1000), micros(0..900), at_once),
        1..4,
    );
    let pools = prop::collection::vec((word(), threads()), 0..3);
    let networks = prop::collection::vec((network(), any::<[prop::sample::Index; 3]>()), 1..5);
    let work = prop::collection::vec((word(), any::<[prop::sample::Index; 2]>()), 0..3);
    let all = (ports, pools, networks, work, memory());
    all.prop_map(|(ports, pools, networks, work, host)| {
        let port =
            |(index, (name, threads, spin, nap, concurrency)): (usize, (String, _, _, _, _))| {
                PortPlan {
                    name: named("p", index, &name),
                    threads,
                    spin,
                    nap,
                    concurrency,
                }
            };
        let pool = |(index, (name, threads)): (usize, (String, _))| PoolPlan {
            name: named("q", index, &name),
            threads,
        };
        let mut topology = Topology {
            ports: ports.into_iter().enumerate().map(port).collect(),
            pools: pools.into_iter().enumerate().map(pool).collect(),
            networks: Vec::new(),
            work: Vec::new(),
            host: HostPlan { memory: host },
        };
        for (index, (network, at)) in networks.into_iter().enumerate() {
            let network = placed(&topology, index, network, at);
            topology.networks.push(network);
        }
        for (index, (name, at)) in work.into_iter().enumerate() {
            let work = placed_work(&topology, named("w", index, &name), at);
            topology.work.push(work);
        }
        topology
    })
}

fn placed_work(
    topology: &Topology,
    name: String,
    [on, lane]: [prop::sample::Index; 2],
) -> WorkPlan {
    let ports = topology.ports.iter();
    let ports = ports.map(|port| (ServedBy::Port(port.name.clone()), &port.threads.lanes));
    let pools = topology.pools.iter();
    let pools = pools.map(|pool| (ServedBy::Pool(pool.name.clone()), &pool.threads.lanes));
    let all: Vec<_> = ports.chain(pools).collect();
    let (on, lanes) = on.get(&all);
    WorkPlan {
        name,
        on: on.clone(),
        lane: lane.get(lanes).name.clone(),
    }
}

fn placed(
    topology: &Topology,
    index: usize,
    mut network: NetworkPlan,
    [port, pool, lane]: [prop::sample::Index; 3],
) -> NetworkPlan {
    network.name = named("n", index, &network.name);
    let port = port.get(&topology.ports);
    network.port.clone_from(&port.name);
    // One of the pools, or none.
    let pool = topology.pools.get(pool.index(topology.pools.len() + 1));
    network.pool = pool.map(|pool| pool.name.clone());
    let lanes = pool.map_or(&port.threads.lanes, |pool| &pool.threads.lanes);
    network.lane.clone_from(&lane.get(lanes).name);
    if let Role::Listen(server) = &mut network.role {
        server.addrs = vec![
            format!("0.0.0.0:{}", 7000 + index),
            format!("[::1]:{}", 8000 + index),
        ];
    }
    network
}
