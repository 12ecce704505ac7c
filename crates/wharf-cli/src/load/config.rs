//! The settings of one run, checked, and how its connections are shared out.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::time::Duration;

use crate::args::{LoadArgs, Mode};
use crate::exit::Failure;

/// Unanswered frames of a connection in an open loop, if not told: ten seconds' worth at 100 a
/// second.
const OPEN_LOOP_DEPTH: u32 = 1024;
/// Bytes that one write may gather.
pub(crate) const WRITE_BYTES: usize = 64 * 1024;
/// Most frames that all connections may have in flight, and most (receiver, sender) pairs of
/// broadcast mode: each needs memory for the check.
const TRACKED_MAX: u64 = 16 * 1024 * 1024;
/// Open files beside the connections: standard streams, poller and waker of each thread, a margin.
const FILES_SPARE: u64 = 192;

/// A checked set of arguments.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    /// The address as the user wrote it.
    pub(crate) connect: String,
    /// What it resolved to.
    pub(crate) target: SocketAddr,
    /// What is sent and expected.
    pub(crate) mode: Mode,
    /// Connections over all threads.
    pub(crate) connections: u32,
    /// Frames in flight per connection; with a rate the cap; in sink mode frames in one write.
    pub(crate) depth: u32,
    /// Bytes of a frame.
    pub(crate) size: u16,
    /// Warm-up plus this is how long frames are sent.
    pub(crate) seconds: Duration,
    /// Echo: frames of each connection, after which the run ends before its time.
    pub(crate) frames: Option<u64>,
    /// Not measured.
    pub(crate) warmup: Duration,
    /// Frames a second over all senders; `None` is a closed loop.
    pub(crate) rate: Option<u64>,
    /// Threads.
    pub(crate) threads: u32,
    /// Connections that send: all but in broadcast mode.
    pub(crate) senders: u32,
    /// Local addresses, used in turn.
    pub(crate) source_addrs: Vec<IpAddr>,
    /// Bound of the connect phase.
    pub(crate) connect_timeout: Duration,
}

impl Config {
    /// Checks what clap cannot: how the arguments go together, and that the address exists.
    ///
    /// # Errors
    /// [`Failure::usage`] for arguments that contradict each other, [`Failure::unreachable`] for an
    /// address that does not resolve.
    pub(crate) fn new(args: &LoadArgs) -> Result<Self, Failure> {
        check_mode(args)?;
        let target = resolve(&args.connect)?;
        let wrong_family = args
            .source_addrs
            .iter()
            .find(|source| source.is_ipv4() != target.is_ipv4());
        if let Some(source) = wrong_family {
            return Err(Failure::usage(format!(
                "--source-addrs: {source} cannot connect to {target}: one is IPv4, the other IPv6"
            )));
        }
        let depth = args.depth.unwrap_or_else(|| default_depth(args));
        let senders = match args.mode {
            Mode::Broadcast => args.senders.unwrap_or(1),
            _ => args.connections,
        };
        check_memory(args, depth, senders)?;
        Ok(Self {
            connect: args.connect.clone(),
            target,
            mode: args.mode,
            connections: args.connections,
            depth,
            size: args.size,
            seconds: args.seconds,
            frames: args.frames,
            warmup: args.warmup_seconds,
            rate: args.rate,
            threads: args.threads.min(args.connections),
            senders,
            source_addrs: args.source_addrs.clone(),
            connect_timeout: args.connect_timeout_seconds,
        })
    }

    /// Numbers of the connections of one thread. Dealt out in turn, so that the senders of
    /// broadcast mode (the lowest numbers) are spread.
    pub(crate) fn numbers(&self, thread: u32) -> impl Iterator<Item = u32> + use<> {
        (thread..self.connections).step_by(self.threads as usize)
    }

    /// Makes sure that the process may open enough files, raising its own limit if it may.
    ///
    /// # Errors
    /// [`Failure::machine`] with the number to raise the limit to.
    pub(crate) fn reserve_files(&self) -> Result<(), Failure> {
        let wanted = self.files();
        match wharf::system::raise_open_files_max(wanted) {
            Some(limit) if limit < wanted => Err(Failure::machine(format!(
                "{} connections need {wanted} open files, the limit of this process is {limit}; \
                 raise it (`ulimit -n {wanted}`, or LimitNOFILE= of the service) or lower \
                 --connections",
                self.connections
            ))),
            // Unknown limits are no reason to refuse: a connect will tell.
            _ => Ok(()),
        }
    }

    /// Open files that the run needs.
    pub(crate) fn files(&self) -> u64 {
        u64::from(self.connections) + FILES_SPARE
    }

    /// The server command this mode is meant for, as a hint in errors.
    pub(crate) fn server_hint(&self) -> String {
        let kind = match self.mode {
            Mode::Echo | Mode::Churn | Mode::Idle => "echo",
            Mode::Broadcast => "broadcast",
            Mode::Sink => "sink",
        };
        format!("is 'wharf serve {kind} --listen {}' running?", self.connect)
    }
}

