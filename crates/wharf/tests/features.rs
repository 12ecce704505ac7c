//! What a server may do beyond the plain handler: stages, the tick's flush, requests.
#![allow(
    clippy::unwrap_used,
    reason = "tests; clippy does not see that in a helper"
)]

mod support;

#[path = "features/lane_nice.rs"]
mod lane_nice;
#[path = "features/login.rs"]
mod login;
#[path = "features/requests.rs"]
mod requests;
#[path = "features/stages.rs"]
mod stages;
#[path = "features/ticks.rs"]
mod ticks;

use lane_nice::a_lane_with_a_nice_value;
use login::{a_login_asks_another_server, a_login_survives_its_question};
use requests::{
    a_close_fails_who_waits, a_late_answer_finds_nobody, answers_find_who_asked,
    each_request_ends_once,
};
use stages::{
    a_job_changes_the_stage, a_login_becomes_a_game, a_stage_that_fails_closes_its_session,
};
use support::{each_backend, matrix};
use ticks::{
    a_close_flushes, a_group_ticks_alone, a_tick_for_many, a_tick_is_one_write,
    a_tick_of_low_priority_writes_nothing, no_tick_ever, ticks_keep_each_callers_order,
    what_is_held_can_be_lost,
};

matrix!(a_login_becomes_a_game);
each_backend!(
    a_job_changes_the_stage,
    a_stage_that_fails_closes_its_session
);

matrix!(a_tick_is_one_write, a_group_ticks_alone, a_tick_for_many);
matrix!(a_close_flushes, no_tick_ever, ticks_keep_each_callers_order);

matrix!(answers_find_who_asked, a_close_fails_who_waits);
each_backend!(a_late_answer_finds_nobody, each_request_ends_once);

matrix!(a_login_asks_another_server);
each_backend!(a_lane_with_a_nice_value);
each_backend!(a_login_survives_its_question);
each_backend!(
    what_is_held_can_be_lost,
    a_tick_of_low_priority_writes_nothing
);
