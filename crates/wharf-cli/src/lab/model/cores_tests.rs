use proptest::prelude::*;

use super::*;
use crate::lab::model::costs::{CUTS, IDLE, Interrupts, Wake};

const MS: u64 = 1_000_000;

/// Threads that compute, sleep, wait and wake others as a list says, over and over.
struct Script {
    steps: Vec<Vec<Step>>,
    at: Vec<usize>,
    told: Vec<Option<(u64, u64)>>,
    asked: u64,
}

#[derive(Clone, Debug)]
enum Step {
    Run(u64),
    Sleep(u64),
    Wait(u64),
    Wake(usize),
}

impl Script {
    fn new(steps: Vec<Vec<Step>>) -> Self {
        Self {
            at: vec![0; steps.len()],
            told: vec![None; steps.len()],
            steps,
            asked: 0,
        }
    }

    fn hogs(count: usize) -> Self {
        Self::new(vec![vec![Step::Run(10_000 * MS)]; count])
    }
}

impl Program for Script {
    fn next(&mut self, thread: ThreadId, now: u64, wakes: &mut Vec<ThreadId>) -> Action {
        assert!(now >= self.asked, "time went back");
        self.asked = now;
        if let Some((since, nanos)) = self.told[thread].take() {
            assert!(
                now - since >= nanos,
                "{nanos} ns of work in {} ns",
                now - since
            );
        }
        for _ in 0..self.steps[thread].len() {
            let step = self.steps[thread][self.at[thread]].clone();
            self.at[thread] = (self.at[thread] + 1) % self.steps[thread].len();
            let (action, least) = match step {
                Step::Run(nanos) => (Action::Run(nanos), nanos),
                Step::Sleep(nanos) => (Action::Sleep(now + nanos), nanos),
                Step::Wait(nanos) => (Action::Wait(Some(now + nanos)), 0),
                Step::Wake(other) => {
                    wakes.push(other);
                    continue;
                }
            };
            self.told[thread] = Some((now, least));
            return action;
        }
        // A script of wakes alone would never let time pass.
        Action::Sleep(now + MS)
    }
}

fn scripts() -> impl Strategy<Value = Vec<Vec<Step>>> {
    let step = prop_oneof![
        4 => (1u64..6_000_000).prop_map(Step::Run),
        2 => (1u64..6_000_000).prop_map(Step::Sleep),
        2 => (1u64..20_000_000).prop_map(Step::Wait),
        2 => (0usize..2).prop_map(Step::Wake),
    ];
    // Each round computes for a while: two that only wake each other would never let time pass.
    let script = prop::collection::vec(step, 1..8).prop_map(|mut steps| {
        steps.push(Step::Run(100_000));
        steps
    });
    prop::collection::vec(script, 2..7)
}

fn costs() -> impl Strategy<Value = OsCosts> {
    let numbers = (
        0u64..5_000,
        0u64..20_000,
        0u64..50_000,
        0u64..20_000,
        any::<bool>(),
    );
    numbers.prop_map(|(switch, wake, start, cold, slice_exact)| OsCosts {
        switch,
        wake_local: wake / 20,
        wake_idle: [wakes(wake, start); IDLE.len()],
        wake_busy: wakes(wake, start / 2),
        cold,
        timer_late: 55_000,
        timer_late_ahead: 5_000,
        ahead: true,
        slice_exact,
        interrupts: Interrupts {
            longer_per_s: [300.0, 200.0, 50.0, 5.0, 1.0, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0],
        },
        ..OsCosts::FREE
    })
}

/// Wakes that cost so much, and take up to so long.
fn wakes(cost: u64, start: u64) -> Wake {
    let at = |cut: f64| std::time::Duration::from_nanos(start).mul_f64(cut);
    Wake {
        cost,
        start: CUTS.map(|cut| crate::lab::driver::nanos(at(cut))),
    }
}

/// What it did: CPU time and switches by thread, times of the cores.
fn outcome(cores: usize, costs: OsCosts, steps: &[Vec<Step>]) -> (Vec<Usage>, u64) {
    let mut machine = Machine::new(cores, costs, 1);
    // Every third runs ahead.
    let spawn = |at: usize| machine.spawn(0, &[], at % 3 == 2);
    let threads: Vec<_> = (0..steps.len()).map(spawn).collect();
    let mut script = Script::new(steps.to_vec());
    machine.run(&mut script, 300 * MS);
    let used = threads.into_iter().map(|thread| machine.usage(thread));
    (used.collect(), machine.busy())
}

