//! One port or pool with lanes: what lanes and resizes are tried on, whoever the workers belong to.

use wharf::stats::{HostSnapshot, LaneSnapshot, PortSnapshot};
use wharf::{Host, Lane, Pool, Port};

use super::Place;

/// Whose workers run the callbacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Port,
    /// A port with one worker hands over to it.
    Pool,
}

/// A port, or a port and a pool.
#[derive(Clone, Debug)]
pub(crate) struct Crew {
    port: Port,
    pool: Option<Pool>,
}

impl Kind {
    /// A crew of so many workers, with these lanes.
    pub(crate) fn crew(self, host: &mut Host, workers: usize, lanes: &[Lane]) -> Crew {
        self.crew_up_to(host, workers, workers, lanes)
    }

    /// The same with a limit for changes.
    pub(crate) fn crew_up_to(
        self,
        host: &mut Host,
        workers: usize,
        limit: usize,
        lanes: &[Lane],
    ) -> Crew {
        let lanes = lanes.iter().cloned();
        match self {
            Self::Port => {
                let port = host.port("crew").workers(workers).workers_limit(limit);
                let port = lanes.fold(port, wharf::PortBuilder::lane).build().unwrap();
                Crew { port, pool: None }
            }
            Self::Pool => {
                let port = host.port("front").workers(1).build().unwrap();
                let pool = host.pool("crew").workers(workers).workers_limit(limit);
                let pool = lanes.fold(pool, wharf::PoolBuilder::lane).build().unwrap();
                let pool = Some(pool);
                Crew { port, pool }
            }
        }
    }
}

impl Crew {
    /// The place of a network in this lane.
    pub(crate) fn lane(&self, lane: &'static str) -> Place {
        Place {
            port: self.port.clone(),
            pool: self.pool.clone(),
            lane: lane.to_owned(),
        }
    }

    pub(crate) fn set_workers(&self, workers: usize) -> wharf::Result<()> {
        match &self.pool {
            Some(pool) => pool.set_workers(workers),
            None => self.port.set_workers(workers),
        }
    }

    pub(crate) fn workers(&self) -> usize {
        match &self.pool {
            Some(pool) => pool.workers(),
            None => self.port.workers(),
        }
    }

    /// Its counters.
    pub(crate) fn stats<'a>(&self, stats: &'a HostSnapshot) -> &'a PortSnapshot {
        let all = stats.ports.iter().chain(&stats.pools);
        let mut own = all.filter(|crew| crew.name == "crew");
        own.next().unwrap()
    }

    /// How its lane stands.
    pub(crate) fn look(&self, host: &Host, lane: &str) -> LaneSnapshot {
        let stats = host.stats();
        let lanes = &self.stats(&stats).lanes;
        let own = lanes.iter().find(|look| look.name == lane);
        own.unwrap().clone()
    }
}

/// Generates a module named like the body, with a test a backend and kind of crew:
/// `cap::epoll::on_a_port`.
macro_rules! crews {
    ($($name:ident),+ $(,)?) => { $(
        $crate::support::crews! { @backends $name, $crate::support::Access::Shared }
    )+ };
    (exclusive $($name:ident),+ $(,)?) => { $(
        $crate::support::crews! { @backends $name, $crate::support::Access::Exclusive }
    )+ };
    (@sockets $backend:ident $name:ident, $access:expr) => {
        mod $backend {
            $crate::support::crews! { @kinds |kind| {
                let body = super::super::$name;
                let backend = stringify!($backend);
                $crate::support::on_sockets(backend, $access, |w| body(w, kind));
            } }
        }
    };
    (@backends $name:ident, $access:expr) => {
        mod $name {
            $crate::support::for_backends! { crews $name, $access }
            #[cfg(feature = "sim")]
            mod sim {
                $crate::support::crews! { @kinds |kind| {
                    let body = super::super::$name;
                    $crate::support::in_sim(20, |w| body(w, kind));
                } }
            }
        }
    };
    (@kinds |$kind:ident| $run:block) => {
        #[test]
        fn on_a_port() {
            let $kind = $crate::support::Kind::Port;
            $run
        }
        #[test]
        fn on_a_pool() {
            let $kind = $crate::support::Kind::Pool;
            $run
        }
    };
}
pub(crate) use crews;
