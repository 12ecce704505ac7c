//! Addresses as users give them: numbers, or names that stand for some.

use std::io;
use std::net::{IpAddr, SocketAddr};

use crate::error::{Error, ErrorKind, Result};
use crate::host::Declaring;

/// An address, or a name that stands for some.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// An address.
    Addr(SocketAddr),
    /// `host:port`, to be looked up.
    Name(String),
}

/// One or several addresses: `"0.0.0.0:7777"`, a `SocketAddr`, `("localhost", 7777)`, or an array
/// or vector of such.
pub trait Addrs {
    /// Each as it was given: names are not looked up yet.
    fn targets(self) -> Vec<Target>;
}

impl Addrs for &str {
    fn targets(self) -> Vec<Target> {
        vec![match self.parse() {
            Ok(addr) => Target::Addr(addr),
            Err(_) => Target::Name(self.to_owned()),
        }]
    }
}

impl Addrs for String {
    fn targets(self) -> Vec<Target> {
        self.as_str().targets()
    }
}

impl Addrs for &String {
    fn targets(self) -> Vec<Target> {
        self.as_str().targets()
    }
}

impl Addrs for SocketAddr {
    fn targets(self) -> Vec<Target> {
        vec![Target::Addr(self)]
    }
}

impl Addrs for (&str, u16) {
    fn targets(self) -> Vec<Target> {
        let (host, port) = self;
        match host.parse::<IpAddr>() {
            Ok(ip) => (ip, port).targets(),
            Err(_) => vec![Target::Name(format!("{host}:{port}"))],
        }
    }
}

impl Addrs for (IpAddr, u16) {
    fn targets(self) -> Vec<Target> {
        vec![Target::Addr(self.into())]
    }
}

impl<A: Addrs, const N: usize> Addrs for [A; N] {
    fn targets(self) -> Vec<Target> {
        Vec::from(self).targets()
    }
}

impl<A: Addrs> Addrs for Vec<A> {
    fn targets(self) -> Vec<Target> {
        self.into_iter().flat_map(Addrs::targets).collect()
    }
}

/// What a target stood for when it was last looked up.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) target: Target,
    pub(super) addrs: Vec<SocketAddr>,
}

impl Known {
    /// What is to be looked up, if anything is.
    pub(super) fn name(&self) -> Option<&str> {
        match &self.target {
            Target::Name(name) => Some(name),
            Target::Addr(_) => None,
        }
    }
}

/// All addresses, names looked up.
///
/// # Errors
/// One that can't be understood or looked up, by its text; none at all.
pub(super) fn resolve(of: &Declaring<'_>, addrs: impl Addrs) -> Result<Vec<SocketAddr>> {
    let known = known(of, addrs, false)?;
    Ok(known.into_iter().flat_map(|known| known.addrs).collect())
}

/// The same by target. With `late`, a name that nobody knows yet stands for nothing.
pub(super) fn known(of: &Declaring<'_>, addrs: impl Addrs, late: bool) -> Result<Vec<Known>> {
    let targets = addrs.targets();
    if targets.is_empty() {
        let message = "the list of addresses is empty: give at least one host:port";
        return of.name_it(Err(Error::new(ErrorKind::Address, message)));
    }
    let known = targets.into_iter().map(|target| {
        let addrs = match &target {
            Target::Addr(addr) => vec![*addr],
            Target::Name(text) => {
                understood(text)?;
                match found(of.look_up(text)) {
                    Err(_) if late => Vec::new(),
                    found => found.map_err(|error| unresolved(text, error))?,
                }
            }
        };
        Ok(Known { target, addrs })
    });
    of.name_it(known.collect())
}

/// Refuses a text that is no `host:port`.
fn understood(text: &str) -> Result<()> {
    let is_host = |host: &str| !host.is_empty() && !host.contains(['[', ']', ':']);
    let split = text.rsplit_once(':');
    if split.is_some_and(|(host, port)| is_host(host) && port.parse::<u16>().is_ok()) {
        return Ok(());
    }
    let message = format!(
        "\"{text}\" is not an address: give host:port, as in \"127.0.0.1:7777\" or \"[::1]:7777\""
    );
    Err(Error::new(ErrorKind::Address, message))
}

/// A name without an address is as good as an unknown one.
pub(super) fn found(answer: io::Result<Vec<SocketAddr>>) -> io::Result<Vec<SocketAddr>> {
    match answer {
        Ok(addrs) if addrs.is_empty() => Err(io::Error::other("it has no address")),
        answer => answer,
    }
}

/// The error of a name that could not be looked up.
pub(super) fn unresolved(text: &str, error: io::Error) -> Error {
    let message = format!("the name in \"{text}\" could not be resolved");
    Error::new(ErrorKind::Address, message).caused_by(error)
}
