//! One seed from the start of a host to its end.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use wharf::sim::Sim;
use wharf::{ClientBuilder, Host, Network, Port, ServerBuilder, WhenFull};

use crate::crews::{self, STEPS_MAX, TIME_MAX};
use crate::extras::Extras;
use crate::game::{Game, post_reply};
use crate::judge::{Judge, did};
use crate::link::Link;
use crate::peer::Peer;
use crate::plan::{Ending, Plan};
use crate::rooms;
use crate::wire;

/// The run.
pub(crate) struct Run {
    pub(crate) plan: Plan,
    pub(crate) extras: Extras,
    pub(crate) rng: fastrand::Rng,
    pub(crate) sim: Sim,
    pub(crate) judge: Arc<Judge>,
    pub(crate) host: Host,
    pub(crate) game: Network<Game>,
    pub(crate) chat: Network<Game>,
    ports: Vec<Port>,
    pub(crate) peers: Vec<Peer>,
    connected: usize,
}

const GAME: &str = "10.0.0.1:7000";
const CHAT: &str = "10.0.0.1:7001";

impl Run {
    /// Declares and starts what the seed says.
    pub(crate) fn start(seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let plan = Plan::new(&mut rng);
        let mut extras = Extras::new(seed, plan.ending != Ending::Quiet);
        let sim = Sim::with_faults(seed, plan.faults.clone());
        sim.set_limits(STEPS_MAX, TIME_MAX);
        let judge = Judge::new(&sim, seed, plan.allowed(extras.fails()));
        let mut host = Host::simulated(&sim);
        host.set_drain_deadline(plan.drain);
        let (ports, pools, crews) =
            crews::declare(&mut host, &plan.ports, &plan.pools, &plan.seats);
        let place = |net: usize| {
            let seat = &plan.seats[net];
            let pool = seat.pool.map(|pool| pools[pool].clone());
            (ports[seat.port].clone(), pool, seat.lane.clone())
        };
        let handler = |net: usize| Game {
            judge: Arc::clone(&judge),
            net,
            framing: plan.framing.clone(),
            len_max: plan.len_max,
            unfriendly: plan.unfriendly,
        };
        let server = at!(host.server("game", handler(0)), place(0));
        let server = server.flush(extras.flush);
        let server = server_options(server, &plan).sessions_max(plan.sessions_max);
        let server = match plan.per_ip {
            Some(max) => server.sessions_per_ip_max(max),
            None => server,
        };
        let game = server.listen(GAME).unwrap();
        let server = at!(host.server("chat", handler(1)), place(1));
        let server = server.flush(extras.flush);
        let chat = server_options(server, &plan).listen(CHAT).unwrap();
        let mut addrs: Vec<SocketAddr> = vec![CHAT.parse().unwrap()];
        for dead in 0..plan.dead_addrs {
            addrs.insert(
                rng.usize(0..=addrs.len()),
                format!("10.9.9.9:{}", 81 + dead).parse().unwrap(),
            );
        }
        let link = Link {
            judge: Arc::clone(&judge),
            len_max: plan.len_max,
            gaps: plan.queue.when_full == WhenFull::DropOld,
        };
        let client = at!(host.client("links", link), place(2));
        client_options(client, &plan).connect(addrs).unwrap();
        host.start().unwrap();
        *judge.rooms.lock() = rooms::make(&judge, &crews, &mut extras);
        *judge.crews.lock() = Some(Arc::new(crews));
        *judge.handle.lock() = Some(host.handle());
        *judge.group.lock() = Some(game.group());
        judge.may_stop.store(plan.handlers_stop, SeqCst);
        Self {
            plan,
            extras,
            rng,
            sim,
            judge,
            host,
            game,
            chat,
            ports,
            peers: Vec::new(),
            connected: 0,
        }
    }

    /// The middle of the run: everybody does something.
    pub(crate) fn play(&mut self) -> Result<(), String> {
        for step in 0..self.plan.steps {
            if self.rng.u32(0..2) == 0 {
                self.act();
            }
            self.extras.act(&self.sim);
            if self.extras.flushes() {
                self.flush();
            }
            self.sim.step();
            if step % 16 == 0 {
                self.sample();
                self.judge.check_lanes(&self.host);
            }
            self.verdict()?;
        }
        Ok(())
    }

    /// The tick of networks that hold what is sent; whether there was something to flush.
    pub(crate) fn flush(&self) -> bool {
        self.game.flush() + self.chat.flush() > 0
    }

    pub(crate) fn verdict(&self) -> Result<(), String> {
        self.judge.verdict().map_or(Ok(()), Err)
    }