fn default_depth(args: &LoadArgs) -> u32 {
    match (args.rate, args.mode) {
        (Some(_), _) => OPEN_LOOP_DEPTH,
        (None, Mode::Sink) => u32::try_from(WRITE_BYTES / usize::from(args.size).max(1))
            .unwrap_or(1)
            .max(1),
        (None, _) => 1,
    }
}

fn check_mode(args: &LoadArgs) -> Result<(), Failure> {
    let one_frame = matches!(args.mode, Mode::Churn | Mode::Idle);
    let mode = format!("{:?}", args.mode).to_lowercase();
    if args.mode != Mode::Echo && args.frames.is_some() {
        return Err(Failure::usage(format!(
            "--frames is for --mode echo, not for {mode}"
        )));
    }
    if one_frame && args.rate.is_some() {
        return Err(Failure::usage(format!(
            "--rate does not go with --mode {mode}"
        )));
    }
    if one_frame && args.depth.is_some_and(|depth| depth != 1) {
        return Err(Failure::usage(format!(
            "--depth does not go with --mode {mode}, which has one frame a connection"
        )));
    }
    if args.mode == Mode::Idle && !args.warmup_seconds.is_zero() {
        return Err(Failure::usage(
            "--warmup-seconds does not go with --mode idle",
        ));
    }
    match args.senders {
        Some(_) if args.mode != Mode::Broadcast => Err(Failure::usage(format!(
            "--senders is for --mode broadcast, not for {mode}"
        ))),
        Some(senders) if senders > args.connections => Err(Failure::usage(format!(
            "--senders {senders} is more than --connections {}",
            args.connections
        ))),
        _ => Ok(()),
    }
}

fn check_memory(args: &LoadArgs, depth: u32, senders: u32) -> Result<(), Failure> {
    let in_flight = u64::from(depth) * u64::from(senders);
    if args.mode != Mode::Sink && in_flight > TRACKED_MAX {
        return Err(Failure::usage(format!(
            "{senders} senders with --depth {depth} would track {in_flight} frames in flight; \
             the limit is {TRACKED_MAX}: lower --depth or --connections"
        )));
    }
    let pairs = u64::from(args.connections) * u64::from(senders);
    if args.mode == Mode::Broadcast && pairs > TRACKED_MAX {
        return Err(Failure::usage(format!(
            "--connections times --senders is {pairs}; the limit is {TRACKED_MAX}"
        )));
    }
    Ok(())
}

fn resolve(connect: &str) -> Result<SocketAddr, Failure> {
    let found = connect.to_socket_addrs().map(|mut all| all.next());
    match found {
        Ok(Some(target)) if target.port() != 0 => Ok(target),
        Ok(Some(_)) => Err(Failure::usage(format!(
            "--connect {connect}: port 0 is no port"
        ))),
        Err(error) if error.kind() == std::io::ErrorKind::InvalidInput => Err(Failure::usage(
            format!("--connect {connect}: {error}; write HOST:PORT, such as 127.0.0.1:7000"),
        )),
        Ok(None) => Err(Failure::unreachable(format!("{connect} has no address"))),
        Err(error) => Err(Failure::unreachable(format!(
            "could not resolve {connect}: {error}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Cli, Command};

    fn config(line: &str) -> Result<Config, Failure> {
        let words = ["wharf", "load"].into_iter().chain(line.split_whitespace());
        let Some(Command::Load(args)) = Cli::try_parse_from(words).unwrap().command else {
            panic!("these are words of `load`");
        };
        Config::new(&args)
    }

    #[test]
    fn defaults_follow_the_mode() {
        assert_eq!(config("").unwrap().depth, 1);
        assert_eq!(config("--rate 5").unwrap().depth, OPEN_LOOP_DEPTH);
        assert_eq!(config("--mode sink -s 1024").unwrap().depth, 64);
        assert_eq!(config("--mode broadcast").unwrap().senders, 1);
        assert_eq!(config("-c 3 --threads 8").unwrap().threads, 3);
    }

    #[test]
    fn each_connection_is_on_one_thread() {
        let config = config("-c 10 --threads 3").unwrap();
        let mut all: Vec<u32> = (0..3).flat_map(|thread| config.numbers(thread)).collect();
        all.sort_unstable();
        assert_eq!(all, (0..10).collect::<Vec<_>>());
    }

    #[test]
    fn contradictions_are_named() {
        for (line, named) in [
            ("--mode churn --rate 10", "--rate"),
            ("--mode idle --depth 4", "--depth"),
            ("--mode idle --warmup-seconds 1", "--warmup-seconds"),
            ("--senders 2", "--senders"),
            ("--mode sink --frames 9", "--frames"),
            ("--mode broadcast --senders 65", "--senders 65"),
            ("--connections 1000 --depth 65536", "--depth"),
            (
                "--mode broadcast -c 10000 --senders 10000 --depth 1",
                "--senders",
            ),
            ("--connect 127.0.0.1", "HOST:PORT"),
            ("--connect 127.0.0.1:0", "port 0"),
            ("--source-addrs ::1", "IPv6"),
        ] {
            let failure = config(line).unwrap_err();
            assert_eq!(failure.exit, crate::exit::Exit::Usage, "{line}");
            assert!(
                failure.message.contains(named),
                "{line}: {}",
                failure.message
            );
        }
    }
}
