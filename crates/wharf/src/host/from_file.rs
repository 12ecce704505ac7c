//! Hosts from topologies: the file says who is served where, the program brings the handlers.

use std::path::Path;

use super::crew::CrewOptions;
use super::{Host, Pool, Port, Work};
use crate::error::{Error, ErrorKind, Result};
use crate::handler::Handler;
use crate::network::{ClientBuilder, Network, ServerBuilder};
use crate::port::{self, SocketOptions};
use crate::sched::Lane;
use crate::topology::{
    LanePlan, NetworkPlan, PortPlan, Role, ServedBy, ThreadsPlan, Topology, TopologyError, Workers,
    did_you_mean,
};

impl Topology {
    /// Reads a topology file.
    ///
    /// # Errors
    /// The file can't be read; else as [`Self::parse`].
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, TopologyError> {
        let path = path.as_ref();
        let name = path.display().to_string();
        match std::fs::read(path) {
            Ok(bytes) => Self::parse(bytes, &name),
            Err(error) => {
                let message = format!("the topology file can't be read: {error}");
                Err(TopologyError::of_file(&name, message))
            }
        }
    }
}

impl Host {
    /// A host as a topology file describes it, waiting for the handlers.
    ///
    /// ```no_run
    /// # use wharf::{Frame, Handler, Host, Refuse, Session};
    /// # macro_rules! handler { ($($name:ident)*) => { $(struct $name; impl Handler for $name {
    /// #     type State = ();
    /// #     fn on_open(&self, _: &Session<Self>) -> Result<(), Refuse> { Ok(()) }
    /// #     fn on_frame(&self, _: &Session<Self>, _: &mut (), _: Frame<'_>) -> wharf::Result<()> {
    /// #         Ok(())
    /// #     }
    /// # })* } }
    /// # handler!(Game ChatLink MasterLink);
    /// # fn main() -> wharf::Result<()> {
    /// Host::from_file("topologies/lanes.toml")?
    ///     .server("game", Game)
    ///     .client("chat", ChatLink)
    ///     .client("master", MasterLink)
    ///     .run_until_signal()
    /// # }
    /// ```
    ///
    /// # Errors
    /// All that is wrong in the file, with line and column; a backend that does not work here.
    pub fn from_file(path: impl AsRef<Path>) -> Result<TopologyHost> {
        let topology = Topology::from_file(path.as_ref())?;
        let mut host = Self::new().with_topology(topology)?;
        host.source = path.as_ref().display().to_string();
        Ok(host)
    }

    /// This host with the ports and pools of a topology, waiting for the handlers of its networks.
    ///
    /// # Errors
    /// What can't work in a topology that was made by hand; a backend that does not work here; a
    /// host that has started.
    pub fn with_topology(mut self, topology: Topology) -> Result<TopologyHost> {
        self.set_memory(topology.host.memory);
        let mut ports = Vec::new();
        for plan in &topology.ports {
            let mut builder = self.port(&plan.name).spin(plan.spin).nap(plan.nap);
            workers(&plan.threads, &mut builder.draft.options);
            builder.concurrency = concurrency(plan);
            ports.push(builder.build()?);
        }
        let mut pools = Vec::new();
        for plan in &topology.pools {
            let mut builder = self.pool(&plan.name);
            workers(&plan.threads, &mut builder.draft.options);
            pools.push(builder.build()?);
        }
        Ok(TopologyHost {
            host: self,
            source: "the topology".to_owned(),
            topology,
            ports,
            pools,
            declared: Vec::new(),
            asked: Vec::new(),
            refused: None,
        })
    }
}

/// A port's concurrency on this machine.
fn concurrency(plan: &PortPlan) -> Option<u32> {
    let most = plan.concurrency?;
    let most = match plan.threads.workers {
        Workers::Count(_) => most,
        // One for a larger machine holds nobody back on this one.
        _ => {
            let workers = plan.threads.workers_on(port::cores());
            most.min(plan.threads.workers_limit.unwrap_or(workers))
        }
    };
    Some(u32::try_from(most).unwrap_or(u32::MAX))
}

/// The options of a port or pool on this machine.
fn workers(plan: &ThreadsPlan, options: &mut CrewOptions) {
    let workers = plan.workers_on(port::cores());
    let limit = plan.workers_limit.unwrap_or(workers);
    options.workers = Some(workers);
    options.limit = Some(limit);
    options.lanes = plan.lanes.iter().map(lane).collect();
    if !matches!(plan.workers, Workers::Count(_)) {
        // A cap for a larger machine is no cap on this one.
        for lane in &mut options.lanes {
            lane.workers_max = lane.workers_max.map(|most| most.min(limit));
        }
    }
    options.settings.nice = plan.nice;
    options.settings.cores.clone_from(&plan.cores);
}

fn lane(plan: &LanePlan) -> Lane {
    Lane {
        name: plan.name.clone(),
        also: plan.also.clone(),
        workers_max: plan.workers_max,
        workers_min: plan.workers_min,
        starve_after: plan.starve_after,
        frames_per_turn_max: plan.frames_per_turn_max,
        turn_time_max: plan.turn_time_max,
        nice: plan.nice,
    }
}

