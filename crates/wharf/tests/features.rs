//! What a server may do beyond the plain handler: stages, the tick's flush, requests.
#![allow(
    clippy::unwrap_used,
    reason = "tests; clippy does not see that in a helper"
)]

mod support;

#[path = "features/stages.rs"]
mod stages;

use stages::{
    a_job_changes_the_stage, a_login_becomes_a_game, a_stage_that_fails_closes_its_session,
};
use support::{each_backend, matrix};

matrix!(a_login_becomes_a_game);
each_backend!(
    a_job_changes_the_stage,
    a_stage_that_fails_closes_its_session
);
