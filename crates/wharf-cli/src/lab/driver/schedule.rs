//! When frames of an open loop are due: pure, and the same for the same seed.

use crate::lab::workload::Arrivals;

/// How the frames of one class are spread.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Spread {
    /// Frames a second over all sessions.
    Rate {
        /// Above zero.
        per_s: f64,
        /// Even or Poisson.
        arrivals: Arrivals,
    },
    /// `frames` at once.
    Bursts {
        /// From one to the next, in ns.
        every: f64,
        /// Frames of one.
        frames: u32,
    },
}

/// The frames of one class, one after the other.
#[derive(Clone, Debug)]
struct Stream {
    class: usize,
    spread: Spread,
    sessions: u32,
    rng: fastrand::Rng,
    /// When the next is due, in ns after the start.
    at: f64,
    session: u32,
    left_of_burst: u32,
}

/// A frame that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Due {
    /// Nanoseconds after the start.
    pub(crate) at: u64,
    /// Index of its class.
    pub(crate) class: usize,
    /// Number of its session within the class.
    pub(crate) session: u32,
}

/// All classes' frames in the order they are due.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    streams: Vec<Stream>,
}

impl Schedule {
    /// `classes`: index, spread and sessions of each class with a schedule.
    pub(crate) fn new(classes: impl Iterator<Item = (usize, Spread, u32)>, seed: u64) -> Self {
        let stream = |(class, spread, sessions): (usize, Spread, u32)| {
            let seed = seed.wrapping_mul(1031).wrapping_add(class as u64);
            let mut stream = Stream {
                class,
                spread,
                sessions: sessions.max(1),
                rng: fastrand::Rng::with_seed(seed),
                at: 0.0,
                session: 0,
                left_of_burst: 0,
            };
            stream.advance();
            stream
        };
        Self {
            streams: classes.map(stream).collect(),
        }
    }

    /// The next frame, if any class has a schedule.
    pub(crate) fn peek(&self) -> Option<Due> {
        self.first().map(|at| self.streams[at].due())
    }

    /// Takes the next frame.
    pub(crate) fn advance(&mut self) {
        if let Some(at) = self.first() {
            self.streams[at].advance();
        }
    }

    fn first(&self) -> Option<usize> {
        let order = |a: &usize, b: &usize| self.streams[*a].at.total_cmp(&self.streams[*b].at);
        (0..self.streams.len()).min_by(order)
    }
}

impl Stream {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "nanoseconds of a run: positive, and far below 2^53"
    )]
    fn due(&self) -> Due {
        Due {
            at: self.at as u64,
            class: self.class,
            session: self.session,
        }
    }

    fn advance(&mut self) {
        match self.spread {
            Spread::Rate { per_s, arrivals } => {
                let gap = 1e9 / per_s;
                match arrivals {
                    Arrivals::Even => {
                        self.at += gap;
                        self.session = (self.session + 1) % self.sessions;
                    }
                    Arrivals::Poisson => {
                        self.at += -gap * (1.0 - self.rng.f64()).ln();
                        self.session = self.rng.u32(0..self.sessions);
                    }
                }
            }
            Spread::Bursts { every, frames } => {
                if self.left_of_burst == 0 {
                    self.at += every;
                    self.left_of_burst = frames;
                }
                self.left_of_burst -= 1;
                self.session = (self.session + 1) % self.sessions;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn take(schedule: &mut Schedule, until: u64) -> Vec<Due> {
        let mut all = Vec::new();
        while let Some(due) = schedule.peek().filter(|due| due.at < until) {
            all.push(due);
            schedule.advance();
        }
        all
    }

    #[test]
    fn rates_are_kept_and_times_never_run_back() {
        for arrivals in [Arrivals::Even, Arrivals::Poisson] {
            let spread = Spread::Rate {
                per_s: 5000.0,
                arrivals,
            };
            let mut schedule = Schedule::new([(0, spread, 7)].into_iter(), 3);
            let all = take(&mut schedule, 10 * SECOND);
            // Poisson: 50,000 ± 4.5 standard deviations.
            assert!(
                all.len().abs_diff(50_000) < 1000,
                "{} of {arrivals:?}",
                all.len()
            );
            assert!(all.is_sorted_by_key(|due| due.at));
            let mut sessions = [0; 7];
            all.iter()
                .for_each(|due| sessions[due.session as usize] += 1);
            assert!(sessions.iter().all(|&n| n > 6500), "{sessions:?}");
        }
    }

    #[test]
    fn bursts_come_at_once_and_classes_are_merged() {
        let bursts = Spread::Bursts {
            every: 1e8,
            frames: 5,
        };
        let even = Spread::Rate {
            per_s: 10.0,
            arrivals: Arrivals::Even,
        };
        let mut schedule = Schedule::new([(0, bursts, 2), (2, even, 1)].into_iter(), 0);
        let all = take(&mut schedule, SECOND + 1);
        assert_eq!(all.len(), 60);
        assert_eq!(all.iter().filter(|due| due.class == 2).count(), 10);
        let first = all.iter().filter(|due| due.at == SECOND / 10).count();
        assert_eq!(
            first, 6,
            "a burst of five, and one frame of the other class"
        );
    }

    #[test]
    fn the_same_seed_is_the_same_schedule() {
        let spread = Spread::Rate {
            per_s: 1000.0,
            arrivals: Arrivals::Poisson,
        };
        let run = |seed| {
            take(
                &mut Schedule::new([(0, spread, 9)].into_iter(), seed),
                SECOND,
            )
        };
        assert_eq!(run(5), run(5));
        assert_ne!(run(5), run(6));
    }
}
