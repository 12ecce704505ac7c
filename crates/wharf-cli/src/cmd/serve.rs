//! `wharf serve`: servers for load tests.

use std::path::Path;
use std::time::{Duration, Instant};

use wharf::topology::{NetworkPlan, Role};
use wharf::{Bytes, FlushMode, Frame, Handler, Host, Network, Port, Refuse, Session, Topology};

use crate::args::{ServeArgs, Service};
use crate::exit::{Exit, Failure};
use crate::out;
use crate::pause::pause;

/// The handler of all three services.
struct Serve {
    service: Service,
    /// `None` for a handler that takes no time of its own.
    slow: Option<Slow>,
}

/// How a handler takes time.
struct Slow {
    compute: Duration,
    sleep: Duration,
}

/// Where it listens unless told otherwise. Keep in step with the help of `--listen`.
const LISTEN: &str = "127.0.0.1:7000";

/// Frames below this many bytes are the ones that `--sleep-us` makes slow: `wharf load` sends none.
const SLOW_BELOW: usize = 12;

impl Handler for Serve {
    type State = ();

    fn on_open(&self, _: &Session<Self>) -> Result<(), Refuse> {
        Ok(())
    }

    fn on_frame(&self, s: &Session<Self>, _: &mut (), frame: Frame<'_>) -> wharf::Result<()> {
        if let Some(slow) = &self.slow {
            slow.take_time(frame.wire().len());
        }
        match self.service {
            Service::Echo => s.send(frame.payload())?,
            Service::Broadcast => {
                let wire = Bytes::copy_from_slice(frame.wire());
                s.network().sessions().broadcast_wire(&wire);
            }
            Service::Sink => {}
        }
        Ok(())
    }
}

impl Slow {
    fn take_time(&self, wire_len: usize) {
        let until = Instant::now() + self.compute;
        while Instant::now() < until {
            std::hint::spin_loop();
        }
        if self.sleep > Duration::ZERO && wire_len < SLOW_BELOW {
            pause(self.sleep);
        }
    }
}

/// Serves until a signal.
///
/// # Errors
/// What could not be declared, bound or stopped.
pub(super) fn run(args: &ServeArgs) -> Result<Exit, Failure> {
    let mut host = Host::new();
    if let Some(backend) = &args.backend {
        host = host.with_backend(backend);
    }
    let mut port = None;
    let (mut host, network) = match &args.topology {
        Some(file) => from_file(host, args, file)?,
        None => declare(host, args, &mut port).map_err(|error| Failure::of_library(&error))?,
    };
    host.stop_on_signal()
        .map_err(|error| Failure::of_library(&error))?;
    host.start().map_err(|error| Failure::of_library(&error))?;
    if let (Some(millis), Some(port)) = (args.tick_ms, port) {
        let ticking = network.clone();
        let tick = move |_: &_| {
            ticking.flush();
        };
        port.every(Duration::from_millis(millis), tick)
            .map_err(|error| Failure::of_library(&error))?;
    }
    for addr in network.local_addrs() {
        out::line(format_args!("listening on {addr}"))?;
    }
    let stopped = host.run_until_signal();
    if args.stats {
        out::note(format_args!("{:#?}", host.stats()));
    }
    stopped.map_err(|error| Failure::of_library(&error))?;
    Ok(Exit::Done)
}

/// What the handler does, from the arguments.
fn handler(args: &ServeArgs) -> Serve {
    let slow = Slow {
        compute: Duration::from_micros(args.handler_us),
        sleep: Duration::from_micros(args.sleep_us),
    };
    Serve {
        service: args.service,
        slow: (slow.compute.max(slow.sleep) > Duration::ZERO).then_some(slow),
    }
}

fn declare(
    mut host: Host,
    args: &ServeArgs,
    declared: &mut Option<Port>,
) -> wharf::Result<(Host, Network<Serve>)> {
    let port = host.port("serve").spin(Duration::from_micros(args.spin_us));
    let mut port = port.nap(Duration::from_micros(args.nap_us));
    if let Some(workers) = args.workers {
        port = port.workers(workers);
    }
    let port = port.build()?;
    let framing = wharf::Framing::length(2)
        .includes_prefix(true)
        .frame_bytes_max(65_535)
        .build()
        .map_err(|error| wharf::Error::new(wharf::ErrorKind::Config, error.to_string()))?;
    let pool = match args.pool {
        Some(workers) => Some(host.pool("pool").workers(workers).build()?),
        None => None,
    };
    let server = host.server("serve", handler(args));
    let mut server = server.port(&port).framing(framing);
    if let Some(pool) = &pool {
        server = server.pool(pool);
    }
    if args.tick_ms.is_some() {
        server = server.flush(FlushMode::Tick);
    }
    *declared = Some(port);
    let listen = args.listen.as_deref().unwrap_or(LISTEN);
    let network = server.sessions_max(args.sessions_max).listen(listen)?;
    Ok((host, network))
}

/// The one network of the file that is served, on all the ports and pools that the file has.
fn from_file(host: Host, args: &ServeArgs, file: &Path) -> Result<(Host, Network<Serve>), Failure> {
    let lib = |error: wharf::Error| Failure::of_library(&error);
    let mut topology = Topology::from_file(file).map_err(|error| lib(error.into()))?;
    let listens = |plan: &NetworkPlan| matches!(plan.role, Role::Listen(_));
    let servers = topology.networks.iter().filter(|plan| listens(plan));
    let servers: Vec<_> = servers.map(|plan| plan.name.clone()).collect();
    let wrong = |message: String| {
        let there = match servers.as_slice() {
            [] => String::new(),
            names => format!("; those that listen: {}", names.join(", ")),
        };
        let message = format!("{}: {message}{there}", file.display());
        Err(Failure::usage(message))
    };
    let name = match (&args.network, servers.as_slice()) {
        (Some(name), _) if servers.contains(name) => name.clone(),
        (Some(name), _) => return wrong(format!("no network \"{name}\" listens")),
        (None, [only]) => only.clone(),
        (None, []) => return wrong("no network listens, so there is none to serve".to_owned()),
        (None, _) => return wrong("several networks listen; say which with --network".to_owned()),
    };
    topology.networks.retain(|plan| plan.name == name);
    // It has no strands and no jobs.
    topology.work.clear();
    for plan in &mut topology.networks {
        // There is no tick that would flush.
        plan.flush = FlushMode::Turn;
        if let (Role::Listen(server), Some(addr)) = (&mut plan.role, &args.listen) {
            server.addrs = vec![addr.clone()];
        }
    }
    let mut host = host.with_topology(topology).map_err(lib)?;
    let network = host.declare_server(&name, handler(args)).map_err(lib)?;
    Ok((host.finish().map_err(lib)?, network))
}
