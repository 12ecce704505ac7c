//! Where no listener can be inherited.

use std::convert::Infallible;
use std::io;
use std::net::TcpListener;
use std::path::Path;

use super::Named;

fn unsupported<T>() -> io::Result<T> {
    let message = "this system can't pass a listener from process to process; Linux and other \
                   Unix systems can";
    Err(io::Error::new(io::ErrorKind::Unsupported, message))
}

pub(crate) fn from_environment(_: &str) -> io::Result<TcpListener> {
    unsupported()
}

pub(crate) fn take_over(_: &Path) -> io::Result<Option<(Vec<Named>, Channel)>> {
    unsupported()
}

/// There is none.
#[derive(Debug)]
pub(crate) struct Offer(Infallible);

/// There is none.
#[derive(Debug)]
pub(crate) struct Channel(Infallible);

impl Offer {
    pub(crate) fn bind(_: &Path) -> io::Result<Self> {
        unsupported()
    }

    pub(crate) fn publish(&self) -> io::Result<()> {
        match self.0 {}
    }

    pub(crate) fn wait(&self) -> io::Result<Channel> {
        match self.0 {}
    }

    pub(crate) fn end(&self) {
        match self.0 {}
    }

    pub(crate) fn withdraw(&self) {
        match self.0 {}
    }
}

impl Channel {
    pub(crate) fn send(&self, _: &[Named]) -> io::Result<()> {
        match self.0 {}
    }

    pub(crate) fn is_ready(&self) -> bool {
        match self.0 {}
    }

    pub(crate) fn say_ready(&self) -> io::Result<()> {
        match self.0 {}
    }

    pub(crate) fn end(&self) {
        match self.0 {}
    }
}