proptest! {
    #[test]
    fn cpu_time_is_conserved(steps in scripts(), costs in costs(), cores in 1usize..5) {
        let (used, busy) = outcome(cores, costs, &steps);
        prop_assert_eq!(used.iter().map(|usage| usage.cpu).sum::<u64>(), busy);
        prop_assert!(busy <= cores as u64 * 300 * MS);
        prop_assert!(used.iter().all(|usage| usage.cpu <= 300 * MS));
    }

    #[test]
    fn no_core_that_looks_idles_while_a_thread_waits(steps in scripts(), cores in 1usize..5) {
        let mut machine = Machine::new(cores, OsCosts::FREE, 1);
        steps.iter().for_each(|_| {
            machine.spawn(0, &[], false);
        });
        let mut script = Script::new(steps);
        for step in 1..600 {
            machine.run(&mut script, step * MS / 2);
            let waiting: usize = machine.cores.iter().map(|c| c.len().saturating_sub(1)).sum();
            // Of those that are idle for moments it is not asked.
            let looks = |core: &usize| machine.cores[*core].looks();
            let idle = (0..cores).filter(looks).any(|core| machine.is_idle(core));
            prop_assert!(!idle || waiting == 0, "at {} ms / 2", step);
        }
    }

    #[test]
    fn the_same_script_gives_the_same_run(steps in scripts(), costs in costs()) {
        prop_assert_eq!(outcome(2, costs, &steps), outcome(2, costs, &steps));
    }
}

/// CPU milliseconds that each of these hogs got in two seconds.
fn shares(cores: usize, nices: &[i32], on: &[usize]) -> Vec<u64> {
    let mut machine = Machine::new(cores, OsCosts::FREE, 1);
    let threads: Vec<_> = nices.iter().map(|n| machine.spawn(*n, on, false)).collect();
    machine.run(&mut Script::hogs(nices.len()), 2_000 * MS);
    threads.iter().map(|t| machine.usage(*t).cpu / MS).collect()
}

#[test]
fn hogs_share_a_core_by_weight() {
    assert_eq!(shares(1, &[0, 0], &[]), [1000, 1000]);
    let shared = shares(1, &[0, 5], &[]);
    let ratio = 1024.0 / 335.0;
    let found = shared[0] as f64 / shared[1] as f64;
    assert!((found / ratio - 1.0).abs() < 0.03, "{shared:?}");
}

#[test]
fn hogs_spread_over_cores_and_stay_on_those_they_may_use() {
    assert_eq!(shares(4, &[0; 4], &[]), [2000; 4]);
    let crowded = shares(2, &[0; 4], &[]);
    assert!(
        crowded.iter().all(|ms| (960..=1040).contains(ms)),
        "{crowded:?}"
    );
    assert_eq!(shares(4, &[0, 0], &[2]), [1000, 1000]);
}

#[test]
fn a_core_that_is_idle_for_moments_takes_no_thread() {
    for (idle, takes) in [(20_000, false), (1_000_000, true)] {
        let mut machine = Machine::new(2, OsCosts::FREE, 1);
        machine.spawn(0, &[0], false);
        let other = machine.spawn(0, &[0], false);
        machine.threads[other].cores[1] = true;
        for moment in 1..50 {
            machine.cores[1].idle_since = moment * MS;
            machine.cores[1].was_idle(moment * MS + idle);
        }
        machine.pull(1);
        assert_eq!(machine.cores[1].len() == 1, takes, "idle for {idle} ns");
    }
}

#[test]
fn a_sleeper_takes_a_core_from_a_hog_at_once() {
    let steps = vec![
        vec![Step::Run(10_000 * MS)],
        vec![Step::Sleep(3 * MS), Step::Run(MS / 10)],
    ];
    let mut machine = Machine::new(1, OsCosts::FREE, 1);
    let sleeper = [machine.spawn(0, &[], false), machine.spawn(0, &[], false)][1];
    machine.run(&mut Script::new(steps), 1_000 * MS);
    let runs = machine.usage(sleeper).cpu / (MS / 10);
    // 322 rounds of 3.1 ms if it never had to wait for a tick.
    assert!((300..=323).contains(&runs), "{runs}");
}

