//! What a network may be told. Every field has a default; only address and handler have none.

use std::time::Duration;

use crate::frame::Framing;
use crate::port::{ListenOptions, SocketOptions};
use crate::session::deadlines::Timeouts;
use crate::session::queue::SendQueueLimits;

/// The options of a network, resolved.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) framing: Framing,
    pub(crate) timeouts: Timeouts,
    pub(crate) send_queue: SendQueueLimits,
    pub(crate) socket: SocketOptions,
    pub(crate) listen: ListenOptions,
    pub(crate) sessions_max: usize,
    pub(crate) sessions_per_ip_max: Option<usize>,
    pub(crate) ipv6_prefix_bits: u8,
    pub(crate) proxy_protocol: bool,
    pub(crate) mailbox_max: usize,
    pub(crate) frames_per_turn_max: usize,
    pub(crate) turn_time_max: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) reconnect: Reconnect,
    pub(crate) links: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            framing: Framing::default(),
            timeouts: Timeouts::default(),
            send_queue: SendQueueLimits::default(),
            socket: SocketOptions::default(),
            listen: ListenOptions::default(),
            sessions_max: 16 * 1024,
            sessions_per_ip_max: None,
            ipv6_prefix_bits: 64,
            proxy_protocol: false,
            mailbox_max: 1024,
            // A frame costs some 0.1 us here and a turn some 5: beyond 64 nothing is gained.
            frames_per_turn_max: 64,
            turn_time_max: Duration::from_millis(1),
            connect_timeout: Duration::from_secs(5),
            reconnect: Reconnect::default(),
            links: 1,
        }
    }
}

/// How a client link comes back after its connection ended or could not be made.
///
/// All addresses are tried in turn without a wait; then comes a pause of `first`, doubled each
/// round up to `max`. A connection that lived for `stable` starts from `first` again, and its own
/// address is tried first.
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

#[cfg(test)]
mod tests {
    use super::*;

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
