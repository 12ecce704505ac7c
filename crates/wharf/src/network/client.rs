//! Clients: what is declared, and how a link stands.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::addrs::{self, Addrs};
use super::link::Link;
use super::options::{FlushMode, Options, Reconnect};
use super::server::common_options;
use super::{Declaration, Network, NetworkCore};
use crate::error::{Error, ErrorKind, Result};
use crate::frame::Framing;
use crate::handler::Handler;
use crate::host::{Declaring, Pool, Port};
use crate::limits::{InputRate, MemoryLimit};
use crate::port::SocketOptions;
use crate::session::SessionId;
use crate::session::deadlines::Timeouts;
use crate::session::queue::SendQueueLimits;

/// Declares a client; [`Self::connect`] ends it.
#[must_use = "the client is declared by .connect(address)"]
#[derive(Debug)]
pub struct ClientBuilder<'a, H: Handler> {
    declaring: Declaring<'a>,
    handler: H,
    options: Options,
}

/// How a link of a client stands.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LinkState {
    /// Looking up the names among its addresses.
    Resolving,
    /// Connecting to this address.
    Connecting(SocketAddr),
    /// Connected, as this session.
    Connected(SessionId),
    /// Waiting before the next round over its addresses.
    Waiting {
        /// How long it still waits.
        retry_in: Duration,
        /// What the last attempt said.
        last_error: String,
    },
    /// It does not come back: the network stops, or reconnecting is switched off.
    Stopped,
}

impl<'a, H: Handler> ClientBuilder<'a, H> {
    pub(crate) fn new(declaring: Declaring<'a>, handler: H) -> Self {
        // A client speaks first as often as not: no handshake is expected of the other side.
        let timeouts = Timeouts {
            handshake: None,
            // Nor that a link has something to say.
            idle: None,
            ..Timeouts::default()
        };
        let options = Options {
            timeouts,
            sessions_max: usize::MAX,
            ..Options::default()
        };
        Self {
            declaring,
            handler,
            options,
        }
    }

    common_options!();

    /// How long one connect may take. Default: 5 s.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.options.connect_timeout = timeout;
        self
    }

    /// How a link comes back. Default: [`Reconnect::default`].
    pub fn reconnect(mut self, reconnect: Reconnect) -> Self {
        self.options.reconnect = reconnect;
        self
    }

    /// How many parallel links it keeps. Default: 1.
    pub fn links(mut self, links: usize) -> Self {
        self.options.links = links;
        self
    }

    /// Whether its names (`"chat.internal:9000"`) may be unknown at the declaration, as where the
    /// other side is deployed at the same time. The links then look again after each pause. In a
    /// topology file: `late_names = true`. Default: false, and such a name is refused.
    pub fn late_names(mut self, late: bool) -> Self {
        self.options.late_names = late;
        self
    }

    /// Ends the declaration: connects once the host starts, to these addresses in turn.
    ///
    /// Names are looked up here, and again in each round of a link that comes back: it follows a
    /// peer that moves. A lookup waits on a thread of its own, once for all links; an answer holds
    /// for a second. If it fails, or takes longer than `connect_timeout`, what was known last is
    /// tried. The address that served last is tried first, as long as it is among them.
    ///
    /// # Errors
    /// An address that can't be understood; a name that can't be resolved, unless
    /// [`Self::late_names`]; an option that can't work; a name that another network has.
    pub fn connect(mut self, addrs: impl Addrs) -> Result<Network<H>> {
        let known = addrs::known(&self.declaring, addrs, self.options.late_names)?;
        if self.options.links == 0 {
            let message = format!(
                "network \"{}\": links is 0; a client keeps at least 1",
                self.declaring.name
            );
            return Err(Error::new(ErrorKind::Config, message));
        }
        super::options::check(&self.declaring.name, &self.options)?;
        let (name, index, place) = self.declaring.settle()?;
        let network = Declaration {
            name,
            index,
            handler: self.handler,
            options: self.options,
            place,
            addrs: Vec::new(),
            known,
            adopted: Vec::new(),
        }
        .resolve();
        self.declaring.declared(Arc::new(Arc::clone(&network.0)));
        Ok(network)
    }
}

impl<H: Handler> NetworkCore<H> {
    /// Makes the links; they connect when the host goes.
    pub(super) fn make_links(self: &Arc<Self>) -> Result<()> {
        for _ in 0..self.options.links {
            let mut made = None;
            self.port.table.insert(|token| {
                let link = Arc::new(Link::new(token, Arc::clone(self)));
                made = Some(Arc::clone(&link));
                link
            });
            let Some(link) = made else {
                let message = format!("network \"{}\": too many links for one port", self.name);
                return Err(Error::new(ErrorKind::Config, message));
            };
            self.links.lock().push(link);
        }
        Ok(())
    }
}
