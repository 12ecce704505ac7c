//! What is done when: quiet, an abuse, quiet, another, in an order by seed, and at last all at
//! once; as many rounds as the time allows.

use std::time::Duration;

use fastrand::Rng;

/// What is done to the server. The names are those of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Abuse {
    /// A process of hostile clients of this kind.
    Hostile(&'static str),
    /// Hostile clients stopped with SIGSTOP, continued, stopped.
    Stopped,
    /// Hostile clients killed with SIGKILL, and new ones.
    Killed,
    /// The limit of open files lowered below what is asked for, and raised.
    Descriptors,
    /// Workers, lanes, pauses: what an operator may change, at random.
    Operator,
    /// The second host stopped and started.
    Restarts,
    /// The links' peer killed and started.
    Peers,
}

/// All of them.
pub(super) const ABUSES: [Abuse; 16] = [
    Abuse::Hostile("slow-readers"),
    Abuse::Hostile("one-byte"),
    Abuse::Hostile("flood"),
    Abuse::Hostile("garbage"),
    Abuse::Hostile("oversize"),
    Abuse::Hostile("cuts"),
    Abuse::Hostile("storm"),
    Abuse::Hostile("silent"),
    Abuse::Hostile("handlers"),
    Abuse::Hostile("ports"),
    Abuse::Stopped,
    Abuse::Killed,
    Abuse::Descriptors,
    Abuse::Operator,
    Abuse::Restarts,
    Abuse::Peers,
];

impl Abuse {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Hostile(kind) => kind,
            Self::Stopped => "stopped",
            Self::Killed => "killed",
            Self::Descriptors => "descriptors",
            Self::Operator => "operator",
            Self::Restarts => "restarts",
            Self::Peers => "peers",
        }
    }
}

/// A stretch of time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Phase {
    pub(super) name: &'static str,
    pub(super) abuses: Vec<Abuse>,
    pub(super) time: Duration,
    /// Whether it is before the measured time.
    pub(super) warm_up: bool,
}

/// The name of the phases in which nothing is done.
pub(super) const QUIET: &str = "quiet";
/// The name of those in which all is done.
pub(super) const ALL: &str = "all at once";
/// What a phase should last.
const PHASE_S: f64 = 10.0;
/// The share of the time that is warm-up: all at once, so that memory has been at its highest.
const WARM_UP: f64 = 0.08;

/// The phases of a run of `time`.
pub(super) fn phases(time: Duration, seed: u64) -> Vec<Phase> {
    let mut random = Rng::with_seed(seed);
    let phase = |name, abuses: &[Abuse], time, warm_up| Phase {
        name,
        abuses: abuses.to_vec(),
        time,
        warm_up,
    };
    let in_round = 2.0 * (ABUSES.len() + 1) as f64;
    let measured = time.as_secs_f64() * (1.0 - WARM_UP);
    let rounds = (measured / in_round / PHASE_S).round().max(1.0);
    // One more quiet at the end.
    let each = Duration::from_secs_f64(measured / (rounds * in_round + 1.0));
    let warm_up = time.mul_f64(WARM_UP / 2.0);
    let mut phases = vec![
        phase(ALL, &ABUSES, warm_up, true),
        phase(QUIET, &[], warm_up, true),
    ];
    #[expect(clippy::cast_possible_truncation, reason = "a few rounds")]
    #[expect(clippy::cast_sign_loss, reason = "at least one")]
    for _ in 0..rounds as usize {
        let mut order = ABUSES;
        random.shuffle(&mut order);
        for abuse in order {
            phases.push(phase(QUIET, &[], each, false));
            phases.push(phase(abuse.name(), &[abuse], each, false));
        }
        phases.push(phase(QUIET, &[], each, false));
        phases.push(phase(ALL, &ABUSES, each, false));
    }
    phases.push(phase(QUIET, &[], each, false));
    phases
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_takes_its_time_and_has_everything_between_quiet() {
        for minutes in [1, 2, 30] {
            let time = Duration::from_secs(60 * minutes);
            let plan = phases(time, minutes);
            let sum: f64 = plan.iter().map(|phase| phase.time.as_secs_f64()).sum();
            assert!((sum - time.as_secs_f64()).abs() < 1.0, "{sum}");
            for abuse in ABUSES {
                assert!(
                    plan.iter().any(|phase| phase.abuses == [abuse]),
                    "{abuse:?}"
                );
            }
            let measured: Vec<_> = plan.iter().filter(|phase| !phase.warm_up).collect();
            for pair in measured.windows(2) {
                assert!(pair[0].abuses.is_empty() != pair[1].abuses.is_empty());
            }
        }
        let time = Duration::from_secs(60);
        assert_eq!(phases(time, 7), phases(time, 7));
        assert_ne!(phases(time, 7), phases(time, 8));
        let long = phases(Duration::from_secs(1800), 1);
        assert_eq!(long.iter().filter(|p| p.name == ALL).count(), 6);
    }
}