/// A host whose networks a topology describes. Give it a handler for each, then
/// [`Self::run_until_signal`] or [`Self::finish`].
///
/// [`Self::server`] and [`Self::client`] chain, and the end of the chain tells the first mistake.
/// A handler that holds another network needs that one first: [`Self::declare_client`] and
/// [`Self::declare_server`] return it.
#[must_use = "it serves once every network has its handler and .run_until_signal() is called"]
#[derive(Debug)]
pub struct TopologyHost {
    host: Host,
    topology: Topology,
    /// What errors call the topology.
    source: String,
    ports: Vec<Port>,
    pools: Vec<Pool>,
    /// The networks that have a handler.
    declared: Vec<String>,
    /// The work that the program has asked for.
    asked: Vec<String>,
    /// The first mistake in a chain.
    refused: Option<Error>,
}

impl TopologyHost {
    /// The topology.
    #[must_use]
    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// A port of it, by name.
    #[must_use]
    pub fn port(&self, name: &str) -> Option<&Port> {
        self.ports.iter().find(|port| port.name() == name)
    }

    /// A pool of it, by name.
    #[must_use]
    pub fn pool(&self, name: &str) -> Option<&Pool> {
        self.pools.iter().find(|pool| pool.name() == name)
    }

    /// Where the file has the work of this name run, `[work.NAME]`: strands and jobs that are made
    /// there run on the threads, and in the lane, that the file says.
    ///
    /// # Errors
    /// No work of this name.
    pub fn work(&mut self, name: &str) -> Result<Work> {
        let Some(plan) = self.topology.work.iter().find(|work| work.name == name) else {
            let names = self.topology.work.iter();
            let names: Vec<_> = names.map(|work| work.name.as_str()).collect();
            let mend = match names.as_slice() {
                [] => format!("; add [work.{name}] with the port or pool that is to run it"),
                names => did_you_mean(name, names),
            };
            return Err(self.config(&format!("there is no work \"{name}\"{mend}")));
        };
        let place = match &plan.on {
            ServedBy::Port(port) => self.port(port).map(|port| port.work(&plan.lane)),
            ServedBy::Pool(pool) => self.pool(pool).map(|pool| pool.work(&plan.lane)),
        };
        let unknown = || self.config(&format!("work \"{name}\": unknown {}", plan.on));
        let work = place.ok_or_else(unknown)??;
        self.asked.push(name.to_owned());
        Ok(work)
    }

    /// Gives a network that listens its handler. A mistake is told at the end of the chain.
    pub fn server<H: Handler>(mut self, name: &str, handler: H) -> Self {
        if self.refused.is_none() {
            self.refused = self.declare_server(name, handler).err();
        }
        self
    }

    /// Gives a network that connects its handler. A mistake is told at the end of the chain.
    pub fn client<H: Handler>(mut self, name: &str, handler: H) -> Self {
        if self.refused.is_none() {
            self.refused = self.declare_client(name, handler).err();
        }
        self
    }

    /// Gives a network that listens its handler.
    ///
    /// # Errors
    /// No network of this name, or one that connects; a handler it has already; an address that
    /// can't be resolved.
    pub fn declare_server<H: Handler>(&mut self, name: &str, handler: H) -> Result<Network<H>> {
        let plan = self.plan(name)?;
        let Role::Listen(server) = &plan.role else {
            return Err(self.config(&format!(
                "network \"{name}\" connects: give it its handler with .client(\"{name}\", ..)"
            )));
        };
        let (port, pool) = self.place(&plan)?;
        let builder = self
            .host
            .server(name, handler)
            .sessions_max(server.sessions_max)
            .proxy_protocol(server.proxy_protocol)
            .per_address(server.sessions_per_ip_max, server.connects_per_ip);
        let network = builder
            .planned(&plan, &port, pool.as_ref())?
            .listen_planned(&server.addrs)?;
        self.declared.push(plan.name);
        Ok(network)
    }

    /// Gives a network that connects its handler.
    ///
    /// # Errors
    /// As [`Self::declare_server`], the other way round.
    pub fn declare_client<H: Handler>(&mut self, name: &str, handler: H) -> Result<Network<H>> {
        let plan = self.plan(name)?;
        let Role::Connect(client) = &plan.role else {
            return Err(self.config(&format!(
                "network \"{name}\" listens: give it its handler with .server(\"{name}\", ..)"
            )));
        };
        let (port, pool) = self.place(&plan)?;
        let network = self
            .host
            .client(name, handler)
            .links(client.links)
            .connect_timeout(client.connect_timeout)
            .late_names(client.late_names)
            .reconnect(client.reconnect.clone())
            .planned(&plan, &port, pool.as_ref())?
            .connect(client.addrs.clone())?;
        self.declared.push(plan.name);
        Ok(network)
    }

