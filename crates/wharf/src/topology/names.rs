//! Looks up the names by which networks and work say who serves them.

use super::fault::Faults;
use super::nearest::{did_you_mean, listed};
use super::table::{Fields, Placed};
use super::threads::Threads;

/// Who is to serve something, as the file has it.
#[derive(Debug)]
pub(super) struct Wanted {
    /// What is served, for messages: `network "game"`.
    pub(super) what: String,
    /// Where its name stands.
    pub(super) at: usize,
    /// Whether it has sockets, which a pool alone can't serve.
    pub(super) has_sockets: bool,
    pub(super) port: Option<Placed>,
    pub(super) pool: Option<Placed>,
    pub(super) lane: Option<Placed>,
}

impl Wanted {
    /// Takes the keys that say it.
    pub(super) fn read(
        has_sockets: bool,
        fields: &mut Fields<'_, '_>,
        faults: &mut Faults<'_>,
    ) -> Self {
        Self {
            what: fields.what.clone(),
            at: fields.at,
            has_sockets,
            port: fields.text(faults, "port"),
            pool: fields.text(faults, "pool"),
            lane: fields.text(faults, "lane"),
        }
    }
}

/// The ports and pools of the file.
#[derive(Debug)]
pub(super) struct Known<'a> {
    pub(super) ports: &'a [Threads],
    pub(super) pools: &'a [Threads],
    /// Something was no table of ours: a name that is not found may have been meant there.
    pub(super) unread: bool,
}

fn names_of(threads: &[Threads]) -> Vec<&str> {
    let names = threads.iter().map(|threads| threads.name.as_str());
    names.collect()
}

impl<'a> Known<'a> {
    /// The port that is wanted; the only one, if none is named.
    pub(super) fn port(&self, wanted: &Wanted, faults: &mut Faults<'_>) -> Option<&'a Threads> {
        let Some((name, at)) = &wanted.port else {
            return self.only_port(wanted, faults);
        };
        let port = self.ports.iter().find(|port| port.name == *name);
        if port.is_none() && !self.unread {
            let mend = match self.pools.iter().any(|pool| pool.name == *name) {
                true if wanted.has_sockets => format!(
                    "; \"{name}\" is a pool, which has no kernel queue: write pool = \"{name}\" \
                     and a port beside it"
                ),
                true => format!("; \"{name}\" is a pool: write pool = \"{name}\""),
                false => did_you_mean(name, &names_of(self.ports)),
            };
            let message = format!("{}: unknown port \"{name}\"{mend}", wanted.what);
            faults.add(*at, message);
        }
        port
    }

    fn only_port(&self, wanted: &Wanted, faults: &mut Faults<'_>) -> Option<&'a Threads> {
        if let [only] = self.ports {
            return Some(only);
        }
        if self.unread {
            return None;
        }
        let what = &wanted.what;
        let message = match names_of(self.ports).as_slice() {
            [] => format!(
                "{what}: no port serves it, and the file declares none; add [port.main] with \
                 workers = \"cores\""
            ),
            names => format!(
                "{what}: no port serves it; there is {}: name one, as in port = \"{}\"",
                listed(names),
                names[0]
            ),
        };
        faults.add(wanted.at, message);
        None
    }

    /// The pool that is wanted, if one is.
    pub(super) fn pool(&self, wanted: &Wanted, faults: &mut Faults<'_>) -> Option<&'a Threads> {
        let (name, at) = wanted.pool.as_ref()?;
        let pool = self.pools.iter().find(|pool| pool.name == *name);
        if pool.is_none() && !self.unread {
            let mend = match self.ports.iter().any(|port| port.name == *name) {
                true => format!("; \"{name}\" is a port: write port = \"{name}\""),
                false => did_you_mean(name, &names_of(self.pools)),
            };
            let message = format!("{}: unknown pool \"{name}\"{mend}", wanted.what);
            faults.add(*at, message);
        }
        pool
    }
}

/// The lane that is wanted, by its own name, among those of the threads that serve.
pub(super) fn lane(wanted: &Wanted, threads: &Threads, faults: &mut Faults<'_>) -> Option<String> {
    if !threads.lanes_known {
        return None;
    }
    let what = &wanted.what;
    let names = threads.lane_names();
    let Some((name, at)) = &wanted.lane else {
        if let [only] = threads.plan.lanes.as_slice() {
            return Some(only.name.clone());
        }
        let message = format!(
            "{what}: {} has the lanes {}, and none is named; add lane = \"{}\"",
            threads.what(),
            listed(&names),
            names.first().unwrap_or(&"")
        );
        faults.add(wanted.at, message);
        return None;
    };
    let mut lanes = threads.plan.lanes.iter();
    let lane = lanes.find(|lane| lane.answers_to(name));
    if lane.is_none() {
        let mend = did_you_mean(name, &names);
        let message = format!(
            "{what}: unknown lane \"{name}\" of {}{mend}",
            threads.what()
        );
        faults.add(*at, message);
    }
    lane.map(|lane| lane.name.clone())
}
