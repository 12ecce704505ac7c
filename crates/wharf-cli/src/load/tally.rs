//! What one thread counted; the tallies of all threads add up to the report.

use hdrhistogram::Histogram;

use crate::exit::Failure;

/// Longest time a histogram tells apart, in ns; longer ones count as this. The longest run is a
/// week, so nothing real is cut short but a wait of ten minutes.
const TIME_MAX: u64 = 600_000_000_000;
/// Significant digits: an error of at most 0.1 %.
const DIGITS: u8 = 3;

/// Counters and times of one thread.
#[derive(Debug)]
pub(crate) struct Tally {
    pub(crate) frames_sent: u64,
    pub(crate) frames_expected: u64,
    pub(crate) frames_answered: u64,
    /// Answered (sink: sent) in the measured time.
    pub(crate) frames_measured: u64,
    /// Bytes sent in the measured time.
    pub(crate) bytes_measured: u64,
    pub(crate) bytes_sent: u64,
    pub(crate) bytes_received: u64,
    pub(crate) lost: u64,
    pub(crate) doubled: u64,
    pub(crate) reordered: u64,
    pub(crate) corrupt: u64,
    pub(crate) misrouted: u64,
    pub(crate) connects: u64,
    pub(crate) connect_failed: u64,
    pub(crate) closed_by_peer: u64,
    /// All in ns.
    pub(crate) latency: Histogram<u64>,
    pub(crate) last_receiver: Histogram<u64>,
    pub(crate) connect: Histogram<u64>,
    pub(crate) send_late: Histogram<u64>,
    /// When and what the first fault was.
    pub(crate) first_fault: Option<(u64, String)>,
}

impl Tally {
    /// Nothing counted.
    ///
    /// # Errors
    /// Only if the histogram crate refuses its constant bounds.
    pub(crate) fn new() -> Result<Self, Failure> {
        let times = Histogram::new_with_bounds(1, TIME_MAX, DIGITS)
            .map_err(|error| Failure::machine(format!("no histogram: {error}")))?;
        Ok(Self {
            frames_sent: 0,
            frames_expected: 0,
            frames_answered: 0,
            frames_measured: 0,
            bytes_measured: 0,
            bytes_sent: 0,
            bytes_received: 0,
            lost: 0,
            doubled: 0,
            reordered: 0,
            corrupt: 0,
            misrouted: 0,
            connects: 0,
            connect_failed: 0,
            closed_by_peer: 0,
            latency: times.clone(),
            last_receiver: times.clone(),
            connect: times.clone(),
            send_late: times,
            first_fault: None,
        })
    }

    /// Faults so far: anything above 0 ends the program with exit code 1.
    pub(crate) fn faults(&self) -> u64 {
        self.lost
            + self.doubled
            + self.reordered
            + self.corrupt
            + self.misrouted
            + self.connect_failed
            + self.closed_by_peer
    }

    /// Keeps the description of the first fault; the others are only counted.
    pub(crate) fn fault(&mut self, now: u64, what: impl FnOnce() -> String) {
        if self.first_fault.is_none() {
            self.first_fault = Some((now, what()));
        }
    }

    /// Adds the tally of another thread.
    pub(crate) fn add(&mut self, other: &Self) {
        self.frames_sent += other.frames_sent;
        self.frames_expected += other.frames_expected;
        self.frames_answered += other.frames_answered;
        self.frames_measured += other.frames_measured;
        self.bytes_measured += other.bytes_measured;
        self.bytes_sent += other.bytes_sent;
        self.bytes_received += other.bytes_received;
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.reordered += other.reordered;
        self.corrupt += other.corrupt;
        self.misrouted += other.misrouted;
        self.connects += other.connects;
        self.connect_failed += other.connect_failed;
        self.closed_by_peer += other.closed_by_peer;
        // Equal bounds: adding cannot fail.
        let _ = self.latency.add(&other.latency);
        let _ = self.last_receiver.add(&other.last_receiver);
        let _ = self.connect.add(&other.connect);
        let _ = self.send_late.add(&other.send_late);
        self.first_fault = match (self.first_fault.take(), other.first_fault.clone()) {
            (Some(mine), Some(theirs)) => Some(if theirs.0 < mine.0 { theirs } else { mine }),
            (mine, theirs) => mine.or(theirs),
        };
    }
}
