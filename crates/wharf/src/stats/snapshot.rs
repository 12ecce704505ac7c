//! Snapshots: what the counters say, added up over the workers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::Durations;
use crate::error::CloseReason;
use crate::network::Declared;
use crate::port::{JobStats, PortCore, WorkerSlot};

/// Everything a host counts.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct HostSnapshot {
    /// In the order of declaration.
    pub ports: Vec<PortSnapshot>,
    /// The pools, in the order of declaration.
    pub pools: Vec<PortSnapshot>,
    /// In the order of declaration.
    pub networks: Vec<NetworkSnapshot>,
    /// What the sessions of all networks hold now, in bytes, as
    /// [`MemoryLimit`](crate::MemoryLimit) counts it.
    pub memory_bytes: usize,
}

/// What a lane of a port or pool has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LaneSnapshot {
    /// Its name.
    pub name: String,
    /// The most workers it may hold; `None` for no cap.
    pub workers_max: Option<usize>,
    /// Sessions, strands and jobs that wait for a turn now.
    pub queued: usize,
    /// Workers that run its turns now.
    pub running: usize,
    /// The most workers that ran its turns at once so far: never above the cap (G6).
    pub running_peak: usize,
    /// Turns begun.
    pub turns: u64,
}

/// What a port or pool has done.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct PortSnapshot {
    /// Its name.
    pub name: String,
    /// Its backend.
    pub backend: &'static str,
    /// Its workers, and the places of those it may still get.
    pub workers: Vec<WorkerSnapshot>,
    /// Its lanes, highest first.
    pub lanes: Vec<LaneSnapshot>,
    /// Sessions, strands and jobs that wait for a turn now.
    pub queued: usize,
    /// Late reports of sockets closed since (G7): told by their generation, and ignored.
    pub stale_reports: u64,
    /// What its plain jobs have come to.
    pub jobs: JobStats,
    /// Whether its kernel queue has failed: its sessions have ended then, its listeners and links
    /// are stopped, and only another host serves again. Jobs and strands go on.
    pub broken: bool,
}

/// What a worker has done.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct WorkerSnapshot {
    /// Turns run.
    pub turns: u64,
    /// Time in turns.
    pub busy: Duration,
    /// Times it asked the kernel for readiness.
    pub harvests: u64,
    /// Those that could sleep.
    pub parks: u64,
    /// Times it napped for a moment, as its siblings got on without it.
    pub naps: u64,
    /// Pieces of port work: flushes and accepts.
    pub port_work: u64,
    /// How long turns took.
    pub turn_time: Durations,
    /// How long sessions waited for a turn since they were queued.
    pub turn_wait: Durations,
}

