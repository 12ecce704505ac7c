//! Sheds those who hold most when the sessions of a network, or of the host, hold too much.

use std::sync::Arc;

use super::Shared;
use crate::network::{Declared, Holder};
use crate::say::say;

impl Shared {
    /// One look, first at each network's ceiling, then at the host's.
    pub(super) fn shed(&self) {
        let (own, all) = {
            let inner = self.inner.lock();
            let over = |network: &&Arc<dyn Declared>| network.memory().to_shed() > 0;
            let own: Vec<_> = inner.networks.iter().filter(over).cloned().collect();
            let host_is_over = !own.is_empty() || self.memory.to_shed() > 0;
            let all = host_is_over.then(|| inner.networks.clone());
            (own, all.unwrap_or_default())
        };
        for network in &own {
            let shed = shed(network.memory().to_shed(), std::slice::from_ref(network));
            if shed > 0 {
                say!(
                    warn,
                    network = network.name(),
                    sessions = shed,
                    "near its memory ceiling; those that held most were closed"
                );
            }
        }
        let shed = shed(self.memory.to_shed(), &all);
        if shed > 0 {
            say!(
                warn,
                sessions = shed,
                "near the host's memory ceiling; those that held most were closed"
            );
        }
    }
}

/// Closes those that hold most until so many grains are on their way back; returns how many.
fn shed(grains: usize, networks: &[Arc<dyn Declared>]) -> usize {
    if grains == 0 {
        return 0;
    }
    let mut holders = Vec::new();
    for network in networks {
        network.holders(&mut holders);
    }
    let mut left = grains;
    // What is being closed gives back what it holds without us.
    holders.retain(|holder| {
        left = left.saturating_sub(if holder.closing { holder.grains } else { 0 });
        !holder.closing
    });
    // The order of equals is that of the registry: a run depends on nothing but its seed.
    holders.sort_by_key(|holder| std::cmp::Reverse(holder.grains));
    let mut shed = 0;
    for Holder {
        grains, session, ..
    } in holders
    {
        if left == 0 {
            break;
        }
        left = left.saturating_sub(grains);
        shed += 1;
        session.shed();
    }
    shed
}