    /// G5: no send queue is ever over its limits.
    pub(crate) fn sample(&self) {
        let limits = &self.plan.queue;
        for network in [&self.game, &self.chat] {
            network.sessions().for_each(|session| {
                let queue = session.send_queue();
                if queue.bytes > limits.bytes_max || queue.frames > limits.frames_max {
                    self.judge.blame(format!(
                        "G5: a send queue of at most {} bytes and {} frames holds {queue:?}",
                        limits.bytes_max, limits.frames_max
                    ));
                }
            });
        }
    }

    /// Something that happens outside of any worker.
    fn act(&mut self) {
        match self.rng.u32(0..1000) {
            // All who are left at once: more than one look of a listener takes.
            0 => (0..self.plan.peers).for_each(|_| self.connect()),
            1..=19 => self.connect(),
            20..=49 => self.send_from_outside(),
            50..=53 => self.end_from_outside(),
            54..=57 => self.game.pause_accept(),
            58..=67 => self.game.resume_accept(),
            68..=73 if self.plan.few_descriptors => {
                let max = self.rng.usize(4..12);
                self.sim.set_descriptors_max(Some(max));
            }
            74..=83 => self.sim.set_descriptors_max(None),
            84 if self.rng.u32(0..8) == 0 => self.chat.stop(),
            85..=103 => drop(self.judge.guards.lock().pop()),
            104..=109 => self.judge.resize(),
            110..=123 => {
                if let Some(session) = self.a_session()
                    && let Some(record) = self.judge.record(session.id())
                {
                    self.judge.relane(&session, &record);
                }
            }
            _ => self.let_a_peer_act(),
        }
    }

    fn connect(&mut self) {
        if self.connected >= self.plan.peers {
            return;
        }
        self.connected += 1;
        let nth = self.rng.u8(0..self.plan.ips);
        self.connect_from(IpAddr::V4(Ipv4Addr::new(10, 1, 0, nth)));
    }

    /// One more peer, at this address.
    pub(crate) fn connect_from(&mut self, ip: IpAddr) {
        let socket = self.sim.connect_from(ip, GAME.parse().unwrap());
        let peer = Peer::new(socket, self.plan.habits(), self.plan.frames_per_peer);
        self.peers.push(peer);
    }

    fn let_a_peer_act(&mut self) {
        if self.peers.is_empty() {
            return self.connect();
        }
        let nth = self.rng.usize(0..self.peers.len());
        self.peers[nth].act(&self.judge, &mut self.rng);
    }

    fn a_session(&mut self) -> Option<wharf::Session<Game>> {
        let all = self.game.sessions().to_vec();
        (!all.is_empty()).then(|| all[self.rng.usize(0..all.len())].clone())
    }

    /// What a thread that is no worker sends, alone or gathered.
    fn send_from_outside(&mut self) {
        let (many, gathered) = (self.rng.usize(1..4), self.rng.bool());
        let targets: Vec<_> = (0..many).filter_map(|_| self.a_session()).collect();
        let game = self.game.clone();
        let send = || {
            for session in &targets {
                let Some(record) = self.judge.record(session.id()) else {
                    continue;
                };
                match self.judge.below(4) {
                    0 => post_reply(session, &record),
                    _ => game.handler().direct(session, &record, wire::FOREIGN),
                }
            }
        };
        if gathered {
            self.ports[0].batch(send);
        } else {
            send();
        }
    }

    fn end_from_outside(&mut self) {
        let Some(session) = self.a_session() else {
            return;
        };
        let Some(record) = self.judge.record(session.id()) else {
            return;
        };
        if self.rng.bool() {
            record.note(did::CLOSE);
            session.close();
        } else {
            record.note(did::ABORT);
            session.abort();
        }
    }
}

/// Puts a network, of either kind, where it belongs.
macro_rules! at {
    ($builder:expr, $place:expr) => {{
        let (port, pool, lane) = $place;
        let mut placed = $builder.port(&port);
        if let Some(pool) = &pool {
            placed = placed.pool(pool);
        }
        if let Some(lane) = &lane {
            placed = placed.lane(lane);
        }
        placed
    }};
}
use at;

fn server_options<'a>(server: ServerBuilder<'a, Game>, plan: &Plan) -> ServerBuilder<'a, Game> {
    server
        .framing(plan.framing.clone())
        .send_queue(plan.queue.clone())
        .timeouts(plan.timeouts.clone())
        .frames_per_turn_max(plan.frames_per_turn)
        .mailbox_max(plan.mailbox)
}

fn client_options<'a>(client: ClientBuilder<'a, Link>, plan: &Plan) -> ClientBuilder<'a, Link> {
    client
        .framing(plan.framing.clone())
        .timeouts(wharf::Timeouts {
            handshake: None,
            ..plan.timeouts.clone()
        })
        .frames_per_turn_max(plan.frames_per_turn)
        .reconnect(plan.reconnect.clone())
        .connect_timeout(std::time::Duration::from_millis(100))
        .links(plan.links)
}
