//! The guarantees of the design, each under its name, on every backend and under every layout.
#![allow(
    clippy::unwrap_used,
    reason = "tests; clippy does not see that in a helper"
)]

mod support;

#[path = "guarantees/any_worker.rs"]
mod any_worker;
#[path = "guarantees/bounds.rs"]
mod bounds;
#[path = "guarantees/lanes.rs"]
mod lanes;
#[path = "guarantees/late.rs"]
mod late;
#[path = "guarantees/limits.rs"]
mod limits;
#[path = "guarantees/memory.rs"]
mod memory;
#[path = "guarantees/once.rs"]
mod once;
#[path = "guarantees/panics.rs"]
mod panics;
#[path = "guarantees/pools.rs"]
mod pools;
#[path = "guarantees/refusals.rs"]
mod refusals;
#[path = "guarantees/resize.rs"]
mod resize;
#[path = "guarantees/sending.rs"]
mod sending;
#[path = "guarantees/serial.rs"]
mod serial;
#[path = "guarantees/set_lane.rs"]
mod set_lane;
#[path = "guarantees/stopping.rs"]
mod stopping;

use any_worker::{another_port_is_another_world, any_worker_any_session};
use bounds::{
    a_claimed_length_costs_nothing, a_slow_reader_is_slowed, sessions_are_bounded,
    the_mailbox_is_bounded, when_full_close, when_full_drop_new, when_full_drop_old,
    when_full_error, who_is_behind_is_known,
};
use late::close_joins_first;
use once::{a_refused_session_is_only_counted, open_once_close_once};
use panics::panic_is_contained;
use pools::{a_stuck_pool_turn_holds_back_no_frame, a_stuck_pool_turn_is_named};
use refusals::{
    a_taken_port_leaves_nothing_started, an_unknown_backend_is_named, bad_addresses_are_named,
    bad_lanes_are_named, bad_limits_are_named, bad_networks_are_named, bad_ports_are_named,
    what_does_not_fit_is_refused,
};
use sending::{
    a_failed_encoder_leaves_nothing, a_gathering_thread_holds_nobody_back, a_turn_keeps_its_order,
    send_never_blocks,
};
use serial::{jobs_are_serial_in_order, serial_in_order};
#[cfg(feature = "sim")]
use stopping::a_connect_under_way_delays_no_stop;
use stopping::{
    a_dropped_host_stops, a_network_stops_alone, a_stop_forgets_no_accept,
    a_stopped_host_keeps_no_socket, a_stuck_handler_is_named, shutdown_is_a_protocol,
    stop_from_a_handler, who_does_not_part_is_cut,
};
use support::{KNOWN_BACKENDS, each_backend, in_simulation, matrix, on_real_sockets};

matrix!(serial_in_order, jobs_are_serial_in_order);
matrix!(open_once_close_once, a_refused_session_is_only_counted);
matrix!(any_worker_any_session, another_port_is_another_world);
matrix!(
    send_never_blocks,
    a_turn_keeps_its_order,
    a_failed_encoder_leaves_nothing
);
matrix!(a_gathering_thread_holds_nobody_back);
mod queues_are_bounded {
    use super::*;
    matrix!(
        when_full_close,
        when_full_error,
        when_full_drop_new,
        when_full_drop_old
    );
    matrix!(
        a_slow_reader_is_slowed,
        the_mailbox_is_bounded,
        sessions_are_bounded
    );
    matrix!(exclusive a_claimed_length_costs_nothing);
    matrix!(who_is_behind_is_known);
}
mod memory_is_bounded {
    use crate::memory::*;
    use crate::support::matrix;
    matrix!(
        at_the_ceiling_nothing_more_is_taken,
        those_who_hold_most_are_shed
    );
    matrix!(half_frames_are_counted, jobs_are_counted);
}
mod rates_hold {
    use crate::limits::*;
    use crate::support::{in_simulation, matrix};
    matrix!(
        a_flood_is_read_at_its_rate,
        bytes_are_limited_too,
        who_exceeds_its_rate_is_closed
    );
    matrix!(
        who_waits_for_its_rate_still_ends,
        an_address_connects_at_its_rate
    );
    in_simulation!(
        never_more_than_burst_and_rate,
        the_defaults_are_for_public_addresses
    );
}
mod lane_cap_holds {
    use crate::lanes::*;
    use crate::set_lane::*;
    use crate::support::crews;
    crews!(cap, order, starve_after, workers_min);
    crews!(a_freed_slot_is_taken, overflow_stays_in_the_kernel);
    crews!(
        set_lane_in_a_handler,
        set_lane_while_queued,
        set_lane_while_running
    );
    crews!(
        set_lane_at_random,
        an_unknown_lane_is_named,
        any_worker_serves_any_lane
    );
}
mod resizes {
    use crate::resize::*;
    use crate::support::crews;
    crews!(exclusive up_and_down_under_traffic, who_is_in_a_turn_leaves_after_it);
    crews!(exclusive from_a_handler, storms, a_stop_among_changes_ends);
    crews!(what_can_not_be_is_refused, a_promise_outlives_a_shrink);
    crate::support::on_real_sockets!(who_asks_for_workers_passes_nothing_on);
}
matrix!(close_joins_first);
matrix!(exclusive shutdown_is_a_protocol, stop_from_a_handler, a_dropped_host_stops);
matrix!(who_does_not_part_is_cut, a_network_stops_alone);
on_real_sockets!(exclusive a_stuck_handler_is_named, a_stuck_pool_turn_is_named);
on_real_sockets!(a_stuck_pool_turn_holds_back_no_frame);
on_real_sockets!(a_stop_forgets_no_accept);
on_real_sockets!(a_stopped_host_keeps_no_socket);
in_simulation!(a_connect_under_way_delays_no_stop);
matrix!(panic_is_contained);

mod bad_input_is_named {
    use super::*;
    on_real_sockets!(
        bad_ports_are_named,
        bad_lanes_are_named,
        bad_limits_are_named,
        bad_networks_are_named,
        bad_addresses_are_named,
        an_unknown_backend_is_named,
    );
    each_backend!(exclusive a_taken_port_leaves_nothing_started);
    each_backend!(what_does_not_fit_is_refused);
}

#[test]
fn every_backend_of_this_build_is_in_the_matrix() {
    support::with_access(support::Access::Shared, || {
        for backend in wharf::backends() {
            assert!(
                KNOWN_BACKENDS.contains(&backend.name),
                "add \"{}\" to the macros in tests/support/mod.rs",
                backend.name
            );
        }
    });
}
