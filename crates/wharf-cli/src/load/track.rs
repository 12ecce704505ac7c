//! Which frames came: pure bookkeeping, one tracker for each (receiver, sender) pair.
//!
//! TCP keeps order, so a frame that was skipped is lost from that moment on; if it shows up later
//! it is reordered and no longer lost. That keeps a closed loop running after a loss and still
//! counts
//! exactly. The callers count; a tracker only says what each arrival means.

/// Send times remembered at first; grows with the frames in flight.
const TIMES_MIN: usize = 16;

/// What an intact frame turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// New. `skipped` frames before it are lost from now on.
    InOrder {
        /// Frames between the one expected and this one.
        skipped: u64,
    },
    /// It was skipped, and came behind a later one: reordered, not lost.
    Late,
    /// It came before (or was skipped so long ago that nothing remembers it).
    Doubled,
    /// It was never sent.
    Unknown,
}

/// The full number behind a wrapped 32-bit one, taken as the one nearest to `near`.
fn unwrap_near(seq: u32, near: u64) -> Option<u64> {
    let low = u32::try_from(near & u64::from(u32::MAX)).unwrap_or(0);
    let distance = seq.wrapping_sub(low).cast_signed();
    near.checked_add_signed(i64::from(distance))
}

/// The low 32 bits: what goes on the wire.
pub(crate) fn wire_seq(seq: u64) -> u32 {
    u32::try_from(seq & u64::from(u32::MAX)).unwrap_or(0)
}

/// Tracks the replies to one connection's own frames, with the time each frame was due.
#[derive(Debug)]
pub(crate) struct Window {
    /// Due time + 1 of frame `seq` at `seq % len`, 0 once it came. Length is a power of two.
    times: Vec<u64>,
    sent: u64,
    expected: u64,
}

impl Window {
    /// Nothing sent yet.
    pub(crate) fn new() -> Self {
        Self {
            times: vec![0; TIMES_MIN],
            sent: 0,
            expected: 0,
        }
    }

    /// Frames sent whose reply is still to come; skipped ones are not awaited any more.
    pub(crate) fn outstanding(&self) -> u64 {
        self.sent - self.expected
    }

    /// Sequence number of the oldest frame still awaited.
    pub(crate) fn oldest(&self) -> Option<u64> {
        (self.expected < self.sent).then_some(self.expected)
    }

    /// Notes the next frame, due at `due` ns. Grows (rarely) so that as many skipped frames as
    /// there are frames in flight stay known.
    pub(crate) fn send(&mut self, due: u64) {
        let len = self.times.len() as u64;
        if (self.outstanding() + 1) * 2 > len {
            let mut wider = vec![0; self.times.len() * 2];
            for seq in self.sent.saturating_sub(len)..self.sent {
                let to = slot(seq, wider.len());
                wider[to] = self.times[slot(seq, self.times.len())];
            }
            self.times = wider;
        }
        let at = slot(self.sent, self.times.len());
        self.times[at] = due + 1;
        self.sent += 1;
    }

    /// Notes an intact frame; with the time it was due where that is known.
    pub(crate) fn receive(&mut self, seq: u32) -> (Arrival, Option<u64>) {
        match unwrap_near(seq, self.expected) {
            Some(seq) if seq < self.sent => self.take(seq),
            _ => (Arrival::Unknown, None),
        }
    }

    /// `seq` is a frame that was sent and has not come.
    pub(crate) fn awaits(&self, seq: u32) -> bool {
        unwrap_near(seq, self.expected).is_some_and(|seq| {
            seq < self.sent
                && seq + self.times.len() as u64 >= self.sent
                && self.times[slot(seq, self.times.len())] != 0
        })
    }

    fn take(&mut self, seq: u64) -> (Arrival, Option<u64>) {
        let len = self.times.len();
        if seq >= self.expected {
            let skipped = seq - self.expected;
            self.expected = seq + 1;
            return (
                Arrival::InOrder { skipped },
                std::mem::take(&mut self.times[slot(seq, len)]).checked_sub(1),
            );
        }
        if seq + len as u64 >= self.sent {
            let due = std::mem::take(&mut self.times[slot(seq, len)]).checked_sub(1);
            if due.is_some() {
                return (Arrival::Late, due);
            }
        }
        (Arrival::Doubled, None)
    }

    /// Gives up on the frames awaited and returns how many those were.
    pub(crate) fn abandon(&mut self) -> u64 {
        let lost = self.outstanding();
        self.expected = self.sent;
        self.times.fill(0);
        lost
    }
}

fn slot(seq: u64, len: usize) -> usize {
    usize::try_from(seq % len as u64).unwrap_or(0)
}

/// Tracks one sender's frames at one receiver, in 16 bytes: thousands of pairs are common in
/// broadcast mode. A bit a frame for the last 64, as IPsec's anti-replay window (RFC 4303, 3.4.3).
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Seen {
    expected: u64,
    /// Bit `i`: frame `expected - 1 - i` came.
    came: u64,
}

impl Seen {
    /// Number of the next frame in order.
    pub(crate) fn expected(&self) -> u64 {
        self.expected
    }

