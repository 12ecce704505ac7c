//! `wharf demo`.
use crate::args::DemoArgs;
use crate::exit::{Exit, Failure};
pub(super) fn run(_: &DemoArgs) -> Result<Exit, Failure> {
    Ok(Exit::Done)
}
