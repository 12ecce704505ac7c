//! How a run ends, and what must hold then.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use wharf::FlushMode;
use wharf::stats::NetworkSnapshot;

use crate::judge::did;
use crate::plan::Ending;
use crate::run::Run;

/// How long nothing must move before a run counts as quiet: longer than any linger, pause or
/// timeout of a plan.
const QUIET: Duration = Duration::from_secs(2);
/// Steps that the quiet may take to come; pipes of one byte are slow.
const STEPS_MAX: u32 = 60_000;
/// So many steps in which nothing is done for anybody are a worker that runs in circles.
const IN_CIRCLES: u32 = 10_000;
/// What a stop may take beyond its drain deadline: twice the grace, and a handler's hold.
const STOP_SLACK: Duration = Duration::from_millis(1100);

impl Run {
    /// Ends the run and checks everything that holds at its end.
    pub(crate) fn end(mut self) -> Result<(), String> {
        if self.plan.ending == Ending::Quiet {
            self.become_quiet()?;
        } else {
            self.check_broken()?;
        }
        if self.plan.ending == Ending::Drop {
            // Handlers may stop it first; the drop waits for the end of that.
            self.judge.stop_at.lock().get_or_insert(self.sim.now());
        } else {
            self.stop()?;
            self.check_after_stop();
            self.verdict()?;
        }
        let (judge, sim) = (Arc::clone(&self.judge), self.sim.clone());
        judge.handle.lock().take();
        judge.group.lock().take();
        judge.crews.lock().take();
        drop(std::mem::take(&mut *judge.guards.lock()));
        drop(std::mem::take(&mut *judge.rooms.lock()));
        drop(self);
        judge.check_closed();
        judge.verdict().map_or(Ok(()), Err)?;
        let states = judge.states.load(SeqCst);
        if states != 0 {
            return Err(format!("{states} states were never dropped"));
        }
        if sim.descriptors() != 0 {
            return Err(format!("{} sockets were never closed", sim.descriptors()));
        }
        match Arc::strong_count(&judge) {
            1 => Ok(()),
            more => Err(format!(
                "the host is gone, but {more} handlers or states live on"
            )),
        }
    }

    /// G2: where a queue has failed, sessions end by themselves, and nobody has to stop the host.
    fn check_broken(&mut self) -> Result<(), String> {
        self.sim.fail_no_more();
        for step in 0..STEPS_MAX {
            if step % 64 == 0 {
                let stats = self.host.stats();
                let broken = |name: &str| stats.port(name).is_some_and(|port| port.broken);
                let mut networks = stats.networks.iter();
                if !networks.any(|network| network.sessions_live > 0 && broken(&network.port)) {
                    return Ok(());
                }
            }
            drop(std::mem::take(&mut *self.judge.guards.lock()));
            self.sim.step();
            self.verdict()?;
        }
        Err("G2: a port's queue has failed, and its sessions live on".to_owned())
    }

    /// Everybody finishes what was begun; then nothing may be left undone (R1, R3, R9: a lost
    /// wake-up, edge or flush shows here).
    fn become_quiet(&mut self) -> Result<(), String> {
        self.judge.calm.store(true, SeqCst);
        self.judge.may_stop.store(false, SeqCst);
        self.sim.set_descriptors_max(None);
        self.sim.fail_no_more();
        self.game.resume_accept();
        self.peers.iter_mut().for_each(crate::peer::Peer::calm_down);
        if !self.until_quiet()? {
            return Ok(());
        }
        self.check_quiet();
        // Links come and go all the time; what is lost in a lane stays there.
        for _ in 0..1000 {
            if self.judge.lanes_are_idle(&self.host) {
                break;
            }
            self.sim.step();
        }
        self.judge.check_crews(&self.host, &self.sim);
        self.judge.check_rooms(self.judge.stop_at.lock().is_some());
        self.verdict()?;
        self.check_newcomers()?;
        for peer in self.peers.iter_mut().filter(|_| self.rng.bool()) {
            peer.part(&self.judge);
        }
        Ok(())
    }

