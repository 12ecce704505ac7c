//! One simulated run, from a scenario to what it gave.

use super::cores::Machine;
use super::input::{FarEnd, Scenario};
use super::world::{FAR_CORES, World};
use crate::lab::result::Latencies;

/// What one class got in a simulated run.
#[derive(Clone, Debug)]
pub(crate) struct ClassOutcome {
    /// Frames a second that were handled.
    pub(crate) frames_per_s: f64,
    /// Nanoseconds from due to answered; empty without answers.
    pub(crate) latency: Latencies,
    /// Nanoseconds from due to sent.
    pub(crate) late: Latencies,
    /// Frames due and never sent.
    pub(crate) unsent: u64,
}

/// What a simulated run gave.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    /// In the order of the classes.
    pub(crate) classes: Vec<ClassOutcome>,
    /// CPU seconds of the process a second.
    pub(crate) cpu: f64,
    /// CPU seconds of the far end a second.
    pub(crate) far_cpu: f64,
    /// Context switches of the process a second.
    pub(crate) switches_per_s: f64,
    /// Sessions given from a port to a pool, a second.
    pub(crate) hand_offs_per_s: f64,
    /// By port or pool, by lane: the most turns that ever ran at once.
    #[cfg(test)]
    pub(crate) at_once_max: Vec<Vec<usize>>,
}

/// After the measured time, frames that were due in it have so long to be answered.
const DRAIN: u64 = 500_000_000;

/// Runs a scenario. The same scenario gives the same outcome, whatever the machine.
pub(crate) fn simulate(scenario: &Scenario) -> Outcome {
    let (mut world, starts) = World::new(scenario);
    let apart = if scenario.far_end == FarEnd::Apart {
        FAR_CORES
    } else {
        0
    };
    let mut machine = Machine::new(scenario.cores + apart, scenario.costs.os, scenario.seed);
    for (nice, on, ahead) in &starts {
        machine.spawn(*nice, on, *ahead);
    }
    // The two behind the workers are the far end's.
    let count = world.workers.len();
    let (workers, far) = (0..count, count..count + 2);
    let (start, end) = (world.window.start, world.window.end);
    machine.run(&mut world, start);
    let used = |machine: &Machine| {
        let sum = |threads: std::ops::Range<usize>| {
            let usages = threads.map(|thread| machine.usage(thread));
            usages.fold((0, 0), |sum, u| (sum.0 + u.cpu, sum.1 + u.switches))
        };
        let (cpu, switches) = sum(workers.clone());
        (cpu, switches, sum(far.clone()).0)
    };
    let before = (used(&machine), world.hand_offs);
    machine.run(&mut world, end);
    let after = (used(&machine), world.hand_offs);
    machine.run(&mut world, end + DRAIN);
    let seconds = std::time::Duration::from_nanos(scenario.measure).as_secs_f64();
    let per_s = |count: u64| std::time::Duration::from_nanos(count).as_secs_f64() * 1e9 / seconds;
    let class = |tally: super::world::Tally, replies: bool| ClassOutcome {
        frames_per_s: per_s(if replies {
            tally.answered
        } else {
            tally.handled
        }),
        latency: tally.latency,
        late: tally.late,
        unsent: tally.unsent,
    };
    let replies = world.classes.iter().map(|class| class.replies);
    Outcome {
        classes: world
            .tallies
            .into_iter()
            .zip(replies)
            .map(|(t, r)| class(t, r))
            .collect(),
        cpu: per_s(after.0.0 - before.0.0) / 1e9,
        far_cpu: per_s(after.0.2 - before.0.2) / 1e9,
        switches_per_s: per_s(after.0.1 - before.0.1),
        hand_offs_per_s: per_s(after.1 - before.1),
        #[cfg(test)]
        at_once_max: world
            .queues
            .iter()
            .map(|queue| queue.running.iter().map(|(_, most)| *most).collect())
            .collect(),
    }
}
