//! Everybody on the stage: the server, the innocents, the links' peer.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use fastrand::Rng;
use serde_json::Value;

use super::judge::Account;
use super::role::Role;
use super::watch::Sample;
use crate::process::wait_for;

/// Between two samples, at least.
const SAMPLE: Duration = Duration::from_millis(500);
/// Samples of a run, at most: a long one's report stays small.
const SAMPLES_MAX: u32 = 900;
/// How long an answer to an order may take: all cores are taken, and a restart may be under way.
pub(super) const ANSWER_LIMIT: Duration = Duration::from_secs(90);
/// Networks that innocents are on.
const NETWORKS: [&str; 4] = ["game", "lobby", "zone", "annex"];

/// How many innocents there are, and how lively.
#[derive(Clone, Copy, Debug)]
pub(super) struct Crowd {
    pub(super) sessions: usize,
    pub(super) rate: u32,
    /// How long all of it lasts.
    pub(super) time: Duration,
}

/// The processes, and what they have said.
pub(super) struct Scene {
    wharf: PathBuf,
    run: String,
    seed: u64,
    pub(super) server: Role,
    pub(super) innocents: Role,
    pub(super) peer: Option<Role>,
    peer_addr: String,
    /// Where hostile clients connect.
    targets: Vec<String>,
    pub(super) account: Account,
    pub(super) samples: Vec<Sample>,
    /// What the server held before anybody connected.
    pub(super) before: Sample,
    pub(super) begun: Instant,
    sampled: Instant,
    sample_every: Duration,
    quiet_since: Option<Instant>,
    hostile_started: u32,
}

impl Scene {
    /// Starts everybody.
    ///
    /// # Errors
    /// Somebody does not start.
    pub(super) fn set(
        wharf: PathBuf,
        run: String,
        seed: u64,
        backend: Option<&str>,
        crowd: Crowd,
    ) -> Result<Self, String> {
        let at = |args: &[&str], nice| {
            let args: Vec<String> = args.iter().map(ToString::to_string).collect();
            Role::start((&wharf, &run), &args, nice)
        };
        let (peer, peer_addr) = at(&["peer"], false)?;
        let peer_addr = peer_addr
            .as_str()
            .ok_or("the peer has no address")?
            .to_owned();
        let seed_text = seed.to_string();
        let mut args = vec!["server", "--peer", &peer_addr, "--seed", &seed_text];
        if let Some(backend) = backend {
            args.extend(["--backend", backend]);
        }
        let (mut server, addrs) = at(&args, false)?;
        wait_for_links(&mut server)?;
        let before = Sample::of(server.pid(), Duration::ZERO, true)?;
        let addr = |name: &&str| {
            let addr = addrs[*name].as_str();
            let addr = addr.ok_or_else(|| format!("network {name} has no address"))?;
            Ok((format!("{name}={addr}"), addr.to_owned()))
        };
        let addrs: Vec<(String, String)> =
            NETWORKS.iter().map(addr).collect::<Result<_, String>>()?;
        let (sessions, rate) = (crowd.sessions.to_string(), crowd.rate.to_string());
        let mut args = vec!["innocents", "--sessions", &sessions, "--rate", &rate];
        args.extend(["--seed", &seed_text]);
        for (to, _) in &addrs {
            args.extend(["--to", to]);
        }
        let (innocents, _) = at(&args, false)?;
        let now = Instant::now();
        Ok(Self {
            seed,
            server,
            innocents,
            peer: Some(peer),
            peer_addr,
            // The annex is the operator's.
            targets: addrs[..3].iter().map(|(_, addr)| addr.clone()).collect(),
            account: Account::default(),
            samples: Vec::new(),
            before,
            begun: now,
            sampled: now,
            sample_every: SAMPLE.max(crowd.time / SAMPLES_MAX),
            quiet_since: Some(now),
            hostile_started: 0,
            wharf,
            run,
        })
    }

    /// A process of hostile clients, with an address of its own.
    ///
    /// # Errors
    /// It does not start.
    pub(super) fn hostile(&mut self, kind: &str, random: &mut Rng) -> Result<Role, String> {
        self.hostile_started += 1;
        let source = format!("127.0.{}.{}", random.u8(1..250), random.u8(1..250));
        let seed = self
            .seed
            .wrapping_add(u64::from(self.hostile_started))
            .to_string();
        let mut args = vec!["hostile", kind, "--source", &source, "--seed", &seed];
        for target in &self.targets {
            args.extend(["--to", target]);
        }
        let args: Vec<String> = args.iter().map(ToString::to_string).collect();
        Ok(Role::start((&self.wharf, &self.run), &args, true)?.0)
    }

    /// Starts the links' peer where it was, if it is not there.
    ///
    /// # Errors
    /// It does not start.
    pub(super) fn start_peer(&mut self) -> Result<(), String> {
        if self.peer.is_none() {
            let args = ["peer", "--listen", &self.peer_addr].map(str::to_owned);
            self.peer = Some(Role::start((&self.wharf, &self.run), &args, false)?.0);
        }
        Ok(())
    }

    /// From now on nothing is done to the server, or something is.
    pub(super) fn quiet(&mut self, quiet: bool) {
        self.quiet_since = quiet.then(Instant::now);
    }

    /// Takes in what was said, and a sample if it is time.
    ///
    /// # Errors
    /// Somebody has ended.
    pub(super) fn look(&mut self, settled: Duration) -> Result<(), String> {
        self.server.look()?;
        self.innocents.look()?;
        while let Some(line) = self.server.take("closed") {
            self.account.closed(line)?;
        }
        while let Some(line) = self.innocents.take("ended") {
            self.account.ended(line)?;
        }
        if self.sampled.elapsed() >= self.sample_every {
            self.sampled = Instant::now();
            let quiet = self
                .quiet_since
                .is_some_and(|since| since.elapsed() >= settled);
            let sample = Sample::of(self.server.pid(), self.begun.elapsed(), quiet)?;
            self.samples.push(sample);
        }
        self.server.must_run()
    }

    /// The innocents' latencies since the last call.
    ///
    /// # Errors
    /// They do not answer.
    pub(super) fn phase(&mut self) -> Result<Value, String> {
        self.innocents.must_run()?;
        self.innocents.order("phase")?;
        ask(&mut self.innocents, "phase")
    }

    /// The server's counters.
    ///
    /// # Errors
    /// It does not answer.
    pub(super) fn mark(&mut self) -> Result<Value, String> {
        self.server.order("mark")?;
        ask(&mut self.server, "mark")
    }
}

fn ask(role: &mut Role, kind: &str) -> Result<Value, String> {
    let what = format!("{}: answer", role.name);
    wait_for(&what, ANSWER_LIMIT, || {
        role.look()?;
        role.must_run()?;
        Ok(role.take(kind))
    })
}

/// The links connect by themselves.
fn wait_for_links(server: &mut Role) -> Result<(), String> {
    wait_for("all links open", ANSWER_LIMIT, || {
        server.order("mark")?;
        let mark = ask(server, "mark")?;
        Ok((mark["links_open"].as_u64() == Some(LINKS)).then_some(()))
    })
}

/// Links that the server keeps.
pub(super) const LINKS: u64 = 4;
