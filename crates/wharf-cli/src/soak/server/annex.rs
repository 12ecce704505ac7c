//! A second host in the process, which is stopped and made again where it listened.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use wharf::{Host, Network};

use super::accounts::Accounts;
use super::handler::Players;
use crate::pause::pause;

/// How long a stop waits for sessions to part.
const DRAIN: Duration = Duration::from_secs(2);
/// How long to try again where descriptors are short.
const PATIENCE: Duration = Duration::from_secs(60);
const RETRY: Duration = Duration::from_millis(50);

/// The host, and where it listens.
pub(super) struct Annex {
    accounts: Arc<Accounts>,
    backend: Option<String>,
    host: Host,
    network: Network<Players>,
    addr: SocketAddr,
    restarts: u64,
}

impl Annex {
    /// # Errors
    /// What can't be declared or started.
    pub(super) fn start(accounts: &Arc<Accounts>, backend: Option<&str>) -> wharf::Result<Self> {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let (host, network) = make(accounts, backend, any)?;
        let addr = network.local_addr().unwrap_or(any);
        Ok(Self {
            accounts: Arc::clone(accounts),
            backend: backend.map(str::to_owned),
            host,
            network,
            addr,
            restarts: 0,
        })
    }

    pub(super) fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub(super) fn restarts(&self) -> u64 {
        self.restarts
    }

    /// Stops it, every other time the network first, and starts it again.
    ///
    /// # Errors
    /// It does not stop, or can't start again for long.
    pub(super) fn restart(&mut self) -> wharf::Result<()> {
        if self.restarts % 2 == 1 {
            self.network.stop();
        }
        self.host.stop()?;
        let begun = Instant::now();
        loop {
            match make(&self.accounts, self.backend.as_deref(), self.addr) {
                Ok((host, network)) => {
                    (self.host, self.network) = (host, network);
                    self.restarts += 1;
                    return Ok(());
                }
                Err(error) if begun.elapsed() > PATIENCE => return Err(error),
                Err(_) => pause(RETRY),
            }
        }
    }

    /// # Errors
    /// A handler that never returned.
    pub(super) fn stop(&mut self) -> wharf::Result<()> {
        self.host.stop()
    }
}

fn make(
    accounts: &Arc<Accounts>,
    backend: Option<&str>,
    addr: SocketAddr,
) -> wharf::Result<(Host, Network<Players>)> {
    let mut host = Host::new();
    if let Some(backend) = backend {
        host = host.with_backend(backend);
    }
    host.set_drain_deadline(DRAIN);
    let players = Players::new("annex", accounts);
    let network = host.server("annex", players).workers(1).listen(addr)?;
    Players::open_room(&network);
    host.start()?;
    Ok((host, network))
}
