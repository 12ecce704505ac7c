//! The start, in named steps: bind, prepare, spawn, go. What fails undoes what came before.

use std::sync::Arc;

use super::crew::Crew;
use super::{Engine, Shared, Stage, watch};
use crate::error::{Error, ErrorKind, Result};
use crate::network::Declared;
use crate::port::system;
use crate::say::say;

/// What is declared.
type Networks = Vec<Arc<dyn Declared>>;

pub(super) fn start(shared: &Arc<Shared>) -> Result<()> {
    let (crews, networks) = begin(shared)?;
    let prepared = bind(&crews, &networks).and_then(|()| {
        for crew in &crews {
            crew.core.prepare(crew.limit(), networks.len());
        }
        if matches!(shared.engine, Engine::Threads) {
            let sessions = networks.iter().map(|network| network.sessions_max());
            system::expect_open_files(sessions.fold(0, usize::saturating_add));
        }
        spawn(shared, &crews)
    });
    let mut inner = shared.inner.lock();
    let stop_asked = matches!(inner.stage, Stage::Starting(true));
    if let Err(error) = prepared {
        if stop_asked {
            inner.stage = Stage::Stopped(Vec::new());
            drop(inner);
            // As of a stop before the start: strands and jobs that waited for it would keep their
            // ports.
            crews.iter().for_each(|crew| crew.core.discard_all());
            shared.changed.notify_all();
        } else if matches!(inner.stage, Stage::Starting(_)) {
            // Only binding has failed: it may be tried again.
            inner.stage = Stage::Declaring;
        }
        return Err(error);
    }
    inner.stage = Stage::Running;
    drop(inner);
    if stop_asked {
        shared.request_stop();
        return Ok(());
    }
    for network in &networks {
        if let Err(error) = network.go() {
            // Workers run and others serve already: the way back is the stop.
            if let Err(stuck) = shared.stop_and_wait() {
                say!(error, %stuck, "a start that failed could not be undone");
            }
            return Err(error);
        }
    }
    shared.begin_handover().inspect_err(|_| {
        if let Err(stuck) = shared.stop_and_wait() {
            say!(error, %stuck, "a start that failed could not be undone");
        }
    })
}

/// Step 0: is there something to start, and may it be?
fn begin(shared: &Shared) -> Result<(Vec<Arc<Crew>>, Networks)> {
    let mut inner = shared.inner.lock();
    match &inner.stage {
        Stage::Declaring => {}
        Stage::Starting(_) | Stage::Running => {
            return Err(Shared::state_error("the host runs already"));
        }
        Stage::Stopping(_) | Stage::Stopped(_) => {
            return Err(Shared::state_error(
                "the host was stopped: declare a new one",
            ));
        }
    }
    if inner.networks.is_empty() && inner.each_crew().next().is_none() {
        let message = "the host has no network: declare one with .server(..) or .client(..), or a \
                       port or pool if it only runs strands and jobs";
        return Err(Error::new(ErrorKind::Config, message));
    }
    if let Some(port) = inner.ports.first() {
        // A pool that runs strands alone has been given no port by a network.
        for pool in &inner.pools {
            pool.shared.core.guard_by(&port.shared.core);
        }
    }
    inner.stage = Stage::Starting(false);
    Ok((inner.crews(), inner.networks.clone()))
}

/// Step 1: every listener is bound, or none.
fn bind(crews: &[Arc<Crew>], networks: &[Arc<dyn Declared>]) -> Result<()> {
    for network in networks {
        if let Err(error) = network.bind() {
            networks.iter().for_each(|network| network.unbind());
            for crew in crews {
                // Strands and their timers wait for the next try.
                crew.core
                    .table
                    .clear_if(|tenant| tenant.network().is_some());
            }
            return Err(error);
        }
    }
    Ok(())
}

/// Step 2: the workers, and who watches them.
fn spawn(shared: &Arc<Shared>, crews: &[Arc<Crew>]) -> Result<()> {
    for crew in crews {
        for _ in 0..crew.workers() {
            let spawned = crew.spawn(&shared.engine, &mut shared.inner.lock());
            if let Err(error) = spawned {
                abandon(shared, crews);
                return Err(error);
            }
        }
    }
    watch::spawn(shared).map_err(|error| {
        abandon(shared, crews);
        let message = "no thread for the supervisor, without which nothing could be stopped";
        Error::new(ErrorKind::System, message).caused_by(error)
    })
}

/// The start failed half way: ends the workers that run, and closes what was bound.
fn abandon(shared: &Arc<Shared>, crews: &[Arc<Crew>]) {
    crews.iter().for_each(|crew| crew.core.quit());
    let (workers, networks) = {
        let mut inner = shared.inner.lock();
        inner.stage = Stage::Stopped(Vec::new());
        (std::mem::take(&mut inner.workers), inner.networks.clone())
    };
    for worker in workers {
        // It ran no user code yet, so it can't have panicked.
        let _ = worker.join();
    }
    networks.iter().for_each(|network| network.unbind());
    crews.iter().for_each(|crew| crew.core.discard_all());
}
