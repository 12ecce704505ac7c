//! From a topology file to a host with the workload's handlers.

use std::path::Path;

use wharf::{Host, Network};

use super::handler::{Gauges, LabHandler};
use crate::lab::workload::{Role, Workload};

/// Each class's network, by name.
pub(super) type Networks = Vec<(String, Network<LabHandler>)>;

/// Gives every network of the topology its class's handler.
///
/// # Errors
/// What the topology says wrong; a network without a class, or a class without a network.
pub(super) fn declare(
    topology: &Path,
    workload: &Workload,
    gauges: &Gauges,
) -> wharf::Result<(Host, Networks)> {
    let mut host = Host::from_file(topology)?;
    let mut networks = Vec::new();
    for class in &workload.classes {
        let handler = LabHandler::new(class, gauges);
        let network = match class.role {
            Role::Server => host.declare_server(&class.name, handler)?,
            Role::Client => host.declare_client(&class.name, handler)?,
        };
        networks.push((class.name.clone(), network));
    }
    Ok((host.finish()?, networks))
}
