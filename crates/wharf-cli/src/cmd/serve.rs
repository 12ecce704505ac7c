//! `wharf serve`: servers for load tests.

use std::time::{Duration, Instant};

use wharf::{Bytes, Frame, Handler, Host, Network, Refuse, Session};

use crate::args::{ServeArgs, Service};
use crate::exit::{Exit, Failure};
use crate::out;
use crate::pause::pause;

/// The handler of all three services.
struct Serve {
    service: Service,
    compute: Duration,
    sleep: Duration,
}

/// Frames below this many bytes are the ones that `--sleep-us` makes slow: `wharf load` sends none.
const SLOW_BELOW: usize = 12;

impl Handler for Serve {
    type State = ();

    fn on_open(&self, _: &Session<Self>) -> Result<(), Refuse> {
        Ok(())
    }

    fn on_frame(&self, s: &Session<Self>, _: &mut (), frame: Frame<'_>) -> wharf::Result<()> {
        if self.compute > Duration::ZERO {
            let until = Instant::now() + self.compute;
            while Instant::now() < until {
                std::hint::spin_loop();
            }
        }
        if self.sleep > Duration::ZERO && frame.wire().len() < SLOW_BELOW {
            pause(self.sleep);
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

/// Serves until a signal.
///
/// # Errors
/// What could not be declared, bound or stopped.
pub(super) fn run(args: &ServeArgs) -> Result<Exit, Failure> {
    let mut host = Host::new();
    if let Some(backend) = &args.backend {
        host = host.with_backend(backend);
    }
    let network = declare(&mut host, args).map_err(|error| Failure::of_library(&error))?;
    host.stop_on_signal()
        .map_err(|error| Failure::of_library(&error))?;
    host.start().map_err(|error| Failure::of_library(&error))?;
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

fn declare(host: &mut Host, args: &ServeArgs) -> wharf::Result<Network<Serve>> {
    let mut port = host.port("serve").spin(Duration::from_micros(args.spin_us));
    if let Some(workers) = args.workers {
        port = port.workers(workers);
    }
    let port = port.build()?;
    let handler = Serve {
        service: args.service,
        compute: Duration::from_micros(args.handler_us),
        sleep: Duration::from_micros(args.sleep_us),
    };
    let framing = wharf::Framing::length(2)
        .includes_prefix(true)
        .frame_bytes_max(65_535)
        .build()
        .map_err(|error| wharf::Error::new(wharf::ErrorKind::Config, error.to_string()))?;
    let pool = match args.pool {
        Some(workers) => Some(host.pool("pool").workers(workers).build()?),
        None => None,
    };
    let mut server = host.server("serve", handler).port(&port).framing(framing);
    if let Some(pool) = &pool {
        server = server.pool(pool);
    }
    server.sessions_max(args.sessions_max).listen(&args.listen)
}