    /// Steps until nothing has moved for a while; false if that takes too long.
    fn until_quiet(&mut self) -> Result<bool, String> {
        let mut last = self.sim.now();
        let mut idle_turns = 0;
        for step in 0..STEPS_MAX {
            // A handler that runs late may still have paused its session.
            drop(std::mem::take(&mut *self.judge.guards.lock()));
            let moved = self.pump();
            if moved {
                last = self.sim.now();
            }
            // When the host has stopped, nothing will ever happen and no time passes.
            let over = !self.sim.step() && !moved;
            self.verdict()?;
            if over {
                return Ok(true);
            }
            if self.sim.now().saturating_sub(last) > QUIET {
                if !self.last_tick() {
                    return Ok(true);
                }
                last = self.sim.now();
            }
            if step % IN_CIRCLES == 0 {
                let done = self.done();
                if step > 0 && done == idle_turns {
                    return Err(format!(
                        "{IN_CIRCLES} steps, and nothing was done: {:#?}",
                        self.host.stats().networks
                    ));
                }
                idle_turns = done;
            }
        }
        Ok(false)
    }

    /// Chance may have kept the tick away for all of a quiet: it comes for what was sent before.
    fn last_tick(&self) -> bool {
        self.extras.flush == FlushMode::Tick && self.flush()
    }

    /// Grows with everything that is done for somebody.
    fn done(&self) -> u64 {
        let stats = self.host.stats();
        let done = |n: &NetworkSnapshot| {
            n.recvs + n.discarded_bytes + n.sends + n.accepted + n.connects + n.ended
        };
        stats.networks.iter().map(done).sum()
    }

    /// Whoever comes now is served, unless a limit is reached: places and counts were given back.
    fn check_newcomers(&mut self) -> Result<(), String> {
        if self.judge.stop_at.lock().is_some() {
            return Ok(());
        }
        for nth in 0..=self.plan.ips {
            let ip = IpAddr::V4(Ipv4Addr::new(10, 1, 0, nth));
            let (here, everywhere) = {
                let records = self.judge.records.lock();
                let open = |record: &&Arc<crate::judge::Record>| {
                    record.net == 0 && !record.is_closed() && !record.refused.load(SeqCst)
                };
                let here = records
                    .iter()
                    .filter(open)
                    .filter(|r| r.peer.ip() == ip)
                    .count();
                (here, records.iter().filter(open).count())
            };
            let fits = everywhere < self.plan.sessions_max
                && self.plan.per_ip.is_none_or(|max| here < max);
            let before = self
                .judge
                .records
                .lock()
                .iter()
                .filter(|r| r.net == 0)
                .count();
            self.connect_from(ip);
            self.peers
                .last_mut()
                .into_iter()
                .for_each(crate::peer::Peer::calm_down);
            if !self.until_quiet()? {
                return Ok(());
            }
            let after = self
                .judge
                .records
                .lock()
                .iter()
                .filter(|r| r.net == 0)
                .count();
            if fits != (after > before) {
                return Err(format!(
                    "a newcomer from {ip}, where {here} of {everywhere} sessions are: served {}",
                    after > before
                ));
            }
        }
        Ok(())
    }

    /// All peers write and read as much as they can; whether anything moved.
    fn pump(&mut self) -> bool {
        let mut moved = self.extras.flushes() && self.flush();
        for peer in &mut self.peers {
            moved |= peer.write(usize::MAX) | peer.read(&self.judge, usize::MAX);
        }
        moved
    }

