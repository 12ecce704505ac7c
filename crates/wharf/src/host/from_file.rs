//! Topologies from files.

use std::path::Path;

use crate::topology::{Topology, TopologyError};

impl Topology {
    /// Reads a topology file.
    ///
    /// # Errors
    /// The file can't be read; else as [`Self::parse`].
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, TopologyError> {
        let path = path.as_ref();
        let name = path.display().to_string();
        match std::fs::read(path) {
            Ok(bytes) => Self::parse(bytes, &name),
            Err(error) => {
                let message = format!("the topology file can't be read: {error}");
                Err(TopologyError::of_file(&name, message))
            }
        }
    }
}
