//! What a network may be told. Every field has a default; only address and handler have none.

use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};
use crate::frame::Framing;
use crate::limits::{InputRate, MemoryLimit, PerAddress, Rate};
use crate::port::{ListenOptions, SocketOptions};
use crate::session::deadlines::Timeouts;
use crate::session::queue::SendQueueLimits;

/// The options of a network, resolved.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) framing: Framing,
    pub(crate) timeouts: Timeouts,
    pub(crate) send_queue: SendQueueLimits,
    pub(crate) flush: FlushMode,
    pub(crate) socket: SocketOptions,
    pub(crate) listen: ListenOptions,
    pub(crate) sessions_max: usize,
    pub(crate) sessions_per_ip_max: PerAddress<usize>,
    pub(crate) connects_per_ip: PerAddress<Rate>,
    pub(crate) input_rate: InputRate,
    pub(crate) memory: Option<MemoryLimit>,
    pub(crate) ipv6_prefix_bits: u8,
    pub(crate) proxy_protocol: bool,
    pub(crate) mailbox_max: usize,
    pub(crate) frames_per_turn_max: usize,
    pub(crate) turn_time_max: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) reconnect: Reconnect,
    pub(crate) links: usize,
    pub(crate) late_names: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            framing: Framing::default(),
            timeouts: Timeouts::default(),
            send_queue: SendQueueLimits::default(),
            flush: FlushMode::default(),
            socket: SocketOptions::default(),
            listen: ListenOptions::default(),
            sessions_max: 16 * 1024,
            // A household, a school or a carrier's gateway has that many players; who has more
            // takes a 64th of the places at most.
            sessions_per_ip_max: PerAddress::Public(256),
            connects_per_ip: PerAddress::Public(Rate {
                per_s: 32,
                burst: 256,
            }),
            input_rate: InputRate::default(),
            memory: None,
            ipv6_prefix_bits: 64,
            proxy_protocol: false,
            mailbox_max: 1024,
            // A frame costs some 0.1 us here and a turn some 5: beyond 64 nothing is gained.
            frames_per_turn_max: 64,
            turn_time_max: Duration::from_millis(1),
            connect_timeout: Duration::from_secs(5),
            reconnect: Reconnect::default(),
            links: 1,
            late_names: false,
        }
    }
}

/// When the frames that are sent to a network's sessions leave.
///
/// ```
/// use wharf::{FlushMode, Frame, Handler, Host, Refuse, Session};
///
/// struct Zone;
///
/// impl Handler for Zone {
///     type State = ();
///
///     fn on_open(&self, _: &Session<Self>) -> Result<(), Refuse> {
///         Ok(())
///     }
///
///     fn on_frame(&self, s: &Session<Self>, (): &mut (), frame: Frame<'_>) -> wharf::Result<()> {
///         Ok(s.send(frame.payload())?) // waits for the tick
///     }
/// }
///
/// # fn main() -> wharf::Result<()> {
/// let mut host = Host::new();
/// let zone = host.server("zone", Zone).flush(FlushMode::Tick).listen("127.0.0.1:0")?;
/// host.start()?;
/// # use std::io::{Read, Write};
/// # let mut peer = std::net::TcpStream::connect(zone.local_addr().unwrap())?;
/// # peer.write_all(b"\x03\x00a\x03\x00b")?;
/// # while zone.sessions().first().is_none_or(|s| s.send_queue().frames < 2) {}
/// // At the end of each tick, say 20 times a second:
/// let sessions_written_to = zone.flush();
/// # assert_eq!(sessions_written_to, 1);
/// # let mut back = [0; 6];
/// # peer.read_exact(&mut back)?;
/// # assert_eq!(&back, b"\x03\x00a\x03\x00b");
/// host.stop()
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FlushMode {
    /// With the turn that sent them, in one write with whatever else it sent to that session;
    /// those of a thread outside of turns at once.
    #[default]
    Turn,
    /// When [`Network::flush`](crate::Network::flush), [`Group::flush`](crate::Group::flush) or
    /// [`Session::flush`](crate::Session::flush) asks for it: at the end of a zone's tick, say. All
    /// that was sent between two ticks, replies included, leaves in one write a session, where up
    /// to 64 pieces fit: frames of up to 2 KiB are joined to pieces of 2 to 4 KiB, unless the queue
    /// drops its oldest frames one by one ([`WhenFull::DropOld`](crate::WhenFull::DropOld)).
    ///
    /// What waits counts in the send queue. At its high-water mark it is flushed at once, as the
    /// session would be read no more otherwise; beyond its limits the full-policy decides. A
    /// graceful close flushes what is left, its linger time long.
    Tick,
}

/// How a client link comes back after its connection ended or could not be made.
///
/// All addresses are tried in turn without a wait; then comes a pause of `first`, doubled each
/// round up to `max`. A connection that lived for `stable` starts from `first` again, and its own
/// address is tried first. Each round begins with a lookup of the names among the addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reconnect {
    /// The first pause. Default: 200 ms.
    pub first: Duration,
    /// The longest pause. Default: 30 s.
    pub max: Duration,
    /// Shorten each pause by a random share of up to a half, so that the clients of a restarted
    /// server do not come back as one wave. Default: true.
    pub jitter: bool,
    /// How long a connection must live to count as a success. Default: 1 s.
    pub stable: Duration,
    /// Whether to come back at all. Default: true.
    pub enabled: bool,
}

