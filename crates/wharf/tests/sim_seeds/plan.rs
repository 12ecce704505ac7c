//! What a seed chooses before the start: layout, limits, faults, and how violent it gets.

use std::time::Duration;

use wharf::frame::Framing;
use wharf::sim::Faults;
use wharf::{Reconnect, SendQueueLimits, Timeouts, WhenFull};

use crate::crews::{CrewPlan, Seat};
use crate::judge::Allowed;
use crate::peer::Habits;

/// Who shares a port with whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    PortEach,
    OnePort,
    /// The peers' server alone, the other two together.
    Selective,
}

/// How the run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Everything becomes quiet, everything is checked, then the host stops.
    Quiet,
    /// The host stops in the middle of it, while the peers go on.
    Stop,
    /// So it does, and nobody reads any more.
    StopUnheard,
    /// The host is just dropped.
    Drop,
}

#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) ports: Vec<CrewPlan>,
    pub(crate) pools: Vec<CrewPlan>,
    /// Of the peers' server, the links' server, and the links.
    pub(crate) seats: [Seat; 3],
    pub(crate) faults: Faults,
    pub(crate) framing: Framing,
    pub(crate) queue: SendQueueLimits,
    pub(crate) timeouts: Timeouts,
    pub(crate) reconnect: Reconnect,
    pub(crate) sessions_max: usize,
    pub(crate) per_ip: Option<usize>,
    pub(crate) ips: u8,
    pub(crate) frames_per_turn: usize,
    pub(crate) mailbox: usize,
    pub(crate) links: usize,
    pub(crate) dead_addrs: usize,
    pub(crate) peers: usize,
    pub(crate) frames_per_peer: u32,
    pub(crate) len_max: u32,
    pub(crate) violent: f64,
    pub(crate) unfriendly: f64,
    pub(crate) few_descriptors: bool,
    pub(crate) drain: Duration,
    pub(crate) steps: u32,
    pub(crate) handlers_stop: bool,
    pub(crate) ending: Ending,
}

fn ms(range: std::ops::Range<u64>, rng: &mut fastrand::Rng) -> Duration {
    Duration::from_millis(rng.u64(range))
}

fn pick<T: Clone>(rng: &mut fastrand::Rng, from: &[T]) -> T {
    from[rng.usize(0..from.len())].clone()
}

impl Plan {
    pub(crate) fn new(rng: &mut fastrand::Rng) -> Self {
        let layouts = [Layout::PortEach, Layout::OnePort, Layout::Selective];
        let endings = [
            Ending::Quiet,
            Ending::Quiet,
            Ending::Quiet,
            Ending::Stop,
            Ending::StopUnheard,
            Ending::Drop,
        ];
        let (framing, faults) = (framing(rng), faults(rng));
        // Beyond half a worker's buffer a frame takes another path.
        let giant = framing.frame_bytes_max() > 60_000 && rng.u32(0..8) == 0;
        let layout = pick(rng, &layouts);
        let (ports, pools, seats) = places(rng, layout);
        Self {
            ports,
            pools,
            seats,
            faults: Faults {
                // A byte at a time, giants would take all the steps there are.
                small_pipes: if giant { 0.0 } else { faults.small_pipes },
                ..faults
            },
            framing,
            queue: queue(rng),
            timeouts: timeouts(rng),
            reconnect: Reconnect {
                first: ms(1..50, rng),
                max: Duration::from_millis(300),
                stable: ms(1..100, rng),
                ..Reconnect::default()
            },
            sessions_max: pick(rng, &[3, 6, 1000, 1000, 1000]),
            per_ip: pick(rng, &[None, None, None, Some(1), Some(3)]),
            ips: rng.u8(1..=4),
            frames_per_turn: pick(rng, &[1, 2, 5, 64, 64]),
            mailbox: pick(rng, &[1, 4, 1024, 1024]),
            links: rng.usize(1..=3),
            dead_addrs: rng.usize(0..=2),
            peers: pick(rng, &[1, 4, 10, 24]),
            frames_per_peer: pick(rng, &[5, 60, 200]),
            len_max: if giant {
                50_000
            } else {
                pick(rng, &[8, 60, 60, 900])
            },
            violent: pick(rng, &[0.0, 0.01, 0.05]),
            unfriendly: pick(rng, &[0.0, 0.0, 0.1]),
            few_descriptors: rng.u32(0..3) == 0,
            drain: ms(50..4000, rng),
            steps: rng.u32(300..3500),
            handlers_stop: rng.u32(0..4) == 0,
            ending: pick(rng, &endings),
        }
    }