    fn check_quiet(&self) {
        let stopped = self.judge.stop_at.lock().is_some();
        for peer in &self.peers {
            let Some(addr) = peer.addr else { continue };
            let record = self.judge.record_of(0, addr);
            if peer.end.is_some() || !peer.is_connected() {
                peer.check_complete(&self.judge);
                continue;
            }
            let Some(record) = record else {
                self.judge.blame(format!(
                    "peer {addr}: connected, and never served or refused"
                ));
                continue;
            };
            if record.is_closed() || record.refused.load(SeqCst) || stopped {
                let reason = record.reason.lock().clone();
                self.judge.blame(format!(
                    "peer {addr}: its session {} is over ({reason:?}), its connection is not",
                    record.serial
                ));
                continue;
            }
            let handled = record.frames.load(SeqCst);
            if !peer.has_said_all() || (peer.did == 0 && handled != peer.asked) {
                self.judge.blame(format!(
                    "peer {addr}: session {} has handled {handled} of {} frames (all sent: {})",
                    record.serial,
                    peer.asked,
                    peer.has_said_all()
                ));
            }
            if peer.did & (did::FIN | did::GARBAGE) != 0 {
                self.judge.blame(format!(
                    "peer {addr}: session {} lives on after {:#b}",
                    record.serial, peer.did
                ));
            }
            let (posted, ran) = (record.posted.load(SeqCst), record.ran.load(SeqCst));
            if posted != ran {
                self.judge.blame(format!(
                    "session {}: {ran} of {posted} jobs ran",
                    record.serial
                ));
            }
            peer.check_caught_up(&self.judge, "everything is quiet");
        }
    }

    /// G8: the stop ends in time, whoever reads or does not.
    fn stop(&mut self) -> Result<(), String> {
        self.judge.stop_host();
        if self.rng.bool() {
            self.judge.stop_host();
        }
        if self.plan.ending != Ending::StopUnheard {
            for _ in 0..self.rng.u32(0..20_000) {
                self.pump();
                self.sim.step();
                self.verdict()?;
                if self.sim.descriptors() == 0 {
                    break;
                }
            }
        }
        let stopped = self.host.stop();
        if let Err(error) = stopped {
            return Err(format!("G8: the stop failed: {error}"));
        }
        if self.host.stop().is_err() {
            return Err("G8: a second stop failed".to_owned());
        }
        let asked = self.judge.stop_at.lock().unwrap_or_default();
        let took = self.sim.now().saturating_sub(asked);
        let may_take = self.plan.drain + STOP_SLACK;
        // A stop by a handler in mid-run has ended long ago.
        if took > may_take && !self.plan.handlers_stop {
            return Err(format!(
                "G8: the stop took {took:?}, not {may_take:?} at most"
            ));
        }
        Ok(())
    }

    fn check_after_stop(&mut self) {
        let left = self.sim.descriptors();
        if left != 0 {
            self.judge
                .blame(format!("G8: {left} sockets are open after the stop"));
        }
        self.peers.iter_mut().for_each(crate::peer::Peer::calm_down);
        for _ in 0..2000 {
            self.pump();
            self.sim.step();
        }
        self.peers
            .iter()
            .for_each(|peer| peer.check_complete(&self.judge));
        self.judge.check_lanes(&self.host);
        self.judge.check_rooms(true);
        let stats = self.host.stats();
        for network in &stats.networks {
            if let Some(wrong) = wrong_counters(network) {
                self.judge
                    .blame(format!("network {}: {wrong}: {network:#?}", network.name));
            }
        }
    }
}

/// The identities of a network's counters once it has stopped.
fn wrong_counters(n: &NetworkSnapshot) -> Option<String> {
    let closes: u64 = n.closes.iter().sum();
    if n.opened != n.ended || n.opened != closes {
        return Some(format!(
            "opened {} != ended {} != closes {closes}",
            n.opened, n.ended
        ));
    }
    if n.sessions != 0 || n.sessions_live != 0 || n.queued_bytes != 0 {
        return Some("something is still counted as live".to_owned());
    }
    if n.refused_by_handler + n.open_panicked > n.closed_unopened {
        return Some("a refused or panicked on_open is no closed_unopened".to_owned());
    }
    let ended = n.opened + n.closed_unopened;
    if n.is_server {
        let refused = n.refused_sessions_max
            + n.refused_per_ip
            + n.refused_connect_rate
            + n.refused_memory
            + n.refused_stopping
            + n.refused_system;
        return (n.accepted != ended + refused).then(|| {
            format!(
                "accepted {} != {ended} sessions + {refused} refused",
                n.accepted
            )
        });
    }
    // A connect that failed at once never had a session; one that failed later had.
    let at_once = n.connects.checked_sub(ended);
    at_once
        .is_none_or(|at_once| at_once > n.connects_failed)
        .then(|| {
            format!(
                "connects {} do not split into {ended} sessions and failures",
                n.connects
            )
        })
}