#[test]
fn a_wake_costs_its_waker_and_starts_late() {
    let costs = OsCosts {
        wake_idle: [wakes(12_000, 40_000); IDLE.len()],
        ..OsCosts::FREE
    };
    // The first wakes the second, which answers with a CPU burst a moment later.
    let steps = vec![
        vec![
            Step::Run(MS),
            Step::Wake(1),
            Step::Run(MS),
            Step::Sleep(98 * MS),
        ],
        vec![Step::Wait(100_000 * MS), Step::Run(MS)],
    ];
    let mut machine = Machine::new(2, costs, 1);
    let threads = [machine.spawn(0, &[], false), machine.spawn(0, &[], false)];
    machine.run(&mut Script::new(steps), 99 * MS);
    assert_eq!(machine.usage(threads[0]).cpu, 2 * MS + 12_000);
    assert_eq!(machine.usage(threads[1]).cpu, MS);
}

#[test]
fn a_thread_that_runs_ahead_waits_for_none_that_does_not() {
    let steps = vec![
        vec![Step::Run(10_000 * MS)],
        vec![Step::Run(10_000 * MS)],
        vec![Step::Sleep(3 * MS), Step::Run(MS)],
    ];
    let costs = OsCosts {
        ahead: true,
        ..OsCosts::FREE
    };
    let mut machine = Machine::new(1, costs, 1);
    let hogs = [(); 2].map(|()| machine.spawn(-20, &[], false));
    let ahead = machine.spawn(19, &[], true);
    machine.run(&mut Script::new(steps), 1_000 * MS);
    assert_eq!(
        machine.usage(ahead).cpu,
        250 * MS,
        "one millisecond of four"
    );
    let left = hogs.map(|hog| machine.usage(hog).cpu);
    assert_eq!(left[0] + left[1], 750 * MS);
    assert!(left[0].abs_diff(left[1]) < 20 * MS, "{left:?}");
}

#[test]
fn slices_end_at_once_or_at_a_tick() {
    let switches = |slice_exact| {
        let costs = OsCosts {
            slice_exact,
            ..OsCosts::FREE
        };
        let mut machine = Machine::new(1, costs, 1);
        let hogs = [(); 2].map(|()| machine.spawn(0, &[], false));
        machine.run(&mut Script::hogs(2), 1_000 * MS);
        hogs.map(|hog| machine.usage(hog).switches)
            .iter()
            .sum::<u64>()
    };
    // A slice is 1.4 ms, a tick 4 ms.
    assert!((690..=730).contains(&switches(true)), "{}", switches(true));
    assert!(
        (245..=255).contains(&switches(false)),
        "{}",
        switches(false)
    );
}

#[test]
fn interruptions_take_a_core_and_are_nobodys_cpu_time() {
    // A hundred a second, of 5 to 10 ms.
    let mut longer_per_s = [100.0; 11];
    longer_per_s[10] = 0.0;
    let costs = OsCosts {
        interrupts: Interrupts { longer_per_s },
        ..OsCosts::FREE
    };
    let mut machine = Machine::new(1, costs, 1);
    let hog = machine.spawn(0, &[], false);
    machine.run(&mut Script::hogs(1), 10_000 * MS);
    let left = machine.usage(hog).cpu / MS;
    // Interruptions that come while another lasts make the core lose the sum of both.
    assert!((1_500..=5_500).contains(&left), "{left} of 10000 ms");
}

#[test]
fn a_wake_that_comes_before_the_wait_is_not_lost() {
    let costs = OsCosts {
        cold: MS,
        cold_half: 1,
        cold_first: 0.0,
        ..OsCosts::FREE
    };
    // The second needs a cold millisecond before it waits again, in which the first wakes it.
    let steps = vec![
        vec![Step::Run(MS / 4), Step::Wake(1), Step::Sleep(MS / 4)],
        vec![Step::Wait(100_000 * MS), Step::Run(MS / 10)],
    ];
    let mut machine = Machine::new(2, costs, 1);
    let threads = [(); 2].map(|()| machine.spawn(0, &[], false));
    machine.run(&mut Script::new(steps), 1_000 * MS);
    let ran = machine.usage(threads[1]).cpu;
    assert!(ran > 300 * MS, "{ran}");
}