    pub(crate) fn allowed(&self, failures: bool) -> Allowed {
        Allowed {
            failures,
            resets: self.faults.resets > 0.0,
            handshake: self.timeouts.handshake,
            idle: self.timeouts.idle,
            write_stall: self.timeouts.write_stall,
            full_closes: self.queue.when_full == WhenFull::Close,
        }
    }

    pub(crate) fn habits(&self) -> Habits {
        Habits {
            framing: self.framing.clone(),
            len_max: self.len_max,
            gaps: self.queue.when_full == WhenFull::DropOld,
            violent: self.violent,
        }
    }
}

/// Ports, perhaps pools, and where each network is.
fn places(rng: &mut fastrand::Rng, layout: Layout) -> (Vec<CrewPlan>, Vec<CrewPlan>, [Seat; 3]) {
    let port_of = match layout {
        Layout::OnePort => [0, 0, 0],
        Layout::Selective => [0, 1, 1],
        Layout::PortEach => [0, 1, 2],
    };
    let ports: Vec<_> = [4, 3, 2].map(|most| CrewPlan::new(rng, most)).into();
    let ports = ports[..=port_of[2]].to_vec();
    let pools: Vec<_> = (0..pick(rng, &[0, 0, 1, 2]))
        .map(|_| CrewPlan::new(rng, 3))
        .collect();
    let seats = port_of.map(|port| {
        let pooled = !pools.is_empty() && rng.u32(0..3) > 0;
        let pool = pooled.then(|| rng.usize(0..pools.len()));
        let crew = pool.map_or(&ports[port], |pool| &pools[pool]);
        let lane = crew.some_lane(rng);
        Seat { port, pool, lane }
    });
    (ports, pools, seats)
}

fn faults(rng: &mut fastrand::Rng) -> Faults {
    let resets = pick(rng, &[0.0, 0.0, 0.0, 0.002]);
    let base = if rng.u32(0..6) == 0 {
        Faults::none()
    } else {
        Faults::default()
    };
    Faults {
        resets,
        small_pipes: pick(rng, &[0.0, 0.2, 0.6]),
        ..base
    }
}

fn framing(rng: &mut fastrand::Rng) -> Framing {
    match rng.u32(0..3) {
        0 => Framing::default(),
        1 => Framing::length(4).frame_bytes_max(4096).build().unwrap(),
        _ => Framing::varint(),
    }
}

fn queue(rng: &mut fastrand::Rng) -> SendQueueLimits {
    let policies = [
        WhenFull::Close,
        WhenFull::DropNew,
        WhenFull::DropOld,
        WhenFull::Error,
    ];
    SendQueueLimits {
        bytes_max: pick(rng, &[100, 600, 5000, 65_536]),
        frames_max: pick(rng, &[1, 7, 4096, 4096]),
        when_full: pick(rng, &policies),
        ..SendQueueLimits::default()
    }
}

fn timeouts(rng: &mut fastrand::Rng) -> Timeouts {
    let mut perhaps = |range: std::ops::Range<u64>| (rng.u32(0..4) == 0).then(|| ms(range, rng));
    Timeouts {
        handshake: perhaps(1..100),
        idle: perhaps(20..400),
        write_stall: perhaps(5..200),
        linger: Duration::from_millis(rng.u64(20..1500)),
    }
}