    /// Ends the declaration: the host, ready to start.
    ///
    /// # Errors
    /// The first mistake of the chain; networks that have no handler; work that nobody asked for.
    pub fn finish(mut self) -> Result<Host> {
        if let Some(error) = self.refused.take() {
            return Err(error);
        }
        let left: Vec<_> = self
            .topology
            .networks
            .iter()
            .filter(|plan| !self.declared.contains(&plan.name))
            .map(|plan| {
                let method = match plan.role {
                    Role::Listen(_) => "server",
                    Role::Connect(_) => "client",
                };
                format!(".{method}(\"{}\", ..)", plan.name)
            })
            .collect();
        if left.is_empty() {
            return self.finish_work();
        }
        let (networks, have) = if left.len() == 1 {
            ("a network", "has")
        } else {
            ("networks", "have")
        };
        Err(self.config(&format!(
            "{networks} of it {have} no handler; add {}, or take it out of the file",
            left.join(" and ")
        )))
    }

    /// Work that nobody has asked for is a slip, as a network without a handler is.
    fn finish_work(self) -> Result<Host> {
        let mut work = self.topology.work.iter().map(|work| &work.name);
        let Some(left) = work.find(|name| !self.asked.contains(name)) else {
            return Ok(self.host);
        };
        Err(self.config(&format!(
            "work \"{left}\" is in it, and the program does not ask for it; call \
             .work(\"{left}\"), or take it out of the file"
        )))
    }

    /// The host with the ports and pools of the topology and none of its networks: for a program
    /// that declares its networks itself, on [`Self::port`] and [`Self::pool`].
    #[must_use]
    pub fn ports_only(self) -> Host {
        self.host
    }

    /// Starts, waits for Ctrl-C or SIGTERM, and stops: [`Host::run_until_signal`].
    ///
    /// # Errors
    /// As [`Self::finish`] and [`Host::run_until_signal`].
    pub fn run_until_signal(self) -> Result<()> {
        self.finish()?.run_until_signal()
    }

    fn config(&self, message: &str) -> Error {
        Error::new(ErrorKind::Config, format!("{}: {message}", self.source))
    }

    /// The network of this name, if it still needs a handler.
    fn plan(&self, name: &str) -> Result<NetworkPlan> {
        if self.declared.iter().any(|declared| declared == name) {
            return Err(self.config(&format!("network \"{name}\" is given two handlers")));
        }
        let Some(plan) = self.topology.network(name) else {
            let networks = self.topology.networks.iter();
            let names: Vec<_> = networks.map(|plan| plan.name.as_str()).collect();
            return Err(self.config(&format!(
                "there is a handler for network \"{name}\", and no such network{}",
                did_you_mean(name, &names)
            )));
        };
        Ok(plan.clone())
    }

    /// Where a network is served.
    fn place(&self, plan: &NetworkPlan) -> Result<(Port, Option<Pool>)> {
        let unknown = |what: &str, name: &str| {
            let network = &plan.name;
            self.config(&format!("network \"{network}\": unknown {what} \"{name}\""))
        };
        let port = self.port(&plan.port);
        let port = port.ok_or_else(|| unknown("port", &plan.port))?.clone();
        let Some(name) = &plan.pool else {
            return Ok((port, None));
        };
        let pool = self.pool(name).ok_or_else(|| unknown("pool", name))?;
        Ok((port, Some(pool.clone())))
    }
}

/// What both builders take from a plan.
trait Planned: Sized {
    fn planned(self, plan: &NetworkPlan, port: &Port, pool: Option<&Pool>) -> Result<Self>;
}

macro_rules! planned {
    ($builder:ident) => {
        impl<H: Handler> Planned for $builder<'_, H> {
            fn planned(self, plan: &NetworkPlan, port: &Port, pool: Option<&Pool>) -> Result<Self> {
                let framing = plan.framing.build().map_err(|error| {
                    let network = format!("network \"{}\"", plan.name);
                    Error::new(ErrorKind::Config, network).caused_by(error)
                })?;
                let socket = SocketOptions {
                    nodelay: plan.nodelay,
                    keepalive: plan.keepalive,
                    ..SocketOptions::default()
                };
                let mut builder = self
                    .port(port)
                    .lane(&plan.lane)
                    .framing(framing)
                    .timeouts(plan.timeouts.clone())
                    .send_queue(plan.send_queue.clone())
                    .flush(plan.flush)
                    .input_rate(plan.input_rate.clone())
                    .memory(plan.memory)
                    .socket(socket)
                    .mailbox_max(plan.mailbox_max);
                if let Some(pool) = pool {
                    builder = builder.pool(pool);
                }
                if let Some(frames) = plan.frames_per_turn_max {
                    builder = builder.frames_per_turn_max(frames);
                }
                if let Some(time) = plan.turn_time_max {
                    builder = builder.turn_time_max(time);
                }
                Ok(builder)
            }
        }
    };
}
planned!(ServerBuilder);
planned!(ClientBuilder);