impl Default for Reconnect {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(200),
            max: Duration::from_secs(30),
            jitter: true,
            stable: Duration::from_secs(1),
            enabled: true,
        }
    }
}

impl Reconnect {
    /// The pause before round `round` (from 0), with `random` in 0.0..1.0 for the jitter.
    #[must_use]
    pub(crate) fn pause(&self, round: u32, random: f64) -> Duration {
        let doubled = self
            .first
            .saturating_mul(1u32.checked_shl(round).unwrap_or(u32::MAX));
        let pause = doubled.min(self.max);
        if self.jitter {
            pause.mul_f64(1.0 - random.clamp(0.0, 1.0) / 2.0)
        } else {
            pause
        }
    }
}

/// Refuses numbers that can't work, by name. Before anything is made for the network: what is
/// refused leaves no port of its name behind.
pub(super) fn check(network: &str, options: &Options) -> Result<()> {
    let zero = |field: &str| {
        let message = format!("network \"{network}\": {field} is 0; it must be at least 1");
        Err(Error::new(ErrorKind::Config, message))
    };
    let limits = &options.send_queue;
    if options.sessions_max == 0 {
        return zero("sessions_max");
    }
    check_peers(network, options)?;
    if options.frames_per_turn_max == 0 {
        return zero("frames_per_turn_max");
    }
    if options.mailbox_max == 0 {
        return zero("mailbox_max");
    }
    if limits.bytes_max == 0 || limits.frames_max == 0 {
        return zero("a limit of the send queue");
    }
    let reconnect = &options.reconnect;
    if options.links > 0 && reconnect.enabled && (reconnect.first.min(reconnect.max)).is_zero() {
        // Without a pause a refused connect is tried again at once, for ever.
        return zero("a pause of reconnect");
    }
    if options.ipv6_prefix_bits > 128 {
        let message = format!(
            "network \"{network}\": ipv6_prefix_bits is {}; an IPv6 address has 128 bits",
            options.ipv6_prefix_bits
        );
        return Err(Error::new(ErrorKind::Config, message));
    }
    let high = limits.high_water();
    if high > limits.bytes_max {
        let message = format!(
            "network \"{network}\": the high-water mark ({high} bytes) lies above the send queue's \
             bytes_max ({}); lower the one or raise the other",
            limits.bytes_max
        );
        return Err(Error::new(ErrorKind::Config, message));
    }
    if let Some(low) = limits.low_water_bytes
        && low >= high
    {
        let message = format!(
            "network \"{network}\": the low-water mark ({low} bytes) must lie below the high-water \
             mark ({high} bytes)"
        );
        return Err(Error::new(ErrorKind::Config, message));
    }
    Ok(())
}

/// The same of the limits for peers.
fn check_peers(network: &str, options: &Options) -> Result<()> {
    let zero = |field: &str| {
        let message = format!("network \"{network}\": {field} is 0; it must be at least 1");
        Err(Error::new(ErrorKind::Config, message))
    };
    if options.sessions_per_ip_max.limit() == Some(0) {
        return zero("sessions_per_ip_max");
    }
    let is_zero = |rate: &Rate| rate.per_s == 0 || rate.burst == 0;
    if options
        .connects_per_ip
        .limit()
        .is_some_and(|rate| is_zero(&rate))
    {
        return zero("a number of connects_per_ip");
    }
    let input = [options.input_rate.frames, options.input_rate.bytes];
    if input.iter().flatten().any(is_zero) {
        return zero("a number of input_rate");
    }
    if let Some(limit) = options
        .memory
        .filter(|limit| limit.bytes_max < MemoryLimit::LEAST)
    {
        let message = format!(
            "network \"{network}\": the bytes_max of its memory is {}; it must be at least {}, and \
             None is no limit",
            limit.bytes_max,
            MemoryLimit::LEAST
        );
        return Err(Error::new(ErrorKind::Config, message));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a server on the open internet has without a word about it.
    #[test]
    fn the_defaults_are_safe() {
        let options = Options::default();
        let timeouts = &options.timeouts;
        let limits = [timeouts.handshake, timeouts.idle, timeouts.write_stall];
        assert!(limits.iter().all(Option::is_some), "{timeouts:?}");
        let sessions = options.sessions_per_ip_max;
        assert!(
            sessions
                .limit()
                .is_some_and(|most| most * 64 <= options.sessions_max)
        );
        assert!(options.connects_per_ip.limit().is_some());
        assert!(check("game", &options).is_ok());
    }

    #[test]
    fn the_pause_doubles_to_its_limit_and_jitter_only_shortens_it() {
        let exact = Reconnect {
            jitter: false,
            ..Reconnect::default()
        };
        let ms = |round| exact.pause(round, 0.9).as_millis();
        assert_eq!(
            [ms(0), ms(1), ms(2), ms(8), ms(40)],
            [200, 400, 800, 30_000, 30_000]
        );
        let jittered = Reconnect::default();
        assert_eq!(jittered.pause(0, 0.0), Duration::from_millis(200));
        assert_eq!(jittered.pause(0, 1.0), Duration::from_millis(100));
    }
}
