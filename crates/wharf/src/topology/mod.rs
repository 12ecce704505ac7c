//! The topology: a file, and a value, that says who is served where.
//!
//! Pure: text to value and back, no file, socket, thread or clock. Each network is four facts: the
//! port that reports its readiness, the port or pool that gives its turns, the lane there, and the
//! threads' settings. Work that is no network's, strands and jobs, is two of them. Changing them
//! changes no handler: what the code names is a network, a work, or a lane (`session.set_lane`),
//! and a layout without that lane gives its name to another (`also`).

mod address;
mod fault;
mod framing;
mod limits;
mod limits_text;
mod map;
mod map_text;
mod names;
mod nearest;
mod network;
mod plan;
mod print;
mod read;
mod table;
mod threads;
mod work;

pub use fault::{Place, TopologyError, TopologyFault};
pub use map::{LaneRow, NetworkRow, ThreadMap, ThreadRow, WorkRow};
pub(crate) use nearest::did_you_mean;
pub use plan::{
    ConnectPlan, FramingKind, FramingPlan, HostPlan, LanePlan, ListenPlan, NetworkPlan, PoolPlan,
    PortPlan, Role, ThreadsPlan, Topology, Workers,
};
pub use work::{ServedBy, WorkPlan};

impl Topology {
    /// Reads the text of a topology file; `file_name` is what errors call it.
    ///
    /// ```
    /// # fn main() -> Result<(), wharf::TopologyError> {
    /// let text = r#"
    ///     [port.front]
    ///     workers = 4
    ///     lanes = [ { name = "players" }, { name = "backend", workers_max = 1 } ]
    ///
    ///     [network.game]
    ///     listen = "0.0.0.0:7777"
    ///     lane = "players"
    /// "#;
    /// let topology = wharf::Topology::parse(text, "server.toml")?;
    /// assert_eq!(topology.networks[0].port, "front");
    ///
    /// let wrong = text.replace("lane = \"players\"", "lane = \"plyers\"");
    /// assert_eq!(
    ///     wharf::Topology::parse(wrong, "server.toml").unwrap_err().to_string(),
    ///     "server.toml:8:12: network \"game\": unknown lane \"plyers\" of port \"front\"; \
    ///      did you mean \"players\"?"
    /// );
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`TopologyError`] has all that is wrong, with line and column.
    pub fn parse(text: impl AsRef<[u8]>, file_name: &str) -> Result<Self, TopologyError> {
        let bytes = text.as_ref();
        match str::from_utf8(bytes) {
            Ok(text) => read::read(text, file_name),
            Err(error) => Err(TopologyError::not_utf8(
                file_name,
                bytes,
                error.valid_up_to(),
            )),
        }
    }

    /// The network of this name.
    #[must_use]
    pub fn network(&self, name: &str) -> Option<&NetworkPlan> {
        self.networks.iter().find(|network| network.name == name)
    }
}
