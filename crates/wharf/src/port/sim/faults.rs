//! What may go wrong in a simulated network, and how often.

use std::time::Duration;

/// How often each fault strikes: probabilities from 0.0 (never) to 1.0 (always).
///
/// The default is a moderately nasty mix of everything that a correct core must bear without a
/// user noticing. What a user does notice needs a test that asks for it ([`Self::resets`]) or that
/// breaks a connection itself ([`Self::lost_at_reset`]).
///
/// ```
/// use wharf::sim::Faults;
/// let faults = Faults { resets: 0.001, ..Faults::default() };
/// assert!(faults.short_reads > 0.0);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Faults {
    /// A receive returns fewer bytes than there are (a report follows), or bytes that were sent
    /// together arrive apart.
    pub short_reads: f64,
    /// A send takes fewer bytes than would fit.
    pub partial_writes: f64,
    /// A receive, send or accept that would work says `WouldBlock` (a report follows). Below 1.0.
    pub would_block: f64,
    /// With a true report comes one for a socket to which nothing happened.
    pub spurious_reports: f64,
    /// A report is delivered twice.
    pub doubled_reports: f64,
    /// A report comes late, and so perhaps after a later one of another socket.
    pub late_reports: f64,
    /// How late at most, in virtual time.
    pub late_max: Duration,
    /// A socket's report is delivered after the socket was closed.
    pub stale_reports: f64,
    /// A connection has pipes of 1 byte to 64 KiB, each size as likely as its double.
    pub small_pipes: f64,
    /// Bytes that any other pipe holds (a pipe is one direction of a connection: what was sent and
    /// not yet read). At least 1.
    pub pipe_bytes: usize,
    /// How long a chunk of bytes, an end of stream or a reset travels at most, in virtual time.
    pub delay_max: Duration,
    /// A chunk that arrives breaks its connection instead: both ends see a reset.
    pub resets: f64,
    /// A reset throws away what had arrived before it and was not read yet. Windows does so, Linux
    /// does not.
    pub lost_at_reset: f64,
    /// An accept fails with `ConnectionAborted`: one more client had come and left while others
    /// wait, and nothing is wrong with those.
    pub accept_aborts: f64,
    /// After a step its worker is taken off its core for a while.
    pub preempts: f64,
    /// For how long at most, in virtual time.
    pub preempt_max: Duration,
    /// How much virtual time one step of a worker takes at most. No fault, but what makes time
    /// pass while there is always something to do.
    pub step_max: Duration,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            short_reads: 0.15,
            partial_writes: 0.15,
            would_block: 0.05,
            spurious_reports: 0.05,
            doubled_reports: 0.05,
            late_reports: 0.10,
            late_max: Duration::from_millis(2),
            stale_reports: 0.05,
            small_pipes: 0.25,
            pipe_bytes: 65_536,
            delay_max: Duration::from_micros(500),
            resets: 0.0,
            lost_at_reset: 0.25,
            accept_aborts: 0.02,
            preempts: 0.02,
            preempt_max: Duration::from_micros(200),
            step_max: Duration::from_micros(5),
        }
    }
}

impl Faults {
    /// A network that does what it is asked at once. The order in which things happen is still
    /// chosen by the seed, and a step still takes up to 1 µs.
    #[must_use]
    pub fn none() -> Self {
        Self {
            short_reads: 0.0,
            partial_writes: 0.0,
            would_block: 0.0,
            spurious_reports: 0.0,
            doubled_reports: 0.0,
            late_reports: 0.0,
            late_max: Duration::ZERO,
            stale_reports: 0.0,
            small_pipes: 0.0,
            pipe_bytes: 65_536,
            delay_max: Duration::ZERO,
            resets: 0.0,
            lost_at_reset: 0.0,
            accept_aborts: 0.0,
            preempts: 0.0,
            preempt_max: Duration::ZERO,
            step_max: Duration::from_micros(1),
        }
    }

    /// What is wrong with these values, in words; `None` if nothing is.
    pub(super) fn mistake(&self) -> Option<String> {
        let probabilities = [
            ("short_reads", self.short_reads),
            ("partial_writes", self.partial_writes),
            ("would_block", self.would_block),
            ("spurious_reports", self.spurious_reports),
            ("doubled_reports", self.doubled_reports),
            ("late_reports", self.late_reports),
            ("stale_reports", self.stale_reports),
            ("small_pipes", self.small_pipes),
            ("resets", self.resets),
            ("lost_at_reset", self.lost_at_reset),
            ("accept_aborts", self.accept_aborts),
            ("preempts", self.preempts),
        ];
        for (name, value) in probabilities {
            if !(0.0..=1.0).contains(&value) {
                return Some(format!(
                    "{name} is {value}; a probability lies in 0.0..=1.0"
                ));
            }
        }
        if self.would_block >= 1.0 {
            return Some("would_block is 1.0, so no call would ever work; lower it".into());
        }
        (self.pipe_bytes == 0).then(|| "pipe_bytes is 0, so no byte would ever fit".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_named() {
        assert_eq!(Faults::default().mistake(), None);
        assert_eq!(Faults::none().mistake(), None);
        let bad = |faults: Faults| faults.mistake().unwrap_or_default();
        assert!(
            bad(Faults {
                resets: 1.5,
                ..Faults::none()
            })
            .contains("resets is 1.5")
        );
        assert!(
            bad(Faults {
                preempts: f64::NAN,
                ..Faults::none()
            })
            .contains("preempts")
        );
        assert!(
            bad(Faults {
                would_block: 1.0,
                ..Faults::none()
            })
            .contains("would_block")
        );
        assert!(
            bad(Faults {
                pipe_bytes: 0,
                ..Faults::none()
            })
            .contains("pipe_bytes")
        );
    }
}