    /// `seq` is a frame of a sender that has sent `sent` so far, and it has not come.
    pub(crate) fn awaits(&self, seq: u32, sent: u64) -> bool {
        !matches!(
            { *self }.receive(seq, sent),
            Arrival::Doubled | Arrival::Unknown
        )
    }

    /// Notes an intact frame of a sender that has sent `sent` so far.
    pub(crate) fn receive(&mut self, seq: u32, sent: u64) -> Arrival {
        let Some(seq) = unwrap_near(seq, self.expected).filter(|&seq| seq < sent) else {
            return Arrival::Unknown;
        };
        if seq >= self.expected {
            let skipped = seq - self.expected;
            let shift = u32::try_from(skipped + 1).unwrap_or(u32::MAX);
            self.came = self.came.checked_shl(shift).unwrap_or(0) | 1;
            self.expected = seq + 1;
            return Arrival::InOrder { skipped };
        }
        let bit = u32::try_from(self.expected - 1 - seq)
            .ok()
            .and_then(|back| 1u64.checked_shl(back));
        match bit {
            Some(bit) if self.came & bit == 0 => {
                self.came |= bit;
                Arrival::Late
            }
            _ => Arrival::Doubled,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends `sent` frames, plays `arrivals`, and returns (in order, late, doubled, unknown, lost).
    fn play(sent: u64, arrivals: &[u32]) -> [u64; 5] {
        let mut window = Window::new();
        let mut seen = Seen::default();
        let mut counts = [0; 5];
        let mut skipped_still = 0;
        (0..sent).for_each(|seq| window.send(seq * 10));
        for &seq in arrivals {
            let (arrival, due) = window.receive(seq);
            assert_eq!(
                seen.receive(seq, sent),
                arrival,
                "both trackers agree on {seq}"
            );
            let at = match arrival {
                Arrival::InOrder { skipped } => {
                    skipped_still += skipped;
                    0
                }
                Arrival::Late => {
                    skipped_still -= 1;
                    1
                }
                Arrival::Doubled => 2,
                Arrival::Unknown => 3,
            };
            assert_eq!(due, (at < 2).then_some(u64::from(seq) * 10));
            counts[at] += 1;
        }
        assert_eq!(window.abandon(), sent - seen.expected());
        counts[4] = skipped_still + sent - seen.expected();
        counts
    }

    #[test]
    fn each_fault_is_counted_as_itself() {
        assert_eq!(play(4, &[0, 1, 2, 3]), [4, 0, 0, 0, 0]);
        assert_eq!(play(4, &[0, 2, 3]), [3, 0, 0, 0, 1], "lost in the middle");
        assert_eq!(play(4, &[0, 1]), [2, 0, 0, 0, 2], "lost at the end");
        assert_eq!(play(4, &[0, 1, 1, 2, 3, 0]), [4, 0, 2, 0, 0], "doubled");
        assert_eq!(play(4, &[0, 2, 1, 3]), [3, 1, 0, 0, 0], "two swapped");
        assert_eq!(
            play(4, &[3, 0, 1, 2, 1]),
            [1, 3, 1, 0, 0],
            "three overtaken"
        );
        assert_eq!(play(2, &[0, 1, 2, u32::MAX]), [2, 0, 0, 2, 0], "never sent");
    }

    #[test]
    fn the_window_grows_and_keeps_every_due_time() {
        let mut window = Window::new();
        for due in 0..1000 {
            window.send(due);
        }
        for seq in 0..1000 {
            let (arrival, due) = window.receive(seq);
            assert_eq!(
                (arrival, due),
                (Arrival::InOrder { skipped: 0 }, Some(u64::from(seq)))
            );
        }
        assert_eq!(window.outstanding(), 0);
        assert_eq!(window.times.len(), 2048);
    }

    #[test]
    fn sequence_numbers_wrap() {
        let start = u64::from(u32::MAX) - 1;
        let mut window = Window {
            sent: start,
            expected: start,
            ..Window::new()
        };
        let mut seen = Seen {
            expected: start,
            came: u64::MAX,
        };
        (0..4).for_each(|due| window.send(due));
        for seq in [u32::MAX - 1, u32::MAX, 0, 1] {
            assert_eq!(window.receive(seq).0, Arrival::InOrder { skipped: 0 });
            assert_eq!(
                seen.receive(seq, start + 4),
                Arrival::InOrder { skipped: 0 }
            );
        }
        assert_eq!(window.receive(u32::MAX).0, Arrival::Doubled);
        assert_eq!(seen.receive(u32::MAX, start + 4), Arrival::Doubled);
        assert_eq!(window.abandon(), 0);
    }

    #[test]
    fn too_late_to_be_known_as_missing_is_lost_and_doubled() {
        let mut seen = Seen::default();
        assert_eq!(seen.receive(100, 200), Arrival::InOrder { skipped: 100 });
        assert_eq!(seen.receive(37, 200), Arrival::Late);
        assert_eq!(seen.receive(36, 200), Arrival::Doubled);
        let mut window = Window::new();
        for due in 0..100 {
            window.send(due);
            if due > 0 {
                window.receive(u32::try_from(due).unwrap());
            }
        }
        assert_eq!(window.receive(0).0, Arrival::Doubled);
        assert_eq!(window.abandon(), 0);
    }
}
