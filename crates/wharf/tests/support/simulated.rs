//! The simulated world.

use std::time::Duration;

use wharf::sim::Sim;

const STEPS_MAX: usize = 1_000_000;
const TIME_MAX: Duration = Duration::from_secs(600);

pub(super) fn until(sim: &Sim, what: &str, holds: &mut dyn FnMut() -> bool) {
    let began = sim.now();
    for _ in 0..STEPS_MAX {
        // Before each step, as one step may be the clock's jump to a deadline.
        if holds() {
            return;
        }
        let moved = sim.step();
        if !moved && holds() {
            return;
        }
        let waited = sim.now() - began;
        if moved && waited < TIME_MAX {
            continue;
        }
        // The simulator tells best what everyone is doing: it is asked without another step.
        sim.set_limits(0, TIME_MAX);
        let state = sim.run_until(|| false).err().map(|stuck| stuck.to_string());
        let state = state.unwrap_or_default();
        let workers = state.lines().filter(|line| line.contains("worker "));
        let workers = workers.collect::<Vec<_>>().join("\n");
        panic!("waited in vain for {waited:?} until {what}:\n{workers}");
    }
    panic!("took {STEPS_MAX} steps in vain until {what}");
}