/// What a network has done.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct NetworkSnapshot {
    /// Its name.
    pub name: String,
    /// The port that serves it.
    pub port: String,
    /// The pool that runs its callbacks, if it is not the port.
    pub pool: Option<String>,
    /// The lane of its new sessions.
    pub lane: String,
    /// Whether it listens.
    pub is_server: bool,
    /// Where a server listens.
    pub listens_on: Vec<SocketAddr>,
    /// Open sessions.
    pub sessions: usize,
    /// Sessions that hold a socket, those being opened or closed included.
    pub sessions_live: usize,
    /// Bytes that wait in all send queues now.
    pub queued_bytes: usize,
    /// Sessions above their high-water mark now: readers that are behind.
    pub sessions_behind: usize,
    /// What its sessions hold now, in bytes, as [`MemoryLimit`](crate::MemoryLimit) counts it.
    pub memory_bytes: usize,
    /// Connections taken from the kernel.
    pub accepted: u64,
    /// Refused because of `sessions_max`.
    pub refused_sessions_max: u64,
    /// Refused because of `sessions_per_ip_max`.
    pub refused_per_ip: u64,
    /// Refused because of `connects_per_ip`.
    pub refused_connect_rate: u64,
    /// Refused because the memory ceiling was reached.
    pub refused_memory: u64,
    /// Refused because the network was stopping.
    pub refused_stopping: u64,
    /// Refused because the system could not watch the socket.
    pub refused_system: u64,
    /// Gone before they were taken.
    pub refused_aborted: u64,
    /// Refused by `on_open`.
    pub refused_by_handler: u64,
    /// Pauses of the listener for want of descriptors or memory.
    pub accept_backoffs: u64,
    /// `on_open` calls that returned a state.
    pub opened: u64,
    /// `on_close` calls that are over.
    pub ended: u64,
    /// `on_close` calls by reason, in the order of [`CloseReason::NAMES`].
    pub closes: [u64; CloseReason::NAMES.len()],
    /// Connections that ended without an `on_open` that returned, those refused above not counted.
    pub closed_unopened: u64,
    /// The same by reason, in the order of [`CloseReason::NAMES`]: where a balancer without PROXY
    /// headers shows.
    pub closes_unopened: [u64; CloseReason::NAMES.len()],
    /// Panics in `on_open`.
    pub open_panicked: u64,
    /// Panics in callbacks and jobs, all of them.
    pub panics: u64,
    /// Jobs refused because the mailbox was full.
    pub mailbox_full: u64,
    /// Frames refused because the send queue was full (policies `close` and `error`).
    pub send_queue_full: u64,
    /// Frames dropped by the policy `drop_new`.
    pub dropped_new: u64,
    /// Frames dropped by the policy `drop_old`.
    pub dropped_old: u64,
    /// Accepted frames that were never written, because the connection broke or was aborted.
    pub frames_lost: u64,
    /// Bytes that came after a close and were thrown away.
    pub discarded_bytes: u64,
    /// Times that a session was not read until its `input_rate` allowed more.
    pub throttled: u64,
    /// Frames and jobs refused because the memory ceiling was reached; the frames meet the send
    /// queue's policy, and are counted there too.
    pub memory_refused: u64,
    /// Goodbyes cut by the linger time.
    pub linger_cut: u64,
    /// Connects tried.
    pub connects: u64,
    /// Connects that failed.
    pub connects_failed: u64,
    /// Lookups of a client's names, at the declaration not counted.
    pub lookups: u64,
    /// Those that did not find all of them.
    pub lookups_failed: u64,
    /// Turns run.
    pub turns: u64,
    /// Frames handled.
    pub frames_in: u64,
    /// Bytes received.
    pub bytes_in: u64,
    /// Reads that brought bytes.
    pub recvs: u64,
    /// Frames written.
    pub frames_out: u64,
    /// Bytes written.
    pub bytes_out: u64,
    /// Writes that took bytes.
    pub sends: u64,
}

impl NetworkSnapshot {
    /// The `on_close` calls with this reason's name; zero for an unknown name.
    #[must_use]
    pub fn closes_named(&self, name: &str) -> u64 {
        let at = CloseReason::NAMES.iter().position(|known| *known == name);
        at.map_or(0, |index| self.closes[index])
    }
}

impl HostSnapshot {
    /// The network with this name.
    #[must_use]
    pub fn network(&self, name: &str) -> Option<&NetworkSnapshot> {
        self.networks.iter().find(|network| network.name == name)
    }

    /// The port with this name.
    #[must_use]
    pub fn port(&self, name: &str) -> Option<&PortSnapshot> {
        self.ports.iter().find(|port| port.name == name)
    }
}

/// Reads everything.
pub(crate) fn snapshot<'a>(
    ports: impl Iterator<Item = &'a PortCore>,
    pools: impl Iterator<Item = &'a PortCore>,
    networks: &[Arc<dyn Declared>],
) -> HostSnapshot {
    HostSnapshot {
        ports: ports.map(of_port).collect(),
        pools: pools.map(of_port).collect(),
        networks: networks
            .iter()
            .map(|network| of_network(&**network))
            .collect(),
        memory_bytes: 0,
    }
}

