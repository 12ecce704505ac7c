//! Clients that do harm of one kind, on sockets of their own: non-blocking, looked at in turn.

mod harm;
mod socket;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use fastrand::Rng;
use serde::Serialize;

use super::orders::{Order, Orders, tell};
use crate::args::{Harm, SoakHostileArgs};
use crate::exit::Failure;
use crate::pause::pause;
use harm::{Attacker, Did};
use socket::Origin;

/// Between two looks at everybody when nobody could do anything.
const IDLE: Duration = Duration::from_millis(2);
/// A look at everybody takes at most so long before the orders are looked at.
const LOOK: Duration = Duration::from_millis(100);
/// Connects of one look: a server that does not accept must not hold up the others.
const CONNECTS_MAX: usize = 64;

/// What was done: an abuse that did nothing shows nothing.
#[derive(Debug, Default, Serialize)]
pub(super) struct Deeds {
    pub(super) connects: u64,
    /// Connects that failed, for any reason.
    pub(super) refused: u64,
    /// Of these, for want of a port number on this side.
    pub(super) no_ports: u64,
    pub(super) bytes_sent: u64,
    pub(super) bytes_read: u64,
    /// Ends of connections: by this side, and by the server.
    pub(super) left: u64,
    pub(super) thrown_out: u64,
}

/// Does harm until standard input ends.
///
/// # Errors
/// No thread for the orders.
pub(super) fn run(args: &SoakHostileArgs) -> Result<(), Failure> {
    let orders = Orders::read()?;
    let mut crowd = Crowd {
        kind: args.kind,
        to: args.to.clone(),
        origin: Origin::new(args.source, args.kind == Harm::Ports),
        random: Rng::with_seed(args.seed),
        attackers: Vec::new(),
        deeds: Deeds::default(),
    };
    tell("ready", &args.kind.crowd())?;
    loop {
        match orders.look() {
            Order::Line(order) => return Err(Failure::usage(format!("\"{order}\" is no order"))),
            Order::None => {}
            Order::End => break,
        }
        if !crowd.look() {
            pause(IDLE);
        }
    }
    crowd.attackers.clear();
    tell("deeds", &crowd.deeds)
}

impl Harm {
    /// Connections at once.
    fn crowd(self) -> usize {
        match self {
            Self::Flood => 10,
            Self::Ports => 4,
            Self::Handlers => 12,
            Self::OneByte | Self::Garbage | Self::Oversize | Self::Cuts => 32,
            Self::SlowReaders => 48,
            Self::Storm | Self::Silent => 600,
        }
    }
}

struct Crowd {
    kind: Harm,
    to: Vec<SocketAddr>,
    origin: Origin,
    random: Rng,
    attackers: Vec<Attacker>,
    deeds: Deeds,
}

impl Crowd {
    /// Everybody does what they can once; whether anybody could.
    fn look(&mut self) -> bool {
        let begun = Instant::now();
        let mut moved = false;
        for _ in 0..CONNECTS_MAX {
            if self.attackers.len() >= self.kind.crowd() || begun.elapsed() > LOOK {
                break;
            }
            moved |= self.connect();
        }
        let mut at = 0;
        while at < self.attackers.len() {
            let did = self.attackers[at].step(&mut self.random, &mut self.deeds);
            match did {
                Did::Nothing => at += 1,
                Did::Something => {
                    moved = true;
                    at += 1;
                }
                Did::Left => {
                    self.deeds.left += 1;
                    self.attackers.swap_remove(at);
                }
                Did::ThrownOut => {
                    self.deeds.thrown_out += 1;
                    self.attackers.swap_remove(at);
                }
            }
        }
        moved
    }

    fn connect(&mut self) -> bool {
        let to = self.to[self.random.usize(..self.to.len())];
        self.deeds.connects += 1;
        match self.origin.connect(to, self.kind == Harm::SlowReaders) {
            Ok(stream) => {
                let attacker = Attacker::new(self.kind, stream, &mut self.random);
                self.attackers.push(attacker);
                true
            }
            Err(error) => {
                self.deeds.refused += 1;
                self.deeds.no_ports += u64::from(socket::is_no_port(&error));
                false
            }
        }
    }
}
