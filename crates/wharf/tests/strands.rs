//! Strands, jobs and timers: on sockets, and in the simulation's virtual time.
#![allow(
    clippy::unwrap_used,
    reason = "tests; clippy does not see that in a helper"
)]

mod support;

#[path = "strands/draining.rs"]
mod draining;
#[path = "strands/ending.rs"]
mod ending;
#[path = "strands/jobs.rs"]
mod jobs;
#[path = "strands/serial.rs"]
mod serial;
#[path = "strands/ticks.rs"]
mod ticks;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use draining::{
    a_drop_that_blocks_is_named, a_stop_lets_jobs_of_on_close_run,
    jobs_run_beside_ticks_that_overrun,
};
use ending::{
    a_host_that_never_starts_drops_strands, a_panic_closes_its_strand_alone,
    a_stop_drops_what_waits, a_strand_that_lost_its_handles_runs_what_it_took,
    a_stuck_job_is_named, values_that_panic_as_they_are_dropped,
};
use jobs::{
    a_delayed_job_of_a_session, jobs_are_bounded, jobs_run_side_by_side, jobs_wait_for_the_start,
    lanes_are_named, timers_of_a_port, work_runs_in_its_lane,
};
use serial::{
    an_answer_comes_to_who_asked, jobs_are_serial_in_order, sends_of_a_turn_gather,
    the_mailbox_is_bounded, zones_of_a_game,
};
use support::{Act, World, each_backend, in_simulation, on_real_sockets};
use ticks::{
    a_hundred_thousand_timers, a_tick_cancels_its_own_timer, cancels_race_with_what_they_cancel,
    delayed_jobs_come_in_time, ticks_at_a_fixed_rate, ticks_in_virtual_time, ticks_need_no_room,
};
use wharf::{Host, Network, Port};

each_backend!(
    jobs_are_serial_in_order,
    the_mailbox_is_bounded,
    an_answer_comes_to_who_asked,
    zones_of_a_game,
);
in_simulation!(sends_of_a_turn_gather);
each_backend!(
    ticks_at_a_fixed_rate,
    ticks_need_no_room,
    delayed_jobs_come_in_time,
    cancels_race_with_what_they_cancel,
    a_hundred_thousand_timers,
    a_tick_cancels_its_own_timer,
);
in_simulation!(ticks_in_virtual_time);
each_backend!(
    a_panic_closes_its_strand_alone,
    a_strand_that_lost_its_handles_runs_what_it_took,
    values_that_panic_as_they_are_dropped,
    a_host_that_never_starts_drops_strands,
);
each_backend!(exclusive a_stop_drops_what_waits);
on_real_sockets!(exclusive a_stuck_job_is_named, a_drop_that_blocks_is_named);
on_real_sockets!(
    a_stop_lets_jobs_of_on_close_run,
    jobs_run_beside_ticks_that_overrun
);
each_backend!(
    jobs_run_side_by_side,
    jobs_are_bounded,
    jobs_wait_for_the_start,
    timers_of_a_port,
    a_delayed_job_of_a_session,
    work_runs_in_its_lane,
);
on_real_sockets!(lanes_are_named);

/// A host, not started, with a port of so many workers and a server that takes everything.
fn host_with(w: &World, workers: usize) -> (Host, Port, Network<Act<()>>) {
    let mut host = w.host();
    let port = host.port("main").workers(workers).build().unwrap();
    let server = host.server("sink", Act::sink()).port(&port);
    let net = server.listen(w.any_addr()).unwrap();
    (host, port, net)
}

/// The same, started.
fn started(w: &World, workers: usize) -> (Host, Port) {
    let (mut host, port, _) = host_with(w, workers);
    host.start().unwrap();
    (host, port)
}

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn count(counter: &AtomicUsize, n: usize) {
    counter.fetch_add(n, Ordering::SeqCst);
}