fn of_port(port: &PortCore) -> PortSnapshot {
    let slots = port.slots();
    let workers = slots.len().saturating_sub(1);
    // All workers wait for this lock: only the looks are taken under it.
    let (looks, queued) = {
        let queue = port.queue.lock();
        let looks = (0..port.lanes.len()).map(|index| queue.look(index));
        (looks.collect::<Vec<_>>(), queue.queued())
    };
    let lanes = port
        .lanes
        .iter()
        .zip(looks)
        .map(|(lane, look)| LaneSnapshot {
            name: lane.name.clone(),
            workers_max: lane.workers_max,
            queued: look.queued,
            running: look.running,
            running_peak: look.running_peak,
            turns: look.turns,
        });
    PortSnapshot {
        name: port.name.clone(),
        backend: port.backend.name(),
        workers: slots[..workers]
            .iter()
            .map(|slot| of_worker(slot))
            .collect(),
        lanes: lanes.collect(),
        queued,
        stale_reports: port.table.stale_reports(),
        jobs: port.jobs.stats(),
        broken: port.is_broken(),
    }
}

fn of_worker(slot: &WorkerSlot) -> WorkerSnapshot {
    let mut snapshot = WorkerSnapshot {
        turns: slot.turns.read(),
        busy: Duration::from_nanos(slot.busy_nanos.read()),
        harvests: slot.harvests.read(),
        parks: slot.parks.read(),
        naps: slot.naps.read(),
        port_work: slot.port_work.read(),
        ..WorkerSnapshot::default()
    };
    slot.turn_time.add_to(&mut snapshot.turn_time);
    slot.turn_wait.add_to(&mut snapshot.turn_wait);
    snapshot
}

fn of_network(network: &dyn Declared) -> NetworkSnapshot {
    let events = network.events();
    let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let refused = |index: usize| read(&events.refused[index]);
    let (queued_bytes, sessions_behind) = network.send_queues();
    let mut snapshot = NetworkSnapshot {
        name: network.name().to_owned(),
        port: network.port().name.clone(),
        pool: (!Arc::ptr_eq(network.port(), network.turns())).then(|| network.turns().name.clone()),
        lane: network.turns().lanes[network.lane()].name.clone(),
        is_server: network.is_server(),
        listens_on: network.listens_on(),
        sessions: network.sessions(),
        sessions_live: events.live.load(Ordering::Relaxed),
        queued_bytes,
        sessions_behind,
        memory_bytes: network.memory().held_bytes(),
        accepted: read(&events.accepted),
        refused_sessions_max: refused(0),
        refused_per_ip: refused(1),
        refused_stopping: refused(2),
        refused_system: refused(3),
        refused_aborted: refused(4),
        refused_connect_rate: refused(5),
        refused_memory: refused(6),
        refused_by_handler: read(&events.refused_by_handler),
        accept_backoffs: read(&events.accept_backoffs),
        opened: read(&events.opened),
        ended: read(&events.ended),
        closes: std::array::from_fn(|index| read(&events.closed[index])),
        closed_unopened: events.closed_unopened.iter().map(read).sum(),
        closes_unopened: std::array::from_fn(|index| read(&events.closed_unopened[index])),
        open_panicked: read(&events.open_panicked),
        panics: read(&events.panics),
        mailbox_full: read(&events.mailbox_full),
        send_queue_full: read(&events.send_queue_full),
        dropped_new: read(&events.dropped_new),
        dropped_old: read(&events.dropped_old),
        frames_lost: read(&events.frames_lost),
        discarded_bytes: read(&events.discarded_bytes),
        memory_refused: read(&events.memory_refused),
        throttled: read(&events.throttled),
        linger_cut: read(&events.linger_cut),
        connects: read(&events.connects),
        connects_failed: read(&events.connects_failed),
        lookups: read(&events.lookups),
        lookups_failed: read(&events.lookups_failed),
        ..NetworkSnapshot::default()
    };
    for counters in network
        .turns()
        .slots()
        .iter()
        .filter_map(|s| s.net_if_any(network.index()))
    {
        snapshot.turns += counters.turns.read();
        snapshot.frames_in += counters.frames_in.read();
        snapshot.bytes_in += counters.bytes_in.read();
        snapshot.recvs += counters.recvs.read();
        snapshot.frames_out += counters.frames_out.read();
        snapshot.bytes_out += counters.bytes_out.read();
        snapshot.sends += counters.sends.read();
    }
    snapshot
}
