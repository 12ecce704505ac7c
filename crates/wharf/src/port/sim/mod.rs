//! The simulated network: seeded, in memory, in virtual time.

/// A socket of the simulated network.
#[derive(Debug)]
pub(super) struct SimSocket;
