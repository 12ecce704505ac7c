//! The start, in named steps: bind, prepare, spawn, go. What fails undoes what came before.

use std::sync::Arc;

use super::{Engine, Port, Shared, Stage, watch};
use crate::error::{Error, ErrorKind, Result};
use crate::network::Declared;
use crate::port::{self, Worker};

/// What is declared.
type Networks = Vec<Arc<dyn Declared>>;

pub(super) fn start(shared: &Arc<Shared>) -> Result<()> {
    let (ports, networks) = begin(shared)?;
    let prepared = bind(&ports, &networks).and_then(|()| {
        for port in &ports {
            port.shared.core.prepare(port.workers(), networks.len());
        }
        spawn(shared, &ports)
    });
    let mut inner = shared.inner.lock();
    let stop_asked = matches!(inner.stage, Stage::Starting(true));
    if let Err(error) = prepared {
        if stop_asked {
            inner.stage = Stage::Stopped(Vec::new());
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
                tracing::error!(%stuck, "a start that failed could not be undone");
            }
            return Err(error);
        }
    }
    Ok(())
}

/// Step 0: is there something to start, and may it be?
fn begin(shared: &Shared) -> Result<(Vec<Port>, Networks)> {
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
    if inner.networks.is_empty() {
        let message = "the host has no network: declare one with .server(..) or .client(..)";
        return Err(Error::new(ErrorKind::Config, message));
    }
    inner.stage = Stage::Starting(false);
    Ok((inner.ports.clone(), inner.networks.clone()))
}

/// Step 1: every listener is bound, or none.
fn bind(ports: &[Port], networks: &[Arc<dyn Declared>]) -> Result<()> {
    for network in networks {
        if let Err(error) = network.bind() {
            networks.iter().for_each(|network| network.unbind());
            ports.iter().for_each(|port| port.shared.core.table.clear());
            return Err(error);
        }
    }
    Ok(())
}

/// Step 2: the workers, and who watches them.
fn spawn(shared: &Arc<Shared>, ports: &[Port]) -> Result<()> {
    for port in ports {
        for index in 0..port.workers() {
            let worker = Worker::new(Arc::clone(&port.shared.core), index, port.shared.spin);
            match &shared.engine {
                Engine::Threads => {
                    if let Err(error) = spawn_worker(shared, port, worker) {
                        abandon(shared, ports);
                        let message = format!("port \"{}\": no thread for a worker", port.name());
                        return Err(Error::new(ErrorKind::System, message).caused_by(error));
                    }
                }
                #[cfg(feature = "sim")]
                Engine::Sim(sim) => sim.adopt(Box::new(worker), &port.shared.core.backend),
            }
        }
    }
    watch::spawn(shared).map_err(|error| {
        abandon(shared, ports);
        let message = "no thread for the supervisor, without which nothing could be stopped";
        Error::new(ErrorKind::System, message).caused_by(error)
    })
}

fn spawn_worker(shared: &Arc<Shared>, port: &Port, worker: Worker) -> std::io::Result<()> {
    let settings = port.shared.settings.clone();
    let name = worker.thread_name();
    let thread = std::thread::Builder::new().name(name).spawn(move || {
        for refused in port::apply_thread_settings(&settings) {
            tracing::warn!(
                thread = std::thread::current().name(),
                refused,
                "a setting was refused"
            );
        }
        port::run_worker(worker);
    })?;
    shared.inner.lock().workers.push(thread);
    Ok(())
}

/// The start failed half way: ends the workers that run, and closes what was bound.
fn abandon(shared: &Arc<Shared>, ports: &[Port]) {
    ports.iter().for_each(|port| port.shared.core.quit());
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
    ports.iter().for_each(|port| port.shared.core.table.clear());
}
